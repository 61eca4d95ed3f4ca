/* What is recorded of an exchange when it has ended: the RED metrics of its route, and its log line. */
#include "clock.h"
#include "http_internal.h"

#define MAX_LOGGED_URL    2048
#define MAX_LOGGED_HEADER 512

/* path NULL: unknown. */
static void count(struct http_worker *worker, const struct http_path *path, enum http_method method, int status,
                  uint64_t latency_ns)
{
    struct http_server *server = worker->server;
    size_t index = path != NULL ? (size_t)(path - server->paths.paths) : server->paths.count;
    struct http_red *red = &worker->red[index * HTTP_METHODS + method];
    const struct str labels[] = {str_of(http_method_name(method)),
                                 path != NULL ? str_of(path->template) : STR("other")};

    if (server->def.metrics == NULL)
        return;
    if (red->duration == NULL)
        red->duration = metrics_series(server->durations, labels);
    metrics_observe(red->duration, (double)latency_ns / (double)CLOCK_NS_PER_S);
    metrics_add(http_status_series(&red->requests, server->requests, status, labels, 2), 1);
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

static void write_line(const struct http_exchange *exchange, uint64_t latency_ns)
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

void http_record(const struct http_exchange *exchange, uint64_t latency_ns)
{
    const struct http_server *server = exchange->worker->server;
    const struct http_route *route = exchange->req.route;
    /* A stream may take hours, which says nothing of how fast it was answered. */
    uint64_t answered_ns = exchange->head_ns > 0 ? exchange->head_ns : latency_ns;

    assert(exchange->status >= 200 && exchange->status <= 599);
    if (!server->def.unrecorded)
        count(exchange->worker, exchange->path, exchange->method, exchange->status, answered_ns);
    if (server->def.log != NULL && !server->def.unrecorded)
        write_line(exchange, latency_ns);
    http_span_end(exchange, latency_ns);
    if (route != NULL && route->observe != NULL)
        route->observe(server->def.state, route, exchange->status, answered_ns);
}

void http_record_refusal(const struct http_conn *conn, const struct http_reply *reply, const struct trace *trace,
                         uint64_t latency_ns)
{
    struct log_request line = {
        .message = STR("malformed request"),
        .remote_ip = str_of(conn->remote_ip),
        .status = reply->status,
        .response_size = reply->body_len,
        .latency_ns = latency_ns,
        .detail = str_of(conn->framing.reason),
    };

    if (conn->worker->server->def.unrecorded)
        return;
    count(conn->worker, NULL, HTTP_OTHER_METHOD, reply->status, latency_ns);
    if (conn->worker->server->def.log != NULL)
        log_request(conn->worker->server->def.log, trace, &line);
}
