/* http_stream -- replies whose body is written over time: chunked over HTTP/1.1, DATA frames over HTTP/2.
 *
 *     static struct http_reply *watch(struct http_req *req)
 *     {
 *         struct http_stream *stream;
 *         int r = http_stream_open(req, &(struct http_stream_def){.max_bytes = 16384}, &stream);
 *
 *         if (r < 0)
 *             return http_problem_errno(r, "watch");
 *         hub_add(req->state, stream);                       (which writes from any thread, and ends it)
 *         return http_reply_stream(200, "text/plain", stream);
 *     }
 *
 * A stream is opened in a handler. The reply that carries it is returned, or given to http_answer; it has headers like
 * any other reply. What is written before that waits. Who opened the stream has a reference to it, and gives that back
 * by http_stream_end or http_stream_abort, once, whatever has become of the client. If the request is answered
 * otherwise, the stream is gone.
 *
 * Threads: http_stream_open in the handler; the others from any thread, in callbacks too. Callbacks run in the loop's
 * thread, with no lock held, and must not block.
 *
 * Bounds: max_bytes of a stream that its client has not taken; the server's max_memory for all of them together, in
 * which what waits counts as a reply does. http_server_def.max_streams at a time. What does not fit is refused
 * (-EAGAIN): the writer drops it, or waits for HTTP_STREAM_ROOM. A client that takes nothing for request_timeout_ms
 * while something waits for it is cut off. What is written in one turn of the loop goes out together.
 *
 * Drain: when http_server_drain is called, streams without on_event end after what has been written. The others are
 * told (HTTP_STREAM_DRAIN) and are to be ended by their writer; those that are left when three quarters of the time of
 * http_server_wait are over are ended by the server.
 *
 * HEAD gets the head alone: the stream is gone when it has been sent. Over HTTP/1.0 the body ends with the connection,
 * where an aborted one cannot be told from a complete one. The duration that is measured for a route
 * (http_request_duration_seconds, observe) is that of its head; log line and span have the duration of all.
 * http_streams{server} counts streams, http_streams_cut_total{server} those that the server has cut off.
 */
#pragma once
#include "http.h"

struct http_stream;

enum http_stream_event {
    HTTP_STREAM_ROOM,  /* after -EAGAIN: at least half of max_bytes is free again */
    HTTP_STREAM_DRAIN, /* end it soon; once */
    HTTP_STREAM_GONE,  /* nobody reads any more: the last event. It is still to be given back */
};

struct http_stream_def {
    size_t max_bytes; /* 0: 64 KiB */
    /* May be NULL. Not called once the stream has been ended or aborted, but may be running in the loop's thread while
     * another thread does that. */
    void (*on_event)(void *arg, struct http_stream *stream, enum http_stream_event event);
    void (*release)(void *arg); /* no callback uses arg any more; from any thread; may be NULL */
    void *arg;
    /* Written, where it fits, when nothing was written for so long, give or take receive_timeout_ms / 10: it lets both
     * sides and what is between them know that the connection lives. Constant; 0: nothing is. */
    struct str heartbeat;
    unsigned heartbeat_ms;
};

/* 0 or -errno, for http_problem_errno: -EAGAIN too many streams, -ENOBUFS no room in max_memory, -ENOMEM, -ENOSYS
 * in http_try. One stream a request. */
int http_stream_open(struct http_req *req, const struct http_stream_def *def, struct http_stream **ret_stream);
/* Of the request's own stream. content_type must be static. */
struct http_reply *http_reply_stream(int status, const char *content_type, struct http_stream *stream);
/* Copies all of the bytes, or none. -EAGAIN: they do not fit now. -EMSGSIZE: they are more than max_bytes. -EPIPE:
 * nobody reads any more, or the stream has been ended for a drain. */
int http_stream_write(struct http_stream *stream, struct str bytes);
/* What was written is sent, and the response ends. Returns NULL. */
struct http_stream *http_stream_end(struct http_stream *take_stream);
/* What was written may be lost, and the client sees that the response is not complete. Returns NULL. */
struct http_stream *http_stream_abort(struct http_stream *take_stream);
bool http_stream_is_draining(struct http_stream *stream);
