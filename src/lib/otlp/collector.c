/* A gRPC client of one method, on libnghttp2: one connection, one call at a time, by a thread that may wait.
 *
 * It is not rpc/client because all services export telemetry: with gRPC C-core an image would be three times as large,
 * and a service that serves HTTP alone would link it for this.
 *
 * Waiting: each wait polls the socket and wake_fd, until the call's deadline or collector_end_by's, whichever is first.
 * getaddrinfo(3) cannot be bounded; otlp_close does not wait for a thread that is in it. */
#include "clock.h"
#include "err.h"
#include "otlp_internal.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS     3000
#define MAX_RESPONSE   (64 * 1024)
#define GRPC_NO_STATUS (-1)
#define OWN_FIELDS     7 /* of a request */

/* A call: nghttp2's callbacks write into it. */
struct call {
    struct str rest; /* of the message that is to be sent */
    int http_status, grpc_status;
    bool ended, reset;
    struct buf *response;
};

struct collector_conn {
    int fd;
    struct ssl_st *ssl; /* NULL: cleartext */
    short waits_for;    /* events of the socket without which TLS can neither send nor receive */
    nghttp2_session *session;
    struct str unsent; /* what nghttp2 has given last; valid until it is asked again */
};

/* ---- the endpoint ---- */

/* Cuts text, "host:port" or "[::1]:port" with nothing but slashes after it, in place. */
static int parse_authority(struct collector *collector, char *text)
{
    char *slash = strchr(text, '/'), *colon, *end;
    uint64_t port;

    if (slash != NULL && slash[strspn(slash, "/")] != '\0')
        return -EINVAL;
    if (slash != NULL)
        *slash = '\0';
    memcpy((char *)collector->authority, text, strlen(text) + 1);
    colon = strrchr(text, ':');
    if (colon == NULL || colon == text || str_to_u64(str_of(colon + 1), 65535, &port) != 0 || port == 0 ||
        strpbrk(text, " \t?#@") != NULL)
        return -EINVAL;
    end = colon;
    *colon = '\0';
    if (text[0] == '[') {
        if (end[-1] != ']')
            return -EINVAL;
        end[-1] = '\0';
        text++;
    } else if (strchr(text, ':') != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    if (text[0] == '\0')
        return -EINVAL;
    collector->port = colon + 1;
    memmove(collector->host, text, strlen(text) + 1);
    return 0;
}

static bool is_https(const char *endpoint)
{
    return strncmp(endpoint, "https://", strlen("https://")) == 0;
}

static int parse_endpoint(struct collector *collector, const char *endpoint)
{
    const char *scheme = is_https(endpoint) ? "https://" : "http://";
    size_t len = strlen(scheme), size = strlen(endpoint) + 1;

    if (strncmp(endpoint, scheme, len) != 0)
        return -EINVAL;
    collector->host = malloc(2 * size);
    if (collector->host == NULL)
        return -ENOMEM;
    memcpy(collector->host, endpoint + len, size - len);
    collector->authority = collector->host + size;
    return parse_authority(collector, collector->host);
}

const char *otlp_check_endpoint(const char *endpoint)
{
    struct collector parsed = {.host = NULL};
    int r = endpoint[0] != '\0' ? parse_endpoint(&parsed, endpoint) : 0;

    free(parsed.host);
    return r == -EINVAL ? "must be http://HOST:PORT or https://HOST:PORT" : NULL;
}

int collector_open(const struct otlp_def *def, const char *method, struct collector *ret_collector)
{
    struct collector *collector = ret_collector;
    int r;

    *collector = (struct collector){.method = method, .wake_fd = -1};
    atomic_init(&collector->end_ns, UINT64_MAX);
    r = parse_endpoint(collector, def->endpoint);
    if (r == 0)
        r = otlp_headers_open(def->headers, &collector->headers);
    if (r == 0 && is_https(def->endpoint))
        r = otlp_tls_open(def->ca_file, &collector->tls);
    if (r == 0 && (collector->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        r = -errno;
    if (r != 0)
        collector_release(collector);
    return r;
}

/* ---- waiting ---- */

static uint64_t end_of(struct collector *collector, uint64_t deadline_ns)
{
    uint64_t end_ns = atomic_load(&collector->end_ns);

    return end_ns < deadline_ns ? end_ns : deadline_ns;
}

static int ms_until(uint64_t deadline_ns)
{
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t ms = deadline_ns > now_ns ? (deadline_ns - now_ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS : 0;

    return ms < 3600000 ? (int)ms : 3600000;
}

/* fd -1: none. 0, -ETIMEDOUT, or -EINTR: woken. */
static int wait_for(struct collector *collector, int fd, short events, uint64_t deadline_ns)
{
    struct pollfd fds[] = {{.fd = collector->wake_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    int ms = ms_until(end_of(collector, deadline_ns));
    uint64_t count;

    if (ms == 0 || poll(fds, 2, ms) == 0)
        return -ETIMEDOUT;
    if (fds[0].revents != 0)
        return read(collector->wake_fd, &count, sizeof(count)) < 0 ? -errno : -EINTR;
    return 0;
}

void collector_sleep(struct collector *collector, uint64_t deadline_ns)
{
    wait_for(collector, -1, 0, deadline_ns);
}

void collector_end_by(struct collector *collector, uint64_t end_ns)
{
    uint64_t one = 1;
    ssize_t written;

    atomic_store(&collector->end_ns, end_ns);
    written = write(collector->wake_fd, &one, sizeof(one));
    (void)written; /* it can only be full, and so readable */
}

/* ---- nghttp2 ---- */

static ssize_t read_message(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
                            nghttp2_data_source *source, void *arg)
{
    struct call *call = source->ptr;

    len = len < call->rest.len ? len : call->rest.len;
    memcpy(to, call->rest.s, len);
    call->rest = (struct str){call->rest.s + len, call->rest.len - len};
    if (call->rest.len == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

/* The call under way, if the stream is its. */
static struct call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct call *call = call_of(session, frame->hd.stream_id);
    struct str key = {(const char *)name, name_len}, text = {(const char *)value, value_len};
    uint64_t number;

    if (call == NULL || str_to_u64(text, 999, &number) != 0)
        return 0;
    if (str_eq(key, STR(":status")))
        call->http_status = (int)number;
    if (str_eq(key, STR("grpc-status")))
        call->grpc_status = (int)number;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
    struct call *call = call_of(session, stream);

    if (call == NULL)
        return 0;
    buf_append(call->response, data, len);
    return buf_error(call->response) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg)
{
    struct call *call = call_of(session, stream);

    if (call == NULL)
        return 0;
    call->ended = true;
    call->reset = error != NGHTTP2_NO_ERROR;
    return 0;
}

static nghttp2_session *session_new(void)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session = NULL;
    bool made;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    made = nghttp2_session_client_new(&session, callbacks, NULL) == 0;
    nghttp2_session_callbacks_del(callbacks);
    if (!made)
        return NULL;
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &(nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                1) == 0)
        return session;
    nghttp2_session_del(session);
    return NULL;
}

/* ---- the connection ---- */

static struct collector_conn *conn_free(struct collector_conn *conn)
{
    otlp_tls_end(conn->ssl);
    nghttp2_session_del(conn->session);
    close(conn->fd);
    free(conn);
    return NULL;
}

static void disconnect(struct collector *collector)
{
    struct collector_conn *conn = collector->conn;

    if (conn == NULL)
        return;
    collector->conn = conn_free(conn);
}

void collector_release(struct collector *collector)
{
    disconnect(collector);
    if (collector->wake_fd >= 0)
        close(collector->wake_fd);
    free(collector->host);
    otlp_tls_close(collector->tls);
    otlp_resource_release(&collector->headers);
    *collector = (struct collector){.wake_fd = -1};
}

static int finish_connect(struct collector *collector, int fd, uint64_t deadline_ns)
{
    uint64_t end_ns = clock_monotonic_ns() + CONNECT_MS * CLOCK_NS_PER_MS;
    int err = 0, r;
    socklen_t len = sizeof(err);

    do
        r = wait_for(collector, fd, POLLOUT, end_ns < deadline_ns ? end_ns : deadline_ns);
    while (r == -EINTR);
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return -errno;
    return r != 0 ? r : -err;
}

/* A connected socket or -errno. */
static int connect_to(struct collector *collector, const struct addrinfo *address, uint64_t deadline_ns)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, r = 0;

    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        r = errno == EINPROGRESS ? finish_connect(collector, fd, deadline_ns) : -errno;
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static int open_socket(struct collector *collector, uint64_t deadline_ns)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int fd = -ECONNREFUSED;

    if (getaddrinfo(collector->host, collector->port, &hints, &found) != 0)
        return -EHOSTUNREACH;
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next)
        fd = connect_to(collector, at, deadline_ns);
    freeaddrinfo(found);
    return fd;
}

static int secure(struct collector *collector, struct collector_conn *conn, uint64_t deadline_ns)
{
    uint64_t end_ns = clock_monotonic_ns() + CONNECT_MS * CLOCK_NS_PER_MS;
    short events = 0;
    int r;

    conn->ssl = otlp_tls_begin(collector->tls, conn->fd, collector->host);
    if (conn->ssl == NULL)
        return -ENOMEM;
    while ((r = otlp_tls_handshake(conn->ssl, &events)) == -EAGAIN) {
        r = wait_for(collector, conn->fd, events, end_ns < deadline_ns ? end_ns : deadline_ns);
        if (r != 0 && r != -EINTR)
            return r;
    }
    return r;
}

static int open_connection(struct collector *collector, uint64_t deadline_ns)
{
    struct collector_conn *conn;
    int fd = open_socket(collector, deadline_ns), r;

    if (fd < 0)
        return fd;
    conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        close(fd);
        return -ENOMEM;
    }
    conn->fd = fd;
    conn->session = session_new();
    r = conn->session == NULL ? -ENOMEM : collector->tls != NULL ? secure(collector, conn, deadline_ns) : 0;
    if (r != 0)
        conn_free(conn);
    else
        collector->conn = conn;
    return r;
}

/* Bytes, -EAGAIN or -errno; so does receive_some, which gives 0 at the end. */
static ssize_t send_some(struct collector_conn *conn, struct str bytes)
{
    ssize_t sent;

    if (conn->ssl != NULL)
        return otlp_tls_send(conn->ssl, bytes, &conn->waits_for);
    sent = send(conn->fd, bytes.s, bytes.len, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static ssize_t receive_some(struct collector_conn *conn, void *to, size_t size)
{
    ssize_t len;

    if (conn->ssl != NULL)
        return otlp_tls_receive(conn->ssl, to, size, &conn->waits_for);
    len = recv(conn->fd, to, size, 0);
    return len < 0 ? -errno : len;
}

/* Gives the socket what there is and what it takes. 0, 1 (there is more) or -errno. */
static int flush(struct collector_conn *conn)
{
    for (;;) {
        ssize_t sent;

        if (conn->unsent.len == 0) {
            const uint8_t *data;
            ssize_t len = nghttp2_session_mem_send(conn->session, &data);

            if (len <= 0)
                return len == 0 ? 0 : -ECONNABORTED;
            conn->unsent = (struct str){(const char *)data, (size_t)len};
        }
        sent = send_some(conn, conn->unsent);
        if (sent < 0)
            return sent == -EAGAIN ? 1 : (int)sent;
        conn->unsent = (struct str){conn->unsent.s + sent, conn->unsent.len - (size_t)sent};
    }
}

/* Takes what has come. 0 or -errno. */
static int receive(struct collector_conn *conn)
{
    uint8_t bytes[4096];
    ssize_t len;

    do {
        len = receive_some(conn, bytes, sizeof(bytes));
        if (len < 0)
            return len == -EAGAIN ? 0 : (int)len;
        if (len == 0 || nghttp2_session_mem_recv(conn->session, bytes, (size_t)len) < 0)
            return -ECONNRESET;
    } while (conn->ssl != NULL && otlp_tls_has_more(conn->ssl));
    return 0;
}

/* ---- the call ---- */

#define FIELD(name_, value_)                                                                                           \
    {                                                                                                                  \
        .name = (uint8_t *)(name_), .namelen = sizeof(name_) - 1, .value = (uint8_t *)(value_),                        \
        .valuelen = sizeof(value_) - 1, .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE          \
    }

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)name, .namelen = strlen(name), .value = (uint8_t *)value, .valuelen = strlen(value)};
}

static int submit(struct collector *collector, struct call *call)
{
    nghttp2_nv fields[OWN_FIELDS + OTLP_MAX_RESOURCE] = {
        FIELD(":method", "POST"),
        FIELD(":scheme", "http"),
        field(":path", collector->method),
        field(":authority", collector->authority),
        FIELD("content-type", "application/grpc"),
        FIELD("te", "trailers"),
        FIELD("user-agent", "OTel-OTLP-Exporter-Slipway/" SLIPWAY_VERSION),
    };
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_message};
    size_t count = OWN_FIELDS;

    if (collector->tls != NULL)
        fields[1] = (nghttp2_nv)FIELD(":scheme", "https");
    for (size_t i = 0; i < collector->headers.count; i++)
        fields[count++] = (nghttp2_nv){.name = (uint8_t *)collector->headers.attributes[i].key.s,
                                       .namelen = collector->headers.attributes[i].key.len,
                                       .value = (uint8_t *)collector->headers.attributes[i].value.s,
                                       .valuelen = collector->headers.attributes[i].value.len,
                                       .flags = NGHTTP2_NV_FLAG_NO_INDEX}; /* may be secrets */
    return nghttp2_submit_request(collector->conn->session, NULL, fields, count, &provider, call) < 0 ? -ECONNABORTED
                                                                                                      : 0;
}

