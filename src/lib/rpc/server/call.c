/* One call, server side.
 *
 * Batches under way, at most one of each: closed (from the beginning to the end of the call), received (the next
 * message), sent (what is at the head of the queue). Whatever happens, closed comes out of the queue; no batch is
 * started after it; when the last of the others has come out too, the call is over.
 */
#include "clock.h"
#include "rpc_server_internal.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <sys/socket.h>

#define STATUS_MESSAGE_MAX 1024       /* bytes: clients accept 8 KiB of trailers, percent-encoded */
#define EXPIRED            UINT64_MAX /* of limit_ns: the call is in no list */
#define RETRY_NS           (100 * CLOCK_NS_PER_MS)

struct rpc_call {
    struct rpc_event arrived, closed, received, sent;
    struct rpc_loop *loop;
    TAILQ_ENTRY(rpc_call) link; /* in the loop's list of its kind */
    atomic_uint refs;
    grpc_call *grpc;
    grpc_call_details details;
    grpc_metadata_array metadata;
    struct rpc_entry *entry;
    struct trace trace;
    uint64_t begun_ns, deadline_ns; /* the earlier of the client's and of ours */
    uint64_t limit_ns;              /* ours */
    void *data;
    char remote_ip[INET6_ADDRSTRLEN];
    atomic_bool cancelled;

    /* the loop's thread only */
    bool opened;            /* the handlers know of it */
    bool may_receive;       /* counted among the server's receiving */
    grpc_byte_buffer *held; /* a request that must be the only one, until the end has been seen */
    grpc_byte_buffer *incoming;
    uint64_t request_size;
    int closed_early; /* C-core's: the status has not got through */

    pthread_mutex_t lock; /* of what follows */
    struct rpc_queue queue;
    grpc_byte_buffer *sending_message;
    bool busy; /* in an event: nothing is started before its end, so what a handler sends goes out together */
    bool sending, receiving, paused, half_closed;
    bool metadata_sent, status_sent;
    grpc_metadata sent_metadata[1];
    size_t sent_metadata_count;
    bool finished; /* rpc_finish was called: status and status_message are set */
    bool over;     /* closed has come out */
    enum err_grpc status;
    grpc_slice status_message;
    uint64_t response_size;
};

static void on_arrived(struct rpc_event *event, bool ok);
static void on_closed(struct rpc_event *event, bool ok);
static void on_received(struct rpc_event *event, bool ok);
static void on_sent(struct rpc_event *event, bool ok);

static bool takes_one_message(const struct rpc_call *call)
{
    return call->entry->method->kind == RPC_UNARY_KIND || call->entry->method->kind == RPC_SERVER_STREAM_KIND;
}

static struct rpc_calls *list_of(struct rpc_call *call)
{
    return call->entry->method != NULL && call->entry->method->kind != RPC_UNARY_KIND ? &call->loop->streams
                                                                                      : &call->loop->unary;
}

/* ---- memory ---- */

static struct rpc_call *call_new(struct rpc_loop *loop)
{
    struct rpc_call *call = calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->arrived.run = on_arrived;
    call->closed.run = on_closed;
    call->received.run = on_received;
    call->sent.run = on_sent;
    call->loop = loop;
    call->busy = true;
    call->status_message = grpc_empty_slice();
    atomic_init(&call->refs, 1);
    pthread_mutex_init(&call->lock, NULL);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    return call;
}

/* What belongs to C-core goes at the end of the call, whoever still holds a reference. */
static void release_grpc(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    rpc_queue_clear(&call->queue);
    pthread_mutex_unlock(&call->lock);
    grpc_byte_buffer_destroy(call->held);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_slice_unref(call->status_message);
    if (call->sent_metadata_count > 0)
        grpc_slice_unref(call->sent_metadata[0].value);
    if (call->grpc != NULL)
        grpc_call_unref(call->grpc);
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

struct rpc_call *rpc_call_unref(struct rpc_call *call)
{
    if (call != NULL && atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&call->lock);
        free(call);
    }
    return NULL;
}

/* ---- starting batches: under the lock ---- */

static void start_receiving(struct rpc_call *call)
{
    call->receiving = true;
    rpc_start(call->grpc, &(grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->incoming}, 1,
              &call->received);
}

