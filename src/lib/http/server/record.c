/* What is recorded of an exchange when it has ended: the RED metrics of its route, and its log line. */
#include "clock.h"
#include "http_internal.h"

#define MAX_LOGGED_URL    2048
#define MAX_LOGGED_HEADER 512

static struct http_red *red_of(const struct http_exchange *exchange)
{
    const struct http_paths *paths = &exchange->worker->server->paths;
    size_t path = exchange->path != NULL ? (size_t)(exchange->path - paths->paths) : paths->count;

    return &exchange->worker->red[path * HTTP_METHODS + exchange->method];
}

static void count(const struct http_exchange *exchange, uint64_t latency_ns)
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

    assert(exchange->status >= 200 && exchange->status <= 599);
    if (!server->def.unrecorded)
        count(exchange, latency_ns);
    if (server->def.log != NULL && !server->def.unrecorded)
        write_line(exchange, latency_ns);
    if (route != NULL && route->observe != NULL)
        route->observe(server->def.state, route, exchange->status, latency_ns);
}
