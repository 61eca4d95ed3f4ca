/* Write transactions, and the room that they have. */
#include "store_view_internal.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>

/* Room in the file that puts leave free: a delete copies the pages that it changes. */
#define RESERVE_BYTES   (2ULL << 20)
#define MIN_GROWTH      (1ULL << 20)
#define MAX_GROWTH      (64ULL << 20)
#define GROWTH_FRACTION 8

/* ---- errors ---- */

int store_view_error(int lmdb_result)
{
    switch (lmdb_result) {
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case EDQUOT:
    case EFBIG:
        return -ENOSPC;
    case MDB_READERS_FULL:
        return -EAGAIN;
    case MDB_VERSION_MISMATCH:
    case MDB_INVALID:
        return -EPROTO;
    default:
        return lmdb_result < 0 ? -EIO : -lmdb_result; /* MDB_PANIC, MDB_CORRUPTED, ... */
    }
}

/* LMDB reports a short write as EIO; where the file system is full, that is what it was. */
static int commit_error(struct store_view *view, int err)
{
    struct statvfs fs;

    if (err == EIO && fstatvfs(view->data_fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < RESERVE_BYTES)
        return -ENOSPC;
    return store_view_error(err);
}

/* ---- transactions ---- */

int store_view_begin(struct store_view *view, struct store_view_txn *ret_txn)
{
    MDB_txn *txn;
    int err = mdb_txn_begin(view->env, NULL, 0, &txn);

    if (err != 0)
        return store_view_error(err);
    *ret_txn = (struct store_view_txn){view, txn};
    return 0;
}

int store_view_commit(struct store_view_txn *txn)
{
    int err = mdb_txn_commit(txn->txn);

    txn->txn = NULL;
    return err != 0 ? commit_error(txn->view, err) : 0;
}

void store_view_abort(struct store_view_txn *txn)
{
    if (txn->txn != NULL)
        mdb_txn_abort(txn->txn);
    txn->txn = NULL;
}

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

/* ---- meta data ---- */

int store_view_meta_get(MDB_txn *txn, MDB_dbi meta, const char *name, struct str *ret_value)
{
    MDB_val key = store_view_val(str_of(name)), value;
    int err = mdb_get(txn, meta, &key, &value);

    if (err != 0)
        return store_view_error(err);
    *ret_value = store_view_str(value);
    return 0;
}

int store_view_meta_put(MDB_txn *txn, MDB_dbi meta, const char *name, const void *value, size_t len)
{
    MDB_val k = store_view_val(str_of(name)), v = {len, (void *)(uintptr_t)value};

    return store_view_error(mdb_put(txn, meta, &k, &v, 0));
}

uint64_t store_view_last_seq(const struct store_view_txn *txn)
{
    struct str value;

    if (store_view_meta_get(txn->txn, txn->view->meta, "seq", &value) < 0 || value.len != 8)
        return 0;
    return store_get_u64(value.s);
}

int store_view_set_last_seq(struct store_view_txn *txn, uint64_t seq)
{
    uint8_t bytes[8];

    store_put_u64(bytes, seq);
    return store_view_meta_put(txn->txn, txn->view->meta, "seq", bytes, sizeof(bytes));
}

int store_view_note_get(const struct store_view_txn *txn, const char *name, struct str *ret_value)
{
    return store_view_meta_get(txn->txn, txn->view->meta, name, ret_value);
}

int store_view_note_put(struct store_view_txn *txn, const char *name, struct str value)
{
    return store_view_meta_put(txn->txn, txn->view->meta, name, value.s, value.len);
}

/* ---- room ---- */

static uint64_t pages(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_stat stat = {0};

    mdb_stat(txn, dbi, &stat);
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

uint64_t store_view_txn_bytes(const struct store_view *view, MDB_txn *txn)
{
    uint64_t count = 2; /* LMDB's meta pages */

    for (MDB_dbi dbi = 0; dbi < 2; dbi++) /* the list of free pages, and of named databases */
        count += pages(txn, dbi);
    count += pages(txn, view->meta);
    for (size_t i = 0; i < view->table_count; i++)
        count += pages(txn, view->records[i]) + pages(txn, view->entries[i]);
    return count * view->page_bytes;
}

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
    uint64_t used = store_view_txn_bytes(view, txn->txn) + bytes, needed = used + RESERVE_BYTES;
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