static void start_sending(struct rpc_call *call)
{
    grpc_op ops[3] = {0};
    size_t count = 0;
    grpc_byte_buffer *message = rpc_queue_take(&call->queue);
    bool last = call->finished && call->queue.count == 0;

    if (message == NULL && !last)
        return;
    if (!call->metadata_sent) {
        ops[count].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[count].data.send_initial_metadata.metadata = call->sent_metadata;
        ops[count++].data.send_initial_metadata.count = call->sent_metadata_count;
    }
    if (message != NULL) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        /* What is followed by more may wait for it: several times as many small messages go through. Not the first,
         * whose metadata would then wait too, and C-core says that they are sent only when they are. */
        ops[count].flags = call->queue.count > 0 && call->metadata_sent ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[count++].data.send_message.send_message = message;
        call->response_size += grpc_byte_buffer_length(message);
    }
    if (last) {
        ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[count].data.send_status_from_server.status = (grpc_status_code)call->status;
        ops[count++].data.send_status_from_server.status_details = &call->status_message;
    }
    call->sending_message = message;
    call->metadata_sent = call->sending = true;
    call->status_sent = last;
    rpc_start(call->grpc, ops, count, &call->sent);
}

/* Starts whatever can be started now. */
static void pump(struct rpc_call *call)
{
    if (call->busy || call->over)
        return;
    if (!call->sending && !call->status_sent)
        start_sending(call);
    if (call->opened && !call->receiving && !call->paused && !call->half_closed && !call->finished)
        start_receiving(call);
}

/* ---- handlers: between busy and settle nothing is started ---- */

static void deliver(struct rpc_call *call, grpc_byte_buffer *bytes)
{
    struct rpc_unpacked unpacked;
    int r;

    if (grpc_byte_buffer_length(bytes) > call->loop->server->def.max_message) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "the message is larger than the server accepts");
    } else if ((r = rpc_unpack(bytes, call->entry->input, &unpacked)) != 0) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT,
                   r == -EILSEQ ? "a string must not contain a NUL" : "the message cannot be unpacked");
    } else {
        rpc_method_invoke(call->entry->method, call, unpacked.message);
        rpc_unpacked_release(&unpacked);
    }
}

static void message_came(struct rpc_call *call, grpc_byte_buffer *bytes)
{
    call->request_size += grpc_byte_buffer_length(bytes);
    if (!takes_one_message(call)) {
        deliver(call, bytes);
        grpc_byte_buffer_destroy(bytes);
    } else if (call->held == NULL) {
        call->held = bytes;
    } else {
        grpc_byte_buffer_destroy(bytes);
        rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, more came");
    }
}

static void end_came(struct rpc_call *call)
{
    if (!takes_one_message(call)) {
        if (call->entry->method->on_half_close != NULL)
            call->entry->method->on_half_close(call);
    } else if (call->held == NULL) {
        rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, none came");
    } else {
        deliver(call, call->held);
    }
}

/* ---- the end ---- */

static enum err_grpc outcome(const struct rpc_call *call, uint64_t now)
{
    if (call->status_sent && !call->closed_early)
        return call->status;
    if (call->status_sent && call->status == ERR_GRPC_DEADLINE_EXCEEDED)
        return call->status;
    return now >= call->deadline_ns ? ERR_GRPC_DEADLINE_EXCEEDED : ERR_GRPC_CANCELLED;
}

static void log_call(struct rpc_call *call, enum err_grpc code, uint64_t now)
{
    struct log *log = call->loop->server->def.log;
    struct str message = rpc_slice_str(&call->status_message);

    if (log == NULL || (call->entry->quiet && !log_enabled(log, LOG_DEBUG)))
        return;
    log_request(log, &call->trace,
                &(struct log_request){
                    .method = STR("POST"),
                    .url = rpc_slice_str(&call->details.method),
                    .user_agent = rpc_call_metadata(call, "user-agent"),
                    .remote_ip = str_of(call->remote_ip),
                    .protocol = STR("HTTP/2"),
                    .detail = code == call->status ? message : STR_NULL,
                    .status = code == ERR_GRPC_OK ? 200 : err_http_status(err_from_grpc(code)),
                    .grpc_code = str_of(err_grpc_name(code)),
                    .request_size = call->request_size,
                    .response_size = call->response_size,
                    .latency_ns = now - call->begun_ns,
                });
}

