/* One call: from its headers to its end. What comes (input.c) is told to the handlers at once; what they do about it
 * (send, finish, resume: handler.c) is done at the end of the turn, by rpc_call_run, whether it was asked for by the
 * loop's thread or by another, which posts a message then. */
#include "clock.h"
#include "rpc_server_internal.h"
#include "share.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static bool is_stream(const struct rpc_call *call)
{
    return call->entry->method != NULL && call->entry->method->kind != RPC_UNARY_KIND;
}

/* Of a call whose headers have come. */
static struct rpc_share *share_of(const struct rpc_call *call)
{
    return &call->loop->server->shares[call->entry->quiet];
}

static bool is_finished(struct rpc_call *call)
{
    bool finished;
    bool locked = rpc_call_lock(call);

    finished = call->finished;
    rpc_call_unlock(call, locked);
    return finished;
}

/* ---- memory ---- */

static struct rpc_call *take_from_pool(struct rpc_loop *loop)
{
    struct rpc_call *call = TAILQ_FIRST(&loop->pool);

    if (call != NULL) {
        TAILQ_REMOVE(&loop->pool, call, link);
        loop->pooled--;
        return call;
    }
    call = malloc(sizeof(*call));
    if (call != NULL)
        pthread_mutex_init(&call->lock, NULL);
    return call;
}

struct rpc_call *rpc_call_new(struct rpc_conn *conn, int32_t stream)
{
    struct rpc_loop *loop = conn->loop;
    struct rpc_call *call = take_from_pool(loop);

    assert(stream > 0 && loop_is_current(loop->loop));
    if (call == NULL)
        return NULL;
    /* All but the lock, and what need not be zero. */
    memset(call, 0, offsetof(struct rpc_call, lock));
    memset((char *)call + offsetof(struct rpc_call, message_to_loop), 0,
           offsetof(struct rpc_call, out_own) - offsetof(struct rpc_call, message_to_loop));
    rpc_account_add(&loop->account, sizeof(*call));
    call->loop = loop;
    call->conn = conn;
    call->stream = stream;
    call->begun_ns = clock_monotonic_ns();
    call->arena = (struct rpc_arena){&loop->account, NULL, call->arena_first, sizeof(call->arena_first)};
    call->in.account = &loop->account;
    call->in.max = loop->server->def.max_message;
    call->out.budget = &loop->server->memory;
    atomic_init(&call->refs, 1);
    rpc_head_init(&call->head);
    TAILQ_INSERT_TAIL(&conn->calls, call, link);
    acceptor_busy(&conn->place);
    return call;
}

static void release_fields(struct rpc_fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++)
        free(fields->field[i]);
    fields->count = 0;
}

/* What the call has beside itself goes at its end, whoever still holds a reference. */
static void release(struct rpc_call *call)
{
    struct rpc_loop *loop = call->loop;
    bool locked;

    rpc_account_give(&loop->account, call->backlog_capacity);
    free(call->backlog);
    call->backlog = NULL;
    rpc_in_release(&call->in);
    rpc_arena_release(&call->arena);
    rpc_account_give(&loop->account, sizeof(*call));
    locked = rpc_call_lock(call);
    rpc_out_clear(&call->out, &call->out_own);
    release_fields(&call->initial);
    release_fields(&call->trailing);
    free(call->status_message);
    call->status_message = NULL;
    rpc_call_unlock(call, locked);
    if (!rpc_call_drop(call))
        return;
    if (loop->pooled >= RPC_LOOP_POOL) {
        rpc_call_destroy(call);
        return;
    }
    TAILQ_INSERT_HEAD(&loop->pool, call, link);
    loop->pooled++;
}

/* ---- what is to be done at the end of the turn ---- */

static void expire(struct loop_timer *timer);
static void bound_taking(struct rpc_call *call);

/* Whether a call's time is over, and its timer has not run yet. What its handlers answer now, perhaps because their own
 * calls have the same deadline, comes too late. */
