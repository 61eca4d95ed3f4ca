/* Records in a write transaction, and the room that they have. */
#include "store_view_internal.h"
#include <errno.h>
#include <fcntl.h>

#define MIN_GROWTH      (1ULL << 20)
#define MAX_GROWTH      (64ULL << 20)
#define GROWTH_FRACTION 8

/* ---- records ---- */

int store_view_get(struct store_view_txn *txn, unsigned table, struct str key, struct store_record *ret_record)
{
    return store_get(&(struct store_snapshot){.view = txn->view, .txn = txn->txn}, table, key, ret_record);
}

/* new: NULL where there will be none; beyond: there is none now. */
static int change_index(struct store_view_txn *txn, unsigned table, struct str key, const struct store_record *new,
                        bool beyond)
{
    struct store_record old;
    int err;

    if (txn->view->tables[table].index == NULL)
        return 0;
    err = beyond ? -ENOENT : store_view_get(txn, table, key, &old);
    if (err == -EBADMSG) /* a damaged record has no entries */
        err = -ENOENT;
    if (err < 0 && err != -ENOENT)
        return err;
    return store_view_index_change(txn->view, txn->txn, table, err == 0 ? &old : NULL, new);
}

static int put(struct store_view_txn *txn, unsigned table, const struct store_record *record, bool beyond)
{
    MDB_val k = store_view_val(record->key), v = {STORE_RECORD_HEADER + record->value.len, NULL};
    int err;

    err = change_index(txn, table, record->key, record, beyond);
    if (err < 0)
        return err;
    err = mdb_put(txn->txn, txn->view->records[table], &k, &v, MDB_RESERVE | (beyond ? MDB_APPEND : 0));
    if (err != 0)
        return store_view_error(err);
    store_record_header(v.mv_data, record->key, record->seq, record->value);
    if (record->value.len > 0)
        memcpy((char *)v.mv_data + STORE_RECORD_HEADER, record->value.s, record->value.len);
    return 0;
}

int store_view_put(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq, struct str value)
{
    return put(txn, table, &(struct store_record){key, value, seq}, false);
}

int store_view_append(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq, struct str value)
{
    return put(txn, table, &(struct store_record){key, value, seq}, true);
}

int store_view_put_damaged(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq)
{
    MDB_val k = store_view_val(key), v = {STORE_RECORD_HEADER, NULL};
    int err;

    err = change_index(txn, table, key, NULL, false);
    if (err == 0)
        err = store_view_error(mdb_put(txn->txn, txn->view->records[table], &k, &v, MDB_RESERVE));
    if (err == 0)
        store_record_header(v.mv_data, STR("damaged"), seq, STR_NULL); /* not its key: so the checksum never matches */
    return err;
}

int store_view_delete(struct store_view_txn *txn, unsigned table, struct str key)
{
    MDB_val k = store_view_val(key);
    int err;

    err = change_index(txn, table, key, NULL, false);
    return err < 0 ? err : store_view_error(mdb_del(txn->txn, txn->view->records[table], &k, NULL));
}

/* ---- room ---- */

/* Asks the file system for the blocks before LMDB writes to them: so a full disk is found here, where it costs one
 * request its put, and not in the middle of a commit. */
static int allocate(struct store_view *view, uint64_t bytes)
{
    if (!view->preallocates)
        return 0;
    while (fallocate(view->data_fd, 0, 0, (off_t)bytes) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS) {
            view->preallocates = false; /* the commit will find it */
            return 0;
        }
        if (errno != EINTR)
            return -errno;
    }
    view->allocated_bytes = bytes;
    return 0;
}

int store_view_make_room(struct store_view_txn *txn, size_t bytes)
{
    struct store_view *view = txn->view;
    uint64_t used = store_view_txn_bytes(view, txn->txn) + bytes, needed = used + STORE_VIEW_RESERVE;
    uint64_t growth = used / GROWTH_FRACTION;

    if (used > view->max_bytes)
        return -ENOSPC;
    if (needed <= view->allocated_bytes)
        return 0;
    growth = growth < MIN_GROWTH ? MIN_GROWTH : growth > MAX_GROWTH ? MAX_GROWTH : growth;
    if (allocate(view, needed + growth) == 0 || allocate(view, needed) == 0)
        return 0;
    return -ENOSPC;
}
