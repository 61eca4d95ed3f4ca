/* An exchange: one request, from its arrival to the end of its response.
 *
 *   begun ----------> answered ----------> ended
 *   http_exchange_    http_exchange_       end_exchange, called by h2o when the response has been
 *   begin             answer               sent, or when the stream or connection has gone (any time)
 *
 * Callers: dispatch.c begins an exchange and answers it at once, unless the handler defers; then deferred.c answers it,
 * or its deadline does (504), or the closing server (503). own_answers.c begins exchanges for what h2o answers by
 * itself.
 *
 * Timer: one for all exchanges of a worker, which stand in worker->exchanges in the order of their deadlines; all have
 * the same length, so a new one goes to the end. Until it is answered, the deadline is the answer's; a deferred
 * exchange gets a second one for its sending. Loop's thread only; no locks. */
#include "clock.h"
#include "err.h"
#include "http_internal.h"
#include "net_socket.h"
#include "share.h"
#include <sys/ioctl.h>

#define STATUS_GONE 499 /* the client went before there was an answer */
#define MAX_RESETS  1000
#define HEAD_BYTES  512 /* of a reply in the kernel, about */

/* ---- the end ---- */

/* Whoever answers a deferred request from now on finds that it has gone. */
static struct http_deferral *forget_deferral(struct http_exchange *exchange)
{
    struct http_deferral *deferral = exchange->deferral;

    if (deferral != NULL)
        deferral->exchange = NULL;
    exchange->deferral = NULL;
    return deferral;
}

/* Tells the handler that its answer is not wanted any more. It may answer within. */
static void abandon_deferral(struct http_exchange *exchange)
{
    struct http_deferral *deferral = forget_deferral(exchange);
    void (*gone)(void *arg) = deferral != NULL ? deferral->deferred.gone : NULL;

    if (gone == NULL)
        return;
    deferral->deferred.gone = NULL;
    gone(deferral->deferred.arg);
}

/* HTTP/2 lets a client give up requests faster than it lets us bound them: one that does little else is cut off. */
static void count_reset(struct http_exchange *exchange)
{
    struct http_conn *conn = http_conn_of(exchange->h2o);

    if (exchange->answered)
        conn->resets -= conn->resets > 0;
    else if (++conn->resets > MAX_RESETS)
        http_conn_cut(conn);
}

/* Bytes that h2o has not read, or that the client still owes. */
static bool has_more_input(const struct http_conn *conn)
{
    int len = 0;

    return !http_framing_is_idle(&conn->framing) ||
           (ioctl(h2o_socket_get_fd(conn->socket), FIONREAD, &len) == 0 && len > 0);
}

/* Over HTTP/1 h2o now reads on, or closes the connection. */
static void end_http1(const struct http_exchange *exchange)
{
    struct http_conn *conn = http_conn_of(exchange->h2o);

    http_intake_resume(conn);
    if (exchange->answered && !exchange->h2o->http1_is_persistent && !conn->cut &&
        (has_more_input(conn) || http_linger_is_owed(conn)))
        http_linger(conn);
}

#define MIN_TAKEN 1024 /* bytes: less is counted with its request */

void http_exchange_take(struct http_exchange *exchange, size_t len)
{
    exchange->asked += len;
    len = exchange->asked - exchange->taken;
    if (len < MIN_TAKEN)
        return;
    exchange->taken += len;
    http_conn_of(exchange->h2o)->heads += len;
    budget_add(&exchange->worker->server->memory, len);
}

static void give_back(const struct http_exchange *exchange)
{
    http_conn_of(exchange->h2o)->heads -= exchange->taken;
    budget_give(&exchange->worker->server->memory, exchange->taken);
}

void http_exchange_waits_no_more(struct http_exchange *exchange)
{
    if (!h2o_linklist_is_linked(&exchange->waiting))
        return;
    h2o_linklist_unlink(&exchange->waiting);
    http_conn_of(exchange->h2o)->waiting--;
}

