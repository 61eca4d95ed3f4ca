/* The lmdb engine: one process, one writer thread. The writer takes all requests that are waiting into one transaction,
 * commits it (LMDB syncs the file), and answers them; meanwhile the next ones gather. So a sync is shared by as many
 * writers as there are, and a lone one waits for nobody.
 *
 * Clients that have their answer often make their next request at once. They would miss the next commit, which begins
 * after the last answer. So the writer waits until as many requests are there as were under way at the last commit: for
 * a GATHER_FRACTION of that commit's time at most, only where a commit takes long enough that waking up in time is
 * possible, and not for GATHER_REST commits after it has waited in vain. */
#include "clock.h"
#include "store_lmdb.h"
#include "store_view.h"
#include "thread.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_REQUESTS      1024 /* of one commit, which bounds what it dirties and how long it takes */
#define MAX_REQUEST_BYTES (8 << 20)
#define READER_CHECK_NS   (5 * CLOCK_NS_PER_S)
#define OLD_READER_NS     (60 * CLOCK_NS_PER_S) /* a snapshot that is reported */
#define GATHER_FRACTION   4
#define GATHER_MIN_NS     (50 * 1000) /* threads wake up 50 us later than they want to */
#define GATHER_REST       4

struct lmdb {
    struct store store;
    struct store_view *view;
    struct store_queue queue;
    pthread_t writer;
    bool writing;       /* there is a writer */
    atomic_bool failed; /* see store_health */
    unsigned rest;      /* the writer's: commits before which it does not wait */
    struct log *log;
    struct store_view_reader oldest; /* the writer's: of the last check */
    bool reported;                   /* that reader */
    atomic_uint_fast64_t oldest_ns;  /* when it was first seen; 0: there is none */
    struct store_metrics metrics;
    struct metrics_series *oldest_seconds;
};

/* ---- one transaction ---- */

/* Nothing of a request is applied before all it expects is known to be so: a transaction cannot take back a part. */
static int check(struct store_view_txn *txn, struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        const struct store_op *op = &request->ops[i];
        struct store_record record;
        int err;

        err = store_view_get(txn, op->table, store_op_key(request, i), &record);
        if (err == 0 || err == -ENOENT)
            err = store_op_check(op, err == 0 ? &record : NULL);
        if (err < 0) {
            request->result.failed_op = i;
            return err;
        }
    }
    return 0;
}

static bool has_put(const struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (request->ops[i].action == STORE_PUT || request->ops[i].action == STORE_PUT_SEQ)
            return true;
    return false;
}

/* Whether a request is to be applied: 0, or its own error, which does not concern the others (where it does, because
 * LMDB has found damage, the commit fails). */
static int admit(struct store_view_txn *txn, struct store_batch *request, uint64_t now_ns)
{
    int err;

    if (request->deadline_ns <= now_ns)
        return -ETIMEDOUT;
    err = check(txn, request);
    return err == 0 && has_put(request) ? store_view_make_room(txn, request->bytes.len) : err;
}

static int apply_op(struct store_view_txn *txn, const struct store_batch *request, unsigned i, uint64_t seq)
{
    const struct store_op *op = &request->ops[i];
    struct str key = store_op_key(request, i);
    int err;

    switch (op->action) {
    case STORE_PUT:
        return store_view_put(txn, op->table, key, seq, store_op_value(request, i));
    case STORE_DELETE:
        err = store_view_delete(txn, op->table, key);
        return err == -ENOENT ? 0 : err;
    case STORE_PUT_SEQ:
        return store_view_put(txn, op->table, key, op->seq, store_op_value(request, i));
    case STORE_CHECK:
        break;
    }
    return 0;
}

static int apply(struct store_view_txn *txn, struct store_batch *request, uint64_t *last_seq)
{
    request->result.seq = *last_seq + 1;
    for (unsigned i = 0; i < request->count; i++) {
        int err = apply_op(txn, request, i, ++*last_seq);

        if (err < 0)
            return err;
    }
    return 0;
}

static int apply_all(struct store_view_txn *txn, struct store_batch **requests, size_t count)
{
    uint64_t first_seq = store_view_last_seq(txn), last_seq = first_seq, now_ns = clock_monotonic_ns();

    for (size_t i = 0; i < count; i++) {
        int err;

        requests[i]->result = (struct store_result){0};
        requests[i]->result.err = admit(txn, requests[i], now_ns);
        if (store_fault(STORE_FAULT_MEMBER, &(struct store_fault_member){i, count})) {
            requests[i]->result.seq = last_seq + 1;
            last_seq += requests[i]->count;
            continue;
        }
        err = requests[i]->result.err == 0 ? apply(txn, requests[i], &last_seq) : 0;
        if (err < 0)
            return err;
    }
    return last_seq > first_seq ? store_view_set_last_seq(txn, last_seq) : 0;
}

