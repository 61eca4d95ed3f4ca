/* http_client -- HTTP/1.1 calls from a worker's thread, spread over all addresses of a name.
 *
 * The target's host is resolved again and again by a thread of the client's own (every resolve_interval_ms, and at once
 * after a failed connection), so that a headless Service's scaling is followed; calls go round robin over the addresses
 * there are, on kept-alive connections that each belong to one worker and are retired after max_connection_age_ms.
 * A call on a kept connection that the server had closed before any byte of an answer came is sent once more elsewhere;
 * only GET and HEAD are offered, so that is always right.
 * http_client_free only after the loops that used it have been closed.
 */
#pragma once
#include "buf.h"
#include "loop.h"
#include "metrics.h"
#include "trace.h"

struct http_client;
struct http_call;

struct http_client_def {
    const char *name;               /* of the peer, for metrics: http_client_requests_total{peer,status} ... */
    const char *target;             /* "host:port", "[::1]:port" */
    struct metrics *metrics;        /* may be NULL */
    unsigned workers;               /* how many loops may call it */
    unsigned max_in_flight;         /* a worker; beyond it -ENOBUFS; 0: 1,000 */
    size_t max_body;                /* bytes of an answer's body; 0: 1 MiB */
    unsigned resolve_interval_ms;   /* 0: 2,000 */
    unsigned max_connection_age_ms; /* 0: 10,000 */
    unsigned connect_timeout_ms;    /* of one address, then the next is tried; 0: 1,000 */
};

int http_client_open(const struct http_client_def *def, struct http_client **ret_client); /* -EINVAL: target's form */
struct http_client *http_client_free(struct http_client *client);

/* err 0: status, body (valid during the call), else -ETIMEDOUT (deadline), -ECONNREFUSED (no address could be connected
 * to or resolved), -ECONNRESET (broken in the middle), -EMSGSIZE (body too large), -EBADMSG (not HTTP). */
typedef void http_client_done(void *arg, int err, int status, struct str body);

/* GET path. Loop's thread; done is called there too, exactly once, never from within this function, unless the call is
 * cancelled. trace may be NULL. Returns 0, or -ENOBUFS / -ENOMEM (done is not called). */
int http_client_get(struct http_client *client, struct loop *loop, struct str path, const struct trace *trace,
                    uint64_t timeout_ms, http_client_done *done, void *arg, struct http_call **ret_call);
void http_call_cancel(struct http_call *call); /* done will not be called; loop's thread, before done */
