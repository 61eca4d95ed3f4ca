#include "field.h"
#include <criterion/criterion.h>
#include <errno.h>

struct thing {
    int64_t size;
    char *name;
    struct str text, words[3];
    unsigned word_count;
};

static const struct field list[] = {
    FIELD_INT(struct thing, size, -5, 9),
    FIELD_STRING(struct thing, name, 1, 3, .chars = "A-C.-"),
    FIELD_STRING(struct thing, text, 0, 4, .in_bytes = true),
    FIELD_STRINGS(struct thing, words, word_count, 3, 1, 2),
    FIELD_READ_ONLY("id"),
    {0},
};
static const struct fields fields = {"a thing", list};

static const struct thing good = {
    .size = 9, .name = (char *)"A.-", .text = {"\xc3\xa9x", 3}, .words = {{"a", 1}, {"b", 1}}, .word_count = 2};

static void refuses(struct thing thing, const char *why)
{
    char error[FIELD_ERROR_SIZE] = "";

    cr_assert_eq(fields_check(&fields, &thing, error), -EINVAL);
    cr_assert_str_eq(error, why);
}

Test(field, limits_are_inclusive)
{
    char error[FIELD_ERROR_SIZE];
    struct thing thing = good;

    cr_assert_eq(fields_check(&fields, &thing, error), 0);
    thing.size = -5;
    thing.text = STR("1234");
    thing.name = (char *)"B";
    cr_assert_eq(fields_check(&fields, &thing, error), 0);
}

Test(field, a_broken_limit_names_the_field)
{
    struct thing thing = good;

    thing.size = 10;
    refuses(thing, "size is 10, -5 to 9 are allowed");
    thing = good;
    thing.name = (char *)"";
    refuses(thing, "name has 0 characters, 1 to 3 are allowed");
    thing.name = (char *)"AD";
    refuses(thing, "name may only contain A-C.-");
    thing = good;
    thing.text = STR("\xc3\xa9\xc3\xa9x");
    refuses(thing, "text has 5 bytes of UTF-8, at most 4 are allowed");
    thing.text = STR("\xff");
    refuses(thing, "text is not UTF-8");
}

Test(field, each_of_several_strings_is_checked)
{
    struct thing thing = good;

    thing.words[1] = STR("abc");
    refuses(thing, "words[1] has 3 characters, 1 to 2 are allowed");
    thing.words[1] = STR("a\0");
    refuses(thing, "words[1] must not contain U+0000");
    thing.words[1] = thing.words[0];
    refuses(thing, "words[0] and words[1] are the same");
}

Test(field, written_as_json)
{
    struct buf out = {0};

    fields_write_json(&fields, &good, &out);
    buf_append_char(&out, ' ');
    fields_write_names(&fields, &out);
    buf_append_char(&out, '\0');
    cr_assert_str_eq(out.data, "\"size\":9,\"name\":\"A.-\",\"text\":\"\xc3\xa9x\",\"words\":[\"a\",\"b\"] "
                               "size, name, text and words");
    buf_release(&out);
}

Test(field, cleared)
{
    struct thing thing = good;

    for (const struct field *field = list; field->name != NULL; field++)
        field_clear(field, &thing);
    cr_assert(thing.size == 0 && thing.name[0] == '\0' && thing.text.len == 0 && thing.word_count == 0);
}
