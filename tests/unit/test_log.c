#include "log.h"
#include "metrics.h"
#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLOSE_MS 10000

/* A log that writes to a pipe, and all that came out of it. */
struct fixture {
    struct metrics *metrics;
    struct log *log;
    int ends[2];
    pthread_t reader;
    struct buf text;
    json_t **lines;
    size_t count;
};

static void *read_all(void *arg)
{
    struct fixture *f = arg;
    ssize_t got;

    do {
        char *room = buf_reserve(&f->text, 65536);
        cr_assert_not_null(room);
        got = read(f->ends[0], room, 65536);
        f->text.len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    return NULL;
}

static void start_reading(struct fixture *f)
{
    cr_assert_eq(pthread_create(&f->reader, NULL, read_all, f), 0);
}

static void begin_def(struct fixture *f, struct log_def def)
{
    *f = (struct fixture){.metrics = metrics_new()};
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe(f->ends), 0);
    def.fd = f->ends[1];
    def.service = "demo \"d\"";
    def.metrics = f->metrics;
    cr_assert_eq(log_open(&def, &f->log), 0);
}

static void begin_unread(struct fixture *f, const char *project)
{
    begin_def(f, (struct log_def){.least = LOG_INFO, .project = project});
}

static void begin(struct fixture *f, const char *project)
{
    begin_unread(f, project);
    start_reading(f);
}

static void parse_lines(struct fixture *f)
{
    char *at = f->text.data, *end = at + f->text.len;

    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        json_error_t error;

        cr_assert_not_null(newline, "the last line is not whole");
        cr_assert_leq(newline - at, 65536);
        f->lines = realloc(f->lines, (f->count + 1) * sizeof(f->lines[0]));
        f->lines[f->count] = json_loadb(at, (size_t)(newline - at), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        cr_assert_not_null(f->lines[f->count], "%s: %.*s", error.text, (int)(newline - at), at);
        f->count++;
        at = newline + 1;
    }
}

/* Flushes and reads the rest. */
static void end_text(struct fixture *f)
{
    cr_assert_null(log_close(f->log, CLOSE_MS));
    close(f->ends[1]);
    pthread_join(f->reader, NULL);
    close(f->ends[0]);
}

static void end(struct fixture *f)
{
    end_text(f);
    parse_lines(f);
}

static void clean(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        json_decref(f->lines[i]);
    free(f->lines);
    buf_release(&f->text);
    metrics_free(f->metrics);
}

static const char *string(const json_t *line, const char *key)
{
    const char *value = json_string_value(json_object_get(line, key));

    return value != NULL ? value : "(none)";
}

static uint64_t dropped_total(struct fixture *f)
{
    return metrics_counter_value(metrics_single(
        f->metrics, &(struct metrics_def){.name = "log_lines_dropped_total", .help = "", .type = METRICS_COUNTER}));
}

static const struct trace trace = {
    .trace_id = {0x4b, 0xf9, [15] = 0x36}, .span_id = {0, 0xf0, [7] = 0xb7}, .sampled = true};

Test(log, a_message_with_members)
{
    struct fixture f;
    struct log_field yes = {.key = "yes", .kind = LOG_BOOLEAN, .integer = 1};
    json_t *line;

    begin(&f, "my-project");
    log_fields(f.log, LOG_NOTICE, &trace, "listening",
               (const struct log_field[]){LOG_STR("address", STR("[::1]:80")), LOG_CSTR("name", "a\nb"),
                                          LOG_INT("least", INT64_MIN), yes},
               4);
    end(&f);
    cr_assert_eq(f.count, 1);
    line = f.lines[0];
    cr_expect_str_eq(string(line, "severity"), "NOTICE");
    cr_expect_str_eq(string(line, "message"), "listening");
    cr_expect_str_eq(string(line, "address"), "[::1]:80");
    cr_expect_str_eq(string(line, "name"), "a\nb");
    cr_expect_eq(json_integer_value(json_object_get(line, "least")), INT64_MIN);
    cr_expect(json_is_true(json_object_get(line, "yes")));
    cr_expect_str_eq(string(line, "logging.googleapis.com/trace"),
                     "projects/my-project/traces/4bf90000000000000000000000000036");
    cr_expect_str_eq(string(line, "logging.googleapis.com/spanId"), "00f00000000000b7");
    cr_expect(json_is_true(json_object_get(line, "logging.googleapis.com/trace_sampled")));
    cr_expect_str_eq(string(json_object_get(line, "logging.googleapis.com/labels"), "service"), "demo \"d\"");
    cr_expect_str_eq(string(json_object_get(line, "serviceContext"), "service"), "demo \"d\"");
    cr_expect_str_eq(string(json_object_get(line, "serviceContext"), "version"), SLIPWAY_VERSION);
    cr_expect_eq(json_object_size(line), 12);
    clean(&f);
}

