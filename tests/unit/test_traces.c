#include "../../src/console/traces.h"
#include "otlp_fixture.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#define MAX (256 * 1024)

static struct traces traces;

static void begin(void)
{
    cr_assert_eq(traces_open(&traces, MAX), 0);
}

static void end(void)
{
    traces_release(&traces);
}

TestSuite(traces, .init = begin, .fini = end);

/* Whether it was taken. */
static bool add(const struct span_fixture *span, struct str service, uint64_t now_ms)
{
    struct buf item = {0};
    struct otlp_span_view view;
    struct traces_trace *trace;
    struct traces_span *added;

    put_span(&item, span);
    put_attribute(&item, 9, STR("url.path"), STR("/a"));
    cr_assert_eq(otlp_read_span(buf_str(&item), &view), 0);
    cr_assert_eq(traces_add(&traces, &view, service, STR("replica"), now_ms, &trace, &added), 0);
    buf_release(&item);
    return added != NULL;
}

static struct traces_trace *find(uint64_t id)
{
    uint8_t bytes[16] = {0};

    for (size_t i = 0; i < 8; i++)
        bytes[15 - i] = (uint8_t)(id >> (8 * i));
    return traces_find(&traces, bytes);
}

/* As random as ids are. */
static uint64_t id_of(uint64_t number)
{
    return (number + 1) * 0x9e3779b97f4a7c15u;
}

Test(traces, spans_of_a_trace_are_found_in_any_order)
{
    const struct traces_trace *trace;

    add(&(struct span_fixture){.trace = 5, .id = 2, .parent = 1, .start_ns = 2000000, .duration_ns = 10}, STR("b"), 1);
    trace = find(5);
    cr_assert_not_null(trace);
    cr_assert_not(traces_is_complete(trace));
    add(&(struct span_fixture){.trace = 5, .id = 1, .start_ns = 1000000, .duration_ns = 5000000}, STR("a"), 2);
    cr_assert_eq(trace->span_count, 2);
    cr_assert_eq(trace->start_ns, 1000000);
    cr_assert_eq(trace->end_ns, 6000000);
    cr_assert(traces_is_complete(trace));
    cr_assert(str_eq(intern_str(trace->root->service), STR("a")));
    cr_assert_null(find(6));
}

