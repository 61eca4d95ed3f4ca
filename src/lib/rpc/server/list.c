/* A loop's calls in flight and its connections, for people. */
#include "net_listing.h"
#include "rpc_server_internal.h"
#include <assert.h>

static const char *phase_of(struct rpc_call *call)
{
    bool locked = rpc_call_lock(call), finished = call->finished;

    rpc_call_unlock(call, locked);
    if (finished)
        return "sending";
    return call->opened && (call->half_closed || call->entry->method->kind != RPC_UNARY_KIND) ? "handling"
                                                                                              : "receiving";
}

static void list_call(struct rpc_call *call, const struct net_listing *listing)
{
    char client_ip[NET_IP_SIZE];

    rpc_client_ip(call, client_ip);
    listing->request(listing->arg, &(struct net_listed_request){
                                       .method = STR("POST"),
                                       .path = call->head.path,
                                       .route = call->entry->method != NULL ? call->entry->path : STR("other"),
                                       .phase = phase_of(call),
                                       .client = str_of(client_ip),
                                       .trace = &call->trace,
                                       .begun_ns = call->begun_ns,
                                   });
}

void rpc_server_list(struct rpc_server *server, unsigned index, unsigned max, const struct net_listing *listing)
{
    struct rpc_loop *loop = server->loops[index];
    unsigned calls = 0, conns = 0;
    struct rpc_conn *conn;
    struct rpc_call *call;

    assert(loop_is_current(loop->loop));
    TAILQ_FOREACH(conn, &loop->conns, link)
    {
        if (conns++ < max)
            listing->connection(listing->arg, &(struct net_listed_connection){
                                                  .peer = str_of(conn->remote_ip),
                                                  .opened_ns = conn->opened_ns,
                                                  .requests = conn->in_flight[0] + conn->in_flight[1],
                                                  .held_bytes = conn->rest_len,
                                              });
        TAILQ_FOREACH(call, &conn->calls, link)
        if (call->entry != NULL && calls++ < max) /* else its headers have not come */
            list_call(call, listing);
    }
}
