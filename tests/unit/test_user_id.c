#include "user_id.h"
#include <criterion/criterion.h>
#include <stdio.h>

Test(user_id, valid_ids)
{
    char id[USER_ID_MAX + 1];

    memset(id, 'a', sizeof(id));
    cr_expect(user_id_valid(STR("1234")));
    cr_expect(user_id_valid(STR("AZ_az-09")));
    cr_expect(user_id_valid((struct str){id, USER_ID_MAX}));
    cr_expect_not(user_id_valid((struct str){id, USER_ID_MAX + 1}));
    cr_expect_not(user_id_valid(STR("")));
    cr_expect_not(user_id_valid(STR_NULL));
}

Test(user_id, every_other_byte_is_refused)
{
    for (unsigned c = 0; c < 256; c++) {
        char id[] = {'x', (char)c};
        bool allowed = c != '\0' && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", (int)c);
        cr_expect_eq(user_id_valid((struct str){id, 2}), allowed, "byte %u", c);
    }
}

/* These are what replicas of all versions must agree on. */
Test(user_id, picks_never_change)
{
    cr_expect_eq(user_id_pick(STR("1234"), STR("topic"), UINT64_MAX), 12326398485296742755u);
    cr_expect_eq(user_id_pick(STR("alice"), STR("topic"), UINT64_MAX), 3371953947155884012u);
    cr_expect_eq(user_id_pick(STR("1234"), STR("topic"), 1), 0);
}

Test(user_id, picks_are_spread_evenly)
{
    enum { IDS = 64000, BOUND = 64 };
    unsigned counts[BOUND] = {0}, pairs = 0;

    for (int i = 0; i < IDS; i++) {
        char text[16];
        struct str id = {text, (size_t)snprintf(text, sizeof(text), "%d", i)};
        uint64_t pick = user_id_pick(id, STR("a"), BOUND);
        counts[pick]++;
        pairs += pick == user_id_pick(id, STR("b"), BOUND);
    }
    for (int i = 0; i < BOUND; i++)
        cr_expect(counts[i] > 800 && counts[i] < 1200, "%d was picked %u times", i, counts[i]);
    cr_expect(pairs > 800 && pairs < 1200, "two topics agreed %u times", pairs);
}
