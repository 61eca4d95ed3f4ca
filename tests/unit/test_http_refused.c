/* Malformed HTTP/1 requests over a real connection: refused with their status, as a problem, counted and logged; the
 * connection closes, and the answer is not lost. */
#include "http_fixture.h"
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define MAX_BODY 1000

static struct http_reply *echo(struct http_req *req)
{
    return http_reply_text(200, "text/plain", req->body.len > 0 ? req->body : STR("hello"));
}

struct waiting {
    struct http_deferred *deferred;
    atomic_bool is_there;
};

static struct http_reply *later(struct http_req *req)
{
    struct waiting *waiting = req->state;

    waiting->deferred = http_defer(req);
    waiting->is_there = true;
    return NULL;
}

static const struct http_route routes[] = {{"GET", "/", echo},
                                           {"DELETE", "/", echo},
                                           {"GET", "/later", later},
                                           {"POST", "/", echo, .max_body = MAX_BODY},
                                           {0}};

#define GET    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define CHUNKS "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

static struct fixture open_server(void)
{
    return fixture_open((struct http_server_def){.routes = routes});
}

/* One answer, and the end of the connection without a reset. */
static void expect_last_answer(int fd, int status)
{
    struct net_answer answer;
    char value[512], byte;

    net_read_answer(fd, false, &answer);
    cr_expect_eq(answer.status, status, "%d: %s%s", status, answer.head, answer.body);
    cr_expect_str_eq(net_header(&answer, "connection", value), "close");
    cr_expect_eq(recv(fd, &byte, 1, 0), 0, "%s", strerror(errno));
    net_answer_release(&answer);
    close(fd);
}

static void expect_answer(int fd, int status)
{
    struct net_answer answer;

    net_read_answer(fd, false, &answer);
    cr_expect_eq(answer.status, status, "%d: %s%s", status, answer.head, answer.body);
    net_answer_release(&answer);
}

static const char *const refused[][2] = {
    {"400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\nContent-Length: 3\r\n\r\n{\"title\":\"t\"}" GET},
    {"400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
    {"400", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
    {"400", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
    {"400", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {"501", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
    {"400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"},
    {"400", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"},
    {"400", "GET / HTTP/1.1\nHost: a\n\n"},
    {"400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n"},
    {"400", CHUNKS "0xd\r\n{\"title\":\"t\"}\r\n0\r\n\r\n"},
    {"400", CHUNKS "-1\r\nx\r\n0\r\n\r\n"},
    {"400", CHUNKS "1\r\nxy\r\n0\r\n\r\n"},
    {"400", CHUNKS "1\nx\r\n0\r\n\r\n"},
    {"400", CHUNKS "1;\r\nx\r\n0\r\n\r\n"},
    {"400", CHUNKS "1;a=\"b\r\nx\r\n0\r\n\r\n"},
    {"400", CHUNKS "1\r\nx\r\n0\r\nX\r\n\r\n"},
    {"400", "GET / HTTP/1.1\r\nX: y\r\n\r\n"},
    {"400", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
    {"400", "GET / HTTP/1.1\r\nHost: a b/c@d\r\n\r\n"},
    {"505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
    {"505", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"},
};
#define REFUSED (sizeof(refused) / sizeof(refused[0]))

Test(http_refused, in_one_piece)
{
    struct fixture f = open_server();

    for (size_t i = 0; i < REFUSED; i++) {
        int fd = fixture_connect(&f);

        net_send_text(fd, refused[i][1]);
        expect_last_answer(fd, atoi(refused[i][0]));
    }
    fixture_close(&f);
}

/* As a client that sends in many packets; the last byte is not sent before the first ones were read. */
Test(http_refused, byte_by_byte)
{
    struct fixture f = open_server();

    for (size_t i = 0; i < REFUSED; i++) {
        int fd = fixture_connect(&f);

        for (const char *p = refused[i][1]; *p != '\0' && send(fd, p, 1, MSG_NOSIGNAL) == 1; p++)
            ;
        expect_last_answer(fd, atoi(refused[i][0]));
    }
    fixture_close(&f);
}

Test(http_refused, after_requests_that_are_answered)
{
    struct fixture f = open_server();

    for (size_t i = 0; i < REFUSED; i++) {
        int fd = fixture_connect(&f);
        char text[1024];

        snprintf(text, sizeof(text), GET CHUNKS "1;a=\"\\\"\"\r\nx\r\n0\r\nX: y\r\n\r\n%s", refused[i][1]);
        net_send_text(fd, text);
        expect_answer(fd, 200);
        expect_answer(fd, 200);
        expect_last_answer(fd, atoi(refused[i][0]));
    }
    fixture_close(&f);
}

/* What the client sends while its first request is being answered is read after that, and checked, too. */
Test(http_refused, while_another_request_is_being_answered)
{
    struct waiting waiting = {0};
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = &waiting});
    int fd = fixture_connect(&f);

    net_send_text(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    NET_AWAIT(waiting.is_there);
    net_send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    http_answer(waiting.deferred, http_reply_text(200, "text/plain", STR("late")));
    expect_answer(fd, 200);
    expect_last_answer(fd, 400);
    fixture_close(&f);
}

Test(http_refused, after_100_continue)
{
    struct fixture f = open_server();
    int fd = fixture_connect(&f);

    net_send_text(fd, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    expect_answer(fd, 100);
    net_send_text(fd, "1\r\nx\r\n0x0\r\n\r\n");
    expect_last_answer(fd, 400);
    fd = fixture_connect(&f);
    net_send_text(fd, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx" GET
                      "GET / HTTP/1.1\r\n\r\n");
    expect_answer(fd, 100);
    expect_answer(fd, 200);
    expect_answer(fd, 200);
    expect_last_answer(fd, 400);
    fixture_close(&f);
}

Test(http_refused, a_head_that_is_too_long)
{
    struct fixture f = open_server();
    int fd = fixture_connect(&f);
    char fields[101 * 6 + 100] = "GET / HTTP/1.1\r\nHost: a\r\n";

    for (int i = 0; i < 100; i++)
        strcat(fields, "a: b\r\n");
    strcat(fields, "\r\n");
    net_send_text(fd, fields);
    expect_last_answer(fd, 431);
    fixture_close(&f);
}

Test(http_refused, is_a_problem_counted_and_logged)
{
    struct fixture f;
    struct log *log;
    struct net_answer answer;
    char line[4096], value[512];
    ssize_t len;
    int pipe_fds[2], fd;
    json_t *problem, *logged;

    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(log_open(&(struct log_def){.fd = pipe_fds[1], .least = LOG_INFO, .service = "test"}, &log), 0);
    f = fixture_open((struct http_server_def){.routes = routes, .log = log});
    fd = fixture_connect(&f);
    net_ask(fd, "GET / HTTP/1.1\r\n\r\n", &answer);
    close(fd);
    cr_expect_str_eq(net_header(&answer, "content-type", value), "application/problem+json");
    cr_expect_str_not_empty(net_header(&answer, "date", value));
    cr_assert_not_null(problem = json_loads(answer.body, 0, NULL));
    cr_expect_str_eq(json_string_value(json_object_get(problem, "detail")), "there is no Host");
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"other\",path=\"other\",status=\"400\"}") == 1);
    log_flush(log, NET_BOUND_MS);
    cr_assert_gt(len = read(pipe_fds[0], line, sizeof(line)), 0);
    cr_assert_not_null(logged = json_loadb(line, (size_t)len, JSON_DISABLE_EOF_CHECK, NULL));
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(logged, "httpRequest"), "status")), 400);
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(logged, "httpRequest"), "remoteIp")),
                     "127.0.0.1");
    json_decref(problem);
    json_decref(logged);
    net_answer_release(&answer);
    fixture_close(&f);
    log_close(log, NET_BOUND_MS);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* ---- what is accepted ---- */

static const char *const accepted[] = {
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t 1 \t\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tchunked\t \r\n\r\n1\r\nx\r\n0\r\n\r\n",
    CHUNKS "00A;a;b=c ; d = \"e\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    ("\r\n" GET),
};

Test(http_refused, nothing_that_is_allowed)
{
    struct fixture f = open_server();
    int fd = fixture_connect(&f);

    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        net_send_text(fd, accepted[i]);
        expect_answer(fd, 200);
    }
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
        net_send_text(fd, accepted[i]);
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
        expect_answer(fd, 200);
    close(fd);
    fixture_close(&f);
}

/* ---- connections that close ---- */

Test(http_refused, connection_lists_with_close)
{
    static const char *const closing[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close , keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    };
    struct fixture f = open_server();

    for (size_t i = 0; i < sizeof(closing) / sizeof(closing[0]); i++) {
        int fd = fixture_connect(&f);

        net_send_text(fd, closing[i]);
        expect_last_answer(fd, 200);
    }
    fixture_close(&f);
}

/* More than the kernel's buffers hold: the client is still sending when the server has answered and closed. */
#define MUCH (8 << 20)

static void *send_much(void *arg)
{
    static char bytes[65536];
    int fd = *(int *)arg;
    size_t sent = 0;
    ssize_t len = 0;

    for (; sent < MUCH && (len = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL)) > 0; sent += (size_t)len)
        ;
    shutdown(fd, SHUT_WR);
    return (void *)(intptr_t)(len > 0);
}

