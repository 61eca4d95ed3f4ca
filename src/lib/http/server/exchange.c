#include "clock.h"
#include "err.h"
#include "http_auth.h"
#include "http_internal.h"
#include <errno.h>

#define MAX_LOGGED_URL    2048
#define MAX_LOGGED_HEADER 512
#define STATUS_GONE       499 /* the client went before there was an answer */
#define MAX_RESETS        1000

struct http_deferred {
    struct loop_message message;
    struct http_exchange *exchange; /* loop's thread; NULL once the request has been answered otherwise or has gone */
    bool must_be_sent;              /* the reply: its request may have had an effect */
    struct http_gate *gate;
    struct loop *loop;
    struct http_reply *reply;
    struct trace trace;
    uint64_t deadline_ns;
};

static struct http_worker *worker_of(h2o_req_t *h2o)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_worker, h2o, h2o->conn->ctx);
}

/* ---- the end ---- */

static struct http_red *red_of(const struct http_exchange *exchange)
{
    const struct http_paths *paths = &exchange->worker->server->paths;
    size_t path = exchange->path != NULL ? (size_t)(exchange->path - paths->paths) : paths->count;

    return &exchange->worker->red[path * HTTP_METHODS + exchange->method];
}

static void count_exchange(const struct http_exchange *exchange, uint64_t latency_ns)
{
    struct http_server *server = exchange->worker->server;
    struct http_red *red = red_of(exchange);
    const struct str labels[] = {str_of(http_method_name(exchange->method)),
                                 exchange->path != NULL ? str_of(exchange->path->template) : STR("other")};

    if (server->def.metrics == NULL)
        return;
    if (red->duration == NULL)
        red->duration = metrics_series(server->durations, labels);
    metrics_observe(red->duration, (double)latency_ns / (double)CLOCK_NS_PER_S);
    metrics_add(http_status_series(&red->requests, server->requests, exchange->status, labels, 2), 1);
}

static struct str at_most(size_t max, const char *s, size_t len)
{
    return (struct str){s, len < max ? len : max};
}

static struct str logged_header(const h2o_req_t *h2o, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(&h2o->headers, token, -1);

    if (at < 0)
        return STR_NULL;
    return at_most(MAX_LOGGED_HEADER, h2o->headers.entries[at].value.base, h2o->headers.entries[at].value.len);
}

static void log_exchange(const struct http_exchange *exchange, uint64_t latency_ns)
{
    const h2o_req_t *h2o = exchange->h2o;
    const struct http_reply *reply = exchange->reply;
    struct log_request line = {
        .method = exchange->req.method,
        .url = at_most(MAX_LOGGED_URL, h2o->input.path.base, h2o->input.path.len),
        .user_agent = logged_header(h2o, H2O_TOKEN_USER_AGENT),
        .referer = logged_header(h2o, H2O_TOKEN_REFERER),
        .remote_ip = str_of(http_conn_of(exchange->h2o)->remote_ip),
        .protocol = h2o->version >= 0x200   ? STR("HTTP/2")
                    : h2o->version == 0x100 ? STR("HTTP/1.0")
                                            : STR("HTTP/1.1"),
        .status = exchange->status,
        .request_size = h2o->entity.len,
        .response_size = h2o->bytes_sent,
        .latency_ns = latency_ns,
    };

    if (reply != NULL && reply->problem)
        line.detail = (struct str){reply->text.data, reply->detail_len};
    log_request(exchange->worker->server->def.log, &exchange->req.trace, &line);
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

/* h2o disposes of the request's memory when the response has been sent or its stream or connection has gone. */
static void end_exchange(void *memory)
{
    struct http_exchange *exchange = memory;
    struct http_server *server = exchange->worker->server;
    uint64_t latency_ns = clock_monotonic_ns() - exchange->start_ns;

    h2o_linklist_unlink(&exchange->link);
    if (exchange->deferred != NULL)
        exchange->deferred->exchange = NULL;
    if (!exchange->answered)
        exchange->status = STATUS_GONE;
    count_reset(exchange);
    count_exchange(exchange, latency_ns);
    if (server->def.log != NULL)
        log_exchange(exchange, latency_ns);
    if (exchange->req.route != NULL && exchange->req.route->observe != NULL)
        exchange->req.route->observe(server->def.state, exchange->req.route, exchange->status, latency_ns);
    http_conn_of(exchange->h2o)->replies -= exchange->reply != NULL ? exchange->reply->charged : 0;
    http_reply_free(exchange->reply);
    http_conn_of(exchange->h2o)->exchanges--;
    atomic_fetch_sub_explicit(&server->bodies, exchange->req.body.len, memory_order_relaxed);
    atomic_fetch_sub_explicit(&server->in_flight, 1, memory_order_relaxed);
}

/* ---- the beginning ---- */

/* A target may also be a whole URL ("GET http://host/path"): what counts is its path. */
static struct str strip_origin(struct str target)
{
    static const struct str schemes[] = {STR("http://"), STR("https://")};
    const char *slash;

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = schemes[i].len;
        if (target.len < len || !str_caseeq((struct str){target.s, len}, schemes[i]))
            continue;
        slash = memchr(target.s + len, '/', target.len - len);
        return slash != NULL ? (struct str){slash, target.len - (size_t)(slash - target.s)} : STR("/");
    }
    return target;
}

