/* A server's part in an event loop, and the listener, which lives in the first loop and gives each connection to the
 * loop that has the fewest: a client keeps few connections for long, so that chance would load one core alone. */
#include "clock.h"
#include "net_listen.h"
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN  16
#define ACCEPT_RETRY_MS 10
#define HANDSHAKES_MS   20 /* for those that have begun to end, once new ones are dropped */

/* ---- what is due ---- */

void rpc_loop_run_due(struct rpc_loop *loop)
{
    struct rpc_call *call, *last = TAILQ_LAST(&loop->due, rpc_calls);
    bool was_last = last == NULL;

    while (!was_last && (call = TAILQ_FIRST(&loop->due)) != NULL) {
        was_last = call == last;
        TAILQ_REMOVE(&loop->due, call, due);
        call->is_due = false;
        rpc_call_run(call);
    }
}

static void set_timers(struct rpc_loop *loop)
{
    struct rpc_call *call;

    while ((call = TAILQ_FIRST(&loop->fresh)) != NULL) {
        TAILQ_REMOVE(&loop->fresh, call, fresh);
        call->is_fresh = false;
        rpc_call_set_timer(call);
    }
}

static void at_end_of_turn(struct loop_hook *hook)
{
    struct rpc_loop *loop = RPC_OWNER(hook, struct rpc_loop, hook);
    struct rpc_conn *conn;

    while (!TAILQ_EMPTY(&loop->due) || !TAILQ_EMPTY(&loop->dirty)) {
        rpc_loop_run_due(loop);
        if ((conn = TAILQ_FIRST(&loop->dirty)) == NULL)
            continue;
        TAILQ_REMOVE(&loop->dirty, conn, dirty);
        conn->is_dirty = false;
        rpc_conn_flush(conn);
    }
    set_timers(loop);
}

/* ---- accepting ---- */

/* A connection on its way to another loop. */
struct arrival {
    struct loop_message message;
    struct rpc_loop *loop;
    int fd;
    struct sockaddr_storage peer;
};

static void arrive(struct loop_message *message)
{
    struct arrival *arrival = RPC_OWNER(message, struct arrival, message);

    rpc_conn_open(arrival->loop, arrival->fd, &arrival->peer);
    free(arrival);
}

/* A connection is counted from its acceptance on, also on its way to another loop: else more would be accepted than may
 * be. */
static void count(struct rpc_loop *loop)
{
    atomic_fetch_add_explicit(&loop->connections, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->server->connections, 1, memory_order_relaxed);
    wait_group_add(&loop->server->active);
}

void rpc_loop_uncount(struct rpc_loop *loop)
{
    atomic_fetch_sub_explicit(&loop->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->server->connections, 1, memory_order_relaxed);
    wait_group_done(&loop->server->active);
}

static struct rpc_loop *emptiest(struct rpc_server *server)
{
    struct rpc_loop *least = server->loops[0];

    for (unsigned i = 1; i < server->loop_count; i++)
        if (atomic_load(&server->loops[i]->connections) < atomic_load(&least->connections))
            least = server->loops[i];
    return least;
}

static int hand_over(struct rpc_loop *to, int take_fd, const struct sockaddr_storage *peer)
{
    struct arrival *arrival = malloc(sizeof(*arrival));

    if (arrival == NULL) {
        close(take_fd);
        rpc_loop_uncount(to);
        return -ENOMEM;
    }
    *arrival = (struct arrival){.message = {.run = arrive}, .loop = to, .fd = take_fd, .peer = *peer};
    loop_post(to->loop, &arrival->message);
    return 0;
}

/* 0, also where one was gone before it was accepted; -EAGAIN: there is none; or another errno of accept(2). */
static int accept_one(struct rpc_loop *loop)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    struct rpc_loop *to;
    int fd = accept4(loop->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return errno == ECONNABORTED || errno == EPROTO || errno == EINTR ? 0 : -errno;
    if (atomic_load(&loop->server->draining))
        net_listen_accepted(fd);
    to = emptiest(loop->server);
    count(to);
    if (to != loop)
        return hand_over(to, fd, &peer);
    rpc_conn_open(loop, fd, &peer);
    return 0;
}

static bool is_full(struct rpc_server *server)
{
    return atomic_load(&server->connections) >= server->def.max_connections || budget_exceeded(&server->memory);
}

static void on_connection(h2o_socket_t *listener, const char *err);

static void resume_accepting(struct loop_timer *timer)
{
    h2o_socket_read_start(RPC_OWNER(timer, struct rpc_loop, accept_timer)->listener, on_connection);
}

/* Those who wait stay in the kernel's queue. */
static void pause_accepting(struct rpc_loop *loop)
{
    if (loop_timer_start(loop->loop, &loop->accept_timer, ACCEPT_RETRY_MS, resume_accepting) == 0)
        h2o_socket_read_stop(loop->listener);
}

static void on_connection(h2o_socket_t *listener, const char *err)
{
    struct rpc_loop *loop = listener->data;
    int result = 0;

    for (int i = 0; i < ACCEPTS_A_TURN && result == 0; i++)
        result = is_full(loop->server) ? -EMFILE : accept_one(loop);
    /* Out of descriptors or memory, the listener would stay readable and the loop never sleep. */
    if (result != 0 && result != -EAGAIN)
        pause_accepting(loop);
}