static void expect_answer_while_sending(const struct fixture *fixture, const char *head, int status)
{
    int fd = fixture_connect(fixture);
    pthread_t thread;
    void *all_sent;

    net_send_text(fd, head);
    cr_assert_eq(pthread_create(&thread, NULL, send_much, &fd), 0);
    pthread_join(thread, &all_sent);
    cr_expect(all_sent != NULL, "the connection was reset");
    expect_last_answer(fd, status);
}

Test(http_refused, a_client_that_still_sends_gets_its_answer)
{
    struct fixture f = open_server();

    expect_answer_while_sending(&f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n", 413);
    expect_answer_while_sending(&f, CHUNKS "800000\r\n", 413);
    expect_answer_while_sending(&f, CHUNKS "0x800000\r\n", 400);
    expect_answer_while_sending(&f, "POST / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 9\r\n\r\n", 417);
    fixture_close(&f);
}

/* Bounded in time and in number: the server also ends while clients go on sending. */
Test(http_refused, clients_that_never_close)
{
    struct fixture f = open_server();
    int fds[100];

    for (size_t i = 0; i < 100; i++) {
        fds[i] = fixture_connect(&f);
        net_send_text(fds[i], "GET / HTTP/1.1\r\n\r\n");
        expect_answer(fds[i], 400);
    }
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 0);
    fixture_close(&f);
    for (size_t i = 0; i < 100; i++)
        close(fds[i]);
}

Test(http_refused, lingering_ends_after_some_time)
{
    struct fixture f = open_server();
    int fd = fixture_connect(&f), bound = NET_BOUND_MS;

    net_send_text(fd, "GET / HTTP/1.1\r\n\r\n");
    expect_answer(fd, 400);
    /* the kernel answers what comes after the end with a reset */
    for (uint64_t end = clock_monotonic_ns() + (uint64_t)bound * CLOCK_NS_PER_MS;
         send(fd, "x", 1, MSG_NOSIGNAL) == 1;) {
        cr_assert_lt(clock_monotonic_ns(), end, "never");
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    close(fd);
    fixture_close(&f);
}
