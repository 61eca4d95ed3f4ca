/* The server as its protocol has it: what stands in frames and headers. */
#include "grpc_client.h"
#include "rpc_fixture.h"
#include "rpc_server_internal.h"
#include <poll.h>
#include <sched.h>
#include <zlib.h>

#define GET_FEATURE  "/routeguide.RouteGuide/GetFeature"
#define ROUTE_CHAT   "/routeguide.RouteGuide/RouteChat"
#define RECORD_ROUTE "/routeguide.RouteGuide/RecordRoute"
#define WATCH        "/grpc.health.v1.Health/Watch"
#define REFLECTION   "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

static struct fixture fixture;
static struct grpc_connection connection;

static void serve(struct rpc_server_def def)
{
    fixture_serve(&fixture, def);
    grpc_connect(&connection, fixture.port, 65535);
}

static void open_fixture(void)
{
    serve((struct rpc_server_def){0});
}

static void close_fixture(void)
{
    grpc_disconnect(&connection);
    fixture_close(&fixture);
}

static void reopen(struct rpc_server_def def)
{
    close_fixture();
    serve(def);
}

/* For tests that a busy machine may not finish within a connection's age. */
static void reopen_for_long(void)
{
    reopen((struct rpc_server_def){.max_connection_age_ms = 3600000});
}

TestSuite(rpc_server, .init = open_fixture, .fini = close_fixture, .timeout = 60);

/* ---- calls ---- */

static struct grpc_call *call_new(void)
{
    struct grpc_call *call = calloc(1, sizeof(*call));

    cr_assert_neq(call, NULL);
    return call;
}

/* A call with that body, to its end. */
static struct grpc_call *call_with(const char *path, struct str body, const char *const *more)
{
    struct grpc_call *call = call_new();

    call->body = (const uint8_t *)body.s;
    call->body_len = body.len;
    grpc_begin(&connection, path, more, call);
    grpc_await(&connection, call);
    return call;
}

static void append_point(struct buf *body, int latitude, int longitude)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    uint8_t bytes[64];

    point.latitude = latitude;
    point.longitude = longitude;
    grpc_append(body, false, (struct str){(char *)bytes, routeguide__point__pack(&point, bytes)});
}

static struct grpc_call *get(int latitude, const char *const *more)
{
    struct buf body = {0};
    struct grpc_call *call;

    append_point(&body, latitude, 0);
    call = call_with(GET_FEATURE, buf_str(&body), more);
    buf_release(&body);
    return call;
}

static void assert_field(const struct grpc_call *call, const char *name, const char *value)
{
    const char *found = grpc_field(call, name, 0);

    cr_assert(found != NULL, "no %s", name);
    cr_assert_str_eq(found, value, "%s: %s", name, found);
}

static void assert_status(struct grpc_call *call, const char *status)
{
    assert_field(call, ":status", "200");
    assert_field(call, "grpc-status", status);
    cr_assert(call->ended);
    free(call);
}

Test(rpc_server, answers_with_head_message_and_trailers)
{
    struct grpc_call *call = get(100, NULL);

    assert_field(call, "content-type", "application/grpc");
    assert_field(call, "grpc-accept-encoding", "identity,gzip");
    cr_assert_eq(call->heads, 2);
    cr_assert_eq(call->data[0], 0);
    cr_assert_eq(call->data_len, 5u + call->data[4]);
    cr_assert_eq(call->error, 0u);
    assert_status(call, "0");
}

Test(rpc_server, answers_an_error_by_trailers_only)
{
    struct grpc_call *call = get(ORDER_FAIL, NULL);

    cr_assert_eq(call->heads, 1);
    cr_assert_eq(call->data_len, 0u);
    assert_field(call, "grpc-message", "there is no feature");
    assert_status(call, "5");
}

Test(rpc_server, serves_what_comes_in_small_pieces)
{
    struct grpc_call *call = call_new();
    struct buf body = {0};

    append_point(&body, 100, 0);
    call->open_end = true;
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    for (size_t i = 0; i < body.len; i++) {
        call->body = (const uint8_t *)body.data + i;
        call->body_len = 1;
        call->open_end = i + 1 < body.len;
        nghttp2_session_resume_data(connection.session, call->stream);
        nghttp2_session_send(connection.session);
    }
    grpc_await(&connection, call);
    buf_release(&body);
    assert_status(call, "0");
}

Test(rpc_server, refuses_what_is_not_grpc)
{
    struct grpc_call *call = get(100, (const char *const[]){"content-type", "application/json", NULL});

    assert_field(call, ":status", "415");
    cr_assert(grpc_field(call, "grpc-status", 0) == NULL);
    free(call);
    call = get(100, (const char *const[]){"content-type", "application/grpcx", NULL});
    assert_field(call, ":status", "415");
    free(call);
    call = get(100, (const char *const[]){":method", "GET", NULL});
    assert_field(call, ":status", "405");
    assert_field(call, "allow", "POST");
    free(call);
    assert_status(get(100, (const char *const[]){"content-type", "application/grpc+proto", NULL}), "0");
}

Test(rpc_server, knows_no_other_service)
{
    assert_status(call_with("/routeguide.Nothing/Get", STR_NULL, NULL), "12");
    assert_status(call_with("/", STR_NULL, NULL), "12");
}

Test(rpc_server, reports_a_message_that_is_cut_off)
{
    struct grpc_call *call = call_with(GET_FEATURE, (struct str){"\0\0\0\0\5ab", 7}, NULL);

    assert_field(call, "grpc-message", "the last message is cut off");
    assert_status(call, "13");
    assert_status(call_with(GET_FEATURE, (struct str){"\7\0\0\0\0", 5}, NULL), "13");
}

/* Once it is answered, all that was sent before has been read. */
static void ping(struct grpc_connection *to)
{
    unsigned before_it = to->pongs;

    nghttp2_submit_ping(to->session, NGHTTP2_FLAG_NONE, NULL);
    while (to->pongs == before_it && !to->eof)
        grpc_turn(to);
}

/* ---- limits ---- */

/* The prefix alone is refused: nothing of the message need come. */
Test(rpc_server, refuses_a_message_by_its_prefix)
{
    struct grpc_call *call = call_new();

    call->body = (const uint8_t *)"\0\x7f\xff\xff\xff";
    call->body_len = 5;
    call->open_end = true;
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    grpc_await(&connection, call);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_NO_ERROR);
    assert_status(call, "8");
}

Test(rpc_server, bounds_metadata)
{
    static char value[1000];
    const char *more[2 * 9 + 1] = {NULL};
    struct grpc_call *call;

    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < 9; i++) {
        more[2 * i] = "name";
        more[2 * i + 1] = value;
    }
    assert_status(get(100, more), "0");
    reopen((struct rpc_server_def){0});
    char *large = malloc(17000);
    memset(large, 'v', 16999);
    large[16999] = '\0';
    call = get(100, (const char *const[]){"name", large, NULL});
    free(large);
    assert_status(call, "8");
    assert_status(get(100, NULL), "0");
}

/* Nobody needs a token for reflection: its questions are short, and its streams have bounds of their own. */
Test(rpc_server, refuses_a_long_question_of_reflection)
{
    static char question[4 + 40000] = "\x1a\xc0\xb8\x02"; /* file_by_filename, of 40000 bytes */
    struct buf body = {0};

    memset(question + 4, 'n', sizeof(question) - 4);
    grpc_append(&body, false, (struct str){question, sizeof(question)});
    assert_status(call_with(REFLECTION, buf_str(&body), NULL), "8");
    buf_release(&body);
}

/* One connection takes all that it can: three quarters, and no more while there is another connection. */
Test(rpc_server, serves_calls_beside_open_streams_of_reflection)
{
    struct grpc_call *streams[RPC_QUIET_RECEIVING], *open = call_new();
    struct grpc_connection other;
    int refused = 0;

    reopen((struct rpc_server_def){.max_in_flight = 10});
    ping(&connection); /* the server has taken it */
    grpc_connect(&other, fixture.port, 65535);
    for (int i = 0; i < RPC_QUIET_RECEIVING; i++) {
        streams[i] = call_new();
        streams[i]->open_end = true;
        grpc_begin(&other, REFLECTION, NULL, streams[i]);
    }
    grpc_await(&other, streams[RPC_QUIET_RECEIVING - 1]);
    open->open_end = true;
    grpc_begin(&connection, REFLECTION, NULL, open);
    ping(&connection);
    cr_assert(!open->closed);
    assert_status(get(100, NULL), "0");
    for (int i = 0; i < RPC_QUIET_RECEIVING; i++) {
        refused += streams[i]->closed;
        free(streams[i]);
    }
    cr_assert_eq(refused, RPC_QUIET_RECEIVING / 4);
    grpc_disconnect(&other);
    free(open);
}

