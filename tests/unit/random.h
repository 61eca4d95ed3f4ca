/* random -- the same numbers in every run of a test (SplitMix64). */
#pragma once
#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static inline int32_t random_between(uint64_t *state, int32_t lo, int32_t hi)
{
    return (int32_t)(lo + (int64_t)(random_next(state) % (uint64_t)((int64_t)hi - lo + 1)));
}
