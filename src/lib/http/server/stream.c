/* Streaming replies.
 *
 *   writers, any thread --write--> waiting --loop's thread--> sending --h2o--> the client
 *
 * Bytes are appended to waiting under the stream's lock, and a message is posted to the loop, unless one is on its way.
 * The message gives all that waits to h2o in one piece (sending), which is kept until h2o asks for more (on_proceed).
 * What has been written meanwhile goes by a message again, not at once: a stream whose client and writer are fast has
 * one turn of the loop at a time, like everybody else.
 *
 *   opened ---> begun ---> [ended | aborted] ---> closed
 *     open      begin        any thread, or       end_exchange, always: the response was sent, or its stream,
 *                            the server           its connection or the server has gone
 *
 * Locks: stream->lock guards what is marked so. It is never held while h2o or a callback is called. Once closed is set,
 * which happens in the loop's thread before the loop can end, nobody touches worker or its budget any more: so the lock
 * is also what keeps them alive for writers.
 *
 * References: the writer's, the exchange's until it ends, the reply's, and one of a message that was posted.
 *
 * Times: no timer of its own. http_streams_look comes with each turn of the receive timer (watch.c): it cuts off
 * clients that take nothing for request_timeout_ms, finds those of HTTP/1 that have closed their connection, which h2o
 * does not read from meanwhile, and writes heartbeats. */
#include "clock.h"
#include "http_internal.h"
#include "net_socket.h"
#include "share.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_BYTES 65536 /* of a stream, by default */
#define MIN_BYTES 512   /* the least capacity of waiting bytes */

/* ---- references ---- */

struct http_stream *http_stream_ref(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->references++;
    pthread_mutex_unlock(&stream->lock);
    return stream;
}

static struct http_stream *unref_locked(struct http_stream *stream) /* unlocks */
{
    bool last;

    assert(stream->references > 0);
    last = --stream->references == 0;
    pthread_mutex_unlock(&stream->lock);
    if (last) {
        assert(stream->closed && stream->waiting.data == NULL && stream->sending.data == NULL);
        if (stream->def.release != NULL)
            stream->def.release(stream->def.arg);
        pthread_mutex_destroy(&stream->lock);
        free(stream);
    }
    return NULL;
}

struct http_stream *http_stream_unref(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    return unref_locked(stream);
}

/* ---- what waits: with the lock held, and the stream not closed ---- */

static struct budget *memory_of(const struct http_stream *stream)
{
    return &stream->worker->server->memory;
}

static void wake(struct http_stream *stream)
{
    if (stream->posted)
        return;
    stream->posted = true;
    stream->references++;
    loop_post(stream->worker->loop, &stream->message);
}

static void release_bytes(struct http_stream *stream, struct http_stream_bytes *bytes)
{
    budget_give(memory_of(stream), bytes->capacity);
    stream->charged -= bytes->capacity;
    stream->unsent -= bytes->len;
    free(bytes->data);
    *bytes = (struct http_stream_bytes){.data = NULL};
}

/* Doubles, as long as that is within the bound. */
static int grow(struct http_stream *stream, size_t len)
{
    struct http_stream_bytes *waiting = &stream->waiting;
    size_t capacity = waiting->capacity > 0 ? waiting->capacity : MIN_BYTES;
    char *data;

    while (capacity < len)
        capacity *= 2;
    if (capacity > stream->def.max_bytes)
        capacity = stream->def.max_bytes;
    if (!budget_take(memory_of(stream), capacity - waiting->capacity)) {
        http_want_room(stream->worker->server);
        return -EAGAIN;
    }
    if ((data = realloc(waiting->data, capacity)) == NULL) {
        budget_give(memory_of(stream), capacity - waiting->capacity);
        return -EAGAIN;
    }
    stream->charged += capacity - waiting->capacity;
    waiting->data = data;
    waiting->capacity = capacity;
    return 0;
}

static int append(struct http_stream *stream, struct str bytes)
{
    struct http_stream_bytes *waiting = &stream->waiting;

    assert(stream->unsent <= stream->def.max_bytes);
    if (bytes.len > stream->def.max_bytes - stream->unsent)
        return -EAGAIN;
    if (waiting->len + bytes.len > waiting->capacity && grow(stream, waiting->len + bytes.len) < 0)
        return -EAGAIN;
    memcpy(waiting->data + waiting->len, bytes.s, bytes.len);
    waiting->len += bytes.len;
    stream->unsent += bytes.len;
    wake(stream);
    return 0;
}

