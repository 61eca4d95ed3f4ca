#include "store_etcd.h"
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT_NS (3 * CLOCK_NS_PER_S) /* where there is a view to go on with */

static struct etcd *etcd_new(const struct etcd_world *world, const struct store_options *options)
{
    struct etcd *etcd = calloc(1, sizeof(*etcd));

    if (etcd == NULL)
        return NULL;
    etcd->world = world;
    etcd->options = *options;
    etcd->lock_fd = etcd->fresh_fd = -1;
    etcd->writer.last = &etcd->writer.first;
    pthread_mutex_init(&etcd->mutex, NULL);
    world->cond_init(&etcd->changed);
    world->cond_init(&etcd->writable);
    etcd_reads_init(etcd);
    return etcd;
}

/* ---- metrics ---- */

static size_t waiting_count(struct etcd *etcd)
{
    size_t count;

    pthread_mutex_lock(&etcd->mutex);
    count = etcd->writer.count + etcd->writer.doubts;
    pthread_mutex_unlock(&etcd->mutex);
    return count;
}

static void set_gauges(void *arg)
{
    struct etcd *etcd = arg;
    struct etcd_view *view = etcd_view_ref(etcd);
    uint64_t age_ms = 0;

    if (view != NULL) {
        struct store_view_size size = store_view_size(view->view);

        metrics_set(etcd->metrics.readers, store_view_readers(view->view));
        store_metrics_set_size(&etcd->metrics, size.bytes, size.records, size.last_seq);
        store_metrics_set_disk(&etcd->metrics, store_view_fd(view->view));
    }
    etcd_view_unref(etcd, view);
    metrics_set(etcd->etcd_fullness, etcd_room_fullness(etcd));
    metrics_set(etcd->metrics.queue_requests, (double)waiting_count(etcd));
    if (etcd_reads_age(etcd, &age_ms))
        metrics_set(etcd->age_seconds, (double)age_ms / 1000);
}

static void open_metrics(struct etcd *etcd)
{
    struct metrics *registry = etcd->options.metrics;

    store_metrics_open(&etcd->metrics, &etcd->options);
    etcd->loads = store_metrics_single(registry, METRICS_COUNTER, "store_view_loads_total",
                                       "Copies made of all records, because the view could not be gone on with");
    etcd->view_errors = store_metrics_single(registry, METRICS_COUNTER, "store_view_errors_total",
                                             "Failures to write to the view, or to a fresh copy of all records");
    etcd->watches = store_metrics_single(registry, METRICS_COUNTER, "store_watches_total", "Watches begun");
    etcd->fences = store_metrics_single(registry, METRICS_COUNTER, "store_fences_total",
                                        "Questions for the result of a commit whose answer was lost");
    etcd->age_seconds = store_metrics_single(registry, METRICS_GAUGE, "store_view_age_seconds",
                                             "How old the view may be: what stale reads are answered from");
    etcd->etcd_fullness = store_metrics_single(registry, METRICS_GAUGE, "store_etcd_quota_used_ratio",
                                               "Of etcd's quota, what the fullest member uses: from 15/16 on puts are "
                                               "refused; 0: etcd does not tell");
    if (registry != NULL)
        metrics_on_scrape(registry, set_gauges, etcd);
}

/* ---- the engine ---- */

static void close_etcd(struct store *store)
{
    struct etcd *etcd = (struct etcd *)store;

    if (etcd->metrics.registry != NULL)
        metrics_off_scrape(etcd->metrics.registry, set_gauges, etcd);
    etcd_writer_stop(etcd); /* needs the follower, which shows it its own writes */
    etcd_reads_close(etcd);
    etcd_follower_stop(etcd);
    etcd_client_close(&etcd->client);
    etcd_writer_release(etcd);
    etcd_views_close(etcd);
    etcd_url_release(&etcd->url);
    pthread_mutex_destroy(&etcd->reads.mutex);
    pthread_cond_destroy(&etcd->writable);
    pthread_cond_destroy(&etcd->changed);
    pthread_mutex_destroy(&etcd->mutex);
    free(etcd);
}

