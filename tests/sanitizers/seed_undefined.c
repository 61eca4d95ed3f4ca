/* Undefined behaviour: a sum that its type cannot hold. */
#include <criterion/criterion.h>
#include <limits.h>

Test(seed, undefined)
{
    volatile int most = INT_MAX;

    most = most + 1;
    cr_assert_lt(most, 0);
}
