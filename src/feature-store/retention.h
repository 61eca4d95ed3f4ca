/* retention -- bounds the history: of a point's saves the newest per_point stay, of all saves the newest total; the
 * oldest are dropped, and counted by the metric feature_store_dropped_saves_total. A point's newest save is never
 * dropped, so where there are more points than total, there are more saves too.
 *
 * A thread of its own follows the saves in the order of commits and deletes what is beyond the bounds, in steps of
 * bounded size; the bounds may be exceeded for as long as it lags behind. When it starts it looks at all saves once.
 * Several replicas may do so at the same time.
 */
#pragma once
#include "store.h"

struct retention;

/* 0 or -errno. */
int retention_open(struct store *store, uint64_t per_point, uint64_t total, struct metrics *metrics,
                   struct retention **ret_retention);
struct retention *retention_free(struct retention *retention); /* before store_close; returns NULL */
/* There is a new save. Any thread; never blocks for long. */
void retention_wake(struct retention *retention);
