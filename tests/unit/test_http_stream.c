/* Streaming replies, and server-sent events over them. */
#include "http2_client.h"
#include "http_events.h"
#include "http_internal.h"
#include "http_stream.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- a service that opens streams and lets the test write to them ---- */

#define MAX_STREAMS 256

static struct {
    struct http_stream_def def;
    bool tells; /* of events */
    _Atomic(struct http_stream *) streams[MAX_STREAMS];
    atomic_uint count;
    atomic_uint room, drained, gone, released;
    const char *last_id;
} service;

static void on_event(void *arg, struct http_stream *stream, enum http_stream_event event)
{
    cr_expect_eq(arg, &service);
    atomic_fetch_add(event == HTTP_STREAM_ROOM    ? &service.room
                     : event == HTTP_STREAM_DRAIN ? &service.drained
                                                  : &service.gone,
                     1);
}

static void on_release(void *arg)
{
    atomic_fetch_add(&service.released, 1);
}

static int open_stream(struct http_req *req, struct http_stream **ret_stream)
{
    struct http_stream_def def = service.def;
    unsigned index;
    int r;

    def.on_event = service.tells ? on_event : NULL;
    def.release = on_release;
    def.arg = &service;
    if ((r = http_stream_open(req, &def, ret_stream)) < 0)
        return r;
    index = atomic_load(&service.count);
    cr_assert_lt(index, MAX_STREAMS);
    atomic_store(&service.streams[index], *ret_stream);
    return 0;
}

static struct http_reply *begin(struct http_req *req)
{
    struct http_stream *stream;
    struct http_reply *reply;
    int r = open_stream(req, &stream);

    if (r < 0)
        return http_problem_errno(r, "stream");
    reply = http_set_header(http_reply_stream(200, "text/plain", stream), "x-kind", "stream");
    atomic_fetch_add(&service.count, 1);
    return reply;
}

/* What comes before the reply waits for it. */
static struct http_reply *begin_full(struct http_req *req)
{
    struct http_reply *reply = begin(req);

    cr_expect_eq(http_stream_write(service.streams[0], STR("early ")), 0);
    return reply;
}

static struct http_reply *refuse(struct http_req *req)
{
    struct http_stream *stream;

    cr_assert_eq(open_stream(req, &stream), 0);
    atomic_fetch_add(&service.count, 1);
    return http_problem(400, "no");
}

static struct {
    struct http_deferred *deferred;
    struct http_reply *reply;
} later;

static struct http_reply *begin_later(struct http_req *req)
{
    struct http_stream *stream;

    cr_assert_eq(open_stream(req, &stream), 0);
    later.reply = http_reply_stream(201, "text/plain", stream);
    later.deferred = http_defer(req);
    atomic_fetch_add(&service.count, 1);
    return NULL;
}

static struct http_reply *events(struct http_req *req)
{
    struct http_stream *stream;
    struct http_reply *reply;
    static char id[64];

    cr_assert_eq(open_stream(req, &stream), 0);
    snprintf(id, sizeof(id), "%.*s", STR_ARG(http_events_last_id(req)));
    service.last_id = id;
    reply = http_events_reply(stream);
    atomic_fetch_add(&service.count, 1);
    return reply;
}

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain", STR("hello"));
}

static const struct http_route routes[] = {
    {"GET", "/stream", begin},
    {"GET", "/full", begin_full},
    {"GET", "/refuse", refuse},
    {"GET", "/later", begin_later},
    {"GET", "/events", events},
    {"GET", "/hello", hello},
    {0},
};

static struct fixture open_server(struct http_server_def def)
{
    def.routes = routes;
    return fixture_open(def);
}

static struct http_stream *await_stream(unsigned index)
{
    NET_AWAIT(atomic_load(&service.count) > index);
    return service.streams[index];
}

#define ASK(path_) "GET " path_ " HTTP/1.1\r\nhost: test\r\n\r\n"

