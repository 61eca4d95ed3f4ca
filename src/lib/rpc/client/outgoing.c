/* The reference to a call by which others cancel it. It may outlive the call, and knows C-core's call while that can be
 * cancelled. */
#include "rpc_client_internal.h"
#include <stdlib.h>

struct rpc_outgoing {
    atomic_uint refs; /* the caller's and the call's */
    pthread_mutex_t lock;
    grpc_call *grpc; /* NULL: its status has come */
};

struct rpc_outgoing *rpc_outgoing_new(void)
{
    struct rpc_outgoing *outgoing = calloc(1, sizeof(*outgoing));

    if (outgoing == NULL)
        return NULL;
    atomic_init(&outgoing->refs, 2);
    pthread_mutex_init(&outgoing->lock, NULL);
    return outgoing;
}

void rpc_outgoing_set(struct rpc_outgoing *outgoing, grpc_call *grpc)
{
    pthread_mutex_lock(&outgoing->lock);
    outgoing->grpc = grpc;
    pthread_mutex_unlock(&outgoing->lock);
}

void rpc_outgoing_cancel(struct rpc_outgoing *outgoing)
{
    if (outgoing == NULL)
        return;
    pthread_mutex_lock(&outgoing->lock);
    if (outgoing->grpc != NULL)
        grpc_call_cancel(outgoing->grpc, NULL);
    pthread_mutex_unlock(&outgoing->lock);
}

struct rpc_outgoing *rpc_outgoing_unref(struct rpc_outgoing *outgoing)
{
    if (outgoing != NULL && atomic_fetch_sub_explicit(&outgoing->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&outgoing->lock);
        free(outgoing);
    }
    return NULL;
}
