#include "span.h"
#include <errno.h>
#include <stdlib.h>

#define PARENT_BASED "parentbased_"

static int parse_ratio(const char *arg, double *ret_ratio)
{
    char *end;
    double ratio;

    if (arg[0] == '\0') {
        *ret_ratio = 1;
        return 0;
    }
    if (strspn(arg, "0123456789.eE+-") != strlen(arg))
        return -EINVAL;
    ratio = strtod(arg, &end);
    if (end == arg || *end != '\0' || !(ratio >= 0 && ratio <= 1))
        return -EINVAL;
    *ret_ratio = ratio;
    return 0;
}

const char *span_sampler_check_ratio(const char *arg)
{
    double ratio;

    return parse_ratio(arg, &ratio) == 0 ? NULL : "must be a number from 0 to 1";
}

int span_sampler_parse(const char *name, const char *arg, struct span_sampler *ret_sampler)
{
    bool parent_based = strncmp(name, PARENT_BASED, strlen(PARENT_BASED)) == 0;
    const char *base = name + (parent_based ? strlen(PARENT_BASED) : 0);
    double ratio = 1;

    if (strcmp(base, "always_off") == 0)
        ratio = 0;
    else if (strcmp(base, "traceidratio") == 0 && parse_ratio(arg, &ratio) != 0)
        return -EINVAL;
    else if (strcmp(base, "always_on") != 0 && strcmp(base, "traceidratio") != 0)
        return -EINVAL;
    *ret_sampler = (struct span_sampler){.below = (uint64_t)(ratio * (double)SPAN_ALL), .regardless = !parent_based};
    return 0;
}

/* As OpenTelemetry's libraries for other languages decide, so that services of one ratio agree. */
static bool is_sampled(const struct span_sampler *sampler, const struct trace *trace)
{
    uint64_t number = 0;

    for (size_t i = 8; i < sizeof(trace->trace_id); i++)
        number = number << 8 | trace->trace_id[i];
    return number >> 1 < sampler->below;
}

static bool has_parent(const struct trace *trace)
{
    static const uint8_t none[sizeof(trace->parent_id)];

    return memcmp(trace->parent_id, none, sizeof(none)) != 0;
}

void span_begin(const struct span_sink *sink, struct str traceparent, struct trace *ret_trace)
{
    trace_begin(traceparent, false, ret_trace);
    if (sink != NULL && (sink->sampler.regardless || !has_parent(ret_trace)))
        ret_trace->sampled = is_sampled(&sink->sampler, ret_trace);
}

void span_begin_child(const struct span_sink *sink, const struct trace *trace, struct trace *ret_child)
{
    if (span_is_wanted(sink, trace))
        trace_child(trace, ret_child);
    else
        *ret_child = *trace;
    ret_child->state = ret_child->baggage = STR_NULL;
}
