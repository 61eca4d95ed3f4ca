#include "store_engine.h"
#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum result { OK, CONFLICT, FULL, QUEUE_FULL, TIMED_OUT, FAILED };
static const char *const result_names[STORE_RESULTS] = {"ok", "conflict", "full", "queue_full", "timeout", "error"};

/* ---- opening ---- */

int store_fail(char *error, size_t error_size, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
    return err;
}

static void open_metrics(struct store *store, struct metrics *metrics)
{
    static const struct metrics_def def = {"store_write_results_total", "Write requests answered", METRICS_COUNTER,
                                           .labels = {"result"}};
    struct metrics_family *family = metrics_family(metrics, &def);

    for (size_t i = 0; i < STORE_RESULTS; i++)
        store->results[i] = metrics_series(family, &(struct str){result_names[i], strlen(result_names[i])});
}

void store_opened(struct store *store, const struct store_engine *engine, const struct store_options *options)
{
    store->engine = engine;
    store->mode = options->mode;
    if (options->tables != NULL) {
        store->tables = options->tables;
        store->table_count = options->table_count;
    }
    store->spans = options->spans;
    open_metrics(store, options->metrics);
}

struct store *store_close(struct store *store)
{
    if (store != NULL)
        store->engine->close(store);
    return NULL;
}

int store_health(const struct store *store)
{
    return store->engine->health(store);
}

int store_ready(const struct store *store)
{
    return store->engine->ready != NULL ? store->engine->ready(store) : store_health(store);
}

size_t store_tables(const struct store *store, const struct store_table **ret_tables)
{
    *ret_tables = store->tables;
    return store->table_count;
}

/* ---- batches ---- */

struct store_batch *store_batch_new(void)
{
    struct store_batch *batch = calloc(1, sizeof(*batch));

    return batch;
}

struct store_batch *store_batch_free(struct store_batch *batch)
{
    if (batch != NULL) {
        buf_release(&batch->bytes);
        free(batch);
    }
    return NULL;
}

struct str store_op_key(const struct store_batch *batch, unsigned op)
{
    return (struct str){batch->bytes.data + batch->ops[op].key, batch->ops[op].key_len};
}

struct str store_op_value(const struct store_batch *batch, unsigned op)
{
    return (struct str){batch->bytes.data + batch->ops[op].value, batch->ops[op].value_len};
}

static int add_error(const struct store_batch *batch, unsigned table, struct str key, struct str value)
{
    if (key.len < 1 || key.len > STORE_MAX_KEY || value.len > STORE_MAX_VALUE)
        return -EMSGSIZE;
    if (batch->count == STORE_MAX_BATCH)
        return -EINVAL;
    for (unsigned i = 0; i < batch->count; i++)
        if (batch->ops[i].table == table && str_eq(store_op_key(batch, i), key))
            return -EINVAL;
    return 0;
}

static void add(struct store_batch *batch, struct store_op op, struct str key, struct str value)
{
    if (batch == NULL || batch->err < 0)
        return;
    batch->err = add_error(batch, op.table, key, value);
    if (batch->err < 0)
        return;
    op.key = batch->bytes.len;
    op.key_len = key.len;
    op.value = op.key + key.len;
    op.value_len = value.len;
    buf_append_str(&batch->bytes, key);
    buf_append_str(&batch->bytes, value);
    batch->err = buf_error(&batch->bytes);
    if (batch->err == 0)
        batch->ops[batch->count++] = op;
}

void store_batch_put(struct store_batch *batch, unsigned table, struct str key, struct str value,
                     enum store_expect expect, uint64_t seq)
{
    add(batch, (struct store_op){.action = STORE_PUT, .expect = expect, .table = table, .seq = seq}, key, value);
}

void store_batch_delete(struct store_batch *batch, unsigned table, struct str key, enum store_expect expect,
                        uint64_t seq)
{
    add(batch, (struct store_op){.action = STORE_DELETE, .expect = expect, .table = table, .seq = seq}, key, STR_NULL);
}

void store_batch_check(struct store_batch *batch, unsigned table, struct str key, enum store_expect expect,
                       uint64_t seq)
{
    add(batch, (struct store_op){.action = STORE_CHECK, .expect = expect, .table = table, .seq = seq}, key, STR_NULL);
}

void store_batch_restore(struct store_batch *batch, unsigned table, struct str key, struct str value, uint64_t seq)
{
    add(batch, (struct store_op){.action = STORE_PUT_SEQ, .expect = STORE_ANY, .table = table, .seq = seq}, key, value);
}

