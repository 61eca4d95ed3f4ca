/* The server's calls: what a client sees, and what handlers see. */
#include "rpc_client.h"
#include "rpc_client_internal.h"
#include "rpc_fixture.h"
#include <grpc/support/time.h>

static struct fixture fixture;

static void open_fixture(void)
{
    fixture.metrics = metrics_new();
    fixture_open(&fixture);
}

static void close_fixture(void)
{
    fixture_close(&fixture);
    metrics_free(fixture.metrics);
}

/* With other limits than the usual. */
static void reopen(struct rpc_server_def server, struct rpc_client_def client)
{
    fixture_close(&fixture);
    fixture_serve(&fixture, server);
    fixture_connect(&fixture, client);
}

static struct fixture_answer call(int latitude)
{
    return fixture_call(&fixture, latitude, 0, (struct rpc_call_options){0});
}

static void assert_name(struct fixture_answer answer, const char *name)
{
    cr_assert_eq(answer.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(answer.code), answer.message);
    cr_assert_str_eq(answer.name, name);
}

static void assert_fails(struct fixture_answer answer, enum err_grpc code, const char *message)
{
    cr_assert_eq(answer.code, code, "%s: %s", err_grpc_name(answer.code), answer.message);
    cr_assert(strstr(answer.message, message) != NULL, "%s", answer.message);
    cr_assert(!answer.replied);
}

/* The value of a line of /metrics, -1 where there is none. */
static double metric(const char *line)
{
    struct buf text = {0};
    const char *found;
    double value = -1;

    metrics_write(fixture.metrics, &text);
    buf_append_char(&text, '\0');
    found = strstr(text.data, line);
    if (found != NULL)
        value = atof(found + strlen(line));
    buf_release(&text);
    return value;
}

TestSuite(rpc, .init = open_fixture, .fini = close_fixture, .timeout = 120);

/* ---- unary ---- */

Test(rpc, answers_a_unary_call)
{
    assert_name(call(100), "feature");
}

Test(rpc, answers_from_another_thread)
{
    assert_name(call(ORDER_THREAD), "from a thread");
}

Test(rpc, maps_an_errno_to_a_status_with_its_text)
{
    assert_fails(call(ORDER_FAIL), ERR_GRPC_NOT_FOUND, "there is no feature");
}

Test(rpc, serves_many_calls_at_once)
{
    enum { COUNT = 200 };
    struct fixture_answer answers[COUNT];

    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(fixture_begin(&fixture, i % 2 == 0 ? ORDER_THREAD : 100, 0,
                                   &(struct rpc_call_options){.timeout_ms = 60000}, &answers[i]),
                     0);
    for (int i = 0; i < COUNT; i++) {
        fixture_wait(&answers[i].done);
        assert_name(answers[i], i % 2 == 0 ? "from a thread" : "feature");
    }
}

/* ---- a client that has as many calls in flight as it may, for a while ---- */

enum { IN_FLIGHT = 95, CALLS = 20000 };

static atomic_int calls_begun, calls_failed;
static sem_t caller_done;

static void call_again(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    const struct rpc_call_options options = {.timeout_ms = 60000};

    if (status != NULL && status->code != ERR_GRPC_OK)
        atomic_fetch_add(&calls_failed, 1);
    point.latitude = 100;
    if (atomic_fetch_add(&calls_begun, 1) >= CALLS)
        sem_post(&caller_done);
    else
        cr_assert_eq(rpc_unary(fixture.client, ROUTE_GUIDE, "GetFeature", &point.base, &options, call_again, NULL), 0);
}

/* A server may count calls that have ended among those that a connection may have. */
Test(rpc, refuses_no_call_of_a_client_that_keeps_to_the_bound_on_streams)
{
    sem_init(&caller_done, 0, 0);
    for (int i = 0; i < IN_FLIGHT; i++)
        call_again(NULL, NULL, NULL);
    for (int i = 0; i < IN_FLIGHT; i++)
        fixture_wait(&caller_done);
    cr_assert_eq(atomic_load(&calls_failed), 0);
}

Test(rpc, serves_with_several_threads)
{
    enum { COUNT = 200 };
    struct fixture_answer answers[COUNT];

    reopen((struct rpc_server_def){.threads = 3}, (struct rpc_client_def){.threads = 2});
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(
            fixture_begin(&fixture, ORDER_THREAD, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &answers[i]), 0);
    for (int i = 0; i < COUNT; i++) {
        fixture_wait(&answers[i].done);
        assert_name(answers[i], "from a thread");
    }
}

