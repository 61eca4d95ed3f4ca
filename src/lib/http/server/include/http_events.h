/* http_events -- server-sent events (text/event-stream of the HTML standard) over a streaming reply.
 *
 *     http_stream_open(req, &(struct http_stream_def){HTTP_EVENTS_HEARTBEAT, .max_bytes = 16384}, &stream);
 *     last = http_events_last_id(req);                  (what the client has seen already)
 *     reply = http_events_reply(stream);
 *     ...
 *     http_events_send(stream, &(struct http_event){.id = STR("17"), .event = STR("span"), .data = json});
 *
 * A browser (EventSource) connects again after an end or an error, with the id of the last event that had one.
 * Proxies must not collect the events before they pass them on: the reply asks nginx not to (X-Accel-Buffering), and is
 * never compressed. Any thread.
 */
#pragma once
#include "http_stream.h"

/* A comment every 15 s: many proxies close a connection on which nothing came for a minute. */
#define HTTP_EVENTS_HEARTBEAT .heartbeat = STR(":\n\n"), .heartbeat_ms = 15000

struct http_event {
    struct str id;     /* STR_NULL: none; an empty one makes the client forget the last one */
    struct str event;  /* its type; empty: "message" */
    struct str data;   /* several lines, if it has newlines (LF, CR or CRLF, which all arrive as LF); UTF-8 */
    unsigned retry_ms; /* how long the client is to wait before it connects again; 0: it is not told */
};

/* 200 text/event-stream, not to be stored. */
struct http_reply *http_events_reply(struct http_stream *stream);
/* The Last-Event-ID of a request; STR_NULL where there is none. The client chooses it. */
struct str http_events_last_id(const struct http_req *req);
/* Appends an event as it is sent. -EINVAL, and nothing is appended: an id with a newline or NUL, an event with a
 * newline. -ENOMEM: as buf says. With data of STR_NULL clients take over id and retry, and dispatch no event. */
int http_events_format(struct buf *to, const struct http_event *event);
/* Formats and writes one, as http_stream_write. */
int http_events_send(struct http_stream *stream, const struct http_event *event);
/* Lines that clients ignore. */
int http_events_comment(struct http_stream *stream, struct str text);
