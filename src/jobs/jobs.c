#include "jobs.h"
#include "clock.h"
#include <errno.h>
#include <stdio.h>

#define WRITE_TIMEOUT_NS (30 * CLOCK_NS_PER_S)
#define READ_TIMEOUT_NS  (200 * CLOCK_NS_PER_MS) /* well below that of a probe */

const struct store_table jobs_table = {.name = "jobs"};

/* A key is JOB/EVENT, a value the seconds since 1970 in decimal. */
static const char *const events[] = {[JOBS_BEGUN] = "begun", [JOBS_SUCCEEDED] = "succeeded"};

static bool is_name(struct str job)
{
    for (size_t i = 0; i < job.len; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-", job.s[i]) == NULL || job.s[i] == '\0')
            return false;
    return job.len >= 1 && job.len <= JOBS_MAX_NAME;
}

int jobs_record(struct store *store, struct str job, enum jobs_event event)
{
    struct store_batch *batch;
    struct store_result result;
    char key[JOBS_MAX_NAME + 16], value[24];

    if (!is_name(job))
        return -EINVAL;
    snprintf(key, sizeof(key), "%.*s/%s", (int)job.len, job.s, events[event]);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)(clock_realtime_ns() / CLOCK_NS_PER_S));
    batch = store_batch_new();
    store_batch_put(batch, 0, str_of(key), str_of(value), STORE_ANY, 0);
    return store_write_wait(store, batch, clock_monotonic_ns() + WRITE_TIMEOUT_NS, &result);
}

struct visit {
    jobs_visitor *visit;
    void *arg;
    int err;
};

static void visit_record(const struct visit *visit, const struct store_record *record)
{
    const char *slash = memchr(record->key.s, '/', record->key.len);
    uint64_t seconds;

    if (slash == NULL || str_to_u64(record->value, UINT64_MAX, &seconds) < 0)
        return;
    for (unsigned event = 0; event < sizeof(events) / sizeof(events[0]); event++) {
        struct str job = {record->key.s, (size_t)(slash - record->key.s)};
        struct str name = {slash + 1, record->key.len - job.len - 1};

        if (str_eq(name, str_of(events[event])))
            visit->visit(visit->arg, job, event, seconds);
    }
}

static void visit_snapshot(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_cursor cursor;
    struct store_record record;
    struct visit *visit = arg;

    if (err == 0)
        err = store_cursor_open(snapshot, 0, false, &cursor);
    if (err == 0) {
        while ((err = store_cursor_next(&cursor, &record)) == 0)
            visit_record(visit, &record);
        store_cursor_close(&cursor);
    }
    visit->err = err == -ENOENT ? 0 : err;
}

int jobs_visit(struct store *store, jobs_visitor *visit, void *arg)
{
    struct visit all = {.visit = visit, .arg = arg};

    store_read_wait(store, clock_monotonic_ns() + READ_TIMEOUT_NS, UINT64_MAX, visit_snapshot, &all);
    return all.err;
}
