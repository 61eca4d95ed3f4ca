#include "buf.h"
#include "config.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct config_option common[] = {
    {.name = "TEST_PORT", .value = "8080", .kind = CONFIG_INT, .min = 0, .max = 65535, .help = "The port."},
    {.name = "TEST_DELAY_MS", .value = "5", .kind = CONFIG_INT, .min = 1, .max = 60000, .unit = "ms"},
    {.name = "TEST_OFFSET", .value = "-1", .kind = CONFIG_INT, .min = -10, .max = 10},
    {.name = "TEST_COUNT", .value = "0", .kind = CONFIG_INT},
    {.name = "TEST_SIZE", .value = "16Gi", .kind = CONFIG_BYTES, .min = 1024, .max = INT64_C(1) << 44},
    {.name = "TEST_ON", .value = "false", .kind = CONFIG_BOOL, .help = "Whether."},
    {.name = "TEST_LEVEL", .value = "info", .kind = CONFIG_CHOICE, .choices = "debug|info|warning"},
    {.name = "TEST_NAME", .value = "", .kind = CONFIG_STRING, .min = 2, .max = 4},
    {0},
};
static const struct config_option own[] = {
    {.name = "TEST_PORT", .value = "9999"},
    {.name = "TEST_PEER", .value = CONFIG_REQUIRED, .kind = CONFIG_STRING, .help = "Whom to ask."},
    {0},
};
static const struct config_option *const one_table[] = {common};
static const struct config_option *const two_tables[] = {common, own};

static char error[256];

static int load_tables(const struct config_option *const tables[], size_t count, const char **argv,
                       struct config **ret_config)
{
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    return config_load(tables, count, argc, (char **)argv, ret_config, error, sizeof(error));
}

#define LOAD(ret_config, ...)                                                                                          \
    load_tables(one_table, 1, (const char *[]){"test", __VA_ARGS__ __VA_OPT__(, ) NULL}, ret_config)
#define LOAD_TWO(ret_config, ...)                                                                                      \
    load_tables(two_tables, 2, (const char *[]){"test", __VA_ARGS__ __VA_OPT__(, ) NULL}, ret_config)

#define REFUSED(line, ...)                                                                                             \
    do {                                                                                                               \
        struct config *config_ = NULL;                                                                                 \
        error[0] = '\0';                                                                                               \
        cr_expect_eq(LOAD(&config_, __VA_ARGS__), -EINVAL);                                                            \
        cr_expect_str_eq(error, line);                                                                                 \
        cr_expect_eq(config_, NULL);                                                                                   \
    } while (0)

Test(config, defaults)
{
    struct config *config;

    cr_assert_eq(LOAD(&config), 0);
    cr_expect_eq(config_int(config, "TEST_PORT"), 8080);
    cr_expect_eq(config_int(config, "TEST_OFFSET"), -1);
    cr_expect_eq(config_int(config, "TEST_SIZE"), INT64_C(16) << 30);
    cr_expect_not(config_bool(config, "TEST_ON"));
    cr_expect_str_eq(config_string(config, "TEST_LEVEL"), "info");
    cr_expect_str_eq(config_string(config, "TEST_NAME"), "");
    cr_expect_eq(config_free(config), NULL);
}

Test(config, flags_come_after_the_environment_and_that_after_defaults)
{
    struct config *config;

    setenv("TEST_PORT", "1", 1);
    setenv("TEST_DELAY_MS", "2", 1);
    setenv("TEST_OFFSET", "", 1); /* as if it were not set */
    cr_assert_eq(LOAD(&config, "--test-delay-ms", "3", "--test-on", "--test-level=debug", "--test-level=warning"), 0);
    setenv("TEST_PORT", "4", 1); /* a loaded configuration never changes */
    cr_expect_eq(config_int(config, "TEST_PORT"), 1);
    cr_expect_eq(config_int(config, "TEST_DELAY_MS"), 3);
    cr_expect_eq(config_int(config, "TEST_OFFSET"), -1);
    cr_expect(config_bool(config, "TEST_ON"));
    cr_expect_str_eq(config_string(config, "TEST_LEVEL"), "warning");
    config_free(config);
}

