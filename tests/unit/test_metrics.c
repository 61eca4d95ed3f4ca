#include "metrics.h"
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const struct metrics_def requests = {
    .name = "requests_total",
    .help = "Requests \\ and\nanswers \"quoted\".",
    .type = METRICS_COUNTER,
    .labels = {"method", "path"},
    .max_series = 3,
};
static const struct metrics_def queue = {.name = "queue_length", .help = "Waiting.", .type = METRICS_GAUGE};
static const double bounds[] = {.5, 1, 2.5};
static const struct metrics_def latency = {
    .name = "latency_seconds",
    .help = "Latency.",
    .type = METRICS_HISTOGRAM,
    .labels = {"path"},
    .buckets = bounds,
    .bucket_count = 3,
};

#define SERIES(family, ...) metrics_series(family, (const struct str[]){__VA_ARGS__})

static char *text_of(struct metrics *metrics)
{
    struct buf out = {0};

    metrics_write(metrics, &out);
    buf_append_char(&out, '\0');
    cr_assert_not(out.failed);
    return out.data;
}

#define EXPECT_TEXT(metrics, expected)                                                                                 \
    do {                                                                                                               \
        char *text_ = text_of(metrics);                                                                                \
        cr_expect_str_eq(text_, expected);                                                                             \
        free(text_);                                                                                                   \
    } while (0)

Test(metrics, the_text_is_exact)
{
    struct metrics *metrics = metrics_new();
    struct metrics_family *family = metrics_family(metrics, &requests);

    metrics_set(metrics_single(metrics, &queue), 2.5);
    metrics_change(metrics_single(metrics, &queue), -4);
    metrics_add(SERIES(family, STR("GET"), STR("/a\"b\\c\nd")), 2);
    metrics_add(SERIES(family, STR("PUT"), STR("")), UINT64_MAX);
    metrics_observe(SERIES(metrics_family(metrics, &latency), STR("/")), .5);
    metrics_observe(SERIES(metrics_family(metrics, &latency), STR("/")), .75);
    metrics_observe(SERIES(metrics_family(metrics, &latency), STR("/")), 3);
    EXPECT_TEXT(metrics, "# HELP latency_seconds Latency.\n"
                         "# TYPE latency_seconds histogram\n"
                         "latency_seconds_bucket{path=\"/\",le=\"0.5\"} 1\n"
                         "latency_seconds_bucket{path=\"/\",le=\"1\"} 2\n"
                         "latency_seconds_bucket{path=\"/\",le=\"2.5\"} 2\n"
                         "latency_seconds_bucket{path=\"/\",le=\"+Inf\"} 3\n"
                         "latency_seconds_sum{path=\"/\"} 4.25\n"
                         "latency_seconds_count{path=\"/\"} 3\n"
                         "# HELP queue_length Waiting.\n"
                         "# TYPE queue_length gauge\n"
                         "queue_length -1.5\n"
                         "# HELP requests_total Requests \\\\ and\\nanswers \"quoted\".\n"
                         "# TYPE requests_total counter\n"
                         "requests_total{method=\"GET\",path=\"/a\\\"b\\\\c\\nd\"} 2\n"
                         "requests_total{method=\"PUT\",path=\"\"} 18446744073709551615\n");
    cr_expect_null(metrics_free(metrics));
}

Test(metrics, numbers_read_back_as_they_were)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {.1, "0.1"},
                 {1. / 3, "0.3333333333333333"},
                 {1e21, "1e+21"},
                 {INFINITY, "+Inf"},
                 {-INFINITY, "-Inf"},
                 {NAN, "NaN"},
                 {.1 + .2, "0.30000000000000004"}};
    struct metrics *metrics = metrics_new();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[128];
        metrics_set(metrics_single(metrics, &queue), cases[i].value);
        snprintf(expected, sizeof(expected),
                 "# HELP queue_length Waiting.\n# TYPE queue_length gauge\nqueue_length %s\n", cases[i].text);
        EXPECT_TEXT(metrics, expected);
    }
    metrics_free(metrics);
}

