/* http2 -- input as HTTP/2: a connection with settings and frames as the input says, after which the service must
 * answer a ping or end the connection. */
#pragma once
#include "service.h"

enum { HTTP2_PING = 6, HTTP2_GOAWAY = 7, HTTP2_HEAD = 9 };

static inline void http2_frame(struct buf *out, unsigned type, unsigned flags, unsigned stream, struct str payload)
{
    const unsigned char head[HTTP2_HEAD] = {(unsigned char)(payload.len >> 16),
                                            (unsigned char)(payload.len >> 8),
                                            (unsigned char)payload.len,
                                            (unsigned char)type,
                                            (unsigned char)flags,
                                            0,
                                            0,
                                            (unsigned char)(stream >> 8),
                                            (unsigned char)stream};

    buf_append(out, head, sizeof(head));
    buf_append_str(out, payload);
}

/* Frames: type, flags, stream, length in four bytes, then the payload. */
static inline void http2_frames(struct fuzz_input *input, struct buf *out)
{
    while (input->left > 0) {
        unsigned type = fuzz_byte(input), flags = fuzz_byte(input), stream = fuzz_byte(input), len = fuzz_byte(input);
        struct str payload = {(const char *)input->at, len < input->left ? len : input->left};

        input->at += payload.len;
        input->left -= payload.len;
        http2_frame(out, type, flags, stream, payload);
    }
}

/* Whole frames of a service. True: it has answered our ping, or said that it ends the connection. */
static inline bool http2_check(struct str output, bool ended)
{
    bool answered = false;

    while (output.len >= HTTP2_HEAD) {
        const unsigned char *head = (const unsigned char *)output.s;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];

        MUST(len <= 16384 && head[3] <= 9);
        if (output.len < HTTP2_HEAD + len)
            break;
        answered |= head[3] == HTTP2_GOAWAY ||
                    (head[3] == HTTP2_PING && head[4] == 1 && memcmp(output.s + HTTP2_HEAD, "fuzzping", 8) == 0);
        output = (struct str){output.s + HTTP2_HEAD + len, output.len - HTTP2_HEAD - len};
    }
    return answered || ended;
}

/* The first byte: with its lowest bit set the rest are the bytes themselves, cut off anywhere, else frames. */
static inline void http2_talk(int port, const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    bool is_raw = fuzz_byte(&input) & 1, open = true;
    struct buf out = {0}, output = {0};
    int fd = service_connect(port);

    buf_append_cstr(&out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    http2_frame(&out, 4, 0, 0, STR(""));
    if (is_raw)
        buf_append_str(&out, fuzz_rest(&input));
    else
        http2_frames(&input, &out);
    if (!is_raw)
        http2_frame(&out, HTTP2_PING, 0, 0, STR("fuzzping"));
    service_send(fd, buf_str(&out));
    if (is_raw)
        shutdown(fd, SHUT_WR);
    while (open && (is_raw || !http2_check(buf_str(&output), false)))
        open = service_receive(fd, &output);
    http2_check(buf_str(&output), true);
    close(fd);
    buf_release(&out);
    buf_release(&output);
}
