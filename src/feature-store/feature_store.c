#include "feature_store.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_STALE_S (365 * 24 * 3600)

struct feature_store *feature_store_enter(struct rpc_call *call)
{
    struct feature_store *fs = rpc_call_service_state(call);

    pthread_mutex_lock(&fs->lock);
    fs->in_use++;
    pthread_mutex_unlock(&fs->lock);
    return fs;
}

void feature_store_leave(struct feature_store *fs)
{
    pthread_mutex_lock(&fs->lock);
    if (--fs->in_use == 0)
        pthread_cond_signal(&fs->idle);
    pthread_mutex_unlock(&fs->lock);
}

void feature_store_wait_idle(struct feature_store *fs)
{
    pthread_mutex_lock(&fs->lock);
    while (fs->in_use > 0)
        pthread_cond_wait(&fs->idle, &fs->lock);
    pthread_mutex_unlock(&fs->lock);
}

int feature_store_max_stale(const struct rpc_call *call, uint64_t *ret_ms)
{
    struct str text = rpc_call_metadata(call, "x-max-stale");
    uint64_t seconds = 0;

    if (text.s && str_to_u64(text, MAX_STALE_S, &seconds) < 0)
        return -EINVAL;
    *ret_ms = seconds * 1000;
    return 0;
}

void feature_store_tell_age(struct rpc_call *call, const struct store_snapshot *snapshot)
{
    uint64_t age_ms = store_age_ms(snapshot);
    char text[24];

    if (age_ms == 0)
        return;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(age_ms + 999) / 1000);
    rpc_call_set_metadata(call, "x-age", text);
}

const char *feature_store_error(int err)
{
    return err == -EINVAL ? "x-max-stale must be a number of seconds, a year at most" : err_text(err);
}

/* ---- one point: RecordRoute's lookup and GetFeature ---- */

struct lookup {
    struct feature_store *fs;
    struct geo_point point;
    struct rpc_call *call; /* GetFeature's, referenced */
    route_found *found;    /* RecordRoute's */
    void *arg;
};

static void lookup_free(struct lookup *lookup)
{
    feature_store_leave(lookup->fs);
    rpc_call_unref(lookup->call);
    free(lookup);
}

/* Looks with read, which is called in any case, with a copy of lookup. */
static int look_up(struct rpc_call *call, const struct lookup *lookup, store_reader *read)
{
    struct lookup *copy;
    uint64_t stale_ms;
    int r = feature_store_max_stale(call, &stale_ms);

    if (r < 0)
        return r;
    copy = malloc(sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    *copy = *lookup;
    copy->fs = feature_store_enter(call);
    store_read(copy->fs->store, rpc_call_deadline_ns(call), stale_ms, read, copy);
    return 0;
}

static void on_lookup(void *arg, int err, struct store_snapshot *snapshot)
{
    struct lookup *lookup = arg;
    struct store_cursor index = {0};

    if (err == 0)
        err = saves_cursor_open(snapshot, &index);
    if (err == 0)
        err = saves_exist(&index, lookup->point);
    store_cursor_close(&index);
    if (err == 0 || err == -ENOENT)
        lookup->found(lookup->arg, 0, NULL, err == 0);
    else
        lookup->found(lookup->arg, err, feature_store_error(err), false);
    lookup_free(lookup);
}

void feature_store_lookup(struct rpc_call *call, struct geo_point point, route_found *found, void *arg)
{
    int r = look_up(call, &(struct lookup){.point = point, .found = found, .arg = arg}, on_lookup);

    if (r < 0)
        found(arg, r, feature_store_error(r), false);
}

static void on_get(void *arg, int err, struct store_snapshot *snapshot)
{
    struct lookup *lookup = arg;
    struct store_cursor index = {0};
    struct route_feature feature;
    struct save save;

    if (err == 0) {
        feature_store_tell_age(lookup->call, snapshot);
        err = saves_cursor_open(snapshot, &index);
    }
    if (err == 0)
        err = saves_newest(&index, lookup->point, UINT64_MAX, &save);
    if (err == 0 || err == -ENOENT)
        rpc_reply(lookup->call, route_feature_message(&feature, lookup->point, err == 0 ? save.name : ""));
    else
        rpc_fail(lookup->call, err, feature_store_error(err));
    store_cursor_close(&index);
    lookup_free(lookup);
}

void feature_store_get(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct lookup lookup = {.call = call};
    int r;

    if (!route_point(call, (const Routeguide__Point *)message, &lookup.point))
        return;
    rpc_call_ref(call);
    r = look_up(call, &lookup, on_get);
    if (r < 0) {
        rpc_fail(call, r, feature_store_error(r));
        rpc_call_unref(call);
    }
}

const struct rpc_method feature_store_methods[] = {
    RPC_UNARY(&routeguide__route_guide__descriptor, "GetFeature", feature_store_get),
    RPC_UNARY(&routeguide__route_guide__descriptor, "SaveFeature", feature_store_save),
    {.service = &routeguide__route_guide__descriptor,
     .name = "ListFeatures",
     .kind = RPC_SERVER_STREAM_KIND,
     .on_message = feature_store_list,
     .on_writable = feature_store_list_writable,
     .on_close = feature_store_list_close},
    ROUTE_RECORD,
    ROUTE_CHAT,
    RPC_UNARY(&routeguide__feature_history__descriptor, "ListSaves", feature_store_history),
    {0},
};
