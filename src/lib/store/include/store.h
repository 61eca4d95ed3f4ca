/* store -- durable, ordered tables of records behind one interface, the engine chosen by URL.
 *
 *   lmdb:///DIR
 *       one process on one machine: LMDB, with group commit
 *   etcd://HOST:PORT[,HOST:PORT...]/PREFIX[?OPTION=VALUE[&OPTION=VALUE...]]
 *       any number of processes over one etcd (3.5.8 or newer), whose keys begin with /PREFIX/ (a PREFIX is 1 to 64 of
 *       A-Za-z0-9._-). Each keeps a copy of all data, its view, to read from. Options, taken as they are written:
 *           view=DIR                       where the view is: a folder for this process alone, made if missing, from
 *                                          which a restart goes on; without it a temporary one, gone with the process
 *           ca=FILE                        TLS, with these authorities (PEM)
 *           cert=FILE, key=FILE            the client's certificate and key (PEM), where etcd wants one
 *           user=NAME, password_file=FILE  where etcd has authentication enabled
 *
 * A store holds tables; a table holds records: key (1..STORE_MAX_KEY bytes) -> value (..STORE_MAX_VALUE bytes), in
 * memcmp order of the keys. Every record carries seq, the place of its last write in the order of commits: unique
 * within the store, growing, the order of truth (clocks play no part).
 *
 * A table may have an index: entries derived from its records by a pure function, kept in the same transaction by
 * the engine, never sent anywhere: an engine with replicas derives them again on each.
 *
 * Writes: store_write takes a batch of operations with expectations, all or nothing, and answers after it is durable.
 * Requests wait in a bounded queue; one writer commits many at once (group commit).
 * Reads: store_read calls back with a snapshot that holds every write acknowledged before the call.
 */
#pragma once
#include "buf.h"
#include "log.h"
#include "metrics.h"
#include "names.h"
#include "span.h"

#define STORE_MAX_KEY         256          /* bytes */
#define STORE_MAX_VALUE       (256 * 1024) /* bytes */
#define STORE_MAX_BATCH       16           /* operations of one batch */
#define STORE_MAX_TABLES      8
#define STORE_MAX_ENTRIES     32  /* index entries of one record */
#define STORE_MAX_INDEX_KEY   320 /* bytes of an index entry's key: room for a record's key, its seq and a prefix */
#define STORE_MAX_INDEX_VALUE 32  /* bytes of an index entry's value */

struct store;
struct store_snapshot;
struct store_index;

struct store_record {
    struct str key, value;
    uint64_t seq;
};

struct store_table {
    const char *name; /* [a-z_]{1,16}; a table's number is its place in the schema */
    /* Emits the index entries of a record by store_index_add. A pure function of the record: it is called again to find
     * what to remove when the record is changed. NULL: no index. Records that it finds malformed have no entries. */
    void (*index)(struct store_index *index, const struct store_record *record);
    /* Raise it when index changes what it emits: the index is then rebuilt when the store is opened. */
    unsigned index_version;
};

/* An index entry: key (unique within the table's index: end it with seq or the record's key), small value. Copied.
 * Beyond the limits above is a bug and asserts. */
void store_index_add(struct store_index *index, struct str key, struct str value);

enum store_mode {
    STORE_SERVE,   /* what services do */
    STORE_INSPECT, /* reads records, while another process may be writing: for tools. Indexes are left alone */
    STORE_RESTORE, /* fills an empty store by store_batch_restore alone: see below */
};

#define STORE_RESTORE_ID 32 /* bytes */

#define STORE_QUEUE_BYTES ((size_t)64 << 20)

struct store_options {
    const char *url;
    const struct store_table *tables; /* must outlive the store; the schema: stored, and checked at the next open,
                                         where further tables may only have been added at the end. STORE_INSPECT: NULL
                                         for whatever the data has */
    size_t table_count;
    enum store_mode mode;
    const uint8_t *restore_id; /* STORE_RESTORE: what is restored, STORE_RESTORE_ID bytes */
    uint64_t max_bytes;        /* the size that the data may reach, beyond it puts are refused (-ENOSPC); 0: 16 GiB
                                  (address space, not disk) */
    size_t max_queue;          /* requests waiting; 0: 8,192 */
    size_t max_queue_bytes;    /* 0: STORE_QUEUE_BYTES */
    size_t max_call_bytes;     /* of calls in flight to each server of the store; 0: no bound */
    struct metrics *metrics;   /* may be NULL */
    struct span_sink *spans;   /* of writes and reads on behalf of a trace; may be NULL */
    struct log *log;           /* what somebody has to do something about; may be NULL */
};

