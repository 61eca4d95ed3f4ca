/* http_watch -- looks over a worker's connections, and ends those that wait too long for their client or hold too much.
 *
 * TIME
 *
 * Every tenth of receive_timeout_ms, which is a turn of the receive timer, it asks h2o for all requests. Turns are
 * counted, not time: a process that had no CPU for a while has not heard its clients either. Cut are
 *   - a connection with a request (any of its streams) that began RECEIVE_TURNS turns ago and is not whole,
 *   - one with bytes that are no request (a partial frame) for as long,
 *   - in a drain, one that is idle for as long.
 * h2o's own timers are set to idle_timeout_ms: they run out only where nothing at all comes.
 *
 * MEMORY
 *
 * A reply is charged to the server's budget when it is answered and given back when it has been sent: exactly. h2o does
 * not tell when its own buffers grow. Looking at all connections for them takes long where there are thousands; so it
 * is done when the process has grown by a sixteenth of the bound since the last time, at most every millisecond, and
 * with each turn of the receive timer, and, within a turn of the loop, when a sixteenth of the bound has been received.
 * What grows without being seen is that sixteenth, and what h2o makes of it. What the kernel holds of a connection,
 * received or sent, is looked at with h2o's buffers; so there is a look, too, when a sixteenth of the bound has been
 * sent, and every LOOK_LEAST_NS while the loop turns, at a thirty-second of its time at most. Not counted: HPACK's
 * tables.
 *
 * Where clients need tokens, the unfinished requests of those without one may hold an eighth of the bound; beyond it
 * the connections that hold most of them are closed. h2o gives a request to its handler when it is whole, so that this
 * is how little is held before a token has been asked for.
 *
 * Where the bound is exceeded, or something did not fit, every worker closes its connections that hold most, down to
 * half of what an equal share would be, until three quarters of the bound are used. The same is done where the
 * process's budget for all clients is almost used up and the server holds a third of what is used, or more
 * (budget_surplus_of_whole). The memory of connections that have no request being answered is free at once, that of the
 * others after h2o's next turn; until then requests are refused, and a connection is closed whose input holds more than
 * MAX_SPARED. Soon after, h2o and the allocator are made to give
 * back what they keep for reuse: they would keep the heap as large as it ever was.
 */
#include "clock.h"
#include "http_auth.h"
#include "http_internal.h"
#include "net_socket.h"
#include "seldom.h"
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIN_STRANGE    (16 * 1024) /* bytes of an unfinished request: of less nobody asks whose it is */
#define MIN_CHARGED    4096        /* bytes of a reply's body: less is counted with its request */
#define MAX_SPARED     (16 * 1024) /* bytes of input: a client that is small in want of memory */
#define LOOK_NS        CLOCK_NS_PER_MS
#define IDLE_LOOK_NS   (100 * CLOCK_NS_PER_MS)
#define LOOK_LEAST_NS  (100 * CLOCK_NS_PER_MS)
#define LOOK_PART      32 /* of a loop's time, for looks for which there is no other cause */
#define WARN_NS        (10 * CLOCK_NS_PER_S)
#define TRIM_NS        (50 * CLOCK_NS_PER_MS)
#define MIN_SOCKBUF    (64 * 1024)
#define LEAST_RECEIVE  (16 * 1024)
#define HTTP2_COPIED   81920 /* of replies into an HTTP/2 connection's output at a time */
#define HTTP2_ANSWERED 2     /* bytes of output, at most, for one of a frame that is answered by a frame */

static_assert(MIN_CHARGED <= HTTP_REQUEST_BYTES, "a reply that is not charged is counted with its request");
static_assert(sizeof(h2o_req_t) + sizeof(struct http_exchange) < HTTP_REQUEST_BYTES,
              "a request takes what is counted for it");
static_assert(LOOK_NS <= IDLE_LOOK_NS && LOOK_NS <= TRIM_NS,
              "what is closed is seen to be gone before the heap is trimmed");

/* ---- looking ---- */

/* An empty buffer is h2o's prototype, which all share. */
static size_t input_bytes(const struct http_conn *conn)
{
    return conn->socket->input->bytes != NULL ? conn->socket->input->capacity : 0;
}

static size_t kernel_bytes(const struct http_conn *conn)
{
    return conn->worker->server->memory.max > 0 ? net_kernel_bytes(h2o_socket_get_fd(conn->socket)) : 0;
}

static bool is_stranger(const struct http_conn *conn, const h2o_req_t *h2o)
{
    struct http_auth *auth = conn->worker->server->def.auth;
    ssize_t at;

    if (auth == NULL)
        return false;
    at = h2o_find_header(&h2o->headers, H2O_TOKEN_AUTHORIZATION, -1);
    return at < 0 || !http_auth_knows(
                         auth, (struct str){h2o->headers.entries[at].value.base, h2o->headers.entries[at].value.len});
}