/* Without an answer of etcd there is nothing to serve but a view that the last run has kept. */
static int attach_or_go_on(struct etcd *etcd, char *error, size_t error_size)
{
    bool kept = etcd->view != NULL && etcd->reads.fresh_ns != 0;
    int err = etcd_attach(etcd, kept ? KEPT_NS : ETCD_OPEN_NS, error, error_size);

    return err == -EHOSTUNREACH && kept ? 0 : err;
}

static int start(struct etcd *etcd, char *error, size_t error_size)
{
    bool inspects = etcd->options.mode == STORE_INSPECT; /* takes the tables that it finds, and keeps no view */
    int err;

    err = etcd_client_connect(&etcd->client, etcd->world, &etcd->url, etcd->options.metrics, error, error_size);
    if (err == 0 && !inspects)
        err = etcd_views_open(etcd, error, error_size);
    if (err == 0)
        err = attach_or_go_on(etcd, error, error_size);
    if (err < 0)
        return err;
    if (etcd->view != NULL)
        etcd_reads_restart(etcd, &etcd->view->position);
    err = etcd_follower_start(etcd);
    if (err < 0)
        return store_fail(error, error_size, err, "etcd: no thread: %s", strerror(-err));
    if (atomic_load(&etcd->attached))
        err = etcd_follower_wait_ready(etcd, error, error_size);
    if (err < 0)
        return err;
    etcd->store.tables = etcd->keys.tables;
    etcd->store.table_count = etcd->keys.table_count;
    err = etcd_writer_start(etcd); /* it does what time brings, even where nothing is written */
    return err < 0 ? store_fail(error, error_size, err, "etcd: no writer: %s", strerror(-err)) : 0;
}

static const char *check_etcd(const char *rest)
{
    struct etcd_url url;
    const char *why = strerror(ENOMEM);

    etcd_url_parse(rest, &url, &why);
    etcd_url_release(&url);
    return why;
}

int store_etcd_open(const struct etcd_world *world, const struct store_options *options, const char *rest,
                    struct store **ret_store, char *error, size_t error_size)
{
    struct etcd *etcd = etcd_new(world, options);
    const char *why = strerror(ENOMEM);
    int err;

    if (etcd == NULL)
        return store_fail(error, error_size, -ENOMEM, "%s", why);
    err = etcd_url_parse(rest, &etcd->url, &why);
    if (err < 0) {
        store_fail(error, error_size, err, "store %s: %s", options->url, why);
    } else {
        etcd_keys_init(&etcd->keys, etcd->url.prefix, options);
        open_metrics(etcd);
        err = start(etcd, error, error_size);
    }
    if (err < 0) {
        close_etcd(&etcd->store);
        return err;
    }
    *ret_store = &etcd->store;
    return 0;
}

static int open_etcd(const struct store_options *options, const char *rest, struct store **ret_store, char *error,
                     size_t error_size)
{
    return store_etcd_open(&etcd_real_world, options, rest, ret_store, error, error_size);
}

/* A full disk is nothing that a restart mends. */
static int health_etcd(const struct store *store)
{
    const struct etcd *etcd = (const struct etcd *)store;
    int err = atomic_load(&etcd->replaced) ? -EIO : etcd_view_trouble(etcd);

    return err < 0 && err != -ENOSPC ? -EIO : 0;
}

static int ready_etcd(const struct store *store)
{
    const struct etcd *etcd = (const struct etcd *)store;

    return atomic_load(&etcd->replaced) ? -EIO : etcd_view_trouble(etcd);
}

static void write_etcd(struct store *store, struct store_batch *take_batch)
{
    etcd_write((struct etcd *)store, take_batch);
}

static void read_etcd(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    etcd_read((struct etcd *)store, deadline_ns, max_stale_ms, read, arg);
}

static int restored_etcd(struct store *store, uint64_t last_seq)
{
    return etcd_schema_restored((struct etcd *)store, last_seq);
}

const struct store_engine store_etcd_engine = {
    .scheme = "etcd",
    .check = check_etcd,
    .open = open_etcd,
    .close = close_etcd,
    .health = health_etcd,
    .ready = ready_etcd,
    .write = write_etcd,
    .read = read_etcd,
    .restored = restored_etcd,
    .defragment = etcd_defragment,
};