Test(traces, ids_that_are_none_are_refused)
{
    struct otlp_span_view view = {.trace_id = STR("short"), .span_id = STR("12345678")};
    struct traces_trace *trace;
    struct traces_span *span;

    cr_assert_eq(traces_add(&traces, &view, STR("a"), STR("b"), 1, &trace, &span), -EINVAL);
    view.trace_id = (struct str){"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16};
    cr_assert_eq(traces_add(&traces, &view, STR("a"), STR("b"), 1, &trace, &span), -EINVAL);
    cr_assert_null(span);
}

Test(traces, memory_is_bounded_and_given_back)
{
    size_t empty = traces.used;

    for (uint64_t i = 1; i <= 20000; i++)
        add(&(struct span_fixture){.trace = id_of(i), .id = i, .failed = i % 3 == 0}, STR("a"), i);
    cr_assert_leq(traces.used, MAX + 4096);
    cr_assert_gt(traces.used, MAX / 2);
    cr_assert_not_null(find(id_of(20000)));
    traces.max = 0; /* all must go */
    add(&(struct span_fixture){.trace = 1, .id = 1}, STR("a"), 30000);
    cr_assert_lt(traces.used, empty + 4096);
}

/* Names and values that are all different, and as long as they may be sent. */
Test(traces, hostile_strings_do_not_grow_it)
{
    static char name[1 << 20];

    memset(name, 'x', sizeof(name) - 1);
    for (uint64_t i = 1; i <= 2000; i++) {
        snprintf(name, 32, "%llu", (unsigned long long)i);
        name[strlen(name)] = 'y';
        add(&(struct span_fixture){.trace = id_of(i), .id = i, .name = name}, (struct str){name, 1000}, i);
        cr_assert_leq(traces.used, MAX + 8192);
    }
    cr_assert_eq(find(id_of(2000))->first->name->len, INTERN_MAX);
    cr_assert_eq(memcmp(find(id_of(2000))->first->name->s + INTERN_MAX - 3, "\xe2\x80\xa6", 3), 0);
}

Test(traces, a_trace_has_a_bound_of_its_own)
{
    unsigned taken = 0;

    traces.max = 64 << 20;
    for (uint64_t i = 1; i <= TRACES_MAX_SPANS + 10; i++)
        taken += add(&(struct span_fixture){.trace = 1, .id = i}, STR("a"), 1);
    cr_assert_eq(taken, TRACES_MAX_SPANS);
    cr_assert_eq(find(1)->left_out, 10);
    cr_assert_not(traces_is_complete(find(1)));
}

/* Errors stay when ordinary traces have gone. */
Test(traces, errors_outlive_others)
{
    add(&(struct span_fixture){.trace = 1, .id = 1, .failed = true}, STR("a"), 1);
    add(&(struct span_fixture){.trace = 2, .id = 2}, STR("a"), 1);
    for (uint64_t i = 10; i < 5000; i++)
        add(&(struct span_fixture){.trace = id_of(i), .id = i}, STR("a"), 2);
    cr_assert_not_null(find(1));
    cr_assert_null(find(2));
}

/* But not all of the memory is theirs. */
Test(traces, errors_do_not_crowd_out_others)
{
    for (uint64_t i = 10; i < 5000; i++)
        add(&(struct span_fixture){.trace = id_of(i), .id = i, .failed = true}, STR("a"), 2);
    add(&(struct span_fixture){.trace = 2, .id = 2}, STR("a"), 3);
    for (uint64_t i = 5000; i < 5100; i++)
        add(&(struct span_fixture){.trace = id_of(i), .id = i, .failed = true}, STR("a"), 4);
    cr_assert_not_null(find(2));
}

Test(traces, the_slowest_are_kept_as_errors_are)
{
    traces.slow_ns = 1000;
    add(&(struct span_fixture){.trace = 1, .id = 1, .duration_ns = 1000}, STR("a"), 1);
    cr_assert(find(1)->important);
    add(&(struct span_fixture){.trace = 2, .id = 1, .duration_ns = 999}, STR("a"), 1);
    cr_assert_not(find(2)->important);
}

/* A minute of 1,000 traces a second into room for some hundreds: fewer are taken, whole ones, and they go back for a
 * minute. */
Test(traces, are_sampled_by_id_until_they_last)
{
    uint64_t number = 0, now_ms = 1000000, taken = 0;

    for (unsigned second = 0; second < 300; second++, now_ms += 1000) {
        taken = 0;
        for (unsigned i = 0; i < 1000; i++, number++)
            taken += add(&(struct span_fixture){.trace = id_of(number), .id = 1}, STR("a"), now_ms);
        traces_tick(&traces, now_ms);
    }
    cr_assert_lt(traces.threshold, TRACES_ALL / 8);
    cr_assert(taken > 0 && taken < 100);
    cr_assert_geq(now_ms - TAILQ_FIRST(&traces.ordinary)->arrived_ms, TRACES_KEEP_MIN_MS);
    cr_assert_gt(traces.sampled_out, 200000);
    /* a second span of one that is kept is taken, of another is not; an error is in any case */
    cr_assert(add(&(struct span_fixture){.trace = 1, .id = 9, .failed = true}, STR("a"), now_ms));
    cr_assert(add(&(struct span_fixture){.trace = 1, .id = 10}, STR("a"), now_ms));
    cr_assert_not(add(&(struct span_fixture){.trace = UINT64_MAX, .id = 10}, STR("a"), now_ms));
    cr_assert_gt(traces_weight(&traces, TAILQ_FIRST(&traces.ordinary)), 8);
    for (unsigned second = 0; second < 600; second++, now_ms += 1000)
        traces_tick(&traces, now_ms); /* nothing comes any more, and what is kept grows old */
    cr_assert_eq(traces.threshold, TRACES_ALL);
}

static bool keep_order(void *arg, const struct traces_trace *trace)
{
    uint64_t *last = arg;

    cr_assert_leq(trace->arrived_ms, *last);
    *last = trace->arrived_ms;
    return true;
}

Test(traces, are_listed_newest_first)
{
    uint64_t last = UINT64_MAX;

    for (uint64_t i = 1; i < 100; i++)
        add(&(struct span_fixture){.trace = id_of(i), .id = 1, .failed = i % 7 == 0}, STR("a"), i);
    traces_each(&traces, keep_order, &last);
    cr_assert_eq(last, 1);
}