/* Each value of the list would take a copy of the name. */
Test(rpc_server, bounds_lists_in_metadata)
{
    static char name[4000], value[10000];
    struct budget budget = {0};
    struct rpc_account account = {.budget = &budget};
    struct rpc_arena arena = {.account = &account};
    struct rpc_head head;
    struct grpc_call *call;

    memset(name, 'n', sizeof(name) - 1);
    memcpy(name + sizeof(name) - 5, "-bin", 4);
    memset(value, ',', sizeof(value) - 1);
    call = get(100, (const char *const[]){name, value, NULL});
    assert_field(call, "grpc-message", "the metadata is larger than the server accepts");
    assert_status(call, "8");
    assert_status(get(100, NULL), "0");
    rpc_head_init(&head);
    rpc_head_add(&head, &arena, str_of(name), str_of(value));
    cr_assert(head.too_large);
    cr_assert_leq(account.used, 4u * RPC_MAX_HEAD);
    rpc_arena_release(&arena);
    rpc_account_close(&account);
}

/* A repeated field takes one byte of a frame each time. */
enum { REPEATS = 3000 };

static nghttp2_nv *repeated_field(nghttp2_nv *nv)
{
    static char value[2900];

    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < REPEATS; i++)
        nv[i] = grpc_nv("name", value);
    return nv;
}

Test(rpc_server, resets_a_call_whose_head_repeats_a_field)
{
    static nghttp2_nv nv[5 + REPEATS];
    struct grpc_call *call = call_new();

    nv[0] = grpc_nv(":method", "POST");
    nv[1] = grpc_nv(":scheme", "http");
    nv[2] = grpc_nv(":authority", "test");
    nv[3] = grpc_nv(":path", GET_FEATURE);
    nv[4] = grpc_nv("content-type", "application/grpc");
    repeated_field(nv + 5);
    call->stream = nghttp2_submit_request(connection.session, NULL, nv, 5 + REPEATS, NULL, call);
    grpc_await(&connection, call);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_INTERNAL_ERROR);
    assert_status(get(100, NULL), "0");
    free(call);
}

Test(rpc_server, resets_a_call_whose_trailers_repeat_a_field)
{
    static nghttp2_nv nv[REPEATS];
    struct grpc_call *call = call_new();

    call->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, call);
    nghttp2_submit_trailer(connection.session, call->stream, repeated_field(nv), REPEATS);
    grpc_await(&connection, call);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_INTERNAL_ERROR);
    assert_status(get(100, NULL), "0");
    free(call);
}

/* ---- deadlines ---- */

Test(rpc_server, parses_timeouts)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"1n", 1},
                {"7u", 7000},
                {"20m", 20 * CLOCK_NS_PER_MS},
                {"3S", 3 * CLOCK_NS_PER_S},
                {"2M", 120 * CLOCK_NS_PER_S},
                {"1H", 3600 * CLOCK_NS_PER_S},
                {"99999999H", UINT64_MAX},
                {"99999999S", 99999999 * CLOCK_NS_PER_S}};
    static const char *const bad[] = {"", "1", "S", "123456789S", "-1S", "1.5S", "1s", "1 S", "S1"};
    uint64_t ns;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(rpc_timeout_parse(str_of(good[i].text), &ns), 0, "%s", good[i].text);
        cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(rpc_timeout_parse(str_of(bad[i]), &ns), -EINVAL, "%s", bad[i]);
}

Test(rpc_server, ends_calls_at_the_deadline_that_the_client_named)
{
    assert_status(get(ORDER_HOLD, (const char *const[]){"grpc-timeout", "20m", NULL}), "4");
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
    assert_status(get(100, (const char *const[]){"grpc-timeout", "0n", NULL}), "4");
    assert_status(get(100, (const char *const[]){"grpc-timeout", "soon", NULL}), "13");
    assert_status(get(100, (const char *const[]){"grpc-timeout", "99999999H", NULL}), "0");
}

Test(rpc_server, tells_the_handler_that_the_client_has_cancelled)
{
    struct grpc_call *call = call_new();
    struct buf body = {0};

    append_point(&body, ORDER_HOLD, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    fixture_wait(&fixture.entered);
    nghttp2_submit_rst_stream(connection.session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    nghttp2_session_send(connection.session);
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
    buf_release(&body);
    free(call);
}

/* What the client does not take keeps no call open. */
static void expire_unread(uint32_t window)
{
    Routeguide__Point lo = ROUTEGUIDE__POINT__INIT, hi = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;
    struct grpc_call *call;
    struct buf body = {0};
    uint8_t bytes[64];

    grpc_disconnect(&connection);
    grpc_connect(&connection, fixture.port, window);
    lo.latitude = 1000;
    hi.latitude = 95; /* each takes 5 + 2 + 95 bytes */
    rectangle.lo = &lo;
    rectangle.hi = &hi;
    grpc_append(&body, false, (struct str){(char *)bytes, routeguide__rectangle__pack(&rectangle, bytes)});
    call = call_with("/routeguide.RouteGuide/ListFeatures", buf_str(&body),
                     (const char *const[]){"grpc-timeout", "50m", NULL});
    cr_assert_eq(call->data_len, window);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_CANCEL);
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&fixture.cancelled), 1);
    buf_release(&body);
    free(call);
}

Test(rpc_server, resets_a_late_call_whose_client_takes_nothing)
{
    expire_unread(0);
}

Test(rpc_server, resets_a_late_call_whose_client_took_whole_messages)
{
    expire_unread(2 * (5 + 2 + 95));
}

Test(rpc_server, resets_a_late_call_whose_client_took_part_of_a_message)
{
    expire_unread(150);
}

/* The stream waits for a change of state when the client closes the window for the status. */
Test(rpc_server, resets_a_late_watch_whose_window_is_closed)
{
    const nghttp2_settings_entry closed = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    struct grpc_call *call = call_new();

    call->body = (const uint8_t *)"\0\0\0\0\0";
    call->body_len = 5;
    grpc_begin(&connection, WATCH, (const char *const[]){"grpc-timeout", "100m", NULL}, call);
    nghttp2_submit_settings(connection.session, NGHTTP2_FLAG_NONE, &closed, 1);
    grpc_await(&connection, call);
    cr_assert(call->closed);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_CANCEL);
    free(call);
}

/* ---- compression ---- */

static void append_gzip(struct buf *body, struct str message)
{
    static char bytes[1 << 20];
    z_stream stream = {.next_in = (uint8_t *)message.s,
                       .avail_in = (unsigned)message.len,
                       .next_out = (uint8_t *)bytes,
                       .avail_out = sizeof(bytes)};

    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    grpc_append(body, true, (struct str){bytes, stream.total_out});
}

static const char *const with_gzip[] = {"grpc-encoding", "gzip", NULL};

Test(rpc_server, inflates_messages)
{
    struct buf body = {0}, point = {0};

    append_point(&point, ORDER_FAIL, 0);
    append_gzip(&body, (struct str){point.data + 5, point.len - 5});
    assert_status(call_with(GET_FEATURE, buf_str(&body), with_gzip), "5");
    assert_status(call_with(GET_FEATURE, buf_str(&point), with_gzip), "5"); /* not each message need be compressed */
    assert_status(call_with(GET_FEATURE, buf_str(&body), NULL), "13");
    assert_status(call_with(GET_FEATURE, buf_str(&body), (const char *const[]){"grpc-encoding", "zstd", NULL}), "12");
    body.data[6]++;
    assert_status(call_with(GET_FEATURE, buf_str(&body), with_gzip), "3");
    buf_release(&body);
    buf_release(&point);
}

Test(rpc_server, bounds_what_is_inflated)
{
    struct buf body = {0};
    char *zeros = calloc(1, 64 << 20);

    reopen((struct rpc_server_def){.max_message = 100000});
    append_gzip(&body, (struct str){zeros, 64 << 20});
    cr_assert_lt(body.len, 70000u);
    assert_status(call_with(GET_FEATURE, buf_str(&body), with_gzip), "8");
    body.len = 0;
    append_gzip(&body, (struct str){zeros, 100001});
    assert_status(call_with(GET_FEATURE, buf_str(&body), with_gzip), "8");
    body.len = 0;
    append_gzip(&body, (struct str){zeros, 100000}); /* as large as a message may be, and no Point */
    assert_status(call_with(GET_FEATURE, buf_str(&body), with_gzip), "3");
    buf_release(&body);
    free(zeros);
}