/* h2o disposes of the request's memory when the response has been sent or its stream or connection has gone. */
static void end_exchange(void *memory)
{
    struct http_exchange *exchange = *(struct http_exchange **)memory;
    struct http_server *server = exchange->worker->server;
    struct http_conn *conn = http_conn_of(exchange->h2o);
    uint64_t latency_ns = clock_monotonic_ns() - exchange->start_ns;

    if (h2o_linklist_is_linked(&exchange->link)) /* not that of a stream */
        h2o_linklist_unlink(&exchange->link);
    abandon_deferral(exchange);
    http_exchange_waits_no_more(exchange);
    if (!exchange->answered)
        exchange->status = STATUS_GONE;
    count_reset(exchange);
    http_record(exchange, latency_ns);
    if (exchange->taken > 0)
        give_back(exchange);
    if (exchange->stream != NULL)
        http_stream_close(exchange);
    if (exchange->reply != NULL)
        conn->replies -= exchange->reply->charged;
    http_reply_free(exchange->reply);
    if (--conn->exchanges == 0) {
        acceptor_idle(&conn->place);
        h2o_linklist_unlink(&conn->link);
        h2o_linklist_insert(&exchange->worker->conns, &conn->link);
    }
    if (exchange->h2o->version < 0x200)
        end_http1(exchange);
    if (exchange->body_len > 0)
        atomic_fetch_sub_explicit(&server->bodies, exchange->body_len, memory_order_relaxed);
    atomic_fetch_sub_explicit(&server->in_flight, 1, memory_order_relaxed);
}

/* ---- deadlines ---- */

static void arm_timer(struct http_worker *worker);

static void set_deadline(struct http_exchange *exchange, uint64_t now_ns)
{
    struct http_worker *worker = exchange->worker;

    exchange->deadline_ns = now_ns + worker->server->def.request_timeout_ms * CLOCK_NS_PER_MS;
    if (h2o_linklist_is_linked(&exchange->link))
        h2o_linklist_unlink(&exchange->link);
    h2o_linklist_insert(&worker->exchanges, &exchange->link); /* at the end: all have the same time */
    if (!loop_timer_running(&worker->exchange_timer))
        arm_timer(worker);
}

static struct http_exchange *first_exchange(struct http_worker *worker)
{
    if (h2o_linklist_is_empty(&worker->exchanges))
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct http_exchange, link, worker->exchanges.next);
}

/* ---- the beginning ---- */

/* Counts it in; returns whether there are too many, or too much. */
static bool count_in(struct http_server *server, const struct http_exchange *exchange)
{
    struct http_conn *conn = http_conn_of(exchange->h2o);
    unsigned own = conn->exchanges++;
    size_t len = exchange->body_len;
    unsigned before = atomic_fetch_add_explicit(&server->in_flight, 1, memory_order_relaxed);
    size_t bytes_before = len > 0 ? atomic_fetch_add_explicit(&server->bodies, len, memory_order_relaxed) : 0;

    if (conn->is_http1)
        conn->begun_ms = 0; /* it is whole, and the only one */
    acceptor_busy(&conn->place);
    return before >= server->def.max_in_flight || bytes_before + len > server->def.max_bodies ||
           share_is_taken(own, before, server->def.max_in_flight, acceptor_connections(server->acceptor)) ||
           (own == 0 && acceptor_is_crowded(server->acceptor));
}

struct http_exchange *http_exchange_begin(h2o_req_t *h2o, const struct http_source *source)
{
    struct http_exchange *exchange = h2o_compat_alloc(&h2o->pool, sizeof(*exchange));
    struct http_exchange **end = h2o_mem_alloc_shared(&h2o->pool, sizeof(*end), end_exchange); /* before the pool's */
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, h2o, h2o->conn->ctx);

    *end = exchange;
    *exchange = (struct http_exchange){
        .req = {.source = source,
                .state = worker->server->def.state,
                .loop = worker->loop,
                .coded_tags = worker->server->def.compress,
                .method = {h2o->input.method.base, h2o->input.method.len},
                .body = {h2o->entity.base, h2o->entity.len}},
        .body_len = h2o->entity.len,
        .h2o = h2o,
        .worker = worker,
        .start_ns = clock_monotonic_ns(),
    };
    exchange->method = http_method_of(exchange->req.method);
    http_target_split((struct str){h2o->input.path.base, h2o->input.path.len}, &exchange->req);
    exchange->path = http_paths_match(&worker->server->paths, exchange->req.path, exchange->req.params);
    http_accept_trace(&exchange->req, worker->server->def.spans);
    set_deadline(exchange, exchange->start_ns);
    exchange->too_many = count_in(worker->server, exchange);
    return exchange;
}

