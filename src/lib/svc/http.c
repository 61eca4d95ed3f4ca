/* The server of a service's routes. */
#include "http_cors.h"
#include "svc_server.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct config_option options[] = {
    {"PORT", "8080", CONFIG_INT, 0, 65535, .help = "port of HTTP; 0: any free port"},
    {"REQUEST_TIMEOUT_MS", "30000", CONFIG_INT, 1, 3600000, .unit = "ms", .help = "time limit for a deferred reply"},
    {"HTTP_IDLE_SECONDS", "620", CONFIG_INT, 1, 86400, .unit = "s",
     .help = "close idle connections after this time; must be longer than that of the load balancer"},
    {"HTTP_COMPRESSION", "false", CONFIG_BOOL,
     .help = "compress replies from 1 KiB on by gzip for clients that accept it"},
    {"CORS_ALLOWED_ORIGINS", "",
     .help = "origins whose web pages may read responses: https://example.com,...; *: all; empty: none",
     .check = http_cors_check},
    {"CORS_ALLOW_CREDENTIALS", "false", CONFIG_BOOL, .help = "allow these pages to send cookies; not with *"},
    SVC_AUTH_OPTION,
    {0},
};

struct server {
    struct http_auth *auth; /* svc's */
    struct http_cors cors;
    struct http_server *http;
};

static int open_server(struct svc *svc, struct server *server)
{
    const struct config *config = svc_config(svc);
    struct http_server_def def = {
        .name = "http",
        .routes = svc_definition(svc)->routes,
        .state = svc_definition(svc)->state,
        .auth = server->auth,
        .compress = config_bool(config, "HTTP_COMPRESSION"),
        .cors = server->cors.any || server->cors.count > 0 ? &server->cors : NULL,
        .log = svc_log(svc),
        .metrics = svc_metrics(svc),
        .spans = svc_spans(svc),
        .workers = svc_workers(svc),
        .max_connections = svc_max_connections(svc),
        .address_bound = svc_address_bound(svc),
        .max_lingering = svc_max_lingering(svc),
        .request_timeout_ms = (unsigned)config_int(config, "REQUEST_TIMEOUT_MS"),
        .idle_timeout_ms = (unsigned)config_int(config, "HTTP_IDLE_SECONDS") * 1000,
        .max_memory = svc_memory_part(svc, MEMORY_HTTP),
        .whole = svc_memory_budget(svc),
    };
    int fd, r = svc_listen(svc, &svc_http_server, &fd);

    return r != 0 ? r : http_server_open(fd, &def, &server->http);
}

static int read_cors(struct svc *svc, struct http_cors *cors)
{
    const struct config *config = svc_config(svc);

    if (http_cors_parse(config_string(config, "CORS_ALLOWED_ORIGINS"), cors) < 0)
        assert(!"the option was checked");
    cors->credentials = config_bool(config, "CORS_ALLOW_CREDENTIALS");
    if (cors->credentials && cors->any)
        return svc_fail(svc, "CORS_ALLOW_CREDENTIALS needs CORS_ALLOWED_ORIGINS to name the origins, not *");
    return 0;
}

static int check_http(struct svc *svc)
{
    struct http_cors cors;
    int r = read_cors(svc, &cors);

    return r == 0 ? svc_check_auth(svc) : r;
}

static int open_http(struct svc *svc, void **ret_server)
{
    struct server *server = calloc(1, sizeof(*server));
    int r;

    assert(svc_definition(svc)->routes != NULL);
    if (server == NULL)
        return -ENOMEM;
    *ret_server = server;
    r = read_cors(svc, &server->cors);
    if (r == 0)
        r = svc_open_auth(svc, &server->auth);
    return r == 0 ? open_server(svc, server) : r;
}

static void start_http(void *server)
{
    http_server_start(((struct server *)server)->http);
}

/* HTTP has no word for serving; that it ends is said by Connection: close. */
static void set_serving(void *server, bool serving)
{
    if (!serving)
        http_server_discourage(((struct server *)server)->http);
}

static void drain_http(void *server)
{
    http_server_drain(((struct server *)server)->http);
}

static int wait_http(void *server, uint64_t deadline_ns)
{
    return http_server_wait(((struct server *)server)->http, deadline_ns);
}

static void close_http(void *memory)
{
    struct server *server = memory;

    if (server == NULL)
        return;
    if (server->http != NULL)
        http_server_close(server->http);
    free(server);
}

static struct loop *loop_of(const void *server, unsigned worker)
{
    return http_server_loop(((const struct server *)server)->http, worker);
}

static void list(void *server, unsigned worker, unsigned max, const struct net_listing *listing)
{
    http_server_list(((struct server *)server)->http, worker, max, listing);
}

static uint64_t last_turn_ns(const void *server)
{
    return http_server_last_turn_ns(((const struct server *)server)->http);
}

const struct svc_server_type svc_http_server = {
    .protocol = "http",
    .options = options,
    .check = check_http,
    .open = open_http,
    .start = start_http,
    .set_serving = set_serving,
    .drain = drain_http,
    .wait = wait_http,
    .close = close_http,
    .last_turn_ns = last_turn_ns,
    .loop = loop_of,
    .list_loop = loop_of,
    .list = list,
};