/* Each request's result, or an error when none of them is done. */
static int commit_once(struct lmdb *l, struct store_batch **requests, size_t count)
{
    uint64_t begun_ns = clock_monotonic_ns();
    struct store_view_txn txn;
    int err;

    err = store_view_begin(l->view, &txn);
    if (err < 0)
        return err;
    err = apply_all(&txn, requests, count);
    if (err == 0 && !store_fault(STORE_FAULT_COMMIT, &(struct store_fault_commit){requests, count}))
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    if (err < 0)
        return err;
    metrics_add(l->metrics.commits, 1);
    metrics_observe(l->metrics.commit_seconds, (double)(clock_monotonic_ns() - begun_ns) / 1e9);
    metrics_observe(l->metrics.batch_requests, (double)count);
    return 0;
}

/* After a failed write of a meta page LMDB refuses every further transaction. */
static void check_failed(struct lmdb *l)
{
    struct store_view_txn txn = {0};

    if (store_view_begin(l->view, &txn) == -EIO)
        atomic_store(&l->failed, true);
    store_view_abort(&txn);
}

/* Where something does not fit, halves are tried, so that in the end only requests that do not fit alone fail. What a
 * reader that has died keeps from being used again is free at once. */
static void commit(struct lmdb *l, struct store_batch **requests, size_t count)
{
    int err = commit_once(l, requests, count);

    if (err == -ENOSPC && store_view_check_readers(l->view) > 0)
        err = commit_once(l, requests, count);
    if (err == -ENOSPC && count > 1) {
        commit(l, requests, count / 2);
        commit(l, requests + count / 2, count - count / 2);
        return;
    }
    if (err < 0 && err != -ENOSPC)
        check_failed(l);
    for (size_t i = 0; i < count && err < 0; i++)
        requests[i]->result = (struct store_result){.err = err};
}

/* ---- readers ---- */

static void report(struct lmdb *l, uint64_t age_ns)
{
    if (l->reported || age_ns < OLD_READER_NS)
        return;
    l->reported = true;
    log_fields(l->log, LOG_WARNING, NULL,
               "a process reads an old snapshot of the store: until it ends, deletes make no room",
               (const struct log_field[]){LOG_INT("reader_pid", l->oldest.pid),
                                          LOG_INT("seconds", (int64_t)(age_ns / CLOCK_NS_PER_S))},
               2);
}

/* A snapshot keeps pages from being used again: those of backup tools may be held for any time. */
static void check_readers(struct lmdb *l, uint64_t now_ns)
{
    struct store_view_reader oldest;

    store_view_check_readers(l->view);
    oldest = store_view_oldest_reader(l->view);
    if (oldest.pid != l->oldest.pid || oldest.txn != l->oldest.txn) {
        l->oldest = oldest;
        l->reported = false;
        atomic_store(&l->oldest_ns, oldest.pid != 0 ? now_ns : 0);
    }
    if (oldest.pid != 0)
        report(l, now_ns - atomic_load(&l->oldest_ns));
}

/* ---- the writer ---- */

/* Waits for those that were under way. */
static void gather(struct lmdb *l, size_t wanted, uint64_t commit_ns)
{
    uint64_t wait_ns = commit_ns / GATHER_FRACTION;

    if (l->rest > 0)
        l->rest--;
    else if (wait_ns >= GATHER_MIN_NS && wanted <= MAX_REQUESTS &&
             !store_queue_await(&l->queue, wanted, clock_monotonic_ns() + wait_ns))
        l->rest = GATHER_REST;
}

static void commit_and_answer(struct lmdb *l, struct store_batch **requests, size_t count)
{
    uint64_t begun_ns = clock_monotonic_ns(), commit_ns;
    size_t under_way;

    commit(l, requests, count);
    commit_ns = clock_monotonic_ns() - begun_ns;
    under_way = count + store_queue_count(&l->queue);
    for (size_t i = 0; i < count; i++)
        store_answer(&l->store, requests[i]);
    if (under_way > 1)
        gather(l, under_way, commit_ns);
}

static void *run_writer(void *arg)
{
    struct lmdb *l = arg;
    struct store_batch *requests[MAX_REQUESTS];
    uint64_t check_ns = clock_monotonic_ns() + READER_CHECK_NS;
    bool closed = false;

    while (!closed) {
        size_t count = store_queue_take(&l->queue, requests, MAX_REQUESTS, MAX_REQUEST_BYTES, check_ns, &closed);

        if (count > 0)
            commit_and_answer(l, requests, count);
        if (clock_monotonic_ns() >= check_ns) {
            check_readers(l, clock_monotonic_ns());
            check_ns = clock_monotonic_ns() + READER_CHECK_NS;
        }
    }
    return NULL;
}

/* ---- metrics ---- */