static bool is_late(struct rpc_call *call)
{
    return !call->is_fresh && !call->answered && loop_timer_running(&call->timer) &&
           clock_monotonic_ns() >= call->deadline_ns;
}

void rpc_call_run(struct rpc_call *call)
{
    bool room = call->room;

    if (call->conn == NULL)
        return;
    if (is_late(call)) {
        loop_timer_stop(call->loop->loop, &call->timer);
        expire(&call->timer);
    }
    call->room = false;
    if (room && call->entry->method->on_writable != NULL && rpc_input_is_wanted(call))
        call->entry->method->on_writable(call);
    rpc_input_resume(call);
    rpc_response_pump(call);
    bound_taking(call);
    rpc_conn_dirty(call->conn);
}

void rpc_call_run_due(struct rpc_loop *loop)
{
    struct rpc_call *call, *last = TAILQ_LAST(&loop->due, rpc_calls);
    bool was_last = last == NULL;

    while (!was_last && (call = TAILQ_FIRST(&loop->due)) != NULL) {
        was_last = call == last;
        TAILQ_REMOVE(&loop->due, call, due);
        call->is_due = false;
        rpc_call_run(call);
    }
}

/* ---- the end ---- */

void rpc_call_expect_no_messages(struct rpc_call *call)
{
    if (call->may_receive) {
        atomic_fetch_sub(&share_of(call)->receiving, 1);
        call->conn->receiving[call->entry->quiet]--;
    }
    call->may_receive = false;
}

static enum err_grpc outcome(const struct rpc_call *call, bool whole, uint64_t now)
{
    if (whole || (call->finished && call->status == ERR_GRPC_DEADLINE_EXCEEDED))
        return call->status;
    return now >= call->deadline_ns ? ERR_GRPC_DEADLINE_EXCEEDED : ERR_GRPC_CANCELLED;
}

static int http_status(const struct rpc_call *call, enum err_grpc code)
{
    if (call->http_status != 0)
        return call->http_status;
    if (call->head.bad_timeout || call->head.bad_value)
        return 400; /* a client's mistake, for which gRPC has INTERNAL */
    return err_grpc_http_status(code);
}

/* Looked up for the first line of a connection. */
static struct str local_ip(struct rpc_conn *conn)
{
    if (conn->local_ip[0] == '\0')
        net_local_ip(conn->fd, conn->local_ip);
    return str_of(conn->local_ip);
}

static void log_call(struct rpc_call *call, enum err_grpc code, uint64_t now)
{
    struct log *log = call->loop->server->def.log;
    char client_ip[NET_IP_SIZE];

    if (log == NULL || (call->entry->quiet && !log_enabled(log, LOG_DEBUG)))
        return;
    rpc_client_ip(call, client_ip);
    log_request(log, &call->trace,
                &(struct log_request){
                    .method = STR("POST"),
                    .url = log_cut(call->head.path, LOG_MAX_URL),
                    .user_agent = log_cut(call->head.user_agent, LOG_MAX_HEADER),
                    .scheme = rpc_client_scheme(call),
                    .host = log_cut(call->head.authority, LOG_MAX_HOST),
                    .remote_ip = str_of(client_ip),
                    .server_ip = local_ip(call->conn),
                    .protocol = STR("HTTP/2"),
                    .detail = code == call->status ? str_of(call->status_message) : STR_NULL,
                    .status = http_status(call, code),
                    .grpc_code = str_of(err_grpc_name(code)),
                    .request_size = call->request_size,
                    .response_size = call->response_size,
                    .latency_ns = now - call->begun_ns,
                });
}

static void intercept_after(struct rpc_call *call, enum err_grpc code)
{
    const struct rpc_server_def *def = &call->loop->server->def;

    for (size_t i = call->entry->quiet ? 0 : def->interceptor_count; i-- > 0;)
        if (def->interceptors[i].after != NULL)
            def->interceptors[i].after(call, code, def->interceptors[i].state);
}

