/* What is kept, as JSON. Every string may be hostile: buf_append_json_string escapes it, and its length was bounded
 * when it was taken in. */
#include "console.h"
#include "hex.h"
#include <math.h>

#define MAX_LINES       500         /* of a trace */
#define MAX_TRACE_BYTES (2 << 20)   /* of its spans; the rest is left out */
#define MAX_FLEET_BYTES (512 << 10) /* of its replicas and flows; the rest is left out */

/* ---- parts ---- */

static void key(struct buf *out, const char *name)
{
    if (out->len > 0 && out->data[out->len - 1] != '{')
        buf_append_char(out, ',');
    buf_append_char(out, '"');
    buf_append_cstr(out, name);
    buf_append_cstr(out, "\":");
}

static void put_str(struct buf *out, const char *name, struct str value)
{
    key(out, name);
    buf_append_json_string(out, value);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
    put_str(out, name, str_of(value));
}

static void put_integer(struct buf *out, const char *name, uint64_t value)
{
    key(out, name);
    buf_append_u64(out, value);
}

static void put_bool(struct buf *out, const char *name, bool value)
{
    key(out, name);
    buf_append_cstr(out, value ? "true" : "false");
}

static void number(struct buf *out, double value)
{
    if (!isfinite(value))
        buf_append_cstr(out, "null");
    else if (value == trunc(value) && fabs(value) < 1e15)
        buf_printf(out, "%.0f", value);
    else
        buf_printf(out, "%.6g", value);
}

static void put_number(struct buf *out, const char *name, double value)
{
    key(out, name);
    number(out, value);
}

static void put_id(struct buf *out, const char *name, bool is_there, const uint8_t *id, size_t len)
{
    char text[2 * sizeof(((struct traces_trace *)NULL)->id)];

    key(out, name);
    if (!is_there) {
        buf_append_cstr(out, "null");
        return;
    }
    hex_encode(id, len, text);
    buf_append_json_string(out, (struct str){text, 2 * len});
}

static void open_list(struct buf *out, const char *name)
{
    key(out, name);
    buf_append_char(out, '[');
}

static void between(struct buf *out)
{
    if (out->len > 0 && out->data[out->len - 1] != '[')
        buf_append_char(out, ',');
}

static void put_value(struct buf *out, enum otlp_kind kind, const struct kept_pair *pair)
{
    switch (kind) {
    case OTLP_STRING:
        buf_append_json_string(out, intern_str(pair->value.string));
        break;
    case OTLP_DOUBLE:
        number(out, pair->value.number);
        break;
    case OTLP_BOOL:
        buf_append_cstr(out, pair->value.integer != 0 ? "true" : "false");
        break;
    case OTLP_INTEGER:
        buf_printf(out, "%lld", (long long)pair->value.integer);
        break;
    }
}

static void put_pairs(struct buf *out, const char *name, const struct kept_pairs *pairs)
{
    key(out, name);
    buf_append_char(out, '{');
    for (unsigned i = 0; i < pairs->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_append_json_string(out, intern_str(pairs->list[i].key));
        buf_append_char(out, ':');
        put_value(out, (enum otlp_kind)pairs->kinds[i], &pairs->list[i]);
    }
    buf_append_char(out, '}');
}

/* ---- the fleet ---- */

static void write_replica(const struct fleet_replica *replica, struct buf *out)
{
    between(out);
    buf_append_char(out, '{');
    key(out, "id");
    buf_append_char(out, '"');
    buf_append_json_text(out, str_of(replica->service->name));
    buf_append_char(out, '/');
    buf_append_json_text(out, str_of(replica->instance));
    buf_append_char(out, '"');
    put_text(out, "instance", replica->instance);
    put_text(out, "version", replica->version);
    put_text(out, "state", fleet_state_name(replica->state));
    put_integer(out, "since_ms", replica->since_ms);
    put_integer(out, "started_ms", replica->started_ms != 0 ? replica->started_ms : replica->first_seen_ms);
    put_integer(out, "last_seen_ms", replica->last_seen_ms);
    put_number(out, "requests_per_s", replica->requests_per_s);
    put_number(out, "errors_per_s", replica->errors_per_s);
    put_number(out, "p50_ms", replica->p50_ms);
    put_number(out, "p99_ms", replica->p99_ms);
    put_number(out, "loop_utilization", replica->loop_utilization);
    put_number(out, "memory_used", replica->memory_used);
    put_number(out, "memory_limit", replica->memory_limit);
    put_number(out, "connections", replica->connections);
    buf_append_char(out, '}');
}

static void write_service(const struct fleet *fleet, const struct fleet_service *service, struct buf *out)
{
    between(out);
    buf_append_char(out, '{');
    put_text(out, "name", service->name);
    open_list(out, "replicas");
    for (unsigned i = 0; i < fleet->replica_count && out->len < MAX_FLEET_BYTES; i++)
        if (fleet->replicas[i]->service == service)
            write_replica(fleet->replicas[i], out);
    buf_append_cstr(out, "]}");
}

