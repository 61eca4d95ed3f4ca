/* kept -- the attributes of spans and log lines, as they are kept: with their strings interned. One thread at a time.
 */
#pragma once
#include "intern.h"
#include "otlp_read.h"

#define KEPT_MAX_PAIRS 24 /* of a span or a line; further ones are left out */

struct kept_pair {
    struct intern_string *key;
    union {
        struct intern_string *string;
        int64_t integer; /* OTLP_BOOL: 0 or 1 */
        double number;
    } value;
};

/* The last member of what has them, which is allocated with kept_bytes more. */
struct kept_pairs {
    uint8_t count;
    uint8_t kinds[KEPT_MAX_PAIRS]; /* enum otlp_kind */
    struct kept_pair list[];
};

static inline uint8_t kept_count(const struct otlp_pairs *from)
{
    return from->count < KEPT_MAX_PAIRS ? (uint8_t)from->count : KEPT_MAX_PAIRS;
}

static inline size_t kept_bytes(unsigned count)
{
    return count * sizeof(struct kept_pair);
}

/* Takes the first kept_count(from) of them. */
void kept_fill(struct kept_pairs *pairs, const struct otlp_pairs *from, struct intern *strings);
/* Gives their strings back. */
void kept_put(struct kept_pairs *pairs, struct intern *strings);

/* Whether text has part in it, without regard to the case of ASCII letters. *budget shrinks by the comparisons; the
 * search ends where it is 0. */
bool kept_text_has(struct str text, struct str part, uint64_t *budget);
/* Whether the value of a string has it. */
bool kept_have_text(const struct kept_pairs *pairs, struct str part, uint64_t *budget);
