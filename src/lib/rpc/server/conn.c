/* A connection of the gRPC server: an nghttp2 session on a socket of an event loop.
 *
 * Reading: when the socket is readable, one recv of the connection's share of a turn into a buffer of the loop, and
 * nghttp2 calls session.c, which calls the handlers. Writing: whatever has something to send marks the connection
 * dirty; at the end of the turn all frames of it are gathered in another buffer of the loop and sent by one send(2).
 * Only what the socket does not take is kept by the connection; until the socket takes it nothing more is gathered, and
 * nothing is read: so a client that does not read cannot make the server keep answers.
 *
 * States:
 *
 * - OPEN: until the server drains or the connection has reached its age (rpc_conn_leave), then NOTICED; LEAVING where
 *   the client has sent nothing for NOTICE_NS since it connected: it is no client that reads.
 * - NOTICED: GOAWAY with the largest stream id and a ping were sent. The client begins no new call once it has read
 *   that; calls that crossed it are served. Until the ping is answered, or for NOTICE_NS, then LEAVING. If there is no
 *   call when it is answered, and nothing unread, the connection is closed instead: a second GOAWAY would say nothing.
 * - LEAVING: GOAWAY with the last stream's id was sent. Until no call is left (nghttp2 wants neither to read nor to
 *   write). Then the connection is closed if the client has answered the ping and nothing of a call was sent after it,
 *   or nothing of a call was ever sent (unread is false); else ENDED.
 * - ENDED: shut for sending; closed when the client closes, or after LINGER_NS in which it has taken less than 4 KiB. A
 * close with unread bytes would reset the connection, and the client might lose the last answers.
 *
 * So an idle connection is closed as soon as its client has answered the ping: the answer shows that the client has
 * read all answers, and that no call is on its way. The client need not close it first.
 *
 * A client that is refused (refusal.c) goes to ENDED at once; its calls end. A client that has sent a GOAWAY itself
 * takes OPEN to ENDED when no call is left. A client that pings too often is sent LEAVING's GOAWAY at once, with an
 * error; if it goes on, it is refused.
 *
 * One timer for each connection, at the earliest of: its age; the end of NOTICED or ENDED; keepalive_ms of the server
 * after something was last heard of the client (then a ping is sent), and KEEPALIVE_TIMEOUT_NS after that ping (then
 * the connection is cut). A client that does not read for keepalive_ms is cut too, and one that does not end the head
 * of a call. Times are looked at when the timer runs, so that a call moves no timer.
 *
 * A connection without a call, and without replies that the kernel has not taken, yields its place to a new one when
 * the listener is full: GOAWAY is sent as far as the socket takes it, and the connection is cut at the end of the turn,
 * from any state.
 *
 * Callers: server.c opens connections and has them yield; loop.c flushes and cuts them; session.c and call.c mark them
 * dirty. A connection is freed by rpc_conn_cut alone, which is never called from within nghttp2.
 */
#include "clock.h"
#include "net_socket.h"
#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTICE_NS            CLOCK_NS_PER_S
#define LINGER_NS            CLOCK_NS_PER_S
#define LEAST_TAKEN          4096 /* bytes in LINGER_NS, of a client that is still waited for */
#define KEEPALIVE_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
#define PING_INTERVAL_NS     (5 * CLOCK_NS_PER_S) /* clients may ping so often, also without a call */
#define PING_STRIKES         2
#define PING_STRIKES_MAX     100         /* of a client that has been told */
#define LONGEST_FRAME        (20 * 1024) /* that nghttp2 gives at a time: 16 KiB and its head */
#define LEAST_SHARE          512         /* bytes to read in a turn, of a connection whose messages grow */
#define SENDS_A_TURN         16
#define KERNEL_LEAST         (16 * 1024)     /* bytes that the kernel may hold without being counted */
#define WINDOW               (64 * 1024 - 1) /* of a stream: a paused call holds so much; HTTP/2's default */
#define SMALL_MESSAGE        (64 * 1024)
#define LARGE_WINDOW         (256 * 1024) /* where messages may be longer */
#define CONNECTION_WINDOW    (1024 * 1024)

static_assert(LONGEST_FRAME <= RPC_LOOP_BUFFER, "a frame fits into the buffer of the loop");
static_assert(LOOP_MAX_SHARE <= RPC_LOOP_BUFFER, "what is read at a time fits into the buffer of the loop");
static_assert(WINDOW < LARGE_WINDOW && LARGE_WINDOW <= CONNECTION_WINDOW, "a paused call leaves others their window");
static_assert(KEEPALIVE_TIMEOUT_NS <= RPC_USER_TIMEOUT_MS * CLOCK_NS_PER_MS,
              "a ping tells of a dead peer before the kernel");

