#include "retention.h"
#include "clock.h"
#include "saves.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STEP       256                   /* saves looked at, and deletes at most, in one snapshot */
#define TIMEOUT_NS (10 * CLOCK_NS_PER_S) /* of a read or write */
#define RETRY_NS   (1 * CLOCK_NS_PER_S)  /* after one that failed */
#define IDLE_NS    (60 * CLOCK_NS_PER_S) /* without a wake: other replicas save too */
#define SPREAD_NS  (CLOCK_NS_PER_S / 2)  /* replicas wait for different times, so that they seldom do the same work */

/* Deletes that are under way. */
struct deletes {
    struct retention *retention;
    size_t count;
};

/* A look at a snapshot, and what follows from it. */
struct step {
    int err;                 /* 0; -EAGAIN: look again, another replica was first */
    bool more;               /* to be looked at */
    uint64_t excess;         /* saves beyond total */
    uint64_t trimmed, swept; /* the retention's, when all deletes are done */
    size_t count;
    struct save_ref deletes[STEP];
    size_t point_count;
    uint64_t points[STEP]; /* that have been looked at: twice would be to delete twice */
    struct deletes batches[STEP / STORE_MAX_BATCH];
    size_t pending; /* of batches; under the lock, like err while there are any */
};

struct retention {
    struct store *store;
    uint64_t per_point, total;
    struct metrics_series *dropped;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* stopped, woken, or pending */
    bool stopped;
    atomic_bool woken; /* there may be something to do */

    /* the thread's own */
    uint64_t trimmed; /* the points of all saves up to this seq have no more than per_point */
    uint64_t swept;   /* all saves up to this seq are their points' newest */
    struct step step;
};

/* ---- looking ---- */

/* A damaged record cannot be deleted: it stays, and does not keep the others. False: there is no room for more. */
static bool add_delete(struct step *step, struct store_cursor *index, const struct save_ref *ref)
{
    if (!saves_ref_is_sound(index, ref))
        return true;
    if (step->count == STEP)
        return false;
    step->deletes[step->count++] = *ref;
    if (step->excess > 0)
        step->excess--;
    return true;
}

/* Of a point that has a new save: what is beyond per_point goes. What is not the newest any more, but older than what
 * has been swept, is the oldest of all that may go where total is exceeded; else sweeping has to begin there again.
 * -ENOBUFS where there is no room for more deletes. */
static int trim_point(struct step *step, uint64_t per_point, struct store_cursor *index, uint64_t z)
{
    struct save_ref ref;
    int r = saves_ref_newest(index, z, UINT64_MAX, &ref);

    for (uint64_t kept = 1; r == 0; kept++) {
        r = saves_ref_older(index, z, &ref);
        if (r < 0)
            break;
        if (kept >= per_point || (ref.seq <= step->swept && step->excess > 0)) {
            if (!add_delete(step, index, &ref))
                return -ENOBUFS;
        } else if (ref.seq <= step->swept) {
            step->swept = ref.seq - 1;
        }
    }
    return r == -ENOENT ? 0 : r;
}

static bool is_trimmed(const struct step *step, uint64_t z)
{
    for (size_t i = 0; i < step->point_count; i++)
        if (step->points[i] == z)
            return true;
    return false;
}

/* Follows the saves in the order of commits. */
static int trim(struct step *step, uint64_t per_point, struct store_cursor *index)
{
    for (int i = 0; i < STEP; i++) {
        struct save_ref ref;
        int r = saves_ref_after(index, step->trimmed, &ref);

        if (r < 0)
            return r == -ENOENT ? 0 : r;
        if (!is_trimmed(step, ref.z)) {
            r = trim_point(step, per_point, index, ref.z);
            if (r == -ENOBUFS)
                break;
            if (r < 0)
                return r;
            step->points[step->point_count++] = ref.z;
        }
        step->trimmed = ref.seq;
    }
    step->more = true;
    return 0;
}

/* The oldest that are not their points' newest go, until no more than total are left. */
static int sweep(struct step *step, struct store_cursor *index)
{
    struct save_ref ref, newest;
    int r;

    for (int i = 0; i < STEP && step->excess > 0; i++) {
        r = saves_ref_after(index, step->swept, &ref);
        if (r < 0)
            return r == -ENOENT ? 0 : r;
        r = saves_ref_newest(index, ref.z, UINT64_MAX, &newest);
        if (r < 0)
            return r;
        if (newest.seq != ref.seq)
            add_delete(step, index, &ref);
        step->swept = ref.seq;
    }
    step->more = step->excess > 0;
    return 0;
}

static int look(struct retention *retention, struct store_snapshot *snapshot)
{
    struct step *step = &retention->step;
    uint64_t count = store_count(snapshot, TABLE_SAVES);
    struct store_cursor index;
    int r = saves_cursor_open(snapshot, &index);

    if (r < 0)
        return r;
    step->excess = count > retention->total ? count - retention->total : 0;
    r = trim(step, retention->per_point, &index);
    if (r == 0 && step->count == 0 && !step->more)
        r = sweep(step, &index);
    else
        step->more = true;
    store_cursor_close(&index);
    return r;
}

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct retention *retention = arg;

    retention->step.err = err < 0 ? err : look(retention, snapshot);
}

/* ---- deleting ---- */

