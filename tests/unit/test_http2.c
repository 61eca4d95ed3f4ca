/* HTTP/2 without TLS: by prior knowledge and by Upgrade, many streams, resets, bodies, drain. */
#include "http2_client.h"
#include <fcntl.h>
#include <h2o/version.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- a server ---- */

static struct http_reply *echo(struct http_req *req)
{
    return http_reply_text(200, "text/plain", req->body.len > 0 ? req->body : STR("hello"));
}

struct waiting {
    struct http_deferred *deferred[2048];
    atomic_uint count;
};

static struct http_reply *later(struct http_req *req)
{
    struct waiting *waiting = req->state;

    waiting->deferred[waiting->count] = http_defer(req);
    waiting->count++;
    return NULL;
}

static void answer_all(struct waiting *waiting)
{
    for (unsigned i = 0; i < waiting->count; i++)
        http_answer(waiting->deferred[i], http_reply_text(200, "text/plain", STR("late")));
}

/* Longer than a connection's share of a turn: the next request waits for another. */
static struct http_reply *slow(struct http_req *req)
{
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    return echo(req);
}

static const struct http_route routes[] = {{"GET", "/hello", echo},
                                           {"GET", "/slow", slow},
                                           {"GET", "/later", later},
                                           {"POST", "/echo", echo, .max_body = 1000},
                                           {0}};

static struct fixture open_server(struct waiting **ret_waiting, unsigned request_timeout_ms)
{
    *ret_waiting = calloc(1, sizeof(**ret_waiting));
    return fixture_open(
        (struct http_server_def){.routes = routes, .state = *ret_waiting, .request_timeout_ms = request_timeout_ms});
}

/* ---- tests ---- */

/* Nothing of it is in the input buffer, and no handler has it. */
Test(http2, a_half_sent_request_does_not_yield_before_an_idle_connection)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_connections = 2});
    struct timespec tick = {0, 20000000}; /* the order is known to a millisecond */
    int fd = connect_h2(&f), silent, other;
    char body[1024];

    ask(fd, 1, "POST", "/echo", true);
    ask(fd, 3, "GET", "/hello", false); /* once it is answered, both have been read */
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    silent = fixture_connect(&f);
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 2);
    nanosleep(&tick, NULL);
    other = fixture_connect(&f);
    cr_expect(net_closed(silent));
    send_frame(fd, DATA, END_STREAM, 1, "half", 4);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_str_eq(body, "half");
    close(silent);
    close(other);
    close(fd);
    fixture_close(&f);
}

Test(http2, prior_knowledge)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    char body[1024];

    ask(fd, 1, "GET", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_str_eq(body, "hello");
    ask(fd, 3, "GET", "/nothing", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 404);
    cr_expect_not_null(strstr(body, "\"status\":404"));
    ask(fd, 5, "HEAD", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_str_eq(body, "");
    ask(fd, 7, "POST", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 405);
    ask(fd, 9, "GET", "nonsense", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 404);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* RFC 9113, 8.3.1: malformed. h2o 2.3 ends the connection of a client that sends no path at all. */
Test(http2, refuses_an_empty_path)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    char body[1024];

    ask(fd, 1, "GET", "?a=b", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 400);
    cr_expect_not_null(strstr(body, "the path is empty"));
    ask(fd, 3, "GET", "", false);
#if H2O_VERSION_MINOR < 3
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 400);
    cr_expect_not_null(strstr(body, "the path is empty"));
#else
    cr_expect_eq(status_or_error(fd), -1); /* PROTOCOL_ERROR */
#endif
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, upgrade)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = fixture_connect(&f);
    struct net_answer answer;
    char body[1024];

    net_ask(fd,
            "GET /hello HTTP/1.1\r\nhost: test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
            "http2-settings: AAMAAABkAAQAAP__\r\n\r\n",
            &answer);
    cr_expect_eq(answer.status, 101);
    net_send_text(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send_frame(fd, SETTINGS, 0, 0, NULL, 0);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_str_eq(body, "hello");
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, bodies)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    char body[2048], large[1001] = {0};
    struct frame frame;

    ask(fd, 1, "POST", "/echo", true);
    send_frame(fd, DATA, 0, 1, "one ", 4);
    send_frame(fd, DATA, END_STREAM, 1, "two", 3);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_str_eq(body, "one two");
    ask(fd, 3, "POST", "/echo", true);
    send_frame(fd, DATA, END_STREAM, 3, large, sizeof(large));
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 413);
    ask(fd, 5, "POST", "/echo", true);
    for (int i = 0; i < 80; i++) /* beyond what h2o takes */
        send_frame(fd, DATA, i == 79 ? END_STREAM : 0, 5, large, sizeof(large));
    await_frame(fd, RST_STREAM, &frame);
    cr_expect_eq(frame.stream, 5);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* REFUSED_STREAM would make some clients send it again without end. */
