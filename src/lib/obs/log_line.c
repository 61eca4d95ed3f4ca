/* log_line -- what a line of the log looks like: JSON for Cloud Logging, or text for people. */
#include "log_line.h"
#include "clock.h"
#include <errno.h>
#include <stdlib.h>

static const char *const severities[] = {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"};

struct str log_cut(struct str s, size_t limit)
{
    if (s.len <= limit)
        return s;
    while (limit > 0 && ((unsigned char)s.s[limit] & 0xc0) == 0x80)
        limit--; /* not within a character */
    return (struct str){s.s, limit};
}

/* ---- JSON ---- */

/* A line that is being made. limit: of every string's bytes. */
struct line {
    struct buf *out;
    size_t limit;
    bool truncated;
};

static void add_string(struct line *line, const char *key, struct str value)
{
    struct str shown = log_cut(value, line->limit);

    line->truncated |= shown.len < value.len;
    buf_append_json_string(line->out, str_of(key));
    buf_append_char(line->out, ':');
    buf_append_json_string(line->out, shown);
    buf_append_char(line->out, ',');
}

/* Appends text that stands within a string, as in a JSON string: no byte of a client can end the string or the line, or
 * reach a terminal as a control character. */
static void append_escaped(struct buf *out, struct str value)
{
    size_t begin = out->len;

    buf_append_json_string(out, value);
    if (out->failed)
        return;
    memmove(out->data + begin, out->data + begin + 1, out->len - begin - 2);
    out->len -= 2;
}

static void add_optional(struct line *line, const char *key, struct str value)
{
    if (value.len > 0)
        add_string(line, key, value);
}

static void add_field(struct line *line, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_STRING:
        add_string(line, field->key, field->string);
        return;
    case LOG_INTEGER:
        buf_append_json_string(line->out, str_of(field->key));
        buf_printf(line->out, ":%lld,", (long long)field->integer);
        return;
    case LOG_BOOLEAN:
        buf_append_json_string(line->out, str_of(field->key));
        buf_append_cstr(line->out, field->integer != 0 ? ":true," : ":false,");
        return;
    }
}

static void add_number(struct line *line, const char *key, uint64_t number)
{
    buf_append_cstr(line->out, key);
    buf_append_u64(line->out, number);
}

static void add_latency(struct line *line, uint64_t latency_ns)
{
    uint64_t micros = latency_ns % CLOCK_NS_PER_S / 1000;

    add_number(line, "\",\"latency\":\"", latency_ns / CLOCK_NS_PER_S);
    buf_append_char(line->out, '.');
    for (uint64_t place = 100000; place > 0; place /= 10)
        buf_append_char(line->out, (char)('0' + micros / place % 10));
    buf_append_cstr(line->out, "s\"},");
}

/* SCHEME://HOST and the path, where all are known; else what the request line has. */
static void add_url(struct line *line, const struct log_request *request)
{
    struct str host = log_cut(request->host, line->limit), url = log_cut(request->url, line->limit);

    if (request->scheme.len == 0 || host.len == 0 || url.len == 0 || url.s[0] != '/') {
        add_optional(line, "requestUrl", request->url);
        return;
    }
    line->truncated |= host.len < request->host.len || url.len < request->url.len;
    buf_append_cstr(line->out, "\"requestUrl\":\"");
    buf_append_str(line->out, request->scheme);
    buf_append_cstr(line->out, "://");
    append_escaped(line->out, host);
    append_escaped(line->out, url);
    buf_append_cstr(line->out, "\",");
}

/* Its 64 bit integers are strings, as in all of Google's JSON. No printf here or below: it would take most of a
 * request's line's time. */
static void add_request(struct line *line, const struct log_request *request)
{
    buf_append_cstr(line->out, "\"httpRequest\":{");
    add_optional(line, "requestMethod", request->method);
    add_url(line, request);
    add_optional(line, "userAgent", request->user_agent);
    add_optional(line, "remoteIp", request->remote_ip);
    add_optional(line, "serverIp", request->server_ip);
    add_optional(line, "referer", request->referer);
    add_optional(line, "protocol", request->protocol);
    add_number(line, "\"status\":", (uint64_t)request->status);
    add_number(line, ",\"requestSize\":\"", request->request_size);
    add_number(line, "\",\"responseSize\":\"", request->response_size);
    add_latency(line, request->latency_ns);
    add_optional(line, "detail", request->detail);
    add_optional(line, "grpc_code", request->grpc_code);
}

static void add_trace(struct line *line, const struct trace *trace, const char *prefix)
{
    char trace_id[TRACE_ID_TEXT_SIZE], span_id[SPAN_ID_TEXT_SIZE];

    trace_id_text(trace, trace_id);
    trace_span_text(trace->span_id, span_id);
    buf_append_cstr(line->out, "\"logging.googleapis.com/trace\":");
    buf_append_cstr(line->out, prefix);
    buf_append_cstr(line->out, trace_id);
    buf_append_cstr(line->out, "\",\"logging.googleapis.com/spanId\":\"");
    buf_append_cstr(line->out, span_id);
    buf_append_cstr(line->out, "\",\"logging.googleapis.com/trace_sampled\":");
    buf_append_cstr(line->out, trace->sampled ? "true," : "false,");
}

