/* The span of a call: one, whatever attempts it takes. A new connection is a span below it. */
#include "clock.h"
#include "http_client_internal.h"

#define MAX_URL 512

/* The request's first line is METHOD PATH HTTP/1.1. */
static struct str method_of(const struct http_call *call)
{
    return (struct str){call->request.data,
                        (size_t)((const char *)memchr(call->request.data, ' ', call->head_len) - call->request.data)};
}

/* Without the query, which may hold what is not for everybody. */
static struct str path_of(const struct http_call *call)
{
    const char *path = call->request.data + method_of(call).len + 1;
    size_t left = call->head_len - (size_t)(path - call->request.data), len = 0;

    while (len < left && path[len] != ' ' && path[len] != '?')
        len++;
    return (struct str){path, len};
}

/* Into what stands before the last colon, without brackets, and the port. */
static struct str split(const char *authority, int64_t *ret_port)
{
    const char *colon = strrchr(authority, ':');
    struct str host = {authority, colon != NULL ? (size_t)(colon - authority) : strlen(authority)};
    uint64_t port;

    *ret_port = colon != NULL && str_to_u64(str_of(colon + 1), 65535, &port) == 0 ? (int64_t)port : 0;
    if (host.len > 2 && host.s[0] == '[')
        host = (struct str){host.s + 1, host.len - 2};
    return host;
}

void client_span_begin(struct http_call *call, const struct trace *trace)
{
    span_begin_child(call->worker->client->def.spans, trace, &call->trace);
    call->traced = true;
}

void client_span_end(const struct http_call *call, int result)
{
    struct span_sink *spans = call->worker->client->def.spans;
    char url[MAX_URL], status[16], method[32];
    int64_t port = 0;
    bool failed = result < 0 || result >= 400;
    struct str host, path;

    if (!call->traced || !span_is_wanted(spans, &call->trace))
        return;
    host = split(call->authority != NULL ? call->authority : "", &port);
    path = path_of(call);
    snprintf(url, sizeof(url), "http://%s%.*s", call->authority != NULL ? call->authority : "", STR_ARG(path));
    snprintf(status, sizeof(status), "%d", result);
    snprintf(method, sizeof(method), "%.*s", STR_ARG(method_of(call)));
    const struct span_attribute attributes[] = {
        SPAN_STR("http.request.method", str_of(method)),
        SPAN_STR("url.full", str_of(url)),
        SPAN_STR("server.address", host),
        SPAN_STR("error.type", !failed ? STR_NULL : str_of(result < 0 ? strerrorname_np(-result) : status)),
        SPAN_STR("peer.service", str_of(call->worker->client->def.name)),
        SPAN_INT("server.port", port),
        SPAN_INT("http.response.status_code", result), /* where there was a response */
    };
    span_end(spans, &(struct span){.trace = &call->trace,
                                   .kind = SPAN_CLIENT,
                                   .name = str_of(method),
                                   .duration_ns = clock_monotonic_ns() - call->start_ns,
                                   .failed = failed,
                                   .error = result < 0 ? str_of(strerrordesc_np(-result)) : STR_NULL,
                                   .attributes = attributes,
                                   .attribute_count = result < 0 ? 6 : 7});
}

void client_span_end_connect(const struct client_conn *conn, int err)
{
    const struct http_call *call = conn->call;
    struct span_sink *spans = conn->worker->client->def.spans;
    struct trace trace;
    int64_t port;
    const struct str host = split(conn->host->address.authority, &port);
    const struct span_attribute attributes[] = {
        SPAN_STR("server.address", host),
        SPAN_STR("network.transport", STR("tcp")),
        SPAN_STR("error.type", str_of(err != 0 ? strerrorname_np(-err) : NULL)),
        SPAN_INT("server.port", port),
    };

    if (!call->traced || !span_is_wanted(spans, &call->trace))
        return;
    trace_child(&call->trace, &trace);
    span_end(spans, &(struct span){.trace = &trace,
                                   .kind = SPAN_INTERNAL,
                                   .name = STR("connect"),
                                   .duration_ns = clock_monotonic_ns() - conn->begun_ns,
                                   .failed = err != 0,
                                   .attributes = attributes,
                                   .attribute_count = sizeof(attributes) / sizeof(attributes[0])});
}
