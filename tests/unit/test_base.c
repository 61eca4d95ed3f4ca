/* The small ones: budget, seldom, share, err, clock, uuid, hex, varint, fnv, wait_group. */
#include "budget.h"
#include "clock.h"
#include "err.h"
#include "fnv.h"
#include "hex.h"
#include "seldom.h"
#include "share.h"
#include "thread.h"
#include "uuid.h"
#include "varint.h"
#include "wait_group.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

Test(err, one_table_for_both_protocols)
{
    cr_assert_eq(err_http_status(-ENOENT), 404);
    cr_assert_eq(err_http_status(ENOENT), 404);
    cr_assert_eq(err_http_status(0), 200);
    cr_assert_eq(err_http_status(-EXDEV), 500);
    cr_assert_eq(err_grpc_status(-ENOSPC), ERR_GRPC_RESOURCE_EXHAUSTED);
    cr_assert_eq(err_grpc_status(0), ERR_GRPC_OK);
    cr_assert_eq(err_grpc_status(-EXDEV), ERR_GRPC_INTERNAL);
    cr_assert_str_eq(err_text(-ENOSPC), "the store is full");
    cr_assert_str_eq(err_text(-EXDEV), "internal error");
    cr_assert_str_eq(err_text(0), "success");
    cr_assert_str_eq(err_grpc_name(14), "UNAVAILABLE");
    cr_assert_str_eq(err_grpc_name(99), "UNKNOWN");
    cr_assert_str_eq(err_grpc_name(-1), "UNKNOWN");
    cr_assert_str_eq(err_http_reason(404), "Not Found");
    cr_assert_str_eq(err_http_reason(299), "");
}

Test(err, a_grpc_status_becomes_an_errno_of_the_same_status)
{
    cr_assert_eq(err_from_grpc(ERR_GRPC_OK), 0);
    cr_assert_eq(err_from_grpc(ERR_GRPC_ABORTED), -EAGAIN);
    cr_assert_eq(err_from_grpc(ERR_GRPC_INTERNAL), -EIO);
    cr_assert_eq(err_from_grpc(1234), -EIO);
    for (int status = 1; status <= 16; status++)
        if (status != ERR_GRPC_ABORTED && status != ERR_GRPC_UNKNOWN && status != ERR_GRPC_OUT_OF_RANGE &&
            status != ERR_GRPC_UNAUTHENTICATED)
            cr_assert_eq((int)err_grpc_status(err_from_grpc(status)), status, "status %d", status);
}

/* Of what the client has done wrong, the log says 4xx. */
Test(err, the_http_status_of_a_grpc_status)
{
    static const enum err_grpc clients[] = {
        ERR_GRPC_CANCELLED,         ERR_GRPC_INVALID_ARGUMENT,   ERR_GRPC_NOT_FOUND,           ERR_GRPC_ALREADY_EXISTS,
        ERR_GRPC_PERMISSION_DENIED, ERR_GRPC_RESOURCE_EXHAUSTED, ERR_GRPC_FAILED_PRECONDITION, ERR_GRPC_ABORTED,
        ERR_GRPC_OUT_OF_RANGE,      ERR_GRPC_UNIMPLEMENTED,      ERR_GRPC_UNAUTHENTICATED};
    static const enum err_grpc servers[] = {ERR_GRPC_UNKNOWN, ERR_GRPC_DEADLINE_EXCEEDED, ERR_GRPC_INTERNAL,
                                            ERR_GRPC_UNAVAILABLE, ERR_GRPC_DATA_LOSS};

    cr_assert_eq(err_grpc_http_status(ERR_GRPC_OK), 200);
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
        cr_assert_eq(err_grpc_http_status(clients[i]) / 100, 4, "%s", err_grpc_name(clients[i]));
    for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
        cr_assert_eq(err_grpc_http_status(servers[i]) / 100, 5, "%s", err_grpc_name(servers[i]));
    cr_assert_eq(err_grpc_http_status(17), 500);
    cr_assert_eq(err_grpc_http_status(-1), 500);
}

