/* budget -- bytes that several threads hold together, with a bound.
 *
 * Memory that clients can make a process hold is taken from a budget before or while it grows, and given back when it
 * is freed. Any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    size_t max; /* 0: no bound */
    atomic_size_t used;
};

static inline size_t budget_used(struct budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

/* What has been allocated already: it is counted also beyond the bound. */
static inline void budget_add(struct budget *budget, size_t bytes)
{
    atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline void budget_give(struct budget *budget, size_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline bool budget_exceeded(struct budget *budget)
{
    return budget->max > 0 && budget_used(budget) > budget->max;
}

/* Takes bytes, or nothing and returns false where the bound would be exceeded. */
static inline bool budget_take(struct budget *budget, size_t bytes)
{
    size_t before = atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);

    if (budget->max == 0 || (before <= budget->max && bytes <= budget->max - before))
        return true;
    budget_give(budget, bytes);
    return false;
}
