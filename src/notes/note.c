#include "note.h"
#include "clock.h"
#include <assert.h>
#include <errno.h>

/* ---- what clients send ---- */

static const struct field list[] = {
    FIELD_STRING(struct note, title, 1, NOTE_MAX_TITLE),
    FIELD_STRING(struct note, body, 0, NOTE_MAX_BODY, .in_bytes = true),
    FIELD_STRINGS(struct note, tags, tag_count, NOTE_MAX_TAGS, 1, NOTE_MAX_TAG),
    FIELD_READ_ONLY("id"),
    FIELD_READ_ONLY("created_at"),
    FIELD_READ_ONLY("updated_at"),
    {0},
};
const struct fields note_fields = {"a note", list};

/* ---- the stored form: numbers, lengths, then the strings; the body's length is what remains ---- */

enum { FORMAT = 1, FIXED_LEN = 1 + 3 * 8 + 2 + 1 };

static void append_u64(struct buf *out, uint64_t value)
{
    uint8_t bytes[8];

    store_put_u64(bytes, value);
    buf_append(out, bytes, sizeof(bytes));
}

static void append_u16(struct buf *out, size_t value)
{
    buf_append_char(out, (char)(value >> 8));
    buf_append_char(out, (char)value);
}

void note_encode(const struct note *note, struct buf *out)
{
    buf_append_char(out, FORMAT);
    append_u64(out, note->created_ms);
    append_u64(out, note->updated_ms);
    append_u64(out, note->created_seq);
    append_u16(out, note->title.len);
    buf_append_char(out, (char)note->tag_count);
    for (unsigned i = 0; i < note->tag_count; i++)
        append_u16(out, note->tags[i].len);
    buf_append_str(out, note->title);
    for (unsigned i = 0; i < note->tag_count; i++)
        buf_append_str(out, note->tags[i]);
    buf_append_str(out, note->body);
}

static size_t get_u16(const char *bytes)
{
    return (size_t)(uint8_t)bytes[0] << 8 | (uint8_t)bytes[1];
}

/* Takes len bytes off the front of rest. */
static bool take(struct str *rest, size_t len, struct str *ret_taken)
{
    if (rest->len < len)
        return false;
    *ret_taken = (struct str){rest->s, len};
    *rest = (struct str){rest->s + len, rest->len - len};
    return true;
}

int note_decode(struct str value, struct note *ret_note)
{
    struct note note = {.tag_count = 0};
    struct str fixed, lengths;

    if (!take(&value, FIXED_LEN, &fixed) || fixed.s[0] != FORMAT)
        return -EBADMSG;
    note.created_ms = store_get_u64(fixed.s + 1);
    note.updated_ms = store_get_u64(fixed.s + 9);
    note.created_seq = store_get_u64(fixed.s + 17);
    note.tag_count = (uint8_t)fixed.s[27];
    if (note.tag_count > NOTE_MAX_TAGS || !take(&value, 2 * note.tag_count, &lengths) ||
        !take(&value, get_u16(fixed.s + 25), &note.title))
        return -EBADMSG;
    for (unsigned i = 0; i < note.tag_count; i++)
        if (!take(&value, get_u16(lengths.s + 2 * i), &note.tags[i]) || note.tags[i].len > 4 * NOTE_MAX_TAG)
            return -EBADMSG;
    note.body = value;
    *ret_note = note;
    return 0;
}

/* ---- JSON ---- */

static void write_time(struct buf *out, const char *name, uint64_t ms)
{
    char text[CLOCK_RFC3339_SIZE];

    buf_printf(out, ",\"%s\":\"%s\"", name, clock_rfc3339(ms * CLOCK_NS_PER_MS, 3, text));
}

void note_write_json(const struct note *note, const struct uuid *id, struct buf *out)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    buf_printf(out, "{\"id\":\"%s\",\"title\":", text);
    buf_append_json_string(out, note->title);
    buf_append_cstr(out, ",\"body\":");
    buf_append_json_string(out, note->body);
    buf_append_cstr(out, ",\"tags\":[");
    for (unsigned i = 0; i < note->tag_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_append_json_string(out, note->tags[i]);
    }
    buf_append_char(out, ']');
    write_time(out, "created_at", note->created_ms);
    write_time(out, "updated_at", note->updated_ms);
    buf_append_char(out, '}');
}

/* ---- the index ---- */

size_t note_list_prefix(const struct str *tag, char prefix[NOTE_MAX_PREFIX])
{
    prefix[0] = tag == NULL ? 'a' : 't';
    if (tag == NULL)
        return 1;
    assert(tag->len <= 4 * NOTE_MAX_TAG);
    prefix[1] = (char)(tag->len >> 8); /* so that no tag's entries begin with another's */
    prefix[2] = (char)tag->len;
    memcpy(prefix + 3, tag->s, tag->len);
    return 3 + tag->len;
}

void note_list_place(uint64_t created_seq, uint8_t place[8])
{
    store_put_u64(place, ~created_seq);
}

uint64_t note_list_created_seq(const void *place)
{
    return ~store_get_u64(place);
}

static void add_entry(struct store_index *index, const struct str *tag, uint64_t created_seq, struct str id)
{
    char key[NOTE_MAX_PREFIX + 8];
    size_t len = note_list_prefix(tag, key);

    note_list_place(created_seq, (uint8_t *)key + len);
    store_index_add(index, (struct str){key, len + 8}, id);
}

static void index_note(struct store_index *index, const struct store_record *record)
{
    struct note note;
    uint64_t created_seq;

    if (note_decode(record->value, &note) < 0 || record->key.len != sizeof(struct uuid))
        return;
    created_seq = note.created_seq != 0 ? note.created_seq : record->seq;
    add_entry(index, NULL, created_seq, record->key);
    for (unsigned i = 0; i < note.tag_count; i++)
        add_entry(index, &note.tags[i], created_seq, record->key);
}

const struct store_table note_table = {"notes", index_note, 1};