/* Asks for a stream, and reads its head. */
static struct http_stream *stream_over(int fd, const char *request, struct net_answer *ret_answer)
{
    unsigned index = atomic_load(&service.count);

    memset(ret_answer, 0, sizeof(*ret_answer));
    net_send_text(fd, request);
    net_read_head(fd, ret_answer);
    return await_stream(index);
}

/* Reads one chunk; its length. */
static size_t read_chunk(int fd, char *to, size_t size)
{
    char line[16] = "", end[2];
    size_t at = 0, len;

    while (at < 2 || line[at - 1] != '\n') {
        cr_assert_lt(at, sizeof(line) - 1);
        net_receive(fd, line + at++, 1);
    }
    len = strtoul(line, NULL, 16);
    cr_assert_lt(len, size);
    net_receive(fd, to, len);
    to[len] = '\0';
    net_receive(fd, end, 2);
    return len;
}

/* All chunks up to the last; terminated. */
static size_t read_chunks(int fd, char *to, size_t size)
{
    size_t len = 0, more;

    while ((more = read_chunk(fd, to + len, size - len)) > 0)
        len += more;
    return len;
}

static void expect_bytes(int fd, const char *text)
{
    char got[1024];
    size_t len = 0;

    while (len < strlen(text))
        len += read_chunk(fd, got + len, sizeof(got) - len);
    cr_expect_str_eq(got, text);
}

/* ---- HTTP/1 ---- */

Test(http_stream, chunks_arrive_as_they_are_written)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    char value[512];
    struct http_stream *stream = stream_over(fd, ASK("/stream"), &answer);

    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(net_header(&answer, "transfer-encoding", value), "chunked");
    cr_expect_str_eq(net_header(&answer, "content-length", value), "");
    cr_expect_str_eq(net_header(&answer, "content-type", value), "text/plain");
    cr_expect_str_eq(net_header(&answer, "x-kind", value), "stream");
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(http_stream_write(stream, STR("one")), 0);
        expect_bytes(fd, "one");
    }
    cr_expect_eq(http_stream_write(stream, STR("")), 0);
    cr_expect_eq(http_stream_write(stream, STR("last")), 0);
    cr_expect_null(http_stream_end(stream));
    cr_expect_eq(read_chunks(fd, value, sizeof(value)), 4);
    cr_expect_str_eq(value, "last");
    net_ask(fd, ASK("/hello"), &answer); /* the connection stays */
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    NET_AWAIT(service.released == 1);
    cr_expect_eq(fixture_metric(&f, "http_streams{server=\"test\"}"), 0);
    fixture_close(&f);
}

Test(http_stream, what_is_written_before_the_reply_waits_for_it)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream = stream_over(fd, ASK("/full"), &answer);

    cr_expect_eq(http_stream_write(stream, STR("late")), 0);
    expect_bytes(fd, "early late");
    http_stream_end(stream);
    fixture_close(&f);
}

Test(http_stream, a_deferred_answer_may_be_a_stream)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer = {0};
    struct http_stream *stream;

    net_send_text(fd, ASK("/later"));
    stream = await_stream(0);
    cr_expect_eq(http_stream_write(stream, STR("before ")), 0);
    http_answer(later.deferred, later.reply);
    net_read_head(fd, &answer);
    cr_expect_eq(answer.status, 201);
    http_stream_write(stream, STR("after"));
    http_stream_end(stream);
    close(fd);
    fixture_close(&f);
}

Test(http_stream, a_head_has_no_body)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;

    service.tells = true;
    stream = stream_over(fd, "HEAD /stream HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
    cr_expect_eq(answer.status, 200);
    NET_AWAIT(service.gone == 1);
    cr_expect_eq(http_stream_write(stream, STR("nobody reads that")), -EPIPE);
    http_stream_end(stream);
    net_ask(fd, ASK("/hello"), &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    fixture_close(&f);
}

Test(http_stream, over_HTTP_1_0_the_body_ends_with_the_connection)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream = stream_over(fd, "GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", &answer);
    char value[512], body[8];

    cr_expect_str_eq(net_header(&answer, "transfer-encoding", value), "");
    http_stream_write(stream, STR("hello"));
    net_receive(fd, body, 5);
    http_stream_end(stream);
    cr_expect(net_closed(fd));
    fixture_close(&f);
}

