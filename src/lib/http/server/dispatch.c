/* From a request to its handler: what is refused before, in order: unknown paths and methods, a server that is closing
 * or has too much to do, clients that may not call, bodies and paths that are not as they must be. */
#include "clock.h"
#include "http_auth.h"
#include "http_internal.h"

/* NULL, or why there is no room for it. */
static struct http_reply *refuse_load(const struct http_exchange *exchange)
{
    if (exchange->req.route->always)
        return NULL;
    if (exchange->too_many)
        return http_set_header(http_problem(503, "too many requests in flight"), "retry-after", "1");
    if (http_watch_is_full(exchange->worker))
        return http_watch_refuse(exchange->worker->server);
    return NULL;
}

static struct http_reply *reply_to(struct http_exchange *exchange)
{
    struct http_auth *auth = exchange->worker->server->def.auth;
    const struct http_cors *cors = exchange->worker->server->def.cors;
    struct http_reply *refusal;

    if (exchange->method == HTTP_OPTIONS && str_eq(exchange->req.path, STR("*")))
        return http_route_options(&exchange->worker->server->paths);
    if (exchange->req.path.len == 0) /* "?a=b", or HTTP/2's empty :path */
        return http_problem(400, "the path is empty");
    if (exchange->path != NULL && cors != NULL && http_cors_is_preflight(cors, &exchange->req))
        return http_cors_preflight(&exchange->req, exchange->path->allow);
    refusal = http_route_find(exchange->path, exchange->method, &exchange->req.route);
    if (refusal != NULL)
        return refusal;
    if (exchange->worker->closing)
        return http_problem(503, "the server is closing");
    if ((refusal = refuse_load(exchange)) != NULL)
        return refusal;
    if (auth != NULL && !exchange->req.route->open &&
        !http_auth_admits(auth, http_header(&exchange->req, "authorization"), clock_monotonic_ns(), &refusal))
        return refusal;
    return http_route_run(&exchange->req, exchange->path->param_count);
}

void http_dispatch(struct http_exchange *exchange)
{
    struct http_reply *reply = reply_to(exchange);

    assert((reply == NULL) == exchange->was_deferred); /* a handler replies, or defers */
    if (reply != NULL) {
        bool must_be_sent = !http_method_is_safe(exchange->method);

        http_exchange_answer(exchange, http_watch_charge(reply, exchange->worker->server, must_be_sent));
    }
}
