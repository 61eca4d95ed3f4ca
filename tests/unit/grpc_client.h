/* grpc_client -- a gRPC client frame by frame, on nghttp2: for what a client library does not let one send or see.
 * Every wait is bounded. */
#pragma once
#include "buf.h"
#include "net.h"
#include <nghttp2/nghttp2.h>
#include <stdbool.h>

enum { CALL_FIELDS = 16 };

struct call_field {
    char name[64], value[1024];
};

/* What has come on a stream. */
struct grpc_call {
    int32_t stream;
    const uint8_t *body; /* what is still to be sent */
    size_t body_len;
    bool open_end; /* the body is not the end */
    struct call_field fields[CALL_FIELDS];
    unsigned field_count, heads; /* heads: HEADERS frames that came */
    uint8_t data[256 * 1024];
    size_t data_len;
    bool closed, ended; /* ended: by the server, with END_STREAM */
    uint32_t error;     /* of RST_STREAM, or 0 */
};

struct grpc_connection {
    nghttp2_session *session;
    int fd;
    bool eof;
    unsigned goaways, pongs;
    int32_t last_stream; /* of the last GOAWAY */
    uint32_t goaway_error;
};

static inline ssize_t grpc_on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *arg)
{
    struct grpc_connection *connection = arg;
    ssize_t sent = send(connection->fd, data, len, MSG_NOSIGNAL);

    return sent >= 0 ? sent : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static inline int grpc_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                                 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct call_field *field;

    if (call == NULL)
        return 0;
    cr_assert_lt(call->field_count, CALL_FIELDS);
    field = &call->fields[call->field_count++];
    snprintf(field->name, sizeof(field->name), "%.*s", (int)name_len, name);
    snprintf(field->value, sizeof(field->value), "%.*s", (int)value_len, value);
    return 0;
}

static inline int grpc_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_connection *connection = arg;
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        connection->goaways++;
        connection->last_stream = frame->goaway.last_stream_id;
        connection->goaway_error = frame->goaway.error_code;
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        connection->pongs++;
    if (call != NULL && frame->hd.type == NGHTTP2_HEADERS)
        call->heads++;
    if (call != NULL && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
        call->ended = call->ended || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    return 0;
}

static inline int grpc_on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                               void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);

    if (call == NULL)
        return 0;
    cr_assert_leq(call->data_len + len, sizeof(call->data));
    memcpy(call->data + call->data_len, data, len);
    call->data_len += len;
    return 0;
}

static inline int grpc_on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);

    if (call != NULL) {
        call->closed = true;
        call->error = error;
    }
    return 0;
}

/* window: bytes that the server may send on a stream, all in all. */
static inline void grpc_connect(struct grpc_connection *connection, int port, uint32_t window)
{
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    *connection = (struct grpc_connection){.fd = net_connect("127.0.0.1", port)};
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, grpc_on_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, grpc_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, grpc_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, grpc_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, grpc_on_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 24);
    cr_assert_eq(nghttp2_session_client_new2(&connection->session, callbacks, connection, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
}

static inline void grpc_disconnect(struct grpc_connection *connection)
{
    nghttp2_session_del(connection->session);
    close(connection->fd);
}

/* Sends what is to be sent and waits for more from the server. */
static inline void grpc_turn(struct grpc_connection *connection)
{
    uint8_t bytes[65536];
    ssize_t len;

    nghttp2_session_send(connection->session);
    len = recv(connection->fd, bytes, sizeof(bytes), 0);
    cr_assert(len >= 0 || errno == ECONNRESET, "nothing came: %s", strerror(errno));
    connection->eof = len <= 0;
    if (len > 0)
        cr_assert_geq(nghttp2_session_mem_recv(connection->session, bytes, (size_t)len), 0);
    nghttp2_session_send(connection->session);
}

static inline ssize_t grpc_read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
                                     nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    size_t some = call->body_len < len ? call->body_len : len;

    if (some > 0)
        memcpy(to, call->body, some);
    call->body = some > 0 ? call->body + some : call->body;
    call->body_len -= some;
    if (call->body_len == 0 && !call->open_end)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return some == 0 && call->open_end ? NGHTTP2_ERR_DEFERRED : (ssize_t)some;
}

static inline nghttp2_nv grpc_nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* Begins a call; more: pairs of names and values, ended by NULL. call->body and so on are set, the rest zero. */
static inline void grpc_begin(struct grpc_connection *connection, const char *path, const char *const *more,
                              struct grpc_call *call)
{
    nghttp2_nv nv[16] = {grpc_nv(":method", "POST"), grpc_nv(":scheme", "http"), grpc_nv(":authority", "test"),
                         grpc_nv(":path", path), grpc_nv("te", "trailers")};
    size_t count = 5;
    bool typed = false;
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = grpc_read_body};

    for (; more != NULL && *more != NULL; more += 2) {
        typed = typed || strcmp(more[0], "content-type") == 0;
        if (strcmp(more[0], ":method") == 0)
            nv[0] = grpc_nv(more[0], more[1]);
        else
            nv[count++] = grpc_nv(more[0], more[1]);
    }
    if (!typed)
        nv[count++] = grpc_nv("content-type", "application/grpc");
    call->stream = nghttp2_submit_request(connection->session, NULL, nv, count, &provider, call);
    cr_assert_gt(call->stream, 0);
    nghttp2_session_send(connection->session);
}

static inline void grpc_await(struct grpc_connection *connection, const struct grpc_call *call)
{
    while (!call->closed && !connection->eof)
        grpc_turn(connection);
}

/* The index-th value of that name, NULL where there is none. */
static inline const char *grpc_field(const struct grpc_call *call, const char *name, unsigned index)
{
    for (unsigned i = 0; i < call->field_count; i++)
        if (strcmp(call->fields[i].name, name) == 0 && index-- == 0)
            return call->fields[i].value;
    return NULL;
}

/* Appends a message with its prefix. */
static inline void grpc_append(struct buf *body, bool compressed, struct str message)
{
    const uint8_t prefix[] = {compressed, (uint8_t)(message.len >> 24), (uint8_t)(message.len >> 16),
                              (uint8_t)(message.len >> 8), (uint8_t)message.len};

    buf_append(body, prefix, sizeof(prefix));
    buf_append_str(body, message);
}
