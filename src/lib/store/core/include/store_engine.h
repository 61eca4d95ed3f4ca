/* store_engine -- what engines are made of: the interface of an engine, requests and their queue.
 *
 * An engine is a URL scheme and a table of functions. It commits requests in an order of its own making and reads from
 * a view (store_view.h), a local LMDB database that holds the records and derives their index entries: the lmdb engine
 * writes to its view directly, an engine with replicas would feed it from the log that they share. So whatever an
 * engine does to agree on the order, reading, indexes and cursors are written once.
 */
#pragma once
#include "names.h"
#include "store.h"
#include <errno.h>
#include <pthread.h>

struct store_op {
    enum store_action action;
    enum store_expect expect;
    unsigned table;
    uint64_t seq;      /* of STORE_AT */
    size_t key, value; /* offsets in the batch's bytes */
    size_t key_len, value_len;
};

/* A batch becomes the request that carries it, so that a request never needs memory of its own. */
struct store_batch {
    struct store_batch *next; /* in the queue */
    struct buf bytes;         /* keys and values */
    struct store_op ops[STORE_MAX_BATCH];
    unsigned count;
    int err;            /* of building it */
    struct trace trace; /* of the span that writing it is; not sampled: it is none */
    uint64_t begun_ns;

    uint64_t deadline_ns;
    store_written *done;
    void *arg;
    struct store_result result;
};

struct str store_op_key(const struct store_batch *batch, unsigned op);
struct str store_op_value(const struct store_batch *batch, unsigned op);
/* Does a record, or none (NULL), meet what an operation expects? 0, -EEXIST, -ENOENT or -ESTALE. */
int store_op_check(const struct store_op *op, const struct store_record *record);
static inline bool store_is_conflict(int err) /* one of these errors */
{
    return err == -EEXIST || err == -ENOENT || err == -ESTALE;
}

struct store_engine {
    const char *scheme; /* "lmdb" */
    /* rest is what stands behind "scheme://". NULL, or what is wrong with it, a constant. */
    const char *(*check)(const char *rest);
    int (*open)(const struct store_options *options, const char *rest, struct store **ret_store, char *error,
                size_t error_size);
    void (*close)(struct store *store); /* frees it */
    int (*health)(const struct store *store);
    int (*ready)(const struct store *store); /* NULL: while it is healthy */
    /* Takes a well-formed batch and ends it by store_answer, once. */
    void (*write)(struct store *store, struct store_batch *take_batch);
    void (*read)(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg);
    int (*restored)(struct store *store, uint64_t last_seq);
    /* NULL: it uses what is free again by itself. */
    int (*defragment)(const char *rest, unsigned min_free_percent, store_defragmented *told, void *arg, char *error,
                      size_t error_size);
};

enum { STORE_RESULTS = 6 }; /* that store_write_results_total tells apart */

/* What every engine's own store begins with; store_opened fills it in. */
struct store {
    const struct store_engine *engine;
    const struct store_table *tables; /* the engine sets them where options do not */
    size_t table_count;
    enum store_mode mode;
    struct metrics_series *results[STORE_RESULTS];
    struct span_sink *spans;
};

