/* The acceptor: which loop gets a connection, who yields when the listener is full, and how it ends. */
#include "acceptor.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "net_listen.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { LOOPS = 3, MAX = 64 };

/* Connections that do nothing, in the order of their opening. */
struct conn {
    struct acceptor_place place;
    struct loop_message message;
    struct server *server;
    unsigned loop;
    int fd;
    atomic_bool open, stays; /* stays: it says that it is not idle */
};

struct server {
    struct acceptor *acceptor;
    struct loop *loops[LOOPS];
    struct metrics *metrics;
    int port;
    struct conn conns[MAX];
    atomic_uint claimed, opened, drained; /* claimed: of conns */
    atomic_bool paused;
};

static void close_conn(struct loop_message *message)
{
    struct conn *conn = (struct conn *)((char *)message - offsetof(struct conn, message));

    if (!atomic_exchange(&conn->open, false))
        return;
    close(conn->fd);
    acceptor_left(&conn->place);
}

static bool open_conn(void *arg, unsigned loop, int take_fd, const struct sockaddr_storage *peer)
{
    struct server *server = arg;
    struct conn *conn = &server->conns[atomic_fetch_add(&server->claimed, 1)];

    conn->server = server;
    conn->loop = loop;
    conn->fd = take_fd;
    acceptor_join(server->acceptor, loop, &conn->place, take_fd);
    atomic_store(&conn->open, true);
    atomic_fetch_add(&server->opened, 1);
    return true;
}

static bool yield_conn(void *arg, struct acceptor_place *place)
{
    struct conn *conn = (struct conn *)((char *)place - offsetof(struct conn, place));

    if (conn->stays)
        return false;
    conn->message.run = close_conn;
    loop_post(conn->server->loops[conn->loop], &conn->message);
    return true;
}

static bool is_paused(void *arg)
{
    return atomic_load(&((struct server *)arg)->paused);
}

static void drained(void *arg, unsigned loop)
{
    atomic_fetch_add(&((struct server *)arg)->drained, 1);
}

static void serve(struct server *server, unsigned loops, unsigned max_connections)
{
    int fd;

    memset(server, 0, sizeof(*server));
    server->metrics = metrics_new();
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &server->port), 0);
    for (unsigned i = 0; i < loops; i++)
        cr_assert_eq(loop_open(i, "test", NULL, &server->loops[i]), 0);
    cr_assert_eq(acceptor_open(fd,
                               &(struct acceptor_def){.server = "test",
                                                      .metrics = server->metrics,
                                                      .loops = server->loops,
                                                      .loop_count = loops,
                                                      .max_connections = max_connections,
                                                      .arg = server,
                                                      .open = open_conn,
                                                      .yield = yield_conn,
                                                      .is_paused = is_paused,
                                                      .drained = drained},
                               &server->acceptor),
                 0);
    acceptor_start(server->acceptor);
}

/* Connects, and waits until as many have been opened. */
static int join(struct server *server)
{
    unsigned before = server->opened;
    int fd = net_connect("127.0.0.1", server->port);

    NET_AWAIT(server->opened == before + 1);
    return fd;
}

static void run_end(void *conn)
{
    close_conn(&((struct conn *)conn)->message);
}

static void end(struct server *server)
{
    acceptor_stop(server->acceptor);
    for (unsigned i = 0; i < server->opened; i++)
        loop_call(server->loops[server->conns[i].loop], run_end, &server->conns[i]);
    cr_assert(acceptor_wait(server->acceptor, clock_monotonic_ns() + 10 * CLOCK_NS_PER_S));
    server->acceptor = acceptor_free(server->acceptor);
    for (unsigned i = 0; i < LOOPS; i++)
        loop_close(server->loops[i]);
    metrics_free(server->metrics);
}

static double metric(struct server *server, const char *name)
{
    struct buf text = {0};
    char line[128], *at;
    double value = -1;

    snprintf(line, sizeof(line), "\n%s{server=\"test\"} ", name);
    metrics_write(server->metrics, &text);
    buf_append_char(&text, '\0');
    if ((at = strstr(text.data, line)) != NULL)
        value = strtod(at + strlen(line), NULL);
    buf_release(&text);
    return value;
}

static void set_busy(void *conn)
{
    acceptor_busy(&((struct conn *)conn)->place);
}

static void set_idle(void *conn)
{
    acceptor_idle(&((struct conn *)conn)->place);
}

static void in_loop(struct server *server, void (*run)(void *), unsigned conn)
{
    loop_call(server->loops[server->conns[conn].loop], run, &server->conns[conn]);
}

Test(acceptor, few_connections_are_spread_evenly)
{
    static struct server server;
    unsigned counts[LOOPS] = {0};
    int fds[4 * LOOPS];

    serve(&server, LOOPS, MAX);
    for (int i = 0; i < 4 * LOOPS; i++)
        fds[i] = join(&server);
    for (int i = 0; i < 4 * LOOPS; i++)
        counts[server.conns[i].loop]++;
    for (int i = 0; i < LOOPS; i++)
        cr_expect_eq(counts[i], 4, "%u", counts[i]);
    end(&server);
    for (int i = 0; i < 4 * LOOPS; i++)
        close(fds[i]);
}

