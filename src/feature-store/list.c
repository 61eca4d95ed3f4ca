/* ListFeatures: the newest save at every point in a rectangle. Sent straight out of a snapshot until the call's queue
 * is full; when there is room again, a new snapshot goes on behind the last point sent. So no snapshot is held while a
 * client is slow, and nothing is copied but by packing it.
 *
 * Reads are wanted by the call's beginning, by room in its queue, and by a read that ended early; they are made one at
 * a time, by the one who reads: whoever wants one while nobody does. A read that is answered late, in another thread,
 * goes on there.
 */
#include "feature_store.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_STEPS 1024 /* of the walk in one snapshot */

struct listing {
    struct feature_store *fs;
    struct rpc_call *call;
    uint64_t max_stale_ms;
    struct saves_walk walk; /* of the one who reads */
    pthread_mutex_t lock;   /* of what follows */
    bool wanted;            /* a read */
    bool reading;           /* there is one who reads */
    bool answered;          /* the read has been */
    bool late;              /* store_read had returned before */
    bool closed;            /* the call is over: the one who reads frees the listing */
};

static void listing_free(struct listing *listing)
{
    feature_store_leave(listing->fs);
    pthread_mutex_destroy(&listing->lock);
    rpc_call_unref(listing->call);
    free(listing);
}

/* Sends what the walk finds. True where another read should follow without waiting for the client. */
static bool send_saves(struct listing *listing, struct store_cursor *index)
{
    struct route_feature feature;
    struct save save;

    for (int i = 0; i < MAX_STEPS; i++) {
        int r = saves_walk_step(&listing->walk, index, &save);

        if (r == -ENOENT) {
            rpc_finish(listing->call, ERR_GRPC_OK, NULL);
            return false;
        }
        if (r < 0) {
            rpc_fail(listing->call, r, rpc_store_error(r));
            return false;
        }
        if (r > 0 && routeguide__route_guide__list_features__send(
                         listing->call, route_feature_message(&feature, save.point, save.name)) != 0)
            return false; /* room in the queue will want the next, or the call is over */
    }
    return true;
}

static void read_on(struct listing *listing);

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct listing *listing = arg;
    struct store_cursor index = {0};
    bool more = false, late;

    if (err == 0) {
        rpc_store_tell_age(listing->call, snapshot);
        err = saves_cursor_open(snapshot, &index);
    }
    if (err == 0)
        more = send_saves(listing, &index);
    else
        rpc_fail(listing->call, err, rpc_store_error(err));
    store_cursor_close(&index);
    pthread_mutex_lock(&listing->lock);
    listing->wanted |= more;
    listing->answered = true;
    late = listing->late;
    pthread_mutex_unlock(&listing->lock);
    if (late)
        read_on(listing);
}

/* True: a read is to be made. False: there is nothing more to do, and nobody reads. */
static bool next_read(struct listing *listing)
{
    bool next, unused;

    pthread_mutex_lock(&listing->lock);
    next = listing->wanted && !listing->closed;
    unused = listing->closed;
    listing->reading = next;
    listing->wanted = listing->answered = listing->late = false;
    pthread_mutex_unlock(&listing->lock);
    if (unused)
        listing_free(listing);
    return next;
}

/* After store_read. True: the answer has been, within it. */
static bool is_answered(struct listing *listing)
{
    bool answered;

    pthread_mutex_lock(&listing->lock);
    answered = listing->answered;
    listing->late = !answered;
    pthread_mutex_unlock(&listing->lock);
    return answered;
}

/* What the one who reads does. */
static void read_on(struct listing *listing)
{
    do {
        if (!next_read(listing))
            return;
        store_read_traced(listing->fs->store, rpc_call_trace(listing->call), rpc_call_deadline_ns(listing->call),
                          listing->max_stale_ms, on_read, listing);
    } while (is_answered(listing));
}

static void want_read(struct listing *listing)
{
    bool reading;

    pthread_mutex_lock(&listing->lock);
    listing->wanted = true;
    reading = listing->reading;
    listing->reading = true;
    pthread_mutex_unlock(&listing->lock);
    if (!reading)
        read_on(listing);
}

void feature_store_list(struct rpc_call *call, const Routeguide__Rectangle *message)
{
    struct listing *listing;
    struct geo_rect rect;
    uint64_t stale_ms;
    int r = rpc_store_max_stale(call, &stale_ms);

    if (r < 0) {
        rpc_fail(call, r, rpc_store_error(r));
        return;
    }
    if (!route_rect(call, message, &rect))
        return;
    listing = calloc(1, sizeof(*listing));
    if (!listing) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    listing->fs = feature_store_enter(call);
    listing->call = rpc_call_ref(call);
    listing->max_stale_ms = stale_ms;
    listing->walk.rect = rect;
    pthread_mutex_init(&listing->lock, NULL);
    rpc_call_set_data(call, listing);
    want_read(listing);
}

void feature_store_list_writable(struct rpc_call *call)
{
    if (rpc_call_data(call))
        want_read(rpc_call_data(call));
}

void feature_store_list_close(struct rpc_call *call)
{
    struct listing *listing = rpc_call_data(call);
    bool reading;

    if (!listing)
        return;
    pthread_mutex_lock(&listing->lock);
    listing->closed = true;
    reading = listing->reading;
    pthread_mutex_unlock(&listing->lock);
    if (!reading)
        listing_free(listing);
}
