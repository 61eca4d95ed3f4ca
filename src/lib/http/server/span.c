/* The span of a request, when it has ended. */
#include "http_internal.h"

/* A method that no route can have is not named: a client chooses it. */
static struct str name_of(const struct http_exchange *exchange, char *name, size_t size)
{
    const char *method = exchange->method != HTTP_OTHER_METHOD ? http_method_name(exchange->method) : "HTTP";

    if (exchange->path == NULL)
        return str_of(method);
    snprintf(name, size, "%s %s", method, exchange->path->template);
    return str_of(name);
}

void http_span_end(const struct http_exchange *exchange, uint64_t latency_ns)
{
    struct span_sink *spans = exchange->worker->server->def.spans;
    const h2o_req_t *h2o = exchange->h2o;
    bool failed = exchange->status >= 500;
    struct str host = {h2o->input.authority.base, h2o->input.authority.len};
    char name[256], status[16], client_ip[NET_IP_SIZE];

    if (!span_is_wanted(spans, &exchange->req.trace))
        return;
    http_client_ip(exchange, client_ip);
    snprintf(status, sizeof(status), "%d", exchange->status);
    const struct span_attribute attributes[] = {
        SPAN_STR("http.request.method",
                 exchange->method != HTTP_OTHER_METHOD ? str_of(http_method_name(exchange->method)) : STR("_OTHER")),
        SPAN_STR("http.route", str_of(exchange->path != NULL ? exchange->path->template : NULL)),
        SPAN_STR("url.path", exchange->req.path),
        SPAN_STR("url.scheme", http_client_scheme(exchange)),
        SPAN_STR("server.address", host),
        SPAN_STR("client.address", str_of(client_ip)),
        SPAN_STR("user_agent.original", http_header(&exchange->req, "user-agent")),
        SPAN_STR("network.protocol.version", h2o->version >= 0x200   ? STR("2")
                                             : h2o->version == 0x100 ? STR("1.0")
                                                                     : STR("1.1")),
        SPAN_STR("error.type", str_of(failed ? status : NULL)),
        SPAN_INT("http.response.status_code", exchange->status),
    };
    span_end(spans, &(struct span){.trace = &exchange->req.trace,
                                   .kind = SPAN_SERVER,
                                   .name = name_of(exchange, name, sizeof(name)),
                                   .duration_ns = latency_ns,
                                   .failed = failed,
                                   .attributes = attributes,
                                   .attribute_count = sizeof(attributes) / sizeof(attributes[0])});
}
