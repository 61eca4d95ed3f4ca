#include "latency.h"
#include <math.h>
#include <stddef.h>

/* Of microseconds: below 4 one bucket each, then four for each power of two. */
unsigned latency_bucket(uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned log, bucket;

    if (us < 4)
        return (unsigned)us;
    log = 63 - (unsigned)__builtin_clzll(us);
    bucket = (log - 1) * 4 + (unsigned)(us >> (log - 2) & 3);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static double lower_bound_us(unsigned bucket)
{
    return bucket < 4 ? bucket : ldexp(4 + bucket % 4, (int)(bucket / 4) - 1);
}

void latency_add(struct latency *latency, uint64_t ns, uint32_t count)
{
    uint32_t *at = &latency->counts[latency_bucket(ns)];

    *at = *at > UINT32_MAX - count ? UINT32_MAX : *at + count;
}

void latency_merge(struct latency *to, const struct latency *from)
{
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        to->counts[i] = to->counts[i] > UINT32_MAX - from->counts[i] ? UINT32_MAX : to->counts[i] + from->counts[i];
}

/* Within a bucket values are taken to be spread evenly. */
double latency_quantile_ms(const struct latency *latency, double share)
{
    double total = 0, wanted, before = 0;

    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        total += latency->counts[i];
    if (total == 0)
        return NAN;
    wanted = total * share;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        double count = latency->counts[i], from = lower_bound_us(i), to = lower_bound_us(i + 1);

        if (count > 0 && before + count >= wanted)
            return (from + (to - from) * (wanted - before) / count) / 1000;
        before += count;
    }
    return lower_bound_us(LATENCY_BUCKETS) / 1000;
}
