/* feature-store -- stores named features over gRPC: durable, with their history. */
#include "feature_store.h"
#include "routeguide.descriptors.h"
#include "svc_store.h"

static const struct config_option options[] = {
    {.name = "HISTORY_PER_POINT",
     .value = "100",
     .kind = CONFIG_INT,
     .min = 1,
     .max = 1000000000,
     .unit = "saves",
     .help = "saves kept for each point, the newest ones"},
    {.name = "HISTORY_TOTAL",
     .value = "1000000",
     .kind = CONFIG_INT,
     .min = 1,
     .max = 1000000000,
     .unit = "saves",
     .help = "saves kept in total; the newest of each point is always kept"},
    /* route-guide sends a key with every save: kept for long, keys would take more room than the saves. */
    {.name = "IDEMPOTENCY_SECONDS",
     .value = "3600",
     .kind = CONFIG_INT,
     .min = 60,
     .max = 7 * 24 * 3600,
     .unit = "s",
     .help = "time for which an idempotency key is kept"},
    ROUTE_CHAT_MAX_BYTES,
    {0},
};

static int start(struct svc *svc, void *state)
{
    const struct config *config = svc_config(svc);
    struct feature_store *fs = state;
    int r;

    fs->route.lookup = feature_store_lookup;
    fs->route.chat = route_chat_new(svc);
    if (!fs->route.chat)
        return svc_fail(svc, "out of memory");
    r = idempotency_open(fs->store, TABLE_IDEMPOTENCY, (uint64_t)config_int(config, "IDEMPOTENCY_SECONDS") * 1000,
                         svc_metrics(svc), &fs->idempotency);
    if (r < 0)
        return svc_fail(svc, "idempotency keys: %s", err_text(r));
    r = retention_open(fs->store, (uint64_t)config_int(config, "HISTORY_PER_POINT"),
                       (uint64_t)config_int(config, "HISTORY_TOTAL"), svc_metrics(svc), &fs->retention);
    return r < 0 ? svc_fail(svc, "retention: %s", err_text(r)) : 0;
}

static void stop(void *state)
{
    struct feature_store *fs = state;

    feature_store_wait_idle(fs);
    fs->retention = retention_free(fs->retention);
    fs->idempotency = idempotency_free(fs->idempotency);
    fs->route.chat = chat_free(fs->route.chat);
}

int main(int argc, char **argv)
{
    struct feature_store fs = {
        .tables = {[TABLE_SAVES] = saves_table, [TABLE_IDEMPOTENCY] = idempotency_table},
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .idle = PTHREAD_COND_INITIALIZER,
    };

    return svc_main(argc, argv,
                    &(struct svc_def){
                        .name = "feature-store",
                        .summary = "stores named features over gRPC",
                        .state = &fs,
                        .options = options,
                        .store = SVC_STORE(fs.tables, TABLES, &fs.store),
                        .rpc = RPC_SERVICE(feature_store_methods, routeguide_descriptors),
                        .grpc_port = "9999",
                        .start = start,
                        .stop = stop,
                    });
}
