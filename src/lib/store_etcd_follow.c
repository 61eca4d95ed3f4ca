/* Keeps the view up to date, in a thread of its own: sees whether etcd still has the history that the view has seen,
 * loads a fresh view where it has not (compacted, restored from a backup, another cluster), and watches from the
 * revision behind the view's until the watch ends; then begins again. The watch's events are applied by the thread of
 * its connection: a message holds whole revisions, and becomes one transaction of the view, with the position. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>

#define TIMEOUT_MS  1000
#define RETRY_NS    (100 * CLOCK_NS_PER_MS)
#define PROGRESS_NS (1 * CLOCK_NS_PER_S) /* between requests for a progress notification */
#define SILENCE_NS  (4 * CLOCK_NS_PER_S) /* after which a watch is taken for dead */
#define OPEN_NS     (30 * CLOCK_NS_PER_S)

/* ---- applying: in the thread of the watch's connection ---- */

struct applying {
    struct etcd *etcd;
    struct store_view_txn txn;
    struct etcd_position position;
    uint64_t last_seq;
    struct etcd_lane *lane; /* of this process, whose transaction the revision is; NULL: another's */
};

static void begin_revision(struct applying *applying, int64_t revision)
{
    if (revision == applying->position.revision)
        return;
    applying->position.revision = revision;
    applying->lane = NULL;
}

static int apply_ours(struct applying *applying, struct str name, const Etcdserverpb__KeyValue *kv)
{
    struct etcd_position *position = &applying->position;

    if (name.len > strlen(ETCD_WRITER) && memcmp(name.s, ETCD_WRITER, strlen(ETCD_WRITER)) == 0)
        applying->lane = etcd_writer_saw(applying->etcd, name, etcd_str(kv->value), kv->mod_revision);
    if (!str_eq(name, STR(ETCD_HEAD)))
        return 0;
    if (kv->value.len != sizeof(position->head))
        return -EPROTO;
    position->head_revision = kv->mod_revision;
    memcpy(&position->head, kv->value.data, sizeof(position->head));
    return 0;
}

static int apply_record(struct applying *applying, bool deleted, const Etcdserverpb__KeyValue *kv, unsigned table,
                        struct str key)
{
    int err;

    if (applying->lane != NULL)
        etcd_writer_saw_record(applying->lane, deleted, table, key,
                               kv->value.len >= ETCD_ENVELOPE ? kv->value.data[1] : 0);
    if (!deleted)
        return etcd_view_put(applying->etcd, &applying->txn, kv, false, &applying->last_seq);
    err = store_view_delete(&applying->txn, table, key);
    return err == -ENOENT ? 0 : err;
}

static int apply_event(struct applying *applying, const Etcdserverpb__Event *event)
{
    const Etcdserverpb__KeyValue *kv = event->kv;
    bool deleted = event->type == ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;
    unsigned table;
    struct str key;
    int err;

    begin_revision(applying, kv->mod_revision);
    err = etcd_key_parse(&applying->etcd->keys, etcd_str(kv->key), &table, &key);
    if (err == -ENOENT)
        return deleted ? 0 : apply_ours(applying, key, kv);
    return err == 0 ? apply_record(applying, deleted, kv, table, key) : 0;
}

static int apply_all(struct applying *applying, const Etcdserverpb__WatchResponse *response)
{
    int err = 0;

    applying->last_seq = store_view_last_seq(&applying->txn);
    for (size_t i = 0; i < response->n_events && err == 0; i++)
        err = apply_event(applying, response->events[i]);
    if (response->n_events == 0) /* a progress notification: all up to that has been sent */
        begin_revision(applying, response->header->revision);
    if (err == 0)
        err = store_view_set_last_seq(&applying->txn, applying->last_seq);
    return err == 0 ? etcd_position_put(&applying->txn, &applying->position) : err;
}

static int apply(struct etcd *etcd, const Etcdserverpb__WatchResponse *response)
{
    struct etcd_view *view = etcd->follower.following;
    struct applying applying = {.etcd = etcd, .position = view->position};
    int err;

    err = store_view_begin(view->view, &applying.txn);
    if (err < 0)
        return err;
    err = apply_all(&applying, response);
    if (err == 0)
        err = store_view_commit(&applying.txn);
    store_view_abort(&applying.txn);
    if (err < 0)
        return err;
    view->position = applying.position;
    atomic_store(&etcd->applied, view->position.revision);
    if (response->n_events > 0)
        etcd_writer_applied(etcd);
    etcd_reads_applied(etcd);
    return 0;
}

/* ---- the watch ---- */

static void note(struct etcd *etcd, bool failed)
{
    pthread_mutex_lock(&etcd->mutex);
    etcd->follower.heard_ns = clock_monotonic_ns();
    etcd->follower.failed |= failed;
    if (failed)
        pthread_cond_broadcast(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
}

static void on_message(void *arg, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)message;
    struct etcd *etcd = arg;
    bool failed = response->canceled || etcd->follower.failed;

    if (!failed && !response->created &&
        (response->n_events > 0 || response->header->revision > etcd->follower.following->position.revision))
        failed = apply(etcd, response) < 0;
    note(etcd, failed);
}

