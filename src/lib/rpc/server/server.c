#include "clock.h"
#include "net_socket.h"
#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_MAX_MESSAGE (4u * 1024 * 1024)
#define MEMORY_PER_CALL     (32u * 1024) /* of a call without its message, and of a connection: more than either takes */

static_assert(sizeof(struct rpc_call) < MEMORY_PER_CALL && sizeof(struct rpc_conn) < MEMORY_PER_CALL,
              "the bounds on calls and connections keep within the budget");
static_assert(RPC_QUIET_MESSAGE < DEFAULT_MAX_MESSAGE, "health and reflection hold less than the service's calls");

/* ---- limits ---- */

static void fill_defaults(struct rpc_server_def *def)
{
    def->threads = def->threads != 0 ? def->threads : 1;
    def->max_message = def->max_message != 0 ? def->max_message : DEFAULT_MAX_MESSAGE;
    def->max_message = def->max_message < INT_MAX / 2 ? def->max_message : INT_MAX / 2;
    def->max_in_flight = def->max_in_flight != 0 ? def->max_in_flight : 10000;
    def->max_connections = def->max_connections != 0 ? def->max_connections : 10000;
    def->max_call_ms = def->max_call_ms != 0 ? def->max_call_ms : 30000;
    def->max_stream_ms = def->max_stream_ms != 0 ? def->max_stream_ms : 3600000;
    def->max_connection_age_ms = def->max_connection_age_ms != 0 ? def->max_connection_age_ms : 10000;
    def->keepalive_ms = def->keepalive_ms != 0 ? def->keepalive_ms : 30000;
    def->idle_stream_ms = def->idle_stream_ms != 0 ? def->idle_stream_ms : 300000;
}

/* The budget alone would let one client take all of it. */
static void bound_by_memory(struct rpc_server *server)
{
    struct rpc_server_def *def = &server->def;

    server->memory.max = def->max_memory;
    server->memory.whole = def->whole;
    def->max_in_flight = budget_fit(def->max_in_flight, def->max_memory, MEMORY_PER_CALL);
    def->max_connections = budget_fit(def->max_connections, def->max_memory, MEMORY_PER_CALL);
    server->max_receiving = budget_fit(UINT_MAX / 2, def->max_memory, MEMORY_PER_CALL + 2 * def->max_message);
}

/* ---- metrics ---- */

static const struct metrics_def connections_def = {
    .name = "grpc_server_connections", .help = "Connections of clients that are open.", .type = METRICS_GAUGE};
static const struct metrics_def in_flight_def = {
    .name = "grpc_server_in_flight", .help = "Calls that have begun and not ended.", .type = METRICS_GAUGE};
static const struct metrics_def memory_def = {
    .name = "grpc_server_memory_bytes", .help = "Memory that clients make the server hold.", .type = METRICS_GAUGE};
static const struct metrics_def memory_max_def = {.name = "grpc_server_memory_max_bytes",
                                                  .help = "Bound of grpc_server_memory_bytes; 0: none.",
                                                  .type = METRICS_GAUGE};

static const struct metrics_def connections_max_def = {
    .name = "grpc_server_connections_max", .help = "Bound of grpc_server_connections.", .type = METRICS_GAUGE};
static const struct metrics_def in_flight_max_def = {
    .name = "grpc_server_in_flight_max", .help = "Bound of grpc_server_in_flight.", .type = METRICS_GAUGE};

static unsigned in_flight(struct rpc_server *server)
{
    return atomic_load(&server->shares[0].in_flight) + atomic_load(&server->shares[1].in_flight);
}