static const uint8_t keepalive_ping[8] = {'a', 'l', 'i', 'v', 'e'}, leave_ping[8] = {'l', 'e', 'a', 'v', 'e'};

static void on_readable(h2o_socket_t *socket, const char *err);
static void on_timer(struct loop_timer *timer);

/* ---- timer ---- */

static uint64_t keepalive_ns(const struct rpc_conn *conn)
{
    return conn->loop->server->def.keepalive_ms * CLOCK_NS_PER_MS;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void set_timer(struct rpc_conn *conn)
{
    uint64_t now = clock_monotonic_ns(), due = conn->age_ns;

    if (conn->state != RPC_CONN_ENDED)
        due = earlier(due,
                      conn->ping_ns != 0 ? conn->ping_ns + KEEPALIVE_TIMEOUT_NS : conn->heard_ns + keepalive_ns(conn));
    /* Without memory for a timer the connection could live for ever. */
    if (loop_timer_start(conn->loop->loop, &conn->timer, due > now ? (due - now) / CLOCK_NS_PER_MS : 0, on_timer) < 0)
        conn->broken = true;
}

static void keep_alive(struct rpc_conn *conn, uint64_t now)
{
    if (conn->ping_ns == 0 && now < conn->heard_ns + keepalive_ns(conn))
        return;
    if (conn->waits || (conn->ping_ns != 0 && now >= conn->ping_ns + KEEPALIVE_TIMEOUT_NS)) {
        conn->broken = true;
    } else if (conn->ping_ns == 0) {
        nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, keepalive_ping);
        conn->ping_ns = now;
    }
}

/* ---- leaving ---- */

static void set_state(struct rpc_conn *conn, enum rpc_conn_state state, uint64_t lasts_ns)
{
    assert(state > conn->state);
    conn->state = state;
    conn->age_ns = lasts_ns == UINT64_MAX ? UINT64_MAX : clock_monotonic_ns() + lasts_ns;
    set_timer(conn);
}

static void begin_no_call(struct rpc_conn *conn, uint32_t error, struct str text)
{
    nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(conn->session),
                          error, (const uint8_t *)text.s, text.len);
    set_state(conn, RPC_CONN_LEAVING, UINT64_MAX);
    rpc_conn_dirty(conn);
}

/* Clients speak first. One that has connected a moment ago may have sent a call with its first bytes. */
static bool is_silent(const struct rpc_conn *conn)
{
    return !conn->heard && clock_monotonic_ns() >= conn->heard_ns + NOTICE_NS;
}

void rpc_conn_leave(struct rpc_conn *conn)
{
    if (conn->state != RPC_CONN_OPEN)
        return;
    if (is_silent(conn)) {
        begin_no_call(conn, NGHTTP2_NO_ERROR, STR_NULL);
        return;
    }
    nghttp2_submit_shutdown_notice(conn->session);
    nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, leave_ping);
    set_state(conn, RPC_CONN_NOTICED, NOTICE_NS);
    rpc_conn_dirty(conn);
}

void rpc_conn_ponged(struct rpc_conn *conn, const uint8_t opaque[8])
{
    conn->ping_ns = 0;
    if (memcmp(opaque, leave_ping, sizeof(leave_ping)) != 0)
        return;
    conn->unread = conn->unread_after;
    if (conn->state != RPC_CONN_NOTICED)
        return;
    if (TAILQ_EMPTY(&conn->calls) && !conn->unread) {
        conn->state = RPC_CONN_LEAVING;
        conn->broken = true;
        rpc_conn_dirty(conn);
    } else {
        begin_no_call(conn, NGHTTP2_NO_ERROR, STR_NULL);
    }
}

void rpc_conn_sent(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    bool is_ping = frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK);

    if (is_ping && memcmp(frame->ping.opaque_data, leave_ping, sizeof(leave_ping)) == 0)
        conn->unread_after = false;
    else if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA ||
             frame->hd.type == NGHTTP2_RST_STREAM ||
             (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR))
        conn->unread = conn->unread_after = true;
    if (frame->hd.type != NGHTTP2_PING && frame->hd.type != NGHTTP2_SETTINGS) {
        conn->pinged_ns = 0;
        conn->ping_strikes = 0;
    }
}