static bool is_over(const struct http_stream *stream)
{
    return stream->closed || stream->ended || stream->aborted;
}

/* ---- writers ---- */

int http_stream_write(struct http_stream *stream, struct str bytes)
{
    int r = 0;

    if (bytes.len > stream->def.max_bytes)
        return -EMSGSIZE;
    pthread_mutex_lock(&stream->lock);
    if (is_over(stream))
        r = -EPIPE;
    else if (bytes.len > 0 && (r = append(stream, bytes)) < 0)
        stream->wants_room = true;
    pthread_mutex_unlock(&stream->lock);
    return r;
}

struct http_stream *http_stream_end(struct http_stream *take_stream)
{
    pthread_mutex_lock(&take_stream->lock);
    take_stream->given_back = true;
    if (!is_over(take_stream)) {
        take_stream->ended = true;
        wake(take_stream);
    }
    return unref_locked(take_stream);
}

struct http_stream *http_stream_abort(struct http_stream *take_stream)
{
    pthread_mutex_lock(&take_stream->lock);
    take_stream->given_back = take_stream->aborted = true;
    if (!take_stream->closed)
        wake(take_stream);
    return unref_locked(take_stream);
}

bool http_stream_is_draining(struct http_stream *stream)
{
    bool draining;

    pthread_mutex_lock(&stream->lock);
    draining = stream->draining;
    pthread_mutex_unlock(&stream->lock);
    return draining;
}

/* ---- events: loop's thread ---- */

static void tell(struct http_stream *stream, enum http_stream_event event)
{
    bool given_back;

    pthread_mutex_lock(&stream->lock);
    given_back = stream->given_back;
    pthread_mutex_unlock(&stream->lock);
    if (!given_back && stream->def.on_event != NULL)
        stream->def.on_event(stream->def.arg, stream, event);
}

static void tell_of_room(struct http_stream *stream)
{
    bool room;

    pthread_mutex_lock(&stream->lock);
    room = stream->wants_room && !is_over(stream) && stream->unsent <= stream->def.max_bytes / 2;
    if (room)
        stream->wants_room = false;
    pthread_mutex_unlock(&stream->lock);
    if (room)
        tell(stream, HTTP_STREAM_ROOM);
}

static void end_for_drain(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!is_over(stream)) {
        stream->ended = true;
        wake(stream);
    }
    pthread_mutex_unlock(&stream->lock);
}

static void drain(struct http_stream *stream)
{
    bool told;

    pthread_mutex_lock(&stream->lock);
    told = stream->draining;
    stream->draining = true;
    pthread_mutex_unlock(&stream->lock);
    if (told)
        return;
    if (stream->def.on_event == NULL)
        end_for_drain(stream);
    else
        tell(stream, HTTP_STREAM_DRAIN);
}

/* ---- sending: loop's thread ---- */

/* What the connection holds, for the watch over memory. */
static void account(struct http_stream *stream)
{
    struct http_conn *conn = http_conn_of(stream->exchange->h2o);
    size_t charged;

    pthread_mutex_lock(&stream->lock);
    charged = stream->charged;
    pthread_mutex_unlock(&stream->lock);
    conn->replies += charged - stream->accounted; /* modulo 2^64, where it is less */
    stream->accounted = charged;
}

/* Takes what waits, and returns how h2o is to go on. Of a response that has no body, nothing is sent. */
static h2o_send_state_t take(struct http_stream *stream)
{
    h2o_send_state_t state;

    assert(stream->sending.data == NULL);
    pthread_mutex_lock(&stream->lock);
    state = stream->aborted                        ? H2O_SEND_STATE_ERROR
            : stream->ended || stream->is_bodyless ? H2O_SEND_STATE_FINAL
                                                   : H2O_SEND_STATE_IN_PROGRESS;
    if (!stream->aborted && !stream->is_bodyless) {
        stream->sending = stream->waiting;
        stream->waiting = (struct http_stream_bytes){.data = NULL};
    }
    pthread_mutex_unlock(&stream->lock);
    return state;
}

/* Gives h2o what waits, unless it is still busy with what it was given before. May end the exchange, and with it the
 * stream, for which the caller has no reference. */
