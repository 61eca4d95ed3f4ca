/* varint -- taking apart protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) without unpacking
 * it. Both take off the front of *rest what they return, and return false where that is not there, leaving *rest as it
 * was.
 */
#pragma once
#include "buf.h"

#define VARINT_MAX_BYTES 10

/* A base-128 varint. More than VARINT_MAX_BYTES is none; bits beyond the 64th are dropped, as every protobuf library
 * does. */
static inline bool varint_take(struct str *rest, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < VARINT_MAX_BYTES && i < rest->len; i++) {
        uint8_t byte = (uint8_t)rest->s[i];

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = (struct str){rest->s + i + 1, rest->len - i - 1};
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The next len bytes. */
static inline bool varint_take_bytes(struct str *rest, uint64_t len, struct str *ret_bytes)
{
    if (len > rest->len)
        return false;
    *ret_bytes = (struct str){rest->s, (size_t)len};
    *rest = (struct str){rest->s + len, rest->len - (size_t)len};
    return true;
}
