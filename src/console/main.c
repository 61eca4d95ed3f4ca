/* console -- shows the fleet live: OTLP in by gRPC, a page, a JSON API and server-sent events out; see console.h. */
#include "console.descriptors.h"
#include "console.h"
#include "console_openapi.h"
#include "local.h"
#include "svc.h"
#include <errno.h>

static const struct config_option options[] = {
    {"CONSOLE_MEMORY_BYTES", "16Mi", CONFIG_BYTES, 1 << 20, 1LL << 34,
     .help = "of the spans, log lines and replicas that are kept"},
    {"CONSOLE_TOKEN_FILE", "",
     .help = "file of the token that lets the page send requests to services of this machine; empty: it only shows"},
    {"CONSOLE_SERVICES_FILE", "", .help = "file that says where those services are: up.json of ./dev up"},
    {"GRPC_MAX_MESSAGE_BYTES", "4Mi"}, /* what exporters send at most */
    {"LOG_LEVEL", "notice"},           /* else a line for each batch that it gets */
    {0},
};

static const struct http_route routes[] = {
    {.method = "GET", .path = "/api/fleet", .handler = api_fleet, .unrecorded = true},
    {.method = "GET", .path = "/api/events", .handler = events_get},
    {.method = "GET", .path = "/api/traces", .handler = api_traces},
    {.method = "GET", .path = "/api/traces/{trace_id}", .handler = api_trace},
    {.method = "GET", .path = "/api/logs", .handler = api_logs},
    {.method = "GET", .path = "/api/timeline", .handler = api_timeline},
    {.method = "GET", .path = "/api/stores", .handler = api_stores},
    {.method = "GET", .path = "/api/interfaces", .handler = interfaces_get},
    {.method = "GET", .path = "/api/interfaces/{service}/openapi.json", .handler = interfaces_document},
    {.method = "POST", .path = "/api/try", .handler = try_post, .max_body = 2 * TRY_MAX_REQUEST},
    {.method = "POST", .path = "/api/traffic", .handler = traffic_post, .max_body = 8192},
    {.method = "GET", .path = "/", .handler = files_get},
    {.method = "GET", .path = "/{name}", .handler = files_get},
    {.method = "GET", .path = "/{folder}/{name}", .handler = files_get},
    HTTP_DESCRIPTION(console_openapi_json),
    {0},
};

/* The files that options name, for -n. */
static int check(struct svc *svc)
{
    const char *file = config_string(svc_config(svc), "CONSOLE_TOKEN_FILE"), *wrong = local_check(file);

    return wrong != NULL ? svc_fail(svc, "CONSOLE_TOKEN_FILE=%s: %s", file, wrong) : 0;
}

static int start(struct svc *svc, void *state)
{
    struct console *console = state;
    int r = console_open(console, (size_t)config_int(svc_config(svc), "CONSOLE_MEMORY_BYTES"));

    if (r == 0)
        r = local_open(svc, &console->local);
    return r == 0 ? events_open(console, &console->events) : r;
}

static void stop(void *state)
{
    struct console *console = state;

    console->events = events_close(console->events);
    console->local = local_close(console->local);
    console_close(console);
}

int main(int argc, char **argv)
{
    static struct console console;

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "console",
                                      .summary = "shows the fleet live",
                                      .state = &console,
                                      .options = options,
                                      .routes = routes,
                                      .rpc = RPC_SERVICE(receive_methods, console_descriptors),
                                      .grpc_port = "4317",
                                      .check = check,
                                      .start = start,
                                      .stop = stop});
}