/* False where the server has no memory for one more unfinished message. Streams may hold their part for an hour without
 * sending anything: they get half, so that unary calls still find some. */
static bool expect_messages(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    bool is_stream = list_of(call) == &call->loop->streams;
    size_t max = is_stream ? server->max_receiving - server->max_receiving / 2 : server->max_receiving;

    max += call->entry->quiet ? RPC_QUIET_RESERVE : 0;

    call->may_receive = atomic_fetch_add(&server->receiving, 1) < max;
    if (!call->may_receive)
        atomic_fetch_sub(&server->receiving, 1);
    return call->may_receive;
}

static void expect_no_messages(struct rpc_call *call)
{
    if (call->may_receive)
        atomic_fetch_sub(&call->loop->server->receiving, 1);
    call->may_receive = false;
}

static void end(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    uint64_t now = clock_monotonic_ns();
    enum err_grpc code = outcome(call, now);

    rpc_stats_handled(&call->entry->stats, code, now - call->begun_ns);
    log_call(call, code, now);
    if (call->opened && call->entry->method->on_close != NULL)
        call->entry->method->on_close(call);
    if (call->limit_ns != EXPIRED)
        TAILQ_REMOVE(list_of(call), call, link);
    expect_no_messages(call);
    release_grpc(call);
    rpc_call_unref(call);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->draining))
        rpc_server_changed(server);
}

/* The end of every event: what the handlers have left to do is started. The last event of a call ends it. */
static void settle(struct rpc_call *call)
{
    bool last;

    pthread_mutex_lock(&call->lock);
    call->busy = false;
    pump(call);
    last = call->over && !call->sending && !call->receiving;
    pthread_mutex_unlock(&call->lock);
    if (last)
        end(call);
}

/* ---- events ---- */

static void on_received(struct rpc_event *event, bool ok)
{
    struct rpc_call *call = RPC_OWNER(event, struct rpc_call, received);
    grpc_byte_buffer *bytes = call->incoming;
    bool failed = !ok || (bytes == NULL && grpc_call_failed_before_recv_message(call->grpc));
    bool ignore, half_closed = bytes == NULL || failed;

    pthread_mutex_lock(&call->lock);
    call->busy = true;
    call->receiving = false;
    call->half_closed = half_closed;
    ignore = call->finished || call->over || failed;
    pthread_mutex_unlock(&call->lock);
    if (half_closed)
        expect_no_messages(call);
    call->incoming = NULL;
    if (ignore)
        grpc_byte_buffer_destroy(bytes);
    else if (bytes != NULL)
        message_came(call, bytes);
    else
        end_came(call);
    settle(call);
}

static void on_sent(struct rpc_event *event, bool ok)
{
    struct rpc_call *call = RPC_OWNER(event, struct rpc_call, sent);
    bool writable;

    pthread_mutex_lock(&call->lock);
    call->busy = true;
    call->sending = false;
    grpc_byte_buffer_destroy(call->sending_message);
    call->sending_message = NULL;
    if (!ok)
        rpc_queue_clear(&call->queue);
    writable = ok && !call->finished && !call->over && rpc_queue_writable(&call->queue);
    pthread_mutex_unlock(&call->lock);
    if (writable && call->entry->method->on_writable != NULL)
        call->entry->method->on_writable(call);
    settle(call);
}

static void on_closed(struct rpc_event *event, bool ok)
{
    struct rpc_call *call = RPC_OWNER(event, struct rpc_call, closed);

    if (call->closed_early)
        atomic_store(&call->cancelled, true);
    pthread_mutex_lock(&call->lock);
    call->over = true;
    pthread_mutex_unlock(&call->lock);
    settle(call);
}

static void write_ip(char text[INET6_ADDRSTRLEN], int family, const void *bytes)
{
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)bytes))
        inet_ntop(AF_INET, (const char *)bytes + 12, text, INET6_ADDRSTRLEN);
    else
        inet_ntop(family, bytes, text, INET6_ADDRSTRLEN);
}

static void write_ip_of_socket(char text[INET6_ADDRSTRLEN], int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return;
    if (address.ss_family == AF_INET6)
        write_ip(text, AF_INET6, &((const struct sockaddr_in6 *)&address)->sin6_addr);
    else if (address.ss_family == AF_INET)
        write_ip(text, AF_INET, &((const struct sockaddr_in *)&address)->sin_addr);
}

