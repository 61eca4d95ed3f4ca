/* The peer on this library: a service like route-guide, with its data set, its log, metrics and admin listener, and a
 * client of gRPC, that answers as the other peers do: GetFeature looks a point up and saves nothing, ListFeatures is
 * route-guide's, RouteChat sends each note back. */
#include "../../../src/route-guide/guide.h"
#include "routeguide.descriptors.h"
#include "routeguide.rpc_server.h"
#include "svc.h"
#include <assert.h>
#include <stdio.h>

static const struct config_option options[] = {
    {.name = "FEATURES_FILE", .value = CONFIG_REQUIRED, .help = "the data set"},
    {0},
};

static void get_feature(struct rpc_call *call, const Routeguide__Point *message)
{
    const struct guide *guide = rpc_call_service_state(call);
    const struct feature *feature;
    struct route_feature found;
    struct geo_point point;

    if (!route_point(call, message, &point))
        return;
    feature = feature_set_find(guide->features, point);
    routeguide__route_guide__get_feature__reply(call,
                                                route_feature_message(&found, point, feature ? feature->name : ""));
}

static void echo(struct rpc_call *call, const Routeguide__RouteNote *note)
{
    if (routeguide__route_guide__route_chat__send(call, note) > 0)
        rpc_pause(call);
}

static void end_echo(struct rpc_call *call)
{
    rpc_finish(call, ERR_GRPC_OK, NULL);
}

/* ---- the client: connected, and idle, as those of most services are most of the time ---- */

static void on_connected(void *arg, const struct rpc_status *status, const Routeguide__Feature *reply)
{
    assert(status->code == ERR_GRPC_OK);
}

static int connect_client(struct svc *svc, struct guide *guide)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct rpc_call_options call = {.timeout_ms = 10000, .wait_for_ready = true};
    char target[64];
    int r;

    snprintf(target, sizeof(target), "127.0.0.1:%lld", (long long)config_int(svc_config(svc), "GRPC_PORT"));
    r = rpc_client_open(&(struct rpc_client_def){.name = "guide", .target = target, .metrics = svc_metrics(svc)},
                        &guide->store);
    if (r == 0)
        r = routeguide__route_guide__get_feature__call(guide->store, &point, &call, on_connected, NULL);
    return r == 0 ? 0 : svc_fail(svc, "%s: %s", target, err_text(r));
}

static int start(struct svc *svc, void *state)
{
    struct guide *guide = state;
    char error[512];

    if (feature_set_load(config_string(svc_config(svc), "FEATURES_FILE"), &guide->features, error, sizeof(error)) < 0)
        return svc_fail(svc, "%s", error);
    return connect_client(svc, guide);
}

static void stop(void *state)
{
    struct guide *guide = state;

    guide->store = rpc_client_free(guide->store);
    guide->features = feature_set_free(guide->features);
}

static struct rpc_method method_of_route_guide(const char *name)
{
    const struct rpc_method *method = guide_methods;

    while (strcmp(method->name, name) != 0)
        method++;
    return *method;
}

int main(int argc, char **argv)
{
    const struct rpc_method methods[] = {
        ROUTEGUIDE__ROUTE_GUIDE__GET_FEATURE(get_feature),
        method_of_route_guide("ListFeatures"),
        ROUTEGUIDE__ROUTE_GUIDE__ROUTE_CHAT(echo, .on_half_close = end_echo, .on_writable = rpc_resume),
        {0},
    };
    struct guide guide = {0};

    return svc_main(argc, argv,
                    &(struct svc_def){
                        .name = "peer-guide",
                        .summary = "the gRPC server of bench peers rpc",
                        .state = &guide,
                        .options = options,
                        .rpc = RPC_SERVICE(methods, routeguide_descriptors),
                        .start = start,
                        .stop = stop,
                    });
}
