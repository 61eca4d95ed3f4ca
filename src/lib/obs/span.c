#include "span.h"
#include "hex.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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
    double ratio = strcmp(base, "always_off") == 0 ? 0 : 1;
    bool by_ratio = strcmp(base, "traceidratio") == 0;

    if (!by_ratio && strcmp(base, "always_on") != 0 && strcmp(base, "always_off") != 0)
        return -EINVAL;
    if (by_ratio && parse_ratio(arg, &ratio) != 0)
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

void span_begin(const struct span_sink *sink, struct str traceparent, struct trace *ret_trace)
{
    trace_begin(traceparent, false, ret_trace);
    if (sink != NULL && (sink->sampler.regardless || !trace_has_parent(ret_trace)))
        ret_trace->sampled = is_sampled(&sink->sampler, ret_trace);
}

/* ---- a request's headers ---- */

/* Only text that any protocol carries on: it is not ours to send. */
static bool is_text(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((value.s[i] < ' ' && value.s[i] != '\t') || value.s[i] >= 0x7f)
            return false;
    return true;
}

/* All values of a list's header, with commas between them; empty where they are longer than max. */
static struct str list_of(const struct span_carrier *carrier, void *request, const char *name, size_t max)
{
    struct str value = carrier->value(request, name, 0);
    size_t len = 0, count = 0;
    char *to;

    if (value.s == NULL || carrier->value(request, name, 1).s == NULL)
        return value.len <= max && is_text(value) ? value : STR_NULL;
    for (; (value = carrier->value(request, name, count)).s != NULL; count++) {
        len += value.len + 1;
        if (len > max || !is_text(value))
            return STR_NULL;
    }
    if ((to = carrier->alloc(request, len)) == NULL)
        return STR_NULL;
    len = 0;
    for (size_t i = 0; i < count; i++) {
        value = carrier->value(request, name, i);
        if (i > 0)
            to[len++] = ',';
        memcpy(to + len, value.s, value.len);
        len += value.len;
    }
    return (struct str){to, len};
}

static bool is_hex(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (hex_digit(text.s[i]) < 0)
            return false;
    return true;
}

/* "TRACE_ID/SPAN_ID;o=1": 32 hexadecimal digits, a decimal number, and whether it is sampled. As a traceparent; empty:
 * it is not that. */
static struct str parent_of_google(struct str value, char parent[TRACE_PARENT_LEN + 1])
{
    const char *end = value.len > 0 ? memchr(value.s, ';', value.len) : NULL;
    struct str options = end != NULL ? (struct str){end, value.len - (size_t)(end - value.s)} : STR("");
    struct str id = {value.s, value.len - options.len};
    uint64_t span;

    if (id.len < 34 || id.s[32] != '/' || !is_hex((struct str){id.s, 32}) ||
        str_to_u64((struct str){id.s + 33, id.len - 33}, UINT64_MAX, &span) != 0)
        return STR_NULL;
    snprintf(parent, TRACE_PARENT_LEN + 1, "00-%.32s-%016" PRIx64 "-0%d", id.s, span, str_eq(options, STR(";o=1")));
    for (size_t i = 3; i < 35; i++)
        parent[i] = (char)(parent[i] >= 'A' && parent[i] <= 'F' ? parent[i] | 32 : parent[i]);
    return (struct str){parent, TRACE_PARENT_LEN};
}

void span_accept(const struct span_sink *sink, const struct span_carrier *carrier, void *request,
                 struct trace *ret_trace)
{
    struct str parent = carrier->value(request, "traceparent", 0);
    char buffer[TRACE_PARENT_LEN + 1];
    bool is_w3c = parent.s != NULL;

    if (!is_w3c)
        parent = parent_of_google(carrier->value(request, "x-cloud-trace-context", 0), buffer);
    else if (carrier->value(request, "traceparent", 1).s != NULL)
        parent = STR_NULL;
    span_begin(sink, parent, ret_trace);
    if (is_w3c && trace_has_parent(ret_trace))
        ret_trace->state = list_of(carrier, request, "tracestate", SPAN_MAX_STATE);
    ret_trace->baggage = list_of(carrier, request, "baggage", SPAN_MAX_BAGGAGE);
}

void span_begin_child(const struct span_sink *sink, const struct trace *trace, struct trace *ret_child)
{
    if (span_is_wanted(sink, trace))
        trace_child(trace, ret_child);
    else
        *ret_child = *trace;
    ret_child->state = ret_child->baggage = STR_NULL;
}