Test(clock, writes_rfc_3339)
{
    char text[CLOCK_RFC3339_SIZE];

    cr_assert_str_eq(clock_rfc3339(0, 0, text), "1970-01-01T00:00:00Z");
    cr_assert_str_eq(clock_rfc3339(951827696000000001, 9, text), "2000-02-29T12:34:56.000000001Z");
    cr_assert_str_eq(clock_rfc3339(951827696123999999, 3, text), "2000-02-29T12:34:56.123Z");
    /* Every day of 450 years, as the C library says it. */
    for (time_t day = 0; day < 450 * 366; day++) {
        time_t second = day * 86400 + day % 86400;
        char expected[CLOCK_RFC3339_SIZE];
        struct tm tm;

        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&second, &tm));
        cr_assert_str_eq(clock_rfc3339((uint64_t)second * CLOCK_NS_PER_S, 0, text), expected);
    }
    cr_assert_gt(clock_realtime_ns(), 1700000000 * CLOCK_NS_PER_S);
    cr_assert_leq(clock_monotonic_ns(), clock_monotonic_ns());
}

Test(uuid, is_version_7_and_survives_text)
{
    struct uuid a, b, parsed;
    char text[UUID_TEXT_LEN + 1];

    cr_assert_eq(uuid_new(&a), 0);
    cr_assert_eq(uuid_new(&b), 0);
    cr_assert_arr_neq(a.bytes, b.bytes, 16);
    uuid_format(&a, text);
    cr_assert_eq(text[14], '7');
    cr_assert_not_null(strchr("89ab", text[19]));
    cr_assert_eq(uuid_parse(str_of(text), &parsed), 0);
    cr_assert_arr_eq(a.bytes, parsed.bytes, 16);
    cr_assert_eq(uuid_parse(STR("0190163D-8694-739B-AEA5-966C26F8AD91"), &parsed), 0);
    cr_assert_eq(parsed.bytes[3], 0x3d);
}

/* Random bytes are taken from the kernel in advance: a child process must not use those of its parent. */
Test(uuid, differs_in_a_child_process)
{
    struct uuid first, ours, childs;
    int ends[2];
    pid_t child;

    cr_assert_eq(uuid_new(&first), 0); /* there are random bytes in stock now */
    cr_assert_eq(pipe(ends), 0);
    child = fork();
    if (child == 0)
        _exit(uuid_new(&childs) == 0 && write(ends[1], childs.bytes, sizeof(childs.bytes)) == sizeof(childs.bytes) ? 0
                                                                                                                   : 1);
    cr_assert_eq(uuid_new(&ours), 0);
    cr_assert_eq(read(ends[0], childs.bytes, sizeof(childs.bytes)), (ssize_t)sizeof(childs.bytes));
    cr_assert_eq(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    cr_assert_arr_neq(ours.bytes + 8, childs.bytes + 8, 8); /* all random but two bits */
}

Test(uuid, refuses_other_forms)
{
    static const char *const invalid[] = {"",
                                          "0190163d-8694-739b-aea5-966c26f8ad9",
                                          "0190163d-8694-739b-aea5-966c26f8ad911",
                                          "0190163d_8694-739b-aea5-966c26f8ad91",
                                          "0190163g-8694-739b-aea5-966c26f8ad91",
                                          "0190163d86940739b0aea50966c26f8ad91x"};
    struct uuid uuid;

    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++)
        cr_assert_eq(uuid_parse(str_of(invalid[i]), &uuid), -EINVAL, "%s", invalid[i]);
}