Test(http_stream, an_aborted_one_does_not_look_complete)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream = stream_over(fd, ASK("/stream"), &answer);
    char rest[64];
    ssize_t len;
    size_t all = 0;

    http_stream_write(stream, STR("one"));
    expect_bytes(fd, "one");
    http_stream_abort(stream);
    while ((len = recv(fd, rest + all, sizeof(rest) - all, 0)) > 0)
        all += (size_t)len;
    cr_expect(len == 0 || errno == ECONNRESET);
    cr_expect_null(memmem(rest, all, "0\r\n\r\n", 5), "the last chunk came");
    fixture_close(&f);
}

Test(http_stream, one_that_is_not_replied_is_gone)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;

    service.tells = true;
    net_ask(fd, ASK("/refuse"), &answer);
    cr_expect_eq(answer.status, 400);
    net_answer_release(&answer);
    NET_AWAIT(service.gone == 1);
    cr_expect_eq(http_stream_write(service.streams[0], STR("x")), -EPIPE);
    http_stream_abort(service.streams[0]);
    NET_AWAIT(service.released == 1);
    fixture_close(&f);
}

/* ---- HTTP/2 ---- */

static struct http_stream *stream_over_h2(int fd, unsigned id, const char *method)
{
    struct frame frame;
    unsigned index = atomic_load(&service.count);

    ask(fd, id, method, "/stream", false);
    await_frame(fd, HEADERS, &frame);
    cr_expect_eq(status_of(&frame), 200);
    return await_stream(index);
}

static void expect_data(int fd, unsigned id, const char *text)
{
    struct frame frame;
    size_t len = 0;

    while (len < strlen(text)) {
        await_frame(fd, DATA, &frame);
        cr_expect_eq(frame.stream, id);
        cr_expect_eq(memcmp(frame.payload, text + len, frame.len), 0, "%s", (char *)frame.payload);
        len += frame.len;
    }
}

Test(http_stream, over_HTTP_2)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = connect_h2(&f);
    struct http_stream *a = stream_over_h2(fd, 1, "GET"), *b = stream_over_h2(fd, 3, "GET");
    struct frame frame;
    char body[64];

    http_stream_write(a, STR("to a"));
    expect_data(fd, 1, "to a");
    http_stream_write(b, STR("to b"));
    expect_data(fd, 3, "to b");
    http_stream_end(a);
    do
        await_frame(fd, DATA, &frame);
    while ((frame.flags & END_STREAM) == 0);
    cr_expect_eq(frame.stream, 1);
    ask(fd, 5, "GET", "/hello", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    http_stream_abort(b);
    await_frame(fd, RST_STREAM, &frame);
    cr_expect_eq(frame.stream, 3);
    NET_AWAIT(service.released == 2);
    fixture_close(&f);
}

Test(http_stream, a_head_over_HTTP_2)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = connect_h2(&f);

    service.tells = true;
    stream_over_h2(fd, 1, "HEAD");
    NET_AWAIT(service.gone == 1);
    http_stream_end(service.streams[0]);
    fixture_close(&f);
}

/* ---- many writes ---- */

#define WRITES 10000

static void *write_numbers(void *arg)
{
    struct http_stream *stream = arg;
    char number[16];

    for (int i = 0; i < WRITES; i++) {
        int r;

        snprintf(number, sizeof(number), "%06d\n", i);
        while ((r = http_stream_write(stream, str_of(number))) == -EAGAIN)
            nanosleep(&(struct timespec){0, 100000}, NULL);
        cr_assert_eq(r, 0);
    }
    http_stream_end(stream);
    return NULL;
}

