/* The sweeper: a thread that drops keys after their time, some batches at a time.
 *
 * The age of a key is counted in ticks of the store, not by a clock's time: clocks of replicas may differ by any
 * amount. All replicas share one record, the ticks. Its sequence number is that of the last tick; its value holds those
 * of the IDEMPOTENCY_TICKS ticks before, the last one first. A replica makes the next tick when it has seen the last
 * one for retention / IDEMPOTENCY_TICKS on its monotonic clock, and expects that no other replica has made one
 * meanwhile. So two ticks are never closer to each other than that, and a key is older than the retention when its
 * sequence number is less than that of the tick IDEMPOTENCY_TICKS ago. It is dropped then, by whichever replica finds
 * it first.
 *
 * A store without keys gets no ticks: then nothing is written. */
#include "idempotency_internal.h"
#include "thread.h"
#include <errno.h>

#define TICKS            64    /* in the retention */
#define MAX_WAIT_MS      60000 /* between looks */
#define RETRY_MS         1000
#define SPREAD_MS        200 /* replicas that met over the same keys wait for different times */
#define SWEEP_TIMEOUT_MS 10000
#define SWEEP_BATCHES    16 /* that are written at once, so that they share commits */

/* What earlier versions take for the time from which the record may be dropped. */
#define NEVER UINT64_MAX

struct ticks {
    uint64_t seq; /* of the last one; 0: there has been none */
    unsigned count;
    uint64_t before[TICKS]; /* of those before, the last one first */
};

struct sweep_batch {
    struct sweep *sweep;
    struct store_batch *deletes; /* of what has expired */
    size_t count;
};

struct sweep {
    struct idempotency *idempotency;
    struct ticks ticks;
    bool looked;   /* what has been found is so */
    bool has_keys; /* of clients */
    struct sweep_batch batches[SWEEP_BATCHES];
    size_t batch_count;

    /* under the mutex, while there are any pending */
    size_t pending;
    int err; /* of a batch that failed */
};

/* ---- what is there ---- */

static int get_ticks(const struct idempotency *idempotency, struct store_snapshot *snapshot, struct ticks *ret_ticks)
{
    struct store_record record;
    int err = store_get(snapshot, idempotency->table, IDEMPOTENCY_TICKS_KEY, &record);

    if (err < 0)
        return err;
    ret_ticks->seq = record.seq;
    for (size_t at = 8; at + 8 <= record.value.len && ret_ticks->count < TICKS; at += 8)
        ret_ticks->before[ret_ticks->count++] = store_get_u64(record.value.s + at);
    return 0;
}

/* False: there is no room for more. The seq makes sure that what is deleted is what has been seen: another replica may
 * have swept the record, and a client may have used its key again. A damaged record stays, and does not keep the
 * others.
 */
static bool add_expired(struct sweep *sweep, struct store_snapshot *snapshot, struct str key)
{
    unsigned table = sweep->idempotency->table;
    struct sweep_batch *batch = sweep->batch_count > 0 ? &sweep->batches[sweep->batch_count - 1] : NULL;
    struct store_record record;

    if (store_get(snapshot, table, key, &record) < 0)
        return true;
    if (batch == NULL || batch->count == STORE_MAX_BATCH) {
        if (sweep->batch_count == SWEEP_BATCHES)
            return false;
        batch = &sweep->batches[sweep->batch_count++];
        *batch = (struct sweep_batch){sweep, store_batch_new(), 0};
    }
    store_batch_delete(batch->deletes, table, key, STORE_AT, record.seq);
    batch->count++;
    return true;
}

static void collect(struct sweep *sweep, struct store_snapshot *snapshot, struct store_cursor *cursor)
{
    const struct ticks *ticks = &sweep->ticks;
    uint64_t expired = ticks->count == TICKS ? ticks->before[TICKS - 1] : 0;
    struct store_record entry;

    while (store_cursor_next(cursor, &entry) == 0) {
        sweep->has_keys = true;
        if (store_get_u64(entry.key.s) >= expired ||
            !add_expired(sweep, snapshot, (struct str){entry.key.s + 8, entry.key.len - 8}))
            return;
    }
}

static void look(void *arg, int err, struct store_snapshot *snapshot)
{
    struct sweep *sweep = arg;
    struct store_cursor cursor;

    if (err == 0)
        err = get_ticks(sweep->idempotency, snapshot, &sweep->ticks);
    if ((err < 0 && err != -ENOENT) || store_cursor_open(snapshot, sweep->idempotency->table, true, &cursor) < 0)
        return; /* the next look may succeed */
    collect(sweep, snapshot, &cursor);
    store_cursor_close(&cursor);
    sweep->looked = true;
}

/* ---- dropping ---- */

static void on_swept(void *arg, const struct store_result *result)
{
    struct sweep_batch *batch = arg;
    struct sweep *sweep = batch->sweep;
    struct idempotency *idempotency = sweep->idempotency;

    pthread_mutex_lock(&idempotency->mutex);
    if (result->err == 0)
        metrics_add(idempotency->swept, batch->count);
    else
        sweep->err = result->err;
    sweep->pending--;
    pthread_cond_broadcast(&idempotency->changed);
    pthread_mutex_unlock(&idempotency->mutex);
}

