/* Whom a call comes from. A connection from a trusted proxy is not the client's own. */
#include "net_forwarded.h"
#include "rpc_server_internal.h"

void rpc_client_ip(const struct rpc_call *call, char ret_ip[NET_IP_SIZE])
{
    const struct acceptor_address_bound *bound = call->loop->server->def.address_bound;
    bool more = call->conn->is_proxy;
    size_t lines = 0;

    memcpy(ret_ip, call->conn->remote_ip, NET_IP_SIZE);
    while (more && rpc_head_find(&call->head, "x-forwarded-for", lines).s != NULL)
        lines++;
    while (more && lines-- > 0)
        more = net_forwarded(&bound->trusted, rpc_head_find(&call->head, "x-forwarded-for", lines), ret_ip);
}

struct str rpc_client_scheme(const struct rpc_call *call)
{
    if (call->conn->is_proxy && str_caseeq(rpc_head_find(&call->head, "x-forwarded-proto", 0), STR("https")))
        return STR("https");
    return STR("http");
}
