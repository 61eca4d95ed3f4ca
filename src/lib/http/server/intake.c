/* What clients send over HTTP/1 is checked before h2o parses it: http_framing says what, and why h2o's parser does not
 * suffice stands in decision 74.
 *
 *   the kernel --on_read--> socket->input --> http_framing --good bytes--> h2o's own callback
 *
 * on_read stands in the place of the callback that h2o gave to h2o_socket_read_start. It reads, because h2o would read,
 * and handle in one turn, all that the kernel holds (H2O_SOCKET_FLAG_DONT_READ): a connection reads its share of a turn
 * (loop_read_share). h2o sets its callback again with each request; so after each turn of the loop,
 * on_read is put in its place again where that may have happened: on connections that were read from or whose request
 * has ended (worker->unchecked). h2o's loop calls for no socket twice in a turn, and nothing else reads.
 *
 * A refused request is cut out of the input with all that follows; h2o serves what came before. As soon as h2o wants to
 * read on, those are answered: then the refusal is sent past h2o, which finds its connection closed.
 *
 * A connection whose protocol has become HTTP/2 is known by another callback of h2o's. Its bytes are not checked here;
 * over both protocols they are counted (worker->admits), so that one turn of the loop, which may read from
 * hundreds of connections, does not take more memory than there is. Loop's thread only; no locks. */
#include "clock.h"
#include "err.h"
#include "http_internal.h"
#include <errno.h>
#include <time.h>

_Static_assert(HTTP_FRAMING_MAX_FIELDS <= H2O_MAX_HEADERS, "h2o parses all fields that are accepted here");
_Static_assert(HTTP_FRAMING_MAX_HEAD <= H2O_MAX_REQLEN, "h2o parses every head that is accepted here");

#define MAX_HEAD  512  /* bytes of a refusal's */
#define READ_SIZE 4096 /* that there is room for, at least: as h2o's */

/* ---- refusing ---- */

static size_t write_head(const struct http_reply *reply, char head[MAX_HEAD])
{
    time_t now = time(NULL);
    struct tm tm;
    char date[64];

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    return (size_t)snprintf(head, MAX_HEAD,
                            "HTTP/1.1 %d %s\r\ndate: %s\r\nconnection: close\r\ncontent-type: %s\r\n"
                            "content-length: %zu\r\n\r\n",
                            reply->status, err_http_reason(reply->status), date, reply->content_type, reply->body_len);
}

