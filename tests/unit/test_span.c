/* Which traces are sampled, and whose ids are sent along. */
#include "span.h"
#include <criterion/criterion.h>
#include <errno.h>

#define SAMPLED   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define UNSAMPLED "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

static void ignore(struct span_sink *sink, const struct span *span)
{
}

static struct span_sink sink_of(const char *sampler, const char *arg)
{
    struct span_sink sink = {.put = ignore};

    cr_assert_eq(span_sampler_parse(sampler, arg, &sink.sampler), 0);
    return sink;
}

static bool samples(const struct span_sink *sink, const char *traceparent)
{
    struct trace trace;

    span_begin(sink, str_of(traceparent), &trace);
    return trace.sampled;
}

Test(span, samplers)
{
    static const struct {
        const char *name, *arg;
        bool new, sampled, unsampled;
    } cases[] = {
        {"always_on", "", true, true, true},
        {"always_off", "", false, false, false},
        {"traceidratio", "1", true, true, true},
        {"traceidratio", "0", false, false, false},
        {"parentbased_always_on", "", true, true, false},
        {"parentbased_always_off", "", false, true, false},
        {"parentbased_traceidratio", "1.0", true, true, false},
        {"parentbased_traceidratio", "0", false, true, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span_sink sink = sink_of(cases[i].name, cases[i].arg);

        cr_assert_eq(samples(&sink, ""), cases[i].new, "%s", cases[i].name);
        cr_assert_eq(samples(&sink, SAMPLED), cases[i].sampled, "%s", cases[i].name);
        cr_assert_eq(samples(&sink, UNSAMPLED), cases[i].unsampled, "%s", cases[i].name);
    }
    cr_assert_not(samples(NULL, ""));
    cr_assert(samples(NULL, SAMPLED));
}

Test(span, a_new_trace_is_sampled_by_ratio)
{
    struct span_sink sink = sink_of("parentbased_traceidratio", "0.25");
    unsigned count = 0;

    for (unsigned i = 0; i < 10000; i++)
        count += samples(&sink, "");
    cr_assert(count > 2200 && count < 2800, "%u", count); /* seven times the standard deviation */
}

/* The same ids as by OpenTelemetry's library for Go: the last eight bytes, halved, are compared. */
Test(span, services_of_one_ratio_agree)
{
    struct span_sink sink = sink_of("traceidratio", "0.5");

    cr_assert(samples(&sink, "00-ffffffffffffffff7fffffffffffffff-b7ad6b7169203331-00"));
    cr_assert_not(samples(&sink, "00-00000000000000008000000000000000-b7ad6b7169203331-00"));
}

Test(span, wrong_samplers)
{
    static const char *const ratios[] = {"x", "1.1", "-0.1", "nan", "inf", "0x1", "1 ", " 1", "0,5"};
    struct span_sampler sampler;

    for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
        cr_assert_not_null(span_sampler_check_ratio(ratios[i]), "%s", ratios[i]);
        cr_assert_eq(span_sampler_parse("traceidratio", ratios[i], &sampler), -EINVAL);
    }
    cr_assert_null(span_sampler_check_ratio(""));
    cr_assert_null(span_sampler_check_ratio("1e-3"));
    cr_assert_eq(span_sampler_parse("jaeger_remote", "", &sampler), -EINVAL);
}

Test(span, the_id_that_is_sent_along_is_of_a_span_that_exists)
{
    struct span_sink sink = sink_of("parentbased_always_on", "");
    struct trace trace, child;

    span_begin(&sink, STR(SAMPLED), &trace);
    span_begin_child(&sink, &trace, &child);
    cr_assert_arr_neq(child.span_id, trace.span_id, 8);
    cr_assert_arr_eq(child.parent_id, trace.span_id, 8);
    cr_assert_arr_eq(child.trace_id, trace.trace_id, 16);
    span_begin_child(NULL, &trace, &child);
    cr_assert_arr_eq(child.span_id, trace.span_id, 8);
    span_begin(&sink, STR(UNSAMPLED), &trace);
    span_begin_child(&sink, &trace, &child);
    cr_assert_arr_eq(child.span_id, trace.span_id, 8);
}

/* ---- headers ---- */

struct headers {
    const char *pairs[12]; /* names and values in turn */
    char memory[SPAN_MAX_BAGGAGE];
};

static struct str value_of(void *request, const char *name, size_t index)
{
    const struct headers *headers = request;

    for (size_t i = 0; i < 12 && headers->pairs[i] != NULL; i += 2)
        if (strcmp(headers->pairs[i], name) == 0 && index-- == 0)
            return str_of(headers->pairs[i + 1]);
    return STR_NULL;
}

static void *memory_of(void *request, size_t len)
{
    struct headers *headers = request;

    return len <= sizeof(headers->memory) ? headers->memory : NULL;
}