/* Less than a message may have, which alone would let 64 KiB take 64 MiB. */
Test(rpc_server, inflates_no_more_than_the_budget_allows)
{
    struct budget budget = {.max = 1 << 20};
    struct rpc_account account = {.budget = &budget};
    struct buf body = {0};
    char *zeros = calloc(1, 64 << 20);
    struct str inflated;

    append_gzip(&body, (struct str){zeros, 64 << 20});
    cr_assert_eq(rpc_inflate((struct str){body.data + 5, body.len - 5}, 64 << 20, &account, &inflated), -ENOBUFS);
    cr_assert_eq(account.used, 0u);
    body.len = 0;
    append_gzip(&body, (struct str){zeros, 100000});
    cr_assert_eq(rpc_inflate((struct str){body.data + 5, body.len - 5}, 64 << 20, &account, &inflated), 0);
    cr_assert_eq(inflated.len, 100000u);
    rpc_inflated_free(inflated, &account);
    rpc_account_close(&account);
    cr_assert_eq(budget_used(&budget), 0u);
    buf_release(&body);
    free(zeros);
}

static struct grpc_call *get_big(int len, const char *const *more)
{
    struct buf body = {0};
    struct grpc_call *call;

    append_point(&body, ORDER_BIG, len);
    call = call_with(GET_FEATURE, buf_str(&body), more);
    buf_release(&body);
    return call;
}

/* The message at an offset of what came, inflated where its prefix says so. Returns the offset after it. */
static size_t read_message(const struct grpc_call *call, size_t at, bool *ret_compressed, struct str *ret_message)
{
    static uint8_t bytes[200000];
    const uint8_t *prefix = call->data + at;
    size_t len;
    z_stream stream = {.next_out = bytes, .avail_out = sizeof(bytes)};

    cr_assert_leq(at + 5, call->data_len);
    len = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
    cr_assert_leq(at + 5 + len, call->data_len);
    *ret_compressed = prefix[0] == 1;
    *ret_message = (struct str){(const char *)prefix + 5, len};
    if (*ret_compressed) {
        stream.next_in = (uint8_t *)prefix + 5;
        stream.avail_in = (unsigned)len;
        cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
        cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
        cr_assert_eq(stream.avail_in, 0u);
        inflateEnd(&stream);
        *ret_message = (struct str){(const char *)bytes, stream.total_out};
    }
    return at + 5 + len;
}

static void assert_big(const struct grpc_call *call, size_t len, bool compressed)
{
    bool is_compressed;
    struct str message;
    Routeguide__Feature *feature;

    cr_assert_eq(read_message(call, 0, &is_compressed, &message), call->data_len);
    cr_assert_eq(is_compressed, compressed);
    feature = routeguide__feature__unpack(NULL, message.len, (const uint8_t *)message.s);
    cr_assert(feature != NULL && strlen(feature->name) == len);
    routeguide__feature__free_unpacked(feature, NULL);
}

Test(rpc_server, compresses_long_replies_where_the_client_accepts_it)
{
    static const char *const accepted[] = {"identity, gzip ,deflate", "gzip", "deflate,gzip"}, *const refused[] = {
                                                                                                   "identity",
                                                                                                   "gzipped,zip", ""};
    struct grpc_call *call;

    reopen((struct rpc_server_def){.compress_from = 1000});
    for (int i = 0; i < 3; i++) {
        call = get_big(50000, (const char *const[]){"grpc-accept-encoding", accepted[i], NULL});
        assert_field(call, "grpc-encoding", "gzip");
        cr_assert_lt(call->data_len, 1000u);
        assert_big(call, 50000, true);
        assert_status(call, "0");
        call = get_big(50000, (const char *const[]){"grpc-accept-encoding", refused[i], NULL});
        cr_assert(grpc_field(call, "grpc-encoding", 0) == NULL);
        assert_big(call, 50000, false);
        assert_status(call, "0");
    }
    call = get_big(50000, NULL);
    assert_big(call, 50000, false);
    assert_status(call, "0");
    call = get_big(900, (const char *const[]){"grpc-accept-encoding", "gzip", NULL});
    assert_big(call, 900, false);
    assert_status(call, "0");
}

static void append_note(struct buf *body, const char *begin)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    char text[1001];
    uint8_t bytes[1100];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, begin, strlen(begin));
    note.message = text;
    grpc_append(body, false, (struct str){(char *)bytes, routeguide__route_note__pack(&note, bytes)});
}

static void assert_compressed(const struct grpc_call *call, const bool *expected, int count)
{
    size_t at = 0;

    for (int i = 0; i < count; i++) {
        bool compressed;
        struct str message;

        at = read_message(call, at, &compressed, &message);
        cr_assert_eq(compressed, expected[i], "message %d", i);
        cr_assert_gt(message.len, 1000u);
    }
    cr_assert_eq(at, call->data_len);
}

Test(rpc_server, lets_a_handler_choose_which_messages_are_compressed)
{
    static const char *const accepts[] = {"grpc-accept-encoding", "gzip", NULL};
    struct buf body = {0};
    struct grpc_call *call;

    append_note(&body, "compress");
    append_note(&body, "plain");
    append_note(&body, "same");
    append_note(&body, "compress");
    append_note(&body, "same");
    call = call_with(ROUTE_CHAT, buf_str(&body), accepts);
    assert_field(call, "grpc-encoding", "gzip");
    assert_compressed(call, (const bool[]){true, false, false, true, true}, 5);
    assert_status(call, "0");
    call = call_with(ROUTE_CHAT, buf_str(&body), NULL);
    cr_assert(grpc_field(call, "grpc-encoding", 0) == NULL);
    assert_compressed(call, (const bool[]){false, false, false, false, false}, 5);
    assert_status(call, "0");
    buf_release(&body);
}

/* The response's headers have been sent, and do not announce compression. */
Test(rpc_server, compresses_nothing_that_the_headers_do_not_announce)
{
    struct buf first = {0}, second = {0};
    struct grpc_call *call = call_new();

    append_note(&first, "plain");
    append_note(&second, "compress");
    call->body = (const uint8_t *)first.data;
    call->body_len = first.len;
    call->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, (const char *const[]){"grpc-accept-encoding", "gzip", NULL}, call);
    while (call->data_len < 1000)
        grpc_turn(&connection);
    call->body = (const uint8_t *)second.data;
    call->body_len = second.len;
    call->open_end = false;
    nghttp2_session_resume_data(connection.session, call->stream);
    grpc_await(&connection, call);
    cr_assert(grpc_field(call, "grpc-encoding", 0) == NULL);
    assert_compressed(call, (const bool[]){false, false}, 2);
    assert_status(call, "0");
    buf_release(&first);
    buf_release(&second);
}

/* ---- texts ---- */

static struct str percent(const char *text, char to[256])
{
    return (struct str){to, rpc_percent_encode(str_of(text), to)};
}

Test(rpc_server, encodes_messages_of_errors)
{
    char to[256];

    cr_assert(str_eq(percent("plain text ~", to), STR("plain text ~")));
    cr_assert(str_eq(percent("100% \xc3\xa4\n", to), STR("100%25 %C3%A4%0A")));
}

Test(rpc_server, encodes_and_decodes_base64)
{
    static const char *const texts[][2] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"\xff\xfe", "//4"}};
    static const char *const bad[] = {"Z", "Zg=a", "Zg===", "Z g", "Zm9v!"};
    char to[16];
    size_t len;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        len = rpc_base64_encode(str_of(texts[i][0]), to);
        cr_assert(str_eq((struct str){to, len}, str_of(texts[i][1])));
        cr_assert_eq(rpc_base64_decode(str_of(texts[i][1]), to, &len), 0);
        cr_assert(str_eq((struct str){to, len}, str_of(texts[i][0])));
    }
    cr_assert_eq(rpc_base64_decode(STR("Zm8="), to, &len), 0);
    cr_assert_eq(len, 2u);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(rpc_base64_decode(str_of(bad[i]), to, &len), -EINVAL, "%s", bad[i]);
}

/* ---- interceptors, metadata, details ---- */

static atomic_int seen_after;
static char seen_values[64];

static void before(struct rpc_call *call, void *state)
{
    struct str refuse = rpc_call_metadata(call, "refuse"), one;

    for (size_t i = 0; (one = rpc_call_metadata_at(call, "several-bin", i)).s != NULL; i++)
        snprintf(seen_values + strlen(seen_values), sizeof(seen_values) - strlen(seen_values), "[%.*s]", STR_ARG(one));
    rpc_call_add_metadata(call, "first", STR("one"));
    rpc_call_add_metadata(call, "first", STR("two"));
    rpc_call_add_metadata(call, "first-bin", (struct str){"\xff\xfe", 2});
    rpc_call_add_metadata(call, "bad", STR("line\nbreak"));
    rpc_call_add_trailer(call, "last", STR("three"));
    if (refuse.s != NULL)
        rpc_finish_with_details(call, ERR_GRPC_PERMISSION_DENIED, "no: 100%", (struct str){"\x08\x07", 2});
}

static void after(struct rpc_call *call, enum err_grpc status, void *state)
{
    atomic_store(&seen_after, 1 + (int)status);
}

static const struct rpc_interceptor interceptors[] = {{.before = before, .after = after}};