Test(rpc, gives_metadata_to_the_handler)
{
    const struct rpc_metadata metadata[] = {{"echo", STR("some value")}};

    assert_name(
        fixture_call(&fixture, ORDER_METADATA, 0, (struct rpc_call_options){.metadata = metadata, .metadata_count = 1}),
        "some value");
    assert_name(call(ORDER_METADATA), "");
}

Test(rpc, continues_the_trace_of_the_client)
{
    struct trace trace;
    char id[TRACE_ID_TEXT_SIZE];

    trace_begin(STR_NULL, true, &trace);
    trace_id_text(&trace, id);
    assert_name(fixture_call(&fixture, ORDER_TRACE, 0, (struct rpc_call_options){.trace = &trace}), id);
}

Test(rpc, refuses_an_unknown_method)
{
    Routeguide__ListSavesRequest request = ROUTEGUIDE__LIST_SAVES_REQUEST__INIT;
    struct fixture_answer answer = {0};

    sem_init(&answer.done, 0, 0);
    cr_assert_eq(rpc_unary(fixture.client, &routeguide__feature_history__descriptor, "ListSaves", &request.base,
                           &(struct rpc_call_options){.timeout_ms = 30000}, fixture_answered, &answer),
                 0);
    fixture_wait(&answer.done);
    assert_fails(answer, ERR_GRPC_UNIMPLEMENTED, "no such method");
}

/* ---- deadlines and cancellation ---- */

Test(rpc, converts_between_the_clocks)
{
    uint64_t before = clock_monotonic_ns(), theirs = rpc_monotonic_ns(gpr_now(GPR_CLOCK_MONOTONIC));

    cr_assert_leq(before, theirs);
    cr_assert_leq(theirs, clock_monotonic_ns());
    cr_assert_eq(rpc_monotonic_ns(rpc_time(before)), before);
    cr_assert_eq(rpc_monotonic_ns(rpc_time(UINT64_MAX)), UINT64_MAX);
}

Test(rpc, gives_the_clients_deadline_to_the_handler)
{
    struct fixture_answer answer =
        fixture_call(&fixture, ORDER_DEADLINE, 0, (struct rpc_call_options){.timeout_ms = 20000});

    cr_assert_eq(answer.code, ERR_GRPC_OK);
    /* the wire carries it in coarse steps */
    cr_assert(atoi(answer.name) <= 21000 && atoi(answer.name) > 0, "%s", answer.name);
}

Test(rpc, bounds_the_deadline)
{
    struct fixture_answer answer;

    reopen((struct rpc_server_def){.max_call_ms = 5000}, (struct rpc_client_def){0});
    answer = fixture_call(&fixture, ORDER_DEADLINE, 0, (struct rpc_call_options){.timeout_ms = 60000});
    cr_assert_eq(answer.code, ERR_GRPC_OK);
    cr_assert(atoi(answer.name) <= 5000, "%s", answer.name);
}

