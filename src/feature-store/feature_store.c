#include "feature_store.h"
#include <errno.h>
#include <stdlib.h>

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

/* ---- one point: RecordRoute's lookup and GetFeature ---- */

struct lookup {
    struct feature_store *fs;
    struct geo_point point;
    route_found *found;
    void *arg;
};

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
        lookup->found(lookup->arg, err, rpc_store_error(err), false);
    feature_store_leave(lookup->fs);
    free(lookup);
}

/* Calls found in any case, which rpc_store_read does not. */
void feature_store_lookup(struct rpc_call *call, struct geo_point point, route_found *found, void *arg)
{
    struct lookup *lookup = NULL;
    uint64_t stale_ms;
    int err = rpc_store_max_stale(call, &stale_ms);

    if (err == 0) {
        lookup = malloc(sizeof(*lookup));
        err = lookup == NULL ? -ENOMEM : 0;
    }
    if (err < 0) {
        found(arg, err, rpc_store_error(err), false);
        return;
    }
    *lookup = (struct lookup){.fs = feature_store_enter(call), .point = point, .found = found, .arg = arg};
    store_read_traced(lookup->fs->store, rpc_call_trace(call), rpc_call_deadline_ns(call), stale_ms, on_lookup, lookup);
}

static int read_newest(void *arg, struct rpc_call *call, struct store_snapshot *snapshot)
{
    const struct geo_point *point = arg;
    struct store_cursor index = {0};
    struct route_feature feature;
    struct save save;
    int err = saves_cursor_open(snapshot, &index);

    if (err == 0)
        err = saves_newest(&index, *point, UINT64_MAX, &save);
    if (err == 0 || err == -ENOENT)
        routeguide__route_guide__get_feature__reply(call,
                                                    route_feature_message(&feature, *point, err == 0 ? save.name : ""));
    store_cursor_close(&index);
    return err == -ENOENT ? 0 : err;
}

void feature_store_get(struct rpc_call *call, const Routeguide__Point *message)
{
    const struct feature_store *fs = rpc_call_service_state(call);
    struct geo_point point;

    if (route_point(call, message, &point))
        rpc_store_read(call, fs->store, &point, sizeof(point), read_newest);
}

const struct rpc_method feature_store_methods[] = {
    ROUTEGUIDE__ROUTE_GUIDE__GET_FEATURE(feature_store_get),
    ROUTEGUIDE__ROUTE_GUIDE__SAVE_FEATURE(feature_store_save),
    ROUTEGUIDE__ROUTE_GUIDE__LIST_FEATURES(feature_store_list, .on_writable = feature_store_list_writable,
                                           .on_close = feature_store_list_close),
    ROUTE_RECORD,
    ROUTE_CHAT,
    ROUTEGUIDE__FEATURE_HISTORY__LIST_SAVES(feature_store_history),
    {0},
};