Test(http2, a_body_too_large_is_a_413)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    static char bytes[16384];
    struct buf block = {0};
    struct frame frame;
    char body[1024];

    add_literal(&block, ":method", "POST");
    add_literal(&block, ":scheme", "http");
    add_literal(&block, ":authority", "test");
    add_literal(&block, ":path", "/echo");
    add_literal(&block, "content-length", "700000");
    send_frame(fd, HEADERS, END_HEADERS, 1, block.data, block.len);
    send_frame(fd, DATA, 0, 1, bytes, sizeof(bytes)); /* with the head, as clients do */
    await_frame(fd, HEADERS, &frame);
    cr_expect_eq(frame.stream, 1);
    cr_expect_eq(status_of(&frame), 413);
    for (int i = 0; i < 40; i++)
        send_frame(fd, DATA, i == 39 ? END_STREAM : 0, 1, bytes, sizeof(bytes));
    ask(fd, 3, "GET", "/hello", false);
    do
        await_frame(fd, HEADERS, &frame);
    while (frame.stream != 3);
    cr_expect_eq(status_of(&frame), 200);
    await_frame(fd, DATA, &frame);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"POST\",path=\"/echo\",status=\"413\"}") == 1);
    /* a body whose length is not said, up to what is read */
    ask(fd, 5, "POST", "/echo", true);
    for (int i = 0; i < 4; i++)
        send_frame(fd, DATA, i == 3 ? END_STREAM : 0, 5, bytes, sizeof(bytes) - 100);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 413);
    buf_release(&block);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, many_streams_are_answered_from_another_thread)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);

    for (unsigned i = 0; i < 100; i++)
        ask(fd, 1 + 2 * i, "GET", "/later", false);
    NET_AWAIT(waiting->count == 100);
    answer_all(waiting);
    await_ends(fd, 100);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, a_stream_that_the_client_resets_is_counted_and_its_answer_dropped)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    char body[1024];

    ask(fd, 1, "GET", "/later", false);
    NET_AWAIT(waiting->count == 1);
    send_frame(fd, RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/later\",status=\"499\"}") == 1);
    answer_all(waiting);
    ask(fd, 3, "GET", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, a_client_that_only_resets_is_cut_off)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);

    for (unsigned i = 0; i <= 1000; i++) {
        ask(fd, 1 + 2 * i, "GET", "/later", false);
        send_frame(fd, RST_STREAM, 0, 1 + 2 * i, "\0\0\0\x8", 4);
    }
    cr_expect(net_closed(fd));
    close(fd);
    fixture_close(&f);
    answer_all(waiting);
    free(waiting);
}

static int ask_with_fields(int fd, unsigned stream, size_t count)
{
    struct buf block = {0};

    add_literal(&block, ":method", "GET");
    add_literal(&block, ":scheme", "http");
    add_literal(&block, ":path", "/hello");
    while (count-- > 0)
        buf_append_char(&block, (char)0x90); /* accept-encoding of the static table */
    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, stream, block.data, block.len);
    buf_release(&block);
    return status_or_error(fd);
}

Test(http2, fields_of_a_request_are_bounded)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);

    cr_expect_eq(ask_with_fields(fd, 1, 90), 200);
    cr_expect_eq(ask_with_fields(fd, 3, 200), 400);
    cr_expect_eq(ask_with_fields(fd, 5, 1000), -9); /* COMPRESSION_ERROR */
    cr_expect_eq(fixture_metric(&f, "http2_refused_total{server=\"test\",frame=\"GOAWAY\",code=\"COMPRESSION_ERROR\"}"),
                 1);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* With more octets than it needs, as h2o 2.3 would take it: what follows would not be measured. */
Test(http2, a_head_that_cannot_be_measured_is_refused)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct buf block = {0};

    add_request(&block, "GET", "/hello");
    buf_append(&block, "\x0f\x80\x80\x80\x80\x80\x00\x01x", 9);
    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, 1, block.data, block.len);
    cr_expect_eq(status_or_error(fd), -9); /* COMPRESSION_ERROR */
    buf_release(&block);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* Each is answered, and the connection lives on. All come at once, so that they have begun before the first is slow. */
