#include "clock.h"
#include "otlp_internal.h"

#define ATTEMPT_MS       10000
#define FIRST_BACKOFF_MS 1000
#define MAX_BACKOFF_MS   8000

bool otlp_is_over(struct otlp *otlp, uint64_t deadline_ns)
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
        if (result != COLLECTOR_AGAIN || otlp_is_over(otlp, deadline_ns))
            return result;
        collector_sleep(&otlp->collector, again_ns < deadline_ns ? again_ns : deadline_ns);
        backoff_ms = 2 * backoff_ms < MAX_BACKOFF_MS ? 2 * backoff_ms : MAX_BACKOFF_MS;
    }
}

struct outcome {
    uint64_t exported, rejected, failed;
};

static struct outcome send_items(struct otlp *otlp, const struct otlp_item *items)
{
    struct buf request = {0}, response = {0};
    struct outcome outcome = {.failed = 0};
    size_t items_count = 0;

    for (const struct otlp_item *item = items; item != NULL; item = item->next, items_count++)
        outcome.failed += item->count;
    otlp_request_pack(&otlp->resource, items, items_count, &request);
    if (!request.failed && send_request(otlp, buf_str(&request), &response) == COLLECTOR_OK) {
        uint64_t rejected = otlp_response_rejected(buf_str(&response));

        rejected = rejected < outcome.failed ? rejected : outcome.failed;
        outcome = (struct outcome){.exported = outcome.failed - rejected, .rejected = rejected};
    }
    buf_release(&request);
    buf_release(&response);
    return outcome;
}

void otlp_send(struct otlp *otlp, const struct otlp_item *items)
{
    struct outcome outcome;

    pthread_mutex_unlock(&otlp->lock);
    outcome = send_items(otlp, items);
    pthread_mutex_lock(&otlp->lock);
    metrics_add(otlp->exported, outcome.exported);
    metrics_add(otlp->dropped[OTLP_REJECTED], outcome.rejected);
    metrics_add(otlp->dropped[OTLP_FAILED], outcome.failed);
}
