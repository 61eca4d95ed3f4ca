/* A worker's requests in flight and its connections, for people. */
#include "http_internal.h"
#include "net_listing.h"

static const char *phase_of(struct http_exchange *exchange)
{
    if (exchange->head_ns > 0)
        return "streaming";
    if (exchange->answered)
        return "sending";
    return h2o_linklist_is_linked(&exchange->waiting) ? "queued" : "handling";
}

static void list_request(struct http_exchange *exchange, const struct net_listing *listing)
{
    char client_ip[NET_IP_SIZE];

    http_client_ip(exchange, client_ip);
    listing->request(listing->arg, &(struct net_listed_request){
                                       .method = exchange->req.method,
                                       .path = exchange->req.path,
                                       .route = str_of(exchange->path != NULL ? exchange->path->template : "other"),
                                       .phase = phase_of(exchange),
                                       .client = str_of(client_ip),
                                       .trace = &exchange->req.trace,
                                       .begun_ns = exchange->start_ns,
                                   });
}

static void list_connection(const struct http_conn *conn, const struct net_listing *listing)
{
    listing->connection(listing->arg, &(struct net_listed_connection){
                                          .peer = str_of(conn->remote_ip),
                                          .opened_ns = conn->opened_ns,
                                          .requests = conn->exchanges,
                                          .held_bytes = http_conn_held(conn),
                                      });
}

void http_server_list(struct http_server *server, unsigned index, unsigned max, const struct net_listing *listing)
{
    struct http_worker *worker = &server->workers[index];
    h2o_linklist_t *link;
    unsigned count = 0;

    assert(loop_is_current(worker->loop));
    for (link = worker->exchanges.next; link != &worker->exchanges && count++ < max; link = link->next)
        list_request(H2O_STRUCT_FROM_MEMBER(struct http_exchange, link, link), listing);
    for (link = worker->streams.next; link != &worker->streams && count < max; link = link->next) {
        struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, link, link);

        if (stream->begun && count++ < max) /* else it is one of those above */
            list_request(stream->exchange, listing);
    }
    count = 0;
    for (link = worker->conns.next; link != &worker->conns && count++ < max; link = link->next)
        list_connection(H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link), listing);
}
