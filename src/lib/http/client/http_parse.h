/* http_parse -- the responses of HTTP/1 (RFC 9112): a head, and the chunked transfer coding. No state but the caller's,
 * no memory.
 */
#pragma once
#include "buf.h"
#include "include/names.h"
#include <sys/types.h>

#define HTTP_PARSE_MAX_FIELDS 64

struct http_field {
    struct str name, value; /* the value without white space around it */
};

struct http_head {
    int minor_version, status;
    unsigned field_count;
    struct http_field fields[HTTP_PARSE_MAX_FIELDS]; /* they point into the bytes */
};

/* Parses a response's head at the beginning of bytes, of which the first seen were there at an earlier call that
 * returned -EAGAIN. Returns its length with the empty line, -EAGAIN: not complete yet, -EBADMSG: not HTTP/1, a folded
 * line, or more fields than there is room for. */
ssize_t http_parse_response(struct str bytes, size_t seen, struct http_head *ret_head);

/* The decoder of a chunked body; begin with zeroes. */
struct http_chunks {
    enum {
        HTTP_CHUNK_SIZE,      /* its hexadecimal digits */
        HTTP_CHUNK_EXTENSION, /* what follows them, up to the end of the line */
        HTTP_CHUNK_DATA,
        HTTP_CHUNK_DATA_END, /* the end of line after the data, ... */
        HTTP_CHUNK_DATA_LF,  /* ... of which its CR has come */
        HTTP_CHUNK_TRAILER,  /* the beginning of a line of the trailer, or of the empty line that ends the body */
        HTTP_CHUNK_TRAILER_LINE,
        HTTP_CHUNK_LAST, /* the LF of the empty line */
    } state;
    unsigned digits;
    size_t left; /* bytes of this chunk */
};

/* Decodes the next *len bytes in place; *len becomes the number of decoded ones. Returns how many bytes follow the
 * body's end (they are moved behind the decoded ones), -EAGAIN: the body goes on, -EBADMSG: malformed. */
ssize_t http_chunks_decode(struct http_chunks *chunks, char *bytes, size_t *len);