/* Nothing else is being sent: it fits into the kernel's buffer, or the client has gone. */
static void send_refusal(const struct http_conn *conn, const struct http_reply *reply)
{
    char head[MAX_HEAD];
    struct iovec parts[] = {{head, write_head(reply, head)}, {reply->body, reply->body_len}};

    (void)!sendmsg(h2o_socket_get_fd(conn->socket), &(struct msghdr){.msg_iov = parts, .msg_iovlen = 2},
                   MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void refuse(struct http_conn *conn)
{
    uint64_t begin_ns = clock_monotonic_ns();
    struct trace trace;
    struct http_reply *reply;

    trace_begin(STR_NULL, false, &trace);
    reply = http_reply_render(http_problem(conn->framing.status, "%s", conn->framing.reason), &trace);
    if (!h2o_socket_is_writing(conn->socket))
        send_refusal(conn, reply);
    http_record_refusal(conn, reply, &trace, clock_monotonic_ns() - begin_ns);
    http_reply_free(reply);
    http_linger(conn);
    conn->read(conn->socket, "refused"); /* frees conn */
}

/* ---- reading ---- */

/* Returns whether there is something for h2o. */
static bool check(struct http_conn *conn, size_t len)
{
    h2o_buffer_t *input = conn->socket->input;
    size_t before = input->size - len;

    assert(len <= input->size);
    input->size =
        conn->framing.status == 0 ? http_framing_check(&conn->framing, input->bytes, before, input->size) : before;
    return conn->framing.status == 0 || input->size > before;
}

static bool is_admitted(struct http_conn *conn, size_t len)
{
    return conn->worker->admits == NULL || conn->worker->admits(conn, len);
}

/* NULL, or what h2o is to be told. ret_more: there may be more than max bytes. */
static const char *read_once(struct http_conn *conn, size_t max, size_t *ret_len, bool *ret_more)
{
    h2o_iovec_t room = h2o_buffer_reserve(&conn->socket->input, READ_SIZE);
    size_t wanted = room.len < max ? room.len : max;
    ssize_t len = room.base != NULL ? recv(h2o_socket_get_fd(conn->socket), room.base, wanted, 0) : -1;

    *ret_len = len > 0 ? (size_t)len : 0;
    *ret_more = *ret_len > 0 && *ret_len == wanted;
    conn->socket->input->size += *ret_len;
    if (len == 0)
        return h2o_socket_error_closed;
    if (room.base == NULL)
        return h2o_socket_error_out_of_memory;
    return len > 0 || errno == EAGAIN || errno == EINTR ? NULL : h2o_socket_error_io;
}

/* Reads as much as the connection may in this turn. What came before the end of the connection is for the next turn to
 * tell. */
static const char *read_share(struct http_conn *conn, size_t *ret_len)
{
    size_t share = loop_read_share(conn->worker->loop), len;
    const char *err;
    bool more;

    err = read_once(conn, share, ret_len, &more);
    while (more && *ret_len < share) {
        read_once(conn, share - *ret_len, &len, &more);
        *ret_len += len;
    }
    loop_has_read(conn->worker->loop, share, *ret_len);
    return err;
}

/* Returns whether h2o is to be called, with *err: it then closes the connection, also where the client has only ended
 * its side, and not taken what the kernel has. */
static bool take(struct http_conn *conn, const char **err, size_t *ret_len)
{
    *ret_len = 0;
    if (*err == NULL)
        *err = read_share(conn, ret_len);
    if (*err != NULL && !conn->cut && http_linger_is_owed(conn))
        http_linger(conn);
    conn->received += *ret_len;
    http_intake_resume(conn);
    if (*err == NULL && !is_admitted(conn, *ret_len))
        *err = "too much memory";
    return *err != NULL || *ret_len > 0;
}

static void on_read(h2o_socket_t *socket, const char *err)
{
    struct http_conn *conn = socket->on_close.data;
    size_t len;

    if (take(conn, &err, &len) && (err != NULL || check(conn, len)))
        conn->read(socket, err); /* may free conn */
}

static void on_read_http2(h2o_socket_t *socket, const char *err)
{
    struct http_conn *conn = socket->on_close.data;
    size_t len;

    if (take(conn, &err, &len))
        conn->read_http2(socket, err); /* may free conn */
}

/* An exchange is somebody who works for it: h2o's callbacks look at memory within one only. */
static void close_at_once(struct http_conn *conn)
{
    h2o_socket_cb read = h2o_compat_reader(conn->socket);

    if (read == NULL || conn->exchanges > 0 || conn == conn->worker->reading)
        return;
    read = read == on_read ? conn->read : read == on_read_http2 ? conn->read_http2 : read;
    read(conn->socket, "too much memory");
}

/* ---- staying in between ---- */

void http_intake_resume(struct http_conn *conn)
{
    if (!h2o_linklist_is_linked(&conn->unchecked))
        h2o_linklist_insert(&conn->worker->unchecked, &conn->unchecked);
}

static void look_at(struct http_conn *conn)
{
    h2o_socket_cb read = h2o_compat_reader(conn->socket);

    if (read == NULL) {
        /* Until h2o has sent "100 Continue"; else the end of the exchange comes here again. */
        if (conn->exchanges == 0 || conn->read_http2 != NULL)
            http_intake_resume(conn);
    } else if (read == conn->read || read == on_read) {
        h2o_compat_set_reader(conn->socket, on_read);
        if (conn->framing.status != 0)
            refuse(conn);
    } else {
        conn->read_http2 = read == on_read_http2 ? conn->read_http2 : read;
        h2o_compat_set_reader(conn->socket, on_read_http2);
    }
}

static void look_at_all(struct loop_hook *hook)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, intake_hook, hook);
    h2o_linklist_t due;

    h2o_linklist_init_anchor(&due);
    h2o_linklist_insert_list(&due, &worker->unchecked);
    while (!h2o_linklist_is_empty(&due)) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, unchecked, due.next);

        h2o_linklist_unlink(&conn->unchecked);
        look_at(conn);
    }
}

void http_intake_init(struct http_worker *worker)
{
    h2o_linklist_init_anchor(&worker->unchecked);
    worker->intake_hook.run = look_at_all;
    loop_each_turn(worker->loop, &worker->intake_hook);
}

void http_intake_begin(struct http_conn *conn)
{
    conn->close = close_at_once;
    conn->read = h2o_compat_reader(conn->socket);
    h2o_compat_set_reader(conn->socket, on_read);
}

void http_intake_end(struct http_conn *conn)
{
    if (h2o_linklist_is_linked(&conn->unchecked))
        h2o_linklist_unlink(&conn->unchecked);
}
