/* http_cors -- which web pages of other origins may read what a server answers (Cross-Origin Resource Sharing, the
 * Fetch standard).
 *
 * CORS makes browsers less strict; it protects nothing. A request of an origin that is not listed is answered like any
 * other, without the headers that would let its page read the answer.
 *
 * For a listed origin: Access-Control-Allow-Origin on every reply, all headers of replies exposed, preflight requests
 * (OPTIONS with Access-Control-Request-Method) answered for every path with the path's methods and whatever headers are
 * asked for, before any token is asked for. Vary: Origin unless every origin is allowed. Refusals of malformed HTTP/1
 * have none of these headers.
 *
 * Credentials are cookies, client certificates and passwords that the browser adds by itself. They are off by default;
 * a page sends a bearer token without them.
 */
#pragma once
#include "buf.h"
#include "names.h"
#include <stdbool.h>

#define HTTP_CORS_MAX_ORIGINS 64

struct http_cors {
    struct str origins[HTTP_CORS_MAX_ORIGINS]; /* of the text that was parsed */
    unsigned count;                            /* 0: no origin */
    bool any;                                  /* "*" */
    bool credentials; /* pages may send the browser's credentials; not with any, which would let every page do so */
};

/* "https://example.com, http://localhost:3000", or "*"; separated by commas; spaces are ignored; empty: none. text
 * outlives what is parsed. An origin is a scheme, a host and a port where it is not the scheme's, in lower case as
 * browsers send it; "null", which stands for many, is not taken. 0 or -EINVAL. */
int http_cors_parse(const char *text, struct http_cors *ret_cors);
/* For options: NULL, or what a list must be. */
const char *http_cors_check(const char *text);
