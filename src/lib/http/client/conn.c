#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#define MAX_CHUNK_HEADING (64 * 1024) /* bytes of a chunked body's framing; as many more as the body may have */

/* ---- counting ---- */

static void count_out(struct http_client *client)
{
    atomic_fetch_sub_explicit(&client->connections, 1, memory_order_relaxed);
}

/* False where there are as many connections as may be. */
static bool count_in(struct http_client *client)
{
    if (atomic_fetch_add_explicit(&client->connections, 1, memory_order_relaxed) < client->def.max_connections)
        return true;
    count_out(client);
    return false;
}

/* ---- memory ---- */

/* Takes what the input buffer has grown to, or will, from the budget. -ENOBUFS: there is not so much. */
static int charge(struct client_conn *conn, size_t expected)
{
    size_t capacity = conn->socket->input->capacity, bytes = capacity > expected ? capacity : expected;

    if (bytes <= CLIENT_FREE_INPUT || bytes <= conn->charged)
        return 0;
    if (!budget_take(&conn->worker->client->memory, bytes - conn->charged))
        return -ENOBUFS;
    conn->charged = bytes;
    return 0;
}

static void give_back(struct client_conn *conn)
{
    if (conn->charged > 0)
        budget_give(&conn->worker->client->memory, conn->charged);
    conn->charged = 0;
}

/* Empties the input buffer. Of an idle connection it is not larger than what is not charged. */
static void reset_input(struct client_conn *conn)
{
    h2o_buffer_consume(&conn->socket->input, conn->socket->input->size);
    if (conn->charged > 0) {
        h2o_buffer_dispose(&conn->socket->input);
        h2o_buffer_init(&conn->socket->input, &h2o_socket_buffer_prototype);
    }
    give_back(conn);
}

/* ---- closing ---- */

void client_conn_close(struct client_conn *conn)
{
    struct client_worker *worker = conn->worker;

    loop_timer_stop(worker->loop, &conn->timer);
    if (h2o_linklist_is_linked(&conn->link))
        h2o_linklist_unlink(&conn->link);
    if (conn->call != NULL)
        conn->call->conn = NULL;
    h2o_socket_close(conn->socket);
    give_back(conn);
    count_out(worker->client);
    metrics_change(worker->client->conn_gauge, -1);
    client_host_release(conn->host);
    free(conn);
}

void client_conns_retire(struct client_host *host, bool all)
{
    uint64_t now_ns = clock_monotonic_ns();

    for (h2o_linklist_t *link = host->idle.next, *next; link != &host->idle; link = next) {
        struct client_conn *conn = H2O_STRUCT_FROM_MEMBER(struct client_conn, link, link);
        next = link->next;
        if (all || conn->retire_ns <= now_ns)
            client_conn_close(conn);
    }
}

static void fail(struct client_conn *conn, int err)
{
    struct http_call *call = conn->call;

    client_conn_close(conn);
    client_call_finish(call, err, NULL);
}

static void change_tokens(struct http_client *client, int by)
{
    int tokens = atomic_load_explicit(&client->tokens, memory_order_relaxed), changed;

    do {
        changed = tokens + by < 0 ? 0 : tokens + by > CLIENT_MAX_TOKENS ? CLIENT_MAX_TOKENS : tokens + by;
        if (changed == tokens)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&client->tokens, &tokens, changed, memory_order_relaxed,
                                                    memory_order_relaxed));
}

static bool may_repeat(const struct client_conn *conn)
{
    const struct http_call *call = conn->call;

    return !conn->begun && call->repeatable && !call->repeated &&
           atomic_load_explicit(&conn->worker->client->tokens, memory_order_relaxed) > CLIENT_MAX_TOKENS / 2;
}

/* The peer may have done what was asked, or not, and has not begun to answer: a call that may be sent twice is, once,
 * on a new connection. */
static void broken(struct client_conn *conn)
{
    struct http_call *call = conn->call;

    change_tokens(conn->worker->client, -CLIENT_TOKEN);
    if (!may_repeat(conn)) {
        fail(conn, -ECONNRESET);
        return;
    }
    client_conn_close(conn);
    call->repeated = true;
    client_call_attempt(call);
}

/* ---- the end of a response ---- */

