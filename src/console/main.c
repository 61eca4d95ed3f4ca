/* console -- shows the fleet live: OTLP in by gRPC, a page, a JSON API and server-sent events out; see console.h. */
#include "console.descriptors.h"
#include "console.h"
#include "console_openapi.h"
#include "svc.h"
#include <errno.h>

static const struct config_option options[] = {
    {"CONSOLE_MEMORY_BYTES", "12Mi", CONFIG_BYTES, 1 << 20, 1LL << 34,
     .help = "of the spans, log lines and replicas that are kept"},
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
    {.method = "GET", .path = "/", .handler = files_get},
    {.method = "GET", .path = "/{name}", .handler = files_get},
    {.method = "GET", .path = "/{folder}/{name}", .handler = files_get},
    HTTP_DESCRIPTION(console_openapi_json),
    {0},
};

static int start(struct svc *svc, void *state)
{
    struct console *console = state;
    int r = console_open(console, (size_t)config_int(svc_config(svc), "CONSOLE_MEMORY_BYTES"));

    return r == 0 ? events_open(console, &console->events) : r;
}

static void stop(void *state)
{
    struct console *console = state;

    console->events = events_close(console->events);
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
                                      .start = start,
                                      .stop = stop});
}