void store_batch_fail(struct store_batch *batch, int err)
{
    if (batch != NULL && batch->err == 0)
        batch->err = err;
}

int store_op_check(const struct store_op *op, const struct store_record *record)
{
    switch (op->expect) {
    case STORE_ANY:
        return 0;
    case STORE_ABSENT:
        return record == NULL ? 0 : -EEXIST;
    case STORE_PRESENT:
        return record != NULL ? 0 : -ENOENT;
    case STORE_AT:
        return record == NULL ? -ENOENT : record->seq == op->seq ? 0 : -ESTALE;
    }
    assert(!"an expectation");
    return -EINVAL;
}

/* ---- writing ---- */

static enum result result_of(int err)
{
    switch (err) {
    case 0:
        return OK;
    case -EEXIST:
    case -ENOENT:
    case -ESTALE:
        return CONFLICT;
    case -ENOSPC:
        return FULL;
    case -ENOBUFS:
        return QUEUE_FULL;
    case -ETIMEDOUT:
        return TIMED_OUT;
    default:
        return FAILED;
    }
}

void store_answer(struct store *store, struct store_batch *take_batch)
{
    metrics_add(store->results[result_of(take_batch->result.err)], 1);
    store_span_end(store, &take_batch->trace, take_batch->begun_ns, take_batch->count, take_batch->result.err);
    take_batch->done(take_batch->arg, &take_batch->result);
    store_batch_free(take_batch);
}

void store_write(struct store *store, struct store_batch *take_batch, uint64_t deadline_ns, store_written *done,
                 void *arg)
{
    if (take_batch == NULL) {
        done(arg, &(struct store_result){.err = -ENOMEM});
        return;
    }
    assert(store->mode != STORE_INSPECT);
    for (unsigned i = 0; i < take_batch->count; i++) {
        assert(take_batch->ops[i].table < store->table_count);
        assert((take_batch->ops[i].action == STORE_PUT_SEQ) == (store->mode == STORE_RESTORE));
    }
    take_batch->deadline_ns = deadline_ns;
    take_batch->done = done;
    take_batch->arg = arg;
    store_batch_begin_span(store, take_batch);
    if (take_batch->err == 0 && take_batch->count == 0)
        take_batch->err = -EINVAL;
    if (take_batch->err < 0) {
        take_batch->result.err = take_batch->err;
        store_answer(store, take_batch);
        return;
    }
    store->engine->write(store, take_batch);
}

int store_restored(struct store *store, uint64_t last_seq)
{
    assert(store->mode == STORE_RESTORE);
    return store->engine->restored(store, last_seq);
}

struct write_waiter {
    sem_t done;
    struct store_result result;
};

static void end_write(void *arg, const struct store_result *result)
{
    struct write_waiter *waiter = arg;

    waiter->result = *result;
    sem_post(&waiter->done);
}

static void wait_for(sem_t *done)
{
    while (sem_wait(done) != 0)
        continue; /* a signal */
    sem_destroy(done);
}

int store_write_wait(struct store *store, struct store_batch *take_batch, uint64_t deadline_ns,
                     struct store_result *ret_result)
{
    struct write_waiter waiter = {0};

    sem_init(&waiter.done, 0, 0);
    store_write(store, take_batch, deadline_ns, end_write, &waiter);
    wait_for(&waiter.done);
    if (ret_result != NULL)
        *ret_result = waiter.result;
    return waiter.result.err;
}

/* ---- reading ---- */

void store_read(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    store->engine->read(store, deadline_ns, max_stale_ms, read, arg);
}

struct read_waiter {
    sem_t done;
    store_reader *read;
    void *arg;
};

static void end_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct read_waiter *waiter = arg;

    waiter->read(waiter->arg, err, snapshot);
    sem_post(&waiter->done);
}

void store_read_wait(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    struct read_waiter waiter = {.read = read, .arg = arg};

    sem_init(&waiter.done, 0, 0);
    store_read(store, deadline_ns, max_stale_ms, end_read, &waiter);
    wait_for(&waiter.done);
}

/* ---- keys ---- */

void store_put_u64(uint8_t bytes[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        bytes[i] = (uint8_t)value;
}

uint64_t store_get_u64(const void *bytes)
{
    const uint8_t *b = bytes;
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | b[i];
    return value;
}