Test(rpc_server, calls_interceptors_and_sends_metadata)
{
    struct grpc_call *call;

    reopen((struct rpc_server_def){.interceptors = interceptors, .interceptor_count = 1});
    call = get(100, (const char *const[]){"several-bin", "Zg,Zm8=", "several-bin", "Zm9v", NULL});
    assert_field(call, "first", "one");
    cr_assert_str_eq(grpc_field(call, "first", 1), "two");
    assert_field(call, "first-bin", "//4");
    cr_assert(grpc_field(call, "bad", 0) == NULL);
    assert_field(call, "last", "three");
    assert_status(call, "0");
    cr_assert_str_eq(seen_values, "[f][fo][foo]");
    fixture_wait(&fixture.closed);
    cr_assert_eq(atomic_load(&seen_after), 1);
}

Test(rpc_server, lets_an_interceptor_refuse_a_call)
{
    struct grpc_call *call;

    reopen((struct rpc_server_def){.interceptors = interceptors, .interceptor_count = 1});
    call = get(100, (const char *const[]){"refuse", "yes", NULL});
    assert_field(call, "grpc-message", "no: 100%25");
    assert_field(call, "grpc-status-details-bin", "CAc");
    assert_status(call, "7");
    cr_assert_neq(sem_trywait(&fixture.closed), 0); /* the handlers know nothing of it */
    assert_status(get(100, (const char *const[]){"several-bin", "!", NULL}), "13");
}

/* ---- the connection ---- */

/* Further calls of other streams are served while a paused one holds what its window lets through. */
Test(rpc_server, pauses_one_stream_alone)
{
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct grpc_call *call = call_new();
    struct buf body = {0};
    static char text[8000];
    uint8_t bytes[sizeof(text) + 64];

    reopen((struct rpc_server_def){.max_message = 20000});
    memset(text, 't', sizeof(text) - 1);
    note.message = text;
    for (int i = 0; i < 400; i++)
        grpc_append(&body, false, (struct str){(char *)bytes, routeguide__route_note__pack(&note, bytes)});
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(&connection, ROUTE_CHAT, NULL, call); /* its echoes are not taken: the client's window is full */
    for (int i = 0; i < 20; i++)
        assert_status(get(100, NULL), "0");
    cr_assert(!call->closed);
    cr_assert_gt(call->body_len, 0u);
    buf_release(&body);
    grpc_disconnect(&connection);
    fixture_wait(&fixture.closed);
    grpc_connect(&connection, fixture.port, 65535);
    free(call);
}

Test(rpc_server, closes_the_connection_of_a_client_that_pings_too_often)
{
    for (int i = 0; i < 20; i++) { /* after an answer each */
        free(get(100, NULL));
        ping(&connection);
    }
    cr_assert(!connection.eof);
    for (int i = 0; i < 10 && !connection.eof; i++)
        ping(&connection);
    cr_assert(connection.eof);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_ENHANCE_YOUR_CALM);
}

static struct grpc_call *begin_chat(void)
{
    struct grpc_call *chat = call_new();

    chat->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, chat);
    return chat;
}

/* The client may be a proxy with the calls of many. */
Test(rpc_server, ends_the_calls_of_a_client_that_pings_too_often)
{
    struct grpc_call *chat;
    struct buf note = {0};

    reopen_for_long();
    chat = begin_chat();
    append_note(&note, "last");
    for (int i = 0; i < 10 && !connection.eof; i++)
        ping(&connection);
    cr_assert_eq(connection.goaways, 1u);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_ENHANCE_YOUR_CALM);
    cr_assert_eq(connection.last_stream, chat->stream);
    chat->body = (const uint8_t *)note.data;
    chat->body_len = note.len;
    chat->open_end = false;
    nghttp2_session_resume_data(connection.session, chat->stream);
    grpc_await(&connection, chat);
    cr_assert_gt(chat->data_len, 1000u);
    assert_status(chat, "0");
    while (!connection.eof)
        grpc_turn(&connection);
    buf_release(&note);
}

Test(rpc_server, cuts_a_client_that_goes_on_pinging)
{
    struct grpc_call *chat;

    reopen_for_long();
    chat = begin_chat();
    for (int i = 0; i < 1000 && !connection.eof; i++)
        ping(&connection);
    cr_assert(connection.eof);
    cr_assert(!chat->ended);
    free(chat);
}

/* Begins a call and resets it at once. */
static void begin_and_reset(const char *const *more)
{
    struct grpc_call *call = call_new();
    struct buf body = {0};

    append_point(&body, ORDER_HOLD, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(&connection, GET_FEATURE, more, call);
    nghttp2_submit_rst_stream(connection.session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    nghttp2_session_send(connection.session);
    nghttp2_session_set_stream_user_data(connection.session, call->stream, NULL);
    buf_release(&body);
    free(call);
}

/* What was refused by that frame and code, as in /metrics. */
static uint64_t refused(const char *frame, const char *code)
{
    static const struct metrics_def def = {
        .name = "grpc_server_refused_total", .help = "", .type = METRICS_COUNTER, .labels = {"frame", "code"}};

    return metrics_counter_value(
        metrics_series(metrics_family(fixture.metrics, &def), (const struct str[]){str_of(frame), str_of(code)}));
}

static void reopen_with_metrics(struct rpc_server_def def)
{
    close_fixture();
    fixture.metrics = metrics_new();
    serve(def);
}

static void close_with_metrics(void)
{
    close_fixture();
    fixture.metrics = metrics_free(fixture.metrics);
    serve((struct rpc_server_def){0});
}

/* Returns how many calls were begun until the server wanted no more. */
static int reset_calls(int count, const char *const *more)
{
    for (int i = 0; i < count; i++) {
        if (connection.eof || connection.goaways > 0)
            return i;
        begin_and_reset(more);
        if (i % 50 == 0)
            free(get(100, NULL)); /* what was sent before has been read */
    }
    return count;
}

/* 100 streams of calls that all miss a deadline of 100 ms are reset 1,000 times a second. A server that was late reads
 * the calls together with their resets. */
Test(rpc_server, serves_a_client_whose_calls_all_miss_their_deadlines)
{
    reopen_for_long();
    cr_assert_eq(reset_calls(3000, (const char *const[]){"grpc-timeout", "100m", NULL}), 3000);
    assert_status(get(100, NULL), "0");
}

Test(rpc_server, closes_the_connection_of_a_client_that_resets_calls_too_often)
{
    int resets;

    reopen_with_metrics((struct rpc_server_def){.max_connection_age_ms = 3600000});
    resets = reset_calls(3000, NULL);
    cr_assert_geq(resets, 1000);
    cr_assert_lt(resets, 3000);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_ENHANCE_YOUR_CALM);
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_eq(refused("GOAWAY", "ENHANCE_YOUR_CALM"), 1u);
    grpc_disconnect(&connection);
    grpc_connect(&connection, fixture.port, 65535);
    assert_status(get(100, NULL), "0");
    close_with_metrics();
    reopen_for_long();
    cr_assert_lt(reset_calls(5000, (const char *const[]){"grpc-timeout", "3S", NULL}), 5000);
}

/* ---- shares of a turn ---- */

/* The turns that all loops have taken. */
static unsigned long turns(void)
{
    struct buf text = {0};
    unsigned long sum = 0;
    const char *line;

    metrics_write(fixture.metrics, &text);
    buf_append(&text, "", 1);
    for (line = text.data; (line = strstr(line, "event_loop_turn_seconds_count")) != NULL; line++)
        sum += strtoul(strchr(line, ' '), NULL, 10);
    buf_release(&text);
    return sum;
}

/* Points of 65,000 bytes, all but a few of them in a field that nobody knows. */
static void record_inflated(unsigned count)
{
    static char point[65000] = {0x7a, (char)0xe4, (char)0xfb, 0x03};
    struct buf one = {0}, all = {0};

    append_gzip(&one, (struct str){point, sizeof(point)});
    for (unsigned i = 0; i < count; i++)
        buf_append(&all, one.data, one.len);
    assert_status(call_with(RECORD_ROUTE, buf_str(&all), with_gzip), "0");
    buf_release(&one);
    buf_release(&all);
}

/* Read as any other connection is, 500 messages would be inflated in a turn, while all others wait. */
Test(rpc_server, reads_less_of_what_grows)
{
    unsigned long before;

    reopen_with_metrics((struct rpc_server_def){0});
    record_inflated(10);
    before = turns();
    record_inflated(500);
    cr_assert_geq(turns() - before, 60u);
    close_with_metrics();
}

/* ---- what HTTP/2 forbids ---- */

static void assert_protocol_error(const char *frames, size_t len)
{
    reopen_for_long();
    ping(&connection);
    net_send(connection.fd, frames, len);
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_PROTOCOL_ERROR);
}

Test(rpc_server, refuses_priority_without_a_stream)
{
    assert_protocol_error("\0\0\5\2\0\0\0\0\0\0\0\0\1\7", 14);
}