static void expect_numbers(const char *bytes, size_t len)
{
    cr_assert_eq(len, WRITES * 7);
    for (int i = 0; i < WRITES; i++)
        cr_assert_eq(atoi(bytes + i * 7), i);
}

Test(http_stream, small_writes_of_another_thread_arrive_in_order)
{
    struct fixture f = open_server((struct http_server_def){.max_memory = 4 << 20});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    static char bytes[WRITES * 7 + 1];
    pthread_t writer;

    service.def.max_bytes = 1000;
    cr_assert_eq(pthread_create(&writer, NULL, write_numbers, stream_over(fd, ASK("/stream"), &answer)), 0);
    expect_numbers(bytes, read_chunks(fd, bytes, sizeof(bytes)));
    pthread_join(writer, NULL);
    fixture_close(&f);
}

Test(http_stream, small_writes_over_HTTP_2)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = connect_h2(&f);
    static char bytes[WRITES * 7 + 1];
    struct frame frame;
    size_t len = 0;
    pthread_t writer;

    /* The client's window is 64 KiB: it opens it twice as far. */
    send_frame(fd, 8, 0, 0, "\0\1\0\0", 4);
    service.def.max_bytes = 1000;
    cr_assert_eq(pthread_create(&writer, NULL, write_numbers, stream_over_h2(fd, 1, "GET")), 0);
    send_frame(fd, 8, 0, 1, "\0\1\0\0", 4);
    do {
        await_frame(fd, DATA, &frame);
        cr_assert_leq(len + frame.len, sizeof(bytes) - 1);
        memcpy(bytes + len, frame.payload, frame.len);
        len += frame.len;
    } while ((frame.flags & END_STREAM) == 0);
    expect_numbers(bytes, len);
    pthread_join(writer, NULL);
    fixture_close(&f);
}

/* ---- clients that do not read ---- */

static char block[16384];

/* Writes until nothing is taken any more. Returns how many blocks were. */
static unsigned fill(struct http_stream *stream)
{
    unsigned written = 0;
    int r = 0;
    uint64_t last_ns = clock_monotonic_ns();

    /* What the kernel takes goes on its own; when it takes nothing for a while, it is full. */
    while (r == 0 || (r == -EAGAIN && clock_monotonic_ns() < last_ns + 200 * CLOCK_NS_PER_MS)) {
        r = http_stream_write(stream, (struct str){block, sizeof(block)});
        if (r == 0) {
            written++;
            last_ns = clock_monotonic_ns();
        }
    }
    cr_assert_eq(r, -EAGAIN);
    return written;
}

static double memory_of(const struct fixture *f)
{
    return fixture_metric(f, "http_memory_bytes{server=\"test\"}");
}

Test(http_stream, a_client_that_does_not_read_is_bounded_and_may_go_on)
{
    enum { KERNEL = 1024 * 1024 }; /* more than twice a 64th of the memory, which a queue may take */
    struct fixture f = open_server((struct http_server_def){.max_memory = 16 << 20});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;
    char byte[1];
    unsigned written, told;
    size_t read = 0;

    service.tells = true;
    service.def.max_bytes = 3 * sizeof(block);
    stream = stream_over(fd, ASK("/stream"), &answer);
    written = fill(stream);
    cr_expect_geq(memory_of(&f), 2 * sizeof(block));
    cr_expect_leq(memory_of(&f), 3 * sizeof(block) + 32768 + KERNEL);
    told = service.room;
    cr_expect_eq(http_stream_write(stream, (struct str){block, service.def.max_bytes + 1}), -EMSGSIZE);
    while (service.room == told) { /* it reads again */
        net_receive(fd, byte, 1);
        cr_assert_lt(read++, (written + 1) * sizeof(block));
    }
    cr_expect_eq(http_stream_write(stream, (struct str){block, sizeof(block)}), 0);
    http_stream_end(stream);
    close(fd);
    NET_AWAIT(service.released == 1);
    NET_AWAIT(memory_of(&f) == 0);
    fixture_close(&f);
}