static void send_waiting(struct http_stream *stream, bool with_head)
{
    h2o_send_state_t state;
    h2o_iovec_t bytes;

    if (!stream->begun || stream->in_flight || stream->exchange == NULL)
        return;
    state = take(stream);
    bytes = h2o_iovec_init(stream->sending.data, stream->sending.len);
    if (state == H2O_SEND_STATE_IN_PROGRESS && bytes.len == 0 && !with_head)
        return;
    stream->in_flight = true;
    stream->worker->moved += bytes.len;
    stream->since_ns = clock_monotonic_ns();
    if (state == H2O_SEND_STATE_IN_PROGRESS && bytes.len == 0)
        h2o_compat_send_head(stream->exchange->h2o);
    else
        h2o_send(stream->exchange->h2o, &bytes, bytes.len > 0, state);
}

/* h2o has sent what it was given, and takes more. */
static void on_proceed(h2o_generator_t *generator, h2o_req_t *h2o)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, generator, generator);

    stream->in_flight = false;
    stream->since_ns = clock_monotonic_ns();
    pthread_mutex_lock(&stream->lock);
    release_bytes(stream, &stream->sending);
    if (stream->waiting.len > 0 || stream->ended || stream->aborted)
        wake(stream);
    pthread_mutex_unlock(&stream->lock);
    account(stream);
    tell_of_room(stream);
}

static void on_message(struct loop_message *message)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, message, message);

    pthread_mutex_lock(&stream->lock);
    stream->posted = false;
    pthread_mutex_unlock(&stream->lock);
    if (stream->exchange != NULL) {
        account(stream);
        send_waiting(stream, false);
    }
    http_stream_unref(stream);
}

bool http_stream_is(const h2o_generator_t *generator)
{
    return generator->proceed == on_proceed;
}

/* ---- from the beginning to the end: loop's thread ---- */

static int new_stream(struct http_exchange *exchange, const struct http_stream_def *def,
                      struct http_stream **ret_stream)
{
    struct http_stream *stream = malloc(sizeof(*stream));

    if (stream == NULL)
        return -ENOMEM;
    *stream = (struct http_stream){.generator = {.proceed = on_proceed},
                                   .def = *def,
                                   .message = {.run = on_message},
                                   .worker = exchange->worker,
                                   .exchange = exchange,
                                   .references = 2}; /* the caller's and the exchange's */
    pthread_mutex_init(&stream->lock, NULL);
    if (stream->def.max_bytes == 0)
        stream->def.max_bytes = MAX_BYTES;
    *ret_stream = stream;
    return 0;
}

int http_stream_new(struct http_exchange *exchange, const struct http_stream_def *def, struct http_stream **ret_stream)
{
    struct http_worker *worker = exchange->worker;
    struct http_server *server = worker->server;
    unsigned before = atomic_fetch_add_explicit(&server->streams, 1, memory_order_relaxed);
    struct http_conn *conn = http_conn_of(exchange->h2o);
    bool too_many = before >= server->def.max_streams || share_is_taken(conn->streams, before, server->def.max_streams,
                                                                        acceptor_connections(server->acceptor));
    int r = too_many ? -EAGAIN : !budget_take(&server->memory, sizeof(struct http_stream)) ? -ENOBUFS : 0;

    assert(exchange->stream == NULL && !exchange->answered);
    if (r == 0 && (r = new_stream(exchange, def, &exchange->stream)) < 0)
        budget_give(&server->memory, sizeof(struct http_stream));
    if (r < 0) {
        atomic_fetch_sub_explicit(&server->streams, 1, memory_order_relaxed);
        return r;
    }
    conn->streams++;
    h2o_linklist_insert(&worker->streams, &exchange->stream->link);
    *ret_stream = exchange->stream;
    return 0;
}

void http_stream_begin(struct http_exchange *exchange, bool is_bodyless)
{
    struct http_stream *stream = http_stream_ref(exchange->stream);

    stream->begun = true;
    stream->is_bodyless = is_bodyless;
    if (exchange->h2o->version < 0x101)
        exchange->h2o->http1_is_persistent = 0; /* the end of the connection is that of the response */
    if (stream->worker->streams_over)
        end_for_drain(stream);
    h2o_start_response(exchange->h2o, &stream->generator);
    account(stream);
    send_waiting(stream, true);
    if (stream->exchange != NULL && acceptor_is_draining(stream->worker->server->acceptor))
        drain(stream);
    http_stream_unref(stream);
}

