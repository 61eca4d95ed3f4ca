#include "summary.h"
#include "clock.h"

void summary_begin(struct summary *summary, uint64_t now_ns)
{
    *summary = (struct summary){.started_ns = now_ns};
}

void summary_add_point(struct summary *summary, struct geo_point p)
{
    if (summary->point_count++ > 0)
        summary->distance += (uint64_t)geo_distance(summary->last, p);
    summary->last = p;
}

static int32_t saturated(uint64_t value)
{
    return value < INT32_MAX ? (int32_t)value : INT32_MAX;
}

void summary_result(const struct summary *summary, uint64_t now_ns, Routeguide__RouteSummary *ret_result)
{
    routeguide__route_summary__init(ret_result);
    ret_result->point_count = saturated(summary->point_count);
    ret_result->feature_count = saturated(summary->feature_count);
    ret_result->distance = saturated(summary->distance);
    ret_result->elapsed_time = saturated((now_ns - summary->started_ns) / CLOCK_NS_PER_S);
}