/* As C-core and grpc-go do: too frequent pings are let pass twice, and those after something was sent always, since a
 * client measures with them. They would cut the connection then; here the calls of a client that does not go on end as
 * they would have. */
void rpc_conn_pinged(struct rpc_conn *conn)
{
    uint64_t now = clock_monotonic_ns();
    bool early = conn->pinged_ns != 0 && now < conn->pinged_ns + PING_INTERVAL_NS;

    conn->pinged_ns = now;
    conn->ping_strikes += early;
    if (conn->ping_strikes > PING_STRIKES_MAX)
        rpc_refuse(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    else if (conn->ping_strikes > PING_STRIKES && conn->state < RPC_CONN_LEAVING)
        begin_no_call(conn, NGHTTP2_ENHANCE_YOUR_CALM, STR("too_many_pings"));
}

/* Has the client begun a call whose head does not end? Such a call has no deadline yet. */
static bool waits_for_head(const struct rpc_conn *conn, uint64_t now)
{
    const struct rpc_call *call = TAILQ_LAST(&conn->calls, rpc_calls);

    return call != NULL && call->entry == NULL && now >= call->begun_ns + keepalive_ns(conn);
}

/* Is there still something for the client, which it goes on to take? */
static bool takes_more(struct rpc_conn *conn, uint64_t now)
{
    size_t before = conn->untaken;

    conn->untaken = net_untaken(conn->fd);
    if (conn->untaken <= 1 || (before > 0 && conn->untaken + LEAST_TAKEN > before)) /* one is the end of the stream */
        return false;
    conn->age_ns = now + LINGER_NS;
    return true;
}

static void on_timer(struct loop_timer *timer)
{
    struct rpc_conn *conn = RPC_OWNER(timer, struct rpc_conn, timer);
    uint64_t now = clock_monotonic_ns();
    bool is_over = now >= conn->age_ns;

    if (conn->state == RPC_CONN_ENDED)
        conn->broken = is_over && !takes_more(conn, now);
    else if (conn->state == RPC_CONN_OPEN && is_over)
        rpc_conn_leave(conn);
    else if (conn->state == RPC_CONN_NOTICED && is_over)
        begin_no_call(conn, NGHTTP2_NO_ERROR, STR_NULL);
    if (conn->state != RPC_CONN_ENDED)
        keep_alive(conn, now);
    conn->broken = conn->broken || waits_for_head(conn, now);
    set_timer(conn);
    rpc_conn_dirty(conn);
}

bool rpc_conn_owes(const struct rpc_conn *conn)
{
    return conn->rest != NULL;
}

/* The client repeats elsewhere what it sends now: it is beyond the last stream that GOAWAY names. */
void rpc_conn_yield(struct rpc_conn *conn)
{
    assert(TAILQ_EMPTY(&conn->calls));
    if (conn->state < RPC_CONN_LEAVING) /* else it was told; and it begins no call that is read in this turn */
        begin_no_call(conn, NGHTTP2_NO_ERROR, STR_NULL);
    conn->broken = true;
    rpc_conn_dirty(conn);
}

/* ---- sending ---- */

/* Fills the loop's buffer with frames; the handlers that are told of room meanwhile fill it up. */
static size_t gather(struct rpc_conn *conn)
{
    struct rpc_loop *loop = conn->loop;
    size_t len = 0;

    while (sizeof(loop->out) - len >= LONGEST_FRAME) {
        const uint8_t *frame;
        ssize_t size = nghttp2_session_mem_send(conn->session, &frame);

        assert(size <= LONGEST_FRAME);
        if (size < 0) {
            conn->broken = true;
            break;
        }
        if (size == 0 && TAILQ_EMPTY(&loop->due))
            break;
        if (size == 0) {
            rpc_call_run_due(loop);
            continue;
        }
        memcpy(loop->out + len, frame, (size_t)size);
        len += (size_t)size;
    }
    return len;
}

static void on_socket_writable(h2o_socket_t *socket, const char *err);

static void wait_for_socket(struct rpc_conn *conn)
{
    if (conn->waits)
        return;
    conn->waits = true;
    h2o_socket_read_stop(conn->socket);
    h2o_socket_notify_write(conn->socket, on_socket_writable);
}

static void keep_rest(struct rpc_conn *conn, const uint8_t *bytes, size_t len)
{
    assert(conn->rest == NULL && len > 0 && len <= RPC_LOOP_BUFFER);
    conn->rest = malloc(len);
    if (conn->rest == NULL) {
        conn->broken = true;
        return;
    }
    memcpy(conn->rest, bytes, len);
    conn->rest_len = len;
    conn->rest_offset = 0;
    rpc_account_add(&conn->loop->account, len);
    wait_for_socket(conn);
}

static void free_rest(struct rpc_conn *conn)
{
    rpc_account_give(&conn->loop->account, conn->rest_len);
    free(conn->rest);
    conn->rest = NULL;
    conn->rest_len = 0;
}

/* What the socket took; 0 also where the connection is lost, which is then broken. */
static size_t send_bytes(struct rpc_conn *conn, const uint8_t *bytes, size_t len)
{
    ssize_t sent;

    do
        sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        conn->broken = true;
    conn->sent += sent > 0 ? (size_t)sent : 0;
    return sent > 0 ? (size_t)sent : 0;
}

static void on_socket_writable(h2o_socket_t *socket, const char *err)
{
    struct rpc_conn *conn = socket->data;

    conn->waits = false;
    conn->broken = conn->broken || err != NULL;
    if (conn->rest != NULL && !conn->broken) {
        conn->rest_offset += send_bytes(conn, conn->rest + conn->rest_offset, conn->rest_len - conn->rest_offset);
        conn->heard_ns = clock_monotonic_ns();
        if (conn->rest_offset == conn->rest_len)
            free_rest(conn);
    }
    if (conn->rest != NULL && !conn->broken)
        wait_for_socket(conn);
    else
        h2o_socket_read_start(conn->socket, on_readable);
    rpc_conn_dirty(conn);
}

static void send_all(struct rpc_conn *conn)
{
    size_t len = 0;

    for (int i = 0; i < SENDS_A_TURN && conn->rest == NULL && !conn->waits && !conn->broken; i++) {
        size_t sent;

        if ((len = gather(conn)) == 0)
            return;
        sent = send_bytes(conn, conn->loop->out, len);
        if (sent < len && !conn->broken)
            keep_rest(conn, conn->loop->out + sent, len - sent);
    }
    if (!conn->waits && !conn->broken) /* the other connections' turn */
        wait_for_socket(conn);
}

void rpc_conn_count_kernel(struct rpc_conn *conn)
{
    size_t bytes = net_kernel_bytes(conn->fd);

    conn->sent = 0;
    bytes = bytes >= KERNEL_LEAST ? bytes : 0;
    conn->loop->kernel += bytes - conn->kernel; /* modulo 2^64, where it is less */
    rpc_account_add(&conn->loop->account, bytes);
    rpc_account_give(&conn->loop->account, conn->kernel);
    conn->kernel = bytes;
}

/* nghttp2 wants no more after the first GOAWAY, too. */
static bool is_done(const struct rpc_conn *conn)
{
    return (conn->state == RPC_CONN_OPEN || conn->state == RPC_CONN_LEAVING) && conn->rest == NULL &&
           !nghttp2_session_want_read(conn->session) && !nghttp2_session_want_write(conn->session);
}

static void shut(struct rpc_conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    set_state(conn, RPC_CONN_ENDED, LINGER_NS);
}

static void end_calls(struct rpc_conn *conn)
{
    struct rpc_call *call;

    while ((call = TAILQ_FIRST(&conn->calls)) != NULL)
        rpc_call_end(call, false);
}

void rpc_conn_flush(struct rpc_conn *conn)
{
    bool was_broken = conn->broken; /* what nghttp2 has to say of it is still sent */
    bool is_refused;

    conn->broken = false;
    if (conn->state != RPC_CONN_ENDED)
        send_all(conn);
    if (conn->kernel > 0 || conn->sent >= KERNEL_LEAST)
        rpc_conn_count_kernel(conn);
    is_refused = conn->refused && conn->state != RPC_CONN_ENDED;
    if (was_broken || conn->broken || (is_refused && conn->waits) || (is_done(conn) && !conn->unread)) {
        rpc_conn_cut(conn);
    } else if (is_refused) { /* what the client still sends must not reset it before it has read why */
        end_calls(conn);
        shut(conn);
    } else if (is_done(conn)) {
        shut(conn);
    }
}

/* ---- receiving ---- */

/* A connection whose messages are inflated reads less by as much as they have grown. */
static size_t read_share(const struct rpc_conn *conn)
{
    size_t share = loop_read_share(conn->loop->loop) / (1 + conn->growth);

    return share > LEAST_SHARE ? share : LEAST_SHARE;
}

/* How much bytes that were read have grown, half of what it was before at least: not each read ends messages. */
static void count_growth(struct rpc_conn *conn, size_t read)
{
    size_t growth = conn->inflated / read;

    conn->growth = growth > conn->growth / 2 ? growth : conn->growth / 2;
    conn->inflated = 0;
}

static void on_readable(h2o_socket_t *socket, const char *err)
{
    struct rpc_conn *conn = socket->data;
    size_t share = read_share(conn);
    ssize_t len = err != NULL ? 0 : recv(conn->fd, conn->loop->in, share, 0), result;

    if (len > 0)
        loop_has_read(conn->loop->loop, share, (size_t)len);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        rpc_conn_cut(conn);
        return;
    }
    conn->heard = true;
    conn->heard_ns = clock_monotonic_ns();
    if (conn->state == RPC_CONN_ENDED)
        return;
    result = nghttp2_session_mem_recv(conn->session, conn->loop->in, (size_t)len);
    if (result < 0)
        rpc_refusal_failed(conn, (int)result);
    count_growth(conn, (size_t)len);
    rpc_conn_dirty(conn);
}

