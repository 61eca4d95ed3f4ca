/* fnv -- the hash FNV-1a of 64 bits. It is fast for short keys and fixed for ever, so that what is chosen by it stays
 * the same in every release. It does not resist chosen keys: bound what a collision can cost. Its low bits are the
 * better ones.
 */
#pragma once
#include "buf.h"

#define FNV_BEGIN 14695981039346656037u

static inline uint64_t fnv_byte(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * 1099511628211u;
}

/* Goes on from hash, at first FNV_BEGIN. */
static inline uint64_t fnv_str(uint64_t hash, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = fnv_byte(hash, (uint8_t)bytes.s[i]);
    return hash;
}
