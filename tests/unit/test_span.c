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
