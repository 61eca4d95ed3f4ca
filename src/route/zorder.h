/* zorder -- points as 64-bit numbers whose order keeps neighbours together: the bits of both coordinates interleaved
 * (Morton), so that an ordered table answers rectangles by a walk with jumps.
 *
 * The jump is BIGMIN: H. Tropf, H. Herzog, "Multidimensional Range Search in Dynamically Balanced Trees", Angewandte
 * Informatik 2/1981. Values only; any thread.
 */
#pragma once
#include "geo.h"

uint64_t zorder_of(struct geo_point p);
struct geo_point zorder_point(uint64_t z);
/* The least number that is >= from and whose point lies in the rectangle; false where there is none. */
bool zorder_next(const struct geo_rect *rect, uint64_t from, uint64_t *ret_z);
