/* geo -- points in degrees times 1e7, rectangles of them, and distances on a sphere. Values only; any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define GEO_MAX_LATITUDE  900000000
#define GEO_MAX_LONGITUDE 1800000000

struct geo_point {
    int32_t latitude, longitude;
};

/* Bounds inclusive, lo <= hi in both coordinates. */
struct geo_rect {
    struct geo_point lo, hi;
};

static inline bool geo_point_eq(struct geo_point a, struct geo_point b)
{
    return a.latitude == b.latitude && a.longitude == b.longitude;
}

bool geo_point_valid(struct geo_point p);
/* The rectangle between two opposite corners, whichever they are. It never wraps around the date line. */
struct geo_rect geo_rect_of(struct geo_point corner, struct geo_point opposite);
bool geo_rect_contains(const struct geo_rect *rect, struct geo_point p);
/* Metres along the great circle (haversine, R = 6371000), truncated. */
int32_t geo_distance(struct geo_point a, struct geo_point b);
