/* http -- an HTTP server on h2o: HTTP/1.1 and cleartext HTTP/2 (prior knowledge and Upgrade), several event loops,
 * routes with templates, bounded bodies, problem responses (RFC 9457), answers from other threads.
 *
 * A handler runs in a worker's thread and must not block. It returns the reply, or calls http_defer and returns NULL:
 * then any thread answers later, once. What a request points to is request memory: valid until the handler returns, or,
 * for the loop's thread alone, until the reply is sent. Replies own all their parts and may be made on any thread.
 *
 * The library does, for every route: 404 for an unknown path, 405 with Allow for a wrong method, HEAD for GET, OPTIONS
 * (also of "*"), 413 beyond max_body, 415 for a body with a Content-Encoding, 503 with Retry-After beyond the bound of
 * requests in flight, and where more than three quarters of max_connections have a request in progress and another one
 * sends its first; 504 when a deferred answer does not come within request_timeout_ms, trace context, a span, one
 * log line and the RED metrics a request (http_requests_total{method,path,status},
 * http_request_duration_seconds{method,path}; path is the route's template, "other" for unknown paths; method is
 * "other" for unknown ones; status 499: the client went before its answer came).
 *
 * Limits: 100 headers and 417,792 bytes of a request's line and headers (431); 100 requests at a time on an
 * HTTP/2 connection. A connection without a request is closed after idle_timeout_ms. A request that has begun to come
 * must be whole within receive_timeout_ms (give or take a tenth), over HTTP/2 too, else its connection is closed. A
 * response must be taken by the client within request_timeout_ms of its request (or of its deferred answer), else the
 * connection is closed; so is one on which a client gives up 1,000 requests more than it lets be answered.
 *
 * Memory: what clients make the server hold is bounded by max_memory, over all connections: the connections themselves,
 * requests that are not whole, the buffers that they are read into, heads and bodies of requests that are being
 * answered, replies that have not been taken, answers of HTTP/2 frames, and what the kernel holds of connections. Not
 * counted are HPACK's tables, which are bounded per connection. A large head over HTTP/2 is counted before it is
 * decoded; one that does not fit ends its connection (ENHANCE_YOUR_CALM). Buffers are counted when the process has
 * grown by a sixteenth of max_memory or has received as much, and once per receive_timeout_ms / 10. Beyond the bound,
 * requests get 503 with Retry-After, and so does a reply that does not fit (of GET, HEAD and OPTIONS; others have had
 * an effect, and are sent), and the connections that hold most are closed until a quarter of the bound is free.
 * http_memory_bytes{server}, http_memory_max_bytes{server}, http_memory_refused_total{server} and
 * http_memory_closed_total{server} count it; a log line says it, at most once in 10 s. What a single request can add at
 * a time is not covered: a reply that is being made, and one read of a socket.
 *
 * Replies may be written over time: http_stream.h, and http_events.h for server-sent events.
 *
 * Streams that HTTP/2 refuses are counted by http2_refused_total{server,frame,code} and logged, at most once in 10 s.
 *
 * What is not HTTP/1 by RFC 9112 is refused with 400, 431, 501 or 505 and closes the connection (decision 74 says what
 * is checked); so does a body of more than 64 KiB beyond the largest max_body: 413. These are problem responses,
 * counted and logged. A client that is still sending gets the answer, not a reset, for 2 s and 16 MiB. Over HTTP/2 such
 * a body gets 413 if its length was announced, else its stream is reset (REFUSED_STREAM); what is malformed ends the
 * connection by GOAWAY.
 */
#pragma once
#include "buf.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "names.h"
#include "span.h"
#include "trace.h"

#define HTTP_MAX_PARAMS  4
#define HTTP_MAX_HEADERS 12 /* of a reply */

struct budget;
struct http_auth;
struct http_cors;
struct net_listing;
struct http_req;
struct http_reply;
struct http_deferred;
struct http_server;

