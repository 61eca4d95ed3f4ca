/* A connection's share of a turn of the loop. h2o hands over every request that it finds in a connection's input, one
 * after the other: a connection that sends requests faster than they are handled, pipelined or reset at once, would
 * keep all others waiting for as long as its input lasts. So a connection has at most SHARE requests handled in a turn,
 * and none after SHARE_NS from the first one; those that are refused because there are too many are handled in any
 * case, which is short work and frees their memory. Further ones have begun, with their deadlines, and wait for the
 * next turn: in the worker's list, in the order of their arrival. What the client resets in the meantime is never
 * handled.
 *
 * Many such connections would together make a turn long. So requests that have waited are handled until TURN_NS of a
 * turn have passed, and further ones of connections of which some wait do wait, too. The first request of another
 * connection is always handled at once.
 *
 * The worker's message is posted when the list is no longer empty, and runs in the next turn. */
#include "clock.h"
#include "http_internal.h"

#define SHARE    32
#define SHARE_NS CLOCK_NS_PER_MS
#define TURN_NS  (4 * CLOCK_NS_PER_MS)

static_assert(SHARE_NS <= TURN_NS, "a connection's share is a part of the turn");

static void begin_turn(struct http_worker *worker, uint64_t now_ns)
{
    uint64_t turn_ns = loop_last_turn_ns(worker->loop);

    if (worker->turn_ns == turn_ns)
        return;
    worker->turn_ns = turn_ns;
    worker->share_ns = now_ns + TURN_NS;
}

/* Whether it may have a request handled, beside those that are handled in any case. */
static bool has_share(struct http_conn *conn, uint64_t now_ns)
{
    struct http_worker *worker = conn->worker;

    if (conn->turn_ns != worker->turn_ns) {
        conn->turn_ns = worker->turn_ns;
        conn->share_ns = now_ns + SHARE_NS < worker->share_ns ? now_ns + SHARE_NS : worker->share_ns;
        conn->handled = 0;
    }
    return conn->handled < SHARE && now_ns < conn->share_ns;
}

static void post(struct http_worker *worker)
{
    if (worker->share_posted)
        return;
    worker->share_posted = true;
    loop_post(worker->loop, &worker->share_message);
}

static void wait(struct http_exchange *exchange)
{
    exchange->waited = true;
    http_conn_of(exchange->h2o)->waiting++;
    h2o_linklist_insert(&exchange->worker->waiting, &exchange->waiting);
    post(exchange->worker);
}

/* now_ns: a time of now, or a little before, so that the clock need not be asked again. */
static void handle(struct http_exchange *exchange, bool waited, uint64_t now_ns)
{
    struct http_conn *conn = http_conn_of(exchange->h2o);
    bool has = has_share(conn, now_ns), is_first = conn->handled == 0 && conn->waiting == 0 && !waited;

    if (exchange->too_many || has || is_first) {
        conn->handled++;
        http_dispatch(exchange);
    } else {
        wait(exchange);
    }
}

static void handle_waiting(struct loop_message *message)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, share_message, message);
    uint64_t now_ns = clock_monotonic_ns();
    h2o_linklist_t due;

    begin_turn(worker, now_ns);
    worker->share_posted = false;
    h2o_linklist_init_anchor(&due);
    h2o_linklist_insert_list(&due, &worker->waiting);
    for (; !h2o_linklist_is_empty(&due) && now_ns < worker->share_ns; now_ns = clock_monotonic_ns()) {
        struct http_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct http_exchange, waiting, due.next);

        http_exchange_waits_no_more(exchange);
        if (!exchange->answered) /* by its deadline, or by a closing server */
            handle(exchange, true, now_ns);
    }
    if (h2o_linklist_is_empty(&due))
        return;
    h2o_linklist_insert_list(&worker->waiting, &due); /* behind those that came before them */
    post(worker);
}

void http_share_init(struct http_worker *worker)
{
    h2o_linklist_init_anchor(&worker->waiting);
    worker->share_message.run = handle_waiting;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *h2o)
{
    struct http_exchange *exchange = http_exchange_begin(h2o, &http_exchange_source);

    begin_turn(exchange->worker, exchange->start_ns);
    handle(exchange, false, exchange->start_ns);
    return 0;
}

void http_share_register(h2o_hostconf_t *host)
{
    /* The fallback serves what no path is registered for: here, everything. */
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
}
