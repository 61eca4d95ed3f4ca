#include "../../src/console/latency.h"
#include <criterion/criterion.h>
#include <math.h>

Test(latency, of_nothing)
{
    static struct latency latency;

    cr_assert(isnan(latency_quantile_ms(&latency, 0.5)));
}

Test(latency, buckets_grow_and_end)
{
    unsigned last = 0;

    for (uint64_t ns = 1; ns < 1ull << 60; ns += ns / 10 + 1) {
        unsigned bucket = latency_bucket(ns);

        cr_assert(bucket == last || bucket == last + 1, "%llu", (unsigned long long)ns);
        cr_assert_lt(bucket, LATENCY_BUCKETS);
        last = bucket;
    }
    cr_assert_eq(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

/* Within a quarter of the truth. */
Test(latency, quantiles)
{
    static struct latency latency, both;

    for (unsigned us = 1; us <= 10000; us++)
        latency_add(&latency, us * 1000, 1);
    cr_assert_float_eq(latency_quantile_ms(&latency, 0.5), 5, 1.25);
    cr_assert_float_eq(latency_quantile_ms(&latency, 0.99), 9.9, 2.5);
    latency_add(&both, 100000000, 1);
    latency_merge(&both, &latency);
    cr_assert_float_eq(latency_quantile_ms(&both, 1), 100, 25);
}

Test(latency, counts_do_not_wrap)
{
    static struct latency latency;

    latency_add(&latency, 1000, UINT32_MAX);
    latency_add(&latency, 1000, 5);
    latency_merge(&latency, &latency);
    cr_assert_eq(latency.counts[1], UINT32_MAX);
}