static void set_gauges(void *arg)
{
    struct lmdb *l = arg;
    uint64_t oldest_ns = atomic_load(&l->oldest_ns);
    struct store_view_size size = store_view_size(l->view);

    metrics_set(l->oldest_seconds, oldest_ns != 0 ? (double)(clock_monotonic_ns() - oldest_ns) / 1e9 : 0);
    metrics_set(l->metrics.queue_requests, (double)store_queue_count(&l->queue));
    metrics_set(l->metrics.readers, store_view_readers(l->view));
    store_metrics_set_size(&l->metrics, size.bytes, size.records, size.last_seq);
    store_metrics_set_disk(&l->metrics, store_view_fd(l->view));
}

static void open_metrics(struct lmdb *l, const struct store_options *options)
{
    l->log = options->log;
    l->oldest_seconds = store_metrics_single(options->metrics, METRICS_GAUGE, "store_oldest_reader_seconds",
                                             "For how long a process has read the oldest snapshot: what it sees is not "
                                             "used again");
    store_metrics_open(&l->metrics, options);
    if (options->metrics != NULL)
        metrics_on_scrape(options->metrics, set_gauges, l);
}

/* ---- the engine ---- */

static void close_lmdb(struct store *store)
{
    struct lmdb *l = (struct lmdb *)store;

    if (l->writing) {
        store_queue_close(&l->queue);
        pthread_join(l->writer, NULL);
    }
    if (l->metrics.registry != NULL)
        metrics_off_scrape(l->metrics.registry, set_gauges, l);
    store_view_close(l->view);
    store_queue_release(&l->queue);
    free(l);
}

static int start_writer(struct lmdb *l)
{
    int err = thread_start(&l->writer, "store", run_writer, l);

    l->writing = err == 0;
    return err;
}

static const char *check_lmdb(const char *dir)
{
    return dir[0] == '/' && dir[1] != '\0' ? NULL : "expected lmdb:///DIR, an absolute path";
}

static int open_view(struct lmdb *l, const struct store_options *options, const char *dir, char *error,
                     size_t error_size)
{
    struct store_view_options view = {.dir = dir,
                                      .tables = options->tables,
                                      .table_count = options->table_count,
                                      .max_bytes = options->max_bytes,
                                      .mode = options->mode,
                                      .restore_id = options->restore_id};
    int err;

    if (check_lmdb(dir) != NULL)
        return store_fail(error, error_size, -EINVAL, "store %s: %s", options->url, check_lmdb(dir));
    err = store_view_open(&view, &l->view, error, error_size);
    if (err == 0)
        l->store.table_count = store_view_tables(l->view, &l->store.tables);
    return err;
}

static int open_lmdb(const struct store_options *options, const char *rest, struct store **ret_store, char *error,
                     size_t error_size)
{
    struct lmdb *l = calloc(1, sizeof(*l));
    int err;

    if (l == NULL)
        return store_fail(error, error_size, -ENOMEM, "%s", strerror(ENOMEM));
    store_queue_init(&l->queue, options->max_queue, options->max_queue_bytes);
    err = open_view(l, options, rest, error, error_size);
    if (err == 0) {
        open_metrics(l, options);
        err = start_writer(l);
        if (err < 0)
            store_fail(error, error_size, err, "store: no thread: %s", strerror(-err));
    }
    if (err < 0) {
        close_lmdb(&l->store);
        return err;
    }
    *ret_store = &l->store;
    return 0;
}

static int health_lmdb(const struct store *store)
{
    return atomic_load(&((const struct lmdb *)store)->failed) ? -EIO : 0;
}

static void write_lmdb(struct store *store, struct store_batch *take_batch)
{
    struct lmdb *l = (struct lmdb *)store;
    int err = store_queue_put(&l->queue, take_batch);

    if (err == 0)
        return;
    take_batch->result.err = err;
    store_answer(store, take_batch);
}

static void read_lmdb(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    struct lmdb *l = (struct lmdb *)store;
    struct store_fault_read fault = {l->view, max_stale_ms, read, arg};
    struct store_snapshot *snapshot;
    int err;

    if (store_fault(STORE_FAULT_READ, &fault))
        return;
    err = store_view_snapshot_take(l->view, &snapshot);
    if (err < 0) {
        read(arg, err, NULL);
        return;
    }
    read(arg, 0, snapshot);
    store_view_snapshot_give(snapshot);
}

static int restored_lmdb(struct store *store, uint64_t last_seq)
{
    return store_view_restored(((struct lmdb *)store)->view, last_seq);
}

const struct store_engine store_lmdb_engine = {
    .scheme = "lmdb",
    .check = check_lmdb,
    .open = open_lmdb,
    .close = close_lmdb,
    .health = health_lmdb,
    .write = write_lmdb,
    .read = read_lmdb,
    .restored = restored_lmdb,
};
