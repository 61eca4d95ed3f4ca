/* How a server ends: what is in flight is finished, what is sent meanwhile is not lost, and nothing holds it for ever.
 */
#include "rpc_fixture.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

#define AGE_MS 300 /* of connections: a drain takes about as long */

static struct fixture fixture;

static void open_fixture(void)
{
    fixture_serve(&fixture, (struct rpc_server_def){.max_connection_age_ms = AGE_MS});
    fixture_connect(&fixture, (struct rpc_client_def){0});
}

static void close_fixture(void)
{
    fixture_close(&fixture);
}

TestSuite(rpc_drain, .init = open_fixture, .fini = close_fixture, .timeout = 120);

static uint64_t in_ms(uint64_t ms)
{
    return clock_monotonic_ns() + ms * CLOCK_NS_PER_MS;
}

static int raw_connection(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

Test(rpc_drain, ends_without_connections)
{
    cr_assert_eq(rpc_server_wait(fixture.server, in_ms(60000)), 0);
}

Test(rpc_drain, ends_before_it_was_started)
{
    struct fixture other = {0};
    int fd;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &other.port), 0);
    cr_assert_eq(rpc_server_open(fd,
                                 &(struct rpc_server_def){.methods = fixture_methods,
                                                          .descriptors = routeguide_descriptors,
                                                          .descriptors_len = routeguide_descriptors_len},
                                 &other.server),
                 0);
    cr_assert_eq(rpc_server_wait(other.server, in_ms(60000)), 0);
    rpc_server_close(other.server);
}

/* A connection of a long life: if it were waited for, this would take an hour. */
Test(rpc_drain, ends_when_the_clients_have_gone)
{
    struct fixture other = {0};

    fixture_serve(&other, (struct rpc_server_def){.max_connection_age_ms = 3600000});
    fixture_connect(&other, (struct rpc_client_def){0});
    cr_assert_eq(fixture_call(&other, 100, 0, (struct rpc_call_options){0}).code, ERR_GRPC_OK);
    rpc_server_drain(other.server);
    other.client = rpc_client_free(other.client);
    cr_assert_eq(rpc_server_wait(other.server, in_ms(3600000)), 0);
    fixture_close(&other);
}

Test(rpc_drain, finishes_what_is_in_flight)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct fixture_answer held;
    struct fixture_stream stream;

    note.message = (char *)"note";
    fixture_stream_open(&fixture, "RouteChat", 60000, &stream);
    cr_assert_eq(rpc_stream_send(stream.stream, &note.base), 0);
    fixture_wait(&stream.message);
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &(struct rpc_call_options){.timeout_ms = 2000}, &held), 0);
    fixture_wait(&fixture.entered);
    rpc_server_drain(fixture.server);
    fixture_wait(&held.done); /* at its deadline: more than one age later */
    cr_assert_eq(held.code, ERR_GRPC_DEADLINE_EXCEEDED);
    cr_assert_eq(rpc_stream_send(stream.stream, &note.base), 0);
    fixture_wait(&stream.message);
    rpc_stream_half_close(stream.stream);
    cr_assert_eq(rpc_server_wait(fixture.server, in_ms(60000)), 0);
    fixture_stream_end(&stream);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages + 0, 2);
}

Test(rpc_drain, cancels_what_does_not_end)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct fixture_stream stream;

    note.message = (char *)"note";
    fixture_stream_open(&fixture, "RouteChat", 60000, &stream);
    cr_assert_eq(rpc_stream_send(stream.stream, &note.base), 0);
    fixture_wait(&stream.message);
    cr_assert_eq(rpc_server_wait(fixture.server, in_ms(600)), -ETIMEDOUT);
    fixture_stream_end(&stream);
    cr_assert_neq(stream.code, ERR_GRPC_OK);
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
}

Test(rpc_drain, does_not_wait_for_who_says_nothing)
{
    int fd = raw_connection(fixture.port);

    cr_assert_eq(rpc_server_wait(fixture.server, in_ms(60000)), 0);
    close(fd);
}

/* ---- under load ---- */

/* Calls one after the other over two servers, none of them ever tried again by the client. */
struct load {
    struct fixture *fixture;
    atomic_bool stop;
    atomic_int calls, failed, running;
    char error[256];
    sem_t ended;
};

static void load_on(struct load *load);

static void load_done(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct load *load = arg;

    atomic_fetch_add(&load->calls, 1);
    if (status->code != ERR_GRPC_OK && atomic_fetch_add(&load->failed, 1) == 0)
        snprintf(load->error, sizeof(load->error), "%s: %s", err_grpc_name(status->code), status->message);
    load_on(load);
}

static void load_on(struct load *load)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;

    point.latitude = 100;
    if (atomic_load(&load->stop)) {
        if (atomic_fetch_sub(&load->running, 1) == 1)
            sem_post(&load->ended);
        return;
    }
    cr_assert_eq(rpc_unary(load->fixture->client, ROUTE_GUIDE, "GetFeature", &point.base,
                           &(struct rpc_call_options){.timeout_ms = 60000}, load_done, load),
                 0);
}