/* extra: bytes that follow it. */
static void finish(struct client_conn *conn, size_t body_len, size_t extra)
{
    struct http_call *call = conn->call;
    const char *bytes = conn->socket->input->bytes;
    const struct http_client_response response = {
        .status = conn->status, .head = {bytes, conn->head_len}, .body = {bytes + conn->head_len, body_len}};
    bool keep = conn->keep_alive && !conn->writing && extra == 0 && conn->retire_ns > clock_monotonic_ns();

    change_tokens(conn->worker->client, 1);
    if (!conn->keep_alive)
        client_host_closes(conn->worker, conn->host);
    /* Nobody's while done runs, which may begin other calls. */
    conn->call = NULL;
    call->conn = NULL;
    client_call_finish(call, 0, &response);
    if (!keep || !conn->host->current) {
        client_conn_close(conn);
        return;
    }
    reset_input(conn);
    h2o_linklist_insert(conn->host->idle.next, &conn->link);
}

/* ---- parsing: 1: go on, 0: more is needed, or -errno ---- */

static bool has_name(const struct http_field *field, struct str name)
{
    return str_caseeq(field->name, name);
}

static int take_length(struct client_conn *conn, struct str value)
{
    uint64_t len;

    if (str_to_u64(value, SIZE_MAX / 2, &len) < 0 || conn->part == CLIENT_CHUNKED ||
        (conn->part == CLIENT_LENGTH && conn->body_len != len))
        return -EBADMSG;
    conn->part = CLIENT_LENGTH;
    conn->body_len = (size_t)len;
    return 0;
}

/* One chunked coding is all that a server may use without being asked. With a length, twice, or in HTTP/1.0 it shows
 * that a server and a proxy may not agree on where the response ends (RFC 9112, 6.1 and 6.3). */
static int take_coding(struct client_conn *conn, struct str value, int minor_version)
{
    if (!str_caseeq(value, STR("chunked")) || minor_version < 1 || conn->part != CLIENT_UNTIL_CLOSE)
        return -EBADMSG;
    conn->part = CLIENT_CHUNKED;
    conn->body_len = 0;
    conn->chunks = (struct http_chunks){0};
    return 0;
}

/* Of all Connection fields; close goes before keep-alive (RFC 9112, 9.3). */
struct options {
    bool close, keep_alive;
};

static int take_field(struct client_conn *conn, const struct http_field *field, int minor_version,
                      struct options *options)
{
    struct str value = field->value;

    if (has_name(field, STR("content-length")))
        return take_length(conn, value);
    if (has_name(field, STR("transfer-encoding")))
        return take_coding(conn, value, minor_version);
    if (has_name(field, STR("connection"))) {
        options->close |= h2o_contains_token(value.s, value.len, H2O_STRLIT("close"), ',');
        options->keep_alive |= h2o_contains_token(value.s, value.len, H2O_STRLIT("keep-alive"), ',');
    }
    return 0;
}

static int take_fields(struct client_conn *conn, const struct http_head *head)
{
    struct options options = {false};
    int err = 0;

    conn->part = CLIENT_UNTIL_CLOSE;
    for (unsigned i = 0; i < head->field_count && err == 0; i++)
        err = take_field(conn, &head->fields[i], head->minor_version, &options);
    if (err < 0)
        return err;
    conn->keep_alive = !options.close && (head->minor_version >= 1 || options.keep_alive);
    if (conn->call->head_only || conn->status == 204 || conn->status == 304) {
        conn->part = CLIENT_LENGTH;
        conn->body_len = 0;
    }
    if (conn->part == CLIENT_UNTIL_CLOSE)
        conn->keep_alive = false;
    return 1;
}

static int parse_head(struct client_conn *conn)
{
    h2o_buffer_t *input = conn->socket->input;
    struct http_head head;
    ssize_t len = http_parse_response((struct str){input->bytes, input->size}, conn->seen, &head);

    conn->seen = input->size;
    if (len == -EBADMSG || conn->interim + (len >= 0 ? (size_t)len : input->size) > CLIENT_MAX_HEAD)
        return -EBADMSG;
    if (len == -EAGAIN)
        return 0;
    conn->seen = 0;
    conn->status = head.status;
    if (conn->status < 100 || conn->status > 599 || conn->status == 101)
        return -EBADMSG;
    if (conn->status < 200) { /* the final response follows */
        conn->interim += (size_t)len;
        h2o_buffer_consume(&conn->socket->input, (size_t)len);
        return 1;
    }
    conn->head_len = (size_t)len;
    return take_fields(conn, &head);
}