/* A request that has ended, for http_route's observe. */
struct http_observed {
    const struct http_route *route;
    const char *method; /* of the request: "HEAD" where a route of GET serves it */
    int status;
    uint64_t latency_ns;
};

struct http_route {
    const char *method; /* GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS; NULL ends a table */
    /* "/v1/notes/{id}": a parameter is one whole segment, not empty; 16 segments at most. Matched case-sensitively,
     * after percent-decoding of each segment; where several match, a literal segment wins over a parameter. */
    const char *path;
    struct http_reply *(*handler)(struct http_req *req);
    size_t max_body; /* bytes; beyond it 413. 0: the body of a GET or DELETE is ignored */
    /* Optional: called once a request that is recorded, in the loop's thread, when the response has been sent or given
     * up. */
    void (*observe)(void *state, const struct http_observed *observed);
    const char *accepts; /* of a PATCH: the media type that it takes, which OPTIONS says; may be NULL */
    /* Answered also when there are too many requests, or too little memory: for probes, whose replies are small. */
    bool always;
    /* Requests below 400 are neither counted, logged nor observed, and have no span: monitoring's, not users'. */
    bool unrecorded;
    bool open;              /* answered to clients without a token, too, where others need one */
    struct str description; /* what http_describe answers */
    /* Its replies carry secrets: they are never compressed. The length of what is compressed tells whoever can see it,
     * and choose a part of the text, what else is in there (BREACH). */
    bool secret;
};

/* A service's description of its HTTP API (OpenAPI 3.1), as an element of its table of routes: GET /openapi.json, for
 * which no client needs a token. json is the array that the build makes of src/NAME/openapi.json, NAME_openapi_json of
 * NAME_openapi.h. The build adds what this server does for every route (scripts/describe). */
#define HTTP_DESCRIPTION(json)                                                                                         \
    {                                                                                                                  \
        .method = "GET", .path = "/openapi.json", .handler = http_describe, .open = true, .description = {             \
            (const char *)(json),                                                                                      \
            json##_len                                                                                                 \
        }                                                                                                              \
    }
struct http_reply *http_describe(struct http_req *req);

/* ---- the request: loop's thread only ---- */

struct http_source;

struct http_req {
    const struct http_source *source; /* private */
    bool coded_tags;                  /* private: conditions may have tags of compressed replies */
    void *state;                      /* of the server's def */
    const struct http_route *route;
    struct loop *loop;                  /* the worker that runs it */
    struct str method, path, query;     /* path as sent, without the query; query without '?' */
    struct str params[HTTP_MAX_PARAMS]; /* percent-decoded, in the template's order; never contain NUL */
    struct str body;
    struct trace trace;
};

/* The value of a header by its lower-case name; STR_NULL where there is none, the first where there are several. Not to
 * be had: content-length, transfer-encoding, expect, upgrade. */
struct str http_header(const struct http_req *req, const char *name);
/* Calls each(arg, value) for every header of that name; stops at the first result that is not 0 and returns it. */
int http_each_header(const struct http_req *req, const char *name, int (*each)(void *arg, struct str value), void *arg);
/* The weight ("q") among the parameters of an item of Accept and the like: HTTP_MAX_WEIGHT where there is none, -1
 * where it is malformed. */
int http_weight(struct str parameters);
#define HTTP_MAX_WEIGHT 1000
/* The numeric address that the connection comes from: a proxy's, where there is one. */
struct str http_peer(const struct http_req *req);
/* A query parameter, percent- and plus-decoded into request memory. 1: found, 0: not there, -EINVAL: bad encoding (NUL
 * is one) or given twice. Only for parameters that may stand once. How others are encoded does not matter. wanted has
 * at most HTTP_MAX_QUERY_NAME bytes. */
#define HTTP_MAX_QUERY_NAME 85
int http_query(struct http_req *req, const char *wanted, struct str *ret_value);
/* Whether all of the query is well encoded: 0 or -EINVAL. */
int http_query_check(struct http_req *req);
/* Calls each(arg, name, value), decoded, for every parameter in order; stops at the first result that is not 0 and
 * returns it. -EINVAL for a bad encoding. */
