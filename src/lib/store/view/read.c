/* Snapshots, and what store.h reads from them. */
#include "store_view_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* ---- the pool: read transactions are kept and renewed, since a new one takes a slot under LMDB's lock ---- */

static struct store_snapshot *pool_take(struct store_view *view)
{
    struct store_snapshot *snapshot = NULL;

    pthread_mutex_lock(&view->mutex);
    if (view->idle_count > 0)
        snapshot = view->idle[--view->idle_count];
    else if (view->snapshot_count < STORE_VIEW_MAX_SNAPSHOTS)
        snapshot = &view->snapshots[view->snapshot_count++];
    pthread_mutex_unlock(&view->mutex);
    return snapshot;
}

static void pool_give(struct store_snapshot *snapshot)
{
    struct store_view *view = snapshot->view;

    pthread_mutex_lock(&view->mutex);
    view->idle[view->idle_count++] = snapshot;
    pthread_mutex_unlock(&view->mutex);
}

int store_view_snapshot_take(struct store_view *view, struct store_snapshot **ret_snapshot)
{
    struct store_snapshot *snapshot = pool_take(view);
    int err;

    if (snapshot == NULL)
        return -EAGAIN;
    snapshot->view = view;
    snapshot->age_ms = 0;
    err = snapshot->txn != NULL ? mdb_txn_renew(snapshot->txn)
                                : mdb_txn_begin(view->env, NULL, MDB_RDONLY, &snapshot->txn);
    if (err != 0) {
        pool_give(snapshot);
        return store_view_error(err);
    }
    *ret_snapshot = snapshot;
    return 0;
}

void store_view_snapshot_give(struct store_snapshot *snapshot)
{
    mdb_txn_reset(snapshot->txn);
    pool_give(snapshot);
}

void store_view_snapshot_set_age(struct store_snapshot *snapshot, uint64_t age_ms)
{
    snapshot->age_ms = age_ms;
}

struct store_view_txn store_view_snapshot_txn(struct store_snapshot *snapshot)
{
    return (struct store_view_txn){snapshot->view, snapshot->txn};
}

unsigned store_view_readers(struct store_view *view)
{
    unsigned count;

    pthread_mutex_lock(&view->mutex);
    count = (unsigned)(view->snapshot_count - view->idle_count);
    pthread_mutex_unlock(&view->mutex);
    return count;
}

uint64_t store_view_snapshot_bytes(struct store_snapshot *snapshot)
{
    return store_view_txn_bytes(snapshot->view, snapshot->txn);
}

static uint64_t count_records(const struct store_view *view, MDB_txn *txn)
{
    uint64_t count = 0;
    MDB_stat stat;

    for (size_t i = 0; i < view->table_count; i++)
        if (mdb_stat(txn, view->records[i], &stat) == 0)
            count += stat.ms_entries;
    return count;
}

struct store_view_size store_view_size(struct store_view *view)
{
    struct store_view_size size = {.bytes = 0};
    struct store_snapshot *snapshot;
    struct store_view_txn txn;

    if (store_view_snapshot_take(view, &snapshot) < 0)
        return size;
    txn = store_view_snapshot_txn(snapshot);
    size = (struct store_view_size){.bytes = store_view_snapshot_bytes(snapshot),
                                    .records = count_records(view, snapshot->txn),
                                    .last_seq = store_view_last_seq(&txn)};
    store_view_snapshot_give(snapshot);
    return size;
}

int store_view_fd(const struct store_view *view)
{
    return view->data_fd;
}

unsigned store_view_check_readers(struct store_view *view)
{
    int dead = 0;

    mdb_reader_check(view->env, &dead);
    return (unsigned)dead;
}

/* LMDB tells it as lines of a process, a thread and a transaction's number, or "-" where none is open. */
static int note_reader(const char *line, void *arg)
{
    struct store_view_reader *oldest = arg;
    unsigned long long txn;
    int pid;

    if (sscanf(line, "%d %*x %llu", &pid, &txn) == 2 && pid != 0 && txn < oldest->txn)
        *oldest = (struct store_view_reader){pid, txn};
    return 0;
}

