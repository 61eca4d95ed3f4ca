/* Write transactions, errors, and the small values of the view: what records, snapshots and indexes are built on. */
#include "store_view_internal.h"
#include <errno.h>
#include <sys/statvfs.h>

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

    if (err == EIO && fstatvfs(view->data_fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < STORE_VIEW_RESERVE)
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

/* ---- size ---- */

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
