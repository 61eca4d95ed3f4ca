/* buf -- borrowed strings with a length, and byte buffers that grow up to a bound.
 *
 * Threads: none; a buffer belongs to one thread at a time.
 */
#pragma once
#include "names.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes, not necessarily terminated. Who lends them says for how long. */
struct str {
    const char *s;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NULL     ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(str) (int)(str).len, (str).s

static inline struct str str_of(const char *s)
{
    return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.s, b.s, a.len) == 0);
}

/* ASCII case-insensitive. */
bool str_caseeq(struct str a, struct str b);
struct str str_trim(struct str s); /* without the spaces and tabs at both ends */
/* Takes the first item off a list: what comes before the separator, or all of it. False: no item is left. An empty list
 * has one empty item, STR_NULL has none. */
bool str_next(struct str *list, char separator, struct str *ret_item);
/* memcmp order, the shorter first where one begins the other. */
int str_cmp(struct str a, struct str b);
/* Decimal digits only, no sign. -EINVAL on anything else, -ERANGE beyond max. */
int str_to_u64(struct str s, uint64_t max, uint64_t *ret_value);
/* Writes the last count decimal digits of value, with leading zeros, and returns the position behind them. */
char *str_write_digits(char *to, uint64_t value, unsigned count);
/* The number of code points of valid UTF-8, or -EINVAL. Overlong forms, surrogates and what is beyond U+10FFFF are
 * invalid. */
int str_utf8_length(struct str s, size_t *ret_code_points);

/* A growable byte buffer. {0} is an empty one without a bound. Appending beyond max or out of memory sets failed and
 * appends nothing more, so that a chain of appends is checked once, at its end. */
struct buf {
    char *data;
    size_t len, capacity;
    size_t max; /* bytes; 0 means no bound but memory */
    bool failed;
};

void buf_release(struct buf *b);              /* frees the bytes; b is an empty buffer of the same bound afterwards */
char *buf_reserve(struct buf *b, size_t len); /* room for len more bytes, or NULL (then failed is set) */
static inline void buf_append(struct buf *b, const void *p, size_t len);
static inline void buf_append_str(struct buf *b, struct str s);
static inline void buf_append_cstr(struct buf *b, const char *s);
static inline void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
void buf_append_u64(struct buf *b, uint64_t value);
/* A JSON string with its quotes. Invalid UTF-8 becomes U+FFFD: the result is always valid JSON. */
void buf_append_json_string(struct buf *b, struct str s);
void buf_append_json_text(struct buf *b, struct str s); /* what is between the quotes */
/* 0 or, where an append has failed, -ENOMEM. */
int buf_error(const struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data, b->len};
}

/* Inline where there is room, so that a literal's length and its copy are the compiler's: a log line is some fifty of
 * these. */
void buf_append_slowly(struct buf *b, const void *p, size_t len);

static inline void buf_append(struct buf *b, const void *p, size_t len)
{
    if (len == 0 || b->failed || len > b->capacity - b->len || (b->max != 0 && len > b->max - b->len)) {
        buf_append_slowly(b, p, len);
    } else {
        memcpy(b->data + b->len, p, len);
        b->len += len;
    }
}

static inline void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.s, s.len);
}

static inline void buf_append_cstr(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

static inline void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}