int http_each_query(struct http_req *req, int (*each)(void *arg, struct str name, struct str value), void *arg);

/* Calls release(p) when the request's memory is freed: after the handler has returned, and the reply has been sent or
 * given up. */
void http_keep(struct http_req *req, void *p, void (*release)(void *p));

/* ---- replies: any thread ---- */

/* NULL is no reply, and means that wherever a reply is returned: of a handler, that it has deferred; of a function that
 * checks a request, that it has no objection. No constructor returns it: out of memory they return a reply of status
 * 500 with a body of its own, which http_set_header leaves as it is. Statuses are 200 to 599; a content_type must be
 * static. */
struct http_reply *http_reply_new(int status);                                             /* no body */
struct http_reply *http_reply_text(int status, const char *content_type, struct str body); /* copies body */
/* Does not copy the body, which outlives the server: a constant. */
struct http_reply *http_reply_static(int status, const char *content_type, struct str body);
struct http_reply *http_reply_take(int status, const char *content_type, struct buf *body); /* steals body's bytes */
struct json_t;
struct http_reply *http_reply_json(int status, struct json_t *take_json); /* compact; steals the reference; NULL: 500 */
/* application/problem+json: type about:blank, title (the status's reason), status, detail, trace_id where known. The
 * detail also goes into the request's log line. */
