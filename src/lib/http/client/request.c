/* request -- checks a request and writes what is sent: the bytes up to the Host header's value, which each attempt adds
 * for its address, and the body.
 */
#include "http_client_internal.h"
#include <errno.h>

#define MAX_KEY     255
#define MAX_DEFAULT 512 /* bytes of the head that the client adds, without the idempotency key */

static const char blank[] = " HTTP/1.1\r\n", accept_default[] = "accept: application/json\r\n",
                  agent_default[] = "user-agent: slipway/" SLIPWAY_VERSION "\r\n",
                  trace_name[] = "traceparent: ", state_name[] = "tracestate: ", baggage_name[] = "baggage: ",
                  key_name[] = "idempotency-key: ", length_name[] = "content-length: ", host_name[] = "host: ";

_Static_assert(sizeof(blank) + sizeof(accept_default) + sizeof(agent_default) + sizeof(trace_name) + TRACE_PARENT_LEN +
                       sizeof(state_name) + sizeof(baggage_name) + sizeof(key_name) + sizeof(length_name) + 20 +
                       sizeof(host_name) + 5 * sizeof("\r\n") <=
                   MAX_DEFAULT,
               "the head fits into what was reserved");

/* ---- checks ---- */

/* Fields that the client writes, and those that would change the request's framing or the connection. */
static bool is_reserved(struct str name)
{
    static const char *const names[] = {
        "host",       "content-length",   "traceparent",       "tracestate", "baggage", "idempotency-key", "connection",
        "keep-alive", "proxy-connection", "transfer-encoding", "te",         "trailer", "upgrade",         "expect"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_caseeq(name, str_of(names[i])))
            return true;
    return false;
}

/* What may stand in a request line: no control characters, no space. */
static bool is_target_path(struct str path)
{
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.s[i] <= ' ' || path.s[i] == 0x7f)
            return false;
    return path.len > 0 && path.s[0] == '/';
}

static bool is_key(struct str key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.s[i] <= ' ' || key.s[i] >= 0x7f)
            return false;
    return key.len <= MAX_KEY;
}

static struct str method_of(const struct http_client_request *request)
{
    return request->method.len > 0 ? request->method : STR("GET");
}

/* The head's length without what the client adds; 0 where a part is malformed. */
static size_t head_len(const struct http_client_request *request)
{
    size_t len = method_of(request).len + request->path.len + request->idempotency_key.len;

    if (!http_is_token(method_of(request)) || str_eq(request->method, STR("CONNECT")) ||
        !is_target_path(request->path) || !is_key(request->idempotency_key))
        return 0;
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct http_field *field = &request->headers[i];
        if (!http_is_token(field->name) || !http_is_text(field->value) || is_reserved(field->name))
            return 0;
        len += field->name.len + field->value.len + strlen(": \r\n");
    }
    return len;
}

/* RFC 9110, 9.2.2. */
static bool is_idempotent(struct str method)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (str_eq(method, str_of(methods[i])))
            return true;
    return false;
}

/* Methods whose requests have a body as a rule: without one they say so (RFC 9110, 8.6). */
static bool expects_body(struct str method)
{
    return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) || str_eq(method, STR("PATCH"));
}

/* ---- writing ---- */

static void add_line(struct buf *b, const char *name, struct str value)
{
    buf_append_cstr(b, name);
    buf_append_str(b, value);
    buf_append_cstr(b, "\r\n");
}

static bool has_header(const struct http_client_request *request, struct str name)
{
    for (unsigned i = 0; i < request->header_count; i++)
        if (str_caseeq(request->headers[i].name, name))
            return true;
    return false;
}

static void add_headers(struct buf *b, const struct http_client_request *request)
{
    if (!has_header(request, STR("accept")))
        buf_append_cstr(b, accept_default);
    if (!has_header(request, STR("user-agent")))
        buf_append_cstr(b, agent_default);
    for (unsigned i = 0; i < request->header_count; i++) {
        buf_append_str(b, request->headers[i].name);
        add_line(b, ": ", request->headers[i].value);
    }
    if (request->idempotency_key.len > 0)
        add_line(b, key_name, request->idempotency_key);
}

static void add_trace(struct http_call *call, const struct trace *trace)
{
    char parent[TRACE_PARENT_LEN + 1];

    client_span_begin(call, trace);
    trace_format(&call->trace, parent);
    add_line(&call->request, trace_name, (struct str){parent, TRACE_PARENT_LEN});
    if (trace->state.len > 0)
        add_line(&call->request, state_name, trace->state);
    if (trace->baggage.len > 0)
        add_line(&call->request, baggage_name, trace->baggage);
}

static void write_request(struct http_call *call, const struct http_client_request *request)
{
    struct buf *b = &call->request;

    buf_append_str(b, method_of(request));
    buf_append_char(b, ' ');
    buf_append_str(b, request->path);
    buf_append_cstr(b, blank);
    add_headers(b, request);
    if (request->trace != NULL)
        add_trace(call, request->trace);
    if (request->body.len > 0 || expects_body(request->method)) {
        buf_append_cstr(b, length_name);
        buf_append_u64(b, request->body.len);
        buf_append_cstr(b, "\r\n");
    }
    buf_append_cstr(b, host_name);
    call->head_len = b->len;
    buf_append_str(b, request->body);
}

int client_request_write(struct http_call *call, const struct http_client_request *request)
{
    struct http_client *client = call->worker->client;
    size_t len = head_len(request), size;

    if (len == 0)
        return -EINVAL;
    if (len > CLIENT_MAX_HEAD || request->body.len > client->def.max_request_body)
        return -EMSGSIZE;
    size = len + MAX_DEFAULT + request->body.len;
    if (request->trace != NULL)
        size += request->trace->state.len + request->trace->baggage.len;
    if (!budget_take(&client->memory, size))
        return -ENOBUFS;
    call->charged = size;
    if (buf_reserve(&call->request, size) == NULL)
        return -ENOMEM;
    write_request(call, request);
    assert(call->request.len <= size && !call->request.failed);
    call->head_only = str_eq(request->method, STR("HEAD"));
    call->repeatable = is_idempotent(method_of(request)) || request->idempotency_key.len > 0;
    call->max_body = request->max_body > 0 ? request->max_body : client->def.max_body;
    return 0;
}

void client_request_release(struct http_call *call)
{
    budget_give(&call->worker->client->memory, call->charged);
    call->charged = 0;
    buf_release(&call->request);
}