Test(log, the_time_is_rfc_3339)
{
    struct fixture f;
    unsigned year, rest[5], fraction;
    char zone, beyond;

    begin(&f, NULL);
    log_printf(f.log, LOG_INFO, NULL, "%s %d", "now", 1);
    end(&f);
    cr_expect_str_eq(string(f.lines[0], "message"), "now 1");
    cr_assert_eq(sscanf(string(f.lines[0], "time"), "%4u-%2u-%2uT%2u:%2u:%2u.%9u%c%c", &year, &rest[0], &rest[1],
                        &rest[2], &rest[3], &rest[4], &fraction, &zone, &beyond),
                 8);
    cr_expect_geq(year, 2024);
    cr_expect_eq(zone, 'Z');
    clean(&f);
}

Test(log, a_project_cannot_forge_members)
{
    struct fixture f;

    begin(&f, "p\",\"severity\":\"x\n");
    log_printf(f.log, LOG_INFO, &trace, "x");
    end(&f);
    cr_assert_eq(f.count, 1);
    cr_expect_str_eq(string(f.lines[0], "logging.googleapis.com/trace"),
                     "projects/p\",\"severity\":\"x\n/traces/4bf90000000000000000000000000036");
    clean(&f);
}

/* The text after the time of the line. */
static const char *after_time(struct fixture *f)
{
    buf_append_char(&f->text, '\0');
    cr_assert_gt(f->text.len, strlen("2026-01-01T00:00:00.000000Z "));
    cr_expect_eq(f->text.data[26], 'Z', "%s", f->text.data);
    return f->text.data + 28;
}

Test(log, text_is_for_people)
{
    struct fixture f;
    struct log_request request = {.method = STR("GET"),
                                  .url = STR("/a"),
                                  .status = 404,
                                  .detail = STR("no such \x1b[31mnote"),
                                  .latency_ns = 1002000};
    const struct log_field fields[] = {LOG_CSTR("a", "plain"),
                                       LOG_CSTR("b c", "two words"),
                                       LOG_INT("n", -3),
                                       {.key = "yes", .kind = LOG_BOOLEAN, .integer = 1}};

    begin_def(&f, (struct log_def){.least = LOG_INFO, .text = true});
    start_reading(&f);
    log_fields(f.log, LOG_NOTICE, &trace, "a \"message\"\nforged", fields, 4);
    end_text(&f);
    cr_expect_str_eq(after_time(&f), "NOTICE   a \\\"message\\\"\\nforged a=plain b c=\"two words\" n=-3 yes=true"
                                     " trace=4bf90000000000000000000000000036\n");
    clean(&f);

    begin_def(&f, (struct log_def){.least = LOG_INFO, .text = true});
    start_reading(&f);
    log_request(f.log, NULL, &request);
    end_text(&f);
    cr_expect_str_eq(after_time(&f),
                     "WARNING  GET /a 404 detail=\"no such \\u001b[31mnote\" request_size=0 response_size=0"
                     " latency=0.001002s\n");
    clean(&f);
}

Test(log, a_long_text_line_is_cut)
{
    struct fixture f;
    char long_text[100000];

    memset(long_text, 'x', sizeof(long_text));
    begin_def(&f, (struct log_def){.least = LOG_INFO, .text = true});
    start_reading(&f);
    log_fields(f.log, LOG_INFO, NULL, "m", &LOG_STR("k", ((struct str){long_text, sizeof(long_text)})), 1);
    end_text(&f);
    cr_assert_leq(f.text.len, 65536);
    buf_append_char(&f.text, '\0');
    cr_expect_not_null(strstr(f.text.data, "xxx...\n"));
    clean(&f);
}