static void look_at_unfinished(struct http_conn *conn, const h2o_req_t *h2o, uint64_t begun_ms, size_t bytes)
{
    if (conn->begun_ms == 0 || begun_ms < conn->begun_ms)
        conn->begun_ms = begun_ms;
    bytes += conn->is_http1 ? input_bytes(conn) : 0;
    if (bytes >= MIN_STRANGE && is_stranger(conn, h2o))
        conn->strange += bytes;
}

static int look_at_request(h2o_req_t *h2o, void *arg)
{
    struct http_conn *conn = http_conn_of(h2o);
    uint64_t begun_ms = h2o_compat_begun_ms(h2o);
    size_t bytes;

    conn->is_http1 = h2o->version < 0x200;
    if (begun_ms == 0)
        return 0;
    bytes = HTTP_REQUEST_BYTES + h2o_compat_request_bytes(h2o);
    conn->buffers += bytes;
    if (!h2o_compat_is_whole(h2o))
        look_at_unfinished(conn, h2o, begun_ms, bytes);
    return 0;
}

static struct http_conn *conn_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link);
}

static size_t least_of(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

/* What h2o does not tell of an HTTP/2 connection is bounded by what has been received since it was last seen to be
 * empty: the unfinished header block, which may be a trailer, and the frames that answer frames. */
static size_t http2_bytes(struct http_conn *conn)
{
    uint64_t received = conn->received;
    size_t copied = least_of(conn->replies, HTTP2_COPIED);

    if (conn->begun_ms == 0)
        conn->block_mark = received;
    if (!h2o_socket_is_writing(conn->socket)) {
        conn->output_mark = received;
        copied = 0;
    }
    return least_of(received - conn->block_mark, H2O_MAX_REQLEN) +
           least_of(HTTP2_ANSWERED * (received - conn->output_mark), H2O_COMPAT_MAX_OUTPUT) + copied;
}

static void look(struct http_worker *worker)
{
    size_t before = 0, after = 0, strange_before = 0, strange_after = 0;
    uint64_t begun_ns = clock_monotonic_ns();

    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        struct http_conn *conn = conn_of(link);

        before += conn->buffers;
        strange_before += conn->strange;
        conn->strange = 0;
        conn->buffers = HTTP_CONN_BYTES + input_bytes(conn) + kernel_bytes(conn);
        conn->begun_ms = 0;
        conn->is_http1 = false;
    }
    h2o_compat_each_request(&worker->h2o, look_at_request, NULL);
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        struct http_conn *conn = conn_of(link);

        conn->buffers += conn->is_http1 ? 0 : http2_bytes(conn);
        after += conn->buffers;
        strange_after += conn->strange;
    }
    budget_add(&worker->server->memory, after - before); /* modulo 2^64, where it is less */
    budget_add(&worker->server->strangers, strange_after - strange_before);
    worker->looked_ns = clock_monotonic_ns();
    worker->look_takes_ns = worker->looked_ns - begun_ns;
}

/* ---- what holds too much ---- */

static size_t held(const struct http_conn *conn)
{
    return conn->cut ? 0 : http_conn_held(conn);
}

static void warn(struct http_server *server)
{
    const struct log_field fields[] = {
        LOG_CSTR("server", server->def.name), LOG_INT("bytes", (int64_t)budget_used(&server->memory)),
        LOG_INT("max_bytes", (int64_t)server->memory.max), LOG_INT("requests_refused", (int64_t)server->refused),
        LOG_INT("connections_closed", (int64_t)server->closed)};

    if (seldom(&server->warn_ns, WARN_NS))
        log_fields(server->def.log, LOG_WARNING, NULL,
                   "clients hold too much memory: requests are refused, and the connections that hold most are closed",
                   fields, sizeof(fields) / sizeof(fields[0]));
}

static void count_closed(struct http_server *server)
{
    atomic_fetch_add_explicit(&server->closed, 1, memory_order_relaxed);
    metrics_add(server->closed_total, 1);
}

/* With a reset, so that the kernel keeps nothing of it either. May free conn. */
static void close_for_memory(struct http_conn *conn)
{
    net_reset_at_close(h2o_socket_get_fd(conn->socket));
    count_closed(conn->worker->server);
    http_conn_shut(conn); /* what is still being written fails */
    conn->close(conn);
}

static size_t strange(const struct http_conn *conn)
{
    return conn->cut ? 0 : conn->strange;
}

/* Closes connections that hold at least that much until wanted bytes have been found: of these, those first that were
 * answered, or opened, longest ago. Returns how many were. */
