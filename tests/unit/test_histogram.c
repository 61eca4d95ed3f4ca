#include "../../src/route-client/histogram.h"
#include "random.h"
#include <criterion/criterion.h>
#include <stdlib.h>

Test(histogram, of_nothing_is_zero)
{
    static struct histogram h;

    cr_assert_eq(histogram_percentile(&h, 50), 0);
    cr_assert_eq(histogram_percentile(&h, 100), 0);
}

Test(histogram, is_exact_for_small_values)
{
    static struct histogram h;

    for (uint64_t i = 1; i <= 100; i++)
        histogram_add(&h, i);
    cr_assert_eq(histogram_percentile(&h, 1), 1);
    cr_assert_eq(histogram_percentile(&h, 50), 50);
    cr_assert_eq(histogram_percentile(&h, 99), 99);
    cr_assert_eq(histogram_percentile(&h, 99.9), 100);
    cr_assert_eq(histogram_percentile(&h, 100), 100);
}

Test(histogram, takes_any_value)
{
    static struct histogram h;

    histogram_add(&h, 0);
    histogram_add(&h, UINT64_MAX);
    cr_assert_eq(histogram_percentile(&h, 50), 0);
    cr_assert_eq(histogram_percentile(&h, 100), UINT64_MAX);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Against the sorted values themselves: never less, and more by no more than 1/64. */
Test(histogram, is_as_exact_as_it_says)
{
    enum { COUNT = 10000 };
    static const double percents[] = {0.01, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
    static uint64_t values[COUNT];
    static struct histogram h;
    uint64_t seed = 1;

    for (int i = 0; i < COUNT; i++) {
        values[i] = random_next(&seed) >> (random_next(&seed) % 64);
        histogram_add(&h, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare);
    cr_assert_eq(h.count, COUNT);
    cr_assert_eq(h.max, values[COUNT - 1]);
    for (int i = 0; i < 9; i++) {
        uint64_t expected = values[(int)(percents[i] * COUNT / 100 + 0.5) - 1];
        uint64_t found = histogram_percentile(&h, percents[i]);

        cr_assert_geq(found, expected);
        cr_assert_leq(found - expected, expected / 64);
    }
}