/* HEADERS of :method POST and :scheme http, with END_HEADERS: streams 5 and 3; 1, 9, 11 and 5. */
Test(rpc_server, refuses_a_stream_that_was_skipped)
{
#define POST(stream_) "\0\0\2\1\4\0\0\0" stream_ "\x83\x86"
    static const char first[] = POST("\5") POST("\3"), later[] = POST("\1") POST("\11") POST("\13") POST("\5");

    assert_protocol_error(first, sizeof(first) - 1);
    assert_protocol_error(later, sizeof(later) - 1);
}

/* Streams that the client has not begun are closed, and those that it has are not: both are none that it skipped. */
Test(rpc_server, takes_streams_in_their_order)
{
    for (int i = 0; i < 3; i++)
        assert_status(get(100, NULL), "0");
    nghttp2_session_set_next_stream_id(connection.session, 101);
    for (int i = 0; i < 3; i++)
        assert_status(get(100, NULL), "0");
}

/* Its trailers are HEADERS after those of the largest id there is. */
Test(rpc_server, takes_the_last_stream_there_can_be)
{
    struct grpc_call *call = call_new();

    nghttp2_session_set_next_stream_id(connection.session, INT32_MAX);
    call->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, call);
    net_send(connection.fd, "\0\0\0\1\5\x7f\xff\xff\xff", 9);
    ping(&connection);
    while (connection.pongs == 0 && !connection.eof)
        grpc_turn(&connection);
    cr_assert(!connection.eof);
    nghttp2_session_set_stream_user_data(connection.session, call->stream, NULL);
    free(call);
}

/* nghttp2 ends the connection, since the client has acknowledged the bound. */
Test(rpc_server, refuses_more_streams_than_it_allows_at_once)
{
    /* HEADERS of :method POST, :scheme http, :path / */
    static const char begin[] = {0,
                                 0,
                                 3,
                                 NGHTTP2_HEADERS,
                                 NGHTTP2_FLAG_END_HEADERS,
                                 0,
                                 0,
                                 0,
                                 (char)(2 * RPC_MAX_STREAMS + 1),
                                 (char)0x83,
                                 (char)0x86,
                                 (char)0x84};
    struct grpc_call *chats[RPC_MAX_STREAMS];

    for (int i = 0; i < RPC_MAX_STREAMS; i++)
        chats[i] = begin_chat();
    ping(&connection);
    cr_assert(!connection.eof);
    net_send(connection.fd, begin, sizeof(begin));
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_PROTOCOL_ERROR);
    for (int i = 0; i < RPC_MAX_STREAMS; i++)
        free(chats[i]);
}

/* A byte of a value every 10 ms, for ten seconds at most: the client is heard of, and the head does not end. */
Test(rpc_server, closes_the_connection_of_a_client_whose_head_drips)
{
    /* HEADERS of stream 1 with 16000 bytes: :method POST, :scheme http, and the beginning of a value of 10000 bytes. */
    static const uint8_t head[] = "\0\x3e\x80\1\0\0\0\0\1\x83\x86\0\1a\x7f\x91\x4d";
    struct pollfd poll_fd = {.events = POLLIN};
    char bytes[64];
    bool eof = false;

    reopen((struct rpc_server_def){.keepalive_ms = 100, .max_connection_age_ms = 3600000});
    ping(&connection);
    poll_fd.fd = connection.fd;
    net_send(connection.fd, head, sizeof(head) - 1);
    for (int i = 0; i < 1000 && !eof; i++) {
        send(connection.fd, "v", 1, MSG_NOSIGNAL);
        if (poll(&poll_fd, 1, 10) == 1)
            eof = recv(connection.fd, bytes, sizeof(bytes), 0) <= 0;
    }
    cr_assert(eof);
}

/* An increment that overflows the stream's window, for which nghttp2 resets the stream; 1.70 ends the connection. */
static void overflow_window(int32_t stream)
{
    const uint8_t frame[9 + 4] = {
        0, 0, 4, NGHTTP2_WINDOW_UPDATE, 0, 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream, 0x7f, 0xff, 0xff, 0xff};

    send(connection.fd, frame, sizeof(frame), MSG_NOSIGNAL);
}

Test(rpc_server, closes_the_connection_of_a_client_whose_streams_are_reset_too_often)
{
    int resets = 0;

    while (resets < 1000 && !connection.eof) {
        struct grpc_call *call = call_new();

        call->open_end = true;
        grpc_begin(&connection, ROUTE_CHAT, NULL, call);
        overflow_window(call->stream);
        grpc_await(&connection, call);
        resets += call->closed;
        cr_assert(!call->closed || connection.goaways > 0 || call->error == NGHTTP2_FLOW_CONTROL_ERROR);
        nghttp2_session_set_stream_user_data(connection.session, call->stream, NULL);
        free(call);
    }
    while (!connection.eof)
        grpc_turn(&connection);
    /* Some are let pass, unless nghttp2 has ended the connection itself. */
    cr_assert(resets > 10 || connection.goaway_error == NGHTTP2_FLOW_CONTROL_ERROR);
    grpc_disconnect(&connection);
    grpc_connect(&connection, fixture.port, 65535);
    assert_status(get(100, NULL), "0");
}

static void await_refusal(void)
{
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_ENHANCE_YOUR_CALM, "%u of %u", connection.goaway_error,
                 connection.goaways);
    cr_assert_eq(refused("GOAWAY", "ENHANCE_YOUR_CALM"), 1u);
}

/* A head of which the server looks at no more than four times what it accepts: nghttp2 resets by INTERNAL_ERROR. */
Test(rpc_server, closes_the_connection_of_a_client_whose_heads_are_too_large_too_often)
{
    static char value[3 * RPC_MAX_HEAD]; /* twice */
    int resets = 0;

    reopen_with_metrics((struct rpc_server_def){0});
    memset(value, 'v', sizeof(value) - 1);
    while (resets < 1000 && !connection.eof) {
        struct grpc_call *call = call_new();

        grpc_begin(&connection, GET_FEATURE, (const char *const[]){"x", value, "y", value, NULL}, call);
        grpc_await(&connection, call);
        resets += call->closed;
        cr_assert(!call->closed || connection.goaways > 0 || call->error == NGHTTP2_INTERNAL_ERROR, "%u", call->error);
        nghttp2_session_set_stream_user_data(connection.session, call->stream, NULL);
        free(call);
    }
    await_refusal();
    cr_assert_eq(refused("RST_STREAM", "INTERNAL_ERROR"), 101u);
    close_with_metrics();
}

Test(rpc_server, closes_the_connection_of_a_client_that_sends_empty_frames)
{
    struct grpc_call *call = call_new();
    uint8_t frames[1001 * 9] = {0};

    reopen_with_metrics((struct rpc_server_def){0});
    call->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, call);
    for (int i = 0; i < 1001; i++)
        frames[9 * i + 8] = (uint8_t)call->stream;
    net_send(connection.fd, frames, sizeof(frames));
    await_refusal();
    close_with_metrics();
    free(call);
}

Test(rpc_server, closes_the_connection_of_a_client_that_floods_it_with_settings)
{
    static uint8_t frames[3000 * 9];

    reopen_with_metrics((struct rpc_server_def){0});
    ping(&connection);
    for (int i = 0; i < 3000; i++)
        frames[9 * i + 3] = NGHTTP2_SETTINGS;
    net_send(connection.fd, frames, sizeof(frames));
    while (!connection
                .eof) /* the client's nghttp2 reads on no further than the acknowledgements, which it has no use for */
        grpc_turn(&connection);
    cr_assert_eq(refused("GOAWAY", "ENHANCE_YOUR_CALM"), 1u);
    close_with_metrics();
}

Test(rpc_server, ends_a_stream_on_which_nothing_moves)
{
    struct grpc_call *call = call_new();

    reopen((struct rpc_server_def){.idle_stream_ms = 20});
    call->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, call);
    grpc_await(&connection, call);
    assert_status(call, "14");
}

/* 1,000 features, of which the client takes two: long before the hour that a stream may last, it is reset. */
Test(rpc_server, resets_a_finished_stream_whose_client_takes_nothing)
{
    Routeguide__Point lo = ROUTEGUIDE__POINT__INIT, hi = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;
    struct grpc_call *call;
    struct buf body = {0};
    uint8_t bytes[64];

    fixture_close(&fixture);
    grpc_disconnect(&connection);
    fixture_serve(&fixture, (struct rpc_server_def){.max_call_ms = 20});
    grpc_connect(&connection, fixture.port, 2 * (5 + 2 + 95));
    lo.latitude = 100;
    hi.latitude = 95;
    rectangle.lo = &lo;
    rectangle.hi = &hi;
    grpc_append(&body, false, (struct str){(char *)bytes, routeguide__rectangle__pack(&rectangle, bytes)});
    call = call_with("/routeguide.RouteGuide/ListFeatures", buf_str(&body), NULL);
    cr_assert_eq(call->error, (uint32_t)NGHTTP2_CANCEL);
    buf_release(&body);
    free(call);
}