/* Tells all who want to know of the end. */
static void tell_closed(struct rpc_call *call, bool whole)
{
    uint64_t now = clock_monotonic_ns();
    enum err_grpc code = outcome(call, whole, now);

    rpc_stats_handled(&call->entry->stats, code, now - call->begun_ns, call->entry->quiet ? NULL : &call->trace);
    log_call(call, code, now);
    rpc_span_end(call, code, now - call->begun_ns);
    if (!call->opened)
        return;
    if (call->entry->method->on_close != NULL)
        call->entry->method->on_close(call);
    intercept_after(call, code);
}

void rpc_call_end(struct rpc_call *call, bool whole)
{
    bool begun = call->entry != NULL; /* else its headers were cut off */
    bool locked;
    struct rpc_share *share = begun ? share_of(call) : NULL;

    assert(call->conn != NULL && !call->over); /* once */
    if (!whole)
        atomic_store(&call->cancelled, true);
    locked = rpc_call_lock(call);
    call->over = true;
    rpc_call_unlock(call, locked);
    if (call->conn->session != NULL)
        nghttp2_session_set_stream_user_data(call->conn->session, call->stream, NULL);
    if (begun)
        tell_closed(call, whole);
    TAILQ_REMOVE(&call->conn->calls, call, link);
    if (TAILQ_EMPTY(&call->conn->calls))
        acceptor_idle(&call->conn->place);
    if (call->is_due)
        TAILQ_REMOVE(&call->loop->due, call, due);
    if (call->is_fresh)
        TAILQ_REMOVE(&call->loop->fresh, call, fresh);
    call->is_due = call->is_fresh = false;
    rpc_call_expect_no_messages(call);
    if (begun)
        call->conn->in_flight[call->entry->quiet]--;
    call->conn = NULL;
    loop_timer_stop(call->loop->loop, &call->timer);
    release(call);
    if (begun)
        atomic_fetch_sub(&share->in_flight, 1);
}

/* ---- deadlines ---- */

/* Whether the client's windows keep nghttp2 from asking for what is to be sent, a status included. */
static bool is_blocked(const struct rpc_call *call)
{
    nghttp2_session *session = call->conn->session;

    return call->answered && (nghttp2_session_get_stream_remote_window_size(session, call->stream) <= 0 ||
                              nghttp2_session_get_remote_window_size(session) <= 0);
}

#define GRACE_MS 1000 /* for the status to be sent */

static void give_up(struct loop_timer *timer)
{
    struct rpc_call *call = RPC_OWNER(timer, struct rpc_call, timer);

    nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    rpc_conn_dirty(call->conn);
}

