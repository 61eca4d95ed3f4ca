/* A gRPC client that makes load and counts what comes back, with nghttp2 and one thread. It prints one line of JSON.
 *
 *   load unary PORT CONNECTIONS STREAMS SECONDS [RATE]   GetFeature; with RATE an open loop: so many calls a second,
 *                                                        each timed from when it was due; else STREAMS are always open
 *   load save PORT CONNECTIONS STREAMS SECONDS FILE      GetFeature of one point after another of a data set, in a
 *                                                        closed loop: route-guide saves each
 *   load list PORT CONNECTIONS STREAMS SECONDS           ListFeatures of the whole world
 *   load chat PORT CONNECTIONS STREAMS SECONDS WINDOW    RouteChat: each stream has WINDOW notes on their way
 *   load idle PORT CONNECTIONS                           one call on each, then prints a line, and goes on reading,
 *                                                        until the server has closed all connections
 */
#include "load.h"
#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BUFFER       (256 * 1024)
#define WINDOW_BYTES (16 * 1024 * 1024)
#define EVENTS       256
#define END_NS       (5 * LOAD_NS_PER_S) /* what has not ended by then counts as failed */

/* A request with gRPC's prefix. */
struct request {
    const char *path;
    uint8_t bytes[64];
    size_t len;
};

struct stream {
    struct conn *conn;
    const struct request *request;
    uint64_t due_ns;
    uint8_t prefix[5]; /* of the message that is coming in */
    unsigned prefix_len;
    size_t left;         /* bytes of that message */
    uint64_t to_send;    /* messages */
    uint64_t on_the_way; /* chat: sent, or to be sent, and not back */
    bool deferred, ended, succeeded;
};

struct conn {
    struct load *load;
    nghttp2_session *session;
    int fd;
    const uint8_t *rest; /* of nghttp2's, that the socket did not take */
    size_t rest_len;
};

struct load {
    struct request *requests; /* which calls take in turn */
    size_t request_count, next_request;
    bool is_chat;
    int epoll, port;
    unsigned conn_count, stream_count, window;
    double rate; /* calls/s; 0: closed loop */
    struct conn *conns;
    uint64_t begun_ns, end_ns;
    bool ending;     /* no more calls begin */
    bool may_close;  /* the server may */
    unsigned closed; /* connections */
    uint64_t open, calls, failed, messages;
    struct load_latencies latencies; /* of an open loop's calls */
};

static const char get_feature[] = "/routeguide.RouteGuide/GetFeature";

static void begin_call(struct conn *conn, uint64_t due_ns);

/* ---- requests ---- */

/* Field number 1 or 2 with an int32, as protobuf has it. */
static void put_field(struct request *request, int field, int32_t value)
{
    uint64_t bits = (uint64_t)(int64_t)value;

    request->bytes[request->len++] = (uint8_t)(field << 3);
    for (; bits >= 0x80; bits >>= 7)
        request->bytes[request->len++] = (uint8_t)(bits | 0x80);
    request->bytes[request->len++] = (uint8_t)bits;
}

static void put_point(struct request *request, int field, int32_t latitude, int32_t longitude)
{
    size_t begin = request->len;

    if (field > 0)
        request->len += 2;
    put_field(request, 1, latitude);
    put_field(request, 2, longitude);
    if (field > 0) {
        request->bytes[begin] = (uint8_t)(field << 3 | 2);
        request->bytes[begin + 1] = (uint8_t)(request->len - begin - 2);
    }
}

static void end_request(struct request *request)
{
    request->bytes[4] = (uint8_t)(request->len - 5);
}

static void make_request(struct request *request, const char *mode)
{
    static const char text[] = "\x12\x05hello"; /* RouteNote.message */

    *request = (struct request){.path = get_feature, .len = 5};
    if (strcmp(mode, "list") == 0) {
        request->path = "/routeguide.RouteGuide/ListFeatures";
        put_point(request, 1, -900000000, -1800000000);
        put_point(request, 2, 900000000, 1800000000);
    } else if (strcmp(mode, "chat") == 0) {
        request->path = "/routeguide.RouteGuide/RouteChat";
        put_point(request, 1, 409146138, -746188906);
        memcpy(request->bytes + request->len, text, sizeof(text) - 1);
        request->len += sizeof(text) - 1;
    } else {
        put_point(request, 0, 409146138, -746188906);
    }
    end_request(request);
}