Test(config, a_later_table_overrides_the_default_alone)
{
    struct config *config = NULL;

    cr_assert_eq(LOAD_TWO(&config), -EINVAL);
    cr_expect_str_eq(error, "TEST_PEER: must be set");
    cr_expect_eq(LOAD_TWO(&config, "--test-peer="), -EINVAL);
    cr_expect_eq(LOAD_TWO(&config, "--test-peer=a:1", "--test-port=65536"), -EINVAL);
    cr_expect_str_eq(error, "TEST_PORT=65536: must be 0 to 65535");
    cr_assert_eq(LOAD_TWO(&config, "--test-peer", "a:1"), 0);
    cr_expect_eq(config_int(config, "TEST_PORT"), 9999);
    cr_expect_str_eq(config_string(config, "TEST_PEER"), "a:1");
    config_free(config);
}

Test(config, numbers)
{
    static const struct {
        const char *flag, *name;
        int64_t value;
    } good[] = {
        {"--test-port=0", "TEST_PORT", 0},         {"--test-port=65535", "TEST_PORT", 65535},
        {"--test-offset=-10", "TEST_OFFSET", -10}, {"--test-count=9223372036854775807", "TEST_COUNT", INT64_MAX},
        {"--test-size=1024", "TEST_SIZE", 1024},   {"--test-size=3Ki", "TEST_SIZE", 3072},
        {"--test-size=2Mi", "TEST_SIZE", 2 << 20}, {"--test-size=16Ti", "TEST_SIZE", INT64_C(1) << 44},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct config *config;
        cr_assert_eq(LOAD(&config, good[i].flag), 0, "%s: %s", good[i].flag, error);
        cr_expect_eq(config_int(config, good[i].name), good[i].value);
        config_free(config);
    }
}

Test(config, values_that_are_refused)
{
    REFUSED("TEST_PORT=99999: must be 0 to 65535", "--test-port=99999");
    REFUSED("TEST_PORT=-1: must be 0 to 65535", "--test-port", "-1");
    REFUSED("TEST_PORT=: must be 0 to 65535", "--test-port=");
    REFUSED("TEST_PORT= 1: must be 0 to 65535", "--test-port= 1");
    REFUSED("TEST_PORT=0x10: must be 0 to 65535", "--test-port=0x10");
    REFUSED("TEST_DELAY_MS=0: must be 1 to 60000 ms", "--test-delay-ms=0");
    REFUSED("TEST_OFFSET=-11: must be -10 to 10", "--test-offset=-11");
    REFUSED("TEST_OFFSET=--1: must be -10 to 10", "--test-offset=--1");
    REFUSED("TEST_COUNT=-1: must be 0 or more", "--test-count=-1");
    REFUSED("TEST_COUNT=9223372036854775808: must be 0 or more", "--test-count=9223372036854775808");
    REFUSED("TEST_SIZE=1023: must be 1Ki to 16Ti bytes", "--test-size=1023");
    REFUSED("TEST_SIZE=17Ti: must be 1Ki to 16Ti bytes", "--test-size=17Ti");
    REFUSED("TEST_SIZE=16777216Ti: must be 1Ki to 16Ti bytes", "--test-size=16777216Ti");
    REFUSED("TEST_SIZE=2Pi: must be 1Ki to 16Ti bytes", "--test-size=2Pi");
    REFUSED("TEST_SIZE=Ki: must be 1Ki to 16Ti bytes", "--test-size=Ki");
    REFUSED("TEST_SIZE=2K: must be 1Ki to 16Ti bytes", "--test-size=2K");
    REFUSED("TEST_ON=yes: must be true or false", "--test-on=yes");
    REFUSED("TEST_LEVEL=inf: must be one of debug, info, warning", "--test-level=inf");
    REFUSED("TEST_LEVEL=info|warning: must be one of debug, info, warning", "--test-level=info|warning");
    REFUSED("TEST_LEVEL=: must be one of debug, info, warning", "--test-level=");
    REFUSED("TEST_NAME=a: must be 2 to 4 characters", "--test-name=a");
    REFUSED("TEST_NAME=abcde: must be 2 to 4 characters", "--test-name=abcde");
    REFUSED("TEST_NAME=a?b?cdef: must be 2 to 4 characters", "--test-name=a\nb\tcdef");
}

