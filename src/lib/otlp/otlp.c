/* The queue of spans, and the thread that sends it.
 *
 * lock guards the queue, what has become of spans, and closing. The thread releases it only while it sends or waits.
 * The exporter is freed by otlp_close or, where the thread does not end in time, by the thread: whoever is last. From
 * otlp_close's end on the thread touches nothing of others: series are NULL. */
#include "clock.h"
#include "otlp_internal.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define MAX_MEMORY       (4 << 20)
#define ATTEMPT_MS       10000
#define FIRST_BACKOFF_MS 1000
#define MAX_BACKOFF_MS   8000
#define GRACE_MS         500 /* for the thread, beyond the deadline that it was given */

enum reason { REASON_QUEUE, REASON_SIZE, REASON_FAILED, REASON_REJECTED, REASONS };

struct otlp {
    struct span_sink sink; /* first */
    struct collector collector;
    struct otlp_resource resource;
    unsigned max_queue, max_batch, delay_ms, timeout_ms;
    size_t max_bytes; /* of what waits and of the batch that is being sent, without the request made of that */
    pthread_mutex_t lock;
    pthread_t thread;
    pthread_cond_t changed; /* for the thread: there is a batch, or it is to end; for otlp_close: it has ended */
    struct otlp_span *first, **end;
    unsigned count;   /* that wait */
    unsigned sending; /* of the batch */
    size_t bytes;     /* of both */
    uint64_t due_ns;  /* when what waits is sent in any case */
    bool closing, ended, left_alone;
    struct metrics *metrics;
    struct metrics_series *exported, *dropped[REASONS], *queued;
};

static size_t size_of(const struct otlp_span *span)
{
    return sizeof(*span) + span->len;
}

/* ---- the queue; under the lock ---- */

static void append(struct otlp *otlp, struct otlp_span *span)
{
    if (otlp->count == 0)
        otlp->due_ns = clock_monotonic_ns() + otlp->delay_ms * CLOCK_NS_PER_MS;
    *otlp->end = span;
    otlp->end = &span->next;
    otlp->bytes += size_of(span);
    otlp->count++;
    if (otlp->count == 1 || otlp->count == otlp->max_batch)
        pthread_cond_signal(&otlp->changed);
}

static bool has_room(const struct otlp *otlp, const struct otlp_span *span)
{
    return otlp->count + otlp->sending < otlp->max_queue && otlp->bytes + size_of(span) <= otlp->max_bytes;
}

/* Up to a batch, in order. */
static struct otlp_span *take_batch(struct otlp *otlp)
{
    struct otlp_span *batch = otlp->first, **at = &otlp->first;

    while (otlp->sending < otlp->max_batch && *at != NULL) {
        otlp->sending++;
        at = &(*at)->next;
    }
    otlp->first = *at;
    *at = NULL;
    if (otlp->first == NULL)
        otlp->end = &otlp->first;
    otlp->count -= otlp->sending;
    otlp->due_ns = clock_monotonic_ns() + otlp->delay_ms * CLOCK_NS_PER_MS;
    return batch;
}

static void free_spans(struct otlp *otlp, struct otlp_span *spans)
{
    for (struct otlp_span *next; spans != NULL; spans = next) {
        next = spans->next;
        otlp->bytes -= size_of(spans);
        free(spans);
    }
}

static void put(struct span_sink *sink, const struct span *span)
{
    struct otlp *otlp = (struct otlp *)sink;
    struct otlp_span *packed = otlp_span_pack(span);
    bool taken;

    if (packed == NULL) {
        metrics_add(otlp->dropped[REASON_SIZE], 1);
        return;
    }
    pthread_mutex_lock(&otlp->lock);
    taken = !otlp->closing && has_room(otlp, packed);
    if (taken)
        append(otlp, packed);
    pthread_mutex_unlock(&otlp->lock);
    if (taken)
        return;
    metrics_add(otlp->dropped[REASON_QUEUE], 1);
    free(packed);
}

/* ---- the thread ---- */