Test(acceptor, of_all_loops_the_connection_yields_that_has_been_idle_for_longest)
{
    static struct server server;
    struct timespec tick = {0, 5000000}; /* the order is known to a millisecond */
    int fds[LOOPS + 2];

    serve(&server, LOOPS, LOOPS);
    for (int i = 0; i < LOOPS; i++) {
        fds[i] = join(&server);
        nanosleep(&tick, NULL);
    }
    in_loop(&server, set_busy, 0);
    in_loop(&server, set_busy, 1);
    in_loop(&server, set_idle, 0);
    nanosleep(&tick, NULL);
    fds[LOOPS] = join(&server);
    cr_expect(net_closed(fds[2]));
    NET_AWAIT(!server.conns[2].open);
    fds[LOOPS + 1] = join(&server);
    cr_expect(net_closed(fds[0]));
    cr_expect(server.conns[1].open && server.conns[LOOPS].open && server.conns[LOOPS + 1].open);
    cr_expect_eq(acceptor_connections(server.acceptor), LOOPS);
    cr_expect_eq(metric(&server, "listener_idle_closed_total"), 2);
    cr_expect_eq(metric(&server, "listener_refused_total"), 0);
    end(&server);
    for (int i = 0; i < LOOPS + 2; i++)
        close(fds[i]);
}

Test(acceptor, who_is_not_idle_after_all_is_passed_over)
{
    static struct server server;
    int fds[4];

    serve(&server, 1, 3);
    for (int i = 0; i < 3; i++)
        fds[i] = join(&server);
    server.conns[0].stays = true;
    net_send_text(fds[1], "x"); /* nobody reads it: a request that has come */
    fds[3] = join(&server);
    cr_expect(net_closed(fds[2]));
    cr_expect(server.conns[0].open && server.conns[1].open);
    end(&server);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

Test(acceptor, without_an_idle_connection_a_new_one_is_refused)
{
    static struct server server;
    int fds[4];

    serve(&server, 2, 2);
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = join(&server);
        in_loop(&server, set_busy, i);
    }
    fds[2] = net_connect("127.0.0.1", server.port);
    cr_expect(net_closed(fds[2]));
    NET_AWAIT(metric(&server, "listener_refused_total") == 1);
    in_loop(&server, set_idle, 1);
    fds[3] = join(&server);
    cr_expect(net_closed(fds[1]));
    cr_expect_eq(metric(&server, "listener_refused_total"), 1);
    end(&server);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

Test(acceptor, many_may_come_to_a_full_listener_at_once)
{
    enum { CLIENTS = MAX };
    static struct server server;
    int fds[CLIENTS];

    serve(&server, LOOPS, 4);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = net_connect("127.0.0.1", server.port);
    NET_AWAIT(server.opened + metric(&server, "listener_refused_total") == CLIENTS);
    cr_expect_eq(acceptor_connections(server.acceptor), 4);
    end(&server);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
}

Test(acceptor, nothing_is_accepted_while_it_is_paused)
{
    static struct server server;
    int first, second;

    serve(&server, 1, 4);
    first = join(&server);
    server.paused = true;
    second = net_connect("127.0.0.1", server.port);
    cr_expect_eq(server.opened, 1);
    server.paused = false;
    NET_AWAIT(server.opened == 2);
    end(&server);
    close(first);
    close(second);
}

Test(acceptor, a_drain_accepts_the_backlog_and_tells_each_loop_once)
{
    static struct server server;
    int fds[4], late;

    serve(&server, 2, 2);
    server.paused = true;
    for (int i = 0; i < 4; i++)
        fds[i] = net_connect("127.0.0.1", server.port);
    acceptor_drain(server.acceptor);
    acceptor_drain(server.acceptor);
    NET_AWAIT(server.drained == 2);
    cr_expect_eq(server.opened, 4); /* also beyond max_connections */
    cr_expect_eq(acceptor_connections(server.acceptor), 4);
    late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_expect_eq(connect(late,
                         (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
                                                                  .sin_port = htons((uint16_t)server.port),
                                                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                         sizeof(struct sockaddr_in)),
                 -1);
    end(&server);
    cr_expect_eq(server.drained, 2);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(late);
}

/* ---- file descriptors ---- */

static int unconnected(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    return fd;
}

static void connect_it(int fd, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval bound = {NET_BOUND_MS / 1000, 0};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void use_up_descriptors(void)
{
    struct rlimit limit = {256, 256};

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        ;
    cr_assert_eq(errno, EMFILE);
}

Test(acceptor, without_a_file_descriptor_the_listener_is_full)
{
    static struct server server;
    int first, second = unconnected(), third = unconnected();

    serve(&server, 1, MAX);
    first = join(&server);
    use_up_descriptors();
    connect_it(second, server.port);
    NET_AWAIT(server.opened == 2);
    cr_expect(net_closed(first));
    in_loop(&server, set_busy, 1);
    connect_it(third, server.port);
    cr_expect(net_closed(third));
    NET_AWAIT(metric(&server, "listener_refused_total") == 1);
    cr_expect_eq(acceptor_connections(server.acceptor), 1);
    end(&server);
}

Test(acceptor, a_drain_without_a_file_descriptor_ends)
{
    enum { BACKLOG = 4 };
    static struct server server;
    int first, fds[BACKLOG];

    serve(&server, 1, MAX);
    first = join(&server);
    in_loop(&server, set_busy, 0);
    for (int i = 0; i < BACKLOG; i++)
        fds[i] = unconnected();
    server.paused = true;
    use_up_descriptors();
    for (int i = 0; i < BACKLOG; i++)
        connect_it(fds[i], server.port);
    acceptor_drain(server.acceptor);
    NET_AWAIT(server.drained == 1);
    for (int i = 0; i < BACKLOG; i++)
        cr_expect(net_closed(fds[i]));
    cr_expect_eq(metric(&server, "listener_refused_total"), BACKLOG);
    cr_expect(server.conns[0].open);
    end(&server);
    close(first);
}
