/* h2o_compat -- the differences between libh2o 2.2.5 (Debian 12) and 2.3 (rolling) that this library meets. Only names
 * of h2o's public headers are used. For the library's own .c files only.
 */
#pragma once
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <h2o/version.h>
#include <stdbool.h>
#include <stddef.h>

/* By the header that is really used: another version may be installed beside it. */
#if H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR < 3
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

/* Sends the head of a response that has been started, and nothing of its body; the generator's proceed follows. The
 * filters of 2.2.5 pass nothing on where there are no bytes. */
static inline void h2o_compat_send_head(h2o_req_t *req)
{
#if H2O_COMPAT_2_2
    h2o_ostream_t *last = req->_ostr_top;

    while (last->next != NULL)
        last = last->next;
    last->do_send(last, req, NULL, 0, H2O_SEND_STATE_IN_PROGRESS);
#else
    h2o_send(req, NULL, 0, H2O_SEND_STATE_IN_PROGRESS);
#endif
}

/* ---- configuration and context ---- */

/* h2o has no timeouts that tell an idle connection from one that sends a request slowly, and they differ between the
 * versions. All of them are set to the longer bound; watch.c of http/server enforces the shorter one. */
static inline void h2o_compat_set_timeouts(h2o_globalconf_t *config, uint64_t idle_ms)
{
    config->http1.req_timeout = idle_ms;
    config->http2.idle_timeout = idle_ms;
#if !H2O_COMPAT_2_2
    config->http1.req_io_timeout = idle_ms;
    config->http2.dos_delay = 0; /* exchange.c of http/server counts resets, and cuts off who only resets */
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

/* Frees buffers and pools that h2o 2.3 keeps for reuse and that have not been needed for a second. Call it once a turn.
 * 2.2.5 keeps at most 16 of each kind. */
static inline void h2o_compat_collect(h2o_evloop_t *loop)
{
#if !H2O_COMPAT_2_2
    h2o_cleanup_thread(h2o_now(loop), NULL);
#endif
}

/* Frees all that this thread keeps. (h2o_cleanup_thread(0) does not once it was called with a time.) */
static inline void h2o_compat_collect_all(void)
{
#if !H2O_COMPAT_2_2
    h2o_buffer_clear_recycle(1);
    h2o_socket_clear_recycle(1);
    h2o_mem_clear_recycle(&h2o_mem_pool_allocator, 1);
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

/* ---- requests ---- */

/* 2.3 leaves the Date header to the handler. */
static inline void h2o_compat_add_date(h2o_req_t *req)
{
#if !H2O_COMPAT_2_2
    h2o_resp_add_date_header(req);
#endif
}

/* Calls each for every request of the context's connections that is being received or answered, and for the one that an
 * idle HTTP/1 connection has in reserve. each returns 0 to go on. */
static inline void h2o_compat_each_request(h2o_context_t *context, int (*each)(h2o_req_t *req, void *arg), void *arg)
{
#if H2O_COMPAT_2_2
    H2O_HTTP1_CALLBACKS.foreach_request(context, each, arg);
    H2O_HTTP2_CALLBACKS.foreach_request(context, each, arg);
#else
    H2O_CONN_LIST_FOREACH(h2o_conn_t * conn,
                          ({&context->_conns.active, &context->_conns.idle, &context->_conns.shutdown}),
                          { conn->callbacks->foreach_request(conn, each, arg); });
#endif
}

/* When its first bytes came, in ms of the loop's clock; 0: none came. */
static inline uint64_t h2o_compat_begun_ms(const h2o_req_t *req)
{
    const struct timeval *at = &req->timestamps.request_begin_at;

    return (uint64_t)at->tv_sec * 1000 + (uint64_t)at->tv_usec / 1000;
}

/* Whether it was received to its end and given to the handler. */
static inline bool h2o_compat_is_whole(const h2o_req_t *req)
{
#if H2O_COMPAT_2_2
    return req->processed_at.at.tv_sec != 0;
#else
    return req->process_called;
#endif
}

/* A request that began as an Upgrade of HTTP/1 keeps that connection's input buffer, which doubles as it grows. */
static inline size_t h2o_compat_upgrade_bytes(const h2o_req_t *req)
{
    size_t bytes = 0;

    for (size_t i = 0; i < req->headers.size; i++)
        bytes += req->headers.entries[i].name == &H2O_TOKEN_HTTP2_SETTINGS->buf ? 2 * H2O_MAX_REQLEN : 0;
    return bytes;
}

/* Bytes that are not in the connection's input buffer, beside the head of an HTTP/2 request. The
 * body in HTTP/2 of 2.2.5, which does not tell how much of it has come, is as long as one may be. */
static inline size_t h2o_compat_request_bytes(const h2o_req_t *req)
{
    bool is_http2 = req->version >= 0x200;
    size_t head = is_http2 ? h2o_compat_upgrade_bytes(req) : 0;

    if (h2o_compat_begun_ms(req) == 0)
        return 0;
#if H2O_COMPAT_2_2
    if (!is_http2)
        return 0;
    if (!h2o_compat_is_whole(req) && req->timestamps.request_body_begin_at.tv_sec != 0)
        return head + req->conn->ctx->globalconf->max_request_entity_size;
#endif
    return head + req->entity.len;
}

/* ---- sockets ---- */

/* Bytes that an HTTP/2 connection's output may have before it is read from no more. */
#if H2O_COMPAT_2_2
#define H2O_COMPAT_MAX_OUTPUT SIZE_MAX
#else
#define H2O_COMPAT_MAX_OUTPUT H2O_HTTP2_DEFAULT_OUTBUF_SOFT_MAX_SIZE
#endif

/* What h2o_socket_read_start was given; NULL: nothing is read. */
static inline h2o_socket_cb h2o_compat_reader(const h2o_socket_t *socket)
{
    return socket->_cb.read;
}

/* In the place of that, while the socket is read from. */
static inline void h2o_compat_set_reader(h2o_socket_t *socket, h2o_socket_cb reader)
{
    socket->_cb.read = reader;
}

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