static void write_flow(const struct fleet *fleet, const struct fleet_flow *flow, struct buf *out)
{
    struct latency latency = fleet_window_latency(&flow->window);

    between(out);
    buf_append_char(out, '{');
    put_text(out, "from", flow->from);
    put_text(out, "to", flow->to);
    put_number(out, "requests_per_s", fleet_window_requests(&flow->window, fleet->second));
    put_number(out, "errors_per_s", fleet_window_errors(&flow->window, fleet->second));
    put_number(out, "p99_ms", latency_quantile_ms(&latency, 0.99));
    buf_append_char(out, '}');
}

static void write_steps(const struct fleet *fleet, const char *name, const float *values, struct buf *out)
{
    open_list(out, name);
    for (unsigned i = 0; i < FLEET_STEPS; i++) {
        between(out);
        number(out, (double)values[(fleet->step + i) % FLEET_STEPS]);
    }
    buf_append_char(out, ']');
}

static void write_history(const struct fleet *fleet, const struct fleet_service *service, struct buf *out)
{
    buf_append_json_string(out, str_of(service->name));
    buf_append_cstr(out, ":{");
    put_integer(out, "step_ms", FLEET_STEP_MS);
    write_steps(fleet, "requests_per_s", service->requests, out);
    write_steps(fleet, "errors_per_s", service->errors, out);
    write_steps(fleet, "p99_ms", service->p99_ms, out);
    buf_append_char(out, '}');
}

static void write_received(const struct console *console, struct buf *out)
{
    buf_append_char(out, '{');
    put_integer(out, "spans_per_s", console->spans.last);
    put_integer(out, "logs_per_s", console->records.last);
    put_integer(out, "points_per_s", console->points.last);
    put_integer(out, "sampled_spans", console->traces.sampled_out);
    put_integer(out, "dropped", console->dropped);
    put_integer(out, "memory_used", console_used(console));
    put_integer(out, "memory_limit", console->max_memory);
    buf_append_char(out, '}');
}

void write_fleet(const struct console *console, uint64_t now_ms, struct buf *out)
{
    const struct fleet *fleet = &console->fleet;

    buf_append_char(out, '{');
    put_integer(out, "time_ms", now_ms);
    put_text(out, "mode", console->local != NULL ? "local" : "cluster");
    open_list(out, "services");
    for (unsigned i = 0; i < fleet->service_count; i++)
        write_service(fleet, fleet->services[i], out);
    buf_append_char(out, ']');
    open_list(out, "flows");
    for (unsigned i = 0; i < fleet->flow_count && out->len < MAX_FLEET_BYTES; i++)
        write_flow(fleet, fleet->flows[i], out);
    buf_append_char(out, ']');
    key(out, "history");
    buf_append_char(out, '{');
    for (unsigned i = 0; i < fleet->service_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        write_history(fleet, fleet->services[i], out);
    }
    buf_append_char(out, '}');
    key(out, "received");
    write_received(console, out);
    buf_append_char(out, '}');
}

/* ---- the time line, stores ---- */

void write_event(const struct fleet_event *event, struct buf *out)
{
    buf_append_char(out, '{');
    put_integer(out, "time_ms", event->time_ms);
    put_text(out, "kind", fleet_event_name(event->kind));
    put_text(out, "service", event->service);
    if (event->instance[0] != '\0')
        put_text(out, "instance", event->instance);
    else
        put_number(out, "instance", NAN);
    put_text(out, "version", event->version);
    put_text(out, "text", event->text);
    buf_append_char(out, '}');
}

static void write_store(const struct fleet_replica *replica, struct buf *out)
{
    const struct fleet_store *store = &replica->store;

    between(out);
    buf_append_char(out, '{');
    put_text(out, "service", replica->service->name);
    put_text(out, "instance", replica->instance);
    put_text(out, "engine", store->engine);
    put_number(out, "revision", store->revision);
    put_number(out, "lag_ms", store->lag_ms);
    put_number(out, "records", store->records);
    put_number(out, "bytes", store->bytes);
    put_number(out, "limit_bytes", store->limit_bytes);
    put_number(out, "commits_per_s", store->commits_per_s);
    put_number(out, "commit_p99_ms", store->commit_p99_ms);
    buf_append_char(out, '}');
}

void write_stores(const struct console *console, struct buf *out)
{
    buf_append_cstr(out, "{\"stores\":[");
    for (unsigned i = 0; i < console->fleet.replica_count; i++)
        if (console->fleet.replicas[i]->store.is_there && console->fleet.replicas[i]->state != FLEET_GONE)
            write_store(console->fleet.replicas[i], out);
    buf_append_cstr(out, "]}");
}

/* ---- lines ---- */

