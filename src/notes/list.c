/* GET /v1/notes: newest first, by pages. A cursor names the place in the order of creation where the page before it
 * ended: so notes that come and go in between move nothing. */
#include "hex.h"
#include "notes.h"
#include <errno.h>

#define DEFAULT_LIMIT  20
#define MAX_LIMIT      100
#define MAX_PAGE_BYTES (1 << 20) /* a page ends when it has grown to that: it may have fewer notes than asked for */

struct list {
    struct log *log;
    struct trace trace;
    uint64_t limit;
    uint64_t after; /* created_seq of the last note of the page before; 0: from the newest on */
    bool has_tag;
    size_t tag_len;
    char tag[4 * NOTE_MAX_TAG];
    struct buf page;
    uint64_t count;
};

/* ---- the page ---- */

static int append_note(struct list *list, struct store_snapshot *snapshot, const struct store_record *entry)
{
    struct store_record record;
    char text[UUID_TEXT_LEN + 1];
    struct note note;
    struct uuid id;
    int err;

    if (entry->value.len != sizeof(id))
        return -EBADMSG;
    memcpy(&id, entry->value.s, sizeof(id));
    err = store_get(snapshot, NOTES_TABLE, note_key(&id), &record);
    if (err == 0)
        err = note_decode(record.value, &note);
    if (err == -EBADMSG) { /* the others can still be had */
        uuid_format(&id, text);
        log_printf(list->log, LOG_ERROR, &list->trace, "note %s is damaged", text);
        return 0;
    }
    if (err < 0)
        return err;
    if (list->count++ > 0)
        buf_append_char(&list->page, ',');
    note_write_json(&note, &id, &list->page);
    return buf_error(&list->page);
}

static bool in_list(const struct store_record *entry, struct str prefix)
{
    return entry->key.len == prefix.len + 8 && memcmp(entry->key.s, prefix.s, prefix.len) == 0;
}

/* Appends the page's notes. *ret_next: the last one's created_seq where there are more, else 0. */
static int append_notes(struct list *list, struct store_snapshot *snapshot, struct store_cursor *cursor,
                        uint64_t *ret_next)
{
    char key[NOTE_MAX_PREFIX + 8];
    struct str tag = {list->tag, list->tag_len};
    struct str prefix = {key, note_list_prefix(list->has_tag ? &tag : NULL, key)};
    struct store_record entry;
    uint64_t last = 0;
    int err;

    note_list_place(list->after - 1, (uint8_t *)key + prefix.len);
    err = store_cursor_seek(cursor, (struct str){key, prefix.len + 8}, &entry);
    while (err == 0 && in_list(&entry, prefix)) {
        if (list->count == list->limit || list->page.len > MAX_PAGE_BYTES) {
            *ret_next = last;
            return 0;
        }
        last = note_list_created_seq(entry.key.s + prefix.len);
        err = append_note(list, snapshot, &entry);
        if (err == 0)
            err = store_cursor_next(cursor, &entry);
    }
    *ret_next = 0;
    return err == -ENOENT ? 0 : err;
}

static void append_encoded(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.s[i] >= '0' && s.s[i] <= '9') || ((s.s[i] | 0x20) >= 'a' && (s.s[i] | 0x20) <= 'z'))
            buf_append_char(out, s.s[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)s.s[i]);
}

static struct http_reply *set_link(struct http_reply *reply, const struct list *list, uint64_t next)
{
    struct buf tag = {0};

    if (list->has_tag) {
        buf_append_cstr(&tag, "&tag=");
        append_encoded(&tag, (struct str){list->tag, list->tag_len});
    }
    reply = http_set_header(reply, "link", "</v1/notes?limit=%llu&cursor=%016llx%.*s>; rel=\"next\"",
                            (unsigned long long)list->limit, (unsigned long long)next, (int)tag.len,
                            tag.data != NULL ? tag.data : "");
    buf_release(&tag);
    return reply;
}