/* TLS may have to receive before it sends, and the other way round. */
static short events_of(struct collector_conn *conn, bool has_more)
{
    short events = conn->ssl != NULL ? conn->waits_for : has_more ? POLLOUT : 0;

    conn->waits_for = 0;
    return (short)(POLLIN | events);
}

/* Until the call has ended. 0 or -errno. */
static int run(struct collector *collector, struct call *call, uint64_t deadline_ns)
{
    struct collector_conn *conn = collector->conn;
    int r = submit(collector, call);

    while (r == 0) {
        int more = flush(conn); /* also what is due when the call has ended */

        if (call->ended) /* by a reset or a GOAWAY: the connection is of no use */
            return call->reset ? -ECONNRESET : 0;
        if (more < 0)
            return more;
        r = wait_for(collector, conn->fd, events_of(conn, more > 0), deadline_ns);
        r = r == -EINTR ? 0 : r == 0 ? receive(conn) : r;
    }
    return r;
}

/* As the specification of OTLP says. RESOURCE_EXHAUSTED is retryable only with a RetryInfo, which is not read. */
static bool is_retryable(int grpc_status)
{
    return grpc_status == ERR_GRPC_CANCELLED || grpc_status == ERR_GRPC_DEADLINE_EXCEEDED ||
           grpc_status == ERR_GRPC_ABORTED || grpc_status == ERR_GRPC_OUT_OF_RANGE ||
           grpc_status == ERR_GRPC_UNAVAILABLE || grpc_status == ERR_GRPC_DATA_LOSS;
}

