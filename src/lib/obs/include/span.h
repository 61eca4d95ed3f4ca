/* span -- what a process did for a request: a named piece of work with a beginning, an end and attributes. Those who
 * serve, call or store make spans and give each, when it has ended, to a sink, which brings it to a collector of traces
 * (otlp.h). Names and attributes are those of OpenTelemetry's semantic conventions.
 *
 * A trace that begins in this process is sampled or not by the sink's sampler; of a trace that is not sampled, no spans
 * are made. Without a sink (NULL) nothing is sampled that a caller has not sampled, and no spans are made.
 * Any thread.
 */
#pragma once
#include "buf.h"
#include "names.h"
#include "trace.h"

/* As numbered by OTLP. */
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT };

struct span_attribute {
    const char *key;
    enum { SPAN_STRING, SPAN_INTEGER } kind;
    struct str string; /* empty: the attribute is left out */
    int64_t integer;
};
#define SPAN_STR(key_, str_)     ((struct span_attribute){.key = (key_), .kind = SPAN_STRING, .string = (str_)})
#define SPAN_INT(key_, integer_) ((struct span_attribute){.key = (key_), .kind = SPAN_INTEGER, .integer = (integer_)})

#define SPAN_MAX_ATTRIBUTES 16

/* Of a span that ends now. */
struct span {
    const struct trace *trace; /* span_id is the span's own */
    enum span_kind kind;
    struct str name; /* of few different ones: a route's template, a method; never a path */
    uint64_t duration_ns;
    bool failed;
    struct str error; /* of a failed one, for people; may be empty */
    const struct span_attribute *attributes;
    size_t attribute_count; /* SPAN_MAX_ATTRIBUTES at most */
};

struct span_sampler {
    uint64_t below;  /* a trace is sampled if the last 63 bits of its id are below this: SPAN_ALL is all */
    bool regardless; /* of what a caller has decided */
};
#define SPAN_ALL ((uint64_t)1 << 63)

struct span_sink {
    struct span_sampler sampler;
    /* Copies the span and returns; never waits. */
    void (*put)(struct span_sink *sink, const struct span *span);
};

/* As OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, which is a ratio from 0 to 1 and 1 where it is empty. -EINVAL. */
int span_sampler_parse(const char *name, const char *arg, struct span_sampler *ret_sampler);
const char *span_sampler_check_ratio(const char *arg); /* for options: NULL, or what it must be */

/* trace_begin, and the sampler's decision where it is the sink's. */
void span_begin(const struct span_sink *sink, struct str traceparent, struct trace *ret_trace);

/* Where the headers of a request are. */
struct span_carrier {
    /* The value of that name (lower case) that came as number index, from 0; STR_NULL: there is none. */
    struct str (*value)(void *request, const char *name, size_t index);
    void *(*alloc)(void *request, size_t len); /* as long as the request is there; NULL: no memory */
};

#define SPAN_MAX_STATE   2048 /* bytes of tracestate; a longer one is left out */
#define SPAN_MAX_BAGGAGE 8192

/* The same by the request's headers: traceparent, or X-Cloud-Trace-Context (https://docs.cloud.google.com/trace) where
 * there is none; tracestate, where traceparent is right; baggage. More than one traceparent begins a new trace. */
void span_accept(const struct span_sink *sink, const struct span_carrier *carrier, void *request,
                 struct trace *ret_trace);
/* The trace of a call that is made on behalf of trace: of a span of its own where that will be made, else trace itself,
 * so that the id that is sent along is that of a span which exists. */
void span_begin_child(const struct span_sink *sink, const struct trace *trace, struct trace *ret_child);

static inline bool span_is_wanted(const struct span_sink *sink, const struct trace *trace)
{
    return sink != NULL && trace->sampled;
}

static inline void span_end(struct span_sink *sink, const struct span *span)
{
    if (span_is_wanted(sink, span->trace))
        sink->put(sink, span);
}
