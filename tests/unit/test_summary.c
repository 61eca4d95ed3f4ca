#include "clock.h"
#include "summary.h"
#include <criterion/criterion.h>

Test(summary, of_no_points_is_zero)
{
    struct summary summary;
    Routeguide__RouteSummary result;

    summary_begin(&summary, 5 * CLOCK_NS_PER_S);
    summary_result(&summary, 5 * CLOCK_NS_PER_S, &result);
    cr_assert_eq(result.point_count, 0);
    cr_assert_eq(result.feature_count, 0);
    cr_assert_eq(result.distance, 0);
    cr_assert_eq(result.elapsed_time, 0);
}

Test(summary, adds_up_truncated_legs)
{
    struct summary summary;
    Routeguide__RouteSummary result;

    summary_begin(&summary, 0);
    for (int i = 0; i < 11; i++) /* ten legs of 1.99 m each: not 19 m, but 10 */
        summary_add_point(&summary, (struct geo_point){179 * i, 0});
    summary_result(&summary, 0, &result);
    cr_assert_eq(result.point_count, 11);
    cr_assert_eq(result.distance, 10);
}

Test(summary, counts_whole_seconds)
{
    struct summary summary;
    Routeguide__RouteSummary result;

    summary_begin(&summary, 100);
    summary_result(&summary, 100 + 2 * CLOCK_NS_PER_S - 1, &result);
    cr_assert_eq(result.elapsed_time, 1);
    summary_result(&summary, 100 + 2 * CLOCK_NS_PER_S, &result);
    cr_assert_eq(result.elapsed_time, 2);
}

Test(summary, saturates_instead_of_overflowing)
{
    struct summary summary;
    Routeguide__RouteSummary result;

    summary_begin(&summary, 0);
    for (int i = 0; i < 200; i++) /* from pole to pole: 20,015 km a leg */
        summary_add_point(&summary, (struct geo_point){i % 2 ? 900000000 : -900000000, 0});
    summary.feature_count = (uint64_t)INT32_MAX + 1;
    summary_result(&summary, UINT64_MAX, &result);
    cr_assert_eq(result.point_count, 200);
    cr_assert_eq(result.distance, INT32_MAX);
    cr_assert_eq(result.feature_count, INT32_MAX);
    cr_assert_eq(result.elapsed_time, INT32_MAX);
}