/* ---- answering ---- */

static void on_proceed(h2o_generator_t *generator, h2o_req_t *h2o)
{
    assert(!"a response is sent at once");
}

/* Also what tells our responses from h2o's own. */
static const h2o_generator_t generator = {on_proceed, NULL};

static void add_header(h2o_req_t *h2o, const char *name, const char *value, size_t len)
{
    h2o_add_header_by_str(&h2o->pool, &h2o->res.headers, name, strlen(name), 1, NULL, value, len);
}

bool http_exchange_is_ours(const h2o_req_t *h2o)
{
    return h2o->_generator == &generator || (h2o->_generator != NULL && http_stream_is(h2o->_generator));
}

static bool asks_to_close(const h2o_req_t *h2o)
{
    ssize_t at = -1;

    while ((at = h2o_find_header(&h2o->headers, H2O_TOKEN_CONNECTION, at)) >= 0) {
        h2o_iovec_t value = h2o->headers.entries[at].value;

        if (h2o_contains_token(value.base, value.len, H2O_STRLIT("close"), ','))
            return true;
    }
    return false;
}

static bool has_body(int status)
{
    return status != 204 && status != 304;
}

#define ADD_HEADER(h2o_, name_, value_) add_header(h2o_, name_, "" value_, sizeof(value_) - 1)

static void compress(struct http_exchange *exchange, struct http_reply *reply)
{
    enum http_compressed how = http_compress(exchange, reply);

    if (how == HTTP_COMPRESSED)
        ADD_HEADER(exchange->h2o, "content-encoding", "gzip");
    if (how != HTTP_NEVER_COMPRESSED)
        ADD_HEADER(exchange->h2o, "vary", "accept-encoding");
}

static void allow_origin(const struct http_exchange *exchange, const struct http_cors *cors)
{
    struct str origin;

    if (!cors->any)
        ADD_HEADER(exchange->h2o, "vary", "origin");
    if (!http_cors_allows(cors, &exchange->req, &origin))
        return;
    add_header(exchange->h2o, "access-control-allow-origin", origin.s, origin.len);
    if (!cors->credentials) {
        ADD_HEADER(exchange->h2o, "access-control-expose-headers", "*");
        return;
    }
    ADD_HEADER(exchange->h2o, "access-control-allow-credentials", "true");
    ADD_HEADER(exchange->h2o, "access-control-expose-headers",
               "age, content-range, etag, link, location, retry-after, www-authenticate");
}

static void add_headers(h2o_req_t *h2o, const struct http_reply *reply)
{
    if (reply->content_type != NULL)
        h2o_add_header(&h2o->pool, &h2o->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, reply->content_type,
                       strlen(reply->content_type));
    for (unsigned i = 0; i < reply->header_count; i++)
        add_header(h2o, reply->headers[i].name, reply->text.data + reply->headers[i].at, reply->headers[i].len);
}

/* From the moment on that it is said, also where a worker has not heard of it yet. */
static bool is_leaving(const struct http_server *server)
{
    return atomic_load_explicit(&server->discouraged, memory_order_relaxed) || acceptor_is_draining(server->acceptor);
}

void http_exchange_respond(struct http_exchange *exchange, struct http_reply *take_reply, h2o_iovec_t *ret_body)
{
    struct http_reply *reply = http_reply_render(take_reply, &exchange->req.trace);
    const struct http_server *server = exchange->worker->server;
    h2o_req_t *h2o = exchange->h2o;

    assert(!exchange->answered && exchange->reply == NULL);
    exchange->answered = true;
    exchange->reply = reply;
    exchange->status = exchange->client_left ? STATUS_GONE : reply->status;
    if (server->def.compress)
        compress(exchange, reply);
    exchange->worker->moved += HEAD_BYTES + reply->body_len;
    *ret_body = h2o_iovec_init(reply->body, reply->body_len);
    h2o->res.status = exchange->status;
    h2o->res.reason = err_http_reason(exchange->status);
    if (is_leaving(server) || asks_to_close(h2o))
        h2o->http1_is_persistent = 0; /* h2o looks only when it reads the request, and at the last Connection only */
    h2o_compat_add_date(h2o);
    add_headers(h2o, reply);
    if (server->def.cors != NULL)
        allow_origin(exchange, server->def.cors);
    if (has_body(exchange->status) && reply->stream == NULL)
        h2o->res.content_length = ret_body->len;
    if (exchange->method == HTTP_HEAD || !has_body(exchange->status))
        ret_body->len = 0;
}

