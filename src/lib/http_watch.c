/* http_watch -- looks over a worker's connections, and ends those that wait too long for their client.
 *
 * Every tenth of receive_timeout_ms, which is a turn of the receive timer, it asks h2o for all requests. Turns are
 * counted, not time: a process that had no CPU for a while has not heard its clients either. Cut are
 *   - a connection with a request (any of its streams) that began RECEIVE_TURNS turns ago and is not whole,
 *   - one with bytes that are no request (a partial frame) for as long,
 *   - in a drain, one that is idle for as long.
 * h2o's own timers are set to idle_timeout_ms: they run out only where nothing at all comes.
 */
#include "http_internal.h"

/* ---- looking ---- */

static int look_at_request(h2o_req_t *h2o, void *arg)
{
    struct http_conn *conn = http_conn_of(h2o);
    uint64_t begun_ms = h2o_compat_begun_ms(h2o);

    if (begun_ms != 0 && !h2o_compat_is_whole(h2o) && (conn->begun_ms == 0 || begun_ms < conn->begun_ms))
        conn->begun_ms = begun_ms;
    return 0;
}

static void look(struct http_worker *worker)
{
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next)
        H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link)->begun_ms = 0;
    h2o_compat_each_request(&worker->h2o, look_at_request, NULL);
}

/* ---- what waits too long ---- */

/* Bytes that are no request yet, or, in a drain, the request that an idle connection may still send. */
static bool is_waiting(const struct http_conn *conn)
{
    return conn->exchanges == 0 && conn->begun_ms == 0 &&
           (conn->socket->input->size > 0 || atomic_load(&conn->worker->server->drained));
}

/* Notes the time of this turn; returns that of RECEIVE_TURNS turns ago, 0 where it is not known. */
static uint64_t note_turn(struct http_worker *worker)
{
    uint64_t now_ms = h2o_now(worker->h2o.loop);
    unsigned last = worker->turn, next = (last + 1) % HTTP_RECEIVE_TURNS;
    uint64_t before_ms = worker->turns_ms[next];

    if (now_ms < worker->turns_ms[last]) { /* the clock was set back */
        memset(worker->turns_ms, 0, sizeof(worker->turns_ms));
        before_ms = 0;
    }
    worker->turns_ms[next] = now_ms;
    worker->turn = next;
    return before_ms;
}

static void on_receive_timer(struct loop_timer *timer)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, receive_timer, timer);
    uint64_t before_ms = note_turn(worker);

    look(worker);
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link);

        conn->waits = is_waiting(conn) ? conn->waits + 1 : 0;
        if (conn->waits > HTTP_RECEIVE_TURNS || (conn->begun_ms != 0 && conn->begun_ms < before_ms))
            http_conn_cut(conn);
    }
    if (!h2o_linklist_is_empty(&worker->conns))
        http_watch_start(worker);
}

void http_watch_start(struct http_worker *worker)
{
    unsigned turn_ms = worker->server->def.receive_timeout_ms / HTTP_RECEIVE_TURNS + 1;

    loop_timer_start(worker->loop, &worker->receive_timer, turn_ms, on_receive_timer);
}