/* error receives one line saying what is wrong and where. 0, -EINVAL (the URL), -EBUSY (a second process has it open),
 * -EPROTO (another format, another service's tables, too old an etcd, or a restoration that has not ended), -EACCES,
 * -ENOSPC, -EHOSTUNREACH (no etcd within 30 s), ... STORE_INSPECT: -ENOENT (nothing is there). STORE_RESTORE:
 * -ENOTEMPTY, -EALREADY (it has been restored from that very source). */
int store_open(const struct store_options *options, struct store **ret_store, char *error, size_t error_size);
/* For options: NULL, or what is wrong with a URL, a constant; it does not look whether anything is there. */
const char *store_check_url(const char *url);
/* The tables it was opened with, or those that were found: valid until it is closed. Returns how many. */
size_t store_tables(const struct store *store, const struct store_table **ret_tables);
/* Commits what is queued, answers it, ends the threads; requests that callbacks make meanwhile are refused with
 * -ECANCELED. Apart from those nothing may be using the store any more. Returns NULL. */
struct store *store_close(struct store *store);
/* 0, or -EIO once the engine has failed in a way that only a restart may mend (lmdb: a failed write of a meta page;
 * etcd: the view cannot be written, nor a fresh one, which goes on being tried). */
int store_health(const struct store *store);
/* 0, or why reads and writes here cannot succeed at present, though elsewhere they may: what store_health returns, and
 * (etcd) that the view cannot be written because its disk is full. It may become 0 again by itself. Any thread. */
int store_ready(const struct store *store);

/* ---- writing ---- */

enum store_expect {
    STORE_ANY,     /* whatever is there */
    STORE_ABSENT,  /* no record of that key, else -EEXIST */
    STORE_PRESENT, /* a record of that key, else -ENOENT */
    STORE_AT,      /* a record with this very seq, else -ENOENT or -ESTALE */
};

enum store_action { STORE_PUT, STORE_DELETE, STORE_CHECK, STORE_PUT_SEQ };

struct store_batch;

struct store_batch *store_batch_new(void); /* NULL out of memory, which all below accept: store_write reports it */
struct store_batch *store_batch_free(struct store_batch *batch);
/* Copies key and value. Errors (sizes beyond the limits, too many operations, a key twice, memory) are kept and
 * reported by store_write. */
void store_batch_put(struct store_batch *batch, unsigned table, struct str key, struct str value,
                     enum store_expect expect, uint64_t seq);
void store_batch_delete(struct store_batch *batch, unsigned table, struct str key, enum store_expect expect,
                        uint64_t seq);
void store_batch_check(struct store_batch *batch, unsigned table, struct str key, enum store_expect expect,
                       uint64_t seq);

/* On whose behalf: writing it is a span of that trace. */
void store_batch_set_trace(struct store_batch *batch, const struct trace *trace);
/* Fails the batch with err (where it has not failed already): for functions that add operations for their caller. */
void store_batch_fail(struct store_batch *batch, int err);

struct store_result {
    int err;            /* 0: durable. -EEXIST, -ENOENT, -ESTALE: failed_op's expectation. -ENOSPC: full. -ENOBUFS: the
                           queue is full. -ETIMEDOUT, -EHOSTUNREACH (no connection): not written and never will be.
                           -EINPROGRESS: the deadline came before the result: it may or may not have been written, or
                           may yet be. -EBADMSG: the record that failed_op would replace is damaged. -EINVAL,
                           -EMSGSIZE (etcd: a batch beyond 1 MiB, too), -ENOMEM: the batch itself. -EIO */
    uint64_t seq;       /* of the batch's records: operation i has seq + i */
    unsigned failed_op; /* where an expectation failed */
};

typedef void store_written(void *arg, const struct store_result *result);

/* Takes the batch. done is called exactly once, from a thread of the store (it must not block) or, where the request is
 * refused at once, from within this function. deadline_ns (monotonic): a request that is still queued then is given up;
 * etcd: it is answered then at the latest, and after 60 s in any case. */
void store_write(struct store *store, struct store_batch *take_batch, uint64_t deadline_ns, store_written *done,
                 void *arg);
/* The same, blocking: for tools, tests and start-up, never in an event loop. */
int store_write_wait(struct store *store, struct store_batch *take_batch, uint64_t deadline_ns,
                     struct store_result *ret_result);