/* The handler ends the call when it hears of the drain; so does that of a call that begins after it. */
Test(rpc_server, tells_handlers_that_a_drain_has_begun)
{
    struct grpc_call *call = call_new();

    call->open_end = true;
    grpc_begin(&connection, "/routeguide.RouteGuide/RecordRoute", NULL, call);
    ping(&connection);
    rpc_server_drain(fixture.server);
    grpc_await(&connection, call);
    assert_status(call, "14");
    cr_assert_eq(rpc_server_wait(fixture.server, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S), 0);
}

/* What /healthz looks at. */
Test(rpc_server, tells_when_a_loop_does_not_turn)
{
    struct grpc_call *call = call_new();
    struct buf body = {0};
    uint64_t entered_ns;

    append_point(&body, ORDER_BLOCK, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    fixture_wait(&fixture.entered);
    entered_ns = clock_monotonic_ns();
    cr_assert_lt(rpc_server_last_turn_ns(fixture.server), entered_ns);
    sem_post(&fixture.unblocked);
    grpc_await(&connection, call);
    ping(&connection);
    cr_assert_gt(rpc_server_last_turn_ns(fixture.server), entered_ns);
    assert_status(call, "0");
    buf_release(&body);
}

Test(rpc_server, gives_a_connection_no_more_than_its_share_of_the_last_places)
{
    struct grpc_call *held[3], *more = call_new();
    struct grpc_connection other;
    struct buf body = {0};

    reopen((struct rpc_server_def){.max_in_flight = 4});
    ping(&connection);
    grpc_connect(&other, fixture.port, 65535);
    append_point(&body, ORDER_HOLD, 0);
    for (int i = 0; i < 3; i++) {
        held[i] = call_new();
        held[i]->body = (const uint8_t *)body.data;
        held[i]->body_len = body.len;
        grpc_begin(&other, GET_FEATURE, NULL, held[i]);
        fixture_wait(&fixture.entered);
    }
    assert_status(get(100, NULL), "0");
    more->body = (const uint8_t *)body.data;
    more->body_len = body.len;
    grpc_begin(&other, GET_FEATURE, NULL, more);
    grpc_await(&other, more);
    assert_status(more, "8");
    grpc_disconnect(&other);
    for (int i = 0; i < 3; i++)
        free(held[i]);
    buf_release(&body);
}

/* What the server says when a connection is to leave: a ping and the first GOAWAY. */
static void await_notice(void)
{
    enum { NOTICE = 9 + 8 + 9 + 8 };
    uint8_t bytes[NOTICE];

    while (recv(connection.fd, bytes, sizeof(bytes), MSG_PEEK | MSG_WAITALL) < NOTICE)
        cr_assert_neq(errno, EAGAIN);
}

/* The first GOAWAY names no stream: a call that crosses it is served, and then no other begins. */
Test(rpc_server, moves_a_connection_away_in_two_steps)
{
    struct grpc_call *call = call_new(), *chat = call_new();
    struct buf body = {0};

    chat->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, chat); /* nghttp2's client reads on as long as it has a stream */
    free(get(100, NULL));
    rpc_server_drain(fixture.server);
    await_notice();
    append_point(&body, ORDER_THREAD, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    grpc_turn(&connection);
    cr_assert_eq(connection.goaways, 1u);
    cr_assert_eq(connection.last_stream, INT32_MAX);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_NO_ERROR);
    grpc_await(&connection, call);
    while (connection.goaways < 2)
        grpc_turn(&connection);
    cr_assert_eq(connection.last_stream, call->stream);
    cr_assert(!chat->closed);
    assert_status(call, "0");
    chat->open_end = false;
    nghttp2_session_resume_data(connection.session, chat->stream);
    grpc_await(&connection, chat);
    assert_status(chat, "0");
    cr_assert_eq(rpc_server_wait(fixture.server, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S), 0);
    buf_release(&body);
}

/* What is sent while it is on comes as one segment. */
static void cork(bool on)
{
    cr_assert_eq(setsockopt(connection.fd, IPPROTO_TCP, TCP_CORK, &(int){on}, sizeof(int)), 0);
}

/* The answer to the ping and a call come at once: it is run where the second GOAWAY says so, and there alone. */
Test(rpc_server, runs_no_call_that_the_second_goaway_refuses)
{
    static const uint8_t pong[9 + 8] = "\0\0\x08\6\1\0\0\0\0leave\0\0";
    struct grpc_call *call = call_new(), *chat = call_new();
    struct buf body = {0};
    bool ran;

    chat->open_end = true;
    grpc_begin(&connection, ROUTE_CHAT, NULL, chat);
    free(get(100, NULL));
    rpc_server_drain(fixture.server);
    await_notice();
    append_point(&body, ORDER_HOLD, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    cork(true);
    net_send(connection.fd, pong, sizeof(pong));
    grpc_begin(&connection, GET_FEATURE, NULL, call);
    cork(false);
    while (connection.goaways < 2)
        grpc_turn(&connection);
    ran = sem_trywait(&fixture.entered) == 0;
    cr_assert_eq(ran, connection.last_stream >= call->stream);
    buf_release(&body);
    free(call);
    free(chat);
}

Test(rpc_server, drains_idle_connections_at_once)
{
    uint64_t begin;

    free(get(100, NULL));
    begin = clock_monotonic_ns();
    rpc_server_drain(fixture.server);
    while (!connection.eof)
        grpc_turn(&connection);
    shutdown(connection.fd, SHUT_RDWR);
    cr_assert_eq(rpc_server_wait(fixture.server, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S), 0);
    printf("idle connection drained in %.1f ms\n", (double)(clock_monotonic_ns() - begin) / CLOCK_NS_PER_MS);
}

/* Whether the other side has closed, and not only its sending half: it answers what comes by a reset. */
static bool is_closed(int fd)
{
    net_send(fd, "x", 1);
    return send(fd, "x", 1, MSG_NOSIGNAL) < 0;
}

/* The answer to the ping shows that nothing is on its way: such a connection waits for nobody. */
Test(rpc_server, closes_an_idle_connection_that_has_answered_the_ping)
{
    free(get(100, NULL));
    rpc_server_drain(fixture.server);
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert(is_closed(connection.fd));
}

/* Frames of the server, until it closes; returns how many are of that type, and the last one's payload. */
static unsigned count_frames(int fd, uint8_t wanted, uint8_t ret_last[64])
{
    uint8_t head[9], payload[64];
    unsigned count = 0;

    while (recv(fd, head, sizeof(head), MSG_WAITALL) == (ssize_t)sizeof(head)) {
        size_t len = (size_t)head[1] << 8 | head[2];

        cr_assert(head[0] == 0 && len <= sizeof(payload));
        net_receive(fd, payload, len);
        if (head[3] != wanted)
            continue;
        count++;
        memcpy(ret_last, payload, sizeof(payload));
    }
    return count;
}

/* A client that has sent nothing for a second reads no ping. */
Test(rpc_server, does_not_wait_for_who_has_never_said_anything)
{
    uint8_t last[64] = {0xff};
    int fd;

    reopen((struct rpc_server_def){.max_connection_age_ms = 1200}); /* not less than 1080 */
    fd = net_connect("127.0.0.1", fixture.port);
    cr_assert_eq(count_frames(fd, NGHTTP2_GOAWAY, last), 1u);
    cr_assert_eq(memcmp(last, "\0\0\0\0\0\0\0", 8), 0); /* no stream, no error */
    cr_assert(is_closed(fd));
    close(fd);
}

Test(rpc_server, tells_a_connection_to_leave_at_its_age)
{
    reopen((struct rpc_server_def){.max_connection_age_ms = 100});
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_gt(connection.goaways, 0u);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_NO_ERROR);
}

/* ---- a full listener ---- */

static double listener_metric(const char *name)
{
    struct buf text = {0};
    char line[128], *at;
    double value = -1;

    snprintf(line, sizeof(line), "\n%s{server=\"grpc\"} ", name);
    metrics_write(fixture.metrics, &text);
    buf_append_char(&text, '\0');
    if ((at = strstr(text.data, line)) != NULL)
        value = strtod(at + strlen(line), NULL);
    buf_release(&text);
    return value;
}

/* Also those that are on their way from the loop that accepts to another are counted. */
Test(rpc_server, bounds_connections_of_several_loops)
{
    enum { MAX = 5, ATTEMPTS = 60 };
    int fds[ATTEMPTS];

    reopen((struct rpc_server_def){.threads = 3, .max_connections = MAX});
    for (int i = 0; i < ATTEMPTS; i++)
        fds[i] = net_connect("127.0.0.1", fixture.port);
    for (int i = 0; i < 200; i++) {
        cr_assert_leq(acceptor_connections(fixture.server->acceptor), (unsigned)MAX);
        sched_yield();
    }
    for (int i = 0; i < ATTEMPTS; i++)
        close(fds[i]);
}

