/* The server of a service's rpcs. Services without any do not link this file, and so no gRPC. */
#include "cgroup.h"
#include "svc_context.h"
#include <assert.h>

static const struct config_option options[] = {
    {"GRPC_PORT", "9000", CONFIG_INT, 0, 65535, .help = "port of gRPC; 0 picks one"},
    {"GRPC_THREADS", "0", CONFIG_INT, 0, 256, .unit = "threads", .help = "0: as many as WORKERS"},
    {"GRPC_MAX_MESSAGE_BYTES", "64Ki", CONFIG_BYTES, 1024, 64 << 20,
     .help = "of a request: beyond it RESOURCE_EXHAUSTED"},
    {"MAX_CONNECTION_AGE_MS", "10000", CONFIG_INT, 100, 3600000, .unit = "ms",
     .help = "gRPC clients are moved on then, or after 8/11 of SHUTDOWN_TIMEOUT_SECONDS"},
    {0},
};

static unsigned threads(const struct svc *svc)
{
    unsigned wanted = (unsigned)config_int(svc_config(svc), "GRPC_THREADS");

    return wanted == 0 ? svc_workers(svc) : wanted;
}

/* A drain waits until every connection has been moved on, which may take a tenth longer, and then some turns: an age
 * that does not fit into its bound would have it cancel calls. */
static unsigned connection_age_ms(const struct config *config)
{
    int64_t age_ms = config_int(config, "MAX_CONNECTION_AGE_MS");
    int64_t fits_ms = config_int(config, "SHUTDOWN_TIMEOUT_SECONDS") * 1000 * 8 / 11;

    return (unsigned)(age_ms < fits_ms ? age_ms : fits_ms);
}

static int open_rpc(struct svc *svc, void **ret_server)
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
        .threads = threads(svc),
        .max_message = (size_t)config_int(svc_config(svc), "GRPC_MAX_MESSAGE_BYTES"),
        .max_connections = svc_max_connections(svc),
        .max_connection_age_ms = connection_age_ms(svc_config(svc)),
        /* Half of the limit is for clients' connections and calls; the rest is for what handlers queue and keep, for
         * the service's data and for the page cache of its files. */
        .max_memory = cgroup_memory_bytes() / 2,
    };
    struct rpc_server *server;
    int fd, r = svc_listen(svc, &svc_rpc_server, &fd);

    assert(service->rpc != NULL);
    if (r == 0)
        r = rpc_server_open(fd, &def, &server);
    if (r == 0)
        *ret_server = server;
    return r;
}

static void start_rpc(void *server)
{
    rpc_server_start(server);
}

static void set_serving(void *server, bool serving)
{
    rpc_server_set_serving(server, serving);
}

static void drain_rpc(void *server)
{
    rpc_server_drain(server);
}

static int wait_rpc(void *server, uint64_t deadline_ns)
{
    return rpc_server_wait(server, deadline_ns);
}

static void close_rpc(void *server)
{
    rpc_server_close(server);
}

const struct svc_server_type svc_rpc_server = {
    .protocol = "grpc",
    .options = options,
    .connection_descriptors = 2, /* rpc.h */
    .threads = threads,
    .open = open_rpc,
    .start = start_rpc,
    .set_serving = set_serving,
    .drain = drain_rpc,
    .wait = wait_rpc,
    .close = close_rpc,
    .library_version = rpc_server_library_version,
};
