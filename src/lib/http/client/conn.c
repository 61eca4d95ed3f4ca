/* From an address to a response: connecting, sending, and what is tried again.
 *
 *   client_call_attempt: the next address --> idle connection -----------> request is sent --> response.c
 *        ^      ^                       \--> connecting (conn->timer) --/         |
 *        |      |                                |                               |
 *        |      +---- refused, or timed out -----+                               |
 *        +---- broken before a byte came, and the call may be sent twice: once --+
 *
 * Each address is tried once; then the resolver is asked again, once, and those that are new are tried. Timers: the
 * call's bounds all of it; the connection's bounds connecting.
 */
#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>
#include <stdlib.h>

/* ---- what is tried again ---- */

/* The peer may have done what was asked, or not, and has not begun to answer: a call that may be sent twice is, once,
 * on a new connection. */
static void broken(struct client_conn *conn)
{
    struct http_client *client = conn->worker->client;
    struct http_call *call = conn->call;

    client_throttle_broken(client);
    if (conn->begun || !call->repeatable || call->repeated || !client_throttle_allows(client)) {
        client_response_fail(conn, -ECONNRESET);
        return;
    }
    client_conn_close(conn);
    call->repeated = true;
    client_call_attempt(call);
}

/* ---- receiving ---- */

static void on_read(h2o_socket_t *socket, const char *err)
{
    struct client_conn *conn = socket->data;

    if (conn->call == NULL)
        client_conn_close(conn); /* idle, and yet something came: its end, as a rule */
    else if (err == NULL)
        client_response_read(conn);
    else if (err != h2o_socket_error_closed || !client_response_closed(conn))
        broken(conn);
}

/* ---- sending ---- */

/* A peer may answer and close before it has read the whole body: h2o calls on_read first where both have happened. */
static void on_written(h2o_socket_t *socket, const char *err)
{
    struct client_conn *conn = socket->data;

    conn->writing = false;
    if (err != NULL && conn->call != NULL)
        broken(conn);
}

static void send_request(struct client_conn *conn)
{
    const char *authority = conn->host->address.authority;
    struct http_call *call = conn->call;
    size_t body_len = call->request.len - call->head_len;
    h2o_iovec_t parts[] = {h2o_iovec_init(call->request.data, call->head_len),
                           h2o_iovec_init(authority, strlen(authority)), h2o_iovec_init(H2O_STRLIT("\r\n\r\n")),
                           h2o_iovec_init(call->request.data + call->head_len, body_len)};

    assert(conn->socket->input->size == 0 && !conn->writing);
    call->authority = authority;
    conn->part = CLIENT_HEAD;
    conn->begun = false;
    conn->interim = conn->head_len = conn->seen = 0;
    conn->writing = true;
    h2o_socket_write(conn->socket, parts, body_len > 0 ? 4 : 3, on_written);
    /* A connection that was idle is read from already. Asked again, h2o would poll it for writing, too, until the next
     * turn, although all has been written. */
    if (!h2o_socket_is_reading(conn->socket))
        h2o_socket_read_start(conn->socket, on_read);
}

/* ---- connecting ---- */

static void connect_failed(struct client_conn *conn, int err)
{
    struct http_call *call = conn->call;

    client_span_end_connect(conn, err);
    client_host_failed(conn->worker, conn->host);
    client_conn_close(conn);
    client_call_attempt(call);
}

static void on_connect(h2o_socket_t *socket, const char *err)
{
    struct client_conn *conn = socket->data;

    loop_timer_stop(conn->worker->loop, &conn->timer);
    if (err != NULL) {
        connect_failed(conn, -ECONNREFUSED);
        return;
    }
    client_span_end_connect(conn, 0);
    send_request(conn);
}

static void on_connect_timeout(struct loop_timer *timer)
{
    connect_failed(H2O_STRUCT_FROM_MEMBER(struct client_conn, timer, timer), -ETIMEDOUT);
}

/* Up to a tenth less than the maximum, so that connections made together do not all end together. */
static uint64_t retirement(const struct client_worker *worker, uint64_t now_ns)
{
    uint64_t age_ns = worker->client->def.max_connection_age_ms * CLOCK_NS_PER_MS;

    return now_ns + age_ns - age_ns / 10 * (now_ns / 1000 % 16) / 16;
}

static bool begin_connect(struct http_call *call, struct client_host *host)
{
    struct client_worker *worker = call->worker;
    struct client_conn *conn;

    if (!client_conn_count_in(worker->client))
        return false;
    if ((conn = calloc(1, sizeof(*conn))) == NULL) {
        client_conn_count_out(worker->client);
        return false;
    }
    *conn = (struct client_conn){.worker = worker, .host = host, .begun_ns = clock_monotonic_ns()};
    conn->retire_ns = retirement(worker, conn->begun_ns);
    conn->socket = h2o_compat_connect(loop_h2o(worker->loop), (const struct sockaddr *)&host->address.address,
                                      host->address.len, on_connect);
    if (conn->socket == NULL) {
        client_conn_count_out(worker->client);
        free(conn);
        return false;
    }
    conn->socket->data = conn;
    host->users++;
    metrics_change(worker->client->conn_gauge, 1);
    if (loop_timer_start(worker->loop, &conn->timer, worker->client->def.connect_timeout_ms, on_connect_timeout) < 0) {
        client_conn_close(conn);
        return false;
    }
    conn->call = call;
    call->conn = conn;
    return true;
}

/* Sends call on an idle connection to host (unless the call must have a new one), or begins to connect. False: failed
 * at once. */
static bool start(struct http_call *call, struct client_host *host)
{
    struct client_conn *conn;

    client_conns_retire(host, false);
    conn = call->repeated ? NULL : client_conn_take_idle(host);
    if (conn == NULL)
        return begin_connect(call, host);
    conn->call = call;
    call->conn = conn;
    send_request(conn);
    return true;
}

/* ---- the choice of an address ---- */

static void wait_for_address(struct http_call *call)
{
    struct client_worker *worker = call->worker;
    struct client_resolver *resolver = &worker->client->resolver;

    call->waiting = true;
    pthread_mutex_lock(&resolver->lock);
    worker->waiting = true;
    pthread_mutex_unlock(&resolver->lock);
    client_resolver_want(resolver);
}

void client_call_attempt(struct http_call *call)
{
    struct client_worker *worker = call->worker;
    struct client_host *host;

    client_hosts_refresh(worker);
    if (worker->host_count == 0) {
        wait_for_address(call);
        return;
    }
    if (call->generation != worker->generation) { /* those that are new have not been tried */
        call->generation = worker->generation;
        call->attempts = 0;
    }
    /* Each address once, and once more after a connection broke. */
    while (call->attempts++ < worker->host_count + call->repeated) {
        host = client_hosts_next(worker);
        if (start(call, host))
            return;
        client_host_failed(worker, host);
    }
    /* They may have been those of yesterday. */
    if (!call->asked_again && client_resolver_asks(&worker->client->resolver)) {
        call->asked_again = true;
        wait_for_address(call);
        return;
    }
    client_call_fail_soon(call, -ECONNREFUSED);
}