Test(metrics, one_name_is_one_family_and_one_set_of_values_one_series)
{
    struct metrics *metrics = metrics_new();
    struct metrics_family *family = metrics_family(metrics, &requests);
    char path[] = "/x";
    struct metrics_series *series = SERIES(family, STR("GET"), str_of(path));

    path[1] = 'y'; /* values are copied */
    cr_expect_eq(metrics_family(metrics, &requests), family);
    cr_expect_eq(SERIES(family, STR("GET"), STR("/x")), series);
    cr_expect_neq(SERIES(family, STR("GET/"), STR("x")), series);
    cr_expect_neq(SERIES(family, STR("GET"), str_of(path)), series);
    metrics_free(metrics);
}

Test(metrics, a_family_is_bounded)
{
    struct metrics *metrics = metrics_new();
    struct metrics_family *family = metrics_family(metrics, &requests);
    struct metrics_series *first = SERIES(family, STR("GET"), STR("0")), *other;

    SERIES(family, STR("GET"), STR("1"));
    SERIES(family, STR("GET"), STR("2"));
    other = SERIES(family, STR("GET"), STR("3"));
    for (unsigned i = 4; i < 1000; i++) {
        char path[16];
        snprintf(path, sizeof(path), "%u", i);
        cr_assert_eq(SERIES(family, STR("GET"), str_of(path)), other);
    }
    cr_expect_eq(SERIES(family, STR("other"), STR("other")), other);
    cr_expect_eq(SERIES(family, STR("GET"), STR("0")), first);
    metrics_add(other, 1);
    EXPECT_TEXT(metrics, "# HELP requests_total Requests \\\\ and\\nanswers \"quoted\".\n"
                         "# TYPE requests_total counter\n"
                         "requests_total{method=\"GET\",path=\"0\"} 0\n"
                         "requests_total{method=\"GET\",path=\"1\"} 0\n"
                         "requests_total{method=\"GET\",path=\"2\"} 0\n"
                         "requests_total{method=\"other\",path=\"other\"} 1\n");
    metrics_free(metrics);
}

Test(metrics, values_that_would_break_a_scrape_count_as_other)
{
    struct metrics *metrics = metrics_new();
    struct metrics_family *family = metrics_family(metrics, &requests);
    struct metrics_series *other = SERIES(family, STR("other"), STR("other"));
    char long_value[257];

    memset(long_value, 'a', sizeof(long_value));
    cr_expect_eq(SERIES(family, STR("GET"), STR("\xff")), other);
    cr_expect_eq(SERIES(family, STR("GET"), STR("a\0b")), other);
    cr_expect_eq(SERIES(family, STR("GET"), ((struct str){long_value, 257})), other);
    cr_expect_neq(SERIES(family, STR("GET"), ((struct str){long_value, 256})), other);
    cr_expect_neq(SERIES(family, STR("GET"), STR("\xc3\xa4")), other);
    metrics_free(metrics);
}

Test(metrics, the_usual_bounds)
{
    static const struct metrics_def def = {.name = "s", .help = "S.", .type = METRICS_HISTOGRAM};
    struct metrics *metrics = metrics_new();
    char *text;

    metrics_observe(metrics_single(metrics, &def), NAN); /* in no bucket but the last */
    metrics_observe(metrics_single(metrics, &def), .0001);
    cr_expect_eq(metrics_counter_value(metrics_single(metrics, &def)), 2);
    text = text_of(metrics);
    cr_expect_not_null(strstr(text, "s_bucket{le=\"5e-05\"} 0\ns_bucket{le=\"0.0001\"} 1\n"));
    cr_expect_not_null(strstr(text, "s_bucket{le=\"0.5\"} 1\n")); /* the objective of latency */
    cr_expect_not_null(strstr(text, "s_bucket{le=\"10\"} 1\ns_bucket{le=\"+Inf\"} 2\ns_sum NaN\ns_count 2\n"));
    free(text);
    metrics_free(metrics);
}

