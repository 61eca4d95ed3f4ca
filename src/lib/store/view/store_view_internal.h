/* store_view_internal -- what the parts of a view share. */
#pragma once
#include "include/names.h"
#include "store_engine.h"
#include "store_view.h"
#include <pthread.h>

#define STORE_VIEW_MAX_SNAPSHOTS 256
/* Bytes in the file that puts leave free: a delete copies the pages that it changes. */
#define STORE_VIEW_RESERVE (2ULL << 20)

struct store_snapshot {
    struct store_view *view;
    MDB_txn *txn;
    uint64_t age_ms;
};

struct store_view {
    char *dir;
    int lock_fd;
    int data_fd; /* LMDB's */
    MDB_env *env;
    MDB_dbi meta, records[STORE_MAX_TABLES], entries[STORE_MAX_TABLES];
    const struct store_table *tables;
    size_t table_count;
    enum store_mode mode;
    const uint8_t *restore_id;
    struct store_table found_tables[STORE_MAX_TABLES]; /* STORE_INSPECT's */
    char found_names[STORE_MAX_TABLES][17];
    size_t page_bytes;
    uint64_t max_bytes;
    uint64_t allocated_bytes; /* of the data file: writer only */
    bool preallocates;        /* the file system can */
    bool unsynced;

    pthread_mutex_t mutex; /* guards the pool */
    struct store_snapshot snapshots[STORE_VIEW_MAX_SNAPSHOTS];
    struct store_snapshot *idle[STORE_VIEW_MAX_SNAPSHOTS];
    size_t idle_count, snapshot_count;
};

/* LMDB's codes and errno as -errno. */
int store_view_error(int lmdb_result);

static inline MDB_val store_view_val(struct str s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.s};
}

static inline struct str store_view_str(MDB_val v)
{
    return (struct str){v.mv_data, v.mv_size};
}

/* That data takes as a transaction sees it: pages in use, without free ones. */
uint64_t store_view_txn_bytes(const struct store_view *view, MDB_txn *txn);

/* Meta data: small values by name. */
int store_view_meta_get(MDB_txn *txn, MDB_dbi meta, const char *name, struct str *ret_value);
int store_view_meta_put(MDB_txn *txn, MDB_dbi meta, const char *name, const void *value, size_t len);

/* ---- envelopes (record.c) ---- */

#define STORE_RECORD_HEADER 16
void store_record_header(uint8_t header[STORE_RECORD_HEADER], struct str key, uint64_t seq, struct str value);
int store_record_parse(struct str key, struct str envelope, struct store_record *ret_record); /* 0 or -EBADMSG */

/* ---- index entries (index.c, rebuild.c) ---- */

/* Changes a table's entries from those of old to those of new; either may be NULL. 0 or -errno. */
int store_view_index_change(struct store_view *view, MDB_txn *txn, unsigned table, const struct store_record *old,
                            const struct store_record *new);
/* Makes the index of a table anew where it is not of the version wanted. */
int store_view_index_prepare(struct store_view *view, unsigned table);
