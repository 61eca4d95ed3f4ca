/* http2_client -- as much of an HTTP/2 client as the tests need: literal headers, no window updates. */
#pragma once
#include "http_fixture.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, CONTINUATION = 9, UNKNOWN = 11 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct frame {
    unsigned len, type, flags, stream;
    unsigned char payload[16384 + 1];
};

static inline void add_frame(struct buf *to, unsigned type, unsigned flags, unsigned stream, const void *payload,
                             size_t len)
{
    unsigned char head[9] = {len >> 16, len >> 8, len, type, flags, stream >> 24, stream >> 16, stream >> 8, stream};

    buf_append(to, head, sizeof(head));
    buf_append(to, payload, len);
}

static inline void send_frame(int fd, unsigned type, unsigned flags, unsigned stream, const void *payload, size_t len)
{
    struct buf frame = {0};

    add_frame(&frame, type, flags, stream, payload, len);
    net_send(fd, frame.data, frame.len);
    buf_release(&frame);
}

static inline void read_frame(int fd, struct frame *frame)
{
    unsigned char head[9];

    net_receive(fd, head, sizeof(head));
    frame->len = (unsigned)head[0] << 16 | (unsigned)head[1] << 8 | head[2];
    frame->type = head[3];
    frame->flags = head[4];
    frame->stream = ((unsigned)head[5] << 24 | (unsigned)head[6] << 16 | (unsigned)head[7] << 8 | head[8]) & 0x7fffffff;
    cr_assert_lt(frame->len, sizeof(frame->payload));
    net_receive(fd, frame->payload, frame->len);
    frame->payload[frame->len] = '\0';
}

/* The next frame of that type. */
static inline void await_frame(int fd, unsigned type, struct frame *frame)
{
    do
        read_frame(fd, frame);
    while (frame->type != type);
}

static inline void add_literal(struct buf *block, const char *name, const char *value)
{
    buf_append_char(block, 0x00); /* a literal that goes into no table */
    buf_append_char(block, (char)strlen(name));
    buf_append_cstr(block, name);
    buf_append_char(block, (char)strlen(value));
    buf_append_cstr(block, value);
}

static inline void add_request(struct buf *block, const char *method, const char *path)
{
    add_literal(block, ":method", method);
    add_literal(block, ":scheme", "http");
    add_literal(block, ":authority", "test");
    add_literal(block, ":path", path);
    add_literal(block, "user-agent", "h2");
}

static inline void add_ask(struct buf *to, unsigned stream, const char *method, const char *path)
{
    struct buf block = {0};

    add_request(&block, method, path);
    add_frame(to, HEADERS, END_HEADERS | END_STREAM, stream, block.data, block.len);
    buf_release(&block);
}

static inline void ask(int fd, unsigned stream, const char *method, const char *path, bool with_body)
{
    struct buf block = {0};

    add_request(&block, method, path);
    send_frame(fd, HEADERS, END_HEADERS | (with_body ? 0 : END_STREAM), stream, block.data, block.len);
    buf_release(&block);
}

/* The status of a HEADERS frame: h2o sends the seven of HPACK's static table by their index, others as a literal whose
 * name is indexed. */
static inline int status_of(const struct frame *frame)
{
    static const int indexed[] = {200, 204, 206, 304, 400, 404, 500};

    if (frame->payload[0] >= 0x88 && frame->payload[0] <= 0x8e)
        return indexed[frame->payload[0] - 0x88];
    for (const char *at = (const char *)frame->payload; at < (const char *)frame->payload + 5; at++)
        if (at[0] >= '1' && at[0] <= '5' && at[1] >= '0' && at[1] <= '9' && at[2] >= '0' && at[2] <= '9')
            return atoi((const char[]){at[0], at[1], at[2], '\0'});
    return 0;
}

static inline int connect_h2(const struct fixture *fixture)
{
    int fd = fixture_connect(fixture);

    net_send_text(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send_frame(fd, SETTINGS, 0, 0, NULL, 0);
    return fd;
}

/* The status of the next answer; where a GOAWAY comes instead, its error code, negative. */
static inline int status_or_error(int fd)
{
    struct frame frame;

    do
        read_frame(fd, &frame);
    while (frame.type != HEADERS && frame.type != GOAWAY);
    return frame.type == HEADERS ? status_of(&frame) : -(int)frame.payload[7];
}

/* The status, and the body (terminated) of the one stream that is open. */
static inline int read_answer(int fd, char *ret_body, size_t size)
{
    struct frame frame;
    size_t len = 0;
    int status;

    await_frame(fd, HEADERS, &frame);
    status = status_of(&frame);
    while ((frame.flags & END_STREAM) == 0) {
        await_frame(fd, DATA, &frame);
        cr_assert_lt(len + frame.len, size);
        memcpy(ret_body + len, frame.payload, frame.len);
        len += frame.len;
    }
    ret_body[len] = '\0';
    return status;
}

/* Reads until count streams have ended, however their frames are mixed. */
static inline void await_ends(int fd, unsigned count)
{
    struct frame frame;

    while (count > 0) {
        read_frame(fd, &frame);
        count -= (frame.type == DATA || frame.type == HEADERS) && (frame.flags & END_STREAM) != 0;
    }
}