Test(http_stream, one_that_takes_nothing_for_long_is_cut_off)
{
    struct fixture f = open_server((struct http_server_def){.request_timeout_ms = 300, .receive_timeout_ms = 500});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;

    service.tells = true;
    service.def.max_bytes = sizeof(block);
    stream = stream_over(fd, ASK("/stream"), &answer);
    while (service.gone == 0)
        http_stream_write(stream, (struct str){block, sizeof(block)});
    cr_expect_eq(http_stream_write(stream, STR("x")), -EPIPE);
    cr_expect_eq(fixture_metric(&f, "http_streams_cut_total{server=\"test\"}"), 1);
    cr_expect(net_closed(fd));
    http_stream_end(stream);
    fixture_close(&f);
}

Test(http_stream, an_idle_one_stays)
{
    struct fixture f = open_server((struct http_server_def){.request_timeout_ms = 100, .receive_timeout_ms = 200});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;

    service.def.heartbeat = STR(":\n\n");
    service.def.heartbeat_ms = 50;
    stream = stream_over(fd, ASK("/stream"), &answer);
    for (int i = 0; i < 10; i++) /* for longer than any bound */
        expect_bytes(fd, ":\n\n");
    http_stream_write(stream, STR("still there"));
    expect_bytes(fd, "still there");
    http_stream_end(stream);
    fixture_close(&f);
}

/* Bytes of the queues of the first count streams. */
static size_t held_by_streams(int count)
{
    size_t held = 0;

    for (int i = 0; i < count; i++) {
        struct http_stream *stream = service.streams[i];

        pthread_mutex_lock(&stream->lock);
        held += stream->charged;
        pthread_mutex_unlock(&stream->lock);
    }
    return held;
}

Test(http_stream, all_together_stay_within_the_memory)
{
    enum { COUNT = 64, BOUND = 2 << 20 };
    struct fixture f = open_server((struct http_server_def){.max_memory = BOUND, .workers = 2});
    struct net_answer answer;
    int fds[COUNT];
    unsigned refused = 0;

    service.def.max_bytes = 64 * 1024; /* 4 MiB in all */
    for (int i = 0; i < COUNT; i++) {
        fds[i] = fixture_connect(&f);
        stream_over(fds[i], ASK("/stream"), &answer);
    }
    for (int round = 0; round < 2000; round++)
        for (int i = 0; i < COUNT; i++) {
            int r = http_stream_write(service.streams[i], (struct str){block, 4096});

            refused += r < 0;
            cr_expect(r == 0 || r == -EAGAIN || r == -EPIPE);
            if (i == 0) /* what the kernel holds is counted at a look only, and then there is made room for it */
                cr_assert_leq(held_by_streams(COUNT), BOUND);
        }
    cr_expect_gt(refused, 0);
    NET_AWAIT(memory_of(&f) <= BOUND);
    for (int i = 0; i < COUNT; i++) {
        close(fds[i]);
        http_stream_end(service.streams[i]);
    }
    NET_AWAIT(service.released == COUNT);
    NET_AWAIT(memory_of(&f) == 0);
    fixture_close(&f);
}