struct store_view_reader store_view_oldest_reader(struct store_view *view)
{
    struct store_view_reader oldest = {0, UINT64_MAX};
    MDB_envinfo info;

    mdb_env_info(view->env, &info);
    mdb_reader_list(view->env, note_reader, &oldest);
    return oldest.pid != 0 && oldest.txn < info.me_last_txnid ? oldest : (struct store_view_reader){0};
}

/* ---- records ---- */

int store_get(struct store_snapshot *snapshot, unsigned table, struct str key, struct store_record *ret_record)
{
    MDB_val k = store_view_val(key), v;
    int err;

    assert(table < snapshot->view->table_count);
    if (key.len < 1 || key.len > STORE_MAX_KEY)
        return -ENOENT;
    err = mdb_get(snapshot->txn, snapshot->view->records[table], &k, &v);
    return err != 0 ? store_view_error(err) : store_record_parse(key, store_view_str(v), ret_record);
}

uint64_t store_count(struct store_snapshot *snapshot, unsigned table)
{
    MDB_stat stat = {0};

    assert(table < snapshot->view->table_count);
    mdb_stat(snapshot->txn, snapshot->view->records[table], &stat);
    return stat.ms_entries;
}

uint64_t store_last_seq(struct store_snapshot *snapshot)
{
    struct store_view_txn txn = store_view_snapshot_txn(snapshot);

    return store_view_last_seq(&txn);
}

uint64_t store_age_ms(const struct store_snapshot *snapshot)
{
    return snapshot->age_ms;
}

/* ---- cursors ---- */

int store_cursor_open(struct store_snapshot *snapshot, unsigned table, bool index, struct store_cursor *ret_cursor)
{
    struct store_view *view = snapshot->view;
    MDB_cursor *cursor;
    int err;

    assert(table < view->table_count);
    err = mdb_cursor_open(snapshot->txn, index ? view->entries[table] : view->records[table], &cursor);
    if (err != 0)
        return store_view_error(err);
    *ret_cursor = (struct store_cursor){cursor, snapshot, table, index};
    return 0;
}

void store_cursor_close(struct store_cursor *cursor)
{
    if (cursor->engine != NULL)
        mdb_cursor_close(cursor->engine);
    *cursor = (struct store_cursor){0};
}

static int read_cursor(struct store_cursor *cursor, MDB_val key, MDB_cursor_op op, struct store_record *ret_record)
{
    MDB_val value;
    int err;

    err = mdb_cursor_get(cursor->engine, &key, &value, op);
    if (err != 0)
        return store_view_error(err);
    if (!cursor->index)
        return store_record_parse(store_view_str(key), store_view_str(value), ret_record);
    *ret_record = (struct store_record){store_view_str(key), store_view_str(value), 0};
    return 0;
}

int store_cursor_seek(struct store_cursor *cursor, struct str key, struct store_record *ret_record)
{
    return read_cursor(cursor, store_view_val(key), key.len > 0 ? MDB_SET_RANGE : MDB_FIRST, ret_record);
}

int store_cursor_seek_before(struct store_cursor *cursor, struct str key, struct store_record *ret_record)
{
    MDB_val k = store_view_val(key), value;
    int err;

    err = key.len > 0 ? mdb_cursor_get(cursor->engine, &k, &value, MDB_SET_RANGE) : MDB_NOTFOUND;
    if (err != 0 && err != MDB_NOTFOUND)
        return store_view_error(err);
    return read_cursor(cursor, k, err == 0 ? MDB_PREV : MDB_LAST, ret_record);
}

int store_cursor_next(struct store_cursor *cursor, struct store_record *ret_record)
{
    return read_cursor(cursor, (MDB_val){0}, MDB_NEXT, ret_record);
}

int store_cursor_previous(struct store_cursor *cursor, struct store_record *ret_record)
{
    return read_cursor(cursor, (MDB_val){0}, MDB_PREV, ret_record);
}