/* What a store that an engine has opened begins with. */
void store_opened(struct store *store, const struct store_engine *engine, const struct store_options *options);
void store_batch_begin_span(struct store *store, struct store_batch *batch);
/* A span of what the store has done since begun_ns, where trace is sampled. count: operations of a batch; 0: a read. */
void store_span_end(const struct store *store, const struct trace *trace, uint64_t begun_ns, unsigned count, int err);
/* Calls done with the batch's result, counts it and frees the batch. */
void store_answer(struct store *store, struct store_batch *take_batch);
/* Writes a line into error and returns err: for `return store_fail(...)`. */
int store_fail(char *error, size_t error_size, int err, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- the mark of a restoration ----
 *
 * While a store is filled by STORE_RESTORE, a mark with the data says so, and afterwards what it was filled from. It is
 * written in the transaction that begins, or ends, the restoration: a store that holds a part of what it should is
 * never served, and one that holds something is never filled. The bytes are part of the stored format. */

#define STORE_MARK (1 + STORE_RESTORE_ID)

enum store_mark_state { STORE_MARK_RESTORING = 1, STORE_MARK_RESTORED = 2 };

struct str store_mark_make(enum store_mark_state state, const uint8_t id[STORE_RESTORE_ID], char mark[STORE_MARK]);
/* Whether a store with that mark (empty: none) may be opened in that mode. 0; *ret_same: it is a part of what is to be
 * restored, so it need not be empty. -EPROTO, -EALREADY, -ENOTEMPTY: *ret_why says why, for "PLACE %s". */
int store_mark_check(struct str mark, enum store_mode mode, const uint8_t *id, bool *ret_same, const char **ret_why);

/* ---- mistakes made on purpose ----
 *
 * tests/torture shows that it finds lost and stale data by programs that make such mistakes: they define the function,
 * no other program does. An engine calls it by store_fault where a mistake can be made. */

enum store_fault_point {
    STORE_FAULT_COMMIT, /* struct store_fault_commit: these are about to be committed */
    STORE_FAULT_MEMBER, /* struct store_fault_member: one is about to be put into the transaction; true: leave it out */
    STORE_FAULT_READ,   /* struct store_fault_read: true: it has been done */
};

struct store_fault_commit {
    struct store_batch **requests;
    size_t count;
};

struct store_fault_member {
    size_t index, count;
};

struct store_view;

struct store_fault_read {
    struct store_view *view; /* NULL: the read goes on with max_stale_ms */
    uint64_t max_stale_ms;
    store_reader *read;
    void *arg;
};

bool slipway_store_fault(enum store_fault_point point, void *arg) __attribute__((weak));

static inline bool store_fault(enum store_fault_point point, void *arg)
{
    return slipway_store_fault != NULL && slipway_store_fault(point, arg);
}

/* ---- what every engine counts ---- */

struct store_metrics {
    struct metrics *registry; /* NULL: none */
    struct metrics_series *commits, *commit_seconds, *batch_requests, *queue_requests, *bytes_used, *bytes_max;
    struct metrics_series *readers, *disk_free, *disk_size, *records, *revision;
};

void store_metrics_open(struct store_metrics *metrics, const struct store_options *options);
/* bytes_used, records, revision. */
void store_metrics_set_size(const struct store_metrics *metrics, uint64_t bytes, uint64_t records, uint64_t last_seq);
/* Of the file system that has the file. */
void store_metrics_set_disk(const struct store_metrics *metrics, int fd);
struct metrics_series *store_metrics_single(struct metrics *registry, enum metrics_type type, const char *name,
                                            const char *help);

/* ---- the queue of requests: any thread puts, one takes ---- */

struct store_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct store_batch *first, **last;
    size_t count, bytes, max_count, max_bytes;
    size_t wanted; /* requests for which the taker is woken */
    bool closed;
};

void store_queue_init(struct store_queue *queue, size_t max_count, size_t max_bytes);
void store_queue_release(struct store_queue *queue); /* it must be empty */
/* 0, or -ENOBUFS when it is full, or -ECANCELED when it is closed; the batch stays the caller's then. */
int store_queue_put(struct store_queue *queue, struct store_batch *batch);
/* For the taker: waits until so many requests are there (or as many as fit), until_ns (monotonic) comes, or the queue
 * is closed. Returns whether they are there. */
bool store_queue_await(struct store_queue *queue, size_t wanted, uint64_t until_ns);
/* Waits for requests until until_ns (monotonic) and takes all there are, in order, within the bounds (one always fits).
 * Returns how many: 0 when until_ns has come, or when the queue is closed and empty (*ret_closed). */
size_t store_queue_take(struct store_queue *queue, struct store_batch **requests, size_t max_count, size_t max_bytes,
                        uint64_t until_ns, bool *ret_closed);
void store_queue_close(struct store_queue *queue);
size_t store_queue_count(struct store_queue *queue);
