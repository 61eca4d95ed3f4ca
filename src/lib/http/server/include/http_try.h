/* http_try -- runs the handler of a request that was made by hand, without a server or a socket: for unit tests.
 *
 * It finds the route as a server does (404, 405, OPTIONS, HEAD, 413 and badly encoded paths included), waits for a
 * deferred answer and returns the reply. There is no loop: a handler that uses req->loop cannot be run this way. Any
 * thread.
 */
#pragma once
#include "http.h"
#include "names.h"

struct http_try_header {
    const char *name, *value; /* the name in lower case */
};

struct http_try {
    const char *method, *target;           /* "GET", "/v1/notes/a?limit=3" */
    const struct http_try_header *headers; /* ended by a NULL name; may be NULL */
    struct str body;
};

/* The reply, to be given to http_reply_free. A problem's body is made. */
struct http_reply *http_try(const struct http_route *routes, void *state, const struct http_try *request);