static bool is_over(struct otlp *otlp, uint64_t deadline_ns)
{
    uint64_t end_ns = atomic_load(&otlp->collector.end_ns), now_ns = clock_monotonic_ns();

    return now_ns >= deadline_ns || now_ns >= end_ns;
}

/* Sends until it is taken, refused for good, or the time is up. */
static enum collector_result send_request(struct otlp *otlp, struct str request, struct buf *response)
{
    uint64_t deadline_ns = clock_monotonic_ns() + otlp->timeout_ms * CLOCK_NS_PER_MS, backoff_ms = FIRST_BACKOFF_MS;
    enum collector_result result;

    for (;;) {
        uint64_t attempt_ns = clock_monotonic_ns() + ATTEMPT_MS * CLOCK_NS_PER_MS, again_ns;

        result =
            collector_call(&otlp->collector, request, attempt_ns < deadline_ns ? attempt_ns : deadline_ns, response);
        again_ns = clock_monotonic_ns() + backoff_ms * CLOCK_NS_PER_MS;
        if (result != COLLECTOR_AGAIN || is_over(otlp, deadline_ns))
            return result;
        collector_sleep(&otlp->collector, again_ns < deadline_ns ? again_ns : deadline_ns);
        backoff_ms = 2 * backoff_ms < MAX_BACKOFF_MS ? 2 * backoff_ms : MAX_BACKOFF_MS;
    }
}

struct outcome {
    uint64_t exported, rejected, failed;
};

static struct outcome send_batch(struct otlp *otlp, const struct otlp_span *batch, uint64_t count)
{
    struct buf request = {0}, response = {0};
    struct outcome outcome = {.failed = count};

    otlp_request_pack(&otlp->resource, batch, count, &request);
    if (!request.failed && send_request(otlp, buf_str(&request), &response) == COLLECTOR_OK) {
        uint64_t rejected = otlp_response_rejected(buf_str(&response));

        rejected = rejected < count ? rejected : count;
        outcome = (struct outcome){.exported = count - rejected, .rejected = rejected};
    }
    buf_release(&request);
    buf_release(&response);
    return outcome;
}

/* Under the lock. */
static void await_batch(struct otlp *otlp)
{
    while (!otlp->closing && otlp->count < otlp->max_batch &&
           (otlp->count == 0 || clock_monotonic_ns() < otlp->due_ns)) {
        if (otlp->count == 0)
            pthread_cond_wait(&otlp->changed, &otlp->lock);
        else
            thread_wait_until(&otlp->changed, &otlp->lock, otlp->due_ns);
    }
}

/* Under the lock, which it gives up meanwhile. */
static void export_batch(struct otlp *otlp)
{
    struct otlp_span *batch = take_batch(otlp);
    struct outcome outcome;

    pthread_mutex_unlock(&otlp->lock);
    outcome = send_batch(otlp, batch, otlp->sending);
    pthread_mutex_lock(&otlp->lock);
    free_spans(otlp, batch);
    otlp->sending = 0;
    metrics_add(otlp->exported, outcome.exported);
    metrics_add(otlp->dropped[REASON_REJECTED], outcome.rejected);
    metrics_add(otlp->dropped[REASON_FAILED], outcome.failed);
}

static void otlp_free(struct otlp *otlp)
{
    free_spans(otlp, otlp->first);
    collector_release(&otlp->collector);
    otlp_resource_release(&otlp->resource);
    pthread_cond_destroy(&otlp->changed);
    pthread_mutex_destroy(&otlp->lock);
    free(otlp);
}

static void *run(void *arg)
{
    struct otlp *otlp = arg;
    bool left_alone;

    pthread_mutex_lock(&otlp->lock);
    for (;;) {
        await_batch(otlp);
        if (otlp->count == 0 || (otlp->closing && is_over(otlp, UINT64_MAX)))
            break;
        export_batch(otlp);
    }
    metrics_add(otlp->dropped[REASON_FAILED], otlp->count);
    otlp->ended = true;
    left_alone = otlp->left_alone;
    pthread_cond_broadcast(&otlp->changed);
    pthread_mutex_unlock(&otlp->lock);
    if (left_alone)
        otlp_free(otlp);
    return NULL;
}

