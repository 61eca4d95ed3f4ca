/* histogram -- latencies in bounded memory: every value is known to 1/64 of itself, however many there are.
 * One thread at a time. */
#pragma once
#include <stdint.h>

#define HISTOGRAM_EXACT   128 /* values below have a bucket each */
#define HISTOGRAM_PARTS   64  /* buckets a power of two above */
#define HISTOGRAM_BUCKETS (HISTOGRAM_EXACT + (64 - 7) * HISTOGRAM_PARTS)

struct histogram {
    uint64_t count, max;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The least value that percent of all values do not exceed, rounded up by at most 1/64; 0 where there are none. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
