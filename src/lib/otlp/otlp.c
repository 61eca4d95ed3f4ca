#include "clock.h"
#include "otlp_internal.h"
#include "thread.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_MEMORY         (4 << 20)
#define MAX_METRICS_MEMORY (2 << 20) /* a request then has half of it: collectors take 4 MiB at most by default */
#define GRACE_MS           500       /* for the thread, beyond the deadline that it was given */

static const struct otlp_signal *const signals[OTLP_SIGNALS] = {
    [OTLP_SPANS] = &otlp_span_signal, [OTLP_LOGS] = &otlp_log_signal, [OTLP_METRICS] = &otlp_metric_signal};

/* ---- the thread ---- */

static void otlp_free(struct otlp *otlp)
{
    collector_release(&otlp->collector);
    otlp_resource_release(&otlp->resource);
    pthread_cond_destroy(&otlp->changed);
    pthread_mutex_destroy(&otlp->lock);
    free(otlp);
}

/* Under the lock. False: there is nothing more to do. */
static bool await(struct otlp *otlp)
{
    uint64_t due_ns;

    while (!otlp->closing && (due_ns = otlp->signal->due_ns(otlp)) > clock_monotonic_ns()) {
        if (due_ns == UINT64_MAX)
            pthread_cond_wait(&otlp->changed, &otlp->lock);
        else
            thread_wait_until(&otlp->changed, &otlp->lock, due_ns);
    }
    return !otlp->closing || (otlp->signal->due_ns(otlp) == 0 && !otlp_is_over(otlp, UINT64_MAX));
}

static void *run(void *arg)
{
    struct otlp *otlp = arg;
    bool left_alone;

    pthread_mutex_lock(&otlp->lock);
    while (await(otlp))
        otlp->signal->export(otlp);
    metrics_add(otlp->dropped[OTLP_FAILED], otlp->signal->drop(otlp));
    otlp->ended = true;
    left_alone = otlp->left_alone;
    pthread_cond_broadcast(&otlp->changed);
    pthread_mutex_unlock(&otlp->lock);
    if (left_alone)
        otlp_free(otlp);
    return NULL;
}

/* ---- its life ---- */

static void open_metrics(struct otlp *otlp)
{
    static const char *const reasons[OTLP_REASONS] = {
        [OTLP_QUEUE] = "queue_full", [OTLP_SIZE] = "too_large", [OTLP_FAILED] = "failed", [OTLP_REJECTED] = "rejected"};
    struct metrics_family *family = metrics_family(otlp->metrics, &otlp->signal->dropped);

    otlp->exported = metrics_single(otlp->metrics, &otlp->signal->exported);
    for (unsigned i = 0; i < OTLP_REASONS; i++)
        otlp->dropped[i] = metrics_series(family, (const struct str[]){str_of(reasons[i])});
}

static void configure(struct otlp *otlp, const struct otlp_def *def)
{
    size_t max_memory = def->max_memory > 0 ? def->max_memory : MAX_MEMORY;

    otlp->signal = signals[def->signal];
    otlp->delay_ms = def->delay_ms > 0 ? def->delay_ms : otlp->signal->delay_ms;
    otlp->timeout_ms = def->timeout_ms > 0 ? def->timeout_ms : 30000;
    if (def->signal == OTLP_METRICS && max_memory > MAX_METRICS_MEMORY)
        max_memory = MAX_METRICS_MEMORY;
    otlp->max_bytes = max_memory / 2;
    otlp->metrics = def->metrics;
    otlp->end = &otlp->first;
    otlp->start_ns = clock_realtime_ns();
    otlp->asked = def->signal == OTLP_METRICS;
}

int otlp_open(const struct otlp_def *def, struct otlp **ret_otlp)
{
    struct otlp *otlp = calloc(1, sizeof(*otlp));
    int r;

    if (otlp == NULL)
        return -ENOMEM;
    otlp->collector.wake_fd = -1;
    pthread_mutex_init(&otlp->lock, NULL);
    thread_cond_init(&otlp->changed);
    configure(otlp, def);
    r = collector_open(def, otlp->signal->method, &otlp->collector);
    if (r == 0)
        r = otlp_resource_open(def->service, def->resource, &otlp->resource);
    if (r == 0) {
        open_metrics(otlp);
        otlp_queue_open(otlp, def);
        r = thread_start(&otlp->thread, otlp->signal->thread, run, otlp);
        if (r != 0)
            otlp_queue_close(otlp);
    }
    if (r != 0) {
        otlp_free(otlp);
        return r;
    }
    *ret_otlp = otlp;
    return 0;
}

struct span_sink *otlp_sink(struct otlp *otlp)
{
    return &otlp->spans;
}

struct log_sink *otlp_log_sink(struct otlp *otlp)
{
    return &otlp->logs;
}

void otlp_export_now(struct otlp *otlp)
{
    if (otlp == NULL)
        return;
    pthread_mutex_lock(&otlp->lock);
    otlp->asked = true;
    pthread_cond_broadcast(&otlp->changed);
    pthread_mutex_unlock(&otlp->lock);
}

void otlp_end(struct otlp *otlp, unsigned timeout_ms)
{
    if (otlp == NULL)
        return;
    pthread_mutex_lock(&otlp->lock);
    if (!otlp->closing) {
        collector_end_by(&otlp->collector, clock_monotonic_ns() + timeout_ms * CLOCK_NS_PER_MS);
        otlp->closing = otlp->asked = true;
        pthread_cond_broadcast(&otlp->changed);
    }
    pthread_mutex_unlock(&otlp->lock);
}

struct otlp *otlp_close(struct otlp *otlp, unsigned timeout_ms)
{
    bool ended;
    int r = 0;

    if (otlp == NULL)
        return NULL;
    otlp_end(otlp, timeout_ms);
    otlp_queue_close(otlp);
    pthread_mutex_lock(&otlp->lock);
    while (!otlp->ended && r == 0)
        r = thread_wait_until(&otlp->changed, &otlp->lock,
                              atomic_load(&otlp->collector.end_ns) + GRACE_MS * CLOCK_NS_PER_MS);
    ended = otlp->ended;
    otlp->left_alone = !ended;
    otlp->metrics = NULL;
    otlp->exported = NULL;
    memset(otlp->dropped, 0, sizeof(otlp->dropped));
    if (!ended)
        pthread_detach(otlp->thread); /* under the lock: the thread frees otlp */
    pthread_mutex_unlock(&otlp->lock);
    if (ended) {
        pthread_join(otlp->thread, NULL); /* OpenSSL frees what it keeps for a thread when that ends */
        otlp_free(otlp);
    }
    return NULL;
}
