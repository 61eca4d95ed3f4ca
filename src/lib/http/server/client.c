/* Whom a request comes from. A connection from a trusted proxy is not the client's own. */
#include "http_internal.h"
#include "net_forwarded.h"

static struct str value_of(const h2o_header_t *header)
{
    return (struct str){header->value.base, header->value.len};
}

void http_client_ip(const struct http_exchange *exchange, char ret_ip[NET_IP_SIZE])
{
    const struct http_conn *conn = http_conn_of(exchange->h2o);
    const struct acceptor_address_bound *bound = conn->worker->server->def.address_bound;
    const h2o_headers_t *headers = &exchange->h2o->headers;
    bool more = conn->is_proxy;

    memcpy(ret_ip, conn->remote_ip, NET_IP_SIZE);
    for (size_t i = headers->size; more && i-- > 0;)
        if (headers->entries[i].name == &H2O_TOKEN_X_FORWARDED_FOR->buf)
            more = net_forwarded(&bound->trusted, value_of(&headers->entries[i]), ret_ip);
}

struct str http_client_scheme(const struct http_exchange *exchange)
{
    if (http_conn_of(exchange->h2o)->is_proxy &&
        str_caseeq(http_header(&exchange->req, "x-forwarded-proto"), STR("https")))
        return STR("https");
    return STR("http");
}
