/* An HTTP/1.1 client that makes load and checks each answer, with one thread. It prints one line of JSON.
 *
 *   load_http get PORT PATH CONNECTIONS SECONDS [RATE]   one request at a time on each kept connection, in a closed
 *                                                        loop; with RATE an open loop: so many requests a second,
 *                                                        each timed from when it was due, with its wait for a
 *                                                        connection
 *   load_http idle PORT PATH CONNECTIONS                 one request on each connection, then prints a line, and
 *                                                        keeps the connections open until its standard input ends
 *
 * An answer must have the status 200 and a Content-Length, and fit into 4 KiB. A connection that the server closes
 * before an answer ends the program; one that it closes after an answer, as Connection: close says, is opened again.
 */
#include "load.h"
#include <stdbool.h>
#include <unistd.h>

#define EVENTS 256
#define END_NS (2 * LOAD_NS_PER_S) /* what has not been answered by then counts as failed */

struct conn {
    int fd;
    bool busy;
    uint64_t due_ns;
    char in[4096];
    size_t in_len;
};

struct load {
    int epoll, port;
    char request[512];
    size_t request_len;
    unsigned conn_count, idle_count;
    double rate; /* requests/s; 0: closed loop */
    struct conn *conns;
    struct conn **idle; /* connections that wait for a request */
    uint64_t begun_ns, end_ns;
    uint64_t begun, answered, failed;
    struct load_latencies latencies;
};

static void begin_request(struct load *load, uint64_t due_ns)
{
    struct conn *conn = load->idle[--load->idle_count];

    conn->busy = true;
    conn->due_ns = due_ns;
    conn->in_len = 0;
    if (send(conn->fd, load->request, load->request_len, MSG_NOSIGNAL) != (ssize_t)load->request_len)
        load_fail("send");
    load->begun++;
}

/* The value of a header that begins with that text; NULL without it. */
static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);

    return at == NULL ? NULL : at + strlen(name);
}

/* Whether the answer is complete. */
static bool is_complete(struct conn *conn, bool *ret_ok, bool *ret_close)
{
    char *end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);
    const char *length, *connection;

    if (end == NULL)
        return false;
    *end = '\0'; /* the head as a string */
    length = header(conn->in, "\r\nContent-Length: ");
    connection = header(conn->in, "\r\nConnection: ");
    *ret_ok = strncmp(conn->in, "HTTP/1.1 200", 12) == 0 && length != NULL;
    *ret_close = connection != NULL && strncasecmp(connection, "close", 5) == 0;
    if (length != NULL && conn->in_len < (size_t)(end + 4 - conn->in) + (size_t)atol(length)) {
        *end = '\r';
        return false;
    }
    return true;
}

static void reopen(struct load *load, struct conn *conn)
{
    close(conn->fd);
    conn->fd = load_connect(load->port, load->epoll, conn);
}

static void receive(struct load *load, struct conn *conn)
{
    ssize_t len = recv(conn->fd, conn->in + conn->in_len, sizeof(conn->in) - conn->in_len, 0);
    bool ok, closes;

    if (len < 0 && errno == EAGAIN)
        return;
    if (len <= 0 && !conn->busy) {
        reopen(load, conn);
        return;
    }
    if (len <= 0)
        load_fail("the server closed a connection, or an answer is too long");
    if (!conn->busy)
        load_fail("the server sent what was not asked for");
    conn->in_len += (size_t)len;
    if (!is_complete(conn, &ok, &closes))
        return;
    conn->busy = false;
    load->idle[load->idle_count++] = conn;
    load->answered += ok;
    load->failed += !ok;
    load_note(&load->latencies, conn->due_ns);
    if (closes)
        reopen(load, conn);
}

static void turn(struct load *load, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load->epoll, events, EVENTS, timeout_ms);

    for (int i = 0; i < count; i++)
        receive(load, events[i].data.ptr);
}

/* A request for each connection that waits, or as many as are due. */
static void begin_requests(struct load *load, uint64_t now)
{
    uint64_t due = load->rate > 0 ? load_due(load->begun_ns, now, load->rate) : UINT64_MAX;

    while (load->idle_count > 0 && load->begun < due)
        begin_request(load, load->rate > 0 ? load_due_ns(load->begun_ns, load->begun, load->rate) : now);
}

/* Whether all requests that were due by the end have been answered. */
static bool is_over(const struct load *load, uint64_t due)
{
    return load->idle_count == load->conn_count && load->begun >= due;
}

static void run(struct load *load)
{
    uint64_t now, due;

    while ((now = load_now_ns()) < load->end_ns) {
        begin_requests(load, now);
        turn(load, load->rate > 0 ? 0 : 10);
    }
    due = load->rate > 0 ? load_due(load->begun_ns, load->end_ns, load->rate) : load->begun;
    while (!is_over(load, due) && load_now_ns() < load->end_ns + END_NS) {
        if (load->rate > 0)
            begin_requests(load, load->end_ns);
        turn(load, 10);
    }
    load->failed += due - load->answered - load->failed;
}

static void be_idle(struct load *load)
{
    char byte;

    begin_requests(load, load_now_ns());
    while (load->idle_count < load->conn_count)
        turn(load, 10);
    printf("{\"answered\": %llu}\n", (unsigned long long)load->answered);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

static void open_connections(struct load *load)
{
    load->conns = calloc(load->conn_count, sizeof(*load->conns));
    load->idle = calloc(load->conn_count, sizeof(struct conn *));
    assert(load->epoll >= 0 && load->conns != NULL && load->idle != NULL);
    for (unsigned i = 0; i < load->conn_count; i++) {
        load->conns[i].fd = load_connect(load->port, load->epoll, &load->conns[i]);
        load->idle[load->idle_count++] = &load->conns[i];
    }
}

int main(int argc, char **argv)
{
    struct load load = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    bool is_idle = argc == 5 && strcmp(argv[1], "idle") == 0;
    double seconds, took;

    if (!is_idle && argc != 6 && argc != 7) {
        fprintf(stderr, "usage: load_http get PORT PATH CONNECTIONS SECONDS [RATE] | idle PORT PATH CONNECTIONS\n");
        return 2;
    }
    load.port = atoi(argv[2]);
    load.request_len = (size_t)snprintf(load.request, sizeof(load.request),
                                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\n\r\n", argv[3]);
    assert(load.request_len < sizeof(load.request));
    load.conn_count = (unsigned)atoi(argv[4]);
    open_connections(&load);
    if (is_idle) {
        be_idle(&load);
        return 0;
    }
    seconds = atof(argv[5]);
    load.rate = argc > 6 ? atof(argv[6]) : 0;
    load_expect(&load.latencies, load.rate * seconds);
    load.begun_ns = load_now_ns();
    load.end_ns = load.begun_ns + (uint64_t)(seconds * LOAD_NS_PER_S);
    run(&load);
    took = (double)(load_now_ns() - load.begun_ns) / LOAD_NS_PER_S;
    printf("{\"requests\": %llu, \"failed\": %llu, \"seconds\": %.4f", (unsigned long long)load.answered,
           (unsigned long long)load.failed, took);
    if (load.rate > 0)
        load_print(&load.latencies);
    printf("}\n");
    return load.failed > 0;
}