Test(log, successes_are_skipped_by_trace)
{
    struct trace low = {.trace_id = {[7] = 1}}, high = {.trace_id = {[8] = 0xff}}, sampled = high;
    const struct trace *traces[] = {&low, &high, &sampled, NULL};
    struct fixture f;

    sampled.sampled = true;
    begin_def(&f, (struct log_def){.least = LOG_INFO, .skip_successes = 50});
    start_reading(&f);
    for (size_t i = 0; i < 4; i++) {
        log_request(f.log, traces[i], &(struct log_request){.message = STR("ok"), .status = 200});
        log_request(f.log, traces[i], &(struct log_request){.message = STR("not"), .status = 404});
    }
    end(&f);
    cr_assert_eq(f.count, 7); /* but for the success of high */
    cr_expect_str_eq(string(f.lines[0], "message"), "ok");
    cr_expect_str_eq(string(f.lines[2], "message"), "not");
    cr_expect_str_eq(string(f.lines[3], "message"), "ok");
    clean(&f);

    begin_def(&f, (struct log_def){.least = LOG_INFO, .skip_successes = 100});
    start_reading(&f);
    log_request(f.log, &low, &(struct log_request){.message = STR("ok"), .status = 200});
    end(&f);
    cr_expect_eq(f.count, 0);
    clean(&f);
}

Test(log, the_least_severity_may_change)
{
    enum log_severity level;
    struct fixture f;

    begin(&f, NULL);
    log_set_least(f.log, LOG_ERROR);
    log_printf(f.log, LOG_WARNING, NULL, "not");
    log_fields_always(f.log, LOG_INFO, NULL, "the port", NULL, 0);
    log_set_least(f.log, LOG_DEBUG);
    log_printf(f.log, LOG_DEBUG, NULL, "x");
    end(&f);
    cr_assert_eq(f.count, 2);
    cr_expect_str_eq(string(f.lines[0], "message"), "the port");
    cr_expect_str_eq(string(f.lines[1], "severity"), "DEBUG");
    clean(&f);
    for (int i = LOG_DEBUG; i <= LOG_CRITICAL; i++) {
        cr_assert_eq(log_severity_parse(str_of(log_severity_name((enum log_severity)i)), &level), 0);
        cr_expect_eq((int)level, i);
    }
    cr_expect_eq(log_severity_parse(STR("loud"), &level), -EINVAL);
    cr_expect_eq(log_severity_parse(STR(""), &level), -EINVAL);
}

Test(log, a_trace_without_a_project)
{
    struct fixture f;

    begin(&f, "");
    log_printf(f.log, LOG_INFO, &(struct trace){.trace_id = {1}}, "x");
    log_printf(f.log, LOG_INFO, NULL, "x");
    end(&f);
    cr_assert_eq(f.count, 2);
    cr_expect_str_eq(string(f.lines[0], "logging.googleapis.com/trace"), "01000000000000000000000000000000");
    cr_expect(json_is_false(json_object_get(f.lines[0], "logging.googleapis.com/trace_sampled")));
    cr_expect_null(json_object_get(f.lines[1], "logging.googleapis.com/trace"));
    clean(&f);
}

Test(log, what_is_below_the_least_severity_is_not_written)
{
    struct fixture f;

    begin(&f, NULL);
    cr_expect_not(log_enabled(f.log, LOG_DEBUG));
    cr_expect(log_enabled(f.log, LOG_INFO));
    cr_expect_not(log_enabled(NULL, LOG_CRITICAL));
    log_printf(f.log, LOG_DEBUG, NULL, "x");
    log_printf(NULL, LOG_CRITICAL, NULL, "x");
    log_printf(f.log, LOG_CRITICAL, NULL, "y");
    end(&f);
    cr_assert_eq(f.count, 1);
    cr_expect_str_eq(string(f.lines[0], "severity"), "CRITICAL");
    clean(&f);
}

