#include "geo.h"
#include "routeguide.pb-c.h"
#include <criterion/criterion.h>

Test(geo, checks_points_at_their_bounds)
{
    cr_assert(geo_point_valid((struct geo_point){0, 0}));
    cr_assert(geo_point_valid((struct geo_point){900000000, 1800000000}));
    cr_assert(geo_point_valid((struct geo_point){-900000000, -1800000000}));
    cr_assert_not(geo_point_valid((struct geo_point){900000001, 0}));
    cr_assert_not(geo_point_valid((struct geo_point){-900000001, 0}));
    cr_assert_not(geo_point_valid((struct geo_point){0, 1800000001}));
    cr_assert_not(geo_point_valid((struct geo_point){0, -1800000001}));
    cr_assert_not(geo_point_valid((struct geo_point){INT32_MIN, INT32_MIN}));
}

Test(geo, takes_corners_in_any_order)
{
    static const struct geo_point corners[4] = {{10, -20}, {30, 40}, {10, 40}, {30, -20}};

    for (int i = 0; i < 4; i++) {
        struct geo_rect rect = geo_rect_of(corners[i], corners[i ^ 1]);

        cr_assert(geo_point_eq(rect.lo, corners[0]));
        cr_assert(geo_point_eq(rect.hi, corners[1]));
    }
}

Test(geo, includes_the_bounds_of_a_rectangle)
{
    struct geo_rect rect = geo_rect_of((struct geo_point){-5, -7}, (struct geo_point){5, 7});

    cr_assert(geo_rect_contains(&rect, (struct geo_point){-5, -7}));
    cr_assert(geo_rect_contains(&rect, (struct geo_point){5, 7}));
    cr_assert(geo_rect_contains(&rect, (struct geo_point){0, 0}));
    cr_assert_not(geo_rect_contains(&rect, (struct geo_point){6, 0}));
    cr_assert_not(geo_rect_contains(&rect, (struct geo_point){-6, 0}));
    cr_assert_not(geo_rect_contains(&rect, (struct geo_point){0, 8}));
    cr_assert_not(geo_rect_contains(&rect, (struct geo_point){0, -8}));
}

/* What a degree, a quarter and a half of the circumference are with R = 6371000. */
Test(geo, measures_distances)
{
    const struct geo_point zero = {0, 0}, north = {900000000, 0}, south = {-900000000, 0};

    cr_assert_eq(geo_distance(zero, zero), 0);
    cr_assert_eq(geo_distance(zero, (struct geo_point){10000000, 0}), 111194);
    cr_assert_eq(geo_distance(zero, (struct geo_point){0, 10000000}), 111194);
    cr_assert_eq(geo_distance(zero, north), 10007543);
    cr_assert_eq(geo_distance(south, north), 20015086);
    cr_assert_eq(geo_distance(zero, (struct geo_point){0, 1800000000}), 20015086, "antipodes");
    cr_assert_eq(geo_distance(zero, (struct geo_point){90, 0}), 1, "1.0007 m");
    cr_assert_eq(geo_distance(zero, (struct geo_point){89, 0}), 0, "0.99 m is truncated");
    cr_assert_eq(geo_distance((struct geo_point){600000000, 1799999999}, (struct geo_point){600000000, -1799999999}), 0,
                 "across the date line");
}

Test(geo, measures_the_same_both_ways)
{
    const struct geo_point a = {409146138, -746188906}, b = {407838351, -746143763};

    cr_assert_eq(geo_distance(a, b), geo_distance(b, a));
    cr_assert_eq(geo_distance(a, b), 14546);
}

/* A fact about the wire: a negative int32 takes ten bytes. */
Test(geo, packs_a_point_as_other_implementations_do)
{
    static const uint8_t expected[] = {0x08, 0x9a, 0xa6, 0x8c, 0xc3, 0x01, 0x10, 0x96, 0x9f,
                                       0x98, 0x9c, 0xfd, 0xff, 0xff, 0xff, 0xff, 0x01};
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT, *unpacked;
    uint8_t bytes[sizeof(expected)];

    point.latitude = 409146138;
    point.longitude = -746188906;
    cr_assert_eq(routeguide__point__get_packed_size(&point), sizeof(expected));
    routeguide__point__pack(&point, bytes);
    cr_assert_arr_eq(bytes, expected, sizeof(expected));
    unpacked = routeguide__point__unpack(NULL, sizeof(expected), expected);
    cr_assert_eq(unpacked->latitude, 409146138);
    cr_assert_eq(unpacked->longitude, -746188906);
    routeguide__point__free_unpacked(unpacked, NULL);
}
