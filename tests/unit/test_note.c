#include "../../src/notes/note.h"
#include "store_fixture.h"

static const struct uuid id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static struct note example(void)
{
    return (struct note){.title = STR("t\xc3\xaftle"),
                         .body = {"a\0b", 3},
                         .tags = {STR("x"), STR("yy")},
                         .tag_count = 2,
                         .created_ms = 1700000000123,
                         .updated_ms = 1700000001000,
                         .created_seq = 7};
}

Test(note, is_stored_and_read)
{
    struct note note = example(), again;
    struct buf value = {0};

    note_encode(&note, &value);
    cr_assert_eq(note_decode(buf_str(&value), &again), 0);
    cr_expect(str_eq(again.title, note.title) && str_eq(again.body, note.body));
    cr_expect_eq(again.tag_count, 2);
    cr_expect(str_eq(again.tags[0], STR("x")) && str_eq(again.tags[1], STR("yy")));
    cr_expect_eq(again.created_ms, note.created_ms);
    cr_expect_eq(again.updated_ms, note.updated_ms);
    cr_expect_eq(again.created_seq, 7);
    buf_release(&value);
}

/* What later versions must still be able to read. */
Test(note, the_stored_form_is_this)
{
    static const char expected[] = "\x01"
                                   "\0\0\x01\x8b\xcf\xe5\x68\x7b"
                                   "\0\0\x01\x8b\xcf\xe5\x6b\xe8"
                                   "\0\0\0\0\0\0\0\x07"
                                   "\0\x06\x02\0\x01\0\x02"
                                   "t\xc3\xaftlexyya\0b";
    struct note note = example();
    struct buf value = {0};

    note_encode(&note, &value);
    cr_assert(str_eq(buf_str(&value), (struct str){expected, sizeof(expected) - 1}));
    buf_release(&value);
}

Test(note, what_is_malformed_is_refused)
{
    struct note note = example(), again;
    struct buf value = {0};

    note_encode(&note, &value);
    for (size_t len = 0; len < value.len - 3; len++) { /* what lacks more than the body */
        char *exact = malloc(len);

        memcpy(exact, value.data, len);
        cr_expect_eq(note_decode((struct str){exact, len}, &again), -EBADMSG, "%zu", len);
        free(exact);
    }
    value.data[0] = 2;
    cr_expect_eq(note_decode(buf_str(&value), &again), -EBADMSG);
    value.data[0] = 1;
    value.data[27] = NOTE_MAX_TAGS + 1;
    cr_expect_eq(note_decode(buf_str(&value), &again), -EBADMSG);
    value.data[27] = 1;
    value.data[28] = 1; /* a tag of 257 bytes */
    buf_reserve(&value, 1000);
    memset(value.data + value.len, 'x', 1000);
    value.len += 1000;
    cr_expect_eq(note_decode(buf_str(&value), &again), -EBADMSG);
    buf_release(&value);
}

Test(note, is_written_as_json)
{
    struct note note = example();
    struct buf json = {0};

    note_write_json(&note, &id, &json);
    cr_assert(str_eq(buf_str(&json), STR("{\"id\":\"01020304-0506-0708-090a-0b0c0d0e0f10\",\"title\":\"t\xc3\xaftle\","
                                         "\"body\":\"a\\u0000b\",\"tags\":[\"x\",\"yy\"],"
                                         "\"created_at\":\"2023-11-14T22:13:20.123Z\","
                                         "\"updated_at\":\"2023-11-14T22:13:21.000Z\"}")));
    buf_release(&json);
}

Test(note, lists_of_tags_do_not_begin_with_each_other)
{
    char a[NOTE_MAX_PREFIX], b[NOTE_MAX_PREFIX];
    struct str shorter = STR("a"), longer = {"a\xff\xff\xff\xff\xff\xff\xff\xff", 9};
    size_t a_len = note_list_prefix(&shorter, a);

    cr_assert_gt(note_list_prefix(&longer, b), a_len);
    cr_assert_neq(memcmp(a, b, a_len), 0);
}

Test(note, newer_ones_come_first_in_a_list)
{
    uint8_t newer[8], older[8];

    note_list_place(1000, newer);
    note_list_place(999, older);
    cr_assert_lt(memcmp(newer, older, 8), 0);
    cr_assert_eq(note_list_created_seq(newer), 1000);
}