Test(http2, requests_whose_time_is_up_while_they_wait_for_their_turn)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 100);
    int fd = connect_h2(&f);
    struct buf requests = {0};
    char body[1024];

    for (unsigned stream = 1; stream < 2 * 40; stream += 2)
        add_ask(&requests, stream, "GET", "/slow");
    net_send(fd, requests.data, requests.len);
    buf_release(&requests);
    await_ends(fd, 40);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/slow\",status=\"504\"}") > 0);
    ask(fd, 2 * 40 + 1, "GET", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* Beyond 100 streams at a time each is refused by itself. */
Test(http2, streams_at_a_time_are_bounded)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct frame frame;

    for (unsigned i = 0; i <= 100; i++)
        ask(fd, 1 + 2 * i, "GET", "/later", false);
    await_frame(fd, RST_STREAM, &frame);
    cr_expect_eq(frame.stream, 1u + 2 * 100);
    cr_expect_arr_eq(frame.payload, "\0\0\0\7", 4); /* REFUSED_STREAM */
    NET_AWAIT(waiting->count == 100);
    NET_AWAIT(fixture_metric(&f, "http2_refused_total{server=\"test\",frame=\"RST_STREAM\",code=\"REFUSED_STREAM\"}") ==
              1);
    answer_all(waiting);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

/* Three of four places are one connection's: it gets none of the last, and another does. */
Test(http2, a_connection_gets_no_more_than_its_share_of_the_last_places)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = waiting, .max_in_flight = 4});
    int fd = connect_h2(&f), other = connect_h2(&f);
    char body[1024];

    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 2);
    for (unsigned i = 0; i < 3; i++)
        ask(fd, 1 + 2 * i, "GET", "/later", false);
    NET_AWAIT(waiting->count == 3);
    ask(fd, 7, "GET", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 503);
    ask(other, 1, "GET", "/hello", false);
    cr_expect_eq(read_answer(other, body, sizeof(body)), 200);
    answer_all(waiting);
    close(fd);
    close(other);
    fixture_close(&f);
    free(waiting);
}

/* h2o finds them all in one read; those beyond the connection's share of a turn wait, and by then they have been reset.
 */
Test(http2, requests_that_are_reset_at_once_are_not_all_handled)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct buf block = {0}, sent = {0};
    struct frame frame;
    double handled, reset;

    add_request(&block, "GET", "/hello");
    for (unsigned stream = 1; stream < 2 * 500; stream += 2) {
        add_frame(&sent, HEADERS, END_HEADERS | END_STREAM, stream, block.data, block.len);
        add_frame(&sent, RST_STREAM, 0, stream, "\0\0\0\x8", 4);
    }
    add_frame(&sent, PING, 0, 0, "together", 8);
    net_send(fd, sent.data, sent.len);
    await_frame(fd, PING, &frame);
    handled = fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/hello\",status=\"200\"}");
    reset = fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/hello\",status=\"499\"}");
    cr_expect_eq(handled + reset, 500);
    cr_expect_gt(reset, 0);
    ask(fd, 2 * 500 + 1, "GET", "/hello", false);
    await_ends(fd, 1);
    close(fd);
    fixture_close(&f);
    buf_release(&block);
    buf_release(&sent);
    free(waiting);
}

Test(http2, an_answer_that_comes_too_late_is_a_504)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 20);
    int fd = connect_h2(&f);
    char body[1024];

    ask(fd, 1, "GET", "/later", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 504);
    answer_all(waiting);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, a_client_that_gives_no_window_is_cut_off)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 100);
    int fd = fixture_connect(&f);

    net_send_text(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send_frame(fd, SETTINGS, 0, 0, "\0\x4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
    ask(fd, 1, "GET", "/hello", false);
    cr_expect(net_closed(fd));
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, a_drain_says_goaway_and_lets_streams_end)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct frame frame;

    ask(fd, 1, "GET", "/later", false);
    NET_AWAIT(waiting->count == 1);
    http_server_drain(f.server);
    await_frame(fd, GOAWAY, &frame);
    cr_expect_eq(memcmp(frame.payload, "\x7f\xff\xff\xff\0\0\0\0", 8), 0);
    ask(fd, 3, "GET", "/later", false); /* sent before the client saw it */
    NET_AWAIT(waiting->count == 2);
    await_frame(fd, GOAWAY, &frame);
    cr_expect_eq(memcmp(frame.payload, "\0\0\0\x3\0\0\0\0", 8), 0);
    answer_all(waiting);
    await_ends(fd, 2);
    cr_expect_eq(http_server_wait(f.server, clock_monotonic_ns() + 10 * CLOCK_NS_PER_S), 0);
    cr_expect(net_closed(fd));
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, a_server_may_be_closed_between_the_two_goaways)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct frame frame;

    ask(fd, 1, "GET", "/later", false);
    NET_AWAIT(waiting->count == 1);
    http_server_drain(f.server);
    await_frame(fd, GOAWAY, &frame);
    fixture_close(&f);
    cr_expect(net_closed(fd));
    answer_all(waiting);
    close(fd);
    free(waiting);
}

Test(http2, a_header_value_that_may_not_be_is_a_400)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);
    struct buf block = {0};
    char body[1024];

    add_literal(&block, ":method", "GET");
    add_literal(&block, ":scheme", "http");
    add_literal(&block, ":authority", "test");
    add_literal(&block, ":path", "/hello");
    add_literal(&block, "x-bad",
                "a\x01"
                "b");
    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, 1, block.data, block.len);
    buf_release(&block);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 400);
    cr_expect_not_null(strstr(body, "\"title\":\"Bad Request\""), "%s", body);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http2, garbage_ends_the_connection)
{
    struct waiting *waiting;
    struct fixture f = open_server(&waiting, 0);
    int fd = connect_h2(&f);

    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, 2, "\xff\xff\xff\xff", 4);
    cr_expect(net_closed(fd));
    close(fd);
    fixture_close(&f);
    free(waiting);
}