Test(rpc_server, silent_connections_lock_nobody_out)
{
    enum { MAX = 5, SILENT = 60 };
    int fds[SILENT];

    reopen((struct rpc_server_def){.threads = 3, .max_connections = MAX});
    for (int i = 0; i < SILENT; i++)
        fds[i] = net_connect("127.0.0.1", fixture.port);
    grpc_disconnect(&connection);
    grpc_connect(&connection, fixture.port, 65535);
    assert_status(get(100, NULL), "0");
    assert_status(get(100, NULL), "0");
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
}

Test(rpc_server, when_the_listener_is_full_an_idle_connection_yields_and_is_told)
{
    int other;

    reopen_with_metrics((struct rpc_server_def){.max_connections = 1});
    assert_status(get(100, NULL), "0");
    nghttp2_submit_ping(connection.session, NGHTTP2_FLAG_NONE, NULL);
    while (connection.pongs == 0) /* then all that was sent has been read */
        grpc_turn(&connection);
    other = net_connect("127.0.0.1", fixture.port);
    while (!connection.eof)
        grpc_turn(&connection);
    cr_assert_eq(connection.goaways, 1);
    cr_assert_eq(connection.goaway_error, (uint32_t)NGHTTP2_NO_ERROR);
    cr_assert_gt(connection.last_stream, 0); /* the call that has been answered */
    cr_assert_eq(listener_metric("listener_idle_closed_total"), 1);
    close(other);
    close_with_metrics();
}

Test(rpc_server, a_connection_with_a_call_does_not_yield_and_a_new_one_is_refused)
{
    struct grpc_call *held = call_new();
    struct buf body = {0};
    int other;

    reopen_with_metrics((struct rpc_server_def){.max_connections = 1});
    append_point(&body, ORDER_HOLD, 0);
    held->body = (const uint8_t *)body.data;
    held->body_len = body.len;
    grpc_begin(&connection, GET_FEATURE, NULL, held);
    fixture_wait(&fixture.entered);
    other = net_connect("127.0.0.1", fixture.port);
    cr_assert(net_closed(other));
    NET_AWAIT(listener_metric("listener_refused_total") == 1);
    cr_assert(!connection.eof && !held->closed);
    buf_release(&body);
    close_with_metrics();
    free(held);
    close(other);
}

static void look_for_rest(void *arg)
{
    struct rpc_loop *loop = arg;
    struct rpc_conn *conn;

    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        conn->rest = malloc(1);
        cr_expect(rpc_conn_owes(conn));
        free(conn->rest);
        conn->rest = NULL;
        cr_expect_not(rpc_conn_owes(conn));
    }
}

/* Its calls have ended when nghttp2 has given their last frames, and the client has not got them yet. */
Test(rpc_server, a_connection_whose_replies_are_not_sent_is_not_idle)
{
    assert_status(get(100, NULL), "0");
    for (unsigned i = 0; i < fixture.server->loop_count; i++)
        loop_call(fixture.server->loops[i]->loop, look_for_rest, fixture.server->loops[i]);
    assert_status(get(100, NULL), "0");
}

/* ---- memory ---- */

Test(rpc_server, counts_memory_and_gives_it_back)
{
    struct rpc_server *server = fixture.server;
    size_t idle;

    free(get(100, NULL));
    free(get(ORDER_FAIL, NULL));
    idle = budget_used(&server->memory);
    cr_assert_gt(idle, 0u);
    for (int i = 0; i < 1000; i++)
        free(get(ORDER_BIG, NULL));
    cr_assert_leq(budget_used(&server->memory), idle + 128 * 1024);
}

static void get_over(struct grpc_connection *client)
{
    struct grpc_call *call = call_new();
    struct buf body = {0};

    append_point(&body, 100, 0);
    call->body = (const uint8_t *)body.data;
    call->body_len = body.len;
    grpc_begin(client, GET_FEATURE, NULL, call);
    grpc_await(client, call);
    assert_status(call, "0");
    buf_release(&body);
}

/* The first connection holds most of what gRPC clients hold, which is most of what all clients hold. */
Test(rpc_server, closes_the_connection_that_holds_most_where_all_clients_hold_too_much)
{
    static struct budget whole = {.max = 2 << 20}, others = {.whole = &whole};
    static char text[8000];
    Routeguide__RouteNote note = ROUTEGUIDE__ROUTE_NOTE__INIT;
    struct grpc_connection honest;
    struct grpc_call *calls[3];
    struct buf body = {0};
    uint8_t bytes[sizeof(text) + 64];

    reopen((struct rpc_server_def){
        .max_message = 20000, .max_memory = 16 << 20, .whole = &whole, .max_connection_age_ms = 3600000});
    memset(text, 't', sizeof(text) - 1);
    note.message = text;
    for (int i = 0; i < 400; i++)
        grpc_append(&body, false, (struct str){(char *)bytes, routeguide__route_note__pack(&note, bytes)});
    for (int i = 0; i < 3; i++) {
        calls[i] = call_new();
        calls[i]->body = (const uint8_t *)body.data;
        calls[i]->body_len = body.len;
        grpc_begin(&connection, ROUTE_CHAT, NULL, calls[i]); /* whose echoes are not taken */
    }
    while (budget_used(&whole) < whole.max / 3)
        get_over(&connection);
    grpc_connect(&honest, fixture.port, 65535);
    get_over(&honest);
    cr_assert(!connection.eof);
    budget_add(&others, whole.max - whole.max / 32 - budget_used(&whole));
    get_over(&honest);
    while (!connection.eof)
        grpc_turn(&connection);
    get_over(&honest);
    cr_expect_eq(fixture.server->closed, 1u);
    budget_give(&others, budget_used(&others));
    grpc_disconnect(&honest);
    for (int i = 0; i < 3; i++)
        free(calls[i]);
    buf_release(&body);
}

static void in_loops(void (*function)(void *loop))
{
    for (unsigned i = 0; i < fixture.server->loop_count; i++)
        loop_call(fixture.server->loops[i]->loop, function, fixture.server->loops[i]);
}

static size_t counted;

static void add_kernel(void *arg)
{
    counted += ((struct rpc_loop *)arg)->kernel;
}

/* Bytes that the server has counted of what the kernel holds for its clients. */
static size_t kernel_bytes(void)
{
    counted = 0;
    in_loops(add_kernel);
    return counted;
}

static void begin_large(struct grpc_connection *client, struct grpc_call *calls[], int count)
{
    static struct buf body; /* outlives the calls */

    nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    append_point(&body, ORDER_BIG, 60000);
    for (int i = 0; i < count; i++) {
        calls[i] = call_new();
        calls[i]->body = (const uint8_t *)body.data;
        calls[i]->body_len = body.len;
        grpc_begin(client, GET_FEATURE, NULL, calls[i]);
    }
}

Test(rpc_server, counts_what_the_kernel_keeps_for_a_client_that_does_not_take_it)
{
    struct grpc_call *calls[16];

    reopen((struct rpc_server_def){.max_memory = 64 << 20, .max_connection_age_ms = 3600000});
    begin_large(&connection, calls, 16);
    NET_AWAIT(kernel_bytes() > 64 * 1024);
    cr_expect_gt(budget_used(&fixture.server->memory), kernel_bytes());
    for (int i = 0; i < 16; i++) {
        grpc_await(&connection, calls[i]);
        assert_status(calls[i], "0");
    }
    get_over(&connection); /* with which the kernel is asked again */
    cr_expect_eq(kernel_bytes(), 0u);
}

static void add_receive_queue(void *arg)
{
    const struct rpc_conn *conn;
    int bytes;

    TAILQ_FOREACH(conn, &((struct rpc_loop *)arg)->conns, link)
    {
        cr_assert_eq(getsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &(socklen_t){sizeof(bytes)}), 0);
        counted += (size_t)bytes;
    }
}

/* 400 connections whose clients send faster than the server reads. */
Test(rpc_server, bounds_what_the_kernel_keeps_unread)
{
    size_t max = 64 << 20;

    reopen((struct rpc_server_def){.max_memory = max});
    ping(&connection);
    counted = 0;
    in_loops(add_receive_queue);
    cr_assert_gt(counted, 0u);
    cr_assert_lt(400 * counted, max);
}

static void yield_all(void *arg)
{
    struct rpc_loop *loop = arg;
    struct rpc_conn *conn;

    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        rpc_conn_yield(conn);
        cr_expect_eq(conn->state, RPC_CONN_LEAVING);
    }
}

/* GOAWAY will say that what is read in the rest of the turn was not begun, and clients repeat it. */
Test(rpc_server, a_connection_that_yields_begins_no_call)
{
    assert_status(get(100, NULL), "0");
    in_loops(yield_all);
    while (!connection.eof)
        grpc_turn(&connection);
    cr_expect_eq(connection.goaways, 1u);
}