/* ---- begin and end ---- */

/* Give or take a tenth, so that the clients of a server do not all come again at the same time. */
static uint64_t drawn_age_ns(struct rpc_loop *loop)
{
    uint64_t age_ms = loop->server->def.max_connection_age_ms;

    return (age_ms - age_ms / 10 + (uint64_t)rand_r(&loop->seed) % (age_ms / 5 + 1)) * CLOCK_NS_PER_MS;
}

static int open_session(struct rpc_conn *conn)
{
    const struct rpc_server *server = conn->loop->server;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, RPC_MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, server->def.max_message > SMALL_MESSAGE ? LARGE_WINDOW : WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RPC_MAX_HEAD},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    nghttp2_session *session; /* nghttp2 sets it also where it fails */
    int result;

    rpc_account_share_frame(&conn->loop->account, true);
    result = nghttp2_session_server_new3(&session, server->callbacks, conn, server->option, &conn->loop->mem);
    rpc_account_share_frame(&conn->loop->account, false);
    if (result != 0)
        return -ENOMEM;
    conn->session = session;
    if (nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0])) !=
            0 ||
        nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0)
        return -ENOMEM;
    return 0;
}

bool rpc_conn_open(struct rpc_loop *loop, int take_fd, const struct sockaddr_storage *peer)
{
    struct rpc_conn *conn = calloc(1, sizeof(*conn));
    uint64_t now = clock_monotonic_ns();

    assert(loop_is_current(loop->loop) && !loop->cutting);
    if (conn == NULL) {
        close(take_fd);
        return false;
    }
    rpc_account_add(&loop->account, sizeof(*conn));
    conn->loop = loop;
    conn->fd = take_fd;
    conn->heard_ns = conn->opened_ns = now;
    conn->age_ns = now + drawn_age_ns(loop);
    TAILQ_INIT(&conn->calls);
    TAILQ_INSERT_TAIL(&loop->conns, conn, link);
    acceptor_join(loop->server->acceptor, loop->index, &conn->place, take_fd);
    net_ip_text(peer, conn->remote_ip);
    conn->is_proxy = acceptor_is_proxy(loop->server->def.address_bound, peer);
    conn->socket = h2o_evloop_socket_create(loop_h2o(loop->loop), take_fd, H2O_SOCKET_FLAG_DONT_READ);
    conn->socket->data = conn;
    if (open_session(conn) < 0) {
        rpc_conn_cut(conn);
        return true;
    }
    h2o_socket_read_start(conn->socket, on_readable);
    set_timer(conn);
    if (acceptor_is_draining(loop->server->acceptor))
        rpc_conn_leave(conn);
    rpc_conn_dirty(conn);
    return true;
}

void rpc_conn_cut(struct rpc_conn *conn)
{
    struct rpc_loop *loop = conn->loop;

    assert(loop_is_current(loop->loop));
    end_calls(conn);
    nghttp2_session_del(conn->session);
    loop_timer_stop(loop->loop, &conn->timer);
    if (net_untaken(conn->fd) >= KERNEL_LEAST) /* the kernel would keep it, and nobody count it */
        net_reset_at_close(conn->fd);
    h2o_socket_close(conn->socket);
    loop->kernel -= conn->kernel;
    rpc_account_give(&loop->account, conn->kernel);
    free_rest(conn);
    TAILQ_REMOVE(&loop->conns, conn, link);
    if (conn->is_dirty)
        TAILQ_REMOVE(&loop->dirty, conn, dirty);
    rpc_account_give(&loop->account, sizeof(*conn));
    acceptor_left(&conn->place);
    free(conn);
}