static void on_scrape(void *arg)
{
    struct rpc_server *server = arg;
    struct metrics *metrics = server->def.metrics;

    metrics_set(metrics_single(metrics, &connections_def), acceptor_connections(server->acceptor));
    metrics_set(metrics_single(metrics, &connections_max_def), server->def.max_connections);
    metrics_set(metrics_single(metrics, &in_flight_def), in_flight(server));
    metrics_set(metrics_single(metrics, &in_flight_max_def), server->def.max_in_flight);
    metrics_set(metrics_single(metrics, &memory_def), (double)budget_used(&server->memory));
    metrics_set(metrics_single(metrics, &memory_max_def), (double)server->memory.max);
}

/* ---- opening ---- */

static struct rpc_server *server_new(const struct rpc_server_def *def)
{
    struct rpc_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        return NULL;
    server->def = *def;
    fill_defaults(&server->def);
    bound_by_memory(server);
    return server;
}

static int add_methods(struct rpc_server *server)
{
    struct metrics *metrics = server->def.metrics;
    int err;

    err = rpc_methods_add(&server->methods, server->def.methods, false, metrics);
    if (err == 0)
        err = rpc_methods_add(&server->methods, rpc_health_methods, true, metrics);
    if (err == 0)
        err = rpc_methods_add(&server->methods, rpc_reflection_methods, true, metrics);
    if (err == 0)
        rpc_methods_sort(&server->methods, metrics);
    return err;
}

/* One of the caller's, or one of its own. */
static int find_loop(struct rpc_server *server, unsigned index, struct loop **ret_loop)
{
    int err;

    if (server->own_loops == NULL) {
        *ret_loop = server->def.loops[index];
        return 0;
    }
    err = loop_open(index, "rpc", server->def.metrics, &server->own_loops[index]);
    if (err == 0)
        *ret_loop = server->own_loops[index];
    return err;
}

static int open_loops(struct rpc_server *server)
{
    int err = 0;

    server->loops = calloc(server->def.threads, sizeof(server->loops[0]));
    if (server->def.loops == NULL)
        server->own_loops = calloc(server->def.threads, sizeof(server->own_loops[0]));
    if (server->loops == NULL || (server->def.loops == NULL && server->own_loops == NULL))
        return -ENOMEM;
    for (unsigned i = 0; i < server->def.threads && err == 0; i++) {
        struct loop *events;

        if ((err = find_loop(server, i, &events)) != 0)
            break;
        if ((server->loops[i] = calloc(1, sizeof(*server->loops[i]))) == NULL)
            return -ENOMEM;
        rpc_loop_open(server->loops[i], server, i, events);
        server->loop_count++;
    }
    return err;
}

static int open_parts(struct rpc_server *server)
{
    int err = add_methods(server);

    if (err == 0)
        err = rpc_health_new(&server->def, &server->health);
    if (err == 0)
        err = rpc_reflection_new(&server->def, &server->descriptors);
    rpc_refusal_open(server);
    rpc_room_open(server);
    if (err == 0)
        err = rpc_session_prepare(server);
    return err == 0 ? open_loops(server) : err;
}

/* ---- connections ---- */

static bool open_conn(void *arg, unsigned loop, int take_fd, const struct sockaddr_storage *peer)
{
    struct rpc_server *server = arg;

    return rpc_conn_open(server->loops[loop], take_fd, peer);
}

static bool has_begun(void *arg, struct acceptor_place *place)
{
    return rpc_conn_owes(RPC_OWNER(place, struct rpc_conn, place));
}

static void yield_conn(void *arg, struct acceptor_place *place)
{
    rpc_conn_yield(RPC_OWNER(place, struct rpc_conn, place));
}

static bool is_paused(void *arg)
{
    struct rpc_server *server = arg;

    return budget_exceeded(&server->memory);
}

static void drained(void *arg, unsigned loop)
{
    struct rpc_server *server = arg;

    rpc_loop_leave(server->loops[loop]);
}

#define LEAST_SEND    ((size_t)64 * 1024)
#define LEAST_RECEIVE ((size_t)16 * 1024)

