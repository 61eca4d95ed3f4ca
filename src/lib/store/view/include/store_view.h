/* store_view -- an LMDB database of tables in a folder of its own: records in checksummed envelopes, index entries
 * derived from them, snapshots to read from. docs/store-format.md describes what is stored.
 *
 * One process has it open at a time. Threads: one writes at a time; any number read.
 */
#pragma once
#include "names.h"
#include "store.h"
#include <lmdb.h>

struct store_view;

struct store_view_options {
    const char *dir;
    const struct store_table *tables; /* must outlive the view */
    size_t table_count;
    uint64_t max_bytes; /* of data */
    enum store_mode mode;
    const uint8_t *restore_id;
    bool unsynced; /* commits are not synced: after a crash of the machine (not of the process) throw it away */
};

/* Makes the folder if it is missing (not its parents). error receives one line. 0, -EBUSY, -EPROTO, other -errno. */
int store_view_open(const struct store_view_options *options, struct store_view **ret_view, char *error,
                    size_t error_size);
/* As store_tables. */
size_t store_view_tables(const struct store_view *view, const struct store_table **ret_tables);
/* As store_restored. */
int store_view_restored(struct store_view *view, uint64_t last_seq);
struct store_view *store_view_close(struct store_view *view); /* no transaction or snapshot may be left; returns NULL */

/* Frees the slots of readers of other processes (backup tools) that have died, and returns how many. Any thread. */
unsigned store_view_check_readers(struct store_view *view);
/* Who reads the oldest snapshot, if it is older than the last commit: no page that it sees is used again. Any thread.
 */
struct store_view_reader {
    int pid;      /* 0: nobody */
    uint64_t txn; /* LMDB's number of the snapshot */
};
struct store_view_reader store_view_oldest_reader(struct store_view *view);
unsigned store_view_readers(struct store_view *view); /* snapshots in use. Any thread. */
struct store_view_size {
    uint64_t bytes;    /* that data takes */
    uint64_t records;  /* of all tables */
    uint64_t last_seq; /* of the last write */
};
/* As far as it can be read: else all 0. Any thread. */
struct store_view_size store_view_size(struct store_view *view);

int store_view_fd(const struct store_view *view); /* of its file, which stays the view's. Any thread. */

/* ---- writing: one transaction at a time, ended in the thread that began it ---- */

struct store_view_txn {
    struct store_view *view;
    MDB_txn *txn;
};

int store_view_begin(struct store_view *view, struct store_view_txn *ret_txn); /* -EIO: only a restart helps */
/* Durable when it returns 0, else nothing has changed. Ends the transaction in either case. */
int store_view_commit(struct store_view_txn *txn);
void store_view_abort(struct store_view_txn *txn); /* an ended one: nothing happens */

/* Everything below returns -ENOSPC, -EIO, ... after which the transaction can only be aborted. */
int store_view_get(struct store_view_txn *txn, unsigned table, struct str key,
                   struct store_record *ret_record); /* valid until the next change; -ENOENT, -EBADMSG are harmless */
int store_view_put(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq, struct str value);
/* The same for a key that is greater than all of the table's: without searching, and without leaving room in pages. */
int store_view_append(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq, struct str value);
/* A record that is known to be damaged: reading it gives -EBADMSG. */
int store_view_put_damaged(struct store_view_txn *txn, unsigned table, struct str key, uint64_t seq);
int store_view_delete(struct store_view_txn *txn, unsigned table, struct str key); /* a record that is there */
uint64_t store_view_last_seq(const struct store_view_txn *txn);
int store_view_set_last_seq(struct store_view_txn *txn, uint64_t seq);
/* Small values by name, for the engine: kept in the transaction. -ENOENT. */
int store_view_note_get(const struct store_view_txn *txn, const char *name, struct str *ret_value);
int store_view_note_put(struct store_view_txn *txn, const char *name, struct str value);
/* Is there room for bytes more, so that deletes will still work? Extends the file where needed. 0 or -ENOSPC, which
 * is harmless. */
int store_view_make_room(struct store_view_txn *txn, size_t bytes);

/* ---- reading: the rest is store.h's store_get, store_cursor_*, ... ---- */

int store_view_snapshot_take(struct store_view *view, struct store_snapshot **ret_snapshot); /* -EAGAIN, -EIO */
void store_view_snapshot_give(struct store_snapshot *snapshot);
void store_view_snapshot_set_age(struct store_snapshot *snapshot, uint64_t age_ms);
uint64_t store_view_snapshot_bytes(struct store_snapshot *snapshot); /* that data takes */
/* The snapshot as a transaction that only reads. */
struct store_view_txn store_view_snapshot_txn(struct store_snapshot *snapshot);
