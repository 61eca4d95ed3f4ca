/* What every engine counts. */
#include "store_engine.h"

struct metrics_series *store_metrics_single(struct metrics *registry, enum metrics_type type, const char *name,
                                            const char *help)
{
    return metrics_single(registry, &(struct metrics_def){.name = name, .help = help, .type = type});
}

void store_metrics_open(struct store_metrics *metrics, const struct store_options *options)
{
    static const double seconds[] = {.00005, .0001, .00025, .0005, .001, .0025, .005, .01,
                                     .025,   .05,   .1,     .25,   .5,   1,     2.5};
    static const double requests[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    static const struct metrics_def commit_seconds = {"store_commit_seconds", "Time of a commit, its sync included",
                                                      METRICS_HISTOGRAM, .buckets = seconds,
                                                      .bucket_count = sizeof(seconds) / sizeof(*seconds)};
    static const struct metrics_def batch_requests = {"store_batch_requests", "Requests of a commit", METRICS_HISTOGRAM,
                                                      .buckets = requests,
                                                      .bucket_count = sizeof(requests) / sizeof(*requests)};
    struct metrics *registry = options->metrics;

    *metrics = (struct store_metrics){
        .registry = registry,
        .commits = store_metrics_single(registry, METRICS_COUNTER, "store_commits_total", "Commits"),
        .commit_seconds = metrics_single(registry, &commit_seconds),
        .batch_requests = metrics_single(registry, &batch_requests),
        .queue_requests =
            store_metrics_single(registry, METRICS_GAUGE, "store_queue_requests", "Write requests that are waiting"),
        .bytes_used = store_metrics_single(registry, METRICS_GAUGE, "store_bytes_used", "Bytes that the data takes"),
        .bytes_max = store_metrics_single(registry, METRICS_GAUGE, "store_bytes_max", "Bytes that the data may take"),
        .readers = store_metrics_single(registry, METRICS_GAUGE, "store_readers", "Snapshots in use"),
    };
    metrics_set(metrics->bytes_max, (double)options->max_bytes);
    metrics_set(
        store_metrics_single(registry, METRICS_GAUGE, "store_queue_requests_max", "Bound of store_queue_requests"),
        (double)options->max_queue);
}
