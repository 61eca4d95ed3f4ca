/* Index entries: made by the table's index function, changed in the record's transaction, and made anew when the
 * function's version is another one. */
#include "store_view_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define REBUILD_STEP 10000 /* records a transaction: bounds what one dirties */

enum build { NOT_BUILT = 0, BUILT = 1 };

struct entry {
    uint16_t key_len, value_len;
    char key[STORE_MAX_INDEX_KEY], value[STORE_MAX_INDEX_VALUE];
};

/* Copies, since the pages that a record lies in may change while its entries do. */
struct store_index {
    unsigned count;
    struct entry entries[STORE_MAX_ENTRIES];
};

void store_index_add(struct store_index *index, struct str key, struct str value)
{
    struct entry *entry = &index->entries[index->count];

    assert(index->count < STORE_MAX_ENTRIES);
    assert(key.len >= 1 && key.len <= STORE_MAX_INDEX_KEY && value.len <= STORE_MAX_INDEX_VALUE);
    entry->key_len = (uint16_t)key.len;
    entry->value_len = (uint16_t)value.len;
    memcpy(entry->key, key.s, key.len);
    if (value.len > 0)
        memcpy(entry->value, value.s, value.len);
    index->count++;
}

static struct str entry_key(const struct entry *entry)
{
    return (struct str){entry->key, entry->key_len};
}

static struct str entry_value(const struct entry *entry)
{
    return (struct str){entry->value, entry->value_len};
}

static const struct entry *find(const struct store_index *index, struct str key)
{
    for (unsigned i = 0; i < index->count; i++)
        if (str_eq(entry_key(&index->entries[i]), key))
            return &index->entries[i];
    return NULL;
}

static int remove_entries(MDB_txn *txn, MDB_dbi dbi, const struct store_index *old, const struct store_index *new)
{
    for (unsigned i = 0; i < old->count; i++) {
        MDB_val key = store_view_val(entry_key(&old->entries[i]));
        int err;

        if (find(new, entry_key(&old->entries[i])) != NULL)
            continue;
        err = mdb_del(txn, dbi, &key, NULL);
        if (err != 0 && err != MDB_NOTFOUND)
            return store_view_error(err);
    }
    return 0;
}

static int add_entries(MDB_txn *txn, MDB_dbi dbi, const struct store_index *old, const struct store_index *new)
{
    for (unsigned i = 0; i < new->count; i++) {
        MDB_val key = store_view_val(entry_key(&new->entries[i]));
        MDB_val value = store_view_val(entry_value(&new->entries[i]));
        const struct entry *there = find(old, entry_key(&new->entries[i]));
        int err;

        if (there != NULL && str_eq(entry_value(there), entry_value(&new->entries[i])))
            continue;
        err = mdb_put(txn, dbi, &key, &value, 0);
        if (err != 0)
            return store_view_error(err);
    }
    return 0;
}

int store_view_index_change(struct store_view *view, MDB_txn *txn, unsigned table, const struct store_record *old,
                            const struct store_record *new)
{
    struct store_index before, after;
    int err;

    before.count = after.count = 0;
    if (old != NULL)
        view->tables[table].index(&before, old);
    if (new != NULL)
        view->tables[table].index(&after, new);
    err = remove_entries(txn, view->entries[table], &before, &after);
    return err < 0 ? err : add_entries(txn, view->entries[table], &before, &after);
}

/* ---- making an index anew ---- */

static const char *state_name(const struct store_view *view, unsigned table, char name[32])
{
    snprintf(name, 32, "index:%s", view->tables[table].name);
    return name;
}

/* A table without an index has one that is never built: so a later version that has an index again makes it anew. */
static void make_state(const struct store_table *table, enum build build, uint8_t state[9])
{
    state[0] = table->index != NULL ? build : NOT_BUILT;
    store_put_u64(state + 1, table->index != NULL ? table->index_version : 0);
}

static int put_state(struct store_view *view, MDB_txn *txn, unsigned table, enum build build)
{
    uint8_t state[9];
    char name[32];

    make_state(&view->tables[table], build, state);
    return store_view_meta_put(txn, view->meta, state_name(view, table, name), state, sizeof(state));
}

static bool is_current(struct store_view *view, MDB_txn *txn, unsigned table)
{
    uint8_t wanted[9];
    struct str state;
    char name[32];

    make_state(&view->tables[table], BUILT, wanted);
    return store_view_meta_get(txn, view->meta, state_name(view, table, name), &state) == 0 &&
           str_eq(state, (struct str){(const char *)wanted, sizeof(wanted)});
}

/* Empties the index and notes that it is not complete, so that an interrupted rebuild begins again at the next open. */
static int rebuild_begin(struct store_view *view, unsigned table, bool *ret_needed)
{
    struct store_view_txn txn;
    bool needed;
    int err;

    err = store_view_begin(view, &txn);
    if (err < 0)
        return err;
    needed = !is_current(view, txn.txn, table);
    if (needed) {
        err = store_view_error(mdb_drop(txn.txn, view->entries[table], 0));
        if (err == 0)
            err = put_state(view, txn.txn, table, NOT_BUILT);
    }
    if (err == 0)
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    if (err == 0)
        *ret_needed = needed;
    return err;
}

/* Indexes up to REBUILD_STEP records from the key from on, and makes from the least key that is left. */
static int rebuild_records(struct store_view *view, MDB_txn *txn, unsigned table, struct buf *from, bool *ret_more)
{
    struct store_snapshot snapshot = {.view = view, .txn = txn};
    struct store_cursor cursor;
    struct store_record record;
    unsigned done = 0;
    int err;

    err = store_cursor_open(&snapshot, table, false, &cursor);
    if (err < 0)
        return err;
    err = store_cursor_seek(&cursor, buf_str(from), &record);
    /* A damaged record has no entries: whoever reads it learns that it is damaged. */
    while (err == -EBADMSG || (err == 0 && done < REBUILD_STEP)) {
        if (err == 0) {
            err = store_view_index_change(view, txn, table, NULL, &record);
            if (err < 0)
                break;
            done++;
            from->len = 0;
            buf_append_str(from, record.key);
            buf_append_char(from, '\0');
        }
        err = store_cursor_next(&cursor, &record);
    }
    store_cursor_close(&cursor);
    if (err < 0 && err != -ENOENT)
        return err;
    *ret_more = err == 0;
    return buf_error(from);
}

static int rebuild_step(struct store_view *view, unsigned table, struct buf *from, bool *ret_more)
{
    struct store_view_txn txn;
    int err;

    err = store_view_begin(view, &txn);
    if (err < 0)
        return err;
    err = rebuild_records(view, txn.txn, table, from, ret_more);
    if (err == 0 && !*ret_more)
        err = put_state(view, txn.txn, table, BUILT);
    if (err == 0)
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    return err;
}

int store_view_index_prepare(struct store_view *view, unsigned table)
{
    struct buf from = {.max = STORE_MAX_KEY + 1};
    bool more;
    int err;

    err = rebuild_begin(view, table, &more);
    more = err == 0 && more && view->tables[table].index != NULL;
    while (err == 0 && more)
        err = rebuild_step(view, table, &from, &more);
    buf_release(&from);
    return err;
}
