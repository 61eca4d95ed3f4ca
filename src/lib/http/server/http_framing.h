/* http_framing -- checks the framing of HTTP/1 requests (RFC 9112) in the bytes of a connection.
 *
 * A pure function over bytes and a state: no memory, no time, no input or output. Bytes may come in pieces of any size;
 * the result does not depend on where they are cut. Requests follow each other (pipelining). What is checked:
 *
 * Request line: method SP target SP HTTP/D.D CRLF; a major version other than 1 is refused with 505.
 *
 * Header lines: name ":" value CRLF. Names are tokens, values have no control characters, no line begins with white
 * space (obs-fold), no line ends with a bare LF. At most 100 lines and HTTP_FRAMING_MAX_HEAD bytes: beyond them 431.
 *
 * Host: well-formed, at most once; exactly once in HTTP/1.1.
 *
 * Content-Length: digits, below 2^63; where there are several, they are equal.
 *
 * Transfer-Encoding: not in HTTP/1.0, not with Content-Length; "chunked" alone (501 for an unknown coding before it).
 *
 * Chunks: 1 to 16 hexadecimal digits, below 2^63; extensions by the grammar; CRLF after each part; at most
 * HTTP_FRAMING_MAX_EXTRA bytes of extensions and trailer of a request.
 *
 * One empty line before a request line is allowed. HTTP/2's preface ends the checking: at the beginning of the
 * connection, or after a request that asks for the upgrade to h2c.
 */
#pragma once
#include "include/names.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FRAMING_MAX_FIELDS 100
#define HTTP_FRAMING_MAX_HEAD   417792 /* bytes, with the empty line */
#define HTTP_FRAMING_MAX_EXTRA  16384

/* All zero is a connection's beginning. Private, but for status and reason. */
struct http_framing {
    int status; /* 0, or what a request is to be refused with: nothing after that is looked at */
    const char *reason;
    uint64_t left;              /* bytes of the body or chunk that are still to come */
    uint64_t length;            /* the number that is being read, or a Content-Length */
    uint32_t counted;           /* bytes of the head, later of extensions and trailer */
    uint32_t value_len, blanks; /* of a value that is looked at: its bytes so far, and the white space at their end */
    uint8_t state, field, part, at, escaped, fields, word_len, codings;
    uint8_t major, minor;
    bool has_host, has_length, has_codings, wants_h2c, in_body, is_begun;
    char word[18]; /* the first bytes of a name or token, in lower case */
};

/* Looks at the bytes from seen to len: those before were looked at already, and may be consumed. White space behind the
 * value of a field named above, and of Expect, is moved to before the value, where h2o 2.2.5 takes it, too. Returns how
 * many of the bytes belong to requests that are well-formed so far: len, or, where status is set, those before the
 * refused request's first byte (seen if that came earlier). */
size_t http_framing_check(struct http_framing *framing, char *bytes, size_t seen, size_t len);
/* Whether HTTP/2's preface has been seen: what follows is not HTTP/1. */
bool http_framing_is_http2(const struct http_framing *framing);
/* Whether the bytes so far end with a whole request, or none. */
bool http_framing_is_idle(const struct http_framing *framing);