static void start_accepting(void *arg)
{
    struct rpc_loop *loop = arg;

    loop->listener = h2o_evloop_socket_create(loop_h2o(loop->loop), loop->listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->listener->data = loop;
    h2o_socket_read_start(loop->listener, on_connection);
}

void rpc_loop_listen(struct rpc_loop *loop)
{
    loop_call(loop->loop, start_accepting, loop);
}

static void close_listener(struct rpc_loop *loop)
{
    if (loop->listen_fd < 0)
        return;
    loop_timer_stop(loop->loop, &loop->accept_timer);
    if (loop->listener != NULL)
        h2o_socket_close(loop->listener);
    else
        close(loop->listen_fd);
    loop->listener = NULL;
    loop->listen_fd = -1;
    wait_group_done(&loop->server->active);
}

/* ---- leaving ---- */

static void leave(struct loop_message *message)
{
    struct rpc_loop *loop = RPC_OWNER(message, struct rpc_loop, leave_message);
    struct rpc_conn *conn;
    struct rpc_call *call;

    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        rpc_conn_leave(conn);
        TAILQ_FOREACH(call, &conn->calls, link)
        rpc_call_tell_drain(call);
    }
}

/* What is in the backlog has been accepted by the kernel: a client may have sent its request already. Closing the
 * listener would reset it. */
static void finish_drain(struct loop_timer *timer)
{
    struct rpc_loop *loop = RPC_OWNER(timer, struct rpc_loop, drain_timer);
    struct rpc_server *server = loop->server;

    if (loop->listener != NULL)
        while (accept_one(loop) == 0)
            ;
    close_listener(loop);
    for (unsigned i = 0; i < server->loop_count; i++) {
        server->loops[i]->leave_message.run = leave;
        loop_post(server->loops[i]->loop, &server->loops[i]->leave_message);
    }
}

static void begin_drain(struct loop_message *message)
{
    struct rpc_loop *loop = RPC_OWNER(message, struct rpc_loop, drain_message);

    if (loop->cutting)
        return;
    if (loop_timer_start(loop->loop, &loop->drain_timer, HANDSHAKES_MS, finish_drain) < 0)
        finish_drain(&loop->drain_timer);
}

void rpc_loop_drain(struct rpc_loop *loop)
{
    net_listen_stop(loop->listen_fd);
    loop->drain_message.run = begin_drain;
    loop_post(loop->loop, &loop->drain_message);
}

static void cut(void *arg)
{
    struct rpc_loop *loop = arg;
    struct rpc_conn *conn;

    loop->cutting = true;
    loop_timer_stop(loop->loop, &loop->drain_timer);
    close_listener(loop);
    while ((conn = TAILQ_FIRST(&loop->conns)) != NULL)
        rpc_conn_cut(conn);
}

void rpc_loop_cut(struct rpc_loop *loop)
{
    loop_call(loop->loop, cut, loop);
}

/* ---- health ---- */

static void on_health_timer(struct loop_timer *timer)
{
    rpc_loop_watch_health(RPC_OWNER(timer, struct rpc_loop, health_timer));
}

void rpc_loop_watch_health(struct rpc_loop *loop)
{
    uint64_t due_ns = rpc_health_tick(loop->server->health), now = clock_monotonic_ns();

    if (due_ns != UINT64_MAX && !loop->cutting)
        loop_timer_start(loop->loop, &loop->health_timer, due_ns > now ? (due_ns - now) / CLOCK_NS_PER_MS : 0,
                         on_health_timer);
}

/* ---- begin and end ---- */

static void join(void *arg)
{
    struct rpc_loop *loop = arg;

    loop->hook.run = at_end_of_turn;
    loop_each_turn(loop->loop, &loop->hook);
}

void rpc_loop_open(struct rpc_loop *loop, struct rpc_server *server, struct loop *events)
{
    loop->server = server;
    loop->loop = events;
    loop->listen_fd = -1;
    loop->account.budget = &server->memory;
    loop->mem = rpc_account_mem(&loop->account);
    loop->seed = (unsigned)clock_realtime_ns();
    TAILQ_INIT(&loop->conns);
    TAILQ_INIT(&loop->dirty);
    TAILQ_INIT(&loop->due);
    TAILQ_INIT(&loop->fresh);
    TAILQ_INIT(&loop->pool);
    loop_call(events, join, loop);
}

static void leave_loop(void *arg)
{
    struct rpc_loop *loop = arg;
    struct rpc_call *call;

    loop_each_turn_remove(loop->loop, &loop->hook);
    loop_timer_stop(loop->loop, &loop->health_timer);
    while ((call = TAILQ_FIRST(&loop->pool)) != NULL) {
        TAILQ_REMOVE(&loop->pool, call, link);
        rpc_call_destroy(call);
    }
}

void rpc_loop_close(struct rpc_loop *loop)
{
    loop_call(loop->loop, leave_loop, loop);
    rpc_account_close(&loop->account);
    free(loop);
}
