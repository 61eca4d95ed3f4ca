#include "../../src/countries/user_country.h"
#include <criterion/criterion.h>
#include <stdio.h>

/* What replicas of all versions must agree on. */
Test(user_country, never_changes)
{
    cr_expect_str_eq(user_country(STR("1234")), "Tunisia");
    cr_expect_str_eq(user_country(STR("1235")), "Comoros");
    cr_expect_str_eq(user_country(STR("alice")), "Costa Rica");
}

Test(user_country, every_country_has_somebody)
{
    enum { COUNTRIES = 249, IDS = 20000 };
    const char *seen[COUNTRIES];
    size_t count = 0;

    for (int i = 0; i < IDS; i++) {
        char id[16];
        const char *country;
        size_t at = 0;

        snprintf(id, sizeof(id), "%d", i);
        country = user_country(str_of(id));
        while (at < count && strcmp(seen[at], country) != 0)
            at++;
        cr_assert_lt(at, COUNTRIES, "%s is one too many", country);
        if (at == count)
            seen[count++] = country;
    }
    cr_expect_eq(count, COUNTRIES);
}
