#include "../../src/console/lines.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#define MAX (256 * 1024)

static struct lines lines;

static void begin(void)
{
    cr_assert_eq(lines_open(&lines, MAX), 0);
}

static void end(void)
{
    lines_release(&lines);
}

TestSuite(lines, .init = begin, .fini = end);

static const struct lines_line *add(struct str service, struct str message, uint64_t severity, uint64_t time_ms)
{
    struct otlp_record_view record = {.body = message, .severity = severity, .time_ns = time_ms * 1000000};

    record.attributes.count = 1;
    record.attributes.list[0] =
        (struct otlp_pair){.key = STR("detail"), .kind = OTLP_STRING, .string = STR("no such Note")};
    return lines_add(&lines, &record, service, STR("replica"), 5);
}

Test(lines, the_oldest_goes_first)
{
    char message[900];

    for (unsigned i = 0; i < 5000; i++) {
        snprintf(message, sizeof(message), "%u %0800d", i, 0);
        add(STR("a"), str_of(message), 9, i);
        cr_assert_leq(lines.used, MAX + 4096);
    }
    cr_assert_eq(TAILQ_LAST(&lines.list, lines_list)->sequence, 5000);
    cr_assert_gt(TAILQ_FIRST(&lines.list)->sequence, 4000);
}

Test(lines, severities)
{
    static const struct {
        uint64_t number;
        enum lines_severity severity;
    } expected[] = {{0, LINES_INFO},    {1, LINES_DEBUG},     {5, LINES_DEBUG},    {9, LINES_INFO},
                    {10, LINES_NOTICE}, {12, LINES_NOTICE},   {13, LINES_WARNING}, {17, LINES_ERROR},
                    {18, LINES_ERROR},  {21, LINES_CRITICAL}, {99, LINES_CRITICAL}};
    enum lines_severity parsed;

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(add(STR("a"), STR("m"), expected[i].number, 1)->severity, expected[i].severity, "%llu",
                     (unsigned long long)expected[i].number);
    cr_assert_eq(lines_severity_parse(STR("warning"), &parsed), 0);
    cr_assert_eq(parsed, LINES_WARNING);
    cr_assert_eq(lines_severity_parse(STR("loud"), &parsed), -EINVAL);
}

Test(lines, filters)
{
    const struct lines_line *line = add(STR("notes"), STR("GET /v1/notes 404"), 13, 1000);
    struct lines_filter all = {.before_ms = UINT64_MAX, .budget = LINES_MAX_WORK}, filter;

    cr_assert(lines_match(&all, line));
    filter = all, filter.service = STR("notes");
    cr_assert(lines_match(&filter, line));
    filter.service = STR("note");
    cr_assert_not(lines_match(&filter, line));
    filter = all, filter.least = LINES_WARNING;
    cr_assert(lines_match(&filter, line));
    filter.least = LINES_ERROR;
    cr_assert_not(lines_match(&filter, line));
    filter = all, filter.text = STR("get /V1");
    cr_assert(lines_match(&filter, line));
    filter.text = STR("no such note"); /* in a field */
    cr_assert(lines_match(&filter, line));
    filter.text = STR("500");
    cr_assert_not(lines_match(&filter, line));
    filter = all, filter.before_ms = 1000;
    cr_assert_not(lines_match(&filter, line));
    filter = all, filter.has_trace = true;
    cr_assert_not(lines_match(&filter, line));
}

/* A line is not searched for longer than the budget allows. */
Test(lines, a_search_has_a_budget)
{
    struct lines_filter filter = {.before_ms = UINT64_MAX, .text = STR("aaaaaaab"), .budget = 100};
    const struct lines_line *line = add(STR("notes"), STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), 9, 1000);

    cr_assert_not(lines_match(&filter, line));
    cr_assert_eq(filter.budget, 0);
    filter.budget = 1000;
    cr_assert(lines_match(&filter, line));
    cr_assert_gt(filter.budget, 0);
    cr_assert_lt(filter.budget, 1000);
    filter = (struct lines_filter){.before_ms = UINT64_MAX};
    cr_assert(lines_match(&filter, line)); /* nothing is searched */
}

Test(lines, text_is_found_at_both_ends)
{
    uint64_t budget = LINES_MAX_WORK;

    cr_assert(kept_text_has(STR("abc"), STR("AB"), &budget));
    cr_assert(kept_text_has(STR("abc"), STR("bc"), &budget));
    cr_assert(kept_text_has(STR(""), STR(""), &budget));
    cr_assert_not(kept_text_has(STR("ab"), STR("abc"), &budget));
}
