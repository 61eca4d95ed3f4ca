/* route-guide -- serves named features from a data set over gRPC; saves those that clients got to feature-store. */
#include "guide.h"
#include "routeguide.descriptors.h"
#include "svc.h"

static const struct config_option options[] = {
    {.name = "FEATURES_FILE",
     .value = SLIPWAY_DATADIR "/route-guide/features.json",
     .help = "data set: a JSON array of {location: {latitude, longitude}, name}"},
    {.name = "FEATURE_STORE_SERVICE_ADDR",
     .value = CONFIG_REQUIRED,
     .help = "host:port of feature-store",
     .check = rpc_client_check_target},
    {.name = "FEATURE_STORE_TIMEOUT_MS",
     .value = "2000",
     .kind = CONFIG_INT,
     .min = 1,
     .max = 60000,
     .unit = "ms",
     .help = "time limit for a save, retries included"},
    ROUTE_CHAT_MAX_BYTES,
    {0},
};

static int load_features(struct svc *svc, struct feature_set **ret_features)
{
    const char *path = config_string(svc_config(svc), "FEATURES_FILE");
    char error[512];

    return feature_set_load(path, ret_features, error, sizeof(error)) < 0 ? svc_fail(svc, "%s", error) : 0;
}

static int check(struct svc *svc)
{
    struct feature_set *features = NULL;
    int r = load_features(svc, &features);

    feature_set_free(features);
    return r;
}

static int start(struct svc *svc, void *state)
{
    static const char *const idempotent[] = {"routeguide.RouteGuide/SaveFeature", NULL}; /* each has a key */
    static const struct metrics_def failed_saves = {
        .name = "route_guide_failed_saves_total",
        .help = "GetFeature calls that failed because the feature could not be saved.",
        .type = METRICS_COUNTER,
    };
    const struct config *config = svc_config(svc);
    struct guide *guide = state;
    const struct rpc_client_def store = {
        .name = "feature-store",
        .target = config_string(config, "FEATURE_STORE_SERVICE_ADDR"),
        .metrics = svc_metrics(svc),
        .spans = svc_spans(svc),
        .max_memory = svc_memory_part(svc, MEMORY_GRPC_OUTGOING),
        .retry_idempotent = true,
        .idempotent_methods = idempotent,
    };
    int r;

    guide->route.lookup = guide_lookup;
    guide->store_timeout_ms = (uint64_t)config_int(config, "FEATURE_STORE_TIMEOUT_MS");
    guide->failed_saves = metrics_single(svc_metrics(svc), &failed_saves);
    guide->route.chat = route_chat_new(svc);
    if (!guide->route.chat)
        return svc_fail(svc, "out of memory");
    r = load_features(svc, &guide->features);
    if (r < 0)
        return r;
    r = rpc_client_open(&store, &guide->store);
    if (r < 0)
        return svc_fail(svc, "feature-store at %s: %s", store.target, err_text(r));
    log_fields(svc_log(svc), LOG_INFO, NULL, "data set loaded",
               &LOG_INT("features", (int64_t)feature_set_count(guide->features)), 1);
    return 0;
}

static void stop(void *state)
{
    struct guide *guide = state;

    guide->store = rpc_client_free(guide->store);
    guide->features = feature_set_free(guide->features);
    guide->route.chat = chat_free(guide->route.chat);
}

int main(int argc, char **argv)
{
    struct guide guide = {0};

    return svc_main(argc, argv,
                    &(struct svc_def){
                        .name = "route-guide",
                        .summary = "serves named features over gRPC",
                        .state = &guide,
                        .options = options,
                        .rpc = RPC_SERVICE(guide_methods, routeguide_descriptors),
                        .grpc_port = "8888",
                        .check = check,
                        .start = start,
                        .stop = stop,
                    });
}
