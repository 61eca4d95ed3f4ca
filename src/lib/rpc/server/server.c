#include "clock.h"
#include "rpc_server_internal.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_MAX_MESSAGE (4u * 1024 * 1024)
#define MAX_STREAMS         100 /* of a connection */
/* Memory of a call without its message (13 KiB with C-core 1.51), and of a connection (10 to 20 KiB). C-core's quota
 * counts only some of it. */
#define MEMORY_PER_CALL (32u * 1024)
/* C-core 1.83 (whose headers do not name it) counts also calls that have ended and that it has not freed yet against
 * MAX_STREAMS: it refused calls of honest clients that had 64 in flight. */
#define OVERLOAD_PROTECTION  "grpc.http.overload_protection"
#define EXPECTED_CALLS       8    /* a thread: how many calls C-core can hand over before it has been asked again */
#define PING_INTERVAL_MS     5000 /* clients may ping so often, also without a call (gRPC's default is five minutes) */
#define KEEPALIVE_MS         30000
#define KEEPALIVE_TIMEOUT_MS 10000
#define TURN_NS              (100 * CLOCK_NS_PER_MS)
#define QUIET_TURNS          5
#define GOAWAY_NS            CLOCK_NS_PER_S /* for the last ping of a connection that has no call */

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
}

static unsigned at_most(unsigned bound, size_t fit)
{
    fit = fit > 0 ? fit : 1;
    return fit < bound ? (unsigned)fit : bound;
}

/* The quota alone is not enough: C-core takes memory first and looks for some to give back afterwards, so that many
 * clients at the same time take it far beyond its quota. */
static void bound_by_memory(struct rpc_server *server)
{
    struct rpc_server_def *def = &server->def;

    server->max_receiving = UINT_MAX;
    if (def->max_memory == 0)
        return;
    def->max_in_flight = at_most(def->max_in_flight, def->max_memory / MEMORY_PER_CALL);
    def->max_connections = at_most(def->max_connections, def->max_memory / MEMORY_PER_CALL);
    server->max_receiving = at_most(UINT_MAX, def->max_memory / (MEMORY_PER_CALL + 2 * def->max_message));
}

static grpc_arg integer(const char *key, size_t value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value > INT_MAX ? INT_MAX : (int)value};
}

static grpc_resource_quota *create_quota(size_t max_memory)
{
    grpc_resource_quota *quota = grpc_resource_quota_create("rpc-server");

    if (max_memory != 0)
        grpc_resource_quota_resize(quota, max_memory / 2);
    return quota;
}

/* C-core's limit of a message cancels the call without a word to us: it is for what is far too long, the server's own
 * check for the rest. C-core compares when it has the whole message: until then only the quota bounds it.
 * Compressed messages are refused (UNIMPLEMENTED), because C-core inflates them before it compares.
 * MAX_CONNECTION_AGE_GRACE is not set: a stream may go on for as long as it likes on a connection that takes no new
 * calls. */
static grpc_server *create_grpc(const struct rpc_server_def *def)
{
    grpc_resource_quota *quota = create_quota(def->max_memory);
    grpc_arg args[] = {
        {.type = GRPC_ARG_POINTER,
         .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
        integer(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1u << GRPC_COMPRESS_NONE),
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 2 * def->max_message),
        integer(GRPC_ARG_MAX_CONNECTION_AGE_MS, def->max_connection_age_ms),
        integer(GRPC_ARG_MAX_CONCURRENT_STREAMS, MAX_STREAMS),
        integer(OVERLOAD_PROTECTION, 0),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MS),
    };
    const grpc_channel_args all = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};
    grpc_server *server = grpc_server_create(&all, NULL);

    grpc_resource_quota_unref(quota); /* the server has a reference */
    return server;
}

