/* References to calls, and which calls are run at the end of the turn: how handlers, in any thread, reach a call's
 * loop. */
#include "rpc_server_internal.h"
#include <assert.h>
#include <stdlib.h>

/* ---- references ---- */

void rpc_call_destroy(struct rpc_call *call)
{
    pthread_mutex_destroy(&call->lock);
    free(call);
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

bool rpc_call_drop(struct rpc_call *call)
{
    return atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1;
}

struct rpc_call *rpc_call_unref(struct rpc_call *call)
{
    if (call != NULL && rpc_call_drop(call))
        rpc_call_destroy(call);
    return NULL;
}

/* ---- what is due ---- */

void rpc_call_due(struct rpc_call *call)
{
    if (call->is_due || call->conn == NULL)
        return;
    call->is_due = true;
    TAILQ_INSERT_TAIL(&call->loop->due, call, due);
}

static void on_message_to_loop(struct loop_message *message)
{
    struct rpc_call *call = RPC_OWNER(message, struct rpc_call, message_to_loop);
    bool locked = rpc_call_lock(call);

    call->posted = false;
    rpc_call_unlock(call, locked);
    rpc_call_due(call);
    rpc_call_unref(call);
}

void rpc_call_want_run(struct rpc_call *call)
{
    bool is_own = loop_is_current(call->loop->loop);

    assert(!call->over); /* so its loop is there */
    assert(is_own || call->refs > 1);
    if (is_own) {
        rpc_call_due(call);
    } else if (!call->posted) {
        call->posted = true;
        call->message_to_loop.run = on_message_to_loop;
        loop_post(call->loop->loop, &rpc_call_ref(call)->message_to_loop);
    }
}