Test(http_stream, whoever_does_not_read_most_makes_room_for_others)
{
    struct fixture f = open_server((struct http_server_def){.max_memory = 4 << 20});
    int fd = fixture_connect(&f), other = fixture_connect(&f);
    struct net_answer answer = {.status = 503};
    struct http_stream *stream;

    service.tells = true;
    service.def.max_bytes = 4 << 20;
    stream = stream_over(fd, ASK("/stream"), &answer);
    while (service.gone == 0) /* until there is no memory left, and it is closed */
        http_stream_write(stream, (struct str){block, sizeof(block)});
    http_stream_end(stream);
    NET_AWAIT(service.released == 1);
    NET_AWAIT(memory_of(&f) < 65536);
    net_ask(other, ASK("/hello"), &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    fixture_close(&f);
}

Test(http_stream, their_number_is_bounded)
{
    struct fixture f = open_server((struct http_server_def){.max_streams = 2});
    struct net_answer answer;
    int fds[3];
    char value[512];

    for (int i = 0; i < 2; i++) {
        fds[i] = fixture_connect(&f);
        stream_over(fds[i], ASK("/stream"), &answer);
    }
    fds[2] = fixture_connect(&f);
    net_ask(fds[2], ASK("/stream"), &answer);
    cr_expect_eq(answer.status, 503);
    cr_expect_str_eq(net_header(&answer, "retry-after", value), "1");
    net_answer_release(&answer);
    http_stream_end(service.streams[0]);
    NET_AWAIT(service.released == 1);
    stream_over(fds[2], ASK("/stream"), &answer);
    cr_expect_eq(answer.status, 200);
    http_stream_end(service.streams[1]);
    http_stream_end(service.streams[2]);
    fixture_close(&f);
}

Test(http_stream, a_connection_does_not_take_all_of_them)
{
    struct fixture f = open_server((struct http_server_def){.max_streams = 8});
    int greedy = connect_h2(&f), other = fixture_connect(&f);
    struct net_answer answer;

    net_ask(other, ASK("/hello"), &answer);
    net_answer_release(&answer);
    for (unsigned i = 0; i < 6; i++) /* three quarters */
        stream_over_h2(greedy, 1 + 2 * i, "GET");
    ask(greedy, 13, "GET", "/stream", false);
    cr_expect_eq(status_or_error(greedy), 503);
    stream_over(other, ASK("/stream"), &answer);
    cr_expect_eq(answer.status, 200);
    for (int i = 0; i < 7; i++)
        http_stream_end(service.streams[i]);
    fixture_close(&f);
}

/* ---- clients that go ---- */

static void expect_gone(struct http_stream *stream)
{
    NET_AWAIT(service.gone == 1);
    cr_expect_eq(http_stream_write(stream, STR("x")), -EPIPE);
    cr_expect_eq(service.released, 0);
    http_stream_end(stream);
    NET_AWAIT(service.released == 1);
    cr_expect_eq(service.gone, 1);
}

static void reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

Test(http_stream, a_client_that_closes_or_resets_is_noticed_though_nothing_is_written)
{
    struct fixture f = open_server((struct http_server_def){.receive_timeout_ms = 200});
    struct net_answer answer;

    service.tells = true;
    for (int resets = 0; resets < 2; resets++) {
        int fd = fixture_connect(&f);
        struct http_stream *stream = stream_over(fd, ASK("/stream"), &answer);

        if (resets)
            reset(fd);
        else
            close(fd);
        expect_gone(stream);
        service.gone = service.released = 0;
    }
    fixture_close(&f);
}

Test(http_stream, a_client_that_resets_while_much_waits_for_it)
{
    struct fixture f = open_server((struct http_server_def){.max_memory = 4 << 20});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;

    service.tells = true;
    stream = stream_over(fd, ASK("/stream"), &answer);
    fill(stream);
    reset(fd);
    expect_gone(stream);
    NET_AWAIT(memory_of(&f) == 0);
    fixture_close(&f);
}

Test(http_stream, a_stream_of_HTTP_2_that_the_client_resets)
{
    struct fixture f = open_server((struct http_server_def){.max_memory = 4 << 20});
    int fd = connect_h2(&f);
    struct http_stream *stream;

    service.tells = true;
    stream = stream_over_h2(fd, 1, "GET");
    fill(stream); /* beyond the window */
    send_frame(fd, RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    expect_gone(stream);
    ask(fd, 3, "HEAD", "/hello", false); /* the connection's window is used up */
    cr_expect_eq(status_or_error(fd), 200);
    fixture_close(&f);
}

/* ---- the end of the server ---- */

static uint64_t in_ms(unsigned ms)
{
    return clock_monotonic_ns() + ms * CLOCK_NS_PER_MS;
}

Test(http_stream, a_drain_ends_those_whose_writers_are_not_told)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f), h2 = connect_h2(&f);
    struct net_answer answer;
    struct http_stream *stream = stream_over(fd, ASK("/stream"), &answer), *other = stream_over_h2(h2, 1, "GET");
    struct frame frame;
    char rest[64];

    http_stream_write(stream, STR("before"));
    http_server_drain(f.server);
    cr_expect_eq(read_chunks(fd, rest, sizeof(rest)), 6);
    do
        await_frame(h2, DATA, &frame);
    while ((frame.flags & END_STREAM) == 0);
    cr_expect_eq(http_stream_write(stream, STR("x")), -EPIPE);
    cr_expect(http_stream_is_draining(stream));
    cr_expect_eq(http_server_wait(f.server, in_ms(NET_BOUND_MS)), 0);
    http_stream_end(stream);
    http_stream_end(other);
    close(h2);
    fixture_close(&f);
}

