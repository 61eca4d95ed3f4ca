/* latency -- how long requests took: a histogram whose buckets grow by a quarter, from 1 us to 70 s. */
#pragma once
#include <stdint.h>

#define LATENCY_BUCKETS 104

struct latency {
    uint32_t counts[LATENCY_BUCKETS];
};

unsigned latency_bucket(uint64_t ns);
void latency_add(struct latency *latency, uint64_t ns, uint32_t count);
void latency_merge(struct latency *to, const struct latency *from);
/* In ms; NAN where nothing was counted. share: 0.5 is the median. */
double latency_quantile_ms(const struct latency *latency, double share);
