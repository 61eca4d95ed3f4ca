/* demo -- demonstrates the metrics for dashboards and alerts: says hello, fails at random. */
#include "demo.h"
#include "demo_openapi.h"
#include "svc.h"
#include <stdio.h>
#include <sys/random.h>

/* A metric can carry nothing else. */
static const char *check_utf8(const char *value)
{
    size_t code_points;

    return str_utf8_length(str_of(value), &code_points) == 0 ? NULL : "must be UTF-8";
}

static const struct config_option options[] = {
    {"SERVICE_NAME", "demo", CONFIG_STRING, 1, 128, .help = "label service of http_server_resp_time",
     .check = check_utf8},
    {"HTTP_METRICS", "true", CONFIG_BOOL, .help = "serve /metrics on PORT, too; set false if PORT is public"},
    {"REQUEST_TIMEOUT_MS", "65000"}, /* a little beyond the longest delay */
    {"SHUTDOWN_TIMEOUT_SECONDS", "65"},
    {0},
};

static struct http_reply *random_error(struct http_req *req)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random) || random % 10 != 0)
        return http_reply_text(200, "text/plain; charset=utf-8", STR("Everything is still OK\n"));
    return http_reply_text(500, "text/plain; charset=utf-8", STR("ERROR: Something, somewhere, went wrong!\n"));
}

static struct http_reply *metrics_get(struct http_req *req)
{
    const struct demo *demo = req->state;

    return demo->http_metrics ? svc_metrics_page(demo->metrics, req) : http_problem(404, "no such path");
}

/* The labels are the library's and the service's own words: bounded whatever is asked for. */
static void observe(void *state, const struct http_observed *observed)
{
    struct demo *demo = state;
    char code[12];
    const struct str labels[] = {str_of(demo->service_name),
                                 {code, (size_t)snprintf(code, sizeof(code), "%d", observed->status)},
                                 str_of(observed->method),
                                 str_of(observed->route->path)};

    metrics_observe(metrics_series(demo->response_time, labels), (double)observed->latency_ns / 1e9);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/demo/hello", .handler = hello_get, .observe = observe},
    {.method = "GET", .path = "/demo/random-error", .handler = random_error, .observe = observe},
    {.method = "GET", .path = "/metrics", .handler = metrics_get, .unrecorded = true},
    HTTP_DESCRIPTION(demo_openapi_json),
    {0},
};

/* Those of the original of this service, whose dashboards ask for them. */
static const double bounds[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

static const struct metrics_def response_time = {
    .name = "http_server_resp_time",
    .help = "Request response time",
    .type = METRICS_HISTOGRAM,
    .labels = {"service", "code", "method", "path"},
    .buckets = bounds,
    .bucket_count = sizeof(bounds) / sizeof(bounds[0]),
};

static int start(struct svc *svc, void *state)
{
    struct demo *demo = state;

    demo->metrics = svc_metrics(svc);
    demo->service_name = config_string(svc_config(svc), "SERVICE_NAME");
    demo->http_metrics = config_bool(svc_config(svc), "HTTP_METRICS");
    demo->workers = svc_workers(svc);
    demo->response_time = metrics_family(demo->metrics, &response_time);
    return hello_open(demo);
}

static void stop(void *state)
{
    hello_close(state);
}

int main(int argc, char **argv)
{
    struct demo demo = {0};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "demo",
                                      .summary = "demonstrates metrics: says hello, fails at random",
                                      .state = &demo,
                                      .options = options,
                                      .routes = routes,
                                      .start = start,
                                      .stop = stop});
}
