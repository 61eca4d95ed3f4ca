/* http_client -- HTTP/1.1 calls from a worker's thread, spread over all addresses of a name.
 *
 * The target's host is resolved again and again by a thread of the client's own (every resolve_interval_ms, and at once
 * after a failed connection, but not more often than every 100 ms), so that a headless Service's scaling is followed.
 * An address that has gone is used no more; when resolving fails, the addresses known so far are kept. Numeric hosts
 * are resolved at once and need no thread.
 *
 * Calls go round robin over the addresses there are, each worker and process beginning elsewhere, on kept-alive
 * connections that each belong to one worker and are retired after max_connection_age_ms. An address that could not be
 * connected to, or that closes its connections (as a server does before it ends), is left out for a second, as long as
 * there are others, and the name is resolved again; a call tries each address once and, where none can be connected to,
 * resolves once more before it fails. A call whose connection breaks before any byte of an answer
 * has come is sent once more, on a new connection: only GET is offered, so that is always right.
 *
 * Sent along: Host, traceparent, accept: application/json, user-agent: slipway/VERSION. An answer's head is bounded at
 * 16 KiB and 64 headers; 1xx answers are skipped; bodies may be given by content-length, chunked or up to the close.
 *
 * Threads: calls belong to the worker whose loop they were begun in. Lifetime: http_client_free only after the loops
 * that used it have been closed; a loop that ends ends its calls with -ECANCELED. Memory: an answer is read into memory
 * of the connection, up to max_body and a read's worth beyond it.
 */
#pragma once
#include "buf.h"
#include "loop.h"
#include "metrics.h"
#include "names.h"
#include "trace.h"

struct http_client;
struct http_call;

struct http_client_def {
    /* Of the peer, for metrics: http_client_requests_total{peer,status} (status is the errno's name where there was no
     * answer), http_client_request_duration_seconds{peer}, http_client_connections{peer}, http_client_addresses{peer}.
     */
    const char *name;
    /* "host:port" or "[::1]:port"; several, separated by commas (64 at most): all their addresses together (256 at
     * most) are one set. */
    const char *target;
    struct metrics *metrics;        /* may be NULL */
    unsigned workers;               /* loops of index 0 to workers - 1 may call it, one of each index */
    unsigned max_in_flight;         /* a worker; beyond it -ENOBUFS; 0: 1,000 */
    unsigned max_connections;       /* of all workers; 0: a quarter of the file descriptors that the process may have */
    size_t max_body;                /* bytes of an answer's body; 0: 1 MiB */
    unsigned resolve_interval_ms;   /* 0: 2,000 */
    unsigned max_connection_age_ms; /* 0: 10,000 */
    unsigned connect_timeout_ms;    /* of one address, then the next is tried; 0: 1,000 */
};

int http_client_open(const struct http_client_def *def, struct http_client **ret_client); /* -EINVAL: target's form */
/* For options: NULL, or what a target must be. */
const char *http_client_check_target(const char *target);
struct http_client *http_client_free(struct http_client *client);

/* err 0: status, body (valid during the call), else -ETIMEDOUT (deadline), -ECONNREFUSED (no address could be connected
 * to or resolved), -ECONNRESET (broken in the middle), -EMSGSIZE (body too large), -EBADMSG (not HTTP, or its head is
 * too large), -ECANCELED (the loop ends). */
typedef void http_client_done(void *arg, int err, int status, struct str body);

/* GET path. Loop's thread; done is called there too, exactly once, never from within this function, unless the call is
 * cancelled. path with the query, as it is to be sent: -EINVAL where it does not begin with '/' or holds spaces or
 * control characters. trace may be NULL. Returns 0, or -EINVAL, -ENOBUFS, -ENOMEM, -ECANCELED (done is not called). */
int http_client_get(struct http_client *client, struct loop *loop, struct str path, const struct trace *trace,
                    uint64_t timeout_ms, http_client_done *done, void *arg, struct http_call **ret_call);
void http_call_cancel(struct http_call *call); /* done will not be called; loop's thread, before done */