static void on_done(void *arg, const struct rpc_status *status)
{
    struct etcd *etcd = arg;

    pthread_mutex_lock(&etcd->mutex);
    etcd->follower.ended = true;
    pthread_cond_broadcast(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
}

static void send_create(struct etcd *etcd, struct rpc_stream *stream)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    create.key = etcd_data(str_of(etcd->keys.prefix));
    create.range_end = etcd_data(str_of(etcd->keys.end));
    create.start_revision = etcd->follower.following->position.revision + 1;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    rpc_stream_send(stream, &request.base);
}

/* Its answer shows that the connection lives, and moves the point at which the watch could be resumed. */
static void send_progress(struct rpc_stream *stream)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    rpc_stream_send(stream, &request.base);
}

/* Until the watch ends, falls silent, fails, or is to be stopped. True: it is to be tried at another member. */
static bool attend(struct etcd *etcd, struct rpc_stream *stream)
{
    struct etcd_follower *follower = &etcd->follower;
    bool silent = false;

    pthread_mutex_lock(&etcd->mutex);
    follower->heard_ns = clock_monotonic_ns();
    while (!follower->stopped && !follower->ended && !follower->failed && !silent) {
        struct timespec until = etcd_timespec(clock_monotonic_ns() + PROGRESS_NS);

        if (pthread_cond_timedwait(&etcd->changed, &etcd->mutex, &until) != ETIMEDOUT)
            continue;
        silent = clock_monotonic_ns() - follower->heard_ns > SILENCE_NS;
        pthread_mutex_unlock(&etcd->mutex);
        send_progress(stream);
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

    follower->ended = follower->failed = false; /* nobody else is there yet */
    err = etcd_watch_open(&etcd->client, &handlers, etcd, &rpc, &stream);
    if (err < 0)
        return err;
    metrics_add(etcd->watches, 1);
    send_create(etcd, stream);
    if (attend(etcd, stream))
        etcd_client_avoid(&etcd->client, endpoint);
    rpc_stream_cancel(stream);
    rpc_client_free(rpc); /* waits for on_done */
    rpc_stream_unref(stream);
    return 0;
}

/* ---- does etcd have the view's history? ---- */

struct history {
    const struct etcd_position *position;
    bool same;
};

static void on_head(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct history *history = arg;
    const struct etcd_position *position = history->position;

    if (err < 0)
        return;
    if (response->n_kvs == 0)
        history->same = position->head_revision == 0;
    else
        history->same =
            response->kvs[0]->mod_revision == position->head_revision &&
            str_eq(etcd_str(response->kvs[0]->value), (struct str){(const char *)&position->head, sizeof(struct uuid)});
}

/* 0, -ERANGE: it has not (any more), or -errno. */
static int check_history(struct etcd *etcd)
{
    struct history history = {.position = &etcd->follower.following->position};
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct buf key = {0};
    int err;

    etcd_key_name(&etcd->keys, ETCD_HEAD, &key);
    request.key = etcd_data(buf_str(&key));
    request.revision = history.position->revision;
    err = buf_error(&key);
    if (err == 0)
        err = etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, TIMEOUT_MS, on_head,
                             &history);
    buf_release(&key);
    return err == 0 && !history.same ? -ERANGE : err;
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
    follower->following = etcd_view_ref(etcd);
    etcd_writer_applied(etcd);
    etcd_reads_applied(etcd);
    return 0;
}

static int follow(struct etcd *etcd)
{
    struct etcd_follower *follower = &etcd->follower;
    int err;

    if (follower->following == NULL)
        follower->following = etcd_view_ref(etcd);
    err = follower->following != NULL ? check_history(etcd) : -ERANGE;
    if (err == -ERANGE)
        err = load(etcd);
    if (err < 0)
        return err;
    pthread_mutex_lock(&etcd->mutex);
    follower->moved_ns = 0; /* ready */
    pthread_cond_broadcast(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
    return watch(etcd);
}

static void *run_follower(void *arg)
{
    struct etcd *etcd = arg;
    struct etcd_follower *follower = &etcd->follower;

    pthread_mutex_lock(&etcd->mutex);
    while (!follower->stopped) {
        struct timespec until;

        pthread_mutex_unlock(&etcd->mutex);
        follow(etcd);
        until = etcd_timespec(clock_monotonic_ns() + RETRY_NS);
        pthread_mutex_lock(&etcd->mutex);
        while (!follower->stopped && pthread_cond_timedwait(&etcd->changed, &etcd->mutex, &until) != ETIMEDOUT)
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

    follower->moved_ns = clock_monotonic_ns();
    err = pthread_create(&follower->thread, NULL, run_follower, etcd);
    if (err != 0)
        return -err;
    follower->running = true;
    pthread_setname_np(follower->thread, "store-view");
    return 0;
}

int etcd_follower_wait_ready(struct etcd *etcd, char *error, size_t error_size)
{
    struct etcd_follower *follower = &etcd->follower;
    int err = 0;

    pthread_mutex_lock(&etcd->mutex);
    while (follower->moved_ns != 0 && err == 0) {
        struct timespec until = etcd_timespec(follower->moved_ns + OPEN_NS);

        if (pthread_cond_timedwait(&etcd->changed, &etcd->mutex, &until) == ETIMEDOUT && follower->moved_ns != 0 &&
            clock_monotonic_ns() >= follower->moved_ns + OPEN_NS)
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
    pthread_cond_broadcast(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
    pthread_join(follower->thread, NULL);
}