/* ---- restoring: the records of one store put into another, with their seqs ----
 *
 * A store that is opened by STORE_RESTORE must be empty, or hold a part of what has the same restore_id: the
 * restoration begins again then, and puts what is there once more. Until store_restored no other open succeeds.
 * Afterwards the store goes on behind last_seq, so that what records say of seqs stays true. Indexes are made at the
 * next open. */

/* Only in such a store, and nothing else there. Seqs are 1 to last_seq, each once. */
void store_batch_restore(struct store_batch *batch, unsigned table, struct str key, struct str value, uint64_t seq);
/* All is there, every write answered. 0 and durable, or -errno. Blocks. */
int store_restored(struct store *store, uint64_t last_seq);

/* ---- reading ---- */

typedef void store_reader(void *arg, int err, struct store_snapshot *snapshot);

/* Calls read once with a snapshot (err 0), or with an error and NULL: at once in the caller's thread with lmdb, maybe
 * later and in another thread with an engine that must ask its peers first. max_stale_ms > 0 accepts data that may be
 * that old. Everything a snapshot returns is valid until read returns; read must not block and not wait for a write.
 * Errors: -EAGAIN (too many reads at once), -ETIMEDOUT, -EHOSTUNREACH (no connection), -EIO. */
void store_read(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg);

/* The same on behalf of a trace: a span of it, which ends when read is called. */
void store_read_traced(struct store *store, const struct trace *trace, uint64_t deadline_ns, uint64_t max_stale_ms,
                       store_reader *read, void *arg);
/* The same, returning when read has returned: for tools, tests and threads of one's own. */
void store_read_wait(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg);

/* 0 and the record, or -ENOENT, -EBADMSG (its checksum does not match), -EIO. */
int store_get(struct store_snapshot *snapshot, unsigned table, struct str key, struct store_record *ret_record);
uint64_t store_count(struct store_snapshot *snapshot, unsigned table); /* records */
uint64_t store_last_seq(struct store_snapshot *snapshot);              /* of the last commit it holds */
uint64_t store_age_ms(const struct store_snapshot *snapshot);          /* how old it may be; 0: linearizable */

/* Cursors over a table's records, or over its index entries (key and value of the entry; seq is 0). {0} is closed.
 * All return 0, -ENOENT at the end (seek before going on), -EBADMSG (going on is possible), -EIO. */
struct store_cursor {
    void *engine; /* private */
    struct store_snapshot *snapshot;
    unsigned table;
    bool index;
};

int store_cursor_open(struct store_snapshot *snapshot, unsigned table, bool index,
                      struct store_cursor *ret_cursor); /* 0 or -ENOMEM */
void store_cursor_close(struct store_cursor *cursor);   /* before the snapshot ends */
/* The first at or after key; the last before key (key {NULL, 0}: the very first, the very last). */
int store_cursor_seek(struct store_cursor *cursor, struct str key, struct store_record *ret_record);
int store_cursor_seek_before(struct store_cursor *cursor, struct str key, struct store_record *ret_record);
int store_cursor_next(struct store_cursor *cursor, struct store_record *ret_record); /* unmoved so far: the first */
int store_cursor_previous(struct store_cursor *cursor, struct store_record *ret_record);

/* ---- upkeep ---- */

struct store_member {
    const char *name;    /* HOST:PORT */
    uint64_t size, free; /* bytes of its file, and of those in it that nothing uses */
    uint64_t new_size;   /* 0: it was left as it is */
};

typedef void store_defragmented(void *arg, const struct store_member *member);

/* Gives back to the file system what deleted records and old revisions have left free in the files of etcd's members,
 * for all prefixes. A member stands still meanwhile, so they take turns, each when the one before has caught up; the
 * leader, which would hold up every write, hands over first. Members with less than min_free_percent of their file free
 * are left as they are. told is called after each, in the caller's thread. Blocks: for tools. 0, or what went wrong and
 * with whom in error: -EOPNOTSUPP (lmdb uses what is free again by itself), -EINVAL (the URL), -EHOSTUNREACH (nothing
 * is begun while a member does not answer: another one standing still might leave no majority), -ETIMEDOUT, -EACCES. */
int store_defragment(const char *url, unsigned min_free_percent, store_defragmented *told, void *arg, char *error,
                     size_t error_size);

/* ---- keys ---- */

/* Big-endian, so that memcmp order is numeric order. */
void store_put_u64(uint8_t bytes[8], uint64_t value);
uint64_t store_get_u64(const void *bytes);
