#include "guide.h"
#include "clock.h"
#include "uuid.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void guide_lookup(struct rpc_call *call, struct geo_point point, route_found *found, void *arg)
{
    const struct guide *guide = rpc_call_service_state(call);

    found(arg, 0, NULL, feature_set_find(guide->features, point) != NULL);
}

/* ---- GetFeature and SaveFeature: a call of feature-store ---- */

struct saving {
    struct guide *guide;
    struct rpc_call *call;
    const struct feature *feature; /* GetFeature's */
};

/* Milliseconds that the store has: its own limit, or what is left of the call's time where that is less. Rounded up: a
 * call whose time is over is late, and has not failed. */
static uint64_t store_timeout_ms(const struct guide *guide, const struct rpc_call *call)
{
    uint64_t now = clock_monotonic_ns(), deadline = rpc_call_deadline_ns(call);
    uint64_t left_ms = deadline > now ? (deadline - now + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS : 0;
    uint64_t timeout_ms = left_ms < guide->store_timeout_ms ? left_ms : guide->store_timeout_ms;

    return timeout_ms > 0 ? timeout_ms : 1;
}

static struct saving *saving_free(struct saving *saving)
{
    rpc_call_unref(saving->call);
    free(saving);
    return NULL;
}

/* Sends the feature to the store under key, or under a new one where that is empty: the library may then repeat the
 * call without saving twice. done is called with a struct saving, which it frees. */
static int save(struct rpc_call *call, const struct feature *feature, const Routeguide__Feature *message,
                struct str key, routeguide__route_guide__save_feature__done *done)
{
    struct guide *guide = rpc_call_service_state(call);
    struct rpc_outgoing *outgoing = NULL;
    struct rpc_metadata metadata = {.name = "idempotency-key", .value = key};
    struct rpc_call_options options = {
        .timeout_ms = store_timeout_ms(guide, call),
        .metadata = &metadata,
        .metadata_count = 1,
        .trace = rpc_call_trace(call),
        .ret_outgoing = &outgoing,
    };
    char text[UUID_TEXT_LEN + 1];
    struct saving *saving;
    struct uuid uuid;
    int r;

    if (key.len == 0) {
        r = uuid_new(&uuid);
        if (r < 0)
            return r;
        uuid_format(&uuid, text);
        metadata.value = str_of(text);
    }
    saving = calloc(1, sizeof(*saving));
    if (!saving)
        return -ENOMEM;
    *saving = (struct saving){.guide = guide, .call = rpc_call_ref(call), .feature = feature};
    r = routeguide__route_guide__save_feature__call(guide->store, message, &options, done, saving);
    if (r < 0)
        saving_free(saving);
    rpc_call_set_data(call, outgoing);
    return r;
}

/* The call has ended, perhaps because its client has gone: then nobody needs the store's answer any more. */
static void on_save_close(struct rpc_call *call)
{
    struct rpc_outgoing *outgoing = rpc_call_data(call);

    rpc_outgoing_cancel(outgoing);
    rpc_outgoing_unref(outgoing);
}

static bool is_saved(const struct rpc_status *status, const Routeguide__SavedResult *reply)
{
    return status->code == ERR_GRPC_OK && reply->ok;
}

static void fail_get(struct guide *guide, struct rpc_call *call, const char *name, const char *why)
{
    char message[256];

    metrics_add(guide->failed_saves, 1);
    snprintf(message, sizeof(message), "the feature could not be saved: %s: %s", name, why);
    rpc_finish(call, ERR_GRPC_UNAVAILABLE, message);
}

static void on_found_saved(void *arg, const struct rpc_status *status, const Routeguide__SavedResult *reply)
{
    struct saving *saving = arg;
    struct route_feature found;

    if (is_saved(status, reply))
        routeguide__route_guide__get_feature__reply(
            saving->call, route_feature_message(&found, saving->feature->point, saving->feature->name));
    else
        fail_get(saving->guide, saving->call, err_grpc_name(status->code), status->message);
    saving_free(saving);
}

static void on_get_feature(struct rpc_call *call, const Routeguide__Point *message)
{
    struct guide *guide = rpc_call_service_state(call);
    const struct feature *feature;
    struct route_feature found;
    struct geo_point point;
    int r;

    if (!route_point(call, message, &point))
        return;
    feature = feature_set_find(guide->features, point);
    if (!feature) {
        routeguide__route_guide__get_feature__reply(call, route_feature_message(&found, point, ""));
        return;
    }
    r = save(call, feature, route_feature_message(&found, point, feature->name), STR_NULL, on_found_saved);
    if (r < 0)
        fail_get(guide, call, err_grpc_name(err_grpc_status(r)), err_text(r));
}

static void on_feature_saved(void *arg, const struct rpc_status *status, const Routeguide__SavedResult *reply)
{
    struct saving *saving = arg;

    if (is_saved(status, reply))
        routeguide__route_guide__save_feature__reply(saving->call, reply);
    else if (status->code == ERR_GRPC_OK)
        rpc_finish(saving->call, ERR_GRPC_UNAVAILABLE, "feature-store did not save the feature");
    else
        rpc_finish(saving->call, status->code, status->message);
    saving_free(saving);
}

static void on_save_feature(struct rpc_call *call, const Routeguide__Feature *message)
{
    struct str key, name;
    struct geo_point point;
    int r;

    if (!route_feature(call, message, &point, &name) || !route_idempotency_key(call, &key))
        return;
    r = save(call, NULL, message, key, on_feature_saved);
    if (r < 0)
        rpc_fail(call, r, err_text(r));
}

/* ---- ListFeatures ---- */

static void send_features(struct rpc_call *call)
{
    struct feature_set_query *query = rpc_call_data(call);
    const struct feature *feature;
    struct route_feature found;

    while ((feature = feature_set_query_next(query)) != NULL)
        if (routeguide__route_guide__list_features__send(
                call, route_feature_message(&found, feature->point, feature->name)) != 0)
            return; /* on_writable goes on, or the call is over */
    rpc_finish(call, ERR_GRPC_OK, NULL);
}

static void on_list_features(struct rpc_call *call, const Routeguide__Rectangle *message)
{
    const struct guide *guide = rpc_call_service_state(call);
    struct feature_set_query *query;
    struct geo_rect rect;

    if (!route_rect(call, message, &rect))
        return;
    query = calloc(1, sizeof(*query));
    rpc_call_set_data(call, query);
    if (query && feature_set_query_open(guide->features, &rect, query) == 0)
        send_features(call);
    else
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
}

static void on_list_writable(struct rpc_call *call)
{
    if (rpc_call_data(call))
        send_features(call);
}

static void on_list_close(struct rpc_call *call)
{
    struct feature_set_query *query = rpc_call_data(call);

    if (query)
        feature_set_query_close(query);
    free(query);
}

const struct rpc_method guide_methods[] = {
    ROUTEGUIDE__ROUTE_GUIDE__GET_FEATURE(on_get_feature, .on_close = on_save_close),
    ROUTEGUIDE__ROUTE_GUIDE__SAVE_FEATURE(on_save_feature, .on_close = on_save_close),
    ROUTEGUIDE__ROUTE_GUIDE__LIST_FEATURES(on_list_features, .on_writable = on_list_writable,
                                           .on_close = on_list_close),
    ROUTE_RECORD,
    ROUTE_CHAT,
    {0},
};
