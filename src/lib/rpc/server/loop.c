/* A server's part in an event loop: what is due at the end of a turn, and the end of its connections. */
#include "clock.h"
#include "rpc_server_internal.h"
#include <assert.h>
#include <stdlib.h>

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

    rpc_room_make(loop);
    while (!TAILQ_EMPTY(&loop->due) || !TAILQ_EMPTY(&loop->dirty)) {
        rpc_call_run_due(loop);
        if ((conn = TAILQ_FIRST(&loop->dirty)) == NULL)
            continue;
        TAILQ_REMOVE(&loop->dirty, conn, dirty);
        conn->is_dirty = false;
        rpc_conn_flush(conn);
    }
    set_timers(loop);
}

/* ---- leaving ---- */

void rpc_loop_leave(struct rpc_loop *loop)
{
    struct rpc_conn *conn;
    struct rpc_call *call;

    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        rpc_conn_leave(conn);
        TAILQ_FOREACH(call, &conn->calls, link)
        rpc_call_tell_drain(call);
    }
}

static void cut(void *arg)
{
    struct rpc_loop *loop = arg;
    struct rpc_conn *conn;

    loop->cutting = true;
    while ((conn = TAILQ_FIRST(&loop->conns)) != NULL)
        rpc_conn_cut(conn);
}

void rpc_loop_cut(struct rpc_loop *loop)
{
    loop_call(loop->loop, cut, loop);
}

/* ---- begin and end ---- */

static void join(void *arg)
{
    struct rpc_loop *loop = arg;

    loop->hook.run = at_end_of_turn;
    loop_each_turn(loop->loop, &loop->hook);
}

void rpc_loop_open(struct rpc_loop *loop, struct rpc_server *server, unsigned index, struct loop *events)
{
    loop->server = server;
    loop->index = index;
    loop->loop = events;
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
    assert(TAILQ_EMPTY(&loop->conns) && TAILQ_EMPTY(&loop->due) && TAILQ_EMPTY(&loop->fresh)); /* it was cut */
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