static void split_target(struct str target, struct http_req *req)
{
    const char *mark;

    target = strip_origin(target);
    mark = target.len > 0 ? memchr(target.s, '?', target.len) : NULL;
    req->path = mark != NULL ? (struct str){target.s, (size_t)(mark - target.s)} : target;
    req->query = mark != NULL ? (struct str){mark + 1, target.len - req->path.len - 1} : STR("");
}

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

/* Counts it in; returns whether there are too many, or too much. */
static bool count_in(struct http_server *server, const struct http_exchange *exchange)
{
    size_t len = exchange->req.body.len;
    unsigned before = atomic_fetch_add_explicit(&server->in_flight, 1, memory_order_relaxed);
    size_t bytes_before = atomic_fetch_add_explicit(&server->bodies, len, memory_order_relaxed);

    http_conn_of(exchange->h2o)->exchanges++;
    return before >= server->def.max_in_flight || bytes_before + len > server->def.max_bodies;
}

static struct http_exchange *begin_exchange(h2o_req_t *h2o)
{
    struct http_exchange *exchange = h2o_mem_alloc_shared(&h2o->pool, sizeof(*exchange), end_exchange);
    struct http_worker *worker = worker_of(h2o);

    *exchange = (struct http_exchange){
        .req = {.state = worker->server->def.state,
                .loop = worker->loop,
                .method = {h2o->input.method.base, h2o->input.method.len},
                .body = {h2o->entity.base, h2o->entity.len}},
        .h2o = h2o,
        .worker = worker,
        .start_ns = clock_monotonic_ns(),
    };
    exchange->method = http_method_of(exchange->req.method);
    split_target((struct str){h2o->input.path.base, h2o->input.path.len}, &exchange->req);
    exchange->path = http_paths_match(&worker->server->paths, exchange->req.path, exchange->req.params);
    trace_begin(http_header(&exchange->req, "traceparent"), false, &exchange->req.trace);
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

static bool has_body(int status)
{
    return status != 204 && status != 304;
}

/* Status, reason and headers; the body's bytes in ret_body: none for a HEAD request. */
static void set_response(struct http_exchange *exchange, h2o_iovec_t *ret_body)
{
    static const char last_resort[] = "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}";
    h2o_req_t *h2o = exchange->h2o;
    struct http_reply *reply = exchange->reply;

    if (reply != NULL && reply->problem && http_reply_render(reply, &exchange->req.trace) < 0)
        exchange->reply = reply = http_reply_free(reply);
    exchange->status = reply != NULL ? reply->status : 500;
    *ret_body = reply != NULL ? h2o_iovec_init(reply->body, reply->body_len)
                              : h2o_iovec_init(last_resort, sizeof(last_resort) - 1);
    h2o->res.status = exchange->status;
    h2o->res.reason = err_http_reason(exchange->status);
    if (h2o->conn->ctx->shutdown_requested)
        h2o->http1_is_persistent = 0; /* h2o looked only when it read the request */
    h2o_compat_add_date(h2o);
    if (reply == NULL)
        add_header(h2o, "content-type", H2O_STRLIT("application/problem+json"));
    else if (reply->content_type != NULL)
        add_header(h2o, "content-type", reply->content_type, strlen(reply->content_type));
    for (unsigned i = 0; reply != NULL && i < reply->header_count; i++)
        add_header(h2o, reply->headers[i].name, reply->text.data + reply->headers[i].at, reply->headers[i].len);
    if (has_body(exchange->status))
        h2o->res.content_length = ret_body->len;
    if (exchange->method == HTTP_HEAD || !has_body(exchange->status))
        ret_body->len = 0;
}

/* Whether the client can repeat the request without any harm (RFC 9110, 9.2.1). */
static bool is_safe(const struct http_exchange *exchange)
{
    return exchange->method == HTTP_GET || exchange->method == HTTP_HEAD || exchange->method == HTTP_OPTIONS;
}

static void answer(struct http_exchange *exchange, struct http_reply *take_reply)
{
    h2o_iovec_t body;

    exchange->answered = true;
    exchange->reply = take_reply;
    if (exchange->deferred != NULL)
        exchange->deferred->exchange = NULL;
    exchange->deferred = NULL;
    set_response(exchange, &body);
    if (exchange->reply != NULL)
        http_conn_of(exchange->h2o)->replies += exchange->reply->charged;
    if (exchange->was_deferred)
        set_deadline(exchange, clock_monotonic_ns()); /* the client has as long again to take it */
    h2o_start_response(exchange->h2o, (h2o_generator_t *)&generator);
    h2o_send(exchange->h2o, &body, body.len > 0, H2O_SEND_STATE_FINAL);
}

/* ---- time limits ---- */

static struct http_exchange *first_exchange(struct http_worker *worker)
{
    if (h2o_linklist_is_empty(&worker->exchanges))
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct http_exchange, link, worker->exchanges.next);
}

