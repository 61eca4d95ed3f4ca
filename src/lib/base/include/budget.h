/* budget -- bytes that several threads hold together, with a bound.
 *
 * Memory that clients can make a process hold is taken from a budget before or while it grows, and given back when it
 * is freed. A budget may be a part of another one, of which it then takes the same bytes: the process has one for all
 * its clients. Any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    size_t max; /* 0: no bound */
    atomic_size_t used;
    struct budget *whole; /* what this is a part of, which outlives it; NULL: of nothing */
};

static inline size_t budget_used(struct budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

/* What has been allocated already: it is counted also beyond the bound. */
static inline void budget_add(struct budget *budget, size_t bytes)
{
    for (; budget != NULL; budget = budget->whole)
        atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline void budget_give(struct budget *budget, size_t bytes)
{
    for (; budget != NULL; budget = budget->whole)
        atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline bool budget_exceeded(struct budget *budget)
{
    for (; budget != NULL; budget = budget->whole)
        if (budget->max > 0 && budget_used(budget) > budget->max)
            return true;
    return false;
}

/* How many of the wanted items of size bytes fit into max bytes (0: no bound); at least 1. */
static inline unsigned budget_fit(unsigned wanted, size_t max, size_t size)
{
    size_t fit = max / size;

    if (max == 0 || fit >= wanted)
        return wanted;
    return fit > 0 ? (unsigned)fit : 1;
}

/* How many bytes this part must free so that the whole is used to seven eighths. 0 unless more than 15/16 of the whole
 * are used and this part holds a third of that or more, so those who hold little are spared. */
static inline size_t budget_surplus_of_whole(struct budget *budget)
{
    struct budget *whole = budget->whole;
    size_t used = whole != NULL ? budget_used(whole) : 0;

    if (whole == NULL || whole->max == 0 || used <= whole->max - whole->max / 16 || budget_used(budget) < used / 3)
        return 0;
    return used - (whole->max - whole->max / 8);
}

/* Takes bytes, or nothing and returns false where a bound would be exceeded. */
static inline bool budget_take(struct budget *budget, size_t bytes)
{
    for (struct budget *at = budget; at != NULL; at = at->whole) {
        size_t before = atomic_fetch_add_explicit(&at->used, bytes, memory_order_relaxed);

        if (at->max == 0 || (before <= at->max && bytes <= at->max - before))
            continue;
        for (struct budget *taken = budget; taken != at->whole; taken = taken->whole) /* as far as it was taken */
            atomic_fetch_sub_explicit(&taken->used, bytes, memory_order_relaxed);
        return false;
    }
    return true;
}
