/* h2o_compat -- libh2o 2.2.5 (Debian) and 2.3 (rolling): every difference that this library meets, and the prototypes
 * of the HTTP parser that libh2o exports without installing its header. For the library's own .c files only.
 */
#pragma once
#include <h2o.h>

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

/* ---- what a filter is given to send ---- */

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

/* idle_ms bounds an idle connection and the receiving of a request. */
static inline void h2o_compat_set_timeouts(h2o_globalconf_t *config, uint64_t idle_ms)
{
    config->http1.req_timeout = idle_ms;
    config->http2.idle_timeout = idle_ms;
#if !H2O_COMPAT_2_2
    config->http1.req_io_timeout = idle_ms;
#endif
}

/* A context whose graceful shutdown is still waiting for its second GOAWAY has a timer linked, which h2o asserts that
 * it has not. 2.2.5 forgets to free its queue. */
static inline void h2o_compat_context_dispose(h2o_context_t *context)
{
#if H2O_COMPAT_2_2
    h2o_multithread_queue_t *queue = context->queue;

    h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_context_dispose(context);
    free(queue);
#else
    h2o_timer_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_context_dispose(context);
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