/* No answer in time: 504. Not taken by the client in time: its connection is cut. */
static void expire(struct http_exchange *exchange)
{
    if (!exchange->answered) {
        answer(exchange, http_problem(504, "no answer within %u ms", exchange->worker->server->def.request_timeout_ms));
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
        if (!exchange->answered)
            answer(exchange, http_problem(503, "the server is closing"));
    }
}

/* ---- answering later ---- */

static void free_deferred(struct http_deferred *deferred) /* gate locked; unlocks */
{
    http_gate_unref(deferred->gate);
    http_reply_free(deferred->reply);
    free(deferred);
}

static void deliver(struct loop_message *message)
{
    struct http_deferred *deferred = (struct http_deferred *)message;
    struct http_reply *reply = deferred->reply;

    if (deferred->exchange != NULL) {
        deferred->reply = NULL;
        answer(deferred->exchange, reply);
    }
    pthread_mutex_lock(&deferred->gate->lock);
    free_deferred(deferred);
}

struct http_deferred *http_defer(struct http_req *req)
{
    struct http_exchange *exchange = (struct http_exchange *)req;
    struct http_deferred *deferred = malloc(sizeof(*deferred));

    assert(!exchange->was_deferred);
    if (deferred == NULL)
        return NULL;
    *deferred = (struct http_deferred){.message = {.run = deliver},
                                       .exchange = exchange,
                                       .must_be_sent = !is_safe(exchange),
                                       .gate = exchange->worker->gate,
                                       .loop = req->loop,
                                       .trace = req->trace,
                                       .deadline_ns = exchange->deadline_ns};
    pthread_mutex_lock(&deferred->gate->lock);
    deferred->gate->references++;
    pthread_mutex_unlock(&deferred->gate->lock);
    exchange->deferred = deferred;
    exchange->was_deferred = true;
    return deferred;
}

void http_answer(struct http_deferred *take_deferred, struct http_reply *take_reply)
{
    struct http_gate *gate = take_deferred->gate;
    bool here;

    take_deferred->reply = take_reply;
    pthread_mutex_lock(&gate->lock);
    if (gate->loop == NULL) {
        free_deferred(take_deferred);
        return;
    }
    take_deferred->reply = http_reply_charge(take_reply, gate->server, take_deferred->must_be_sent);
    here = loop_is_current(gate->loop);
    if (!here)
        loop_post(gate->loop, &take_deferred->message);
    pthread_mutex_unlock(&gate->lock);
    if (here)
        deliver(&take_deferred->message);
}

const struct trace *http_deferred_trace(const struct http_deferred *deferred)
{
    return &deferred->trace;
}

