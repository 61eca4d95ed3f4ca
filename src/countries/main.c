/* countries -- returns the name and country of a user over HTTP; calls users. */
#include "countries.h"
#include "countries_openapi.h"
#include "svc.h"

static const struct config_option options[] = {
    {"USERS_SERVICE_ADDR", CONFIG_REQUIRED, CONFIG_STRING, 1, 1024, .help = "host:port of users",
     .check = http_client_check_target},
    {"USERS_TIMEOUT_MS", "1000", CONFIG_INT, 1, 60000, .unit = "ms", .help = "time limit for a response of users"},
    {0},
};

static const struct http_route routes[] = {
    {.method = "GET", .path = "/countries", .handler = countries_get},
    HTTP_DESCRIPTION(countries_openapi_json),
    {0},
};

static int start(struct svc *svc, void *state)
{
    struct countries *countries = state;
    unsigned timeout_ms = (unsigned)config_int(svc_config(svc), "USERS_TIMEOUT_MS");
    const struct http_client_def def = {
        .name = "users",
        .target = config_string(svc_config(svc), "USERS_SERVICE_ADDR"),
        .metrics = svc_metrics(svc),
        .spans = svc_spans(svc),
        .workers = svc_workers(svc),
        .max_memory = svc_memory_part(svc, MEMORY_HTTP_OUTGOING),
        .whole = svc_memory_budget(svc),
        .max_body = COUNTRIES_MAX_ANSWER,
        .connect_timeout_ms = timeout_ms / 4 + 1, /* leaves time for another address when one is silent */
    };

    countries->timeout_ms = timeout_ms;
    return http_client_open(&def, &countries->users);
}

static void stop(void *state)
{
    struct countries *countries = state;

    countries->users = http_client_free(countries->users);
}

int main(int argc, char **argv)
{
    struct countries countries = {0};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "countries",
                                      .summary = "returns the name and country of a user",
                                      .state = &countries,
                                      .options = options,
                                      .routes = routes,
                                      .start = start,
                                      .stop = stop});
}
