/* http_client -- HTTP/1.1 calls from a worker's thread, spread over all addresses of a name.
 *
 * Addresses. A thread of the client resolves the target's host every resolve_interval_ms, and at once after a failed
 * connection, but not more often than every 100 ms. So the client follows the scaling of a headless Service. An address
 * that the name no longer has is no longer used. While resolving fails, the known addresses are kept. Numeric hosts are
 * resolved once and need no thread.
 *
 * Calls go round robin over the addresses; each worker and process begins at another one. Each worker has its own
 * kept-alive connections, which are closed after max_connection_age_ms. An address that refuses connections, or that
 * closes them (as a server does before it ends), is left out for a second, as long as there are others, and the name is
 * resolved again. A call tries each address once; if it can connect to none, it resolves the name once more before it
 * fails.
 *
 * Retries. No address that could not be connected to has seen the request, so that any call may go on to the next. A
 * call whose connection breaks after that is sent once more, on a new connection, only if (a) no byte of a response has
 * come, not even of a 1xx response, and (b) its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) or it has
 * an idempotency key. Otherwise it fails with -ECONNRESET, and the caller does not know whether the peer has done it.
 * Responses, 503 included, are never retried. Retries are throttled: a call that breaks takes one of 1,000 tokens, one
 * that is answered gives a tenth back, and nothing is retried while half or more are gone.
 *
 * Responses. The heads of a response and of the 1xx responses before it, which are skipped, have together at most 16
 * KiB, and each head at most 64 fields. A body is framed by content-length, by the chunked coding, or by the end of the
 * connection; HEAD, 204 and 304 have none. -EBADMSG: two different lengths, a length and chunks, chunks twice or in
 * HTTP/1.0, another coding, a malformed head or chunk.
 *
 * Threads: calls belong to the worker whose loop they were begun in. Lifetime: http_client_free only after the loops
 * that used it have been closed; a loop that ends ends its calls with -ECANCELED.
 *
 * Memory: requests are copied and responses are read into memory. max_memory bounds all of them together. A response of
 * more than 16 KiB is charged: by its content-length before its body is read, else as it grows, after each read; what a
 * worker reads of one socket at a time (at most what the kernel has buffered of it) comes on top.
 */
#pragma once
#include "buf.h"
#include "loop.h"
#include "metrics.h"
#include "names.h"
#include "span.h"
#include "trace.h"

struct budget;
struct http_client;
struct http_call;

struct http_client_def {
    /* Of the peer, for metrics: http_client_requests_total{peer,status} (status is the errno's name where there was no
     * response), http_client_request_duration_seconds{peer}, http_client_connections{peer},
     * http_client_addresses{peer}. */
    const char *name;
    /* "host:port" or "[::1]:port"; several, separated by commas (64 at most): all their addresses together (256 at
     * most) are one set. */
    const char *target;
    struct metrics *metrics;        /* may be NULL */
    struct span_sink *spans;        /* of calls with a trace; may be NULL */
    unsigned workers;               /* loops of index 0 to workers - 1 may call it, one of each index */
    unsigned max_in_flight;         /* per worker; beyond it -ENOBUFS; 0: 1,000 */
    unsigned max_connections;       /* of all workers; 0: a quarter of the file descriptors that the process may have */
    size_t max_request_body;        /* bytes; 0: 1 MiB */
    size_t max_body;                /* bytes of a response's body; 0: 1 MiB */
    struct budget *whole;           /* of which max_memory is a part; may be NULL */
    size_t max_memory;              /* bytes of requests and responses of all workers; beyond it -ENOBUFS; 0: no
                                     * bound */
    unsigned resolve_interval_ms;   /* 0: 2,000 */
    unsigned max_connection_age_ms; /* 0: 10,000 */
    unsigned connect_timeout_ms;    /* of one address, then the next is tried; 0: 1,000 */
};

int http_client_open(const struct http_client_def *def, struct http_client **ret_client); /* -EINVAL: target's form */
/* For options: NULL, or what a target must be. */
const char *http_client_check_target(const char *target);
struct http_client *http_client_free(struct http_client *client);

struct http_field {
    struct str name, value; /* of a response: the value without white space around it */
};

/* What is to be sent; all of it is copied. Only path and timeout_ms are required. */
struct http_client_request {
    struct str method; /* empty: GET. Any token but CONNECT; methods are case-sensitive */
    struct str path;   /* with the query, as it is to be sent: begins with '/', no spaces or control characters */
    /* accept (by default application/json) and user-agent (by default slipway/VERSION) replace the defaults. Not those
     * that the client writes: host, content-length, traceparent, tracestate, baggage, idempotency-key, and the
     * fields of a connection (connection, transfer-encoding, expect, upgrade, ...). */
    const struct http_field *headers;
    unsigned header_count;
    struct str body;            /* without bytes: POST, PUT and PATCH are sent with content-length: 0 */
    struct str idempotency_key; /* 1 to 255 visible ASCII characters: sent as Idempotency-Key, which the peer must know.
                                 * It makes a call of any method retryable */
    const struct trace *trace;  /* on whose behalf: traceparent names the call's span, or where there is none, the
                                 * trace's; tracestate and baggage go along. NULL: none is sent */
    uint64_t timeout_ms;        /* of the whole call, all attempts together */
    size_t max_body;            /* bytes of this response's body; 0: the client's max_body */
};

/* Valid during the call of done. */
struct http_client_response {
    int status; /* 200 to 599 */
    struct str body;
    struct str head; /* private: for the functions below */
};

/* The value of the first header of that name (in any case); STR_NULL: there is none. */
struct str http_client_header(const struct http_client_response *response, struct str name);
/* All headers, in their order: *position begins at 0 and is the function's own. False: there are no more. */
bool http_client_next_header(const struct http_client_response *response, size_t *position,
                             struct http_field *ret_field);

/* err 0: response. Else response is NULL and err is -ETIMEDOUT (deadline), -ECONNREFUSED (no address could be connected
 * to or resolved), -ECONNRESET (the connection broke), -EMSGSIZE (the body is too large), -ENOBUFS (max_memory),
 * -EBADMSG (not HTTP, or the head is too large), -ECANCELED (the loop ends). */
typedef void http_client_done(void *arg, int err, const struct http_client_response *response);

/* Begins a call. Loop's thread; done is called there too, exactly once, never from within this function, unless the
 * call is cancelled. Returns 0, or (and done is not called) -EINVAL (a malformed or reserved part of the request),
 * -EMSGSIZE (a head of more than 16 KiB, or more body than max_request_body), -ENOBUFS (max_in_flight or max_memory),
 * -ENOMEM, -ECANCELED. */
int http_client_call(struct http_client *client, struct loop *loop, const struct http_client_request *request,
                     http_client_done *done, void *arg, struct http_call **ret_call);
void http_call_cancel(struct http_call *call); /* done will not be called; loop's thread, before done */