Test(hex, encodes_lower_case_and_reads_it_back)
{
    const uint8_t bytes[] = {0x00, 0x9f, 0xab, 0xff};
    uint8_t back[sizeof(bytes)];
    char text[2 * sizeof(bytes) + 1] = {0};

    cr_assert_eq(hex_encode(bytes, sizeof(bytes), text), text + 2 * sizeof(bytes));
    cr_assert_str_eq(text, "009fabff");
    cr_assert(hex_decode_lower(text, back, sizeof(back)));
    cr_assert_arr_eq(back, bytes, sizeof(bytes));
}

Test(hex, every_character_is_a_digit_or_not)
{
    for (int c = 0; c < 256; c++) {
        const char *at = c != 0 ? strchr("0123456789abcdefABCDEF", c) : NULL;
        const char digits[2] = {(char)c, '0'}, turned[2] = {'0', (char)c};

        cr_assert_eq(hex_digit((char)c) >= 0, at != NULL, "character %d", c);
        cr_assert_eq(hex_digit_lower((char)c) >= 0, at != NULL && !(c >= 'A' && c <= 'F'), "character %d", c);
        cr_assert_eq(hex_byte(digits) >= 0, at != NULL);
        cr_assert_eq(hex_byte(turned) >= 0, at != NULL);
    }
    cr_assert_eq(hex_byte("aF"), 0xaf);
}

Test(hex, a_number_has_sixteen_lower_case_digits)
{
    uint64_t value = 7;

    cr_assert(hex_read_u64_lower("0123456789abcdef", &value));
    cr_assert_eq(value, 0x0123456789abcdefu);
    cr_assert(!hex_read_u64_lower("0123456789ABCDEF", &value));
    cr_assert(!hex_read_u64_lower("0123456789abcde-", &value));
    cr_assert_eq(value, 0x0123456789abcdefu, "untouched");
}

Test(varint, takes_what_is_whole_and_leaves_the_rest)
{
    struct str bytes = STR("\xac\x02"
                           "abc"),
               taken;
    uint64_t value;

    cr_assert(varint_take(&bytes, &value));
    cr_assert_eq(value, 300);
    cr_assert(varint_take_bytes(&bytes, 2, &taken));
    cr_assert(str_eq(taken, STR("ab")) && str_eq(bytes, STR("c")));
    cr_assert(!varint_take_bytes(&bytes, 2, &taken));
    cr_assert(!varint_take_bytes(&bytes, UINT64_MAX, &taken));
    cr_assert(str_eq(bytes, STR("c")), "nothing was taken");
    bytes = STR("\x80\x80");
    cr_assert(!varint_take(&bytes, &value), "it goes on");
    cr_assert_eq(bytes.len, 2);
    bytes = STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    cr_assert(varint_take(&bytes, &value));
    cr_assert_eq(value, UINT64_MAX);
    bytes = STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
    cr_assert(!varint_take(&bytes, &value), "eleven bytes");
}

/* The values of the reference (http://www.isthe.com/chongo/src/fnv/test_fnv.c): what is chosen by them must not move.
 */
Test(fnv, is_fnv1a_of_64_bits)
{
    cr_assert_eq(fnv_str(FNV_BEGIN, STR("")), 0xcbf29ce484222325u);
    cr_assert_eq(fnv_str(FNV_BEGIN, STR("a")), 0xaf63dc4c8601ec8cu);
    cr_assert_eq(fnv_str(FNV_BEGIN, STR("foobar")), 0x85944171f73967e8u);
    cr_assert_eq(fnv_str(fnv_str(FNV_BEGIN, STR("foo")), STR("bar")), 0x85944171f73967e8u);
}

/* ---- wait_group ---- */

static void *end_one(void *group)
{
    wait_group_done(group);
    return NULL;
}