/* Of all points in a data set as route-guide reads it. */
static void make_requests(struct load *load, const char *path)
{
    int32_t latitude, longitude;
    FILE *file = fopen(path, "r");
    char line[4096];

    if (file == NULL)
        load_fail(path);
    while (fgets(line, sizeof(line), file) != NULL) {
        struct request request = {.path = get_feature, .len = 5};

        if (sscanf(line, "{\"location\":{\"latitude\":%d,\"longitude\":%d", &latitude, &longitude) != 2)
            continue;
        put_point(&request, 0, latitude, longitude);
        end_request(&request);
        load->requests = realloc(load->requests, (load->request_count + 1) * sizeof(request));
        assert(load->requests != NULL);
        load->requests[load->request_count++] = request;
    }
    fclose(file);
    if (load->request_count == 0)
        load_fail("no points");
}

/* ---- a stream ---- */

static ssize_t read_messages(nghttp2_session *session, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
                             nghttp2_data_source *source, void *arg)
{
    struct stream *stream = source->ptr;
    const struct load *load = stream->conn->load;
    size_t size = 0;

    for (; stream->to_send > 0 && len - size >= stream->request->len; stream->to_send--) {
        memcpy(to + size, stream->request->bytes, stream->request->len);
        size += stream->request->len;
    }
    if (stream->to_send == 0 && (!load->is_chat || (load->ending && stream->on_the_way == 0)))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (size == 0)
        stream->deferred = true;
    return size == 0 && stream->deferred ? NGHTTP2_ERR_DEFERRED : (ssize_t)size;
}

static void resume(struct stream *stream, int32_t id)
{
    if (stream->deferred)
        nghttp2_session_resume_data(stream->conn->session, id);
    stream->deferred = false;
}

static void message_came(struct stream *stream, int32_t id)
{
    struct load *load = stream->conn->load;

    load->messages++;
    if (!load->is_chat)
        return;
    stream->on_the_way--;
    if (!load->ending) {
        stream->to_send++;
        stream->on_the_way++;
    }
    if (stream->to_send > 0 || stream->on_the_way == 0)
        resume(stream, id);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    while (stream != NULL && len > 0) {
        size_t take;

        if (stream->prefix_len < 5) {
            stream->prefix[stream->prefix_len++] = *data++;
            len--;
            if (stream->prefix_len < 5)
                continue;
            stream->left = (size_t)stream->prefix[1] << 24 | (size_t)stream->prefix[2] << 16 |
                           (size_t)stream->prefix[3] << 8 | stream->prefix[4];
        }
        take = stream->left < len ? stream->left : len;
        stream->left -= take;
        data += take;
        len -= take;
        if (stream->left > 0)
            break;
        stream->prefix_len = 0;
        message_came(stream, id);
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (stream != NULL && name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
        stream->succeeded = value_len == 1 && *value == '0';
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    struct conn *conn = arg;
    struct load *load = conn->load;

    if (stream == NULL)
        return 0;
    load->open--;
    load->calls += stream->succeeded;
    load->failed += !stream->succeeded;
    if (load->rate > 0)
        load_note(&load->latencies, stream->due_ns);
    else if (!load->ending)
        begin_call(conn, 0);
    free(stream);
    return 0;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void begin_call(struct conn *conn, uint64_t due_ns)
{
    struct load *load = conn->load;
    const struct request *request = &load->requests[load->next_request++ % load->request_count];
    const nghttp2_nv headers[] = {header(":method", "POST"),
                                  header(":scheme", "http"),
                                  header(":path", request->path),
                                  header(":authority", "localhost"),
                                  header("content-type", "application/grpc"),
                                  header("te", "trailers"),
                                  header("user-agent", "load")};
    struct stream *stream = calloc(1, sizeof(*stream));
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_messages};

    assert(stream != NULL);
    *stream = (struct stream){.conn = conn, .request = request, .due_ns = due_ns};
    stream->to_send = stream->on_the_way = load->is_chat ? load->window : 1;
    if (nghttp2_submit_request(conn->session, NULL, headers, sizeof(headers) / sizeof(headers[0]), &provider, stream) <
        0)
        load_fail("cannot begin a call");
    load->open++;
}

/* ---- a connection ---- */

static void open_session(struct conn *conn)
{
    static const nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES};
    nghttp2_session_callbacks *callbacks;

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&conn->session, callbacks, conn);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, &settings, 1);
    nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
}

