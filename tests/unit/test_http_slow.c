/* Clients that send a request slowly, or stop in the middle of one, are cut off; those that are idle are not. */
#include "budget.h"
#include "http2_client.h"
#include <malloc.h>
#include <poll.h>

#define RECEIVE_MS 300
#define PACE_MS    20 /* between two bytes of a slow client: far less than RECEIVE_MS */

static struct http_reply *echo(struct http_req *req)
{
    return http_reply_text(200, "text/plain", req->body.len > 0 ? req->body : STR("hello"));
}

static const struct http_route routes[] = {{"GET", "/hello", echo}, {"POST", "/echo", echo, .max_body = 100000}, {0}};

static struct fixture open_server(void)
{
    return fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = RECEIVE_MS});
}

/* ---- a slow client ---- */

static bool has_ended(int fd, int wait_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    char bytes[4096];

    if (poll(&poller, 1, wait_ms) == 0)
        return false;
    return recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0;
}

/* Sends more, again and again, until the server has closed the connection. */
static void expect_end(int fd, const void *more, size_t len, const char *what)
{
    uint64_t deadline_ns = clock_monotonic_ns() + NET_BOUND_MS * CLOCK_NS_PER_MS;

    while (!has_ended(fd, PACE_MS)) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%s: the connection stays", what);
        if (len > 0 && send(fd, more, len, MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
}

#define EXPECT_END(fd_, more_, what_) expect_end(fd_, more_, sizeof(more_) - 1, what_)

/* ---- HTTP/1 ---- */

static int begin_1(const struct fixture *f, const char *text)
{
    int fd = fixture_connect(f);

    net_send_text(fd, text);
    return fd;
}

#define POST_1 "POST /echo HTTP/1.1\r\nhost: test\r\n"

Test(http_slow, requests_over_HTTP_1_end)
{
    struct fixture f = open_server();

    EXPECT_END(begin_1(&f, "GET /hello HTTP/1.1\r\nx: "), "y", "a head in single bytes");
    EXPECT_END(begin_1(&f, "GET /hello HTTP/1.1\r\nx: "), "", "half a head");
    EXPECT_END(begin_1(&f, POST_1 "content-length: 90000\r\n\r\n"), "x", "a body in single bytes");
    EXPECT_END(begin_1(&f, POST_1 "content-length: 90000\r\n\r\nx"), "", "half a body");
    EXPECT_END(begin_1(&f, POST_1 "content-length: 90000\r\n\r\n"), "", "a head without its body");
    EXPECT_END(begin_1(&f, POST_1 "transfer-encoding: chunked\r\n\r\n"), "1\r\nx\r\n", "chunks of single bytes");
    EXPECT_END(begin_1(&f, POST_1 "transfer-encoding: chunked\r\n\r\nffff\r\n"), "x", "a chunk in single bytes");
    EXPECT_END(begin_1(&f, POST_1 "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n"), "", "half a chunked body");
    EXPECT_END(begin_1(&f, POST_1 "content-length: 90000\r\nexpect: 100-continue\r\n\r\n"), "x", "after 100 Continue");
    fixture_close(&f);
}

/* ---- HTTP/2 ---- */

#define ONE_BYTE "\0\0\1\0\0\0\0\0\1x" /* DATA of stream 1 */

static int begin_2(const struct fixture *f, unsigned stream)
{
    int fd = connect_h2(f);

    ask(fd, stream, "POST", "/echo", true);
    return fd;
}

static int begin_headers(const struct fixture *f)
{
    int fd = connect_h2(f);

    send_frame(fd, HEADERS, END_STREAM, 1, "\x83\x86\x44\5/echo", 8);
    return fd;
}

static int begin_frame(const struct fixture *f)
{
    int fd = connect_h2(f);

    net_send(fd, "\0\x40\0\xb\0\0\0\0\0", 9); /* of 16,384 bytes and of a type that nobody knows */
    return fd;
}

static int begin_after_a_frame(const struct fixture *f)
{
    int fd = begin_2(f, 1);

    send_frame(fd, DATA, 0, 1, "hello", 5);
    return fd;
}

Test(http_slow, requests_over_HTTP_2_end)
{
    struct fixture f = open_server();

    EXPECT_END(begin_2(&f, 1), ONE_BYTE, "a body in single bytes");
    EXPECT_END(begin_2(&f, 1), "", "a head without its body");
    EXPECT_END(begin_after_a_frame(&f), "", "silence after a DATA frame");
    EXPECT_END(begin_headers(&f), "\0\0\1\x9\0\0\0\0\1\0", "a header block in single bytes");
    EXPECT_END(begin_headers(&f), "", "half a header block");
    EXPECT_END(begin_2(&f, 1), "\0\0\x8\6\0\0\0\0\0pingpong", "PINGs while a request is not whole");
    EXPECT_END(begin_2(&f, 1), "\0\0\4\x8\0\0\0\0\0\0\0\0\1", "WINDOW_UPDATEs while a request is not whole");
    EXPECT_END(begin_2(&f, 1), "\0\0\0\4\0\0\0\0\0", "SETTINGS while a request is not whole");
    EXPECT_END(begin_frame(&f), "x", "a frame in single bytes");
    EXPECT_END(begin_frame(&f), "", "half a frame");
    EXPECT_END(begin_1(&f, "PRI * HTTP/2.0\r\n\r\nSM"), "", "half a preface");
    fixture_close(&f);
}

/* Answers on other streams do not prolong it. */
Test(http_slow, one_stream_is_not_kept_by_others)
{
    struct fixture f = open_server();
    int fd = begin_2(&f, 1);
    uint64_t deadline_ns = clock_monotonic_ns() + NET_BOUND_MS * CLOCK_NS_PER_MS;
    char request[64];
    size_t len = 0;

    for (unsigned stream = 3; !has_ended(fd, PACE_MS); stream += 2) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the connection stays");
        len = (size_t)snprintf(request, sizeof(request), "%s", "\x82\x86\x44\6/hello");
        char frame[9] = {0, 0, (char)len, HEADERS, END_HEADERS | END_STREAM, 0, 0, (char)(stream >> 8), (char)stream};
        if (send(fd, frame, 9, MSG_NOSIGNAL) < 0 || send(fd, request, len, MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
    fixture_close(&f);
}

/* ---- those that are not slow ---- */

/* Both have been idle for longer than receive_timeout_ms when the slow one has been cut off. */
Test(http_slow, idle_connections_are_kept)
{
    struct fixture f = open_server();
    int first = fixture_connect(&f), second = connect_h2(&f);
    struct net_answer answer;
    char body[64];

    for (int i = 0; i < 2; i++) {
        net_ask(first, "GET /hello HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
        cr_expect_eq(answer.status, 200);
        net_answer_release(&answer);
        ask(second, 1 + 2 * (unsigned)i, "GET", "/hello", false);
        cr_expect_eq(read_answer(second, body, sizeof(body)), 200);
        if (i == 0)
            EXPECT_END(begin_1(&f, "GET "), "", "half a head");
    }
    close(first);
    close(second);
    fixture_close(&f);
}

/* A request that takes less than the bound, again and again: none of them is slow. */
Test(http_slow, a_client_that_is_always_sending_is_kept)
{
    struct fixture f = open_server();
    int fd = fixture_connect(&f);
    struct net_answer answer;

    for (int i = 0; i < 3 * RECEIVE_MS / (3 * PACE_MS); i++) {
        net_send_text(fd, "GET /hello HTTP/1.1\r\n");
        cr_assert(!has_ended(fd, PACE_MS), "after %d requests", i);
        net_send_text(fd, "host: test\r\n");
        cr_assert(!has_ended(fd, PACE_MS), "after %d requests", i);
        net_ask(fd, "\r\n", &answer);
        cr_expect_eq(answer.status, 200);
        net_answer_release(&answer);
        net_send_text(fd, "GET /hello HTTP/1.1\r\nhost: test\r\n\r\nGET ");
        net_read_answer(fd, false, &answer);
        net_answer_release(&answer);
        cr_assert(!has_ended(fd, PACE_MS), "after %d requests", i);
        net_send_text(fd, "/hello HTTP/1.1\r\nhost: test\r\n\r\n");
        net_read_answer(fd, false, &answer);
        net_answer_release(&answer);
    }
    close(fd);
    fixture_close(&f);
}

/* ---- memory ---- */

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2(); /* 0 where a sanitizer has its own heap: it looks for leaks then */

    return info.uordblks + info.hblkhd;
}

static bool is_served(int fd)
{
    struct net_answer answer;
    bool served;

    net_ask(fd, "GET /hello HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
    served = answer.status == 200;
    cr_expect(served || answer.status == 503, "%d", answer.status);
    net_answer_release(&answer);
    return served;
}

/* ---- what the kernel keeps for clients that do not take it ---- */

#define LARGE 90000

static double memory_of(const struct fixture *f)
{
    return fixture_metric(f, "http_memory_bytes{server=\"test\"}");
}

static double connections_of(const struct fixture *f)
{
    return fixture_metric(f, "http_connections{server=\"test\"}");
}

/* Asks for a reply that fits into the server's kernel, and not into the client's. */
static int ask_much(const struct fixture *f, const char *fields)
{
    static char body[LARGE];
    int fd = net_connect_with("127.0.0.1", f->port, 4096);
    char head[256];

    snprintf(head, sizeof(head), POST_1 "%scontent-length: %d\r\n\r\n", fields, LARGE);
    net_send_text(fd, head);
    memset(body, 'y', sizeof(body));
    net_send(fd, body, sizeof(body));
    return fd;
}

static void take_all(int fd)
{
    struct net_answer answer;

    net_read_answer(fd, false, &answer);
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(answer.body_len, (size_t)LARGE);
    net_answer_release(&answer);
}

static struct fixture open_bounded(void)
{
    return fixture_open(
        (struct http_server_def){.routes = routes, .receive_timeout_ms = RECEIVE_MS, .max_memory = 64 << 20});
}

Test(http_slow, what_the_kernel_keeps_for_a_client_is_counted)
{
    struct fixture f = open_bounded();
    int fd = ask_much(&f, "");

    NET_AWAIT(fixture_metric(&f, "http_requests_in_flight{server=\"test\"}") == 0 && memory_of(&f) > LARGE / 2);
    cr_expect_eq(connections_of(&f), 1);
    take_all(fd);
    NET_AWAIT(memory_of(&f) < LARGE / 2);
    close(fd);
    fixture_close(&f);
}

Test(http_slow, what_the_kernel_keeps_of_a_closed_connection_is_counted)
{
    struct fixture f = open_bounded();
    int fd = ask_much(&f, "connection: close\r\n"), half = ask_much(&f, "");

    NET_AWAIT(fixture_metric(&f, "http_requests_in_flight{server=\"test\"}") == 0 && memory_of(&f) > LARGE);
    shutdown(half, SHUT_WR);
    NET_AWAIT(connections_of(&f) == 0);
    cr_expect_gt(memory_of(&f), LARGE);
    take_all(fd);
    take_all(half);
    NET_AWAIT(memory_of(&f) == 0);
    close(fd);
    close(half);
    fixture_close(&f);
}

#define GREEDY       16
#define BUFFER_SLACK 80000 /* what a buffer may be larger than what is in it, and the connection itself */

/* Whether the server, not the kernel, holds GREEDY times len bytes. */
static bool has_read_all(struct fixture *f, size_t len)
{
    double held = fixture_metric(f, "http_memory_bytes{server=\"test\"}");

    return held >= GREEDY * (double)len && held <= GREEDY * (double)(len + BUFFER_SLACK);
}

/* How many are closed of clients whose half-sent requests hold 4 MiB: little of the server's bound, but maybe too much
 * together with others, for all of whom there are 8 MiB. */
static double closed_beside(size_t others, bool makes_room)
{
    struct budget whole = {.max = 8 << 20}, other = {.whole = &whole};
    struct fixture f =
        fixture_open((struct http_server_def){.routes = routes, .max_memory = 64 << 20, .whole = &whole});
    static char head[200000];
    int fds[GREEDY], honest;
    double closed;

    memset(head, 'y', sizeof(head));
    memcpy(head, "GET /hello HTTP/1.1\r\nx: ", 24);
    for (int i = 0; i < GREEDY; i++) {
        fds[i] = fixture_connect(&f);
        net_send(fds[i], head, sizeof(head));
    }
    NET_AWAIT(has_read_all(&f, sizeof(head)));
    budget_add(&other, others);
    honest = fixture_connect(&f);
    if (makes_room)
        NET_AWAIT(is_served(honest));
    else
        cr_expect_not(is_served(honest));
    closed = fixture_metric(&f, "http_memory_closed_total{server=\"test\"}");
    budget_give(&other, others);
    for (int i = 0; i < GREEDY; i++)
        close(fds[i]);
    close(honest);
    fixture_close(&f);
    return closed;
}

Test(http_slow, whoever_holds_a_large_part_of_what_all_clients_hold_makes_room)
{
    cr_expect_eq(closed_beside(2 << 20, true), 0);
    cr_expect_gt(closed_beside(5 << 20, true), 0);
    cr_expect_eq(closed_beside(20 << 20, false), 0, "the others hold most");
}

/* All hold the same: one of them has been answered since the others came. */
Test(http_slow, whoever_was_answered_longest_ago_is_closed_first)
{
    enum { BEFORE = 20, AFTER = 16 };
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_memory = 8 << 20});
    static char head[200000];
    int honest = fixture_connect(&f), fds[BEFORE + AFTER];
    struct net_answer answer;

    memset(head, 'y', sizeof(head));
    memcpy(head, "GET /hello HTTP/1.1\r\nx: ", 24);
    for (int i = 0; i < BEFORE + AFTER; i++) {
        if (i == BEFORE) {
            cr_assert(is_served(honest));
            net_send(honest, head, sizeof(head));
        }
        fds[i] = fixture_connect(&f);
        send(fds[i], head, sizeof(head), MSG_NOSIGNAL); /* it may be closed meanwhile */
    }
    NET_AWAIT(fixture_metric(&f, "http_memory_closed_total{server=\"test\"}") > 0);
    net_ask(honest, "\r\nhost: test\r\n\r\n", &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    for (int i = 0; i < BEFORE + AFTER; i++)
        close(fds[i]);
    close(honest);
    fixture_close(&f);
}

#define BURST 200

Test(http_slow, the_memory_of_a_burst_is_given_back)
{
    struct fixture f = open_server();
    size_t before = heap_bytes(), len = 200000;
    char *head = malloc(len);
    int fds[BURST];

    memset(head, 'y', len);
    memcpy(head, "GET /hello HTTP/1.1\r\nx: ", 24);
    for (int i = 0; i < BURST; i++) {
        fds[i] = fixture_connect(&f);
        net_send(fds[i], head, len);
    }
    free(head);
    for (int i = 0; i < BURST; i++) {
        cr_expect(net_closed(fds[i])); /* the bound on slow requests */
        close(fds[i]);
    }
    NET_AWAIT(heap_bytes() < before + (4 << 20));
    fixture_close(&f);
}
