/* A connection's share of a turn of the loop. h2o hands over every request that it finds in a connection's input, one
 * after the other: a connection that sends requests faster than they are handled, pipelined or reset at once, would
 * keep all others waiting for as long as its input lasts. So a connection has at most SHARE requests handled in a turn,
 * and none after SHARE_NS from the first one; and once the turn has lasted for TURN_NS, at most one, so that a thousand
 * such connections do not make a turn of a second. Those that are refused because there are too many are handled in any
 * case, which is short work and frees their memory. Further ones have begun, with their deadlines, and wait for the
 * next turn: in the worker's list, in the order of their arrival. What the client resets in the meantime is never
 * handled.
 *
 * The worker's message is posted when the list is no longer empty, and runs in the next turn. */
#include "clock.h"
#include "http_internal.h"

#define SHARE    32
#define SHARE_NS CLOCK_NS_PER_MS
#define TURN_NS  (20 * CLOCK_NS_PER_MS)

static bool has_share(struct http_conn *conn, uint64_t now_ns)
{
    uint64_t turn_ns = loop_last_turn_ns(conn->worker->loop);

    if (conn->turn_ns != turn_ns) {
        conn->turn_ns = turn_ns;
        conn->share_ns = now_ns + SHARE_NS;
        conn->handled = 0;
    }
    return conn->handled == 0 || (conn->handled < SHARE && now_ns < conn->share_ns && now_ns < turn_ns + TURN_NS);
}

/* now_ns: a time of now, or a little before, so that the clock need not be asked again. */
static void handle(struct http_exchange *exchange, uint64_t now_ns)
{
    struct http_worker *worker = exchange->worker;
    struct http_conn *conn = http_conn_of(exchange->h2o);

    if (exchange->too_many || has_share(conn, now_ns)) {
        conn->handled++;
        http_dispatch(exchange);
        return;
    }
    exchange->waited = true;
    h2o_linklist_insert(&worker->waiting, &exchange->waiting);
    if (!worker->share_posted) {
        worker->share_posted = true;
        loop_post(worker->loop, &worker->share_message);
    }
}

static void handle_waiting(struct loop_message *message)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, share_message, message);
    h2o_linklist_t due;

    worker->share_posted = false;
    h2o_linklist_init_anchor(&due);
    h2o_linklist_insert_list(&due, &worker->waiting);
    while (!h2o_linklist_is_empty(&due)) {
        struct http_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct http_exchange, waiting, due.next);

        h2o_linklist_unlink(&exchange->waiting);
        if (!exchange->answered) /* by its deadline, or by a closing server */
            handle(exchange, clock_monotonic_ns());
    }
}

void http_share_init(struct http_worker *worker)
{
    h2o_linklist_init_anchor(&worker->waiting);
    worker->share_message.run = handle_waiting;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *h2o)
{
    struct http_exchange *exchange = http_exchange_begin(h2o, &http_exchange_source);

    handle(exchange, exchange->start_ns);
    return 0;
}

void http_share_register(h2o_hostconf_t *host)
{
    /* The fallback serves what no path is registered for: here, everything. */
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
}