static size_t close_largest(struct http_worker *worker, size_t (*size_of)(const struct http_conn *), size_t least,
                            size_t wanted)
{
    size_t found = 0;

    for (h2o_linklist_t *link = worker->conns.next, *next; link != &worker->conns; link = next) {
        struct http_conn *conn = conn_of(link);

        next = link->next;
        if (found >= wanted)
            break;
        if (size_of(conn) < least)
            continue;
        found += size_of(conn);
        close_for_memory(conn);
    }
    return found;
}

static size_t surplus_of(struct http_server *server)
{
    size_t used = budget_used(&server->memory), enough = server->memory.max / 4 * 3;
    size_t of_whole = budget_surplus_of_whole(&server->memory), own = used > enough ? used - enough : 0;

    return own > of_whole ? own : of_whole;
}

/* Closes those that hold most, in passes of half the size each: sorting would need memory. First go those that are
 * closed already, and only wait for their clients. */
static void make_room(struct http_worker *worker)
{
    struct http_server *server = worker->server;
    size_t used = budget_used(&server->memory), surplus = surplus_of(server), most = 0, leaving = 0;
    size_t share = used / (acceptor_connections(server->acceptor) + 1) / 2;

    surplus -= http_linger_end_some(worker, surplus);
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        most = held(conn_of(link)) > most ? held(conn_of(link)) : most;
        leaving += conn_of(link)->cut ? http_conn_held(conn_of(link)) : 0;
    }
    for (size_t least = most / 2; least >= share && least > 0; least /= 2)
        leaving += close_largest(worker, held, least, surplus > leaving ? surplus - leaving : 0);
}

/* Before it has seen a token, the server keeps little: beyond it the connections that hold most of that are closed,
 * down to half of it, whatever else is free. */
static void refuse_strangers(struct http_worker *worker)
{
    struct budget *strangers = &worker->server->strangers;
    size_t used = budget_used(strangers), enough = strangers->max / 2, most = 0, leaving = 0;

    if (!budget_exceeded(strangers))
        return;
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        most = strange(conn_of(link)) > most ? strange(conn_of(link)) : most;
        leaving += conn_of(link)->cut ? conn_of(link)->strange : 0;
    }
    for (size_t least = most / 2; least > 0 && used > enough + leaving; least /= 2)
        leaving += close_largest(worker, strange, least, used - enough - leaving);
    warn(worker->server);
}

/* The anonymous memory of the process: its heap, in the main. */
static size_t resident_bytes(const struct http_server *server)
{
    char text[128];
    ssize_t len = pread(server->statm_fd, text, sizeof(text) - 1, 0);
    unsigned long long total, resident, shared;

    text[len > 0 ? len : 0] = '\0';
    if (sscanf(text, "%llu %llu %llu", &total, &resident, &shared) != 3 || resident < shared)
        return 0;
    return (size_t)(resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_exceeded(const struct http_worker *worker)
{
    struct http_server *server = worker->server;

    return budget_exceeded(&server->memory) || budget_surplus_of_whole(&server->memory) > 0 ||
           atomic_load_explicit(&server->wants_room, memory_order_relaxed) != worker->room_made;
}

static void look_at_memory(struct http_worker *worker, uint64_t now_ns)
{
    struct http_server *server = worker->server;

    worker->moved = 0;
    look(worker);
    refuse_strangers(worker);
    if (is_exceeded(worker)) {
        worker->room_made = atomic_load_explicit(&server->wants_room, memory_order_relaxed);
        make_room(worker);
        warn(server);
        if (worker->trim_ns == 0)
            worker->trim_ns = now_ns + TRIM_NS;
    }
    worker->look_ns = now_ns + LOOK_NS;
}

/* Since the last look: a sixteenth of the bound. */
static bool has_moved_much(const struct http_worker *worker)
{
    return worker->moved >= worker->server->memory.max / 16 / worker->server->worker_count;
}

/* After each turn of the loop. */
static void watch_memory(struct loop_hook *hook)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, memory_hook, hook);
    struct http_server *server = worker->server;
    uint64_t now_ns = clock_monotonic_ns();
    size_t resident;

    if (now_ns < worker->look_ns || (h2o_linklist_is_empty(&worker->conns) && worker->trim_ns == 0))
        return;
    worker->look_ns = now_ns + LOOK_NS;
    if (worker->trim_ns != 0 && worker->trim_ns <= now_ns) {
        worker->trim_ns = 0;
        h2o_compat_collect_all();
        malloc_trim(0);
    }
    resident = resident_bytes(server);
    if (resident < worker->seen_resident)
        worker->seen_resident = resident;
    if (!is_exceeded(worker) && resident - worker->seen_resident < server->memory.max / 16 && !has_moved_much(worker) &&
        now_ns < worker->looked_ns + LOOK_LEAST_NS + LOOK_PART * worker->look_takes_ns)
        return;
    worker->seen_resident = resident;
    look_at_memory(worker, now_ns);
}