Test(rpc, ends_a_call_that_its_handler_never_answers)
{
    reopen((struct rpc_server_def){.max_call_ms = 50}, (struct rpc_client_def){0});
    assert_fails(call(ORDER_HOLD), ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long");
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
    assert_name(call(100), "feature");
}

/* A call that is late may also be so before it reaches the server: then another is made. */
static void call_too_short(void)
{
    struct fixture_answer answer;

    do {
        answer = fixture_call(&fixture, ORDER_HOLD, 0, (struct rpc_call_options){.timeout_ms = 50});
        cr_assert_eq(answer.code, ERR_GRPC_DEADLINE_EXCEEDED);
    } while (sem_trywait(&fixture.entered) != 0);
}

Test(rpc, ends_a_call_at_the_clients_deadline)
{
    call_too_short();
    fixture_wait(&fixture.closed);
    cr_assert_gt(atomic_load(&fixture.cancelled), 0);
}

Test(rpc, ignores_what_comes_after_the_end_of_a_call)
{
    atomic_store(&fixture.sends_late, true);
    call_too_short();
    fixture_wait(&fixture.late);
    cr_assert_eq(atomic_load(&fixture.late_send_result), -ECANCELED);
}

/* ---- limits ---- */

static void send_note_of(int size)
{
    struct fixture_stream stream;
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    char text[20000];

    memset(text, 't', sizeof(text));
    text[size] = '\0';
    note.message = text;
    fixture_stream_open(&fixture, "RouteChat", 30000, &stream);
    rpc_stream_send(stream.stream, &note.base);
    fixture_stream_end(&stream);
    cr_assert_eq(stream.code, ERR_GRPC_RESOURCE_EXHAUSTED, "%s: %s", err_grpc_name(stream.code), stream.text);
    fixture_wait(&fixture.closed);
    cr_assert_eq(stream.messages, 0);
}

Test(rpc, refuses_a_message_beyond_the_limit)
{
    reopen((struct rpc_server_def){.max_message = 5000}, (struct rpc_client_def){0});
    send_note_of(5001);
    cr_assert_eq(metric("grpc_server_handled_total{grpc_type=\"bidi_stream\",grpc_service=\"routeguide.RouteGuide\","
                        "grpc_method=\"RouteChat\",grpc_code=\"RESOURCE_EXHAUSTED\"} "),
                 1);
    send_note_of(15000);
}

Test(rpc, refuses_calls_beyond_the_bound)
{
    struct fixture_answer held, answer;

    reopen((struct rpc_server_def){.max_in_flight = 1}, (struct rpc_client_def){0});
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &held), 0);
    fixture_wait(&fixture.entered);
    cr_assert_eq(metric("\ngrpc_server_in_flight "), 1);
    cr_assert_eq(metric("\ngrpc_server_connections "), 1);
    answer = call(100);
    assert_fails(answer, ERR_GRPC_RESOURCE_EXHAUSTED, "too many calls");
    fixture_close(&fixture);
    fixture_wait(&held.done);
    cr_assert_eq(held.code, ERR_GRPC_CANCELLED);
}

static void begin_route(struct fixture_stream *stream)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;

    fixture_stream_open(&fixture, "RecordRoute", 60000, stream);
    rpc_stream_send(stream->stream, &point.base);
    fixture_wait(&fixture.entered);
}

static void end_route(struct fixture_stream *stream)
{
    rpc_stream_half_close(stream->stream);
    fixture_stream_end(stream);
    cr_assert_eq(stream->code, ERR_GRPC_OK);
}

Test(rpc, refuses_calls_whose_messages_might_not_fit_into_memory)
{
    struct fixture_stream first, second, third;
    struct fixture_answer held;

    /* Room for four messages of 8 MiB, two of them in streams. */
    reopen((struct rpc_server_def){.max_message = 4 << 20, .max_memory = 33 << 20}, (struct rpc_client_def){0});
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &held), 0);
    fixture_wait(&fixture.entered); /* its message has come: it is not counted */
    begin_route(&first);
    begin_route(&second);
    fixture_stream_open(&fixture, "RecordRoute", 60000, &third);
    fixture_stream_end(&third);
    cr_assert_eq(third.code, ERR_GRPC_RESOURCE_EXHAUSTED, "%s: %s", err_grpc_name(third.code), third.text);
    assert_name(call(100), "feature"); /* streams that say nothing do not keep unary calls out */
    end_route(&first);
    begin_route(&third);
    end_route(&third);
    end_route(&second);
    fixture_close(&fixture);
    fixture_wait(&held.done);
}

static struct fixture_stream send_to(const char *method, const ProtobufCMessage *message, int times)
{
    struct fixture_stream stream;

    fixture_stream_open(&fixture, method, 30000, &stream);
    for (int i = 0; i < times; i++)
        rpc_stream_send(stream.stream, message);
    rpc_stream_half_close(stream.stream);
    fixture_stream_end(&stream);
    return stream;
}

Test(rpc, refuses_bytes_that_are_no_message)
{
    ProtobufCMessageUnknownField cut_off = {
        .tag = 15, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 3, .data = (uint8_t *)"\5ab"};
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct fixture_stream stream;

    point.base.n_unknown_fields = 1;
    point.base.unknown_fields = &cut_off;
    stream = send_to("GetFeature", &point.base, 1);
    cr_assert_eq(stream.code, ERR_GRPC_INVALID_ARGUMENT, "%s: %s", err_grpc_name(stream.code), stream.text);
    stream = send_to("RecordRoute", &point.base, 1);
    cr_assert_eq(stream.code, ERR_GRPC_INVALID_ARGUMENT, "%s: %s", err_grpc_name(stream.code), stream.text);
}