/* Of "1.2.3.4:5", or of "[::1]:5" or "[fe80::1%25eth0]:5" with percent-encoded brackets: without port and zone. */
static void write_ip_of_uri(char text[INET6_ADDRSTRLEN], int family, const char *address)
{
    char host[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    size_t len;

    if (family == AF_INET6 && strncasecmp(address, "%5b", 3) == 0)
        address += 3;
    else if (family == AF_INET6 && *address == '[')
        address++;
    len = strcspn(address, family == AF_INET6 ? "%]" : ":");
    if (len >= sizeof(host))
        return;
    memcpy(host, address, len);
    host[len] = '\0';
    if (inet_pton(family, host, bytes) == 1)
        write_ip(text, family, bytes);
}

/* The client's address. What C-core calls the peer of a connection that it has not accepted itself depends on its
 * version: the socket ("fd:7") or the address ("ipv4:1.2.3.4:5", "ipv6:%5B::1%5D:5"). */
static void find_remote_ip(struct rpc_call *call)
{
    char *peer = grpc_call_get_peer(call->grpc);

    if (peer == NULL)
        return;
    if (strncmp(peer, "fd:", 3) == 0)
        write_ip_of_socket(call->remote_ip, atoi(peer + 3));
    else if (strncmp(peer, "ipv4:", 5) == 0)
        write_ip_of_uri(call->remote_ip, AF_INET, peer + 5);
    else if (strncmp(peer, "ipv6:", 5) == 0)
        write_ip_of_uri(call->remote_ip, AF_INET6, peer + 5);
    gpr_free(peer);
}

static void begin(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    uint64_t client_ns = rpc_monotonic_ns(call->details.deadline);
    unsigned limit_ms;

    call->entry = rpc_methods_find(&server->methods, rpc_slice_str(&call->details.method));
    limit_ms = list_of(call) == &call->loop->unary ? server->def.max_call_ms : server->def.max_stream_ms;
    call->begun_ns = clock_monotonic_ns();
    call->limit_ns = call->begun_ns + limit_ms * CLOCK_NS_PER_MS;
    call->deadline_ns = client_ns < call->limit_ns ? client_ns : call->limit_ns;
    trace_begin(rpc_call_metadata(call, "traceparent"), false, &call->trace);
    if (server->def.log != NULL)
        find_remote_ip(call);
    TAILQ_INSERT_TAIL(list_of(call), call, link);
    rpc_stats_started(&call->entry->stats);
}

static void on_arrived(struct rpc_event *event, bool ok)
{
    struct rpc_call *call = RPC_OWNER(event, struct rpc_call, arrived);
    struct rpc_server *server = call->loop->server;
    unsigned in_flight;

    if (!ok) { /* the server shuts down */
        release_grpc(call);
        rpc_call_unref(call);
        return;
    }
    rpc_loop_expect(call->loop);
    in_flight = atomic_fetch_add(&server->in_flight, 1);
    if (atomic_load(&server->draining))
        atomic_fetch_add(&server->arrivals, 1);
    begin(call);
    rpc_start(
        call->grpc,
        &(grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->closed_early}, 1,
        &call->closed);
    if (call->entry->method == NULL) {
        rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "no such method");
    } else if (in_flight >= server->def.max_in_flight + (call->entry->quiet ? RPC_QUIET_RESERVE : 0)) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many calls in flight");
    } else if (!expect_messages(call)) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many requests are being received");
    } else {
        call->opened = true;
        if (call->entry->method->on_open != NULL)
            call->entry->method->on_open(call);
    }
    settle(call);
}

/* ---- limits of length ---- */

