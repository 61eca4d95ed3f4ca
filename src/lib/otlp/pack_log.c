/* A line of the log as a LogRecord. What is said of a request has the names of OpenTelemetry's semantic conventions,
 * where there are any. */
#include "clock.h"
#include "otlp_internal.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__LogRecord record_message;

#define MAX_RECORD     8192 /* bytes, packed: see otlp_log_pack */
#define MAX_TEXT       1024 /* bytes of a message or value; the rest is cut off */
#define MAX_SHORT_TEXT 128  /* where that was too much */

/* As the specification's appendix on other formats has it, after syslog. */
static const int32_t severity_numbers[] = {
    [LOG_DEBUG] = 5, [LOG_INFO] = 9, [LOG_NOTICE] = 10, [LOG_WARNING] = 13, [LOG_ERROR] = 17, [LOG_CRITICAL] = 18};

struct record {
    struct otlp_pairs pairs;
    struct otlp_scratch scratch;
    uint32_t left_out; /* attributes */
};

static bool has_room(struct record *record)
{
    if (record->pairs.count < OTLP_MAX_PAIRS)
        return true;
    record->left_out++;
    return false;
}

static void add_string(struct record *record, const char *key, struct str value)
{
    if (value.len > 0 && has_room(record))
        otlp_add_string(&record->pairs, key, otlp_text(value, &record->scratch));
}

static void add_integer(struct record *record, const char *key, uint64_t value)
{
    if (has_room(record))
        otlp_add_integer(&record->pairs, key, (int64_t)value);
}

static void add_field(struct record *record, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_STRING:
        add_string(record, field->key, field->string);
        return;
    case LOG_INTEGER:
        add_integer(record, field->key, (uint64_t)field->integer);
        return;
    case LOG_BOOLEAN:
        if (has_room(record))
            otlp_add_bool(&record->pairs, field->key, field->integer != 0);
        return;
    }
}

static void add_request(struct record *record, const struct log_request *request)
{
    struct str query = request->url, path = STR_NULL, version = request->protocol, protocol;

    str_next(&query, '?', &path);
    str_next(&version, '/', &protocol); /* "HTTP/2" */
    add_string(record, "http.request.method", request->method);
    add_string(record, "url.path", path);
    add_string(record, "url.query", query);
    add_string(record, "url.scheme", request->scheme);
    add_string(record, "server.address", request->host);
    add_integer(record, "http.response.status_code", (uint64_t)request->status);
    add_string(record, "rpc.response.status_code", request->grpc_code);
    add_integer(record, "latency_us", request->latency_ns / 1000);
    add_integer(record, "http.request.body.size", request->request_size);
    add_integer(record, "http.response.body.size", request->response_size);
    add_string(record, "client.address", request->remote_ip);
    add_string(record, "network.local.address", request->server_ip);
    add_string(record, "network.protocol.version", version);
    add_string(record, "user_agent.original", request->user_agent);
    add_string(record, "referer", request->referer);
    add_string(record, "detail", request->detail);
}

static void set_trace(record_message *message, const struct trace *trace)
{
    message->trace_id = otlp_bytes(trace->trace_id, sizeof(trace->trace_id));
    message->span_id = otlp_bytes(trace->span_id, sizeof(trace->span_id));
    message->flags = trace->sampled ? OTLP_SAMPLED : 0;
}

/* NULL: out of memory, or larger than MAX_RECORD. */
static struct otlp_item *pack(const struct log_entry *entry, size_t max_text)
{
    record_message message = OTLP_INIT(LOG_RECORD);
    struct record record;
    otlp_any_value body;

    record.pairs.count = record.left_out = 0;
    otlp_scratch_init(&record.scratch, max_text);
    message.time_unix_nano = message.observed_time_unix_nano = clock_realtime_ns();
    message.severity_number = severity_numbers[entry->severity];
    message.severity_text = otlp_cstr(log_severity_text(entry->severity));
    otlp_any_string(&body, otlp_text(entry->message, &record.scratch));
    message.body = &body;
    for (size_t i = 0; i < entry->field_count; i++)
        add_field(&record, &entry->fields[i]);
    if (entry->request != NULL)
        add_request(&record, entry->request);
    message.attributes = record.pairs.list;
    message.n_attributes = record.pairs.count;
    message.dropped_attributes_count = record.left_out;
    if (entry->trace != NULL)
        set_trace(&message, entry->trace);
    return otlp_item_pack(&message.base, 1, MAX_RECORD);
}

struct otlp_item *otlp_log_pack(const struct log_entry *entry)
{
    struct otlp_item *item = pack(entry, MAX_TEXT);

    return item != NULL ? item : pack(entry, MAX_SHORT_TEXT);
}
