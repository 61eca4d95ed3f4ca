/* trace -- W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context/): who a request belongs to.
 * Values only; any thread. */
#pragma once
#include "buf.h"
#include "names.h"

struct trace {
    uint8_t trace_id[16];
    uint8_t span_id[8];   /* of this process's part of the request */
    uint8_t parent_id[8]; /* zero where the trace began here */
    bool sampled;
    /* The headers tracestate and baggage, to be sent along; empty where there are none. Borrowed: valid as long as the
     * request. */
    struct str state, baggage;
};

static inline bool trace_has_parent(const struct trace *trace)
{
    static const uint8_t none[sizeof(trace->parent_id)];

    return memcmp(trace->parent_id, none, sizeof(none)) != 0;
}

#define TRACE_PARENT_LEN   55 /* of a version 00 header */
#define TRACE_ID_TEXT_SIZE 33
#define SPAN_ID_TEXT_SIZE  17

/* A new part of the trace that the header traceparent names; where it is empty or invalid, a new trace (not sampled
 * unless sample_new). Never fails. */
void trace_begin(struct str traceparent, bool sample_new, struct trace *ret_trace);
/* A part below parent: same trace, new span id; without state and baggage, for it may outlive the request. */
void trace_child(const struct trace *parent, struct trace *ret_child);
/* The header to send along with a call made on behalf of trace; terminated. */
void trace_format(const struct trace *trace, char header[TRACE_PARENT_LEN + 1]);
int trace_parse(struct str traceparent, struct trace *ret_trace); /* span_id is the header's; -EINVAL */
void trace_id_text(const struct trace *trace, char text[TRACE_ID_TEXT_SIZE]);
void trace_span_text(const uint8_t span_id[8], char text[SPAN_ID_TEXT_SIZE]);