static void drain_one_of_two(bool with_stream)
{
    enum { CHAINS = 8 };
    struct fixture other = {0};
    struct fixture_stream stream;
    struct load load = {.fixture = &fixture};
    char target[64];

    sem_init(&load.ended, 0, 0);
    fixture.client = rpc_client_free(fixture.client);
    fixture_serve(&other, (struct rpc_server_def){.max_connection_age_ms = AGE_MS});
    snprintf(target, sizeof(target), "127.0.0.1:%d,127.0.0.1:%d", fixture.port, other.port);
    fixture_connect(&fixture, (struct rpc_client_def){.target = target});
    if (with_stream)
        fixture_stream_open(&fixture, "RouteChat", 60000, &stream);
    atomic_store(&load.running, CHAINS);
    for (int i = 0; i < CHAINS; i++)
        load_on(&load);
    for (int i = 0; i < 500; i++) /* both serve */
        fixture_wait(i % 2 == 0 ? &fixture.closed : &other.closed);
    rpc_server_drain(fixture.server);
    if (with_stream)
        rpc_stream_half_close(stream.stream);
    cr_assert_eq(rpc_server_wait(fixture.server, in_ms(60000)), 0);
    fixture.server = rpc_server_close(fixture.server);
    while (sem_trywait(&other.closed) == 0)
        ;
    for (int i = 0; i < 500; i++)
        fixture_wait(&other.closed);
    atomic_store(&load.stop, true);
    fixture_wait(&load.ended);
    if (with_stream) {
        fixture_stream_end(&stream);
        cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    }
    cr_assert_eq(atomic_load(&load.failed), 0, "%d of %d failed, the first with %s", load.failed + 0, load.calls + 0,
                 load.error);
    fixture_close(&other);
}

Test(rpc_drain, loses_no_call)
{
    drain_one_of_two(false);
}

Test(rpc_drain, loses_no_call_beside_a_stream)
{
    drain_one_of_two(true);
}

/* ---- the log ---- */

TestSuite(rpc_log, .timeout = 120);

Test(rpc_log, has_a_line_a_call)
{
    struct trace trace;
    char id[TRACE_ID_TEXT_SIZE], text[8192], expected[64];
    ssize_t len;
    int pipes[2];

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_eq(log_open(&(struct log_def){.fd = pipes[1], .least = LOG_INFO, .service = "test"}, &fixture.log), 0);
    trace_begin(STR_NULL, true, &trace);
    trace_id_text(&trace, id);
    fixture_open(&fixture);
    fixture_call(&fixture, ORDER_FAIL, 0, (struct rpc_call_options){.trace = &trace});
    fixture_wait(&fixture.closed);
    fixture_close(&fixture);
    log_close(fixture.log, 10000);
    close(pipes[1]);
    len = read(pipes[0], text, sizeof(text) - 1);
    cr_assert_gt(len, 0);
    text[len] = '\0';
    snprintf(expected, sizeof(expected), "%s", id);
    cr_assert(strstr(text, expected), "%s", text);
    cr_assert(strstr(text, "\"requestUrl\":\"http://"), "%s", text);
    cr_assert(strstr(text, "/routeguide.RouteGuide/GetFeature\","), "%s", text);
    cr_assert(strstr(text, "\"status\":404"), "%s", text);
    cr_assert(strstr(text, "NOT_FOUND"), "%s", text);
    cr_assert(strstr(text, "there is no feature"), "%s", text);
    cr_assert(strstr(text, "\"remoteIp\":\"127.0.0.1\""), "%s", text);
    cr_assert(strstr(text, "grpc-c/"), "%s", text);
    cr_assert(strchr(text, '\n') == text + len - 1, "one line: %s", text);
    close(pipes[0]);
}

/* Of a call from there to a server that listens on the address. */
static void assert_remote_ip(const char *listen, const char *target_format, const char *ip)
{
    char target[64], text[8192], expected[80];
    int fd, pipes[2];
    ssize_t len;

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_eq(log_open(&(struct log_def){.fd = pipes[1], .least = LOG_INFO, .service = "test"}, &fixture.log), 0);
    cr_assert_eq(net_listen(listen, 0, &fd, &fixture.port), 0);
    fixture_serve_on(&fixture, fd, (struct rpc_server_def){0});
    snprintf(target, sizeof(target), target_format, fixture.port);
    fixture_connect(&fixture, (struct rpc_client_def){.target = target});
    cr_assert_eq(fixture_call(&fixture, 100, 0, (struct rpc_call_options){0}).code, ERR_GRPC_OK);
    fixture_close(&fixture);
    log_close(fixture.log, 10000);
    close(pipes[1]);
    len = read(pipes[0], text, sizeof(text) - 1);
    cr_assert_gt(len, 0);
    text[len] = '\0';
    snprintf(expected, sizeof(expected), "\"remoteIp\":\"%s\"", ip);
    cr_assert(strstr(text, expected), "%s is not in %s", expected, text);
    close(pipes[0]);
}

Test(rpc_log, names_the_address_of_the_client)
{
    assert_remote_ip("127.0.0.1", "127.0.0.1:%d", "127.0.0.1");
    assert_remote_ip("::1", "[::1]:%d", "::1");
    assert_remote_ip("::", "127.0.0.1:%d", "127.0.0.1");
    assert_remote_ip("::", "[::1]:%d", "::1");
}