/* A stream has no time by which it must be sent: stream.c has bounds of its own. */
static void begin_stream(struct http_exchange *exchange)
{
    assert(exchange->stream == exchange->reply->stream);
    h2o_linklist_unlink(&exchange->link);
    exchange->head_ns = clock_monotonic_ns() - exchange->start_ns + 1;
    http_stream_begin(exchange, exchange->method == HTTP_HEAD || !has_body(exchange->status));
}

void http_exchange_answer(struct http_exchange *exchange, struct http_reply *take_reply)
{
    h2o_iovec_t body;

    forget_deferral(exchange);
    http_exchange_respond(exchange, take_reply, &body);
    if (exchange->reply->stream != NULL) {
        begin_stream(exchange);
        return;
    }
    http_conn_of(exchange->h2o)->replies += exchange->reply->charged;
    if (exchange->was_deferred || exchange->waited)
        set_deadline(exchange, clock_monotonic_ns()); /* the client has as long again to take it */
    h2o_start_response(exchange->h2o, (h2o_generator_t *)&generator);
    h2o_send(exchange->h2o, &body, body.len > 0, H2O_SEND_STATE_FINAL);
}

/* ---- when the time is up ---- */

/* No answer in time: 504. Not taken by the client in time: its connection is cut. */
static void expire(struct http_exchange *exchange)
{
    if (!exchange->answered) {
        abandon_deferral(exchange);
        http_exchange_answer(
            exchange, http_problem(504, "no answer within %u ms", exchange->worker->server->def.request_timeout_ms));
    } else {
        set_deadline(exchange, clock_monotonic_ns()); /* cutting ends it at h2o's next turn */
        http_conn_cut(http_conn_of(exchange->h2o));
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, exchange_timer, timer);
    uint64_t now_ns = clock_monotonic_ns();
    struct http_exchange *exchange;

    while ((exchange = first_exchange(worker)) != NULL && exchange->deadline_ns <= now_ns)
        expire(exchange);
    arm_timer(worker);
}

static void arm_timer(struct http_worker *worker)
{
    const struct http_exchange *exchange = first_exchange(worker);
    uint64_t now_ns = clock_monotonic_ns();

    if (exchange == NULL)
        return;
    /* In want of memory the next exchange tries again. */
    loop_timer_start(worker->loop, &worker->exchange_timer,
                     exchange->deadline_ns > now_ns ? (exchange->deadline_ns - now_ns) / CLOCK_NS_PER_MS : 0, on_timer);
}

void http_exchanges_fail(struct http_worker *worker)
{
    for (h2o_linklist_t *link = worker->exchanges.next, *next; link != &worker->exchanges; link = next) {
        struct http_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct http_exchange, link, link);
        next = link->next;
        if (exchange->answered)
            continue;
        abandon_deferral(exchange);
        http_exchange_answer(exchange, http_problem(503, "the server is closing"));
    }
    http_streams_cut(worker);
}

/* ---- clients that leave ---- */

/* While a request of HTTP/1 is being answered h2o does not read, and so does not hear that its client has left. */
static bool has_left(const struct http_exchange *exchange)
{
    return exchange->deferral != NULL && exchange->h2o->version < 0x200 &&
           net_peer_has_ended(h2o_socket_get_fd(http_conn_of(exchange->h2o)->socket));
}

static void leave(struct http_exchange *exchange)
{
    exchange->client_left = true;
    http_conn_cut(http_conn_of(exchange->h2o));
    abandon_deferral(exchange);
    http_exchange_answer(exchange, http_problem(503, "the client has gone")); /* h2o then finds the connection cut */
}

void http_exchanges_look(struct http_worker *worker)
{
    for (h2o_linklist_t *link = worker->exchanges.next, *next; link != &worker->exchanges; link = next) {
        struct http_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct http_exchange, link, link);

        next = link->next;
        if (has_left(exchange))
            leave(exchange);
    }
    http_streams_look(worker);
}