Test(log, a_request)
{
    struct fixture f;
    struct log_request request = {
        .method = STR("GET"),
        .url = STR("/v1/notes?x=\"1\""),
        .user_agent = STR("curl/8"),
        .scheme = STR("https"),
        .host = STR("h\":80"),
        .remote_ip = STR("::1"),
        .server_ip = STR("127.0.0.1"),
        .referer = STR("http://r/"),
        .protocol = STR("HTTP/2"),
        .detail = STR("no such note"),
        .status = 404,
        .request_size = UINT64_MAX,
        .response_size = 12,
        .latency_ns = 12034567,
    };
    const json_t *http;

    begin(&f, NULL);
    log_request(f.log, &trace, &request);
    end(&f);
    cr_assert_eq(f.count, 1);
    http = json_object_get(f.lines[0], "httpRequest");
    cr_expect_str_eq(string(f.lines[0], "severity"), "WARNING");
    cr_expect_str_eq(string(f.lines[0], "message"), "GET /v1/notes?x=\"1\" 404");
    cr_expect_str_eq(string(f.lines[0], "detail"), "no such note");
    cr_expect_null(json_object_get(f.lines[0], "grpc_code"));
    cr_expect_str_eq(string(http, "requestMethod"), "GET");
    cr_expect_str_eq(string(http, "requestUrl"), "https://h\":80/v1/notes?x=\"1\"");
    cr_expect_str_eq(string(http, "userAgent"), "curl/8");
    cr_expect_str_eq(string(http, "remoteIp"), "::1");
    cr_expect_str_eq(string(http, "serverIp"), "127.0.0.1");
    cr_expect_str_eq(string(http, "referer"), "http://r/");
    cr_expect_str_eq(string(http, "protocol"), "HTTP/2");
    cr_expect_eq(json_integer_value(json_object_get(http, "status")), 404);
    cr_expect_str_eq(string(http, "requestSize"), "18446744073709551615");
    cr_expect_str_eq(string(http, "responseSize"), "12");
    cr_expect_str_eq(string(http, "latency"), "0.012034s");
    cr_expect_eq(json_object_size(http), 11);
    clean(&f);
}