/* The kernel would let them grow to several MiB for each connection. */
static void bound_queues(const struct rpc_server *server, int listen_fd)
{
    size_t max = server->def.max_memory, receive = max / 1024, send = max / 256;

    if (max > 0) {
        receive = receive > LEAST_RECEIVE ? receive : LEAST_RECEIVE;
        send = send > LEAST_SEND ? send : LEAST_SEND;
    }
    net_bound_queues(listen_fd, receive, send, RPC_USER_TIMEOUT_MS);
}

static int open_acceptor(struct rpc_server *server, int take_listen_fd)
{
    bound_queues(server, take_listen_fd);
    return acceptor_open(take_listen_fd,
                         &(struct acceptor_def){
                             .server = "grpc",
                             .log = server->def.log,
                             .metrics = server->def.metrics,
                             .loops = server->own_loops != NULL ? server->own_loops : server->def.loops,
                             .loop_count = server->loop_count,
                             .max_connections = server->def.max_connections,
                             .address_bound = server->def.address_bound,
                             .arg = server,
                             .open = open_conn,
                             .has_begun = has_begun,
                             .yield = yield_conn,
                             .is_paused = is_paused,
                             .drained = drained,
                         },
                         &server->acceptor);
}

static int check_fd(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -errno : 0;
}

int rpc_server_open(int take_listen_fd, const struct rpc_server_def *def, struct rpc_server **ret_server)
{
    struct rpc_server *server = server_new(def);
    int err = server != NULL ? check_fd(take_listen_fd) : -ENOMEM;

    if (err == 0)
        err = open_parts(server);
    if (err != 0 && take_listen_fd >= 0)
        close(take_listen_fd);
    if (err == 0)
        err = open_acceptor(server, take_listen_fd);
    if (err != 0) {
        rpc_server_close(server);
        return err;
    }
    metrics_on_scrape(server->def.metrics, on_scrape, server);
    server->metrics_opened = true;
    *ret_server = server;
    return 0;
}

void rpc_server_start(struct rpc_server *server)
{
    acceptor_start(server->acceptor);
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    rpc_health_set(server->health, serving);
}

/* ---- the end ---- */

void rpc_server_drain(struct rpc_server *server)
{
    acceptor_drain(server->acceptor);
}

static void cut(struct rpc_server *server)
{
    if (server->acceptor != NULL)
        acceptor_stop(server->acceptor);
    for (unsigned i = 0; i < server->loop_count; i++)
        rpc_loop_cut(server->loops[i]);
}

int rpc_server_wait(struct rpc_server *server, uint64_t deadline_ns)
{
    int result;

    rpc_server_drain(server);
    rpc_health_end(server->health);
    if (acceptor_wait(server->acceptor, deadline_ns))
        return 0;
    result = in_flight(server) > 0 ? -ETIMEDOUT : 0;
    cut(server);
    return result;
}

struct rpc_server *rpc_server_close(struct rpc_server *server)
{
    if (server == NULL)
        return NULL;
    if (server->metrics_opened)
        metrics_off_scrape(server->def.metrics, on_scrape, server);
    cut(server);
    for (unsigned i = 0; i < server->loop_count; i++)
        rpc_loop_close(server->loops[i]);
    for (unsigned i = 0; server->own_loops != NULL && i < server->def.threads; i++)
        loop_close(server->own_loops[i]);
    acceptor_free(server->acceptor);
    free(server->loops);
    free(server->own_loops);
    rpc_session_dispose(server);
    rpc_health_free(server->health);
    rpc_descriptors_free(server->descriptors);
    rpc_methods_release(&server->methods);
    free(server);
    return NULL;
}

struct loop *rpc_server_loop(const struct rpc_server *server, unsigned index)
{
    return server->loops[index]->loop;
}

uint64_t rpc_server_last_turn_ns(const struct rpc_server *server)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < server->loop_count; i++) {
        uint64_t turn = loop_last_turn_ns(server->loops[i]->loop);

        oldest = turn < oldest ? turn : oldest;
    }
    return oldest;
}
