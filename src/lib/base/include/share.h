/* share -- fair parts of a pool: those who use it may take as much as they like until it is nearly used up. */
#pragma once
#include <stdbool.h>

/* Whether one more is too much for somebody who has own of the used places of a pool of max, which owners use. That is
 * so only when three quarters are taken, for those who have an equal part of all places. */
static inline bool share_is_taken(unsigned own, unsigned used, unsigned max, unsigned owners)
{
    return used >= max - max / 4 && owners > 1 && own >= (max + owners - 1) / owners;
}
