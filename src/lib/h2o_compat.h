/* h2o_compat -- libh2o 2.2.5 (Debian) and 2.3 (rolling): every difference that this library meets, and the prototypes
 * of the HTTP parser that libh2o exports without installing its header. For the library's own .c files only.
 */
#pragma once
#include <h2o.h>
#include <stddef.h>

#if __has_include(<h2o/http1client.h>)
#define H2O_COMPAT_2_2 1
#else
#define H2O_COMPAT_2_2 0
#endif

/* ---- memory ---- */

static inline void *h2o_compat_alloc(h2o_mem_pool_t *pool, size_t size)
{
#if H2O_COMPAT_2_2
    return h2o_mem_alloc_pool(pool, size);
#else
    return h2o_mem_alloc_pool(pool, char *, (size + sizeof(char *) - 1) / sizeof(char *));
#endif
}

/* ---- filters ---- */

static inline h2o_ostream_t *h2o_compat_add_ostream(h2o_req_t *req, size_t size, h2o_ostream_t **slot)
{
#if H2O_COMPAT_2_2
    return h2o_add_ostream(req, size, slot);
#else
    return h2o_add_ostream(req, _Alignof(max_align_t), size, slot);
#endif
}

/* What a filter is given to send. */

#if H2O_COMPAT_2_2
typedef h2o_iovec_t h2o_compat_sendvec;
#else
typedef h2o_sendvec_t h2o_compat_sendvec;
#endif

static inline h2o_compat_sendvec h2o_compat_send_bytes(const void *bytes, size_t len)
{
#if H2O_COMPAT_2_2
    return h2o_iovec_init(bytes, len);
#else
    h2o_sendvec_t vec;

    h2o_sendvec_init_raw(&vec, bytes, len);
    return vec;
#endif
}

/* ---- configuration and context ---- */

/* HTTP/1 has one timeout for an idle connection and for what comes of a request: the shorter one is the caller's to
 * keep.
 */
static inline void h2o_compat_set_timeouts(h2o_globalconf_t *config, uint64_t idle_ms, uint64_t receive_ms)
{
    config->http1.req_timeout = idle_ms;
    config->http2.idle_timeout = receive_ms;
#if !H2O_COMPAT_2_2
    config->http1.req_io_timeout = receive_ms;
#endif
}

static inline void h2o_compat_context_dispose(h2o_context_t *context)
{
#if H2O_COMPAT_2_2
    /* Its timer for the second GOAWAY may be linked, which h2o asserts that it is not; and it forgets to free its
     * queue. */
    h2o_multithread_queue_t *queue = context->queue;

    h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_context_dispose(context);
    free(queue);
#else
    h2o_context_dispose(context);
#endif
}

/* When the loop last woke up: real time, in 2.2.5 known to a millisecond. */
static inline uint64_t h2o_compat_woke_us(h2o_evloop_t *loop)
{
#if H2O_COMPAT_2_2
    return h2o_now(loop) * 1000;
#else
    struct timeval at = h2o_gettimeofday(loop);

    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_usec;
#endif
}

/* ---- sockets ---- */

/* NULL with errno where it failed at once. */
static inline h2o_socket_t *h2o_compat_connect(h2o_loop_t *loop, const struct sockaddr *address, socklen_t len,
                                               h2o_socket_cb cb)
{
#if H2O_COMPAT_2_2
    return h2o_socket_connect(loop, (struct sockaddr *)address, len, cb);
#else
    return h2o_socket_connect(loop, (struct sockaddr *)address, len, cb, NULL);
#endif
}

/* ---- picohttpparser ---- */

struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* The number of bytes of the head, -1: not HTTP, -2: incomplete. last_len: the len of the call before, or 0. */
int phr_parse_response(const char *bytes, size_t len, int *minor_version, int *status, const char **reason,
                       size_t *reason_len, struct phr_header *headers, size_t *header_count, size_t last_len);

struct phr_chunked_decoder {
    size_t bytes_left_in_chunk;
    char consume_trailer;
    char hex_count, state;
    /* A later version counts further. */
    uint64_t reserved[4];
};

/* Decodes in place: *len is the number of new bytes, then of those decoded. The number of bytes after the body's end,
 * -1: malformed, -2: incomplete. */
ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *bytes, size_t *len);
