/* intern -- strings that many records have in common, each kept once and counted by reference.
 *
 * What it keeps is charged to a counter of bytes that the owner bounds: a string goes when its last reference is given
 * back. Strings are cut at INTERN_MAX bytes, not within a character, with "…" at their end; what is not UTF-8 stays as
 * it is, for the JSON writer replaces it. One thread at a time.
 */
#pragma once
#include "buf.h"

#define INTERN_MAX 1024

struct intern_string {
    struct intern_string *next, **link;
    uint64_t hash;
    uint32_t references, len;
    char s[];
};

struct intern {
    struct intern_string **buckets;
    size_t bucket_count; /* a power of two */
    uint64_t seed;       /* random; the .c bounds what collisions cost, for FNV does not resist chosen keys */
    size_t *used;        /* bytes, of the owner's */
};

/* 0 or -ENOMEM. */
int intern_open(struct intern *intern, size_t bucket_count, size_t *used);
void intern_release(struct intern *intern); /* after all references have been given back; a zeroed one is fine */
/* A reference; NULL for an empty string, or out of memory. */
struct intern_string *intern_get(struct intern *intern, struct str text);
void intern_put(struct intern *intern, struct intern_string *string); /* NULL is fine */

static inline struct str intern_str(const struct intern_string *string)
{
    return string != NULL ? (struct str){string->s, string->len} : (struct str){"", 0};
}

/* The bytes that an allocation takes of the heap, about. */
static inline size_t intern_heap_bytes(size_t size)
{
    return (size + 8 + 15) / 16 * 16;
}