static int write_all(struct sweep *sweep, uint64_t deadline_ns)
{
    struct idempotency *idempotency = sweep->idempotency;

    sweep->pending = sweep->batch_count;
    for (size_t i = 0; i < sweep->batch_count; i++)
        store_write(idempotency->store, sweep->batches[i].deletes, deadline_ns, on_swept, &sweep->batches[i]);
    pthread_mutex_lock(&idempotency->mutex);
    while (sweep->pending > 0)
        pthread_cond_wait(&idempotency->changed, &idempotency->mutex);
    pthread_mutex_unlock(&idempotency->mutex);
    return sweep->err;
}

/* ---- ticks ---- */

static int make_tick(struct idempotency *idempotency, const struct ticks *ticks, uint64_t deadline_ns)
{
    unsigned kept = ticks->seq == 0 ? 0 : ticks->count < TICKS ? ticks->count : TICKS - 1;
    struct store_batch *batch = store_batch_new();
    struct store_result result;
    uint8_t value[8 * (1 + TICKS)];
    size_t len = 8;
    int err;

    store_put_u64(value, NEVER);
    if (ticks->seq != 0) {
        store_put_u64(value + len, ticks->seq);
        len += 8;
    }
    for (unsigned i = 0; i < kept; i++, len += 8)
        store_put_u64(value + len, ticks->before[i]);
    store_batch_put(batch, idempotency->table, IDEMPOTENCY_TICKS_KEY, (struct str){(const char *)value, len},
                    ticks->seq != 0 ? STORE_AT : STORE_ABSENT, ticks->seq);
    err = store_write_wait(idempotency->store, batch, deadline_ns, &result);
    if (err == 0) {
        idempotency->tick_seq = result.seq;
        idempotency->tick_ns = clock_monotonic_ns();
    }
    return err;
}

static uint64_t tick_ms(const struct idempotency *idempotency)
{
    uint64_t ms = (idempotency->retention_ms + TICKS - 1) / TICKS;

    return ms > 0 ? ms : 1;
}

/* Whether the next tick may be made. */
static bool is_due(struct idempotency *idempotency, const struct ticks *ticks)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (ticks->seq != idempotency->tick_seq) { /* it has been made since the last look, or before the first */
        idempotency->tick_seq = ticks->seq;
        idempotency->tick_ns = now_ns;
    }
    return ticks->seq == 0 || now_ns - idempotency->tick_ns >= tick_ms(idempotency) * CLOCK_NS_PER_MS;
}

/* Until the next look, in milliseconds. */
static uint64_t pause_ms(const struct idempotency *idempotency, bool has_keys)
{
    uint64_t passed_ms = has_keys ? (clock_monotonic_ns() - idempotency->tick_ns) / CLOCK_NS_PER_MS : 0;
    uint64_t left_ms = tick_ms(idempotency) > passed_ms ? tick_ms(idempotency) - passed_ms : 1;

    return left_ms < MAX_WAIT_MS ? left_ms : MAX_WAIT_MS;
}

/* ---- the thread ---- */

static int sweep_and_tick(struct sweep *sweep, uint64_t deadline_ns)
{
    struct idempotency *idempotency = sweep->idempotency;
    int err = 0;

    if (is_due(idempotency, &sweep->ticks) && sweep->has_keys)
        err = make_tick(idempotency, &sweep->ticks, deadline_ns);
    if (sweep->batch_count > 0) {
        int swept = write_all(sweep, deadline_ns);

        err = swept < 0 ? swept : err;
    }
    return err;
}

/* Returns how long to wait before the next, in milliseconds. */
static uint64_t sweep_once(struct idempotency *idempotency)
{
    uint64_t deadline_ns = clock_monotonic_ns() + SWEEP_TIMEOUT_MS * CLOCK_NS_PER_MS;
    struct sweep sweep = {.idempotency = idempotency};

    store_read_wait(idempotency->store, deadline_ns, MAX_WAIT_MS, look, &sweep);
    if (!sweep.looked)
        return RETRY_MS;
    switch (sweep_and_tick(&sweep, deadline_ns)) {
    case 0:
        return sweep.batch_count > 0 ? 0 : pause_ms(idempotency, sweep.has_keys);
    case -EEXIST:
    case -ENOENT:
    case -ESTALE:                                       /* another replica was first */
        return clock_monotonic_ns() / 1000 % SPREAD_MS; /* random enough */
    default:
        return RETRY_MS;
    }
}

void *idempotency_sweep(void *arg)
{
    struct idempotency *idempotency = arg;
    uint64_t until_ns = 0;

    pthread_mutex_lock(&idempotency->mutex);
    while (!idempotency->stopped) {
        if (thread_wait_until(&idempotency->changed, &idempotency->mutex, until_ns) != -ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&idempotency->mutex);
        until_ns = sweep_once(idempotency) * CLOCK_NS_PER_MS + clock_monotonic_ns();
        pthread_mutex_lock(&idempotency->mutex);
    }
    pthread_mutex_unlock(&idempotency->mutex);
    return NULL;
}
