#include "saves.h"
#include "zorder.h"
#include <errno.h>

#define FORMAT      1
#define VALUE_NAME  9 /* where the name begins */
#define POINT_ENTRY (1 + 8 + 8)
#define SEQ_ENTRY   (1 + 8)
#define ID_LEN      sizeof(struct uuid)

/* ---- records ---- */

void saves_pack(struct buf *out, struct geo_point point, struct str name)
{
    uint8_t coordinates[8];

    store_put_u64(coordinates, (uint64_t)(uint32_t)point.latitude << 32 | (uint32_t)point.longitude);
    buf_append_char(out, FORMAT);
    buf_append(out, coordinates, sizeof(coordinates));
    buf_append_str(out, name);
    buf_append_char(out, '\0');
}

static int unpack(const struct store_record *record, struct save *ret_save)
{
    struct str value = record->value;
    uint64_t coordinates;

    if (record->key.len != ID_LEN || value.len <= VALUE_NAME || value.s[0] != FORMAT || value.s[value.len - 1] != '\0')
        return -EBADMSG;
    coordinates = store_get_u64(value.s + 1);
    memcpy(&ret_save->id, record->key.s, ID_LEN);
    ret_save->seq = record->seq;
    ret_save->point = (struct geo_point){(int32_t)(coordinates >> 32), (int32_t)(uint32_t)coordinates};
    ret_save->name = value.s + VALUE_NAME;
    return 0;
}

/* ---- index entries ---- */

static struct str point_entry(uint8_t entry[POINT_ENTRY], uint64_t z, uint64_t seq)
{
    entry[0] = 'p';
    store_put_u64(entry + 1, z);
    store_put_u64(entry + 9, seq);
    return (struct str){(char *)entry, POINT_ENTRY};
}

static struct str seq_entry(uint8_t entry[SEQ_ENTRY], uint64_t seq)
{
    entry[0] = 's';
    store_put_u64(entry + 1, seq);
    return (struct str){(char *)entry, SEQ_ENTRY};
}

static void index_save(struct store_index *index, const struct store_record *record)
{
    uint8_t entry[POINT_ENTRY], value[ID_LEN + 8];
    struct save save;
    uint64_t z;

    if (unpack(record, &save) < 0)
        return;
    z = zorder_of(save.point);
    store_index_add(index, point_entry(entry, z, save.seq), record->key);
    memcpy(value, &save.id, ID_LEN);
    store_put_u64(value + ID_LEN, z);
    store_index_add(index, seq_entry(entry, save.seq), (struct str){(char *)value, sizeof(value)});
}

const struct store_table saves_table = {.name = "saves", .index = index_save, .index_version = 1};

static int parse_point_entry(const struct store_record *entry, struct save_ref *ret_ref)
{
    if (entry->key.len != POINT_ENTRY || entry->key.s[0] != 'p')
        return -ENOENT;
    if (entry->value.len != ID_LEN)
        return -EBADMSG;
    memcpy(&ret_ref->id, entry->value.s, ID_LEN);
    ret_ref->z = store_get_u64(entry->key.s + 1);
    ret_ref->seq = store_get_u64(entry->key.s + 9);
    return 0;
}

/* The entry that a cursor has been moved to with result r: -ENOENT where it is not the point's. */
static int parse_entry_of(int r, uint64_t z, const struct store_record *entry, struct save_ref *ret_ref)
{
    struct save_ref ref;

    if (r == 0)
        r = parse_point_entry(entry, &ref);
    if (r < 0)
        return r;
    if (ref.z != z)
        return -ENOENT;
    *ret_ref = ref;
    return 0;
}

int saves_ref_newest(struct store_cursor *index, uint64_t z, uint64_t before_seq, struct save_ref *ret_ref)
{
    struct store_record found;
    uint8_t entry[POINT_ENTRY];

    return parse_entry_of(store_cursor_seek_before(index, point_entry(entry, z, before_seq), &found), z, &found,
                          ret_ref);
}

int saves_ref_older(struct store_cursor *index, uint64_t z, struct save_ref *ret_ref)
{
    struct store_record found;

    return parse_entry_of(store_cursor_previous(index, &found), z, &found, ret_ref);
}

int saves_ref_after(struct store_cursor *index, uint64_t after_seq, struct save_ref *ret_ref)
{
    struct store_record found;
    uint8_t entry[SEQ_ENTRY];
    int r = store_cursor_seek(index, seq_entry(entry, after_seq + 1), &found);

    if (r < 0)
        return r;
    if (found.key.len != SEQ_ENTRY || found.key.s[0] != 's')
        return -ENOENT;
    if (found.value.len != ID_LEN + 8)
        return -EBADMSG;
    memcpy(&ret_ref->id, found.value.s, ID_LEN);
    ret_ref->z = store_get_u64(found.value.s + ID_LEN);
    ret_ref->seq = store_get_u64(found.key.s + 1);
    return 0;
}

/* ---- saves ---- */

int saves_cursor_open(struct store_snapshot *snapshot, struct store_cursor *ret_index)
{
    return store_cursor_open(snapshot, TABLE_SAVES, true, ret_index);
}

static int get(struct store_cursor *index, const struct save_ref *ref, struct save *ret_save)
{
    struct store_record record;
    int r = store_get(index->snapshot, TABLE_SAVES, (struct str){(const char *)&ref->id, ID_LEN}, &record);

    if (r < 0)
        return r == -ENOENT ? -EBADMSG : r; /* the index names it */
    return unpack(&record, ret_save);
}

bool saves_ref_is_sound(struct store_cursor *index, const struct save_ref *ref)
{
    struct save save;

    return get(index, ref, &save) == 0;
}

int saves_newest(struct store_cursor *index, struct geo_point point, uint64_t before_seq, struct save *ret_save)
{
    struct save_ref ref;
    int r = saves_ref_newest(index, zorder_of(point), before_seq, &ref);

    return r < 0 ? r : get(index, &ref, ret_save);
}

int saves_exist(struct store_cursor *index, struct geo_point point)
{
    struct save_ref ref;

    return saves_ref_newest(index, zorder_of(point), UINT64_MAX, &ref);
}

int saves_walk_step(struct saves_walk *walk, struct store_cursor *index, struct save *ret_save)
{
    struct store_record found;
    uint8_t entry[POINT_ENTRY];
    struct save_ref ref = {0};
    uint64_t z;
    int r;

    if (!zorder_next(&walk->rect, walk->next, &z))
        return -ENOENT;
    r = store_cursor_seek(index, point_entry(entry, z, 0), &found);
    if (r == 0)
        r = parse_point_entry(&found, &ref);
    if (r < 0)
        return r;
    walk->next = ref.z + 1; /* no valid point has the greatest z-order of all */
    if (!geo_rect_contains(&walk->rect, zorder_point(ref.z)))
        return 0;
    r = saves_newest(index, zorder_point(ref.z), UINT64_MAX, ret_save);
    return r < 0 ? r : 1;
}