static bool is_gone, is_ended;

static void look_for_end(void *arg)
{
    const struct rpc_loop *loop = arg;
    const struct rpc_conn *conn = TAILQ_FIRST(&loop->conns);

    is_gone = is_gone && conn == NULL;
    is_ended = is_ended || (conn != NULL && conn->state == RPC_CONN_ENDED);
}

static bool ends(void)
{
    is_gone = true;
    in_loops(look_for_end);
    return is_gone || is_ended;
}

/* A close would reset it, where it still sends something, before it has read the last reply. */
Test(rpc_server, lingers_where_the_client_has_not_answered_the_ping)
{
    assert_status(get(100, NULL), "0");
    rpc_server_drain(fixture.server);
    is_ended = false;
    NET_AWAIT(ends()); /* for as long as an answer is waited for */
    cr_expect(is_ended);
}

/* Each with a call that is not answered. */
static struct grpc_call *hold(struct grpc_connection *to, struct str body)
{
    struct grpc_call *call = call_new();

    grpc_connect(to, fixture.port, 65535);
    call->body = (const uint8_t *)body.s;
    call->body_len = body.len;
    grpc_begin(to, GET_FEATURE, NULL, call);
    fixture_wait(&fixture.entered);
    return call;
}

/* Else clients that hold their calls would have the pod taken out of service. */
Test(rpc_server, when_most_connections_are_busy_another_one_is_refused_calls_and_told_that_all_is_well)
{
    enum { MAX = 16, BUSY = 12 };
    struct grpc_connection busy[BUSY];
    struct grpc_call *calls[BUSY];
    struct buf body = {0};

    reopen((struct rpc_server_def){.max_connections = MAX, .max_connection_age_ms = 3600000});
    append_point(&body, ORDER_HOLD, 0);
    for (int i = 0; i < BUSY; i++)
        calls[i] = hold(&busy[i], buf_str(&body));
    assert_status(get(100, NULL), "8");
    assert_status(call_with("/grpc.health.v1.Health/Check", (struct str){"\0\0\0\0\0", 5}, NULL), "0");
    for (int i = 0; i < BUSY; i++) {
        grpc_disconnect(&busy[i]);
        free(calls[i]);
    }
    buf_release(&body);
}

/* Those of a service's clients are idle most of the time, and many. */
Test(rpc_server, an_idle_connection_takes_less_than_12_KiB)
{
    enum { COUNT = 256 };
    struct grpc_connection idle[COUNT];
    size_t before;

    reopen_for_long();
    assert_status(get(100, NULL), "0");
    before = budget_used(&fixture.server->memory);
    for (int i = 0; i < COUNT; i++) {
        idle[i] = connection;
        grpc_connect(&connection, fixture.port, 65535);
        assert_status(get(100, NULL), "0");
    }
    cr_assert_leq((budget_used(&fixture.server->memory) - before) / COUNT, (size_t)12 * 1024);
    for (int i = 0; i < COUNT; i++)
        grpc_disconnect(&idle[i]);
}

/* ---- memory of replies ---- */

static int put_name(struct rpc_out *out, struct rpc_out_own *own, size_t len)
{
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;
    char name[8000] = "";
    size_t size;

    memset(name, 'x', len);
    feature.name = name;
    return rpc_out_put(out, own, &feature.base, &size);
}

/* A client that takes nothing may have begun many calls, whose replies come at the same time. */
Test(rpc_out, replies_beyond_the_budget_are_refused_and_small_ones_are_not)
{
    struct budget budget = {.max = 10000};
    struct rpc_out out = {.budget = &budget}, small = {.budget = &budget};
    struct rpc_out_own own, small_own;

    cr_assert_eq(put_name(&out, &own, 7000), 0);
    cr_assert_eq(put_name(&out, &own, 7000), -ENOMEM);
    cr_assert_eq(out.messages, 1);
    cr_assert_leq(budget_used(&budget), budget.max);
    cr_assert_eq(put_name(&small, &small_own, 400), 0);
    rpc_out_clear(&small, &small_own);
    rpc_out_clear(&out, &own);
    cr_assert_eq(budget_used(&budget), 0);
}

/* Takes a message out of the queue, which has as many bytes, and compares it. */
static void assert_next(struct rpc_out *out, struct rpc_out_own *own, const Routeguide__Feature *feature)
{
    static uint8_t expected[8192], bytes[sizeof(expected)];
    size_t size = routeguide__feature__pack(feature, expected);

    cr_assert_eq(rpc_out_read(out, own, bytes, 5 + size), 5 + size);
    cr_assert_eq(bytes[0] == 0 && (size_t)(bytes[3] << 8 | bytes[4]) == size, true);
    cr_assert_eq(memcmp(bytes + 5, expected, size), 0);
}

/* A message is packed without its length being known where there is room for the longest that it may be. */
Test(rpc_out, messages_of_all_lengths_are_queued_whole)
{
    enum { LONGEST = 4500, QUEUED = 20 };
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;
    struct budget budget = {.max = SIZE_MAX};
    struct rpc_out out = {.budget = &budget};
    struct rpc_out_own own;
    char names[QUEUED][LONGEST + 1];

    feature.location = &point;
    point.latitude = -1; /* ten bytes */
    for (size_t i = 0, size = 0; i <= LONGEST + QUEUED; i++) {
        feature.name = names[i % QUEUED];
        if (i >= QUEUED)
            assert_next(&out, &own, &feature);
        memset(feature.name, 'a' + i % 26, LONGEST);
        feature.name[i * (i % 3 != 0 ? 7 : 2039) % (i % 3 != 0 ? 200 : LONGEST)] = '\0'; /* two of three are short */
        cr_assert_geq(rpc_out_put(&out, &own, &feature.base, &size), 0);
        cr_assert_eq(size, routeguide__feature__get_packed_size(&feature));
    }
    rpc_out_clear(&out, &own);
    cr_assert_eq(budget_used(&budget), 0);
}

static int put_compressed(struct rpc_out *out, struct rpc_out_own *own, const char *name, size_t *ret_size)
{
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;

    feature.name = (char *)name;
    out->compress_from = 1;
    return rpc_out_put(out, own, &feature.base, ret_size);
}

static void fill(char *name, size_t len, bool random)
{
    uint32_t state = 1;

    for (size_t i = 0; i < len; i++) {
        state = state * 1664525 + 1013904223;
        name[i] = !random ? 'x' : state >> 24 != 0 ? (char)(state >> 24) : 'y';
    }
    name[len] = '\0';
}

/* Room for the message as it is was taken. */
Test(rpc_out, a_compressed_message_holds_only_what_it_takes)
{
    struct budget budget = {.max = 1000000};
    struct rpc_out out = {.budget = &budget};
    struct rpc_out_own own;
    static char name[300001];
    size_t size;

    fill(name, 300000, false);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(put_compressed(&out, &own, name, &size), 0);
        cr_assert_lt(size, 2000u);
    }
    cr_assert_lt(budget_used(&budget), 50000u);
    cr_assert_eq(out.messages, 10);
    rpc_out_clear(&out, &own);
    cr_assert_eq(budget_used(&budget), 0);
}

Test(rpc_out, a_message_that_compression_does_not_shorten_is_sent_as_it_is)
{
    struct budget budget = {0};
    struct rpc_out out = {.budget = &budget};
    struct rpc_out_own own;
    static char name[50001];
    uint8_t prefix[5];
    size_t size;

    for (size_t len = 0; len <= 50000; len = 3 * len + 1) {
        size_t plain = len == 0 ? 0 : len < 128 ? len + 2 : len < 16384 ? len + 3 : len + 4;

        fill(name, len, true);
        cr_assert_eq(put_compressed(&out, &own, name, &size), 0);
        cr_assert_eq(size, plain, "%zu: %zu", len, size);
        cr_assert_eq(rpc_out_read(&out, &own, prefix, sizeof(prefix)), sizeof(prefix));
        cr_assert_eq(prefix[0], 0);
        rpc_out_clear(&out, &own);
    }
    cr_assert_eq(budget_used(&budget), 0);
}

/* zlib wants 256 KiB for this message, which itself takes 40 KiB. */
Test(rpc_out, a_message_is_sent_as_it_is_where_the_budget_leaves_no_room_to_compress)
{
    struct budget budget = {.max = 100000};
    struct rpc_out out = {.budget = &budget};
    struct rpc_out_own own;
    static char name[40001];
    size_t size;

    fill(name, 40000, false);
    cr_assert_eq(put_compressed(&out, &own, name, &size), 0);
    cr_assert_eq(size, 40004u);
    cr_assert_leq(budget_used(&budget), budget.max);
    rpc_out_clear(&out, &own);
    cr_assert_eq(budget_used(&budget), 0);
}
