/* Metrics: all series of the process, read by the exporter's thread when they are due and sent in requests that are
 * bounded in bytes. */
#include "clock.h"
#include "otlp_internal.h"
#include <stdlib.h>

struct list {
    struct otlp_item *first, **end;
    size_t count, bytes;
};

static void list_init(struct list *list)
{
    *list = (struct list){.end = &list->first};
}

static void list_append(struct list *list, struct otlp_item *item)
{
    *list->end = item;
    list->end = &item->next;
    list->count++;
    list->bytes += otlp_item_size(item);
}

static void list_free(struct list *list)
{
    for (struct otlp_item *next; list->first != NULL; list->first = next) {
        next = list->first->next;
        free(list->first);
    }
    list_init(list);
}

/* An export that is being made. */
struct batch {
    struct otlp *otlp;
    struct otlp_times times;
    struct list metrics, points; /* points: of the family that is being read */
};

/* False: nobody waits for the thread any more, and the registry may be gone. */
static bool send_metrics(struct batch *batch)
{
    if (batch->metrics.count > 0)
        otlp_send(batch->otlp, batch->metrics.first);
    list_free(&batch->metrics);
    return !batch->otlp->left_alone;
}

static void drop_points(struct batch *batch, uint64_t count)
{
    metrics_add(batch->otlp->dropped[OTLP_SIZE], count);
}

/* The points that have been read become a metric. */
static void end_metric(struct batch *batch, const struct metrics_family *family)
{
    struct otlp_item *metric;

    if (batch->points.count == 0)
        return;
    metric = otlp_metric_pack(family, batch->points.first, batch->points.count);
    if (metric != NULL)
        list_append(&batch->metrics, metric);
    else
        drop_points(batch, batch->points.count);
    list_free(&batch->points);
}

static bool add_family(struct batch *batch, const struct metrics_family *family)
{
    const struct metrics_series *series = NULL;
    bool goes_on = true;

    while (goes_on && (series = metrics_next_series(family, series)) != NULL) {
        struct otlp_item *point = otlp_point_pack(family, series, &batch->times);

        if (point == NULL) {
            drop_points(batch, 1);
            continue;
        }
        if (batch->metrics.bytes + batch->points.bytes + otlp_item_size(point) > batch->otlp->max_bytes) {
            end_metric(batch, family);
            goes_on = send_metrics(batch);
        }
        list_append(&batch->points, point);
    }
    if (goes_on)
        end_metric(batch, family);
    return goes_on;
}

static void export_metrics(struct otlp *otlp)
{
    struct batch batch = {.otlp = otlp, .times = {otlp->start_ns, clock_realtime_ns()}};
    struct metrics_family *family = NULL;
    bool goes_on = true;

    otlp->asked = false;
    otlp->due_ns = clock_monotonic_ns() + otlp->delay_ms * CLOCK_NS_PER_MS;
    list_init(&batch.metrics);
    list_init(&batch.points);
    metrics_refresh(otlp->metrics);
    while (goes_on && (family = metrics_next_family(otlp->metrics, family)) != NULL)
        goes_on = add_family(&batch, family);
    if (goes_on)
        send_metrics(&batch);
    list_free(&batch.points);
    list_free(&batch.metrics);
}

static uint64_t due_ns(struct otlp *otlp)
{
    return otlp->asked ? 0 : otlp->closing ? UINT64_MAX : otlp->due_ns;
}

static uint64_t drop(struct otlp *otlp)
{
    otlp->asked = false;
    return 0;
}

const struct otlp_signal otlp_metric_signal = {
    .method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    .thread = "otlp-metrics",
    .exported = {.name = "metric_points_exported_total",
                 .help = "Data points that the collector of metrics has taken.",
                 .type = METRICS_COUNTER},
    .dropped = {.name = "metric_points_dropped_total",
                .help = "Data points that were not delivered to the collector: there was no memory, sending failed, or "
                        "the collector rejected them.",
                .type = METRICS_COUNTER,
                .labels = {"reason"}},
    .delay_ms = 60000,
    .due_ns = due_ns,
    .export = export_metrics,
    .drop = drop};
