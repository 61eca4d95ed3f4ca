#include "trace.h"
#include <criterion/criterion.h>
#include <errno.h>

#define HEADER "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Test(trace, reads_and_writes_the_header)
{
    struct trace trace;
    char header[TRACE_PARENT_LEN + 1], id[TRACE_ID_TEXT_SIZE], span[SPAN_ID_TEXT_SIZE];

    cr_assert_eq(trace_parse(STR(HEADER), &trace), 0);
    cr_assert(trace.sampled);
    trace_format(&trace, header);
    cr_assert_str_eq(header, HEADER);
    trace_id_text(&trace, id);
    trace_span_text(trace.span_id, span);
    cr_assert_str_eq(id, "4bf92f3577b34da6a3ce929d0e0e4736");
    cr_assert_str_eq(span, "00f067aa0ba902b7");
}

Test(trace, accepts_what_a_later_version_adds)
{
    struct trace trace;

    cr_assert_eq(trace_parse(STR("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"), &trace), 0);
    cr_assert_eq(trace_parse(STR("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what"), &trace), -EINVAL);
}

Test(trace, refuses_what_the_standard_forbids)
{
    static const char *const invalid[] = {
        "",
        "00",
        HEADER "-x",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    struct trace trace;

    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++)
        cr_assert_eq(trace_parse(str_of(invalid[i]), &trace), -EINVAL, "%s", invalid[i]);
}

Test(trace, goes_on_below_a_parent_and_begins_without_one)
{
    struct trace parent, trace, other;

    cr_assert_eq(trace_parse(STR(HEADER), &parent), 0);
    trace_begin(STR(HEADER), false, &trace);
    cr_assert_arr_eq(trace.trace_id, parent.trace_id, 16);
    cr_assert_arr_eq(trace.parent_id, parent.span_id, 8);
    cr_assert_arr_neq(trace.span_id, parent.span_id, 8);
    cr_assert(trace.sampled);
    trace_begin(STR("nonsense"), false, &trace);
    trace_begin(STR_NULL, false, &other);
    cr_assert_not(trace.sampled);
    cr_assert_arr_neq(trace.trace_id, other.trace_id, 16);
    cr_assert_arr_eq(trace.parent_id, ((uint8_t[8]){0}), 8);
}