Test(http_stream, a_drain_tells_writers_that_want_to_know)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;
    char rest[64];

    service.tells = true;
    stream = stream_over(fd, ASK("/stream"), &answer);
    cr_expect_not(http_stream_is_draining(stream));
    http_server_drain(f.server);
    NET_AWAIT(service.drained == 1);
    cr_expect_eq(http_stream_write(stream, STR("farewell")), 0);
    http_stream_end(stream);
    cr_expect_eq(read_chunks(fd, rest, sizeof(rest)), 8);
    cr_expect_eq(http_server_wait(f.server, in_ms(NET_BOUND_MS)), 0);
    cr_expect_eq(service.gone, 0); /* it has been given back */
    fixture_close(&f);
}

Test(http_stream, a_drain_ends_in_time_whatever_the_writer_does)
{
    struct fixture f = open_server((struct http_server_def){0});
    int idle = fixture_connect(&f), stuck = fixture_connect(&f);
    struct net_answer answer;
    char rest[64];

    service.tells = true;
    service.def.max_bytes = sizeof(block);
    stream_over(idle, ASK("/stream"), &answer);
    stream_over(stuck, ASK("/stream"), &answer);
    fill(service.streams[1]);
    http_server_drain(f.server);
    cr_expect_eq(http_server_wait(f.server, in_ms(2000)), 0);
    cr_expect_eq(read_chunks(idle, rest, sizeof(rest)), 0); /* to its end */
    cr_expect_eq(service.gone, 2);
    http_stream_end(service.streams[0]);
    http_stream_end(service.streams[1]);
    fixture_close(&f);
}

static atomic_bool stop;

static void *write_always(void *arg)
{
    while (!stop)
        http_stream_write(arg, STR("something, again and again"));
    return NULL;
}

Test(http_stream, writers_may_go_on_when_the_server_has_been_closed)
{
    struct fixture f = open_server((struct http_server_def){.workers = 2, .max_memory = 4 << 20});
    pthread_t writers[4];
    int fds[4];
    struct net_answer answer;

    service.tells = true;
    for (int i = 0; i < 4; i++) {
        fds[i] = i % 2 == 0 ? fixture_connect(&f) : connect_h2(&f);
        if (i % 2 == 0)
            stream_over(fds[i], ASK("/stream"), &answer);
        else
            stream_over_h2(fds[i], 1, "GET");
        cr_assert_eq(pthread_create(&writers[i], NULL, write_always, service.streams[i]), 0);
    }
    fixture_close(&f);
    cr_expect_eq(service.gone, 4);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(http_stream_write(service.streams[i], STR("x")), -EPIPE);
    stop = true;
    for (int i = 0; i < 4; i++) {
        pthread_join(writers[i], NULL);
        http_stream_end(service.streams[i]);
        close(fds[i]);
    }
    cr_expect_eq(service.released, 4);
}

