/* seldom -- what is to be said once in a while, however often it happens. Any thread. */
#pragma once
#include "clock.h"
#include <stdatomic.h>
#include <stdbool.h>

/* True at most once per interval_ns for the same *due_ns, which begins as 0. */
static inline bool seldom(_Atomic uint64_t *due_ns, uint64_t interval_ns)
{
    uint64_t now_ns = clock_monotonic_ns(), due = atomic_load_explicit(due_ns, memory_order_relaxed);

    return now_ns >= due && atomic_compare_exchange_strong(due_ns, &due, now_ns + interval_ns);
}
