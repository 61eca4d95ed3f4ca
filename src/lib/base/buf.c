#include "buf.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_caseeq(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.s[i]) != lower(b.s[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.s[0]))
        s = (struct str){s.s + 1, s.len - 1};
    while (s.len > 0 && is_blank(s.s[s.len - 1]))
        s.len--;
    return s;
}

bool str_next(struct str *list, char separator, struct str *ret_item)
{
    const char *end;

    if (list->s == NULL)
        return false;
    end = memchr(list->s, separator, list->len);
    *ret_item = (struct str){list->s, end != NULL ? (size_t)(end - list->s) : list->len};
    *list = end != NULL ? (struct str){end + 1, list->len - ret_item->len - 1} : STR_NULL;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.s, b.s, common);

    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.len == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.len; i++)
        if (s.s[i] < '0' || s.s[i] > '9')
            return -EINVAL;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t)(s.s[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

/* The length of the UTF-8 sequence at the front of s, 0 where it is not valid (Unicode 15, table 3-7). */
static size_t utf8_sequence(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.s;
    unsigned char least = 0x80, most = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        if (p[0] == 0xe0)
            least = 0xa0;
        if (p[0] == 0xed)
            most = 0x9f;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        if (p[0] == 0xf0)
            least = 0x90;
        if (p[0] == 0xf4)
            most = 0x8f;
    } else {
        return 0;
    }
    if (s.len < len || p[1] < least || p[1] > most)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

int str_utf8_length(struct str s, size_t *ret_code_points)
{
    size_t count = 0;

    while (s.len > 0) {
        size_t len = utf8_sequence(s);
        if (len == 0)
            return -EINVAL;
        s = (struct str){s.s + len, s.len - len};
        count++;
    }
    *ret_code_points = count;
    return 0;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

static int grow(struct buf *b, size_t need)
{
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    char *data;

    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    if (b->max != 0 && capacity > b->max)
        capacity = b->max;
    data = realloc(b->data, capacity);
    if (data == NULL)
        return -ENOMEM;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (b->failed)
        return NULL;
    if (len > SIZE_MAX - b->len || (b->max != 0 && b->len + len > b->max)) {
        b->failed = true;
        return NULL;
    }
    if ((b->data == NULL || b->len + len > b->capacity) && grow(b, b->len + len) != 0) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->len;
}

void buf_append_slowly(struct buf *b, const void *p, size_t len)
{
    char *room;

    if (len == 0)
        return;
    room = buf_reserve(b, len);
    if (room == NULL)
        return;
    memcpy(room, p, len);
    b->len += len;
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    char text[256];
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(text, sizeof(text), format, args);
    if (len < 0) {
        b->failed = true;
    } else if ((size_t)len < sizeof(text)) {
        buf_append(b, text, (size_t)len);
    } else {
        char *whole = malloc((size_t)len + 1);
        if (whole == NULL) {
            b->failed = true;
        } else {
            vsnprintf(whole, (size_t)len + 1, format, again);
            buf_append(b, whole, (size_t)len);
            free(whole);
        }
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

char *str_write_digits(char *to, uint64_t value, unsigned count)
{
    for (unsigned i = count; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + count;
}

void buf_append_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    buf_append(b, digits + at, sizeof(digits) - at);
}

static void append_escape(struct buf *b, unsigned char c)
{
    static const char names[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (const char *n = names; *n != '\0'; n += 2)
        if ((unsigned char)n[0] == c) {
            buf_append(b, (char[]){'\\', n[1]}, 2);
            return;
        }
    buf_printf(b, "\\u%04x", c);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Whether 8 bytes are. In each byte the high bit tells that it is not, or that a lower one is not. */
static bool are_plain(const char *p)
{
    const uint64_t ones = UINT64_MAX / 255, high = ones << 7;
    uint64_t word, quote, backslash;

    memcpy(&word, p, sizeof(word));
    quote = word ^ ones * '"';
    backslash = word ^ ones * '\\';
    return ((word | (word + ones) | (word - ones * ' ') | (quote - ones) | (backslash - ones)) & high) == 0;
}

/* Of the beginning of s that is copied as it is. */
static size_t plain_length(struct str s)
{
    size_t len = 0;

    while (s.len - len >= sizeof(uint64_t) && are_plain(s.s + len))
        len += sizeof(uint64_t);
    if (len > 0 && s.len - len < sizeof(uint64_t) && are_plain(s.s + s.len - sizeof(uint64_t)))
        return s.len;
    while (len < s.len && is_plain((unsigned char)s.s[len]))
        len++;
    return len;
}

void buf_append_json_text(struct buf *b, struct str s)
{
    while (s.len > 0 && !b->failed) {
        size_t len = plain_length(s);

        if (len > 0) {
            buf_append(b, s.s, len);
        } else if ((unsigned char)s.s[0] < 0x80) {
            len = 1;
            append_escape(b, (unsigned char)s.s[0]);
        } else {
            len = utf8_sequence(s);
            if (len > 0)
                buf_append(b, s.s, len);
            else
                buf_append_cstr(b, "\xef\xbf\xbd");
        }
        len = len == 0 ? 1 : len;
        s = (struct str){s.s + len, s.len - len};
    }
}

void buf_append_json_string(struct buf *b, struct str s)
{
    buf_append_char(b, '"');
    buf_append_json_text(b, s);
    buf_append_char(b, '"');
}

int buf_error(const struct buf *b)
{
    return b->failed ? -ENOMEM : 0;
}
