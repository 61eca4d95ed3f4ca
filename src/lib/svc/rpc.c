/* The server of a service's rpcs. Services without any do not link this file, and so no gRPC. */
#include "clock.h"
#include "http_auth.h"
#include "svc_context.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct config_option options[] = {
    {"GRPC_PORT", "9000", CONFIG_INT, 0, 65535, .help = "port of gRPC; 0: any free port"},
    {"GRPC_MAX_MESSAGE_BYTES", "64Ki", CONFIG_BYTES, 1024, 64 << 20,
     .help = "largest request message; a larger one gets RESOURCE_EXHAUSTED"},
    {"GRPC_COMPRESS_FROM_BYTES", "0", CONFIG_BYTES, 0, 64 << 20,
     .help = "compress responses from this size if the client accepts gzip; 0: only if a handler asks for it"},
    {"MAX_CONNECTION_AGE_MS", "10000", CONFIG_INT, 100, 3600000, .unit = "ms",
     .help = "age at which connections end gracefully, so that clients connect again; varied by 10 %"},
    SVC_AUTH_OPTION,
    {0},
};

struct server {
    struct http_auth *auth; /* svc's; NULL: everybody may call */
    struct rpc_interceptor authorization;
    struct loop **loops; /* of the HTTP server, one for each worker; NULL: there is none */
    struct rpc_server *rpc;
};

/* As for HTTP: see http_auth.h. */
static void authorize(struct rpc_call *call, void *state)
{
    struct http_reply *reply = NULL;
    bool unknown;

    if (http_auth_admits(state, rpc_call_metadata(call, "authorization"), clock_monotonic_ns(), &reply))
        return;
    unknown = reply != NULL && http_reply_status(reply) == 401;
    http_reply_free(reply);
    if (unknown)
        rpc_finish(call, ERR_GRPC_UNAUTHENTICATED, "a valid bearer token is required");
    else
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "the rate of this bearer token is exceeded");
}

static int find_loops(const struct svc *svc, struct server *server)
{
    if (svc_worker_loop(svc, 0) == NULL)
        return 0;
    server->loops = calloc(svc_workers(svc), sizeof(*server->loops));
    if (server->loops == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < svc_workers(svc); i++)
        server->loops[i] = svc_worker_loop(svc, i);
    return 0;
}

static int open_server(struct svc *svc, struct server *server)
{
    const struct svc_def *service = svc_definition(svc);
    struct rpc_server_def def = {
        .methods = service->rpc->methods,
        .descriptors = service->rpc->descriptors,
        .descriptors_len = service->rpc->descriptors_len,
        .state = service->state,
        .ready = service->ready != NULL || service->store != NULL ? svc_admin_ready : NULL,
        .ready_state = &svc->admin,
        .log = svc_log(svc),
        .metrics = svc_metrics(svc),
        .spans = svc_spans(svc),
        .interceptors = &server->authorization,
        .interceptor_count = server->auth != NULL,
        .loops = server->loops,
        .threads = svc_workers(svc),
        .max_message = (size_t)config_int(svc_config(svc), "GRPC_MAX_MESSAGE_BYTES"),
        .compress_from = (size_t)config_int(svc_config(svc), "GRPC_COMPRESS_FROM_BYTES"),
        .max_connections = svc_max_connections(svc),
        .address_bound = svc_address_bound(svc),
        .max_connection_age_ms = (unsigned)config_int(svc_config(svc), "MAX_CONNECTION_AGE_MS"),
        .max_memory = svc_memory_part(svc, MEMORY_GRPC),
        .whole = svc_memory_budget(svc),
    };
    int fd, r = svc_listen(svc, &svc_rpc_server, &fd);

    server->authorization = (struct rpc_interceptor){.before = authorize, .state = server->auth};
    return r != 0 ? r : rpc_server_open(fd, &def, &server->rpc);
}

static int open_rpc(struct svc *svc, void **ret_server)
{
    struct server *server = calloc(1, sizeof(*server));
    int r;

    assert(svc_definition(svc)->rpc != NULL);
    if (server == NULL)
        return -ENOMEM;
    *ret_server = server;
    r = svc_open_auth(svc, &server->auth);
    if (r == 0)
        r = find_loops(svc, server);
    return r == 0 ? open_server(svc, server) : r;
}

static void start_rpc(void *server)
{
    rpc_server_start(((struct server *)server)->rpc);
}

static void set_serving(void *server, bool serving)
{
    rpc_server_set_serving(((struct server *)server)->rpc, serving);
}

static void drain_rpc(void *server)
{
    rpc_server_drain(((struct server *)server)->rpc);
}

static int wait_rpc(void *server, uint64_t deadline_ns)
{
    return rpc_server_wait(((struct server *)server)->rpc, deadline_ns);
}

static void close_rpc(void *memory)
{
    struct server *server = memory;

    if (server == NULL)
        return;
    rpc_server_close(server->rpc);
    free(server->loops);
    free(server);
}

static struct loop *loop_of(const void *server, unsigned worker)
{
    return rpc_server_loop(((const struct server *)server)->rpc, worker);
}

static void list(void *server, unsigned worker, unsigned max, const struct net_listing *listing)
{
    rpc_server_list(((struct server *)server)->rpc, worker, max, listing);
}

static uint64_t last_turn_ns(const void *server)
{
    return rpc_server_last_turn_ns(((const struct server *)server)->rpc);
}

const struct svc_server_type svc_rpc_server = {
    .protocol = "grpc",
    .options = options,
    .check = svc_check_auth,
    .open = open_rpc,
    .start = start_rpc,
    .set_serving = set_serving,
    .drain = drain_rpc,
    .wait = wait_rpc,
    .close = close_rpc,
    .last_turn_ns = last_turn_ns,
    .list_loop = loop_of,
    .list = list,
};
