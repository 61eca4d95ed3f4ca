/* Room for other clients of the process. The budget of gRPC clients is a part of that of all clients. It bounds what is
 * begun: new connections, calls and messages are refused. Where all clients together hold almost all of their budget,
 * and gRPC clients a third of that or more, the connections that hold most are closed, too: else those of another
 * protocol would be refused for as long as these like. The same is done with connections whose clients do not take what
 * is sent, where gRPC clients hold more than their own budget: for the kernel keeps it.
 *
 * Each loop looks at its own connections at the end of a turn, at most every millisecond and for at most a fifth of its
 * time, and closes them in passes of half the size each, down to half of an equal share. What a connection holds is not
 * counted as it grows; it is added up then. Not in it: what nghttp2 keeps for the connection. */
#include "clock.h"
#include "rpc_server_internal.h"
#include "seldom.h"

#define LOOK_NS CLOCK_NS_PER_MS
#define WARN_NS (10 * CLOCK_NS_PER_S)

void rpc_room_open(struct rpc_server *server)
{
    static const struct metrics_def closed = {
        .name = "grpc_server_memory_closed_total",
        .help = "Connections closed because all clients of the process hold too much memory, and these hold most.",
        .type = METRICS_COUNTER};

    server->closed_total = metrics_single(server->def.metrics, &closed);
}

static size_t held_by_call(struct rpc_call *call)
{
    size_t bytes = sizeof(*call) + call->head.bytes + call->in.capacity + call->backlog_capacity;
    bool locked = rpc_call_lock(call);

    bytes += call->out.bytes;
    rpc_call_unlock(call, locked);
    return bytes;
}

static size_t held(const struct rpc_conn *conn)
{
    struct rpc_call *call;
    size_t bytes = sizeof(*conn) + conn->rest_len + conn->kernel;

    TAILQ_FOREACH(call, &conn->calls, link)
    bytes += held_by_call(call);
    return bytes;
}

static size_t held_by_kernel(const struct rpc_conn *conn)
{
    return conn->kernel;
}

static size_t most_held(const struct rpc_loop *loop, size_t (*size_of)(const struct rpc_conn *))
{
    const struct rpc_conn *conn;
    size_t most = 0;

    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        size_t bytes = size_of(conn);

        most = bytes > most ? bytes : most;
    }
    return most;
}

static void warn(struct rpc_server *server)
{
    struct budget *all = server->memory.whole != NULL ? server->memory.whole : &server->memory;
    const struct log_field fields[] = {
        LOG_CSTR("server", "grpc"), LOG_INT("bytes", (int64_t)budget_used(&server->memory)),
        LOG_INT("all_bytes", (int64_t)budget_used(all)), LOG_INT("max_all_bytes", (int64_t)all->max),
        LOG_INT("connections_closed", (int64_t)server->closed)};

    if (seldom(&server->warn_closed_ns, WARN_NS))
        log_fields(server->def.log, LOG_WARNING, NULL,
                   "clients hold too much memory: the connections that hold most are closed", fields,
                   sizeof(fields) / sizeof(fields[0]));
}

/* Those that hold at least that much, until surplus bytes have been found. Returns how many were. */
static size_t close_largest(struct rpc_loop *loop, size_t (*size_of)(const struct rpc_conn *), size_t least,
                            size_t surplus)
{
    struct rpc_conn *conn, *next;
    size_t found = 0, bytes;

    for (conn = TAILQ_FIRST(&loop->conns); conn != NULL && found < surplus; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if ((bytes = size_of(conn)) < least)
            continue;
        found += bytes;
        atomic_fetch_add_explicit(&loop->server->closed, 1, memory_order_relaxed);
        metrics_add(loop->server->closed_total, 1);
        rpc_conn_cut(conn);
    }
    return found;
}

/* In passes of half the size each, down to least. */
static void close_some(struct rpc_loop *loop, size_t (*size_of)(const struct rpc_conn *), size_t least, size_t surplus)
{
    bool closed = false;

    for (size_t size = most_held(loop, size_of) / 2; size >= least && size > 0 && surplus > 0; size /= 2) {
        size_t found = close_largest(loop, size_of, size, surplus);

        closed = closed || found > 0;
        surplus -= found < surplus ? found : surplus;
    }
    if (closed)
        warn(loop->server);
}

/* Of what the kernel holds of this loop's connections. */
static size_t surplus_in_kernel(struct rpc_loop *loop)
{
    struct budget *memory = &loop->server->memory;
    size_t used = budget_used(memory), surplus;

    if (memory->max == 0 || used <= memory->max)
        return 0;
    surplus = used - (memory->max - memory->max / 8);
    return surplus < loop->kernel ? surplus : loop->kernel;
}

/* A client that has taken all tells nobody. */
static void count_kernel_again(struct rpc_loop *loop)
{
    struct rpc_conn *conn;

    TAILQ_FOREACH(conn, &loop->conns, link)
    if (conn->kernel > 0)
        rpc_conn_count_kernel(conn);
}

static bool is_needed(struct rpc_loop *loop)
{
    return budget_surplus_of_whole(&loop->server->memory) > 0 || surplus_in_kernel(loop) > 0;
}

void rpc_room_make(struct rpc_loop *loop)
{
    struct rpc_server *server = loop->server;
    uint64_t begun_ns;

    if (!is_needed(loop) || (begun_ns = clock_monotonic_ns()) < loop->room_ns)
        return;
    count_kernel_again(loop);
    close_some(loop, held, budget_used(&server->memory) / (acceptor_connections(server->acceptor) + 1) / 2,
               budget_surplus_of_whole(&server->memory));
    close_some(loop, held_by_kernel, 1, surplus_in_kernel(loop));
    loop->room_ns = clock_monotonic_ns();
    loop->room_ns += LOOK_NS + (loop->room_ns - begun_ns) * 4;
}
