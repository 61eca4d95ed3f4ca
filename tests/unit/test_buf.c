#include "buf.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>

Test(buf, compares_strings)
{
    cr_assert(str_eq(STR("a"), str_of("a")));
    cr_assert(str_eq(STR_NULL, STR("")));
    cr_assert_not(str_eq(STR("a"), STR("b")));
    cr_assert(str_caseeq(STR("Content-Type"), STR("content-tyPE")));
    cr_assert_not(str_caseeq(STR("a["), STR("A{")));
    cr_assert_lt(str_cmp(STR("ab"), STR("abc")), 0);
    cr_assert_gt(str_cmp(STR("\xff"), STR("\x01")), 0);
    cr_assert_eq(str_cmp(STR("x"), STR("x")), 0);
}

Test(buf, reads_numbers_within_bounds)
{
    uint64_t n = 7;

    cr_assert_eq(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &n), 0);
    cr_assert_eq(n, UINT64_MAX);
    n = 7;
    cr_assert_eq(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &n), -ERANGE);
    cr_assert_eq(str_to_u64(STR("99999999999999999999999999"), UINT64_MAX, &n), -ERANGE);
    cr_assert_eq(str_to_u64(STR("101"), 100, &n), -ERANGE);
    cr_assert_eq(str_to_u64(STR(""), 100, &n), -EINVAL);
    cr_assert_eq(str_to_u64(STR("-1"), 100, &n), -EINVAL);
    cr_assert_eq(str_to_u64(STR("1x"), 100, &n), -EINVAL);
    cr_assert_eq(n, 7, "the result is untouched on failure");
}

Test(buf, counts_code_points_and_refuses_invalid_utf8)
{
    static const char *const invalid[] = {"\x80",
                                          "\xc0\xaf",
                                          "\xc1\x81",
                                          "\xe0\x80\xaf",
                                          "\xed\xa0\x80",
                                          "\xf0\x80\x80\xaf",
                                          "\xf4\x90\x80\x80",
                                          "\xf5\x80\x80\x80",
                                          "\xe2\x82",
                                          "\xc3",
                                          "\xc3(",
                                          "\xff"};
    size_t n = 9;

    cr_assert_eq(str_utf8_length(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), &n), 0);
    cr_assert_eq(n, 4);
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++)
        cr_assert_eq(str_utf8_length(str_of(invalid[i]), &n), -EINVAL, "case %zu", i);
}

Test(buf, grows_up_to_its_bound_and_then_fails_for_good)
{
    struct buf b = {.max = 10};

    buf_append(&b, "12345678", 8);
    cr_assert_eq(buf_error(&b), 0);
    buf_append(&b, "abc", 3);
    cr_assert_eq(buf_error(&b), -ENOMEM);
    buf_append(&b, "a", 1);
    cr_assert(str_eq(buf_str(&b), STR("12345678")));
    buf_release(&b);
    cr_assert_eq(b.max, 10);
    cr_assert_not(b.failed);
    cr_assert_null(buf_reserve(&b, SIZE_MAX));
    buf_release(&b);
}

Test(buf, prints_short_and_long)
{
    struct buf b = {0};

    buf_printf(&b, "%d-%s", 42, "x");
    buf_append_char(&b, '/');
    buf_append_u64(&b, 0);
    buf_append_u64(&b, UINT64_MAX);
    cr_assert(str_eq(buf_str(&b), STR("42-x/018446744073709551615")));
    buf_release(&b);
    buf_printf(&b, "%1000d", 1);
    cr_assert_eq(b.len, 1000);
    buf_release(&b);
}

Test(buf, json_strings_are_always_valid)
{
    struct buf b = {0};

    buf_append_json_string(&b, (struct str){"a\"\\\n\x01\x7f\xc3\xa9\xff\xe2\x82\0", 12});
    cr_assert(
        str_eq(buf_str(&b), STR("\"a\\\"\\\\\\n\\u0001\\u007f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\u0000\"")),
        "%.*s", (int)b.len, b.data);
    buf_release(&b);
}

/* Eight bytes are looked at together: a byte is escaped wherever among them it is. */
Test(buf, json_strings_read_back_as_they_were)
{
    for (int c = 1; c < 0x80; c++)
        for (size_t at = 0; at < 17; at++) {
            char text[17];
            struct buf b = {0};
            json_t *read;

            memset(text, 'x', sizeof(text));
            text[at] = (char)c;
            buf_append_json_string(&b, (struct str){text, sizeof(text)});
            read = json_loadb(b.data, b.len, JSON_DECODE_ANY, NULL);
            cr_expect(str_eq((struct str){json_string_value(read), json_string_length(read)},
                             (struct str){text, sizeof(text)}),
                      "%d at %zu: %.*s", c, at, (int)b.len, b.data);
            cr_expect(memchr(b.data, 0x7f, b.len) == NULL && memchr(b.data, '\n', b.len) == NULL);
            json_decref(read);
            buf_release(&b);
        }
}

/* The items in brackets. */
static void expect_items(struct str list, const char *expected)
{
    struct buf items = {0};
    struct str item;

    while (str_next(&list, ',', &item))
        buf_printf(&items, "[%.*s]", STR_ARG(item));
    cr_expect(str_eq(buf_str(&items), str_of(expected)), "%.*s, not %s", (int)items.len, items.data, expected);
    buf_release(&items);
}

Test(str, lists_have_an_item_before_each_separator_and_one_after_the_last)
{
    expect_items(STR("a"), "[a]");
    expect_items(STR("a,bc, d"), "[a][bc][ d]");
    expect_items(STR(",a,,"), "[][a][][]");
    expect_items(STR(""), "[]");
    expect_items(STR_NULL, "");
    expect_items((struct str){"a,b", 2}, "[a][]");
}
