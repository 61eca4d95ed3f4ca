/* What is recorded of an exchange when it has ended: the RED metrics of its route, and its log line. */
#include "clock.h"
#include "http_internal.h"

/* path NULL: unknown. */
static void count(struct http_worker *worker, const struct http_path *path, enum http_method method, int status,
                  uint64_t latency_ns, const struct trace *trace)
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
    metrics_observe_traced(red->duration, (double)latency_ns / (double)CLOCK_NS_PER_S, trace);
    metrics_add(http_status_series(&red->requests, server->requests, status, labels, 2), 1);
}

static struct str logged(h2o_iovec_t value, size_t limit)
{
    return log_cut((struct str){value.base, value.len}, limit);
}

static struct str logged_header(const h2o_req_t *h2o, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(&h2o->headers, token, -1);

    if (at < 0)
        return STR_NULL;
    return logged(h2o->headers.entries[at].value, LOG_MAX_HEADER);
}

/* Looked up for the first line of a connection. */
static struct str local_ip(struct http_conn *conn)
{
    if (conn->local_ip[0] == '\0')
        net_local_ip(h2o_socket_get_fd(conn->socket), conn->local_ip);
    return str_of(conn->local_ip);
}

static void write_line(const struct http_exchange *exchange, uint64_t latency_ns)
{
    const h2o_req_t *h2o = exchange->h2o;
    const struct http_reply *reply = exchange->reply;
    struct http_conn *conn = http_conn_of(h2o);
    char client_ip[NET_IP_SIZE];
    struct log_request line = {
        .method = exchange->req.method,
        .url = logged(h2o->input.path, LOG_MAX_URL),
        .user_agent = logged_header(h2o, H2O_TOKEN_USER_AGENT),
        .referer = logged_header(h2o, H2O_TOKEN_REFERER),
        .scheme = http_client_scheme(exchange),
        .host = logged(h2o->input.authority, LOG_MAX_HOST),
        .server_ip = local_ip(conn),
        .protocol = h2o->version >= 0x200   ? STR("HTTP/2")
                    : h2o->version == 0x100 ? STR("HTTP/1.0")
                                            : STR("HTTP/1.1"),
        .status = exchange->status,
        .request_size = h2o->entity.len,
        .response_size = h2o->bytes_sent,
        .latency_ns = latency_ns,
    };

    http_client_ip(exchange, client_ip);
    line.remote_ip = str_of(client_ip);
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
    if (server->def.unrecorded || (route != NULL && route->unrecorded && exchange->status < 400))
        return;
    count(exchange->worker, exchange->path, exchange->method, exchange->status, answered_ns, &exchange->req.trace);
    if (server->def.log != NULL)
        write_line(exchange, latency_ns);
    http_span_end(exchange, latency_ns);
    if (route != NULL && route->observe != NULL)
        route->observe(server->def.state, &(struct http_observed){.route = route,
                                                                  .method = http_method_name(exchange->method),
                                                                  .status = exchange->status,
                                                                  .latency_ns = answered_ns});
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
    count(conn->worker, NULL, HTTP_OTHER_METHOD, reply->status, latency_ns, NULL); /* it has no span */
    if (conn->worker->server->def.log != NULL)
        log_request(conn->worker->server->def.log, trace, &line);
}
