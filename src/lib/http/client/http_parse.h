/* http_parse -- the responses of HTTP/1 (RFC 9112): a head, and the chunked transfer coding. All state is the caller's;
 * no memory is allocated.
 */
#pragma once
#include "http_client.h"
#include "include/names.h"
#include <sys/types.h>

#define HTTP_PARSE_MAX_FIELDS 64

struct http_head {
    int minor_version, status;
    unsigned field_count;
    struct http_field fields[HTTP_PARSE_MAX_FIELDS]; /* they point into the bytes */
};

/* Parses a response's head at the beginning of bytes, of which the first seen were there at an earlier call that
 * returned -EAGAIN. Returns its length with the empty line, -EAGAIN: not complete yet, -EBADMSG: not HTTP/1, a folded
 * line, or more fields than there is room for. */
ssize_t http_parse_response(struct str bytes, size_t seen, struct http_head *ret_head);

/* The next field of a head that http_parse_response has accepted; *position begins at 0. False: there are no more. */
bool http_parse_next_field(struct str head, size_t *position, struct http_field *ret_field);

bool http_is_token(struct str s); /* a method or a field's name (RFC 9110, 5.6.2) */
bool http_is_text(struct str s);  /* no control character but a tab: may be a field's value */

/* The decoder of a chunked body; begin with zeroes. Lines end with CR LF: a line feed alone, which a head may have, is
 * refused, because a proxy that takes it for an end of line sees other chunks than one that does not. */
struct http_chunks {
    enum {
        HTTP_CHUNK_SIZE,      /* its hexadecimal digits */
        HTTP_CHUNK_EXTENSION, /* what follows them, up to the end of the line */
        HTTP_CHUNK_SIZE_LF,
        HTTP_CHUNK_DATA,
        HTTP_CHUNK_DATA_CR, /* the end of line after the data */
        HTTP_CHUNK_DATA_LF,
        HTTP_CHUNK_TRAILER, /* the beginning of a line of the trailer, or of the empty line that ends the body */
        HTTP_CHUNK_TRAILER_LINE,
        HTTP_CHUNK_TRAILER_LF,
        HTTP_CHUNK_LAST_LF, /* of the empty line */
    } state;
    unsigned digits;
    size_t left; /* bytes of this chunk */
};

/* Decodes the next *len bytes in place; *len becomes the number of decoded ones. Returns how many bytes follow the
 * body's end (they are moved behind the decoded ones), -EAGAIN: the body goes on, -EBADMSG: malformed. */
ssize_t http_chunks_decode(struct http_chunks *chunks, char *bytes, size_t *len);
