#include "clock.h"
#include "otlp_internal.h"
#include <assert.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__Span span_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Status status_message;

#define MAX_SPAN     4096 /* bytes, packed */
#define MAX_TEXT     512  /* bytes of a name or value; the rest is cut off */
#define STATUS_ERROR 2

static_assert(SPAN_MAX_ATTRIBUTES <= OTLP_MAX_PAIRS, "a span's attributes fit");

static void add_attribute(struct otlp_pairs *pairs, const struct span_attribute *attribute,
                          struct otlp_scratch *scratch)
{
    if (attribute->kind != SPAN_STRING)
        otlp_add_integer(pairs, attribute->key, attribute->integer);
    else if (attribute->string.len > 0)
        otlp_add_string(pairs, attribute->key, otlp_text(attribute->string, scratch));
}

static void fill_span(const struct span *span, span_message *message, struct otlp_scratch *scratch)
{
    const struct trace *trace = span->trace;

    message->trace_id = otlp_bytes(trace->trace_id, sizeof(trace->trace_id));
    message->span_id = otlp_bytes(trace->span_id, sizeof(trace->span_id));
    if (trace_has_parent(trace))
        message->parent_span_id = otlp_bytes(trace->parent_id, sizeof(trace->parent_id));
    if (trace->state.len <= MAX_TEXT) /* a part of it would be another state */
        message->trace_state = otlp_text(trace->state, scratch);
    message->name = otlp_text(span->name, scratch);
    message->kind = span->kind;
    message->end_time_unix_nano = clock_realtime_ns();
    message->start_time_unix_nano = message->end_time_unix_nano - span->duration_ns;
    message->flags = OTLP_SAMPLED;
}

struct otlp_item *otlp_span_pack(const struct span *span)
{
    span_message message = OTLP_INIT(SPAN);
    status_message status = OTLP_INIT(STATUS);
    struct otlp_scratch scratch;
    struct otlp_pairs pairs;

    assert(span->attribute_count <= SPAN_MAX_ATTRIBUTES);
    otlp_scratch_init(&scratch, MAX_TEXT);
    pairs.count = 0;
    fill_span(span, &message, &scratch);
    for (size_t i = 0; i < span->attribute_count; i++)
        add_attribute(&pairs, &span->attributes[i], &scratch);
    message.attributes = pairs.list;
    message.n_attributes = pairs.count;
    if (span->failed) {
        status.code = STATUS_ERROR;
        status.message = otlp_text(span->error, &scratch);
        message.status = &status;
    }
    return otlp_item_pack(&message.base, 1, MAX_SPAN);
}