uint64_t http_deferred_deadline_ns(const struct http_deferred *deferred)
{
    return deferred->deadline_ns;
}

struct loop *http_deferred_loop(const struct http_deferred *deferred)
{
    return deferred->loop;
}

/* ---- dispatch ---- */

static int decode_params(struct http_exchange *exchange)
{
    for (unsigned i = 0; i < exchange->path->param_count; i++) {
        struct str *param = &exchange->req.params[i];
        char *to = h2o_compat_alloc(&exchange->h2o->pool, param->len);
        if (http_percent_decode(*param, false, to, &param->len) < 0)
            return -EINVAL;
        param->s = to;
    }
    return 0;
}

static struct http_reply *other_method(const struct http_exchange *exchange)
{
    struct http_reply *reply = exchange->method == HTTP_OPTIONS
                                   ? http_reply_new(204)
                                   : http_problem(405, "the methods of this resource are %s", exchange->path->allow);

    return http_set_header(reply, "allow", "%s", exchange->path->allow);
}

static const struct http_route *route_of(const struct http_exchange *exchange)
{
    const struct http_route *route = exchange->path->routes[exchange->method];

    return route == NULL && exchange->method == HTTP_HEAD ? exchange->path->routes[HTTP_GET] : route;
}

static struct http_reply *dispatch(struct http_exchange *exchange)
{
    struct http_auth *auth = exchange->worker->server->def.auth;
    struct http_reply *refusal;

    if (exchange->path == NULL)
        return http_problem(404, "no such path");
    if ((exchange->req.route = route_of(exchange)) == NULL)
        return other_method(exchange);
    if (exchange->worker->closing)
        return http_problem(503, "the server is closing");
    if (exchange->too_many)
        return http_set_header(http_problem(503, "too many requests in flight"), "retry-after", "1");
    if (http_watch_is_full(exchange->worker))
        return http_watch_refuse(exchange->worker->server);
    if (auth != NULL &&
        !http_auth_admits(auth, http_header(&exchange->req, "authorization"), clock_monotonic_ns(), &refusal))
        return refusal;
    if (exchange->req.body.len > exchange->req.route->max_body)
        return http_problem(413, "the body is longer than %zu bytes", exchange->req.route->max_body);
    if (decode_params(exchange) < 0)
        return http_problem(400, "the path is badly encoded");
    return exchange->req.route->handler(&exchange->req);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *h2o)
{
    struct http_exchange *exchange = begin_exchange(h2o);
    struct http_reply *reply = dispatch(exchange);

    if (reply == NULL && exchange->was_deferred)
        return 0;
    assert(!exchange->was_deferred);
    answer(exchange, http_reply_charge(reply, exchange->worker->server, !is_safe(exchange)));
    return 0;
}

/* ---- what h2o answers by itself: 400, 413, 417 ---- */

struct problem_stream {
    h2o_ostream_t super;
    h2o_compat_sendvec body;
};

static void send_problem(h2o_ostream_t *stream, h2o_req_t *h2o, h2o_compat_sendvec *bufs, size_t count,
                         h2o_send_state_t state)
{
    struct problem_stream *problem = (struct problem_stream *)stream;

    h2o_ostream_send_next(stream, h2o, &problem->body, problem->body.len > 0, state);
}

/* Its text becomes a problem, and it is counted and logged like any other. */
static void on_response(h2o_filter_t *filter, h2o_req_t *h2o, h2o_ostream_t **slot)
{
    if (h2o->_generator != &generator) {
        struct http_exchange *exchange = begin_exchange(h2o);
        struct problem_stream *problem = (void *)h2o_compat_add_ostream(h2o, sizeof(*problem), slot);
        h2o_iovec_t body;

        exchange->answered = true;
        exchange->reply = http_problem(h2o->res.status, "%s", h2o->res.reason);
        h2o->res.headers.size = 0;
        set_response(exchange, &body);
        problem->super.do_send = send_problem;
        problem->body = h2o_compat_send_bytes(body.base, body.len);
        slot = &problem->super.next;
    }
    h2o_setup_next_ostream(h2o, slot);
}

void http_exchange_register(h2o_hostconf_t *host)
{
    /* The fallback serves what no path is registered for: here, everything. */
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_filter(&host->fallback_path, sizeof(h2o_filter_t))->on_setup_ostream = on_response;
}