Test(rpc, refuses_a_message_that_takes_much_more_memory_than_bytes)
{
    enum { FIELDS = 100000 };
    static uint8_t fields[2 * FIELDS];
    ProtobufCMessageUnknownField unknown = {.tag = 15, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1};
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct fixture_stream stream;

    for (int i = 0; i < FIELDS; i++) {
        fields[2 * i] = 15 << 3;
        fields[2 * i + 1] = 1;
    }
    unknown.data = fields + 1; /* the first one's value, and then all the others */
    unknown.len = sizeof(fields) - 1;
    point.base.n_unknown_fields = 1;
    point.base.unknown_fields = &unknown;
    stream = send_to("GetFeature", &point.base, 1);
    cr_assert_eq(stream.code, ERR_GRPC_INVALID_ARGUMENT, "%s: %s", err_grpc_name(stream.code), stream.text);
    unknown.len = 2 * 100 - 1;
    stream = send_to("GetFeature", &point.base, 1);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
}

Test(rpc, wants_exactly_one_message_of_a_unary_call)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;
    struct fixture_stream stream;

    stream = send_to("GetFeature", &point.base, 0);
    cr_assert_eq(stream.code, ERR_GRPC_UNIMPLEMENTED, "%s: %s", err_grpc_name(stream.code), stream.text);
    stream = send_to("GetFeature", &point.base, 2);
    cr_assert_eq(stream.code, ERR_GRPC_UNIMPLEMENTED, "%s: %s", err_grpc_name(stream.code), stream.text);
    stream = send_to("ListFeatures", &rectangle.base, 0);
    cr_assert_eq(stream.code, ERR_GRPC_UNIMPLEMENTED, "%s: %s", err_grpc_name(stream.code), stream.text);
    stream = send_to("GetFeature", &point.base, 1);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
}

/* ---- streams ---- */

static struct fixture_stream list(int count, int size)
{
    Routeguide__Point lo = ROUTEGUIDE__POINT__INIT, hi = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;

    lo.latitude = count;
    hi.latitude = size;
    rectangle.lo = &lo;
    rectangle.hi = &hi;
    return send_to("ListFeatures", &rectangle.base, 1);
}

Test(rpc, streams_to_the_client)
{
    struct fixture_stream stream = list(3, 10);

    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages, 3);
    stream = list(0, 0);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages, 0);
}

Test(rpc, tells_a_fast_sender_to_wait)
{
    struct fixture_stream stream = list(5000, 4000);

    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages, 5000);
}

Test(rpc, streams_from_the_client)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct fixture_stream stream = send_to("RecordRoute", &point.base, 10);

    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.point_count, 10);
    stream = send_to("RecordRoute", &point.base, 0);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages, 1);
    cr_assert_eq(stream.point_count, 0);
}

Test(rpc, tells_a_fast_client_to_wait)
{
    enum { COUNT = 5000 };
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct fixture_stream stream;
    char text[4000];
    int full = 0;

    memset(text, 't', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    note.message = text;
    fixture_stream_open(&fixture, "RouteChat", 60000, &stream);
    for (int i = 0; i < COUNT; i++) {
        int result = rpc_stream_send(stream.stream, &note.base);

        cr_assert(result >= 0, "%d", result);
        if (result == 1) {
            fixture_wait(&stream.writable);
            full++;
        }
    }
    rpc_stream_half_close(stream.stream);
    cr_assert_eq(rpc_stream_send(stream.stream, &note.base), -ECANCELED);
    fixture_stream_end(&stream);
    cr_assert_gt(full, 0);
    cr_assert_eq(stream.messages + 0, COUNT);
}

Test(rpc, streams_both_ways)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct fixture_stream stream;
    char text[32];

    note.message = text;
    fixture_stream_open(&fixture, "RouteChat", 30000, &stream);
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof(text), "note %d", i);
        cr_assert_eq(rpc_stream_send(stream.stream, &note.base), 0);
        fixture_wait(&stream.message);
        cr_assert_str_eq(stream.last, text);
    }
    rpc_stream_half_close(stream.stream);
    fixture_stream_end(&stream);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
}

Test(rpc, resumes_a_paused_stream_from_another_thread)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct fixture_stream stream;

    note.message = (char *)"pause";
    stream = send_to("RouteChat", &note.base, 12);
    cr_assert_eq(stream.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(stream.code), stream.text);
    cr_assert_eq(stream.messages + 0, 12);
}

