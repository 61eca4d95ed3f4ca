/* Making an index anew, when the version of its function is another one than that which made the entries.
 *
 * A state is stored for each table: what version its entries are of, and whether they are complete. A rebuild notes
 * that they are not, empties the index, puts the entries of REBUILD_STEP records at a time, each step a transaction,
 * and then notes that they are complete. One that was interrupted begins again at the next open. */
#include "store_view_internal.h"
#include <errno.h>
#include <stdio.h>

#define REBUILD_STEP 10000 /* records a transaction: bounds what one dirties */

enum build { NOT_BUILT = 0, BUILT = 1 }; /* stored */

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
