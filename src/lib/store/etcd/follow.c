/* Keeps the view up to date, in a thread of its own: sees whether etcd still has the history that the view has seen,
 * loads a fresh view where it has not (compacted, restored from a backup, another cluster), and watches from the
 * revision behind the view's until the watch ends; then begins again. A view that cannot be written is made anew, too:
 * it is but a copy. Where the disk is full that would not help: what is there is tried again. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>

#define PROGRESS_NS (1 * CLOCK_NS_PER_S)  /* between requests for a progress notification */
#define SILENCE_NS  (4 * CLOCK_NS_PER_S)  /* after which a watch is taken for dead */
#define BEHIND_NS   (15 * CLOCK_NS_PER_S) /* the same while there is more to come: etcd may have to read it from disk */

/* ---- the watch ---- */

static void note(struct etcd *etcd, bool failed, bool behind)
{
    struct etcd_follower *follower = &etcd->follower;

    pthread_mutex_lock(&etcd->mutex);
    follower->heard_ns = etcd->world->monotonic_ns();
    follower->patience_ns = behind ? BEHIND_NS : SILENCE_NS;
    follower->failed |= failed;
    if (failed)
        etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
}

static bool apply(struct etcd *etcd, const Etcdserverpb__WatchResponse *response)
{
    struct etcd_follower *follower = &etcd->follower;
    int err;

    if (!follower->verified) /* events come after the answer to the creation, progress may come before it */
        return response->n_events == 0;
    if (response->n_events == 0 && response->header->revision <= follower->following->position.revision)
        return true;
    err = etcd_apply(etcd, response);
    etcd_view_wrote(etcd, err);
    follower->distrusted = err < 0 && err != -ENOSPC;
    return err == 0;
}

/* etcd may have been restored between the check of its history and the creation of the watch, and the watch would then
 * put another history's changes on top of the view. So the history is checked once more, now that the watch exists: a
 * restoration from here on ends the watch. This is the thread of the watch's connection, so no event overtakes it. */
static void on_message(void *arg, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)message;
    struct etcd *etcd = arg;
    struct etcd_follower *follower = &etcd->follower;
    const struct etcd_position *position = &follower->following->position;
    bool failed = response->canceled || response->header == NULL || follower->failed;

    if (!failed && response->created) {
        follower->verified = etcd_history_check(etcd, position) == 0;
        failed = !follower->verified;
    } else if (!failed) {
        failed = !apply(etcd, response);
    }
    note(etcd, failed, !failed && response->header->revision > position->revision);
}

static void on_done(void *arg, const struct rpc_status *status)
{
    struct etcd *etcd = arg;

    etcd_apply_abandon(etcd);
    pthread_mutex_lock(&etcd->mutex);
    etcd->follower.ended = true;
    etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
}

static void send_create(struct etcd *etcd, struct rpc_stream *stream)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    create.key = etcd_data(str_of(etcd->keys.prefix));
    create.range_end = etcd_data(str_of(etcd->keys.end));
    create.start_revision = etcd->follower.following->position.revision + 1;
    create.fragment = true;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    etcd->world->stream_send(stream, &request.base);
}

/* Its answer shows that the connection lives, and moves the point at which the watch could be resumed. */
static void send_progress(struct etcd *etcd, struct rpc_stream *stream)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    etcd->world->stream_send(stream, &request.base);
}

/* Until the watch ends, falls silent, fails, or is to be stopped. True: it is to be tried at another member. */
static bool attend(struct etcd *etcd, struct rpc_stream *stream)
{
    struct etcd_follower *follower = &etcd->follower;
    bool silent = false;

    pthread_mutex_lock(&etcd->mutex);
    while (!follower->stopped && !follower->ended && !follower->failed && !follower->doubted && !silent) {
        uint64_t until_ns = etcd->world->monotonic_ns() + PROGRESS_NS;

        if (etcd->world->wait(&etcd->changed, &etcd->mutex, until_ns) != -ETIMEDOUT)
            continue;
        silent = etcd->world->monotonic_ns() - follower->heard_ns > follower->patience_ns;
        pthread_mutex_unlock(&etcd->mutex);
        send_progress(etcd, stream);
        pthread_mutex_lock(&etcd->mutex);
    }
    silent |= follower->ended;
    pthread_mutex_unlock(&etcd->mutex);
    return silent;
}

static int watch(struct etcd *etcd)
{
    static const struct rpc_stream_handlers handlers = {on_message, NULL, on_done};
    struct etcd_follower *follower = &etcd->follower;
    unsigned endpoint = atomic_load(&etcd->client.preferred);
    struct rpc_client *rpc;
    struct rpc_stream *stream;
    int err;

    follower->ended = follower->failed = follower->verified = false; /* nobody else is there yet */
    follower->heard_ns = etcd->world->monotonic_ns();
    follower->patience_ns = SILENCE_NS;
    err = etcd_watch_open(&etcd->client, &handlers, etcd, &rpc, &stream);
    if (err < 0)
        return err;
    metrics_add(etcd->watches, 1);
    send_create(etcd, stream);
    if (attend(etcd, stream))
        etcd_client_avoid(&etcd->client, endpoint);
    etcd->world->stream_cancel(stream);
    etcd->world->client_free(rpc); /* waits for on_done */
    etcd->world->stream_unref(stream);
    return 0;
}