/* A route that was broken off must not look like one that has ended. */
static void break_off_a_route(void (*how)(struct fixture_stream *stream), uint64_t timeout_ms, enum err_grpc code)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct fixture_stream stream;

    fixture_stream_open(&fixture, "RecordRoute", timeout_ms, &stream);
    cr_assert_eq(rpc_stream_send(stream.stream, &point.base), 0);
    fixture_wait(&fixture.entered);
    how(&stream);
    fixture_wait(&stream.done);
    cr_assert_eq(stream.code, code, "%s: %s", err_grpc_name(stream.code), stream.text);
    fixture_wait(&fixture.closed);
    cr_assert_eq(rpc_stream_send(stream.stream, &point.base), -ECANCELED);
    rpc_stream_cancel(stream.stream);
    rpc_stream_unref(stream.stream);
    cr_assert_eq(atomic_load(&fixture.half_closes), 0);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
}

static void by_cancel(struct fixture_stream *stream)
{
    rpc_stream_cancel(stream->stream);
}

static void by_deadline(struct fixture_stream *stream)
{
}

static void by_end_of_client(struct fixture_stream *stream)
{
    fixture.client = rpc_client_free(fixture.client);
}

Test(rpc, tells_a_cancelled_stream_from_one_that_has_ended)
{
    break_off_a_route(by_cancel, 30000, ERR_GRPC_CANCELLED);
}

Test(rpc, tells_a_late_stream_from_one_that_has_ended)
{
    cr_assert_eq(call(100).code, ERR_GRPC_OK); /* connects: the second that the stream has is for the stream */
    fixture_wait(&fixture.closed);
    break_off_a_route(by_deadline, 1000, ERR_GRPC_DEADLINE_EXCEEDED);
}

Test(rpc, tells_a_lost_client_from_one_that_has_ended)
{
    break_off_a_route(by_end_of_client, 30000, ERR_GRPC_CANCELLED);
}

Test(rpc, bounds_the_length_of_a_stream)
{
    struct fixture_stream stream;

    reopen((struct rpc_server_def){.max_stream_ms = 50}, (struct rpc_client_def){0});
    fixture_stream_open(&fixture, "RouteChat", 60000, &stream);
    fixture_stream_end(&stream);
    cr_assert_eq(stream.code, ERR_GRPC_DEADLINE_EXCEEDED);
    cr_assert_str_eq(stream.text, "the call took too long");
}

/* ---- opening ---- */

static int open_on(int fd, const char *descriptors, size_t len)
{
    struct rpc_server *server = NULL;
    int err = rpc_server_open(fd,
                              &(struct rpc_server_def){.methods = fixture_methods,
                                                       .descriptors = (const uint8_t *)descriptors,
                                                       .descriptors_len = len,
                                                       .metrics = fixture.metrics},
                              &server);

    cr_assert_eq(err == 0, server != NULL);
    rpc_server_close(server);
    return err;
}

Test(rpc, says_why_it_cannot_be_opened)
{
    int fd, port = 0;

    cr_assert_eq(open_on(-1, "", 0), -EBADF);
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_assert_eq(open_on(fd, "no descriptors", 14), -EINVAL);
    cr_assert_eq(net_listen("127.0.0.1", port, &fd, &port), 0, "the socket has been closed");
    cr_assert_eq(open_on(fd, "", 0), 0);
}

/* ---- metrics ---- */

#define GET_FEATURE "grpc_service=\"routeguide.RouteGuide\",grpc_method=\"GetFeature\""

Test(rpc, counts_calls_by_method_and_code)
{
    call(100);
    call(100);
    call(ORDER_FAIL);
    for (int i = 0; i < 3; i++)
        fixture_wait(&fixture.closed);
    fixture_close(&fixture);
    cr_assert_eq(metric("grpc_server_started_total{grpc_type=\"unary\"," GET_FEATURE "} "), 3);
    cr_assert_eq(metric("grpc_server_handled_total{grpc_type=\"unary\"," GET_FEATURE ",grpc_code=\"OK\"} "), 2);
    cr_assert_eq(metric("grpc_server_handled_total{grpc_type=\"unary\"," GET_FEATURE ",grpc_code=\"NOT_FOUND\"} "), 1);
    cr_assert_eq(metric("grpc_server_handling_seconds_count{grpc_type=\"unary\"," GET_FEATURE "} "), 3);
    cr_assert_eq(metric("grpc_client_handled_total{peer=\"fixture\"," GET_FEATURE ",grpc_code=\"OK\"} "), 2);
    cr_assert_eq(metric("grpc_server_handled_total{grpc_type=\"bidi_stream\",grpc_service=\"routeguide.RouteGuide\","
                        "grpc_method=\"RouteChat\",grpc_code=\"OK\"} "),
                 0);
}
