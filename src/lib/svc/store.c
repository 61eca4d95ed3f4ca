#include "svc_store.h"

int svc_store_open(struct svc *svc, const struct store_table *tables, size_t count, struct store **ret_store)
{
    const struct config *config = svc_config(svc);
    const struct store_options options = {
        .url = config_string(config, "STORE_URL"),
        .tables = tables,
        .table_count = count,
        .max_bytes = (uint64_t)config_int(config, "STORE_MAX_BYTES"),
        .max_queue_bytes = svc_memory_part_at_most(svc, MEMORY_STORE_QUEUE, STORE_QUEUE_BYTES),
        .max_call_bytes = svc_memory_part(svc, MEMORY_GRPC_OUTGOING),
        .metrics = svc_metrics(svc),
        .spans = svc_spans(svc),
        .log = svc_log(svc),
    };
    char error[512];

    return store_open(&options, ret_store, error, sizeof(error)) < 0 ? svc_fail(svc, "%s", error) : 0;
}

static const struct config_option options[] = {SVC_STORE_OPTIONS, {0}};

static struct store *close_store(struct store *store)
{
    return store != NULL ? store_close(store) : NULL;
}

const struct svc_store_engine svc_store_engine = {
    .options = options,
    .open = svc_store_open,
    .close = close_store,
    .ready = store_ready,
    .healthy = store_health,
};