static void expire(struct loop_timer *timer)
{
    struct rpc_call *call = RPC_OWNER(timer, struct rpc_call, timer);
    bool whole, locked;

    call->taken_by_ns = UINT64_MAX; /* the rest is GRACE_MS's */
    atomic_store(&call->cancelled, true);
    locked = rpc_call_lock(call);
    whole = rpc_out_is_whole(&call->out);
    if (call->finished && (call->out.first != NULL || !call->answered))
        call->status = ERR_GRPC_DEADLINE_EXCEEDED;
    rpc_out_clear(&call->out, &call->out_own);
    rpc_call_unlock(call, locked);
    rpc_finish(call, ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long");
    /* A status after a part of a message would be taken for a fault of the server's. */
    if (!whole || is_blocked(call))
        nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    if (loop_timer_start(call->loop->loop, &call->timer, GRACE_MS, give_up) < 0)
        give_up(&call->timer);
    rpc_conn_dirty(call->conn);
}

/* ---- streams that nothing moves on ---- */

static uint64_t idle_at_ns(const struct rpc_call *call)
{
    uint64_t idle_ns = call->loop->server->def.idle_stream_ms * CLOCK_NS_PER_MS;

    if (!call->may_receive || !is_stream(call) || call->taken_by_ns != 0)
        return UINT64_MAX;
    return (call->moved_ns != 0 ? call->moved_ns : call->begun_ns) + idle_ns;
}

static uint64_t due_ns(const struct rpc_call *call)
{
    uint64_t due = idle_at_ns(call);

    if (call->taken_by_ns != 0 && call->taken_by_ns < due)
        due = call->taken_by_ns;
    return call->deadline_ns < due ? call->deadline_ns : due;
}

static size_t waiting_bytes(struct rpc_call *call)
{
    size_t bytes;
    bool locked = rpc_call_lock(call);

    bytes = call->out.bytes;
    rpc_call_unlock(call, locked);
    return bytes;
}

static void wait_until_taken(struct rpc_call *call, uint64_t now)
{
    call->taken_by_ns = now + call->loop->server->def.max_call_ms * CLOCK_NS_PER_MS;
    call->left = waiting_bytes(call);
}

/* A stream may last for an hour. Once it is finished, its client has to take what is left: as long as a unary call may
 * last, each time for some of it. */
static void bound_taking(struct rpc_call *call)
{
    if (call->taken_by_ns != 0 || !is_stream(call) || !is_finished(call))
        return;
    wait_until_taken(call, clock_monotonic_ns());
    if (loop_timer_running(&call->timer))
        rpc_call_set_timer(call);
}

static void on_timer(struct loop_timer *timer)
{
    struct rpc_call *call = RPC_OWNER(timer, struct rpc_call, timer);
    uint64_t now = clock_monotonic_ns();

    if (now >= call->deadline_ns ||
        (call->taken_by_ns != 0 && now >= call->taken_by_ns && waiting_bytes(call) >= call->left)) {
        expire(timer);
        return;
    }
    if (call->taken_by_ns != 0 && now >= call->taken_by_ns)
        wait_until_taken(call, now);
    else if (now >= idle_at_ns(call))
        rpc_finish(call, ERR_GRPC_UNAVAILABLE, "nothing was sent or received on the stream for too long");
    rpc_call_set_timer(call);
}

void rpc_call_set_timer(struct rpc_call *call)
{
    uint64_t now = clock_monotonic_ns(), due = due_ns(call);

    if (loop_timer_start(call->loop->loop, &call->timer, due > now ? (due - now) / CLOCK_NS_PER_MS : 0, on_timer) < 0)
        rpc_input_refuse(call, -ENOMEM);
}

/* ---- the beginning ---- */

/* False where the server has no memory for one more unfinished message. Streams may hold their part for an hour without
 * sending anything: they get half, so that unary calls still find some. */
static bool expect_messages(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    unsigned max = is_stream(call) ? server->max_receiving - server->max_receiving / 2 : server->max_receiving, used;

    if (call->entry->quiet)
        max = RPC_QUIET_RECEIVING;
    used = atomic_fetch_add(&share_of(call)->receiving, 1);
    call->may_receive = used < max && !share_is_taken(call->conn->receiving[call->entry->quiet], used, max,
                                                      acceptor_connections(server->acceptor));
    if (call->may_receive)
        call->conn->receiving[call->entry->quiet]++;
    else
        atomic_fetch_sub(&share_of(call)->receiving, 1);
    return call->may_receive;
}

static bool intercept_before(struct rpc_call *call)
{
    const struct rpc_server_def *def = &call->loop->server->def;
    size_t count = call->entry->quiet ? 0 : def->interceptor_count;
    bool finished = false;

    for (size_t i = 0; i < count && !finished; i++) {
        if (def->interceptors[i].before != NULL)
            def->interceptors[i].before(call, def->interceptors[i].state);
        finished = is_finished(call);
    }
    return !finished;
}

/* What is wrong with the request's headers; NULL: nothing. */
static const char *fault(const struct rpc_call *call, enum err_grpc *ret_status)
{
    const struct rpc_head *head = &call->head;
    const struct {
        bool is_so;
        enum err_grpc status;
        const char *text;
    } faults[] = {
        {head->too_large, ERR_GRPC_RESOURCE_EXHAUSTED, "the metadata is larger than the server accepts"},
        {head->no_memory, ERR_GRPC_RESOURCE_EXHAUSTED, "the server has too little memory"},
        {head->bad_timeout, ERR_GRPC_INTERNAL, "grpc-timeout is malformed"},
        {head->bad_value, ERR_GRPC_INTERNAL, "binary metadata is not base64"},
        {call->entry->method == NULL, ERR_GRPC_UNIMPLEMENTED, "no such method"},
        {head->encoding == RPC_UNKNOWN_ENCODING, ERR_GRPC_UNIMPLEMENTED, "grpc-encoding is not identity or gzip"},
        {call->deadline_ns <= call->begun_ns, ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long"},
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (faults[i].is_so) {
            *ret_status = faults[i].status;
            return faults[i].text;
        }
    return NULL;
}

static void count_beginning(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    unsigned limit_ms;
    uint64_t limit_ns;

    call->entry = rpc_methods_find(&server->methods, call->head.path);
    limit_ms = is_stream(call) ? server->def.max_stream_ms : server->def.max_call_ms;
    limit_ns = limit_ms * CLOCK_NS_PER_MS;
    call->deadline_ns = call->begun_ns + (call->head.timeout_ns < limit_ns ? call->head.timeout_ns : limit_ns);
    rpc_span_begin(call);
    call->is_fresh = true;
    TAILQ_INSERT_TAIL(&call->loop->fresh, call, fresh);
    rpc_stats_started(&call->entry->stats);
    if (call->entry->quiet && call->in.max > RPC_QUIET_MESSAGE)
        call->in.max = RPC_QUIET_MESSAGE;
    if (server->def.compress_from > 0 && rpc_call_compress(call, true))
        call->out.compress_from = server->def.compress_from;
}

/* Was its connection idle before? */
static bool is_only(const struct rpc_call *call)
{
    return TAILQ_FIRST(&call->conn->calls) == call && TAILQ_NEXT(call, link) == NULL;
}

/* Would it make one connection too many busy? Health and reflection get an eighth of them beyond the others: a server
 * that is full is healthy. */
static bool is_crowded(const struct rpc_call *call, unsigned used)
{
    const struct rpc_server *server = call->loop->server;

    return is_only(call) && acceptor_is_crowded(server->acceptor) &&
           !(call->entry->quiet && used < server->def.max_connections / 8);
}

/* Counts it in; returns whether there are too many. */
static bool count_in(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    unsigned max = call->entry->quiet ? server->def.max_in_flight / 2 + RPC_QUIET_RECEIVING : server->def.max_in_flight;
    unsigned used = atomic_fetch_add(&share_of(call)->in_flight, 1), own = call->conn->in_flight[call->entry->quiet]++;

    return used >= max || share_is_taken(own, used, max, acceptor_connections(server->acceptor)) ||
           is_crowded(call, used);
}

void rpc_call_begin(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    enum err_grpc status;
    const char *text;
    bool too_many;

    assert(call->entry == NULL && !call->opened);
    count_beginning(call);
    too_many = count_in(call);
    if (!call->head.is_post) {
        rpc_response_http(call, 405);
    } else if (!call->head.is_grpc) {
        rpc_response_http(call, 415);
    } else if ((text = fault(call, &status)) != NULL) {
        rpc_finish(call, status, text);
    } else if (too_many) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many calls in flight");
    } else if ((budget_exceeded(&server->memory) && !call->entry->quiet) || !expect_messages(call)) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many requests are being received");
    } else if (intercept_before(call)) {
        call->opened = true;
        if (call->entry->method->on_open != NULL)
            call->entry->method->on_open(call);
        if (acceptor_is_draining(server->acceptor))
            rpc_call_tell_drain(call);
    }
}

void rpc_call_tell_drain(struct rpc_call *call)
{
    if (call->drain_told || !call->opened)
        return;
    call->drain_told = true;
    if (call->entry->method->on_drain != NULL && rpc_input_is_wanted(call))
        call->entry->method->on_drain(call);
}
