#include "zorder.h"

#define EVEN_BITS 0x5555555555555555ULL

/* With the sign bit flipped, unsigned order is the order of the coordinates. */
static uint32_t biased(int32_t coordinate)
{
    return (uint32_t)coordinate ^ 0x80000000u;
}

/* abcd -> 0a0b0c0d */
static uint64_t spread(uint32_t value)
{
    uint64_t v = value;

    v = (v | v << 16) & 0x0000ffff0000ffffULL;
    v = (v | v << 8) & 0x00ff00ff00ff00ffULL;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fULL;
    v = (v | v << 2) & 0x3333333333333333ULL;
    return (v | v << 1) & EVEN_BITS;
}

static uint32_t gather(uint64_t v)
{
    v &= EVEN_BITS;
    v = (v | v >> 1) & 0x3333333333333333ULL;
    v = (v | v >> 2) & 0x0f0f0f0f0f0f0f0fULL;
    v = (v | v >> 4) & 0x00ff00ff00ff00ffULL;
    v = (v | v >> 8) & 0x0000ffff0000ffffULL;
    return (uint32_t)(v | v >> 16);
}

uint64_t zorder_of(struct geo_point p)
{
    return spread(biased(p.latitude)) << 1 | spread(biased(p.longitude));
}

struct geo_point zorder_point(uint64_t z)
{
    return (struct geo_point){(int32_t)(gather(z >> 1) ^ 0x80000000u), (int32_t)(gather(z) ^ 0x80000000u)};
}

/* The bits of the same coordinate as bit, below it. */
static uint64_t lower_bits(uint64_t bit)
{
    uint64_t coordinate = bit & EVEN_BITS ? EVEN_BITS : ~EVEN_BITS;

    return coordinate & (bit - 1);
}

bool zorder_next(const struct geo_rect *rect, uint64_t from, uint64_t *ret_z)
{
    uint64_t lo = zorder_of(rect->lo), hi = zorder_of(rect->hi); /* of the part that from may still lie in */
    uint64_t next = 0;                                           /* the least number of the nearest part beyond from */
    bool found = false;

    for (uint64_t bit = 1ULL << 63; bit; bit >>= 1) {
        if ((lo & bit) == (hi & bit)) {
            if ((from & bit) == (lo & bit))
                continue;
            if (from & bit) /* the part ends before from */
                goto end;
            next = lo; /* the part begins after from */
            found = true;
            goto end;
        }
        /* The part has two halves: this bit is 0 in the first, 1 in the second. */
        if (from & bit) {
            lo = (lo | bit) & ~lower_bits(bit);
        } else {
            next = (lo | bit) & ~lower_bits(bit);
            found = true;
            hi = (hi & ~bit) | lower_bits(bit);
        }
    }
    next = from; /* inside */
    found = true;
end:
    if (found)
        *ret_z = next;
    return found;
}