/* Does it hold much where there is too much? Those that are being closed may free nothing before the next turn, and
 * this turn may still read from thousands. */
static bool must_go(struct http_conn *conn)
{
    struct http_server *server = conn->worker->server;

    if (!budget_exceeded(&server->memory) || input_bytes(conn) <= MAX_SPARED)
        return false;
    net_reset_at_close(h2o_socket_get_fd(conn->socket));
    count_closed(server);
    return true;
}

/* What one turn reads may be more than there is memory for: within it, too, there is a look for each sixteenth of the
 * bound. */
static bool admits(struct http_conn *conn, size_t len)
{
    struct http_worker *worker = conn->worker;

    worker->moved += len;
    if (has_moved_much(worker)) {
        worker->reading = conn;
        look_at_memory(worker, clock_monotonic_ns());
        worker->reading = NULL;
    }
    return !conn->cut && !must_go(conn);
}

/* What the kernel holds, received but not read, or for the client to take, is charged to the same cgroup. */
void http_watch_bound_buffers(const struct http_server *server, int listen_fd)
{
    size_t max = server->memory.max, receive = MIN_SOCKBUF, send = max / 64;

    if (max > 0 && max / 1024 < receive)
        receive = max / 1024 > LEAST_RECEIVE ? max / 1024 : LEAST_RECEIVE;
    /* The server itself cuts off who takes nothing, and counts it: the kernel's time is for what has been closed. */
    net_bound_queues(listen_fd, receive, send < MIN_SOCKBUF ? MIN_SOCKBUF : send, 2 * server->def.request_timeout_ms);
}

void http_watch_init(struct http_worker *worker)
{
    if (worker->server->memory.max == 0)
        return;
    worker->seen_resident = resident_bytes(worker->server);
    worker->memory_hook.run = watch_memory;
    worker->admits = admits;
    loop_each_turn(worker->loop, &worker->memory_hook);
}

struct http_reply *http_watch_refuse(struct http_server *server)
{
    atomic_fetch_add_explicit(&server->refused, 1, memory_order_relaxed);
    metrics_add(server->refused_total, 1);
    http_want_room(server);
    return http_set_header(http_problem(503, "too much memory in use"), "retry-after", "1");
}

void http_watch_refuse_head(struct http_server *server)
{
    count_closed(server);
    http_want_room(server);
}

struct http_reply *http_watch_charge(struct http_reply *reply, struct http_server *server, bool must_be_sent)
{
    size_t len = reply->is_static ? least_of(reply->body_len, HTTP2_COPIED) : reply->body_len;

    assert(reply->server == NULL);
    if (len < MIN_CHARGED)
        return reply;
    if (!must_be_sent && !budget_take(&server->memory, len)) {
        http_reply_free(reply);
        return http_watch_refuse(server);
    }
    if (must_be_sent) {
        budget_add(&server->memory, len);
        if (budget_exceeded(&server->memory))
            http_want_room(server);
    }
    reply->server = server;
    reply->charged = len;
    return reply;
}

void http_watch_open(struct http_conn *conn)
{
    conn->buffers = HTTP_CONN_BYTES;
    budget_add(&conn->worker->server->memory, conn->buffers);
}

bool http_watch_is_full(struct http_worker *worker)
{
    uint64_t now_ns;

    if (!budget_exceeded(&worker->server->memory))
        return false;
    if ((now_ns = clock_monotonic_ns()) >= worker->look_ns) /* what was counted may have been freed */
        look_at_memory(worker, now_ns);
    return budget_exceeded(&worker->server->memory);
}

/* ---- who is idle ---- */

/* begun_ms is as old as the last look, which takes long where there are many connections: a request that began after it
 * and has left nothing in the input buffer is not seen. */
bool http_watch_is_idle(struct http_conn *conn)
{
    if (conn->exchanges > 0 || conn->socket->input->size > 0 || h2o_socket_is_writing(conn->socket))
        return false;
    if (clock_monotonic_ns() >= conn->worker->looked_ns + IDLE_LOOK_NS)
        look(conn->worker);
    return conn->begun_ms == 0;
}

/* ---- what waits too long ---- */

/* Bytes that are no request yet, or, in a drain, the request that an idle connection may still send. */
static bool is_waiting(const struct http_conn *conn)
{
    return conn->exchanges == 0 && conn->begun_ms == 0 &&
           (conn->socket->input->size > 0 || acceptor_is_draining(conn->worker->server->acceptor));
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
    refuse_strangers(worker);
    http_exchanges_look(worker);
    http_refusals_look(worker);
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next) {
        struct http_conn *conn = conn_of(link);

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
