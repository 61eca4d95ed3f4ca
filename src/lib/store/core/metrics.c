/* What every engine counts. */
#include "store_engine.h"
#include <sys/statvfs.h>

struct metrics_series *store_metrics_single(struct metrics *registry, enum metrics_type type, const char *name,
                                            const char *help)
{
    return metrics_single(registry, &(struct metrics_def){.name = name, .help = help, .type = type});
}

/* store_info{engine}: the scheme of the URL. */
static void tell_engine(const struct store_options *options)
{
    static const struct metrics_def def = {.name = "store_info",
                                           .help = "Which engine the store has; always 1",
                                           .type = METRICS_GAUGE,
                                           .labels = {"engine"}};
    struct str engine;

    if (options->metrics == NULL)
        return;
    engine = (struct str){options->url, strcspn(options->url, ":")};
    metrics_set(metrics_series(metrics_family(options->metrics, &def), &engine), 1);
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
        .disk_free = store_metrics_single(registry, METRICS_GAUGE, "store_disk_free_bytes",
                                          "Free bytes of the file system that has the data"),
        .disk_size = store_metrics_single(registry, METRICS_GAUGE, "store_disk_bytes",
                                          "Size of the file system that has the data"),
        .records = store_metrics_single(registry, METRICS_GAUGE, "store_records", "Records of all tables"),
        .revision = store_metrics_single(registry, METRICS_GAUGE, "store_revision",
                                         "Place of the last write in the order of commits, as far as it is seen here"),
    };
    tell_engine(options);
    metrics_set(metrics->bytes_max, (double)options->max_bytes);
    metrics_set(
        store_metrics_single(registry, METRICS_GAUGE, "store_queue_requests_max", "Bound of store_queue_requests"),
        (double)options->max_queue);
}

void store_metrics_set_size(const struct store_metrics *metrics, uint64_t bytes, uint64_t records, uint64_t last_seq)
{
    metrics_set(metrics->bytes_used, (double)bytes);
    metrics_set(metrics->records, (double)records);
    metrics_set(metrics->revision, (double)last_seq);
}

void store_metrics_set_disk(const struct store_metrics *metrics, int fd)
{
    struct statvfs disk;

    if (fstatvfs(fd, &disk) != 0)
        return;
    metrics_set(metrics->disk_free, (double)disk.f_bavail * (double)disk.f_frsize);
    metrics_set(metrics->disk_size, (double)disk.f_blocks * (double)disk.f_frsize);
}