Test(metrics, openmetrics_has_exemplars_of_sampled_traces)
{
    static const struct metrics_def runs = {.name = "runs_total", .help = "\"Runs\".", .type = METRICS_COUNTER};
    struct metrics *metrics = metrics_new();
    struct metrics_series *series = SERIES(metrics_family(metrics, &latency), STR("/"));
    struct trace trace = {.trace_id = {0xab}, .span_id = {0xcd}, .sampled = false};
    struct buf out = {0};
    const char *at;

    metrics_add(metrics_single(metrics, &runs), 3);
    metrics_observe_traced(series, .25, &trace);
    metrics_observe_traced(series, .25, NULL);
    trace.sampled = true;
    metrics_observe_traced(series, .75, &trace);
    trace.trace_id[0] = 0xff;
    metrics_observe_traced(series, .8, &trace); /* too soon after another */
    metrics_write_openmetrics(metrics, &out);
    buf_append_char(&out, '\0');
    cr_assert_not(out.failed);
    at = strstr(out.data, "latency_seconds_bucket{path=\"/\",le=\"1\"} 4 # "
                          "{trace_id=\"ab000000000000000000000000000000\",span_id=\"cd00000000000000\"} 0.75 1");
    cr_expect_not_null(at, "%s", out.data);
    cr_expect_not_null(strstr(out.data, "latency_seconds_bucket{path=\"/\",le=\"0.5\"} 2\n"));
    cr_expect_not_null(strstr(out.data, "# HELP runs \\\"Runs\\\".\n# TYPE runs counter\nruns_total 3\n# EOF\n"));
    buf_release(&out);
    EXPECT_TEXT(metrics, "# HELP latency_seconds Latency.\n"
                         "# TYPE latency_seconds histogram\n"
                         "latency_seconds_bucket{path=\"/\",le=\"0.5\"} 2\n"
                         "latency_seconds_bucket{path=\"/\",le=\"1\"} 4\n"
                         "latency_seconds_bucket{path=\"/\",le=\"2.5\"} 4\n"
                         "latency_seconds_bucket{path=\"/\",le=\"+Inf\"} 4\n"
                         "latency_seconds_sum{path=\"/\"} 2.05\n"
                         "latency_seconds_count{path=\"/\"} 4\n"
                         "# HELP runs_total \"Runs\".\n# TYPE runs_total counter\nruns_total 3\n");
    metrics_free(metrics);
}

Test(metrics, null_does_nothing)
{
    cr_expect_null(metrics_family(NULL, &requests));
    cr_expect_null(metrics_series(NULL, NULL));
    cr_expect_null(metrics_single(NULL, &queue));
    metrics_add(NULL, 1);
    metrics_set(NULL, 1);
    metrics_change(NULL, 1);
    metrics_observe(NULL, 1);
    cr_expect_eq(metrics_counter_value(NULL), 0);
    metrics_on_scrape(NULL, NULL, NULL);
    metrics_off_scrape(NULL, NULL, NULL);
    metrics_add_process(NULL, "x", "");
    cr_expect_null(metrics_free(NULL));
}

static void count_up(void *arg)
{
    metrics_change(arg, 1);
}

Test(metrics, callbacks_run_before_a_scrape_reads)
{
    struct metrics *metrics = metrics_new();
    struct metrics_series *gauge = metrics_single(metrics, &queue);

    metrics_on_scrape(metrics, count_up, gauge);
    EXPECT_TEXT(metrics, "# HELP queue_length Waiting.\n# TYPE queue_length gauge\nqueue_length 1\n");
    EXPECT_TEXT(metrics, "# HELP queue_length Waiting.\n# TYPE queue_length gauge\nqueue_length 2\n");
    metrics_off_scrape(metrics, count_up, gauge);
    EXPECT_TEXT(metrics, "# HELP queue_length Waiting.\n# TYPE queue_length gauge\nqueue_length 2\n");
    metrics_free(metrics);
}

/* The value of the line that begins with prefix; NaN where there is none. */
static double value_of(const char *text, const char *prefix)
{
    const char *line = strstr(text, prefix);

    while (line != NULL && line != text && line[-1] != '\n')
        line = strstr(line + 1, prefix);
    return line != NULL ? strtod(line + strlen(prefix), NULL) : NAN;
}

