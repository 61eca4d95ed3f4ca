/* Whom a call comes from. A connection from a trusted proxy is not the client's own. */
#include "net_forwarded.h"
#include "rpc_server_internal.h"

void rpc_client_ip(const struct rpc_call *call, char ret_ip[NET_IP_SIZE])
{
    const struct acceptor_address_bound *bound = call->loop->server->def.address_bound;
    struct str lines[RPC_MAX_HEAD / RPC_FIELD_OVERHEAD];
    size_t count = 0;

    memcpy(ret_ip, call->conn->remote_ip, NET_IP_SIZE);
    if (!call->conn->is_proxy)
        return;
    for (const struct rpc_field *field = call->head.fields; field != NULL; field = field->next)
        if (count < sizeof(lines) / sizeof(lines[0]) && str_eq(field->name, STR("x-forwarded-for")))
            lines[count++] = field->value;
    while (count > 0 && net_forwarded(&bound->trusted, lines[count - 1], ret_ip))
        count--;
}

struct str rpc_client_scheme(const struct rpc_call *call)
{
    if (call->conn->is_proxy && str_caseeq(rpc_head_find(&call->head, "x-forwarded-proto", 0), STR("https")))
        return STR("https");
    return STR("http");
}
