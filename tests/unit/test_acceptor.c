/* The acceptor: which loop gets a connection, who yields when the listener is full, and how it ends. */
#include "acceptor.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "net_forwarded.h"
#include "net_listen.h"
#include "net_networks.h"
#include "peers.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { LOOPS = 3, MAX = 80 };

/* Connections that do nothing, in the order of their opening. */
struct conn {
    struct acceptor_place place;
    struct loop_message message;
    struct server *server;
    unsigned loop;
    int fd;
    atomic_bool open, has_begun; /* a part of a request */
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

static bool has_begun(void *arg, struct acceptor_place *place)
{
    return ((struct conn *)((char *)place - offsetof(struct conn, place)))->has_begun;
}

static void yield_conn(void *arg, struct acceptor_place *place)
{
    struct conn *conn = (struct conn *)((char *)place - offsetof(struct conn, place));

    conn->message.run = close_conn;
    loop_post(conn->server->loops[conn->loop], &conn->message);
}

static bool is_paused(void *arg)
{
    return atomic_load(&((struct server *)arg)->paused);
}

static void drained(void *arg, unsigned loop)
{
    atomic_fetch_add(&((struct server *)arg)->drained, 1);
}

static void serve_bounded(struct server *server, const char *host, unsigned loops, unsigned max_connections,
                          const struct acceptor_address_bound *address_bound)
{
    int fd;

    memset(server, 0, sizeof(*server));
    server->metrics = metrics_new();
    cr_assert_eq(net_listen(host, 0, &fd, &server->port), 0);
    for (unsigned i = 0; i < loops; i++)
        cr_assert_eq(loop_open(i, "test", NULL, &server->loops[i]), 0);
    cr_assert_eq(acceptor_open(fd,
                               &(struct acceptor_def){.server = "test",
                                                      .metrics = server->metrics,
                                                      .loops = server->loops,
                                                      .loop_count = loops,
                                                      .max_connections = max_connections,
                                                      .address_bound = address_bound,
                                                      .arg = server,
                                                      .open = open_conn,
                                                      .has_begun = has_begun,
                                                      .yield = yield_conn,
                                                      .is_paused = is_paused,
                                                      .drained = drained},
                               &server->acceptor),
                 0);
    acceptor_start(server->acceptor);
}

static void serve(struct server *server, unsigned loops, unsigned max_connections)
{
    serve_bounded(server, "127.0.0.1", loops, max_connections, NULL);
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

Test(acceptor, who_has_begun_a_request_is_passed_over_once)
{
    static struct server server;
    struct timespec tick = {0, 5000000};
    int fds[6];

    serve(&server, 1, 3);
    for (int i = 0; i < 3; i++)
        fds[i] = join(&server);
    server.conns[0].has_begun = true;
    net_send_text(fds[1], "x"); /* nobody reads it: a request that has come */
    nanosleep(&tick, NULL);
    fds[3] = join(&server);
    cr_expect(net_closed(fds[2]));
    cr_expect(server.conns[0].open && server.conns[1].open);
    nanosleep(&tick, NULL);
    in_loop(&server, set_busy, 1); /* it has come whole, and is answered */
    in_loop(&server, set_idle, 1);
    fds[4] = join(&server);
    cr_expect(net_closed(fds[0]) || net_closed(fds[3]));
    fds[5] = join(&server);
    cr_expect(net_closed(fds[0]) && net_closed(fds[3]));
    cr_expect(server.conns[1].open);
    end(&server);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
}

Test(acceptor, clients_that_all_have_begun_a_request_keep_nobody_out)
{
    enum { SLOW = 70 }; /* more than are looked at for one */
    static struct server server;
    int fds[SLOW + 4];

    serve(&server, 2, SLOW);
    for (int i = 0; i < SLOW; i++) {
        fds[i] = join(&server);
        net_send_text(fds[i], "x");
    }
    for (int i = SLOW; i < SLOW + 4; i++)
        fds[i] = join(&server);
    cr_expect_eq(metric(&server, "listener_refused_total"), 0);
    for (int i = SLOW; i < SLOW + 4; i++)
        cr_expect(server.conns[i].open);
    end(&server);
    for (int i = 0; i < SLOW + 4; i++)
        close(fds[i]);
}

Test(acceptor, is_crowded_when_almost_all_connections_are_busy)
{
    enum { CLIENTS = 32 };
    static struct server server;
    int fds[CLIENTS];

    serve(&server, 2, CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = join(&server);
        if (i < CLIENTS - CLIENTS / 4)
            in_loop(&server, set_busy, i);
    }
    cr_expect_not(acceptor_is_crowded(server.acceptor));
    in_loop(&server, set_busy, CLIENTS - 1);
    cr_expect(acceptor_is_crowded(server.acceptor));
    in_loop(&server, set_idle, 0);
    cr_expect_not(acceptor_is_crowded(server.acceptor));
    in_loop(&server, set_busy, 0);
    for (unsigned i = 0; i < CLIENTS / 2; i++)
        in_loop(&server, run_end, i);
    cr_expect_not(acceptor_is_crowded(server.acceptor));
    end(&server);
    for (int i = 0; i < CLIENTS; i++)
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
    for (int i = 0; i < 2; i++)
        in_loop(&server, set_idle, 0); /* a turn of the loop, in which it would be accepted */
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

/* ---- client addresses ---- */

/* From an address of 127.0.0.0/8. */
static int connect_from(const char *address, int port)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval bound = {NET_BOUND_MS / 1000, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, address, &from.sin_addr);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static int join_from(struct server *server, const char *address)
{
    unsigned before = server->opened;
    int fd = connect_from(address, server->port);

    NET_AWAIT(server->opened == before + 1);
    return fd;
}

static void refused_from(struct server *server, const char *address)
{
    double before = metric(server, "listener_address_refused_total");
    int fd = connect_from(address, server->port);

    cr_expect(net_closed(fd));
    cr_expect_eq(metric(server, "listener_address_refused_total"), before + 1);
    close(fd);
}

static struct acceptor_address_bound address_bound(unsigned max_connections, const char *trusted)
{
    struct acceptor_address_bound bound = {.max_connections = max_connections};

    cr_assert_eq(net_networks_parse(trusted, &bound.trusted), 0);
    return bound;
}

Test(acceptor, an_address_has_no_more_connections_than_it_may)
{
    static struct server server;
    struct acceptor_address_bound bound = address_bound(2, "");
    int fds[5];

    serve_bounded(&server, "::", LOOPS, MAX, &bound); /* IPv4 as IPv6 maps it */
    fds[0] = join_from(&server, "127.0.0.2");
    fds[1] = join_from(&server, "127.0.0.2");
    refused_from(&server, "127.0.0.2");
    fds[2] = join_from(&server, "127.0.0.3");
    in_loop(&server, run_end, 0);
    fds[3] = join_from(&server, "127.0.0.2");
    refused_from(&server, "127.0.0.2");
    fds[4] = join_from(&server, "127.0.0.3");
    cr_expect_eq(acceptor_connections(server.acceptor), 4);
    cr_expect_eq(metric(&server, "listener_refused_total"), 0);
    end(&server);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

Test(acceptor, addresses_of_trusted_proxies_have_no_bound)
{
    static struct server server;
    struct acceptor_address_bound bound = address_bound(1, "10.0.0.0/8, 127.0.0.8/29");
    int fds[4];

    serve_bounded(&server, "127.0.0.1", 2, MAX, &bound);
    fds[0] = join_from(&server, "127.0.0.9");
    fds[1] = join_from(&server, "127.0.0.9");
    fds[2] = join_from(&server, "127.0.0.15");
    fds[3] = join_from(&server, "127.0.0.16");
    refused_from(&server, "127.0.0.16");
    end(&server);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

/* What a connection that is refused otherwise, or yields, had of its address's share is free again. */
Test(acceptor, whoever_leaves_a_full_listener_counts_no_more)
{
    static struct server server;
    struct acceptor_address_bound bound = address_bound(1, "");
    int first, second, refused;

    serve_bounded(&server, "127.0.0.1", 1, 1, &bound);
    first = join_from(&server, "127.0.0.2");
    second = join_from(&server, "127.0.0.3");
    cr_expect(net_closed(first));
    NET_AWAIT(!server.conns[0].open);
    close(first);
    in_loop(&server, set_busy, 1);
    for (int i = 0; i < 2; i++) {
        refused = connect_from("127.0.0.2", server.port);
        cr_expect(net_closed(refused));
        close(refused);
    }
    cr_expect_eq(metric(&server, "listener_refused_total"), 2);
    cr_expect_eq(metric(&server, "listener_address_refused_total"), 0);
    in_loop(&server, set_idle, 1);
    first = join_from(&server, "127.0.0.2");
    end(&server);
    close(first);
    close(second);
}

static struct sockaddr_storage ip(const char *text)
{
    struct sockaddr_storage address = {.ss_family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET};

    if (address.ss_family == AF_INET6)
        cr_assert_eq(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr), 1);
    else
        cr_assert_eq(inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr), 1);
    return address;
}

static bool joins(struct net_peers *peers, const char *text, struct net_peer **ret_peer)
{
    struct sockaddr_storage address = ip(text);

    return net_peers_join(peers, &address, ret_peer);
}

Test(acceptor, an_ipv6_client_is_known_by_64_bits)
{
    struct acceptor_address_bound bound = address_bound(1, "2001:db8:f::/48,2001:db8:0:5::1");
    struct net_peers *peers = net_peers_new(&bound);
    struct net_peer *first, *second, *other;

    cr_assert(joins(peers, "2001:db8::1", &first));
    cr_expect_not(joins(peers, "2001:db8::ffff:2", &other));
    cr_expect_null(other);
    cr_expect(joins(peers, "2001:db8:0:1::1", &second));
    cr_expect(joins(peers, "2001:db8:f:1::1", &other) && other == NULL); /* trusted */
    cr_expect(joins(peers, "2001:db8:0:5::1", &other) && other == NULL);
    net_peers_leave(peers, second);
    cr_expect(joins(peers, "::ffff:192.0.2.1", &second));
    cr_expect_not(joins(peers, "192.0.2.1", &other));
    net_peers_leave(peers, first);
    net_peers_leave(peers, second);
    net_peers_free(peers);
}

/* ---- networks ---- */

static bool is_in(const char *list, const char *address)
{
    struct sockaddr_storage storage = ip(address);
    struct net_networks networks;
    uint8_t bytes[NET_IP_BYTES];

    cr_assert_eq(net_networks_parse(list, &networks), 0, "%s", list);
    net_ip_bytes(&storage, bytes);
    return net_networks_contain(&networks, bytes);
}

Test(networks, contain_what_their_first_bits_say)
{
    cr_expect_not(is_in("", "192.0.2.1"));
    cr_expect(is_in("192.0.2.1", "192.0.2.1"));
    cr_expect(is_in("192.0.2.1", "::ffff:192.0.2.1"));
    cr_expect_not(is_in("192.0.2.1", "192.0.2.2"));
    cr_expect(is_in("10.0.0.0/8 , 192.0.2.128/25", "192.0.2.200"));
    cr_expect_not(is_in("192.0.2.128/25", "192.0.2.127"));
    cr_expect(is_in("0.0.0.0/0", "203.0.113.7"));
    cr_expect_not(is_in("0.0.0.0/0", "2001:db8::1"));
    cr_expect(is_in("::/0", "203.0.113.7"));
    cr_expect(is_in("2001:db8::/33", "2001:db8:7fff::1"));
    cr_expect_not(is_in("2001:db8::/33", "2001:db8:8000::1"));
    cr_expect(is_in("2001:db8::1/128", "2001:db8::1"));
    cr_expect_not(is_in("2001:db8::1/128", "2001:db8::2"));
}

Test(networks, other_texts_are_refused)
{
    static const char *const wrong[] = {",",
                                        "10.0.0.0/8,",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "2001:db8::/129",
                                        "10.0.0",
                                        "localhost",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/8/8",
                                        "/8",
                                        " ",
                                        "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    char many[(NET_NETWORKS_MAX + 1) * sizeof("1.2.3.4,")];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_not_null(net_networks_check(wrong[i]), "%s", wrong[i]);
    for (int i = 0; i < NET_NETWORKS_MAX; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "%s1.2.3.4", i > 0 ? "," : "");
    cr_expect_null(net_networks_check(many));
    cr_expect_not_null(net_networks_check(strcat(many, ",1.1.1.1")));
}

/* ---- X-Forwarded-For ---- */

Test(forwarded, the_client_is_the_last_that_is_no_proxy)
{
    static const struct {
        const char *line, *ip;
        bool more;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", false},
        {"203.0.113.9, 192.0.2.1", "192.0.2.1", false}, /* what the client says of itself */
        {"192.0.2.1,10.0.0.2 ,\t10.0.0.3", "192.0.2.1", false},
        {"10.0.0.2", "10.0.0.2", true}, /* a line before it says more */
        {"192.0.2.1:4711", "192.0.2.1", false},
        {"2001:DB8:0::1", "2001:db8::1", false},
        {"[2001:db8::1]", "2001:db8::1", false},
        {"[2001:db8::1]:4711", "2001:db8::1", false},
        {"::ffff:192.0.2.1", "192.0.2.1", false},
        {"unknown, 10.0.0.2", "10.0.0.2", false}, /* nothing before what is no address counts */
        {"192.0.2.1,", "10.0.0.1", false},
        {"", "10.0.0.1", false},
        {"[", "10.0.0.1", false},
        {"[]", "10.0.0.1", false},
        {":", "10.0.0.1", false},
        {"192.0.2.1\n", "10.0.0.1", false},
        {"192.0.2.1,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,"
         "10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.2,10.0.0.3",
         "10.0.0.2", false}, /* more proxies than anybody has */
    };
    struct net_networks proxies;

    cr_assert_eq(net_networks_parse("10.0.0.0/8", &proxies), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char ip[NET_IP_SIZE] = "10.0.0.1";

        cr_expect_eq(net_forwarded(&proxies, str_of(cases[i].line), ip), cases[i].more, "%s", cases[i].line);
        cr_expect_str_eq(ip, cases[i].ip, "%s: %s", cases[i].line, ip);
    }
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