Test(metrics, the_process)
{
    struct metrics *metrics = metrics_new();
    char *text;

    metrics_add_process(metrics, "demo", "0123ab");
    text = text_of(metrics);
    cr_expect_not_null(strstr(text, "# TYPE process_cpu_seconds_total counter\n"));
    cr_expect_geq(value_of(text, "process_cpu_seconds_total "), 0);
    cr_expect_gt(value_of(text, "process_resident_memory_bytes "), 100e3);
    cr_expect_gt(value_of(text, "process_virtual_memory_bytes "), value_of(text, "process_resident_memory_bytes "));
    cr_expect_geq(value_of(text, "process_open_fds "), 3);
    cr_expect_geq(value_of(text, "process_max_fds "), value_of(text, "process_open_fds "));
    cr_expect_gt(value_of(text, "process_start_time_seconds "), 1.7e9);
    cr_expect_geq(value_of(text, "process_major_page_faults_total "), 0);
    cr_expect_geq(value_of(text, "process_involuntary_context_switches_total "), 0);
    cr_expect_not_null(strstr(text, "# TYPE thread_cpu_seconds_total counter\n"));
    cr_expect_not_null(strstr(text, "\",build_id=\"0123ab\"} 1\n"));
    cr_expect_not_null(strstr(text, "\nbuild_info{service=\"demo\",version=\"" SLIPWAY_VERSION "\",compiler=\""));
    free(text);
    metrics_free(metrics);
}

#define THREADS 4
#define ROUNDS  2000

static void *update(void *arg)
{
    struct metrics *metrics = arg;
    static const struct metrics_def many = {
        .name = "many_total", .help = "Many.", .type = METRICS_COUNTER, .labels = {"i"}, .max_series = 200};
    struct metrics_family *family = metrics_family(metrics, &many);

    for (unsigned i = 0; i < ROUNDS; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%u", i % 300);
        metrics_add(metrics_series(family, &(struct str){value, strlen(value)}), 1);
        metrics_change(metrics_single(metrics, &queue), .5);
        metrics_observe(metrics_series(metrics_family(metrics, &latency), &STR("/")), .25);
    }
    return NULL;
}

static double sum_of(const char *text, const char *prefix, size_t *ret_lines)
{
    double sum = 0;

    *ret_lines = 0;
    for (const char *line = strstr(text, prefix); line != NULL; line = strstr(line + 1, prefix)) {
        sum += strtod(strchr(line, ' ') + 1, NULL);
        (*ret_lines)++;
    }
    return sum;
}

Test(metrics, no_update_is_lost_between_threads_and_scrapes)
{
    struct metrics *metrics = metrics_new();
    pthread_t threads[THREADS];
    size_t lines;
    char *text;

    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, update, metrics), 0);
    for (size_t i = 0; i < 20; i++)
        free(text_of(metrics));
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    text = text_of(metrics);
    cr_expect_eq(sum_of(text, "\nmany_total{", &lines), THREADS * ROUNDS);
    cr_expect_eq(lines, 201);
    cr_expect_eq(value_of(text, "queue_length "), THREADS * ROUNDS / 2);
    cr_expect_eq(value_of(text, "latency_seconds_sum{path=\"/\"} "), THREADS * ROUNDS / 4);
    cr_expect_eq(value_of(text, "latency_seconds_count{path=\"/\"} "), THREADS * ROUNDS);
    free(text);
    metrics_free(metrics);
}

static const struct metrics_def of_one_label = {
    .name = "family_total", .help = "A family.", .type = METRICS_COUNTER, .labels = {"a"}};

static void ask_again_with(struct metrics_def def)
{
    struct metrics *metrics = metrics_new();

    metrics_family(metrics, &of_one_label);
    metrics_family(metrics, &def);
    metrics_free(metrics);
}

Test(metrics, a_family_is_asked_for_again)
{
    ask_again_with(of_one_label);
}

Test(metrics, a_family_has_one_type, .signal = SIGABRT)
{
    ask_again_with((struct metrics_def){.name = "family_total", .help = "", .type = METRICS_GAUGE, .labels = {"a"}});
}

Test(metrics, a_family_has_one_list_of_labels, .signal = SIGABRT)
{
    ask_again_with((struct metrics_def){.name = "family_total", .help = "", .type = METRICS_COUNTER, .labels = {"b"}});
}

Test(metrics, a_family_has_no_label_more, .signal = SIGABRT)
{
    ask_again_with(
        (struct metrics_def){.name = "family_total", .help = "", .type = METRICS_COUNTER, .labels = {"a", "b"}});
}

Test(metrics, a_family_has_no_label_less, .signal = SIGABRT)
{
    ask_again_with((struct metrics_def){.name = "family_total", .help = "", .type = METRICS_COUNTER});
}