void http_stream_close(struct http_exchange *exchange)
{
    struct http_stream *stream = exchange->stream;
    struct http_server *server = exchange->worker->server;

    exchange->stream = NULL;
    stream->exchange = NULL;
    h2o_linklist_unlink(&stream->link);
    http_conn_of(exchange->h2o)->streams--;
    http_conn_of(exchange->h2o)->replies -= stream->accounted;
    pthread_mutex_lock(&stream->lock);
    stream->closed = true;
    release_bytes(stream, &stream->sending);
    release_bytes(stream, &stream->waiting);
    assert(stream->charged == 0 && stream->unsent == 0);
    pthread_mutex_unlock(&stream->lock);
    budget_give(&server->memory, sizeof(*stream));
    atomic_fetch_sub_explicit(&server->streams, 1, memory_order_relaxed);
    tell(stream, HTTP_STREAM_GONE);
    http_stream_unref(stream);
}

/* ---- all of a worker's ---- */

static void count_cut(struct http_stream *stream)
{
    metrics_add(stream->worker->server->streams_cut_total, 1);
}

/* Ends the response without what is missing, and the connection with it, if that is of HTTP/1. h2o may end the exchange
 * within. */
static void cut(struct http_stream *stream)
{
    count_cut(stream);
    pthread_mutex_lock(&stream->lock);
    stream->aborted = true;
    pthread_mutex_unlock(&stream->lock);
    if (stream->in_flight)
        http_conn_cut(http_conn_of(stream->exchange->h2o)); /* what is being written fails */
    else
        send_waiting(stream, false);
}

static bool is_http1(const struct http_stream *stream)
{
    return stream->exchange->h2o->version < 0x200;
}

static void leave(struct http_stream *stream)
{
    http_conn_cut(http_conn_of(stream->exchange->h2o));
    pthread_mutex_lock(&stream->lock);
    stream->aborted = true;
    pthread_mutex_unlock(&stream->lock);
    send_waiting(stream, false); /* h2o then finds the connection cut */
}

static void beat(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!is_over(stream) && stream->unsent == 0)
        append(stream, stream->def.heartbeat);
    pthread_mutex_unlock(&stream->lock);
}

static void look_at(struct http_stream *stream, uint64_t now_ns)
{
    uint64_t waited_ns = now_ns > stream->since_ns ? now_ns - stream->since_ns : 0;

    if (!stream->begun)
        return;
    if (stream->in_flight) {
        if (waited_ns > stream->worker->server->def.request_timeout_ms * CLOCK_NS_PER_MS)
            cut(stream);
    } else if (is_http1(stream) && net_peer_has_ended(h2o_socket_get_fd(http_conn_of(stream->exchange->h2o)->socket))) {
        leave(stream);
    } else {
        if (stream->def.heartbeat_ms > 0 && waited_ns >= stream->def.heartbeat_ms * CLOCK_NS_PER_MS)
            beat(stream);
        tell_of_room(stream); /* it may have been refused for want of the server's memory */
    }
}

/* Calls each for every stream, which it may end. */
static void each_stream(struct http_worker *worker, void (*each)(struct http_stream *stream, uint64_t now_ns))
{
    uint64_t now_ns = clock_monotonic_ns();

    for (h2o_linklist_t *link = worker->streams.next, *next; link != &worker->streams; link = next) {
        next = link->next;
        each(H2O_STRUCT_FROM_MEMBER(struct http_stream, link, link), now_ns);
    }
}

void http_streams_look(struct http_worker *worker)
{
    each_stream(worker, look_at);
}

static void drain_begun(struct http_stream *stream, uint64_t now_ns)
{
    if (stream->begun)
        drain(stream);
}

void http_streams_drain(struct http_worker *worker)
{
    each_stream(worker, drain_begun);
}

/* Of a client of HTTP/2 that takes nothing, others on the same connection would be cut off, too: it has the rest of the
 * time. */
static void end_or_cut(struct http_stream *stream, uint64_t now_ns)
{
    if (stream->begun && stream->in_flight && is_http1(stream))
        cut(stream);
    else
        end_for_drain(stream);
}

void http_streams_end(struct http_worker *worker)
{
    worker->streams_over = true;
    each_stream(worker, end_or_cut);
}

static void cut_begun(struct http_stream *stream, uint64_t now_ns)
{
    if (stream->begun)
        cut(stream);
}

void http_streams_cut(struct http_worker *worker)
{
    each_stream(worker, cut_begun);
}
