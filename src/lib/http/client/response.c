/* A response: what its head says of its body (RFC 9112, 6 and 9.3), and the body, until the call is told.
 *
 *   HEAD --(1xx)--> HEAD        the interim ones are thrown away; all heads together are at most CLIENT_MAX_HEAD
 *    |
 *    +--> LENGTH                Content-Length; 0 where there is no body: HEAD, 204, 304
 *    +--> CHUNKED               Transfer-Encoding: chunked, and nothing else
 *    +--> UNTIL_CLOSE           neither: the connection's end is the body's
 *
 * Bytes stay in socket->input until the call's done has returned; chunks are decoded in place. conn.c calls
 * client_response_read whenever more has come, and client_response_closed at the connection's end. Both may close the
 * connection, and both call done, which may begin other calls.
 */
#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>

#define MAX_CHUNK_HEADING (64 * 1024) /* bytes of a chunked body's framing; as many more as the body may have */

/* ---- the end ---- */

void client_response_fail(struct client_conn *conn, int err)
{
    struct http_call *call = conn->call;

    assert(err < 0 && call != NULL);
    client_conn_close(conn);
    client_call_finish(call, err, NULL);
}

/* extra: bytes that follow it. */
static void finish(struct client_conn *conn, size_t body_len, size_t extra)
{
    struct http_call *call = conn->call;
    const char *bytes = conn->socket->input->bytes;
    const struct http_client_response response = {
        .status = conn->status, .head = {bytes, conn->head_len}, .body = {bytes + conn->head_len, body_len}};
    bool keep = conn->keep_alive && !conn->writing && extra == 0 && conn->retire_ns > clock_monotonic_ns();

    client_throttle_answered(conn->worker->client);
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
    client_conn_keep(conn);
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
        return client_conn_charge(conn, conn->head_len + conn->body_len);
    return 0;
}

void client_response_read(struct client_conn *conn)
{
    int result = client_conn_charge(conn, 0) == 0 ? 1 : -ENOBUFS;

    conn->begun = true;
    while (result == 1 && conn->part == CLIENT_HEAD)
        result = conn->socket->input->size > 0 ? parse_head(conn) : 0;
    if (result == 1)
        result = parse_body(conn);
    if (result < 0)
        client_response_fail(conn, result);
}

bool client_response_closed(struct client_conn *conn)
{
    if (conn->part != CLIENT_UNTIL_CLOSE)
        return false;
    finish(conn, conn->socket->input->size - conn->head_len, 0);
    return true;
}
