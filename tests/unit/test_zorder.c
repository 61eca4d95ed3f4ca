#include "random.h"
#include "zorder.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

Test(zorder, is_reversible)
{
    uint64_t seed = 1;
    static const struct geo_point extremes[] = {{0, 0}, {-1, -1}, {INT32_MIN, INT32_MAX}, {INT32_MAX, INT32_MIN}};

    for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++)
        cr_assert(geo_point_eq(zorder_point(zorder_of(extremes[i])), extremes[i]));
    for (int i = 0; i < 100000; i++) {
        uint64_t z = random_next(&seed);

        cr_assert_eq(zorder_of(zorder_point(z)), z);
    }
}

/* Within any rectangle the lower left corner comes first, the upper right one last. */
Test(zorder, keeps_the_order_of_both_coordinates)
{
    uint64_t seed = 2;

    for (int i = 0; i < 100000; i++) {
        struct geo_rect rect = geo_rect_of(zorder_point(random_next(&seed)), zorder_point(random_next(&seed)));

        cr_assert_leq(zorder_of(rect.lo), zorder_of(rect.hi));
    }
}

/* On a small grid every start is tried, against looking at all that follow. */
Test(zorder, jumps_to_the_next_in_the_rectangle)
{
    enum { SIDE = 8, CELLS = SIDE * SIDE };
    uint64_t all[CELLS];

    for (int i = 0; i < CELLS; i++) /* around zero, where the sign changes */
        all[i] = zorder_of((struct geo_point){i / SIDE - SIDE / 2, i % SIDE - SIDE / 2});
    qsort(all, CELLS, sizeof(all[0]), compare);
    for (int a = 0; a < CELLS; a++)
        for (int b = 0; b < CELLS; b++) {
            struct geo_rect rect = geo_rect_of(zorder_point(all[a]), zorder_point(all[b]));
            uint64_t expected = 0, next = 0;
            bool there = false;

            for (int from = CELLS - 1; from >= 0; from--) {
                if (geo_rect_contains(&rect, zorder_point(all[from]))) {
                    expected = all[from];
                    there = true;
                }
                cr_assert_eq(zorder_next(&rect, all[from], &next), there);
                cr_assert(!there || next == expected);
            }
        }
}

/* With points anywhere: the result is in the rectangle and not before from, and what lies between is outside. */
Test(zorder, jumps_right_anywhere)
{
    uint64_t seed = 3;

    for (int i = 0; i < 200000; i++) {
        struct geo_rect rect = geo_rect_of(zorder_point(random_next(&seed)), zorder_point(random_next(&seed)));
        uint64_t from = random_next(&seed), next, between;

        if (!zorder_next(&rect, from, &next)) {
            cr_assert_lt(zorder_of(rect.hi), from);
            continue;
        }
        cr_assert_geq(next, from);
        cr_assert(geo_rect_contains(&rect, zorder_point(next)));
        if (next > from) {
            between = from + random_next(&seed) % (next - from);
            cr_assert_not(geo_rect_contains(&rect, zorder_point(between)));
            cr_assert_not(geo_rect_contains(&rect, zorder_point(next - 1)));
        }
    }
}

/* The walk that feature-store makes, over a sorted list of random points, against a scan. */
Test(zorder, walks_through_a_rectangle_with_jumps)
{
    enum { POINTS = 2000 };
    uint64_t seed = 4, all[POINTS];

    for (int i = 0; i < POINTS; i++)
        all[i] = zorder_of((struct geo_point){random_between(&seed, -100, 100), random_between(&seed, -100, 100)});
    qsort(all, POINTS, sizeof(all[0]), compare);
    for (int round = 0; round < 300; round++) {
        struct geo_rect rect =
            geo_rect_of(zorder_point(all[random_next(&seed) % POINTS]), zorder_point(all[random_next(&seed) % POINTS]));
        size_t expected = 0, found = 0, i = 0;
        uint64_t next = zorder_of(rect.lo);

        for (int j = 0; j < POINTS; j++)
            expected += geo_rect_contains(&rect, zorder_point(all[j]));
        while (i < POINTS && zorder_next(&rect, next, &next)) {
            while (i < POINTS && all[i] < next)
                i++;
            for (; i < POINTS && geo_rect_contains(&rect, zorder_point(all[i])); i++)
                found++;
            if (i < POINTS)
                next = all[i];
        }
        cr_assert_eq(found, expected);
    }
}
