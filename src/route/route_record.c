/* RecordRoute. Lookups may be answered late and by other threads, so the summary is sent by whoever comes last: the end
 * of the client's stream or the last answer. */
#include "clock.h"
#include "route.h"
#include "summary.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define MAX_PENDING 64 /* lookups of one call; while there are as many, no further points are read */

struct record {
    struct rpc_call *call;
    pthread_mutex_t lock;
    struct summary summary;
    unsigned pending; /* lookups */
    bool paused;
    bool ended;  /* the client has sent all its points */
    bool closed; /* the call is over: the last pending lookup frees the record */
};

static void record_free(struct record *record)
{
    rpc_call_unref(record->call);
    pthread_mutex_destroy(&record->lock);
    free(record);
}

static void reply_if_complete(struct record *record)
{
    Routeguide__RouteSummary result;

    if (!record->ended || record->pending > 0)
        return;
    summary_result(&record->summary, clock_monotonic_ns(), &result);
    routeguide__route_guide__record_route__reply(record->call, &result);
}

static void on_found(void *arg, int err, const char *why, bool is_feature)
{
    struct record *record = arg;
    bool unused;

    pthread_mutex_lock(&record->lock);
    if (err < 0)
        rpc_fail(record->call, err, why ? why : err_text(err));
    if (is_feature)
        record->summary.feature_count++;
    record->pending--;
    if (record->paused && record->pending <= MAX_PENDING / 2) {
        record->paused = false;
        rpc_resume(record->call);
    }
    reply_if_complete(record);
    unused = record->closed && record->pending == 0;
    pthread_mutex_unlock(&record->lock);
    if (unused)
        record_free(record);
}

void route_record_open(struct rpc_call *call)
{
    struct record *record = calloc(1, sizeof(*record));

    if (!record) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    record->call = rpc_call_ref(call);
    pthread_mutex_init(&record->lock, NULL);
    summary_begin(&record->summary, clock_monotonic_ns());
    rpc_call_set_data(call, record);
}

void route_record_point(struct rpc_call *call, const Routeguide__Point *message)
{
    const struct route *route = rpc_call_service_state(call);
    struct record *record = rpc_call_data(call);
    struct geo_point point;

    if (!record || !route_point(call, message, &point))
        return;
    pthread_mutex_lock(&record->lock);
    summary_add_point(&record->summary, point);
    if (++record->pending == MAX_PENDING) {
        record->paused = true;
        rpc_pause(call);
    }
    pthread_mutex_unlock(&record->lock);
    route->lookup(call, point, on_found, record);
}

void route_record_end(struct rpc_call *call)
{
    struct record *record = rpc_call_data(call);

    if (!record)
        return;
    pthread_mutex_lock(&record->lock);
    record->ended = true;
    reply_if_complete(record);
    pthread_mutex_unlock(&record->lock);
}

void route_record_close(struct rpc_call *call)
{
    struct record *record = rpc_call_data(call);
    bool unused;

    if (!record)
        return;
    pthread_mutex_lock(&record->lock);
    record->closed = true;
    unused = record->pending == 0;
    pthread_mutex_unlock(&record->lock);
    if (unused)
        record_free(record);
}