static void append_json(const struct log_line *constants, const struct log_entry *entry, size_t limit, struct buf *out)
{
    struct line line = {out, limit, false};
    char time[CLOCK_RFC3339_SIZE];

    buf_append_cstr(out, "{\"severity\":\"");
    buf_append_cstr(out, severities[entry->severity]);
    buf_append_cstr(out, "\",\"time\":\"");
    buf_append_cstr(out, clock_rfc3339(clock_realtime_ns(), 9, time));
    buf_append_cstr(out, "\",");
    add_string(&line, "message", entry->message);
    for (size_t i = 0; i < entry->field_count; i++)
        add_field(&line, &entry->fields[i]);
    if (entry->request != NULL)
        add_request(&line, entry->request);
    if (entry->trace != NULL)
        add_trace(&line, entry->trace, constants->trace_prefix);
    if (line.truncated)
        buf_append_cstr(out, "\"truncated\":true,");
    buf_append_cstr(out, constants->tail);
}

/* ---- text ---- */

static bool is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.s[i] <= ' ' || value.s[i] > '~' || strchr("\"=\\", value.s[i]) != NULL)
            return false;
    return value.len > 0;
}

static void append_pair(struct buf *out, const char *key, struct str value, size_t limit)
{
    struct str shown = log_cut(value, limit);

    buf_append_char(out, ' ');
    append_escaped(out, str_of(key));
    buf_append_char(out, '=');
    if (is_plain(shown))
        buf_append_str(out, shown);
    else
        buf_append_json_string(out, shown);
    if (shown.len < value.len)
        buf_append_cstr(out, "...");
}

static void append_optional(struct buf *out, const char *key, struct str value, size_t limit)
{
    if (value.len > 0)
        append_pair(out, key, value, limit);
}

static void append_field(struct buf *out, const struct log_field *field, size_t limit)
{
    switch (field->kind) {
    case LOG_STRING:
        append_pair(out, field->key, field->string, limit);
        return;
    case LOG_INTEGER:
        buf_append_char(out, ' ');
        append_escaped(out, str_of(field->key));
        buf_printf(out, "=%lld", (long long)field->integer);
        return;
    case LOG_BOOLEAN:
        append_pair(out, field->key, str_of(field->integer != 0 ? "true" : "false"), limit);
        return;
    }
}

static void append_request(struct buf *out, const struct log_request *request, size_t limit)
{
    append_optional(out, "remote_ip", request->remote_ip, limit);
    append_optional(out, "user_agent", request->user_agent, limit);
    append_optional(out, "grpc_code", request->grpc_code, limit);
    append_optional(out, "detail", request->detail, limit);
    buf_printf(out, " request_size=%llu response_size=%llu latency=%llu.%06llus",
               (unsigned long long)request->request_size, (unsigned long long)request->response_size,
               (unsigned long long)(request->latency_ns / CLOCK_NS_PER_S),
               (unsigned long long)(request->latency_ns % CLOCK_NS_PER_S / 1000));
}

static void append_text(const struct log_entry *entry, size_t limit, struct buf *out)
{
    char time[CLOCK_RFC3339_SIZE], trace_id[TRACE_ID_TEXT_SIZE];
    struct str message = log_cut(entry->message, limit);

    buf_printf(out, "%s %-8s ", clock_rfc3339(clock_realtime_ns(), 6, time), severities[entry->severity]);
    append_escaped(out, message);
    if (message.len < entry->message.len)
        buf_append_cstr(out, "...");
    for (size_t i = 0; i < entry->field_count; i++)
        append_field(out, &entry->fields[i], limit);
    if (entry->request != NULL)
        append_request(out, entry->request, limit);
    if (entry->trace != NULL) {
        trace_id_text(entry->trace, trace_id);
        append_pair(out, "trace", str_of(trace_id), limit);
    }
    buf_append_char(out, '\n');
}

void log_line_append(const struct log_line *line, const struct log_entry *entry, size_t limit, struct buf *out)
{
    if (line->text)
        append_text(entry, limit, out);
    else
        append_json(line, entry, limit, out);
}

/* ---- what all lines hold ---- */

/* The beginning of a JSON string, whose end add_trace writes. */
static void append_trace_prefix(struct buf *out, const char *project)
{
    struct buf path = {0};

    if (project != NULL && project[0] != '\0')
        buf_printf(&path, "projects/%s/traces/", project);
    buf_append_char(out, '"');
    append_escaped(out, buf_str(&path));
    buf_append_char(out, '\0');
    out->failed |= path.failed;
    buf_release(&path);
}

void log_line_append_service(struct buf *out, const char *service)
{
    buf_append_cstr(out, "\"logging.googleapis.com/labels\":{\"service\":");
    buf_append_json_string(out, str_of(service));
    buf_append_cstr(out, "},\"serviceContext\":{\"service\":");
    buf_append_json_string(out, str_of(service));
    buf_append_cstr(out, ",\"version\":\"" SLIPWAY_VERSION "\"}}\n");
    buf_append_char(out, '\0');
}

int log_line_init(struct log_line *line, const char *service, const char *project, bool text)
{
    struct buf prefix = {0}, tail = {0};

    append_trace_prefix(&prefix, project);
    log_line_append_service(&tail, service);
    *line = (struct log_line){.text = text, .trace_prefix = prefix.data, .tail = tail.data};
    return prefix.failed || tail.failed ? -ENOMEM : 0;
}

void log_line_release(struct log_line *line)
{
    free(line->trace_prefix);
    free(line->tail);
}
