#include "hex.h"
#include "http_parse.h"
#include <assert.h>
#include <errno.h>

/* ---- heads ---- */

static const char version[] = "HTTP/1.";

/* The length of the head with its empty line; 0: it is not complete. */
static size_t head_len(struct str bytes, size_t seen)
{
    const char *end = bytes.s + bytes.len, *at = bytes.s + (seen > 2 ? seen - 2 : 0);

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (at < end && *at == '\n')
            return (size_t)(at + 1 - bytes.s);
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - bytes.s);
    }
    return 0;
}

/* Takes a line, without its end, off rest. */
static struct str take_line(struct str *rest)
{
    const char *end = memchr(rest->s, '\n', rest->len);
    struct str line = {rest->s, (size_t)(end - rest->s)};

    *rest = (struct str){end + 1, rest->len - line.len - 1};
    if (line.len > 0 && line.s[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK"; the reason, and the space before it, may be missing. */
static int parse_status_line(struct str line, struct http_head *head)
{
    const size_t at = sizeof(version) - 1;

    if (line.len < at + 5 || memcmp(line.s, version, at) != 0 || !is_digit(line.s[at]) || line.s[at + 1] != ' ')
        return -EBADMSG;
    head->minor_version = line.s[at] - '0';
    head->status = 0;
    for (size_t i = at + 2; i < at + 5; i++) {
        if (!is_digit(line.s[i]))
            return -EBADMSG;
        head->status = head->status * 10 + line.s[i] - '0';
    }
    return line.len == at + 5 || line.s[at + 5] == ' ' ? 0 : -EBADMSG;
}

/* A character of a token, as RFC 9110 5.6.2 has it. */
static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* No control character. */
static bool is_text(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token(s.s[i]))
            return false;
    return s.len > 0;
}

bool http_is_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_text(s.s[i]))
            return false;
    return true;
}

static int parse_field(struct str line, struct http_field *ret_field)
{
    size_t len = 0;

    while (len < line.len && is_token(line.s[len]))
        len++;
    if (len == 0 || len == line.len || line.s[len] != ':')
        return -EBADMSG;
    ret_field->name = (struct str){line.s, len};
    ret_field->value = str_trim((struct str){line.s + len + 1, line.len - len - 1});
    return http_is_text(ret_field->value) ? 0 : -EBADMSG;
}

ssize_t http_parse_response(struct str bytes, size_t seen, struct http_head *ret_head)
{
    size_t len, known = bytes.len < sizeof(version) - 1 ? bytes.len : sizeof(version) - 1;
    struct str rest, line;

    if (bytes.len > 0 && memcmp(bytes.s, version, known) != 0)
        return -EBADMSG;
    if (bytes.len == 0 || (len = head_len(bytes, seen)) == 0)
        return -EAGAIN;
    rest = (struct str){bytes.s, len};
    if (parse_status_line(take_line(&rest), ret_head) < 0)
        return -EBADMSG;
    ret_head->field_count = 0;
    while ((line = take_line(&rest)).len > 0)
        if (ret_head->field_count == HTTP_PARSE_MAX_FIELDS ||
            parse_field(line, &ret_head->fields[ret_head->field_count++]) < 0)
            return -EBADMSG;
    return (ssize_t)len;
}

bool http_parse_next_field(struct str head, size_t *position, struct http_field *ret_field)
{
    struct str rest = {head.s + *position, head.len - *position}, line;

    assert(*position < head.len);
    if (*position == 0)
        take_line(&rest);
    line = take_line(&rest);
    if (line.len == 0 || parse_field(line, ret_field) < 0)
        return false;
    *position = (size_t)(rest.s - head.s);
    return true;
}

/* ---- the chunked coding ---- */

/* 1: it was taken, 0: look at it again in another state, or -EBADMSG. */
static int take_digit(struct http_chunks *chunks, char c)
{
    int value = hex_digit(c);

    if (value < 0) {
        if (chunks->digits == 0 || (c != '\r' && c != ';' && !is_blank(c)))
            return -EBADMSG;
        chunks->state = HTTP_CHUNK_EXTENSION;
        return 0;
    }
    if (chunks->digits++ == 2 * sizeof(chunks->left))
        return -EBADMSG;
    chunks->left = chunks->left * 16 + (size_t)value;
    return 1;
}

/* Text up to a CR, after which the state is at_cr. */
static int take_text(struct http_chunks *chunks, char c, int at_cr)
{
    if (c == '\r')
        chunks->state = at_cr;
    return c == '\r' || is_text(c) ? 1 : -EBADMSG;
}

static int take_only(struct http_chunks *chunks, char c, char wanted, int next)
{
    chunks->state = next;
    return c == wanted ? 1 : -EBADMSG;
}

/* One byte of the framing: 1: it was taken, 0: look at it again in another state, 2: it ends the body, or -EBADMSG. */
static int take_byte(struct http_chunks *chunks, char c)
{
    switch (chunks->state) {
    case HTTP_CHUNK_SIZE:
        return take_digit(chunks, c);
    case HTTP_CHUNK_EXTENSION:
        return take_text(chunks, c, HTTP_CHUNK_SIZE_LF);
    case HTTP_CHUNK_SIZE_LF:
        return take_only(chunks, c, '\n', chunks->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER);
    case HTTP_CHUNK_DATA_CR:
        return take_only(chunks, c, '\r', HTTP_CHUNK_DATA_LF);
    case HTTP_CHUNK_DATA_LF:
        chunks->digits = 0;
        return take_only(chunks, c, '\n', HTTP_CHUNK_SIZE);
    case HTTP_CHUNK_TRAILER:
        chunks->state = HTTP_CHUNK_TRAILER_LINE;
        return take_text(chunks, c, HTTP_CHUNK_LAST_LF);
    case HTTP_CHUNK_TRAILER_LINE:
        return take_text(chunks, c, HTTP_CHUNK_TRAILER_LF);
    case HTTP_CHUNK_TRAILER_LF:
        return take_only(chunks, c, '\n', HTTP_CHUNK_TRAILER);
    case HTTP_CHUNK_LAST_LF:
        return c == '\n' ? 2 : -EBADMSG;
    case HTTP_CHUNK_DATA:
        break;
    }
    return -EBADMSG; /* data are not taken byte by byte */
}

ssize_t http_chunks_decode(struct http_chunks *chunks, char *bytes, size_t *len)
{
    size_t from = 0, to = 0, some;
    int taken = 1;

    while (from < *len && taken != 2) {
        if (chunks->state == HTTP_CHUNK_DATA) {
            some = chunks->left < *len - from ? chunks->left : *len - from;
            memmove(bytes + to, bytes + from, some);
            from += some;
            to += some;
            chunks->left -= some;
            if (chunks->left == 0)
                chunks->state = HTTP_CHUNK_DATA_CR;
            continue;
        }
        if ((taken = take_byte(chunks, bytes[from])) < 0)
            return taken;
        from += taken > 0;
    }
    some = *len - from;
    memmove(bytes + to, bytes + from, some);
    *len = to;
    return taken == 2 ? (ssize_t)some : -EAGAIN;
}