/* ---- the thread ---- */

static int load(struct etcd *etcd)
{
    struct etcd_follower *follower = &etcd->follower;
    struct etcd_view *view;
    char error[256];
    int err;

    err = etcd_load(etcd, &view, error, sizeof(error));
    if (err < 0) {
        pthread_mutex_lock(&etcd->mutex);
        snprintf(follower->error, sizeof(follower->error), "%s", error);
        follower->err = err;
        pthread_mutex_unlock(&etcd->mutex);
        return err;
    }
    metrics_add(etcd->loads, 1);
    etcd_view_unref(etcd, follower->following);
    follower->following = NULL;
    etcd_view_serve(etcd, view);
    etcd_reads_restart(etcd, &view->position);
    follower->following = etcd_view_ref(etcd);
    follower->distrusted = false;
    etcd_writer_forget(etcd);
    etcd_writer_applied(etcd);
    etcd_reads_applied(etcd);
    return 0;
}

/* Where etcd did not answer at the start: once it does, it may turn out to be another store's. */
static bool attach(struct etcd *etcd)
{
    char error[256];
    int err = 0;

    if (!atomic_load(&etcd->attached))
        err = etcd_attach(etcd, 0, error, sizeof(error));
    if (err == -EPROTO) /* any other error may pass */
        etcd_replaced(etcd);
    return err == 0;
}

static int follow(struct etcd *etcd)
{
    struct etcd_follower *follower = &etcd->follower;
    int err;

    if (!attach(etcd))
        return -EHOSTUNREACH;
    pthread_mutex_lock(&etcd->mutex);
    follower->doubted = false; /* it is looked at now */
    pthread_mutex_unlock(&etcd->mutex);
    if (follower->following == NULL)
        follower->following = etcd_view_ref(etcd);
    err = follower->following != NULL && !follower->distrusted
              ? etcd_history_check(etcd, &follower->following->position)
              : -ERANGE;
    if (err == -ERANGE)
        err = load(etcd);
    if (err < 0)
        return err;
    pthread_mutex_lock(&etcd->mutex);
    follower->moved_ns = 0; /* ready */
    etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
    return watch(etcd);
}

static void *run_follower(void *arg)
{
    struct etcd *etcd = arg;
    struct etcd_follower *follower = &etcd->follower;

    pthread_mutex_lock(&etcd->mutex);
    while (!follower->stopped) {
        uint64_t until_ns;

        pthread_mutex_unlock(&etcd->mutex);
        follow(etcd);
        until_ns = etcd->world->monotonic_ns() + etcd_view_pause_ns(etcd);
        pthread_mutex_lock(&etcd->mutex);
        while (!follower->stopped && etcd->world->wait(&etcd->changed, &etcd->mutex, until_ns) != -ETIMEDOUT)
            continue;
    }
    pthread_mutex_unlock(&etcd->mutex);
    etcd_view_unref(etcd, follower->following);
    follower->following = NULL;
    return NULL;
}

int etcd_follower_start(struct etcd *etcd)
{
    struct etcd_follower *follower = &etcd->follower;
    int err;

    follower->moved_ns = etcd->world->monotonic_ns();
    err = etcd->world->start_thread(&follower->thread, "store-view", run_follower, etcd);
    follower->running = err == 0;
    return err;
}

int etcd_follower_wait_ready(struct etcd *etcd, char *error, size_t error_size)
{
    struct etcd_follower *follower = &etcd->follower;
    int err = 0;

    pthread_mutex_lock(&etcd->mutex);
    while (follower->moved_ns != 0 && err == 0) {
        uint64_t until_ns = follower->moved_ns + ETCD_OPEN_NS;

        if (etcd->world->wait(&etcd->changed, &etcd->mutex, until_ns) == -ETIMEDOUT && follower->moved_ns != 0 &&
            etcd->world->monotonic_ns() >= follower->moved_ns + ETCD_OPEN_NS)
            err = follower->err < 0 ? follower->err : -EHOSTUNREACH;
    }
    if (err < 0)
        store_fail(error, error_size, 0, "%s", follower->err < 0 ? follower->error : "etcd does not answer");
    pthread_mutex_unlock(&etcd->mutex);
    return err;
}

void etcd_follower_stop(struct etcd *etcd)
{
    struct etcd_follower *follower = &etcd->follower;

    if (!follower->running)
        return;
    pthread_mutex_lock(&etcd->mutex);
    follower->stopped = true;
    etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
    etcd_client_cancel(&etcd->client);
    etcd->world->join_thread(follower->thread);
}
