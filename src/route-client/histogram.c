#include "histogram.h"
#include <math.h>

static unsigned bucket_of(uint64_t value)
{
    unsigned exponent;

    if (value < HISTOGRAM_EXACT)
        return (unsigned)value;
    exponent = 63 - (unsigned)__builtin_clzll(value); /* 7 or more */
    return HISTOGRAM_EXACT + (exponent - 7) * HISTOGRAM_PARTS + (value >> (exponent - 6) & (HISTOGRAM_PARTS - 1));
}

static uint64_t greatest_in(unsigned bucket)
{
    unsigned exponent, part;

    if (bucket < HISTOGRAM_EXACT)
        return bucket;
    exponent = (bucket - HISTOGRAM_EXACT) / HISTOGRAM_PARTS + 7;
    part = (bucket - HISTOGRAM_EXACT) % HISTOGRAM_PARTS;
    return ((uint64_t)(HISTOGRAM_PARTS + part) << (exponent - 6)) + ((1ULL << (exponent - 6)) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t rank = (uint64_t)ceil((double)h->count * percent / 100), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > 0 && seen >= rank)
            return greatest_in(i) < h->max ? greatest_in(i) : h->max;
    }
    return 0;
}