static int parse_chunks(struct client_conn *conn)
{
    h2o_buffer_t *input = conn->socket->input;
    size_t at = conn->head_len + conn->body_len, len = input->size - at, max = conn->call->max_body, framing;
    ssize_t extra;

    conn->seen += len;
    if (len == 0)
        return 0;
    extra = http_chunks_decode(&conn->chunks, input->bytes + at, &len);
    if (extra == -EBADMSG)
        return -EBADMSG;
    conn->body_len += len;
    input->size = at + len;
    framing = conn->seen - conn->body_len - (extra > 0 ? (size_t)extra : 0);
    if (conn->body_len > max || (framing > MAX_CHUNK_HEADING && framing - MAX_CHUNK_HEADING > max))
        return -EMSGSIZE;
    if (extra == -EAGAIN)
        return 0;
    finish(conn, conn->body_len, (size_t)extra);
    return 0;
}

static int parse_body(struct client_conn *conn)
{
    size_t size = conn->socket->input->size - conn->head_len, max = conn->call->max_body;

    if (conn->part == CLIENT_CHUNKED)
        return parse_chunks(conn);
    if ((conn->part == CLIENT_LENGTH ? conn->body_len : size) > max)
        return -EMSGSIZE;
    if (conn->part == CLIENT_LENGTH && size >= conn->body_len)
        finish(conn, conn->body_len, size - conn->body_len);
    else if (conn->part == CLIENT_LENGTH)
        return charge(conn, conn->head_len + conn->body_len);
    return 0;
}

static void parse(struct client_conn *conn)
{
    int result = charge(conn, 0) == 0 ? 1 : -ENOBUFS;

    conn->begun = true;
    while (result == 1 && conn->part == CLIENT_HEAD)
        result = conn->socket->input->size > 0 ? parse_head(conn) : 0;
    if (result == 1)
        result = parse_body(conn);
    if (result < 0)
        fail(conn, result);
}

static void on_read(h2o_socket_t *socket, const char *err)
{
    struct client_conn *conn = socket->data;

    if (conn->call == NULL)
        client_conn_close(conn); /* idle, and yet something came: its end, as a rule */
    else if (err == h2o_socket_error_closed && conn->part == CLIENT_UNTIL_CLOSE)
        finish(conn, socket->input->size - conn->head_len, 0);
    else if (err != NULL)
        broken(conn);
    else
        parse(conn);
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
    const struct http_call *call = conn->call;
    size_t body_len = call->request.len - call->head_len;
    h2o_iovec_t parts[] = {h2o_iovec_init(call->request.data, call->head_len),
                           h2o_iovec_init(authority, strlen(authority)), h2o_iovec_init(H2O_STRLIT("\r\n\r\n")),
                           h2o_iovec_init(call->request.data + call->head_len, body_len)};

    assert(conn->socket->input->size == 0 && !conn->writing);
    conn->part = CLIENT_HEAD;
    conn->begun = false;
    conn->interim = conn->head_len = conn->seen = 0;
    conn->writing = true;
    h2o_socket_write(conn->socket, parts, body_len > 0 ? 4 : 3, on_written);
    h2o_socket_read_start(conn->socket, on_read);
}

/* ---- connecting ---- */

static void connect_failed(struct client_conn *conn)
{
    struct http_call *call = conn->call;

    client_host_failed(conn->worker, conn->host);
    client_conn_close(conn);
    client_call_attempt(call);
}

static void on_connect(h2o_socket_t *socket, const char *err)
{
    struct client_conn *conn = socket->data;

    loop_timer_stop(conn->worker->loop, &conn->timer);
    if (err != NULL)
        connect_failed(conn);
    else
        send_request(conn);
}

static void on_connect_timeout(struct loop_timer *timer)
{
    connect_failed(H2O_STRUCT_FROM_MEMBER(struct client_conn, timer, timer));
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

    if (!count_in(worker->client))
        return false;
    if ((conn = calloc(1, sizeof(*conn))) == NULL) {
        count_out(worker->client);
        return false;
    }
    *conn = (struct client_conn){.worker = worker, .host = host, .retire_ns = retirement(worker, clock_monotonic_ns())};
    conn->socket = h2o_compat_connect(loop_h2o(worker->loop), (const struct sockaddr *)&host->address.address,
                                      host->address.len, on_connect);
    if (conn->socket == NULL) {
        count_out(worker->client);
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

bool client_conn_start(struct http_call *call, struct client_host *host)
{
    struct client_conn *conn;

    client_conns_retire(host, false);
    if (call->repeated || h2o_linklist_is_empty(&host->idle))
        return begin_connect(call, host);
    conn = H2O_STRUCT_FROM_MEMBER(struct client_conn, link, host->idle.next);
    h2o_linklist_unlink(&conn->link);
    conn->call = call;
    call->conn = conn;
    send_request(conn);
    return true;
}
