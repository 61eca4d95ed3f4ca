/* log_line -- what a line of the log looks like: JSON for Cloud Logging, or text for people. */
#include "log_line.h"
#include "clock.h"
#include <errno.h>
#include <stdlib.h>

static const char *const severities[] = {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"};

const char *log_severity_text(enum log_severity severity)
{
    return severities[severity];
}

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

static void add_value(struct line *line, struct str value)
{
    struct str shown = log_cut(value, line->limit);

    line->truncated |= shown.len < value.len;
    buf_append_json_text(line->out, shown);
    buf_append_cstr(line->out, "\",");
}

/* begin: the member up to its value, a literal. */
static inline void add_string(struct line *line, const char *begin, struct str value)
{
    if (value.len == 0)
        return;
    buf_append_cstr(line->out, begin);
    add_value(line, value);
}

static void add_field(struct line *line, const struct log_field *field)
{
    buf_append_json_string(line->out, str_of(field->key));
    switch (field->kind) {
    case LOG_STRING:
        buf_append_cstr(line->out, ":\"");
        add_value(line, field->string);
        return;
    case LOG_INTEGER:
        buf_printf(line->out, ":%lld,", (long long)field->integer);
        return;
    case LOG_BOOLEAN:
        buf_append_cstr(line->out, field->integer != 0 ? ":true," : ":false,");
        return;
    }
}

static inline void add_number(struct line *line, const char *begin, uint64_t number)
{
    buf_append_cstr(line->out, begin);
    buf_append_u64(line->out, number);
}

static void add_latency(struct line *line, uint64_t latency_ns)
{
    char end[] = ".######s\"},";

    str_write_digits(end + 1, latency_ns / 1000, 6);
    add_number(line, "\",\"latency\":\"", latency_ns / CLOCK_NS_PER_S);
    buf_append(line->out, end, sizeof(end) - 1);
}

/* SCHEME://HOST and the path, where all are known; else what the request line has. */
static void add_url(struct line *line, const struct log_request *request)
{
    struct str host = log_cut(request->host, line->limit), url = log_cut(request->url, line->limit);

    if (request->scheme.len == 0 || host.len == 0 || url.len == 0 || url.s[0] != '/') {
        add_string(line, "\"requestUrl\":\"", request->url);
        return;
    }
    line->truncated |= host.len < request->host.len || url.len < request->url.len;
    buf_append_cstr(line->out, "\"requestUrl\":\"");
    buf_append_str(line->out, request->scheme);
    buf_append_cstr(line->out, "://");
    buf_append_json_text(line->out, host);
    buf_append_json_text(line->out, url);
    buf_append_cstr(line->out, "\",");
}

/* Its 64 bit integers are strings, as in all of Google's JSON. No printf here or below: it would take most of a
 * request's line's time. */
static void add_request(struct line *line, const struct log_request *request)
{
    buf_append_cstr(line->out, "\"httpRequest\":{");
    add_string(line, "\"requestMethod\":\"", request->method);
    add_url(line, request);
    add_string(line, "\"userAgent\":\"", request->user_agent);
    add_string(line, "\"remoteIp\":\"", request->remote_ip);
    add_string(line, "\"serverIp\":\"", request->server_ip);
    add_string(line, "\"referer\":\"", request->referer);
    add_string(line, "\"protocol\":\"", request->protocol);
    add_number(line, "\"status\":", (uint64_t)request->status);
    add_number(line, ",\"requestSize\":\"", request->request_size);
    add_number(line, "\",\"responseSize\":\"", request->response_size);
    add_latency(line, request->latency_ns);
    add_string(line, "\"detail\":\"", request->detail);
    add_string(line, "\"grpc_code\":\"", request->grpc_code);
}

static void add_trace(struct line *line, const struct trace *trace, struct str prefix)
{
    char trace_id[TRACE_ID_TEXT_SIZE], span_id[SPAN_ID_TEXT_SIZE];

    trace_id_text(trace, trace_id);
    trace_span_text(trace->span_id, span_id);
    buf_append_str(line->out, prefix);
    buf_append(line->out, trace_id, sizeof(trace_id) - 1);
    buf_append_cstr(line->out, "\",\"logging.googleapis.com/spanId\":\"");
    buf_append(line->out, span_id, sizeof(span_id) - 1);
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
    buf_append(out, clock_rfc3339(clock_realtime_ns(), 9, time), sizeof(time) - 1);
    buf_append_cstr(out, "\",\"message\":\"");
    add_value(&line, entry->message);
    for (size_t i = 0; i < entry->field_count; i++)
        add_field(&line, &entry->fields[i]);
    if (entry->request != NULL)
        add_request(&line, entry->request);
    if (entry->trace != NULL)
        add_trace(&line, entry->trace, buf_str(&constants->trace_begin));
    if (line.truncated)
        buf_append_cstr(out, "\"truncated\":true,");
    buf_append_str(out, buf_str(&constants->tail));
}

/* ---- text ---- */

/* Texts are escaped as in a JSON string, so that no byte of a client can end the line or reach the terminal as a
 * control character. */

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
    buf_append_json_text(out, str_of(key));
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
        buf_append_json_text(out, str_of(field->key));
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
    buf_append_json_text(out, message);
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

static void append_trace_begin(struct buf *out, const char *project)
{
    buf_append_cstr(out, "\"logging.googleapis.com/trace\":\"");
    if (project == NULL || project[0] == '\0')
        return;
    buf_append_cstr(out, "projects/");
    buf_append_json_text(out, str_of(project));
    buf_append_cstr(out, "/traces/");
}

void log_line_append_service(struct buf *out, const char *service)
{
    buf_append_cstr(out, "\"logging.googleapis.com/labels\":{\"service\":");
    buf_append_json_string(out, str_of(service));
    buf_append_cstr(out, "},\"serviceContext\":{\"service\":");
    buf_append_json_string(out, str_of(service));
    buf_append_cstr(out, ",\"version\":\"" SLIPWAY_VERSION "\"}}\n");
}

int log_line_init(struct log_line *line, const char *service, const char *project, bool text)
{
    *line = (struct log_line){.text = text};
    append_trace_begin(&line->trace_begin, project);
    log_line_append_service(&line->tail, service);
    return line->trace_begin.failed || line->tail.failed ? -ENOMEM : 0;
}

void log_line_release(struct log_line *line)
{
    buf_release(&line->trace_begin);
    buf_release(&line->tail);
}
