#include "err.h"
#include "http_internal.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_TYPE "application/problem+json"
#define MAX_DETAIL   1024        /* bytes of a problem's detail: it also goes into the log */
#define MAX_TEXT     (64 * 1024) /* of all headers' values */

/* The reply of those for which there is no memory: nobody writes to it, or frees it. */
static char no_memory_body[] = "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}";
static struct http_reply no_memory = {
    .status = 500, .content_type = PROBLEM_TYPE, .body = no_memory_body, .body_len = sizeof(no_memory_body) - 1};

/* With room for len bytes of body behind it. malloc, not calloc: a reply is made for every request. */
static struct http_reply *new_reply(int status, size_t len)
{
    struct http_reply *reply = malloc(sizeof(*reply) + len);

    assert(status >= 200 && status <= 599);
    if (reply == NULL)
        return &no_memory;
    reply->status = status;
    reply->server = NULL;
    reply->charged = 0;
    reply->stream = NULL;
    reply->problem = reply->is_static = reply->is_coded = false;
    reply->content_type = NULL;
    reply->body = NULL;
    reply->body_len = reply->detail_len = 0;
    reply->text = (struct buf){.max = MAX_TEXT};
    reply->header_count = 0;
    return reply;
}

struct http_reply *http_reply_new(int status)
{
    return new_reply(status, 0);
}

struct http_reply *http_reply_free(struct http_reply *reply)
{
    if (reply == NULL || reply == &no_memory)
        return NULL;
    if (reply->server != NULL)
        budget_give(&reply->server->memory, reply->charged);
    if (reply->stream != NULL)
        http_stream_unref(reply->stream);
    if (reply->body != reply->own && !reply->is_static)
        free(reply->body);
    buf_release(&reply->text);
    free(reply);
    return NULL;
}

/* Instead of a reply that cannot be completed. */
static struct http_reply *give_up(struct http_reply *reply)
{
    http_reply_free(reply);
    return &no_memory;
}

struct http_reply *http_reply_text(int status, const char *content_type, struct str body)
{
    struct http_reply *reply = new_reply(status, body.len);

    if (reply == &no_memory)
        return reply;
    reply->content_type = content_type;
    reply->body = reply->own;
    reply->body_len = body.len;
    if (body.len > 0)
        memcpy(reply->own, body.s, body.len);
    return reply;
}

struct http_reply *http_reply_static(int status, const char *content_type, struct str body)
{
    struct http_reply *reply = new_reply(status, 0);

    if (reply == &no_memory)
        return reply;
    reply->content_type = content_type;
    reply->body = (char *)body.s;
    reply->body_len = body.len;
    reply->is_static = true;
    return reply;
}

struct http_reply *http_reply_take(int status, const char *content_type, struct buf *body)
{
    struct http_reply *reply = body->failed ? &no_memory : new_reply(status, 0);

    if (reply == &no_memory) {
        buf_release(body);
        return reply;
    }
    reply->content_type = content_type;
    reply->body = body->data;
    reply->body_len = body->len;
    *body = (struct buf){.max = body->max};
    return reply;
}

struct http_reply *http_reply_stream(int status, const char *content_type, struct http_stream *stream)
{
    struct http_reply *reply = new_reply(status, 0);

    if (reply == &no_memory)
        return reply;
    reply->content_type = content_type;
    reply->stream = http_stream_ref(stream);
    return reply;
}

static int append_json(const char *bytes, size_t len, void *buf)
{
    buf_append(buf, bytes, len);
    return ((struct buf *)buf)->failed ? -1 : 0;
}

struct http_reply *http_reply_json(int status, struct json_t *take_json)
{
    struct buf body = {0};

