/* From a request to its handler: what is refused before, in order: unknown paths and methods, a server that is closing
 * or has too much to do, clients that may not call, bodies and paths that are not as they must be. */
#include "clock.h"
#include "http_auth.h"
#include "http_internal.h"

static struct http_reply *dispatch(struct http_exchange *exchange)
{
    struct http_auth *auth = exchange->worker->server->def.auth;
    struct http_reply *refusal;

    if (exchange->method == HTTP_OPTIONS && str_eq(exchange->req.path, STR("*")))
        return http_route_options(&exchange->worker->server->paths);
    if (exchange->req.path.len == 0) /* "?a=b", or HTTP/2's empty :path */
        return http_problem(400, "the path is empty");
    refusal = http_route_find(exchange->path, exchange->method, &exchange->req.route);
    if (refusal != NULL)
        return refusal;
    if (exchange->worker->closing)
        return http_problem(503, "the server is closing");
    if (exchange->too_many)
        return http_set_header(http_problem(503, "too many requests in flight"), "retry-after", "1");
    if (http_watch_is_full(exchange->worker))
        return http_watch_refuse(exchange->worker->server);
    if (auth != NULL &&
        !http_auth_admits(auth, http_header(&exchange->req, "authorization"), clock_monotonic_ns(), &refusal))
        return refusal;
    return http_route_run(&exchange->req, exchange->path->param_count);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *h2o)
{
    struct http_exchange *exchange = http_exchange_begin(h2o, &http_exchange_source);
    struct http_reply *reply = dispatch(exchange);

    assert((reply == NULL) == exchange->was_deferred); /* a handler replies, or defers */
    if (reply != NULL) {
        bool must_be_sent = !http_method_is_safe(exchange->method);

        http_exchange_answer(exchange, http_watch_charge(reply, exchange->worker->server, must_be_sent));
    }
    return 0;
}

void http_dispatch_register(h2o_hostconf_t *host)
{
    /* The fallback serves what no path is registered for: here, everything. */
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
}
