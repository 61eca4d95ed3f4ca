/* Options and what their values may be: addresses, URLs, sizes, durations. A line is an argument; those that begin with
 * "=" are NAME=VALUE of the environment. */
#include "config.h"
#include "fuzz.h"
#include "http_client.h"
#include "net_listen.h"
#include "rpc_client.h"
#include "store.h"
#include "store_etcd_internal.h"

#define MAX_ARGUMENTS 8

static const struct config_option options[] = {
    {.name = "PORT", .value = "8080", .kind = CONFIG_INT, .min = 0, .max = 65535, .unit = "port"},
    {.name = "WAIT_MS", .value = "0", .kind = CONFIG_INT, .unit = "ms"},
    {.name = "ODD", .value = "-3", .kind = CONFIG_INT, .min = INT64_MIN, .max = INT64_MAX},
    {.name = "MAX_BYTES", .value = "16Gi", .kind = CONFIG_BYTES, .min = 1 << 20, .max = 1LL << 46},
    {.name = "ANY_BYTES", .value = "1", .kind = CONFIG_BYTES, .max = INT64_MAX},
    {.name = "QUIET", .value = "false", .kind = CONFIG_BOOL},
    {.name = "LEVEL", .value = "info", .kind = CONFIG_CHOICE, .choices = "debug|info|warn"},
    {.name = "NAME", .value = "a", .min = 1, .max = 8},
    {.name = "STORE_URL", .value = "lmdb:///data", .check = store_check_url},
    {.name = "PEER", .value = "a:1", .check = http_client_check_target},
    {.name = "RPC_PEER", .value = "a:1", .check = rpc_client_check_target},
    {0},
};
static const struct config_option *const tables[] = {options};

static void check_values(const struct config *config)
{
    int64_t bytes = config_int(config, "MAX_BYTES"), port = config_int(config, "PORT");

    MUST(port >= 0 && port <= 65535 && config_int(config, "WAIT_MS") >= 0 && config_int(config, "ANY_BYTES") >= 0);
    MUST(bytes >= 1 << 20 && bytes <= 1LL << 46);
    MUST(strlen(config_string(config, "NAME")) >= 1 && strlen(config_string(config, "NAME")) <= 8);
    MUST(store_check_url(config_string(config, "STORE_URL")) == NULL);
    MUST(http_client_check_target(config_string(config, "PEER")) == NULL);
    config_int(config, "ODD");
    config_bool(config, "QUIET");
}

static void check_error(const char *error)
{
    MUST(strlen(error) > 8 && strpbrk(error, "\r\n") == NULL);
}

static void load(int argc, char **argv)
{
    struct config *config = NULL;
    char error[256] = "";
    int err = config_load(tables, 1, argc, argv, &config, error, sizeof(error));

    MUST(err == 0 || err == -EINVAL);
    if (err == 0)
        check_values(config);
    else
        check_error(error);
    config_free(config);
}

static void check_url(const char *rest)
{
    const char *why = NULL;
    struct etcd_url url;

    if (etcd_url_parse(rest, &url, &why) == 0) {
        MUST(url.endpoint_count >= 1 && url.endpoint_count <= ETCD_MAX_ENDPOINTS);
        MUST(strlen(url.prefix) >= 1 && strlen(url.prefix) <= ETCD_MAX_PREFIX);
    } else {
        check_error(why);
    }
    etcd_url_release(&url);
}

static void check_text(const char *text)
{
    const char *said[] = {store_check_url(text), http_client_check_target(text), rpc_client_check_target(text),
                          net_listen_check_host(text)};

    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        if (said[i] != NULL)
            check_error(said[i]);
    check_url(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    char program[] = "fuzz", *argv[MAX_ARGUMENTS + 2] = {program}, *text, *names[MAX_ARGUMENTS];
    int argc = 1, set = 0;

    while (input.left > 0 && argc + set < MAX_ARGUMENTS) {
        text = fuzz_cstr(&memory, fuzz_until(&input, '\n'));
        if (text[0] == '=' && strchr(text + 1, '=') > text + 1) {
            names[set++] = fuzz_cstr(&memory, (struct str){text + 1, strcspn(text + 1, "=")});
            putenv(text + 1);
        } else {
            argv[argc++] = text;
            check_text(text);
        }
    }
    load(argc, argv);
    while (set > 0)
        unsetenv(names[--set]);
    fuzz_release(&memory);
    return 0;
}