struct http_reply *http_problem(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The problem of an errno, by err's table; -ENOBUFS, -EAGAIN ... (503) carry Retry-After: 1. what may be NULL. */
struct http_reply *http_problem_errno(int err, const char *what);
/* name must be static and lower case; value is copied; one with a control character (CR, LF, ...) is not set. Returns
 * reply; out of memory (or beyond 64 KiB of values) reply is freed and one of status 500 returned. More than
 * HTTP_MAX_HEADERS is a bug and asserts. */
struct http_reply *http_set_header(struct http_reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int http_reply_status(const struct http_reply *reply);
/* It is the one that stands for want of memory: for whoever makes a reply before what it speaks of. */
bool http_reply_failed(const struct http_reply *reply);
/* Valid as long as the reply. A problem has a body once it has been sent, or returned by http_try. */
struct str http_reply_body(const struct http_reply *reply);
struct str http_reply_header(const struct http_reply *reply, const char *name); /* lower case; STR_NULL: none */
struct http_reply *http_reply_free(struct http_reply *reply); /* for one that was not sent; returns NULL */

/* Answer later: from any thread, exactly once, also when the client has gone or the server has been closed (the reply
 * is then dropped). The handler must return NULL after it. NULL out of memory (return a reply then). */
struct http_deferred *http_defer(struct http_req *req);
void http_answer(struct http_deferred *take_deferred, struct http_reply *take_reply); /* not NULL */
/* Has gone(arg) called when nobody waits for the answer any more: the client has gone, or the request has been answered
 * otherwise (504, a closing server). In the loop's thread, at most once, and not after http_answer has been called in
 * that thread; gone may call it. To be set by the handler, once, and only where the loop's thread answers: arg would
 * have to outlive another thread's http_answer. Of a client of HTTP/1 it is noticed within receive_timeout_ms / 10; one
 * that closes only its sending side counts as gone. */
void http_on_gone(struct http_deferred *deferred, void (*gone)(void *arg), void *arg);
/* Of the deferred request; valid until http_answer. */
const struct trace *http_deferred_trace(const struct http_deferred *deferred);
uint64_t http_deferred_deadline_ns(const struct http_deferred *deferred); /* monotonic: no use answering later */
struct loop *http_deferred_loop(const struct http_deferred *deferred);

/* ---- the server ---- */

struct http_server_def {
    const char *name; /* "http", "admin": in threads' names, log and metrics */
    const struct http_route *routes;
    void *state;
    struct http_auth *auth;  /* who may call the routes; outlives the server; NULL: everybody */
    struct log *log;         /* may be NULL: no request lines */
    struct metrics *metrics; /* may be NULL */
    struct span_sink *spans; /* of spans; may be NULL */
    /* Replies of 1 KiB to 1 MiB are compressed by gzip for clients that accept it: text, JSON and XML by their content
     * type. Not compressed are routes with .secret, replies with Set-Cookie, Content-Encoding or Cache-Control:
     * no-transform, requests with a Cookie, and streams. Entity tags of compressed replies end in -gzip, and handlers
     * see conditions without that; replies that may be compressed have Vary: Accept-Encoding. */
    bool compress;
    const struct http_cors *cors; /* outlives the server; NULL: pages of other origins read nothing */
    bool unrecorded;  /* requests are neither counted nor logged, and have no span; what is said of memory is */
    unsigned workers; /* >= 1 */
    /* Over all workers; beyond it the longest idle one yields, see acceptor.h; 0: 10,000. At most one for 8 KiB of
     * max_memory. */
    unsigned max_connections;
    /* The bound of connections per client address, and the trusted proxies: these are exempt, and log lines and spans
     * take X-Forwarded-For and X-Forwarded-Proto from them. Outlives the server; NULL: no bound, no proxies. */
    const struct acceptor_address_bound *address_bound;
    /* Per worker: closed connections whose clients still send, or have not taken all, beyond max_connections; 0: 64. */
    unsigned max_lingering;
    /* Requests over all workers; beyond it 503; 0: 10,000. At most one for 8 KiB of max_memory. When three quarters are
     * in flight, a connection that has an equal share of all gets 503 too. */
    unsigned max_in_flight;
    /* Of them, replies that are streams, see http_stream.h; 0: half of max_in_flight. When three quarters are open, a
     * connection that has an equal share of all gets no more. */
    unsigned max_streams;
    size_t max_bodies;           /* bytes of the bodies of those requests; beyond it 503; 0: 64 MiB */
    size_t max_memory;           /* bytes that clients may make the server hold, see above; 0: no bound */
    struct budget *whole;        /* of which these bytes are a part; may be NULL */
    unsigned request_timeout_ms; /* of a deferred answer; 0: 30,000 */
    unsigned idle_timeout_ms;    /* of a connection without a request; 0: 620,000, more than load balancers have */
    unsigned receive_timeout_ms; /* of a half-sent request, and of an idle connection in a drain; 0: 10,000 */
};

/* Takes a listening socket (closes it in the end, also on failure). Workers run but do not accept yet. 0 or -errno;
 * -EINVAL: the routes are not as a table must be (a method or a path that is not allowed, one route twice). */
int http_server_open(int take_listen_fd, const struct http_server_def *def, struct http_server **ret_server);
void http_server_start(struct http_server *server); /* begin to accept */
/* From here on every HTTP/1 response carries Connection: close; still accepting. */
void http_server_discourage(struct http_server *server);
/* Stops accepting without losing a connection that is in the backlog; GOAWAY on HTTP/2; idle HTTP/1 connections may
 * send one more request. Does not wait. */
void http_server_drain(struct http_server *server);
/* Waits until no connection is left or deadline (monotonic ns). 0; connections that are merely idle at the deadline are
 * no error. -ETIMEDOUT with requests still in flight. */
int http_server_wait(struct http_server *server, uint64_t deadline_ns);
struct http_server *
http_server_close(struct http_server *server); /* drops what is left, ends the workers; returns NULL */
unsigned http_server_workers(const struct http_server *server);
struct loop *http_server_loop(const struct http_server *server, unsigned index); /* of a worker; ends with the server */
/* Lists a worker's requests in flight, the oldest first, then streams, and its connections, at most max of each. In its
 * thread. */
void http_server_list(struct http_server *server, unsigned index, unsigned max, const struct net_listing *listing);
uint64_t http_server_last_turn_ns(const struct http_server *server); /* the oldest of its loops': liveness */
