/* Spans and log records: the queue that they wait in. */
#include "clock.h"
#include "otlp_internal.h"
#include <stdlib.h>

/* ---- the queue; under the lock ---- */

static void append(struct otlp *otlp, struct otlp_item *item)
{
    if (otlp->count == 0)
        otlp->due_ns = clock_monotonic_ns() + otlp->delay_ms * CLOCK_NS_PER_MS;
    *otlp->end = item;
    otlp->end = &item->next;
    otlp->bytes += otlp_item_size(item);
    otlp->count++;
    if (otlp->count == 1 || otlp->count == otlp->max_batch)
        pthread_cond_signal(&otlp->changed);
}

static bool has_room(const struct otlp *otlp, const struct otlp_item *item)
{
    return otlp->count + otlp->sending < otlp->max_queue && otlp->bytes + otlp_item_size(item) <= otlp->max_bytes;
}

/* Up to a batch, in order. */
static struct otlp_item *take_batch(struct otlp *otlp)
{
    struct otlp_item *batch = otlp->first, **at = &otlp->first;

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

static void free_items(struct otlp *otlp, struct otlp_item *items)
{
    for (struct otlp_item *next; items != NULL; items = next) {
        next = items->next;
        otlp->bytes -= otlp_item_size(items);
        free(items);
    }
}

static uint64_t due_ns(struct otlp *otlp)
{
    return otlp->count == 0 ? UINT64_MAX : otlp->count >= otlp->max_batch || otlp->closing ? 0 : otlp->due_ns;
}

static void export_batch(struct otlp *otlp)
{
    struct otlp_item *batch = take_batch(otlp);

    otlp_send(otlp, batch);
    free_items(otlp, batch);
    otlp->sending = 0;
}

static uint64_t drop(struct otlp *otlp)
{
    uint64_t count = otlp->count;

    free_items(otlp, otlp->first);
    otlp->first = NULL;
    otlp->end = &otlp->first;
    otlp->count = 0;
    return count;
}

/* ---- putting ---- */

static void put(struct otlp *otlp, struct otlp_item *item)
{
    bool taken;

    if (item == NULL) {
        metrics_add(otlp->dropped[OTLP_SIZE], 1);
        return;
    }
    pthread_mutex_lock(&otlp->lock);
    taken = !otlp->closing && has_room(otlp, item);
    if (taken)
        append(otlp, item);
    pthread_mutex_unlock(&otlp->lock);
    if (taken)
        return;
    metrics_add(otlp->dropped[OTLP_QUEUE], 1);
    free(item);
}

static void put_span(struct span_sink *sink, const struct span *span)
{
    put((struct otlp *)sink, otlp_span_pack(span));
}

static void put_log(struct log_sink *sink, const struct log_entry *entry)
{
    put((struct otlp *)(void *)((char *)sink - offsetof(struct otlp, logs)), otlp_log_pack(entry));
}

/* ---- the signals ---- */

const struct otlp_signal
    otlp_span_signal = {.method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                        .thread = "otlp",
                        .exported = {.name = "trace_spans_exported_total",
                                     .help = "Spans that the collector of traces has taken.",
                                     .type = METRICS_COUNTER},
                        .dropped = {.name = "trace_spans_dropped_total",
                                    .help = "Spans that were not delivered to the collector: the queue was full, the "
                                            "span was too large or there was no memory for it, sending failed, or the "
                                            "collector rejected it.",
                                    .type = METRICS_COUNTER,
                                    .labels = {"reason"}},
                        .delay_ms = 5000,
                        .due_ns = due_ns,
                        .export = export_batch,
                        .drop = drop},
    otlp_log_signal = {
        .method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        .thread = "otlp-logs",
        .exported = {.name = "log_records_exported_total",
                     .help = "Log lines that the collector of logs has taken.",
                     .type = METRICS_COUNTER},
        .dropped = {.name = "log_records_dropped_total",
                    .help = "Log lines that were not delivered to the collector: the queue was full, there was no "
                            "memory, sending failed, or the collector rejected them.",
                    .type = METRICS_COUNTER,
                    .labels = {"reason"}},
        .delay_ms = 1000,
        .due_ns = due_ns,
        .export = export_batch,
        .drop = drop};

static void read_queue(void *arg)
{
    struct otlp *otlp = arg;
    size_t bytes;

    pthread_mutex_lock(&otlp->lock);
    bytes = otlp->bytes;
    pthread_mutex_unlock(&otlp->lock);
    metrics_set(otlp->queued, (double)bytes);
}

static unsigned or_default(unsigned value, unsigned by_default)
{
    return value > 0 ? value : by_default;
}

void otlp_queue_open(struct otlp *otlp, const struct otlp_def *def)
{
    static const struct metrics_def spans = {.name = "trace_queue_bytes",
                                             .help = "Spans that wait for the collector or are being sent.",
                                             .type = METRICS_GAUGE},
                                    logs = {.name = "log_queue_bytes",
                                            .help = "Log lines that wait for the collector or are being sent.",
                                            .type = METRICS_GAUGE};

    otlp->spans = (struct span_sink){.sampler = def->sampler, .put = put_span};
    otlp->logs.put = put_log;
    otlp->max_queue = or_default(def->max_queue, 2048);
    otlp->max_batch = or_default(def->max_batch, 512);
    if (otlp->max_batch > otlp->max_queue)
        otlp->max_batch = otlp->max_queue;
    if (def->signal == OTLP_METRICS)
        return;
    otlp->queued = metrics_single(otlp->metrics, def->signal == OTLP_SPANS ? &spans : &logs);
    metrics_on_scrape(otlp->metrics, read_queue, otlp);
}

void otlp_queue_close(struct otlp *otlp)
{
    metrics_off_scrape(otlp->metrics, read_queue, otlp);
}