    if (take_json == NULL || json_dump_callback(take_json, append_json, &body, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
        body.failed = true;
    json_decref(take_json);
    return http_reply_take(status, "application/json", &body);
}

/* ---- problems ---- */

struct http_reply *http_problem(int status, const char *format, ...)
{
    struct http_reply *reply = http_reply_new(status);
    char detail[MAX_DETAIL];
    va_list args;

    if (reply == &no_memory)
        return reply;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    buf_append_cstr(&reply->text, detail);
    if (reply->text.failed)
        return give_up(reply);
    reply->problem = true;
    reply->content_type = PROBLEM_TYPE;
    reply->detail_len = reply->text.len;
    return reply;
}

struct http_reply *http_problem_errno(int err, const char *what)
{
    int status = err_http_status(err);
    struct http_reply *reply =
        what != NULL ? http_problem(status, "%s: %s", what, err_text(err)) : http_problem(status, "%s", err_text(err));

    return status == 503 ? http_set_header(reply, "retry-after", "1") : reply;
}

struct http_reply *http_reply_render(struct http_reply *reply, const struct trace *trace)
{
    char trace_id[TRACE_ID_TEXT_SIZE];
    struct buf body = {0};

    if (!reply->problem || reply->body != NULL)
        return reply;
    trace_id_text(trace, trace_id);
    buf_append_cstr(&body, "{\"type\":\"about:blank\",\"title\":");
    buf_append_json_string(&body, str_of(err_http_reason(reply->status)));
    buf_printf(&body, ",\"status\":%d,\"detail\":", reply->status);
    buf_append_json_string(&body, (struct str){reply->text.data, reply->detail_len});
    buf_printf(&body, ",\"trace_id\":\"%s\"}", trace_id);
    if (body.failed) {
        buf_release(&body);
        return give_up(reply);
    }
    reply->body = body.data;
    reply->body_len = body.len;
    return reply;
}

/* ---- headers ---- */

/* A header value: visible ASCII, spaces, tabs, and what is beyond ASCII. */
static bool is_header_value(const struct buf *text, size_t at)
{
    for (; at < text->len; at++)
        if (((unsigned char)text->data[at] < 0x20 && text->data[at] != '\t') || text->data[at] == 0x7f)
            return false;
    return true;
}

struct http_reply *http_set_header(struct http_reply *reply, const char *name, const char *format, ...)
{
    size_t at;
    va_list args;

    if (reply == &no_memory)
        return reply;
    assert(reply->header_count < HTTP_MAX_HEADERS);
    at = reply->text.len;
    va_start(args, format);
    buf_vprintf(&reply->text, format, args);
    va_end(args);
    if (reply->text.failed)
        return give_up(reply);
    if (!is_header_value(&reply->text, at)) {
        reply->text.len = at;
        return reply;
    }
    reply->headers[reply->header_count].name = name;
    reply->headers[reply->header_count].at = at;
    reply->headers[reply->header_count++].len = reply->text.len - at;
    return reply;
}

void http_reply_replace(struct http_reply *reply, const char *name, const char *format, ...)
{
    size_t at = reply->text.len;
    unsigned i = 0;
    va_list args;

    while (i < reply->header_count && strcmp(reply->headers[i].name, name) != 0)
        i++;
    assert(i < reply->header_count);

    va_start(args, format);
    buf_vprintf(&reply->text, format, args);
    va_end(args);
    if (reply->text.failed) {
        reply->headers[i] = reply->headers[--reply->header_count];
        return;
    }
    reply->headers[i].at = at;
    reply->headers[i].len = reply->text.len - at;
}

int http_reply_status(const struct http_reply *reply)
{
    return reply->status;
}

bool http_reply_failed(const struct http_reply *reply)
{
    return reply == &no_memory;
}

struct str http_reply_body(const struct http_reply *reply)
{
    return (struct str){reply->body, reply->body_len};
}

struct str http_reply_header(const struct http_reply *reply, const char *name)
{
    if (strcmp(name, "content-type") == 0)
        return str_of(reply->content_type);
    for (unsigned i = 0; i < reply->header_count; i++)
        if (strcmp(reply->headers[i].name, name) == 0)
            return (struct str){reply->text.data + reply->headers[i].at, reply->headers[i].len};
    return STR_NULL;
}