void rpc_server_changed(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void listener_changed(void *arg)
{
    struct rpc_server *server = arg;

    if (atomic_load(&server->draining))
        rpc_server_changed(server);
}

static void on_shut_down(struct rpc_event *event, bool ok)
{
    struct rpc_server *server = RPC_OWNER(event, struct rpc_server, shut_down_event);

    pthread_mutex_lock(&server->lock);
    server->shut_down = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static struct rpc_server *server_new(const struct rpc_server_def *def)
{
    struct rpc_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        return NULL;
    server->def = *def;
    fill_defaults(&server->def);
    bound_by_memory(server);
    server->shut_down_event.run = on_shut_down;
    pthread_mutex_init(&server->lock, NULL);
    thread_cond_init(&server->changed);
    rpc_library_use();
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

static const struct metrics_def connections_def = {
    .name = "grpc_server_connections", .help = "Connections of clients that are open.", .type = METRICS_GAUGE};
static const struct metrics_def in_flight_def = {
    .name = "grpc_server_in_flight", .help = "Calls that have begun and not ended.", .type = METRICS_GAUGE};

static void on_scrape(void *arg)
{
    struct rpc_server *server = arg;

    metrics_set(metrics_single(server->def.metrics, &connections_def), rpc_listener_connections(server->listener));
    metrics_set(metrics_single(server->def.metrics, &in_flight_def), atomic_load(&server->in_flight));
}

static int start_loops(struct rpc_server *server)
{
    int err = 0;

    server->grpc = create_grpc(&server->def);
    server->loops = calloc(server->def.threads, sizeof(server->loops[0]));
    if (server->loops == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < server->def.threads && err == 0; i++) {
        struct rpc_loop *loop = &server->loops[i];

        loop->server = server;
        TAILQ_INIT(&loop->unary);
        TAILQ_INIT(&loop->streams);
        err = rpc_worker_init(&loop->worker, rpc_loop_tick);
        if (err == 0)
            grpc_server_register_completion_queue(server->grpc, loop->worker.queue, NULL);
    }
    if (err != 0)
        return err;
    grpc_server_start(server->grpc);
    for (unsigned i = 0; i < server->def.threads && err == 0; i++) {
        char name[16];

        for (int j = 0; j < EXPECTED_CALLS; j++)
            rpc_loop_expect(&server->loops[i]);
        snprintf(name, sizeof(name), "rpc-%u", i);
        err = rpc_worker_start(&server->loops[i].worker, name);
    }
    return err;
}

int rpc_server_open(int take_listen_fd, const struct rpc_server_def *def, struct rpc_server **ret_server)
{
    struct rpc_server *server = server_new(def);
    int err;

    if (server == NULL) {
        close(take_listen_fd);
        return -ENOMEM;
    }
    err = add_methods(server);
    if (err == 0)
        err = rpc_health_new(def, &server->health);
    if (err == 0)
        err = rpc_reflection_new(def, &server->descriptors);
    if (err == 0)
        err = start_loops(server);
    if (err == 0)
        err = rpc_listener_open(take_listen_fd, server->grpc, server->def.max_connections, listener_changed, server,
                                &server->listener);
    else
        close(take_listen_fd);
    if (err != 0) {
        rpc_server_close(server);
        return err;
    }
    metrics_on_scrape(server->def.metrics, on_scrape, server);
    *ret_server = server;
    return 0;
}

void rpc_server_start(struct rpc_server *server)
{
    /* Every call adds to it: so its handlers see whatever has been made before now. */
    atomic_store(&server->in_flight, 0);
    rpc_listener_start(server->listener);
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    rpc_health_set(server->health, serving);
}

void rpc_server_drain(struct rpc_server *server)
{
    atomic_store(&server->draining, true);
    rpc_listener_drain(server->listener);
}

/* ---- the end ---- */

/* When every connection should have been told to take no new calls (monotonic ns), 0 when none is left: C-core draws
 * each one's age from MAX_CONNECTION_AGE give or take a tenth. */
static uint64_t moved_ns(struct rpc_server *server)
{
    uint64_t age_ns = server->def.max_connection_age_ms * CLOCK_NS_PER_MS, newest_ns;
    unsigned connections;

    if (!rpc_listener_drained(server->listener, &connections, &newest_ns))
        return UINT64_MAX;
    return connections > 0 ? newest_ns + age_ns + age_ns / 10 : 0;
}

/* Connections may be left whose last streams go on, and they take no new calls: so when it is time, and no call has
 * come for several turns, all are moved. Turns are counted, not time, because a process that got no CPU for a while has
 * heard nothing and told nobody. */
static void wait_for_connections(struct rpc_server *server, uint64_t deadline_ns)
{
    unsigned arrivals = 0, quiet_turns = 0;
    uint64_t now, due_ns, turn_ns = 0;

    pthread_mutex_lock(&server->lock);
    while ((now = clock_monotonic_ns()) < deadline_ns && (due_ns = moved_ns(server)) != 0 &&
           quiet_turns < QUIET_TURNS) {
        if (now >= due_ns && now >= turn_ns) {
            quiet_turns = atomic_load(&server->arrivals) == arrivals ? quiet_turns + 1 : 0;
            arrivals = atomic_load(&server->arrivals);
            turn_ns = now + TURN_NS;
        }
        due_ns = due_ns > turn_ns ? due_ns : turn_ns;
        thread_wait_until(&server->changed, &server->lock, due_ns < deadline_ns ? due_ns : deadline_ns);
    }
    pthread_mutex_unlock(&server->lock);
}

/* True when C-core says that all is over. Connections without a call that do not answer its last ping are not waited
 * for. */
static bool wait_for_calls(struct rpc_server *server, uint64_t deadline_ns)
{
    uint64_t idle_ns = clock_monotonic_ns() + GOAWAY_NS, now;
    bool over;

    pthread_mutex_lock(&server->lock);
    while (!server->shut_down && (now = clock_monotonic_ns()) < deadline_ns &&
           (now < idle_ns || atomic_load(&server->in_flight) > 0))
        thread_wait_until(&server->changed, &server->lock,
                          now < idle_ns && idle_ns < deadline_ns ? idle_ns : deadline_ns);
    over = server->shut_down;
    pthread_mutex_unlock(&server->lock);
    return over;
}

static void shut_down(struct rpc_server *server)
{
    server->shutting_down = true;
    rpc_event_hand_over(&server->shut_down_event);
    grpc_server_shutdown_and_notify(server->grpc, server->loops[0].worker.queue, &server->shut_down_event);
}

/* Every batch fails now, and so every call ends at once. */
static void cancel_all(struct rpc_server *server)
{
    grpc_server_cancel_all_calls(server->grpc);
    pthread_mutex_lock(&server->lock);
    while (!server->shut_down)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

int rpc_server_wait(struct rpc_server *server, uint64_t deadline_ns)
{
    int result;

    rpc_server_drain(server);
    wait_for_connections(server, deadline_ns);
    rpc_health_end(server->health);
    shut_down(server);
    if (wait_for_calls(server, deadline_ns))
        return 0;
    result = atomic_load(&server->in_flight) > 0 ? -ETIMEDOUT : 0;
    cancel_all(server);
    return result;
}

struct rpc_server *rpc_server_close(struct rpc_server *server)
{
    if (server == NULL)
        return NULL;
    if (server->listener != NULL)
        metrics_off_scrape(server->def.metrics, on_scrape, server);
    rpc_listener_free(server->listener);
    if (server->loops != NULL && server->loops[0].worker.queue != NULL && !server->shutting_down) {
        shut_down(server);
        if (server->loops[0].worker.running)
            cancel_all(server);
    }
    for (unsigned i = 0; server->loops != NULL && i < server->def.threads; i++)
        rpc_worker_release(&server->loops[i].worker);
    if (server->grpc != NULL)
        grpc_server_destroy(server->grpc);
    free(server->loops);
    rpc_health_free(server->health);
    rpc_descriptors_free(server->descriptors);
    rpc_methods_release(&server->methods);
    rpc_library_done();
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
    return NULL;
}

const char *rpc_server_library_version(void)
{
    return grpc_version_string();
}