static enum collector_result result_of(const struct call *call)
{
    if (call->grpc_status == ERR_GRPC_OK)
        return COLLECTOR_OK;
    if (call->grpc_status == GRPC_NO_STATUS) /* a proxy's answer */
        return call->http_status == 429 || call->http_status >= 502 ? COLLECTOR_AGAIN : COLLECTOR_FAILED;
    return is_retryable(call->grpc_status) ? COLLECTOR_AGAIN : COLLECTOR_FAILED;
}

static enum collector_result attempt(struct collector *collector, struct str message, uint64_t deadline_ns,
                                     struct buf *response)
{
    struct call call = {.rest = message, .grpc_status = GRPC_NO_STATUS, .response = response};

    buf_release(response);
    response->max = MAX_RESPONSE;
    if (collector->conn == NULL && open_connection(collector, deadline_ns) != 0)
        return COLLECTOR_AGAIN;
    if (run(collector, &call, deadline_ns) != 0) {
        disconnect(collector);
        return COLLECTOR_AGAIN;
    }
    return result_of(&call);
}

enum collector_result collector_call(struct collector *collector, struct str message, uint64_t deadline_ns,
                                     struct buf *response)
{
    bool reused = collector->conn != NULL;
    enum collector_result result = attempt(collector, message, deadline_ns, response);

    /* The collector may have closed a connection that was idle: try once more at once, over a new one. */
    if (result == COLLECTOR_AGAIN && reused && collector->conn == NULL &&
        clock_monotonic_ns() < end_of(collector, deadline_ns))
        result = attempt(collector, message, deadline_ns, response);
    if (response->len >= OTLP_GRPC_PREFIX) {
        response->len -= OTLP_GRPC_PREFIX;
        memmove(response->data, response->data + OTLP_GRPC_PREFIX, response->len);
    }
    return result;
}