static struct trace accept_headers(struct headers *headers)
{
    static const struct span_carrier carrier = {.value = value_of, .alloc = memory_of};
    struct trace trace;

    span_accept(NULL, &carrier, headers, &trace);
    return trace;
}
#define ACCEPT(...) accept_headers(&(struct headers){.pairs = {__VA_ARGS__}})

static void expect_id(const struct trace *trace, const char *id)
{
    char text[TRACE_ID_TEXT_SIZE];

    trace_id_text(trace, text);
    cr_assert_str_eq(text, id);
}

static void expect_text(struct str text, const char *expected)
{
    cr_assert(str_eq(text, str_of(expected)), "%.*s", STR_ARG(text));
}

#define OTHER     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define GOOGLE_ID "105445aa7843bc8bf206b12000100000"

Test(span, state_and_baggage_go_along)
{
    struct trace trace = ACCEPT("traceparent", SAMPLED, "tracestate", "a=1", "baggage", "b=2");

    expect_id(&trace, "0af7651916cd43dd8448eb211c80319c");
    expect_text(trace.state, "a=1");
    expect_text(trace.baggage, "b=2");
}

Test(span, several_headers_of_state_are_one_list)
{
    struct trace trace = ACCEPT("traceparent", SAMPLED, "tracestate", "a=1", "tracestate", "b=2,c=3");

    expect_text(trace.state, "a=1,b=2,c=3");
}

Test(span, two_parents_begin_a_new_trace)
{
    struct trace trace = ACCEPT("traceparent", SAMPLED, "traceparent", OTHER, "tracestate", "a=1", "baggage", "b=2");

    cr_assert_arr_neq(trace.trace_id, "\x0a\xf7\x65\x19", 4);
    cr_assert_arr_neq(trace.trace_id, "\x4b\xf9\x2f\x35", 4);
    cr_assert_arr_eq(trace.parent_id, "\0\0\0\0\0\0\0", 8);
    expect_text(trace.state, "");
    expect_text(trace.baggage, "b=2");
}

Test(span, the_state_of_no_parent_is_left_out)
{
    struct trace none = ACCEPT("tracestate", "a=1"), wrong = ACCEPT("traceparent", "x", "tracestate", "a=1");

    expect_text(none.state, "");
    expect_text(wrong.state, "");
}

Test(span, what_is_not_text_or_too_long_is_left_out)
{
    static char longer[SPAN_MAX_BAGGAGE + 2];
    struct trace bad = ACCEPT("traceparent", SAMPLED, "tracestate", "a=\xc3\xa4", "baggage", "a=\x01");
    struct trace big;

    memset(longer, 'x', sizeof(longer) - 1);
    big = ACCEPT("traceparent", SAMPLED, "tracestate", longer, "baggage", longer);
    expect_text(bad.state, "");
    expect_text(bad.baggage, "");
    expect_text(big.state, "");
    expect_text(big.baggage, "");
    big = ACCEPT("baggage", longer + 1);
    cr_assert_eq(big.baggage.len, SPAN_MAX_BAGGAGE);
}

Test(span, googles_header_is_understood_where_there_is_no_parent)
{
    struct trace trace = ACCEPT("x-cloud-trace-context", "105445AA7843bc8bf206b12000100000/18446744073709551615;o=1");

    expect_id(&trace, GOOGLE_ID);
    cr_assert_arr_eq(trace.parent_id, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    cr_assert(trace.sampled);
    trace = ACCEPT("x-cloud-trace-context", GOOGLE_ID "/1;o=0");
    expect_id(&trace, GOOGLE_ID);
    cr_assert_arr_eq(trace.parent_id, "\0\0\0\0\0\0\0\1", 8);
    cr_assert_not(trace.sampled);
    trace = ACCEPT("x-cloud-trace-context", GOOGLE_ID "/1");
    expect_id(&trace, GOOGLE_ID);
    trace = ACCEPT("x-cloud-trace-context", GOOGLE_ID "/1;o=1", "traceparent", SAMPLED);
    expect_id(&trace, "0af7651916cd43dd8448eb211c80319c");
}

Test(span, what_is_not_googles_header_begins_a_new_trace)
{
    static const char *const wrong[] = {
        GOOGLE_ID, GOOGLE_ID "/", GOOGLE_ID "/x", GOOGLE_ID "/18446744073709551616", "x" GOOGLE_ID "/1", "105445aa/1",
        "",        "/1",          GOOGLE_ID "/0"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct trace trace = ACCEPT("x-cloud-trace-context", wrong[i]);

        cr_assert_arr_neq(trace.trace_id, "\x10\x54\x45\xaa", 4, "%s", wrong[i]);
    }
}
