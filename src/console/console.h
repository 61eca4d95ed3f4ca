/* console -- shows the fleet live: receives traces, metrics and logs by OTLP over gRPC, keeps the last minutes of them
 * in bounded memory, and serves a page with a JSON API and server-sent events.
 *
 *   main.c         tables and wiring
 *   receive.c      the three services of OTLP
 *   api.c          GET /api/...: what is asked for
 *   write.c        what is kept, as JSON
 *   events.c       server-sent events, and the thread that does what is due by time
 *   guard.c        who may read
 *   local.c, try.c requests that the page has sent, under ./dev up alone
 *   interfaces.c   OpenAPI documents and gRPC methods of the services
 *   files.c        the page
 *   traces.c, lines.c, kept.c, fleet.c, latency.c, intern.c, otlp_read.c: what is kept, and how it is read
 *
 * What is kept is under one lock, which is held for microseconds by those who add, and for as long as a reply of
 * bounded length is written by those who read.
 */
#pragma once
#include "fleet.h"
#include "http.h"
#include "lines.h"
#include "rpc.h"
#include "traces.h"
#include <pthread.h>

#define CONSOLE_MAX_STREAMS 32 /* of /api/events at a time */

struct events;
struct local;

/* In this second and in the last whole one. */
struct console_rate {
    uint64_t now, last;
};

struct console {
    pthread_mutex_t lock; /* for all but `events` and what does not change */
    struct traces traces;
    struct lines lines;
    struct fleet fleet;
    struct console_rate spans, records, points;
    uint64_t dropped; /* items that were malformed, or beyond bounds */
    size_t max_memory;
    struct events *events;
    struct local *local; /* NULL: this is a cluster; see local.h */
    bool is_open;
};

/* 0 or -ENOMEM. max_memory: bytes of what is kept. */
int console_open(struct console *console, size_t max_memory);
void console_close(struct console *console); /* a zeroed one is fine */
/* Once a second, under the lock. */
void console_tick(struct console *console, uint64_t now_ms);
size_t console_used(const struct console *console); /* bytes; under the lock */
uint64_t console_now_ms(void);

/* ---- receive.c ---- */

extern const struct rpc_method receive_methods[];

enum receive_signal { RECEIVE_SPANS, RECEIVE_METRICS, RECEIVE_LOGS };
/* One ResourceSpans, ResourceMetrics or ResourceLogs. *rejected grows by what was not taken. 0 or -EBADMSG. */
int receive_resource(struct console *console, enum receive_signal signal, struct str resource, uint64_t *rejected);

/* ---- guard.c ---- */

/* NULL, or the problem: the request names a host by which only other sites call the console. */
struct http_reply *guard_host(const struct http_req *req);

/* ---- api.c ---- */

struct http_reply *api_fleet(struct http_req *req);
struct http_reply *api_traces(struct http_req *req);
struct http_reply *api_trace(struct http_req *req);
struct http_reply *api_logs(struct http_req *req);
struct http_reply *api_timeline(struct http_req *req);
struct http_reply *api_stores(struct http_req *req);
/* What the query of a request says of lines: problem, or NULL. Texts point into the request. */
struct http_reply *api_lines_filter(struct http_req *req, struct lines_filter *ret_filter);

/* ---- write.c: all under the lock ---- */

void write_fleet(const struct console *console, uint64_t now_ms, struct buf *out);
void write_line(const struct lines_line *line, struct buf *out);
void write_event(const struct fleet_event *event, struct buf *out);
void write_stores(const struct console *console, struct buf *out);
void write_trace_summary(const struct traces_trace *trace, struct buf *out);
void write_trace(const struct console *console, const struct traces_trace *trace, struct buf *out);

/* ---- events.c ---- */

/* 0 or -errno. */
int events_open(struct console *console, struct events **ret_events);
struct events *events_close(struct events *events); /* ends the thread; NULL is fine; returns NULL */
struct http_reply *events_get(struct http_req *req);

/* ---- interfaces.c ---- */

struct http_reply *interfaces_get(struct http_req *req);
struct http_reply *interfaces_document(struct http_req *req);

/* ---- files.c ---- */

struct http_reply *files_get(struct http_req *req);