static void on_deleted(void *arg, const struct store_result *result)
{
    struct deletes *deletes = arg;
    struct retention *retention = deletes->retention;
    struct step *step = &retention->step;

    pthread_mutex_lock(&retention->lock);
    if (result->err == 0)
        metrics_add(retention->dropped, deletes->count);
    else if (result->err != -ENOENT && result->err != -ESTALE)
        step->err = result->err;
    else if (step->err == 0)
        step->err = -EAGAIN;
    step->pending--;
    pthread_cond_signal(&retention->changed);
    pthread_mutex_unlock(&retention->lock);
}

static struct store_batch *batch_of(const struct save_ref *refs, size_t count)
{
    struct store_batch *batch = store_batch_new();

    for (size_t i = 0; i < count; i++)
        store_batch_delete(batch, TABLE_SAVES, (struct str){(const char *)refs[i].id.bytes, sizeof(refs[i].id.bytes)},
                           STORE_AT, refs[i].seq);
    return batch;
}

/* All batches at once, so that they share a commit. */
static void delete_all(struct retention *retention)
{
    uint64_t deadline_ns = clock_monotonic_ns() + TIMEOUT_NS;
    struct step *step = &retention->step;

    step->pending = (step->count + STORE_MAX_BATCH - 1) / STORE_MAX_BATCH;
    for (size_t i = 0, batch = 0; i < step->count; i += STORE_MAX_BATCH, batch++) {
        size_t left = step->count - i, count = left < STORE_MAX_BATCH ? left : STORE_MAX_BATCH;

        step->batches[batch] = (struct deletes){retention, count};
        store_write(retention->store, batch_of(&step->deletes[i], count), deadline_ns, on_deleted,
                    &step->batches[batch]);
    }
    pthread_mutex_lock(&retention->lock);
    while (step->pending > 0)
        pthread_cond_wait(&retention->changed, &retention->lock);
    pthread_mutex_unlock(&retention->lock);
}

/* ---- the thread ---- */

enum next { NOW, SOON, RETRY, WHEN_WOKEN };

static enum next make_step(struct retention *retention)
{
    struct step *step = &retention->step;

    *step = (struct step){.trimmed = retention->trimmed, .swept = retention->swept};
    store_read_wait(retention->store, clock_monotonic_ns() + TIMEOUT_NS, 0, on_read, retention);
    if (step->err == 0)
        delete_all(retention);
    if (step->err < 0)
        return step->err == -EAGAIN ? SOON : RETRY;
    retention->trimmed = step->trimmed;
    retention->swept = step->swept;
    return step->more ? NOW : WHEN_WOKEN;
}

/* False: stopped. */
static bool wait_ns(struct retention *retention, uint64_t ns, bool may_be_woken)
{
    uint64_t until_ns = clock_monotonic_ns() + ns;
    bool stopped;

    pthread_mutex_lock(&retention->lock);
    while (!retention->stopped && !(may_be_woken && atomic_load(&retention->woken)))
        if (thread_wait_until(&retention->changed, &retention->lock, until_ns) == -ETIMEDOUT)
            break;
    stopped = retention->stopped;
    pthread_mutex_unlock(&retention->lock);
    return !stopped;
}

static bool wait_for(struct retention *retention, enum next next)
{
    uint64_t spread_ns = clock_monotonic_ns() % SPREAD_NS; /* random enough */

    switch (next) {
    case NOW:
        return wait_ns(retention, 0, false);
    case SOON:
        return wait_ns(retention, spread_ns, false);
    case RETRY:
        return wait_ns(retention, RETRY_NS, false);
    default:
        return wait_ns(retention, IDLE_NS, true) && wait_ns(retention, spread_ns, false);
    }
}

static void *run(void *arg)
{
    struct retention *retention = arg;
    enum next next = NOW;

    while (wait_for(retention, next)) {
        atomic_store(&retention->woken, false);
        next = make_step(retention);
    }
    return NULL;
}

void retention_wake(struct retention *retention)
{
    if (atomic_exchange(&retention->woken, true))
        return;
    pthread_mutex_lock(&retention->lock);
    pthread_cond_signal(&retention->changed);
    pthread_mutex_unlock(&retention->lock);
}

/* ---- opening ---- */

int retention_open(struct store *store, uint64_t per_point, uint64_t total, struct metrics *metrics,
                   struct retention **ret_retention)
{
    static const struct metrics_def dropped = {
        .name = "feature_store_dropped_saves_total",
        .help = "Saves dropped because the history is bounded.",
        .type = METRICS_COUNTER,
    };
    struct retention *retention = calloc(1, sizeof(*retention));
    int r;

    if (!retention)
        return -ENOMEM;
    retention->store = store;
    retention->per_point = per_point;
    retention->total = total;
    retention->dropped = metrics_single(metrics, &dropped);
    pthread_mutex_init(&retention->lock, NULL);
    thread_cond_init(&retention->changed);
    r = thread_start(&retention->thread, "retention", run, retention);
    if (r < 0) {
        retention_free(retention);
        return r;
    }
    retention->running = true;
    *ret_retention = retention;
    return 0;
}

struct retention *retention_free(struct retention *retention)
{
    if (!retention)
        return NULL;
    if (retention->running) {
        pthread_mutex_lock(&retention->lock);
        retention->stopped = true;
        pthread_cond_signal(&retention->changed);
        pthread_mutex_unlock(&retention->lock);
        pthread_join(retention->thread, NULL);
    }
    pthread_cond_destroy(&retention->changed);
    pthread_mutex_destroy(&retention->lock);
    free(retention);
    return NULL;
}