/* ---- its life ---- */

static void read_queue(void *arg)
{
    struct otlp *otlp = arg;
    size_t bytes;

    pthread_mutex_lock(&otlp->lock);
    bytes = otlp->bytes;
    pthread_mutex_unlock(&otlp->lock);
    metrics_set(otlp->queued, (double)bytes);
}

static void open_metrics(struct otlp *otlp)
{
    static const struct metrics_def exported = {.name = "trace_spans_exported_total",
                                                .help = "Spans that the collector of traces has taken.",
                                                .type = METRICS_COUNTER},
                                    dropped =
                                        {.name = "trace_spans_dropped_total",
                                         .help = "Spans that were not delivered to the collector: the queue was full, "
                                                 "the span was too large or there was no memory for it, sending "
                                                 "failed, or the collector rejected it.",
                                         .type = METRICS_COUNTER,
                                         .labels = {"reason"}},
                                    queued = {.name = "trace_queue_bytes",
                                              .help = "Spans that wait for the collector or are being sent.",
                                              .type = METRICS_GAUGE};
    static const char *const reasons[REASONS] = {[REASON_QUEUE] = "queue_full",
                                                 [REASON_SIZE] = "too_large",
                                                 [REASON_FAILED] = "failed",
                                                 [REASON_REJECTED] = "rejected"};
    struct metrics_family *family = metrics_family(otlp->metrics, &dropped);

    otlp->exported = metrics_single(otlp->metrics, &exported);
    otlp->queued = metrics_single(otlp->metrics, &queued);
    for (unsigned i = 0; i < REASONS; i++)
        otlp->dropped[i] = metrics_series(family, (const struct str[]){str_of(reasons[i])});
    metrics_on_scrape(otlp->metrics, read_queue, otlp);
}

static unsigned or_default(unsigned value, unsigned by_default)
{
    return value > 0 ? value : by_default;
}

static void configure(struct otlp *otlp, const struct otlp_def *def)
{
    otlp->sink = (struct span_sink){.sampler = def->sampler, .put = put};
    otlp->max_queue = or_default(def->max_queue, 2048);
    otlp->max_batch = or_default(def->max_batch, 512);
    if (otlp->max_batch > otlp->max_queue)
        otlp->max_batch = otlp->max_queue;
    otlp->delay_ms = or_default(def->delay_ms, 5000);
    otlp->timeout_ms = or_default(def->timeout_ms, 30000);
    otlp->max_bytes = (def->max_memory > 0 ? def->max_memory : MAX_MEMORY) / 2;
    otlp->metrics = def->metrics;
    otlp->end = &otlp->first;
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
    r = collector_open(def, &otlp->collector);
    if (r == 0)
        r = otlp_resource_open(def->service, def->resource, &otlp->resource);
    if (r == 0) {
        open_metrics(otlp);
        r = thread_start(&otlp->thread, "otlp", run, otlp);
        if (r != 0)
            metrics_off_scrape(otlp->metrics, read_queue, otlp);
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
    return &otlp->sink;
}

struct otlp *otlp_close(struct otlp *otlp, unsigned timeout_ms)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * CLOCK_NS_PER_MS;
    bool ended;
    int r = 0;

    if (otlp == NULL)
        return NULL;
    metrics_off_scrape(otlp->metrics, read_queue, otlp);
    collector_end_by(&otlp->collector, end_ns);
    pthread_mutex_lock(&otlp->lock);
    otlp->closing = true;
    pthread_cond_broadcast(&otlp->changed);
    while (!otlp->ended && r == 0)
        r = thread_wait_until(&otlp->changed, &otlp->lock, end_ns + GRACE_MS * CLOCK_NS_PER_MS);
    ended = otlp->ended;
    otlp->left_alone = !ended;
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