Test(wait_group, waits_until_all_has_ended_or_for_its_time)
{
    struct wait_group group;
    pthread_t thread;

    wait_group_init(&group);
    cr_assert(wait_group_wait(&group, 0), "nothing has begun");
    wait_group_add(&group);
    wait_group_add(&group);
    cr_assert(!wait_group_wait(&group, clock_monotonic_ns() + CLOCK_NS_PER_MS));
    wait_group_done(&group);
    cr_assert(!wait_group_wait(&group, 0), "one is left");
    cr_assert_eq(thread_start(&thread, "end-one", end_one, &group), 0);
    cr_assert(wait_group_wait(&group, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S));
    pthread_join(thread, NULL);
    wait_group_release(&group);
}

Test(budget, takes_nothing_where_a_bound_would_be_exceeded)
{
    struct budget budget = {.max = 100}, unbounded = {0};

    cr_assert(budget_take(&budget, 100));
    cr_assert(!budget_take(&budget, 1));
    cr_assert_eq(budget_used(&budget), 100u);
    cr_assert(!budget_exceeded(&budget));
    budget_add(&budget, 1);
    cr_assert(budget_exceeded(&budget));
    budget_give(&budget, 101);
    cr_assert_eq(budget_used(&budget), 0u);
    cr_assert(budget_take(&unbounded, SIZE_MAX / 2));
    cr_assert(!budget_exceeded(&unbounded));
}

/* What one part has taken, another cannot have. */
Test(budget, a_part_takes_of_the_whole)
{
    struct budget whole = {.max = 150}, one = {.max = 100, .whole = &whole}, other = {.max = 100, .whole = &whole};

    cr_assert(budget_take(&one, 100));
    cr_assert(!budget_take(&other, 51));
    cr_assert_eq(budget_used(&other), 0u);
    cr_assert_eq(budget_used(&whole), 100u);
    cr_assert(budget_take(&other, 50));
    cr_assert(!budget_take(&one, 1));
    budget_add(&other, 1);
    cr_assert(budget_exceeded(&one));
    budget_give(&one, 100);
    cr_assert(!budget_exceeded(&other));
    budget_give(&other, 51);
    cr_assert_eq(budget_used(&whole), 0u);
}

Test(budget, whoever_holds_a_third_makes_room_in_the_whole)
{
    struct budget whole = {.max = 160}, large = {.max = 100, .whole = &whole}, small = {.max = 100, .whole = &whole};
    struct budget alone = {.max = 100};

    budget_add(&alone, 200);
    cr_expect_eq(budget_surplus_of_whole(&alone), 0u);
    budget_add(&large, 110);
    budget_add(&small, 40);
    cr_expect_eq(budget_surplus_of_whole(&large), 0u, "a sixteenth is free");
    budget_add(&small, 2);
    cr_expect_eq(budget_surplus_of_whole(&large), 12u);
    cr_expect_eq(budget_surplus_of_whole(&small), 0u);
    budget_give(&large, 12);
    cr_expect_eq(budget_surplus_of_whole(&large), 0u);
    budget_add(&small, 20);
    cr_expect_eq(budget_surplus_of_whole(&large), 20u);
    cr_expect_eq(budget_surplus_of_whole(&small), 20u);
}

Test(share, bounds_those_who_have_an_equal_part_once_little_is_left)
{
    cr_assert(!share_is_taken(74, 74, 100, 2));
    cr_assert(share_is_taken(50, 75, 100, 2));
    cr_assert(!share_is_taken(49, 75, 100, 2));
    cr_assert(!share_is_taken(99, 99, 100, 1));
    cr_assert(!share_is_taken(0, 99, 100, 1000));
    cr_assert(share_is_taken(1, 99, 100, 1000));
}

Test(seldom, is_true_once_in_its_interval)
{
    _Atomic uint64_t due_ns = 0;

    cr_assert(seldom(&due_ns, 3600 * CLOCK_NS_PER_S));
    cr_assert(!seldom(&due_ns, 3600 * CLOCK_NS_PER_S));
    due_ns = 1;
    cr_assert(seldom(&due_ns, 3600 * CLOCK_NS_PER_S));
}