void write_line(const struct lines_line *line, struct buf *out)
{
    buf_append_char(out, '{');
    put_integer(out, "time_ms", line->time_ms);
    put_str(out, "service", intern_str(line->service));
    put_str(out, "instance", intern_str(line->instance));
    put_text(out, "severity", lines_severity_name((enum lines_severity)line->severity));
    put_str(out, "message", intern_str(line->message));
    put_id(out, "trace_id", line->has_trace, line->trace_id, sizeof(line->trace_id));
    put_id(out, "span_id", line->has_span, line->span_id, sizeof(line->span_id));
    put_pairs(out, "fields", &line->fields);
    buf_append_char(out, '}');
}

/* ---- traces ---- */

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {"internal", "internal", "server", "client", "producer", "consumer"};

    return names[kind < sizeof(names) / sizeof(names[0]) ? kind : 0];
}

/* Each once; a trace has few. */
static void write_services(const struct traces_trace *trace, struct buf *out)
{
    const struct intern_string *seen[32];
    size_t count = 0, at;

    open_list(out, "services");
    for (const struct traces_span *span = trace->first; span != NULL && count < 32; span = span->next) {
        for (at = 0; at < count && seen[at] != span->service; at++)
            ;
        if (at < count)
            continue;
        seen[count++] = span->service;
        between(out);
        buf_append_json_string(out, intern_str(span->service));
    }
    buf_append_char(out, ']');
}

static double ms_of(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* The span that stands for the trace: its root, or what began first of what has come. */
static const struct traces_span *first_span(const struct traces_trace *trace)
{
    const struct traces_span *first = trace->first;

    if (trace->root != NULL)
        return trace->root;
    for (const struct traces_span *span = trace->first; span != NULL; span = span->next)
        first = span->start_ns < first->start_ns ? span : first;
    return first;
}

void write_trace_summary(const struct traces_trace *trace, struct buf *out)
{
    const struct traces_span *first = first_span(trace);

    buf_append_char(out, '{');
    put_id(out, "trace_id", true, trace->id, sizeof(trace->id));
    put_str(out, "service", intern_str(first->service));
    put_str(out, "name", intern_str(first->name));
    put_integer(out, "start_ms", trace->start_ns / 1000000);
    put_number(out, "duration_ms", ms_of(trace->end_ns - trace->start_ns));
    put_integer(out, "spans", trace->span_count);
    write_services(trace, out);
    put_bool(out, "error", trace->failed);
    put_bool(out, "complete", traces_is_complete(trace));
    buf_append_char(out, '}');
}

static void write_span(const struct traces_trace *trace, const struct traces_span *span, struct buf *out)
{
    between(out);
    buf_append_char(out, '{');
    put_id(out, "span_id", true, span->id, sizeof(span->id));
    put_id(out, "parent_id", span->has_parent, span->parent_id, sizeof(span->parent_id));
    put_str(out, "service", intern_str(span->service));
    put_str(out, "instance", intern_str(span->instance));
    put_str(out, "name", intern_str(span->name));
    put_text(out, "kind", kind_name(span->kind));
    put_number(out, "start_us", floor((double)(span->start_ns - trace->start_ns) / 1000));
    put_number(out, "duration_us", floor((double)span->duration_ns / 1000));
    put_bool(out, "error", span->failed);
    put_str(out, "status_message", intern_str(span->message));
    put_pairs(out, "attributes", &span->attributes);
    buf_append_char(out, '}');
}

static void write_lines_of(const struct console *console, const struct traces_trace *trace, struct buf *out)
{
    struct lines_filter filter = {.has_trace = true, .before_ms = UINT64_MAX};
    const struct lines_line *line;
    unsigned count = 0;

    memcpy(filter.trace_id, trace->id, sizeof(trace->id));
    open_list(out, "lines");
    TAILQ_FOREACH(line, &console->lines.list, entry)
    {
        if (!lines_match(&filter, line))
            continue;
        between(out);
        write_line(line, out);
        if (++count == MAX_LINES || out->len > 2 * MAX_TRACE_BYTES)
            break;
    }
    buf_append_char(out, ']');
}

void write_trace(const struct console *console, const struct traces_trace *trace, struct buf *out)
{
    const struct traces_span *span = trace->first;

    buf_append_char(out, '{');
    put_id(out, "trace_id", true, trace->id, sizeof(trace->id));
    put_integer(out, "start_ms", trace->start_ns / 1000000);
    put_number(out, "duration_ms", ms_of(trace->end_ns - trace->start_ns));
    open_list(out, "spans");
    for (; span != NULL && out->len < MAX_TRACE_BYTES; span = span->next)
        write_span(trace, span, out);
    buf_append_char(out, ']');
    put_bool(out, "cut", span != NULL || trace->left_out > 0);
    write_lines_of(console, trace, out);
    buf_append_char(out, '}');
}