static struct http_reply *page_reply(struct list *list, struct store_snapshot *snapshot)
{
    uint64_t next;
    struct store_cursor cursor;
    struct http_reply *reply;
    int err;

    err = store_cursor_open(snapshot, NOTES_TABLE, true, &cursor);
    if (err < 0)
        return http_store_problem(err);
    buf_append_cstr(&list->page, "{\"notes\":[");
    err = append_notes(list, snapshot, &cursor, &next);
    store_cursor_close(&cursor);
    if (err < 0)
        return http_store_problem(err);
    buf_append_cstr(&list->page, "],\"next_cursor\":");
    if (next != 0)
        buf_printf(&list->page, "\"%016llx\"}", (unsigned long long)next);
    else
        buf_append_cstr(&list->page, "null}");
    reply = http_reply_take(200, "application/json", &list->page);
    return next != 0 ? set_link(reply, list, next) : reply;
}

static struct http_reply *read_page(void *arg, struct store_snapshot *snapshot)
{
    struct list *list = arg;
    struct http_reply *reply = page_reply(list, snapshot);

    buf_release(&list->page);
    return reply;
}

/* ---- the request ---- */

static struct http_reply *read_limit(struct list *list, struct str value)
{
    if (str_to_u64(value, MAX_LIMIT, &list->limit) < 0 || list->limit == 0)
        return http_problem(400, "limit must be a number from 1 to %d", MAX_LIMIT);
    return NULL;
}

static struct http_reply *read_cursor(struct list *list, struct str value)
{
    uint64_t after = 0;

    if (value.len != 16 || !hex_read_u64_lower(value.s, &after) || after == 0)
        return http_problem(400, "cursor must be a next_cursor of a page before");
    list->after = after;
    return NULL;
}

static struct http_reply *read_tag(struct list *list, struct str value)
{
    size_t count;

    if (str_utf8_length(value, &count) < 0 || count < 1 || count > NOTE_MAX_TAG)
        return http_problem(400, "tag must have 1 to %d characters of UTF-8", NOTE_MAX_TAG);
    memcpy(list->tag, value.s, value.len);
    list->tag_len = value.len;
    list->has_tag = true;
    return NULL;
}

static const struct parameter {
    const char *name;
    struct http_reply *(*read)(struct list *list, struct str value);
} parameters[] = {{"limit", read_limit}, {"cursor", read_cursor}, {"tag", read_tag}};
enum { PARAMETERS = sizeof(parameters) / sizeof(*parameters) };

static int check_name(void *arg, struct str name, struct str value)
{
    for (size_t i = 0; i < PARAMETERS; i++)
        if (str_eq(name, str_of(parameters[i].name)))
            return 0;
    *(struct str *)arg = name;
    return 1;
}

static struct http_reply *read_query(struct http_req *req, struct list *list)
{
    struct http_reply *problem = NULL;
    struct str unknown;
    int checked = http_each_query(req, check_name, &unknown);

    if (checked == 1)
        return http_problem(400, "unknown parameter %.*s: there are limit, cursor and tag",
                            (int)(unknown.len < 64 ? unknown.len : 64), unknown.s);
    for (size_t i = 0; i < PARAMETERS && problem == NULL; i++) {
        struct str value;
        int found = http_query(req, parameters[i].name, &value);

        if (found < 0)
            return http_problem(400, "%s: given twice or badly encoded", parameters[i].name);
        if (found)
            problem = parameters[i].read(list, value);
    }
    if (problem == NULL && checked < 0)
        return http_problem(400, "the query is badly encoded");
    return problem;
}

struct http_reply *notes_list(struct http_req *req)
{
    const struct notes *notes = req->state;
    struct list list = {.log = notes->log, .trace = req->trace, .limit = DEFAULT_LIMIT};
    struct http_reply *problem = read_query(req, &list);

    return problem != NULL ? problem : http_store_read(req, notes->store, &list, sizeof(list), read_page);
}
