#include "geo.h"
#include <math.h>

#define EARTH_RADIUS 6371000.0 /* metres */

bool geo_point_valid(struct geo_point p)
{
    return p.latitude >= -GEO_MAX_LATITUDE && p.latitude <= GEO_MAX_LATITUDE && p.longitude >= -GEO_MAX_LONGITUDE &&
           p.longitude <= GEO_MAX_LONGITUDE;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t greatest(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

struct geo_rect geo_rect_of(struct geo_point corner, struct geo_point opposite)
{
    return (struct geo_rect){
        .lo = {least(corner.latitude, opposite.latitude), least(corner.longitude, opposite.longitude)},
        .hi = {greatest(corner.latitude, opposite.latitude), greatest(corner.longitude, opposite.longitude)},
    };
}

bool geo_rect_contains(const struct geo_rect *rect, struct geo_point p)
{
    return p.latitude >= rect->lo.latitude && p.latitude <= rect->hi.latitude && p.longitude >= rect->lo.longitude &&
           p.longitude <= rect->hi.longitude;
}

static double radians(int32_t e7)
{
    return e7 / 1e7 * M_PI / 180;
}

int32_t geo_distance(struct geo_point a, struct geo_point b)
{
    double lat_a = radians(a.latitude), lat_b = radians(b.latitude);
    double half_lat = sin((lat_b - lat_a) / 2);
    double half_lon = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    /* Rounding may take it past 1 for antipodes, where the square root below would not be a number. */
    double h = fmin(1, half_lat * half_lat + cos(lat_a) * cos(lat_b) * half_lon * half_lon);

    return (int32_t)(EARTH_RADIUS * 2 * atan2(sqrt(h), sqrt(1 - h)));
}
