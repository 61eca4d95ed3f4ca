/* summary -- what RecordRoute knows of a route so far. A value; one thread at a time. */
#pragma once
#include "geo.h"
#include "routeguide.pb-c.h"
#include <stdint.h>

struct summary {
    uint64_t point_count, feature_count;
    uint64_t distance; /* metres: the sum of the legs, each truncated */
    struct geo_point last;
    uint64_t started_ns; /* monotonic */
};

void summary_begin(struct summary *summary, uint64_t now_ns);
void summary_add_point(struct summary *summary, struct geo_point p);
/* Whole seconds since the beginning. What does not fit into the message's 32 bits becomes INT32_MAX. */
void summary_result(const struct summary *summary, uint64_t now_ns, Routeguide__RouteSummary *ret_result);
