/* A later version of notes, for tests/torture: its schema has one more table, into which each write of a note puts a
 * record, too, and its index of notes has a newer version. How many records of that table this replica has is a metric,
 * torture_later_records. The linker puts these functions in place of the store's (-Wl,--wrap). */
#include "clock.h"
#include "store_engine.h"
#include <stdlib.h>

#define NOTES   0
#define READ_NS (2 * CLOCK_NS_PER_S)

static struct {
    struct store_table tables[STORE_MAX_TABLES];
    unsigned later; /* the table's number */
    struct store *store;
    struct metrics *metrics;
    struct metrics_series *records;
} next;

static void count_records(void *arg, int err, struct store_snapshot *snapshot)
{
    metrics_set(next.records, err == 0 ? (double)store_count(snapshot, next.later) : -1);
}

static void set_gauge(void *arg)
{
    store_read_wait(next.store, clock_monotonic_ns() + READ_NS, 0, count_records, NULL);
}

#define WRAPPED(type, name, ...)                                                                                       \
    type __real_slipway_##name(__VA_ARGS__);                                                                           \
    type __wrap_slipway_##name(__VA_ARGS__);                                                                           \
    type __wrap_slipway_##name(__VA_ARGS__)

WRAPPED(int, store_open, const struct store_options *options, struct store **ret_store, char *error, size_t error_size)
{
    static const struct metrics_def def = {"torture_later_records", "Records of the table that is new", METRICS_GAUGE};
    struct store_options more = *options;
    int err;

    if (options->table_count >= STORE_MAX_TABLES)
        abort();
    memcpy(next.tables, options->tables, options->table_count * sizeof(*next.tables));
    next.tables[NOTES].index_version++;
    next.later = (unsigned)options->table_count;
    next.tables[next.later] = (struct store_table){.name = "later"};
    more.tables = next.tables;
    more.table_count++;
    err = __real_slipway_store_open(&more, ret_store, error, error_size);
    if (err < 0)
        return err;
    next.store = *ret_store;
    next.metrics = options->metrics;
    next.records = metrics_single(options->metrics, &def);
    metrics_on_scrape(options->metrics, set_gauge, NULL);
    return 0;
}

WRAPPED(struct store *, store_close, struct store *store)
{
    if (store != NULL)
        metrics_off_scrape(next.metrics, set_gauge, NULL);
    return __real_slipway_store_close(store);
}

WRAPPED(void, store_write, struct store *store, struct store_batch *take_batch, uint64_t deadline_ns,
        store_written *done, void *arg)
{
    for (unsigned i = 0; i < take_batch->count; i++) {
        struct str key = store_op_key(take_batch, i);
        char copy[STORE_MAX_KEY];

        if (take_batch->ops[i].table != NOTES || take_batch->count == STORE_MAX_BATCH)
            continue;
        memcpy(copy, key.s, key.len); /* it is in memory that grows */
        store_batch_put(take_batch, next.later, (struct str){copy, key.len}, STR("v"), STORE_ANY, 0);
        break;
    }
    __real_slipway_store_write(store, take_batch, deadline_ns, done, arg);
}