static void expire(struct rpc_call *call)
{
    bool stuck;

    atomic_store(&call->cancelled, true);
    pthread_mutex_lock(&call->lock);
    rpc_queue_clear(&call->queue);
    stuck = call->sending; /* the client does not read, or not fast enough */
    pthread_mutex_unlock(&call->lock);
    if (stuck)
        grpc_call_cancel_with_status(call->grpc, GRPC_STATUS_DEADLINE_EXCEEDED, "the call took too long", NULL);
    else
        rpc_finish(call, ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long");
}

static uint64_t expire_due(struct rpc_calls *calls, uint64_t now)
{
    struct rpc_call *call;

    while ((call = TAILQ_FIRST(calls)) != NULL && call->limit_ns <= now) {
        TAILQ_REMOVE(calls, call, link);
        call->limit_ns = EXPIRED;
        expire(call);
    }
    return call != NULL ? call->limit_ns : UINT64_MAX;
}

uint64_t rpc_loop_tick(struct rpc_worker *worker)
{
    struct rpc_loop *loop = RPC_OWNER(worker, struct rpc_loop, worker);
    uint64_t now, unary_ns, streams_ns, due_ns, health_ns = rpc_health_tick(loop->server->health);

    if (loop->deaf)
        rpc_loop_expect(loop);
    now = clock_monotonic_ns();
    unary_ns = expire_due(&loop->unary, now);
    streams_ns = expire_due(&loop->streams, now);
    due_ns = unary_ns < streams_ns ? unary_ns : streams_ns;
    due_ns = due_ns < health_ns ? due_ns : health_ns;
    return loop->deaf && due_ns > now + RETRY_NS ? now + RETRY_NS : due_ns;
}

void rpc_loop_expect(struct rpc_loop *loop)
{
    struct rpc_call *call = call_new(loop);
    grpc_call_error err;

    loop->deaf = call == NULL;
    if (call == NULL)
        return;
    rpc_event_hand_over(&call->arrived);
    err = grpc_server_request_call(loop->server->grpc, &call->grpc, &call->details, &call->metadata, loop->worker.queue,
                                   loop->worker.queue, &call->arrived);
    assert(err == GRPC_CALL_OK);
}

/* ---- what handlers call ---- */

struct rpc_server *rpc_call_server(const struct rpc_call *call)
{
    return call->loop->server;
}

void *rpc_call_service_state(const struct rpc_call *call)
{
    return call->loop->server->def.state;
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
    call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
    return call->data;
}

const struct trace *rpc_call_trace(const struct rpc_call *call)
{
    return &call->trace;
}

uint64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    return call->deadline_ns;
}

struct str rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    return rpc_metadata_find(&call->metadata, name);
}

void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value)
{
    pthread_mutex_lock(&call->lock);
    if (!call->metadata_sent && !call->over && call->sent_metadata_count == 0)
        call->sent_metadata[call->sent_metadata_count++] =
            (grpc_metadata){.key = grpc_slice_from_static_string(name), .value = grpc_slice_from_copied_string(value)};
    pthread_mutex_unlock(&call->lock);
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    return atomic_load(&call->cancelled);
}

static int send_locked(struct rpc_call *call, grpc_byte_buffer *take_message)
{
    if (call->finished || call->over) {
        grpc_byte_buffer_destroy(take_message);
        return -ECANCELED;
    }
    return rpc_queue_put(&call->queue, take_message);
}

static void finish_locked(struct rpc_call *call, enum err_grpc status, const char *message)
{
    if (call->finished || call->over)
        return;
    call->finished = true;
    call->status = status;
    if (message != NULL)
        call->status_message = rpc_slice((struct str){message, strnlen(message, STATUS_MESSAGE_MAX)});
}

int rpc_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    grpc_byte_buffer *bytes = rpc_pack(message);
    int result;

    pthread_mutex_lock(&call->lock);
    result = send_locked(call, bytes);
    pump(call);
    pthread_mutex_unlock(&call->lock);
    return result;
}

void rpc_finish(struct rpc_call *call, enum err_grpc status, const char *message)
{
    pthread_mutex_lock(&call->lock);
    finish_locked(call, status, message);
    pump(call);
    pthread_mutex_unlock(&call->lock);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    grpc_byte_buffer *bytes = rpc_pack(message);

    pthread_mutex_lock(&call->lock);
    if (send_locked(call, bytes) >= 0)
        finish_locked(call, ERR_GRPC_OK, NULL);
    else
        finish_locked(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too much is waiting to be sent");
    pump(call);
    pthread_mutex_unlock(&call->lock);
}

void rpc_fail(struct rpc_call *call, int err, const char *message)
{
    rpc_finish(call, err_grpc_status(err), message != NULL ? message : err_text(err));
}

void rpc_pause(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->paused = true;
    pthread_mutex_unlock(&call->lock);
}

void rpc_resume(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->paused = false;
    pump(call);
    pthread_mutex_unlock(&call->lock);
}