Test(config, arguments_that_are_refused)
{
    REFUSED("--test-porc=1: no such option", "--test-porc=1");
    REFUSED("--test-por: no such option", "--test-por", "1");
    REFUSED("--TEST_PORT=1: no such option", "--TEST_PORT=1");
    REFUSED("--: no such option", "--");
    REFUSED("-p: unexpected argument", "-p", "1");
    REFUSED("false: unexpected argument", "--test-on", "false");
    REFUSED("--test-port: needs a value", "--test-port");
}

Test(config, an_error_of_the_environment)
{
    setenv("TEST_PORT", "http", 1);
    REFUSED("TEST_PORT=http: must be 0 to 65535", );
}

Test(config, an_error_is_cut_to_its_room)
{
    struct config *config;
    const char *argv[] = {"test", "--test-port=99999", NULL};
    char small[8];

    cr_assert_eq(config_load(one_table, 1, 2, (char **)argv, &config, small, sizeof(small)), -EINVAL);
    cr_expect_str_eq(small, "TEST_PO");
}

Test(config, help)
{
    char *help = config_help(two_tables, 2);

    cr_assert_not_null(help);
    cr_expect_str_eq(help, "  flag             environment    default   allowed\n"
                           "  --test-port      TEST_PORT      9999      0 to 65535\n"
                           "      The port.\n"
                           "  --test-delay-ms  TEST_DELAY_MS  5         1 to 60000 ms\n"
                           "  --test-offset    TEST_OFFSET    -1        -10 to 10\n"
                           "  --test-count     TEST_COUNT     0         0 or more\n"
                           "  --test-size      TEST_SIZE      16Gi      1Ki to 16Ti bytes\n"
                           "  --test-on        TEST_ON        false     true or false\n"
                           "      Whether.\n"
                           "  --test-level     TEST_LEVEL     info      one of debug, info, warning\n"
                           "  --test-name      TEST_NAME      none      2 to 4 characters\n"
                           "  --test-peer      TEST_PEER      required\n"
                           "      Whom to ask.\n");
    free(help);
}

Test(config, is_described_without_secrets)
{
    static const struct config_option options[] = {
        {.name = "TEST_NAME", .value = "", .kind = CONFIG_STRING},
        {.name = "TEST_COUNT", .value = "7", .kind = CONFIG_INT},
        {.name = "TEST_KEY", .value = "", .kind = CONFIG_STRING, .max = 8, .secret = true},
        {.name = "TEST_OTHER_KEY", .value = "", .kind = CONFIG_STRING, .secret = true},
        {0},
    };
    const struct config_option *const table[] = {options};
    const char *arguments[] = {"test", "--test-name=\"a\"", "--test-key=s3cret", NULL};
    struct config *config;
    struct buf out = {0};

    cr_assert_eq(load_tables(table, 1, arguments, &config), 0);
    config_describe(config, &out);
    buf_append_char(&out, '\0');
    cr_expect_str_eq(out.data, "{\"TEST_NAME\":\"\\\"a\\\"\",\"TEST_COUNT\":\"7\",\"TEST_KEY\":\"(hidden)\","
                               "\"TEST_OTHER_KEY\":\"\"}");
    buf_release(&out);
    config_free(config);
    arguments[2] = "--test-key=s3cret-s3cret";
    cr_assert_eq(load_tables(table, 1, arguments, &config), -EINVAL);
    cr_expect_str_eq(error, "TEST_KEY: must be 0 to 8 characters");
}
