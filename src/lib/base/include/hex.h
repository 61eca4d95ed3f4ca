/* hex -- hexadecimal digits. Encoding writes lower case. What is read may be limited to lower case, which formats
 * demand whose texts are compared as bytes. No state; any thread.
 */
#pragma once
#include "names.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of a digit, or -1. */
static inline int hex_digit_lower(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline int hex_digit(char c) /* either case */
{
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : hex_digit_lower(c);
}

/* The byte of two digits in either case, or -1. */
static inline int hex_byte(const char digits[2])
{
    int high = hex_digit(digits[0]), low = hex_digit(digits[1]);

    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Writes 2 * len digits and returns the position behind them. No NUL is written. */
char *hex_encode(const void *bytes, size_t len, char *text);
/* Reads 2 * len lower-case digits. False for anything else; bytes is then undefined. */
bool hex_decode_lower(const char *text, void *ret_bytes, size_t len);
/* Reads exactly 16 lower-case digits: what "%016llx" writes. */
bool hex_read_u64_lower(const char text[16], uint64_t *ret_value);
