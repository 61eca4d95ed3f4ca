/* The small ones: err, clock, uuid. */
#include "clock.h"
#include "err.h"
#include "uuid.h"
#include <criterion/criterion.h>
#include <errno.h>

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

Test(clock, writes_rfc_3339)
{
    char text[CLOCK_RFC3339_SIZE];

    cr_assert_str_eq(clock_rfc3339(0, 0, text), "1970-01-01T00:00:00Z");
    cr_assert_str_eq(clock_rfc3339(951827696000000001, 9, text), "2000-02-29T12:34:56.000000001Z");
    cr_assert_str_eq(clock_rfc3339(951827696123999999, 3, text), "2000-02-29T12:34:56.123Z");
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