static void open_conn(struct load *load, struct conn *conn)
{
    conn->load = load;
    conn->fd = load_connect(load->port, load->epoll, conn);
    open_session(conn);
}

static void watch(const struct conn *conn, bool for_room)
{
    struct epoll_event event = {.events = for_room ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = (void *)conn};

    epoll_ctl(conn->load->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

static size_t gather(struct conn *conn, uint8_t *out, size_t size)
{
    size_t len = 0;

    while (size - len >= 20 * 1024) {
        const uint8_t *frame;
        ssize_t frame_len = nghttp2_session_mem_send(conn->session, &frame);

        if (frame_len < 0)
            load_fail("nghttp2");
        if (frame_len == 0)
            break;
        memcpy(out + len, frame, (size_t)frame_len);
        len += (size_t)frame_len;
    }
    return len;
}

static void flush(struct conn *conn)
{
    static uint8_t out[BUFFER];

    while (conn->rest_len == 0) {
        size_t len = gather(conn, out, sizeof(out));
        ssize_t sent = len > 0 ? send(conn->fd, out, len, MSG_NOSIGNAL) : 0;

        if (len == 0 || (sent < 0 && conn->load->may_close))
            return;
        if (sent < 0 && errno != EAGAIN)
            load_fail("send");
        sent = sent < 0 ? 0 : sent;
        if ((size_t)sent < len) {
            uint8_t *rest = malloc(len - (size_t)sent);

            assert(rest != NULL);
            conn->rest_len = len - (size_t)sent;
            conn->rest = memcpy(rest, out + sent, conn->rest_len);
            watch(conn, true);
        }
    }
}

static void send_rest(struct conn *conn)
{
    ssize_t sent = send(conn->fd, conn->rest, conn->rest_len, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN)
        load_fail("send");
    if (sent < 0 || (size_t)sent < conn->rest_len) {
        sent = sent < 0 ? 0 : sent;
        memmove((uint8_t *)conn->rest, conn->rest + sent, conn->rest_len - (size_t)sent);
        conn->rest_len -= (size_t)sent;
        return;
    }
    free((uint8_t *)conn->rest);
    conn->rest_len = 0;
    watch(conn, false);
}

/* False: the connection is closed. */
static bool receive(struct conn *conn)
{
    static uint8_t in[BUFFER];
    ssize_t len = recv(conn->fd, in, sizeof(in), 0);

    if (len < 0 && errno == EAGAIN)
        return true;
    if (len <= 0 && conn->load->may_close) {
        conn->load->closed++;
        close(conn->fd);
        return false;
    }
    if (len <= 0)
        load_fail("the server closed a connection");
    if (nghttp2_session_mem_recv(conn->session, in, (size_t)len) < 0)
        load_fail("nghttp2");
    return true;
}

/* After a server's GOAWAY. */
static void leave(struct conn *conn)
{
    if (!conn->load->may_close || nghttp2_session_want_read(conn->session) || nghttp2_session_want_write(conn->session))
        return;
    conn->load->closed++;
    close(conn->fd);
}

/* ---- the loop ---- */

/* Begins the calls that are due, each connection's in one write: a write for each call would make this program slower
 * than the server. Returns the number of calls begun so far. */
static uint64_t begin_due(struct load *load, uint64_t begun, uint64_t now)
{
    uint64_t due = load_due(load->begun_ns, now, load->rate), first = begun;

    for (; begun < due; begun++)
        begin_call(&load->conns[begun % load->conn_count], load_due_ns(load->begun_ns, begun, load->rate));
    for (uint64_t i = first; i < begun && i < first + load->conn_count; i++)
        flush(&load->conns[i % load->conn_count]);
    return begun;
}

static void turn(struct load *load, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load->epoll, events, EVENTS, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;

        if (events[i].events & EPOLLOUT)
            send_rest(conn);
        if ((events[i].events & ~EPOLLOUT) && !receive(conn))
            continue;
        flush(conn);
        leave(conn);
    }
}

static void run(struct load *load)
{
    uint64_t begun = 0, now;

    while ((now = load_now_ns()) < load->end_ns) {
        if (load->rate > 0)
            begun = begin_due(load, begun, now);
        turn(load, load->rate > 0 ? 0 : 10);
    }
    load->ending = true;
    while (load->open > 0 && load_now_ns() < load->end_ns + END_NS)
        turn(load, 10);
    load->failed += load->open;
}

static void print_result(struct load *load)
{
    double seconds = (double)(load_now_ns() - load->begun_ns) / LOAD_NS_PER_S;

    printf("{\"calls\": %llu, \"failed\": %llu, \"messages\": %llu, \"seconds\": %.4f", (unsigned long long)load->calls,
           (unsigned long long)load->failed, (unsigned long long)load->messages, seconds);
    load_print(&load->latencies);
    printf("}\n");
}

static void be_idle(struct load *load)
{
    load->ending = true;
    while (load->open > 0)
        turn(load, 10);
    printf("{\"calls\": %llu, \"failed\": %llu}\n", (unsigned long long)load->calls, (unsigned long long)load->failed);
    fflush(stdout);
    load->may_close = true;
    while (load->closed < load->conn_count)
        turn(load, -1);
}

static void parse(struct load *load, int argc, char **argv, double *ret_seconds)
{
    bool is_idle = argc > 1 && strcmp(argv[1], "idle") == 0, saves = argc > 1 && strcmp(argv[1], "save") == 0;

    if (argc < (is_idle ? 4 : saves ? 7 : 6)) {
        fprintf(stderr, "usage: load MODE PORT CONNECTIONS [STREAMS SECONDS [RATE | WINDOW | FILE]]\n");
        exit(2);
    }
    if (saves) {
        make_requests(load, argv[6]);
    } else {
        load->requests = calloc(1, sizeof(*load->requests));
        assert(load->requests != NULL);
        make_request(load->requests, argv[1]);
        load->request_count = 1;
    }
    load->is_chat = strcmp(argv[1], "chat") == 0;
    load->port = atoi(argv[2]);
    load->conn_count = (unsigned)atoi(argv[3]);
    load->stream_count = is_idle ? 1 : (unsigned)atoi(argv[4]);
    *ret_seconds = is_idle ? 0 : atof(argv[5]);
    load->window = load->is_chat && argc > 6 ? (unsigned)atoi(argv[6]) : 1;
    load->rate = !load->is_chat && !saves && argc > 6 ? atof(argv[6]) : 0;
}

int main(int argc, char **argv)
{
    struct load load = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    double seconds;

    parse(&load, argc, argv, &seconds);
    load.conns = calloc(load.conn_count, sizeof(*load.conns));
    load_expect(&load.latencies, load.rate * seconds);
    assert(load.epoll >= 0 && load.conns != NULL);
    for (unsigned i = 0; i < load.conn_count; i++)
        open_conn(&load, &load.conns[i]);
    load.begun_ns = load_now_ns();
    load.end_ns = load.begun_ns + (uint64_t)(seconds * LOAD_NS_PER_S);
    for (unsigned i = 0; i < load.conn_count; i++) {
        for (unsigned j = 0; load.rate == 0 && j < load.stream_count; j++)
            begin_call(&load.conns[i], 0);
        flush(&load.conns[i]);
    }
    if (seconds == 0) {
        be_idle(&load);
        return 0;
    }
    run(&load);
    print_result(&load);
    return load.failed > 0;
}