/* ---- what is measured ---- */

Test(http_stream, the_duration_of_a_route_is_that_of_its_heads)
{
    struct fixture f = open_server((struct http_server_def){.receive_timeout_ms = 100});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    struct http_stream *stream;

    service.def.heartbeat = STR(".");
    service.def.heartbeat_ms = 300;
    stream = stream_over(fd, ASK("/stream"), &answer);
    cr_expect_eq(fixture_metric(&f, "http_streams{server=\"test\"}"), 1);
    expect_bytes(fd, ".");
    expect_bytes(fd, "."); /* so more than half a second has passed */
    http_stream_end(stream);
    NET_AWAIT(service.released == 1);
    NET_AWAIT(fixture_metric(&f, "http_request_duration_seconds_count{method=\"GET\",path=\"/stream\"}") == 1);
    cr_expect_lt(fixture_metric(&f, "http_request_duration_seconds_sum{method=\"GET\",path=\"/stream\"}"), 0.3);
    fixture_close(&f);
}

/* ---- server-sent events ---- */

static void expect_event(const struct http_event event, const char *text)
{
    struct buf got = {0};

    cr_expect_eq(http_events_format(&got, &event), 0);
    buf_append_char(&got, '\0');
    cr_expect_str_eq(got.data, text);
    buf_release(&got);
}

Test(http_events, format)
{
    struct buf got = {0};

    expect_event((struct http_event){.data = STR("one")}, "data: one\n\n");
    expect_event((struct http_event){.data = STR("")}, "data: \n\n");
    expect_event((struct http_event){.data = STR("a\nb\r\nc\rd")}, "data: a\ndata: b\ndata: c\ndata: d\n\n");
    expect_event((struct http_event){.data = STR("a\n\n")}, "data: a\ndata: \ndata: \n\n");
    expect_event((struct http_event){.data = STR("\r\r\n")}, "data: \ndata: \ndata: \n\n");
    expect_event((struct http_event){.id = STR("7"), .event = STR("span"), .data = STR("{}"), .retry_ms = 2500},
                 "id: 7\nevent: span\nretry: 2500\ndata: {}\n\n");
    expect_event((struct http_event){.id = STR(""), .data = STR("x")}, "id: \ndata: x\n\n");
    expect_event((struct http_event){.retry_ms = 1}, "retry: 1\n\n");
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(http_events_format(&got, &(struct http_event){.id = {&"\r\n\0"[i], 1}}), -EINVAL);
    cr_expect_eq(http_events_format(&got, &(struct http_event){.event = STR("a\ndata: forged")}), -EINVAL);
    cr_expect_eq(got.len, 0);
}

Test(http_events, over_a_connection)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = fixture_connect(&f);
    struct net_answer answer;
    char value[512];
    struct http_stream *stream =
        stream_over(fd, "GET /events HTTP/1.1\r\nhost: test\r\nlast-event-id: 41\r\n\r\n", &answer);

    cr_expect_str_eq(service.last_id, "41");
    cr_expect_str_eq(net_header(&answer, "content-type", value), "text/event-stream");
    cr_expect_str_eq(net_header(&answer, "cache-control", value), "no-store");
    cr_expect_eq(http_events_send(stream, &(struct http_event){.id = STR("42"), .data = STR("two\nlines")}), 0);
    expect_bytes(fd, "id: 42\ndata: two\ndata: lines\n\n");
    cr_expect_eq(http_events_comment(stream, STR("a\nb")), 0);
    expect_bytes(fd, ": a\n: b\n\n");
    cr_expect_eq(http_events_send(stream, &(struct http_event){.id = STR("\n")}), -EINVAL);
    http_stream_end(stream);
    fixture_close(&f);
}