Test(log, a_url_is_whole_where_all_of_it_is_known)
{
    static const struct {
        const char *scheme, *host, *url, *logged;
    } cases[] = {
        {"http", "h", "/p", "http://h/p"},
        {"http", "h", "http://other/p", "http://other/p"},
        {"http", "h", "*", "*"},
        {"http", "", "/p", "/p"}, /* HTTP/1.0 */
        {"", "h", "/p", "/p"},
        {"http", "\xff\n", "/\xff\n", "http://\xef\xbf\xbd\n/\xef\xbf\xbd\n"},
    };
    struct fixture f;

    begin(&f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        log_request(f.log, NULL,
                    &(struct log_request){.scheme = str_of(cases[i].scheme),
                                          .host = str_of(cases[i].host),
                                          .url = str_of(cases[i].url),
                                          .status = 200});
    end(&f);
    cr_assert_eq(f.count, sizeof(cases) / sizeof(cases[0]));
    for (size_t i = 0; i < f.count; i++)
        cr_expect_str_eq(string(json_object_get(f.lines[i], "httpRequest"), "requestUrl"), cases[i].logged);
    clean(&f);
}

Test(log, the_severity_of_a_request_is_its_status)
{
    static const struct {
        int status;
        const char *severity;
    } cases[] = {{200, "INFO"}, {399, "INFO"}, {400, "WARNING"}, {499, "WARNING"}, {500, "ERROR"}, {504, "ERROR"}};
    struct fixture f;

    begin(&f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        log_request(f.log, NULL,
                    &(struct log_request){.message = STR("m"), .status = cases[i].status, .grpc_code = STR("OK")});
    end(&f);
    cr_assert_eq(f.count, sizeof(cases) / sizeof(cases[0]));
    for (size_t i = 0; i < f.count; i++) {
        cr_expect_str_eq(string(f.lines[i], "severity"), cases[i].severity);
        cr_expect_str_eq(string(f.lines[i], "message"), "m");
        cr_expect_str_eq(string(f.lines[i], "grpc_code"), "OK");
        cr_expect_eq(json_object_size(json_object_get(f.lines[i], "httpRequest")), 4);
    }
    clean(&f);
}

Test(log, hostile_bytes_stay_json)
{
    struct fixture f;
    char every[256];

    for (size_t i = 0; i < sizeof(every); i++)
        every[i] = (char)i;
    begin(&f, NULL);
    log_request(f.log, NULL, &(struct log_request){.method = {every, 256}, .url = {every, 256}, .status = 200});
    log_fields(f.log, LOG_INFO, NULL, "\xed\xa0\x80 \"\\\n\x7f", &LOG_STR("key", ((struct str){every, 256})), 1);
    end(&f);
    cr_expect_eq(f.count, 2);
    clean(&f);
}

Test(log, a_long_line_is_cut_and_stays_json)
{
    enum { LEN = 200000 };
    struct fixture f;
    struct log_field fields[8];
    char *text = malloc(LEN + 1), *controls = malloc(LEN);

    for (size_t i = 0; i < LEN; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    text[LEN] = '\0';
    memset(controls, 1, LEN); /* each takes six bytes */
    for (size_t i = 0; i < 8; i++)
        fields[i] =
            LOG_STR(((const char *[]){"a", "b", "c", "d", "e", "f", "g", "h"})[i], ((struct str){controls, LEN}));
    begin(&f, NULL);
    log_printf(f.log, LOG_INFO, NULL, "%.*s", 20000, text);
    log_printf(f.log, LOG_INFO, NULL, "x%s", text);
    log_fields(f.log, LOG_INFO, &trace, text, fields, 8);
    end(&f);
    cr_assert_eq(f.count, 3);
    cr_expect_eq(strlen(string(f.lines[0], "message")), 20000);
    cr_expect_null(json_object_get(f.lines[0], "truncated"));
    cr_expect_eq(strlen(string(f.lines[1], "message")), 8191, "cut between characters");
    cr_expect(json_is_true(json_object_get(f.lines[1], "truncated")));
    cr_expect_eq(strlen(string(f.lines[2], "h")), 1024);
    cr_expect_eq(dropped_total(&f), 0);
    clean(&f);
    free(text);
    free(controls);
}

/* What arrived, and what the lines say did not. */
static void count(const struct fixture *f, size_t *ret_lines, size_t *ret_dropped)
{
    *ret_lines = *ret_dropped = 0;
    for (size_t i = 0; i < f->count; i++) {
        const json_t *dropped = json_object_get(f->lines[i], "dropped");
        if (dropped != NULL) {
            cr_expect_str_eq(string(f->lines[i], "severity"), "WARNING");
            *ret_dropped += (size_t)json_integer_value(dropped);
        } else {
            (*ret_lines)++;
        }
    }
}

static void overflow(bool non_blocking)
{
    enum { LINES = 40000 };
    struct fixture f;
    size_t lines, dropped;
    char text[201];

    memset(text, 'x', 200);
    text[200] = '\0';
    begin_unread(&f, NULL);
    if (non_blocking)
        cr_assert_eq(fcntl(f.ends[1], F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < LINES; i++)
        log_printf(f.log, LOG_INFO, NULL, "%d %s", i, text);
    cr_expect_gt(dropped_total(&f), 0);
    start_reading(&f);
    end(&f);
    count(&f, &lines, &dropped);
    cr_expect_eq(lines + dropped, LINES);
    cr_expect_eq(dropped_total(&f), dropped);
    cr_expect_gt(lines * 400, 4 * 1024 * 1024, "a queue of 4 MiB was not used: %zu lines", lines);
    clean(&f);
}

Test(log, lines_beyond_the_queue_are_dropped_and_counted)
{
    overflow(false);
}

Test(log, the_same_where_output_does_not_block)
{
    overflow(true);
}

Test(log, a_reader_that_has_gone)
{
    struct fixture f;

    begin_unread(&f, NULL);
    close(f.ends[0]);
    for (int i = 0; i < 100; i++)
        log_printf(f.log, LOG_INFO, NULL, "x");
    cr_expect_null(log_close(f.log, CLOSE_MS));
    cr_expect_eq(dropped_total(&f), 100);
    close(f.ends[1]);
    clean(&f);
}

Test(log, closing_is_bounded)
{
    struct fixture f;

    begin_unread(&f, NULL);
    for (int i = 0; i < 2000; i++)
        log_printf(f.log, LOG_INFO, NULL, "%d", i);
    cr_expect_null(log_close(f.log, 1)); /* the pipe is full, and nobody reads */
    clean(&f);
    close(f.ends[0]);
    close(f.ends[1]);
}

#define THREADS 4
#define ROUNDS  500

static void *log_many(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        log_fields(arg, LOG_INFO, NULL, "m",
                   (const struct log_field[]){LOG_INT("thread", (int64_t)pthread_self()), LOG_INT("i", i)}, 2);
    return NULL;
}

Test(log, threads_do_not_mix_their_lines)
{
    struct fixture f;
    pthread_t threads[THREADS];
    int64_t next[THREADS] = {0};

    begin(&f, NULL);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, log_many, f.log), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    end(&f);
    cr_assert_eq(f.count, THREADS * ROUNDS);
    for (size_t i = 0; i < f.count; i++) {
        size_t t = 0;
        while (t < THREADS && json_integer_value(json_object_get(f.lines[i], "thread")) != (int64_t)threads[t])
            t++;
        cr_assert_lt(t, THREADS);
        cr_assert_eq(json_integer_value(json_object_get(f.lines[i], "i")), next[t]++);
    }
    clean(&f);
}

/* ---- standard error ---- */

static size_t lines_of_stderr(const struct fixture *f)
{
    size_t count = 0;

    for (size_t i = 0; i < f->count; i++)
        count += strcmp(string(f->lines[i], "message"), "a library wrote to standard error") == 0;
    return count;
}

Test(log, what_is_written_to_stderr_is_a_string_of_a_line)
{
    struct fixture f;

    begin(&f, NULL);
    cr_assert_eq(log_take_stderr(f.log), 0);
    fprintf(stderr, "a client sent %s\n", "\"},\n{\"severity\":\"CRITICAL\"}");
    errno = ENOENT;
    perror("this"); /* the C library uses the same stream */
    log_return_stderr();
    end(&f);
    cr_assert_eq(f.count, 1);
    cr_expect_str_eq(string(f.lines[0], "severity"), "WARNING");
    cr_expect_str_eq(string(f.lines[0], "text"), "a client sent \"},\n{\"severity\":\"CRITICAL\"}");
    clean(&f);
}

Test(log, a_flood_on_stderr_becomes_a_line_a_second)
{
    struct fixture f;
    int64_t left_out = 0;

    begin(&f, NULL);
    cr_assert_eq(log_take_stderr(f.log), 0);
    for (int i = 0; i < 10000; i++)
        fputs("skipping frame\n", stderr);
    log_return_stderr();
    end(&f);
    cr_expect_geq(lines_of_stderr(&f), 1);
    cr_expect_leq(lines_of_stderr(&f), 20);
    for (size_t i = 0; i < f.count; i++)
        left_out += json_integer_value(json_object_get(f.lines[i], "left_out"));
    cr_expect_leq(left_out + (int64_t)lines_of_stderr(&f), 10000);
    clean(&f);
}

static void fail_an_assertion(int fd)
{
    dup2(fd, STDERR_FILENO);
    if (log_take_stderr(NULL) == 0) /* no log: its thread could not be made after a fork under ThreadSanitizer */
        assert(!"the last words");  /* glibc writes it to the stream, since 2.42 to descriptor 2 */
    _exit(1);
}

Test(log, the_last_words_of_an_abort_reach_descriptor_2)
{
    char text[4096] = "";
    size_t len = 0;
    ssize_t got;
    int ends[2], status;
    pid_t child;

    cr_assert_eq(pipe(ends), 0);
    if ((child = fork()) == 0)
        fail_an_assertion(ends[1]);
    close(ends[1]);
    while (len < sizeof(text) - 1 && (got = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_expect_not_null(strstr(text, "the last words"), "%s", text);
    close(ends[0]);
}
