#include "../../src/users/user_name.h"
#include <criterion/criterion.h>
#include <stdio.h>

static const char *name_of(const char *id)
{
    static char name[USER_NAME_SIZE];

    return user_name(str_of(id), name);
}

/* What replicas of all versions must agree on. */
Test(user_name, never_changes)
{
    cr_expect_str_eq(name_of("1234"), "Akira Weber");
    cr_expect_str_eq(name_of("1235"), "Mei Nguyen");
    cr_expect_str_eq(name_of("alice"), "Ayla Gupta");
    cr_expect_str_eq(name_of("Alice"), "Mateo Nguyen");
}

Test(user_name, is_a_first_and_a_last_name)
{
    for (int i = 0; i < 10000; i++) {
        char id[16], name[USER_NAME_SIZE];
        const char *space, *text;
        size_t code_points;

        snprintf(id, sizeof(id), "u%d", i);
        text = user_name(str_of(id), name);
        space = strchr(text, ' ');
        cr_assert_not_null(space);
        cr_assert(space > text && space[1] != '\0' && strchr(space + 1, ' ') == NULL, "%s", text);
        cr_assert_eq(str_utf8_length(str_of(text), &code_points), 0);
    }
}
