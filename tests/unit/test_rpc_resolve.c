/* A client follows what the name of its peers says, as the name of a headless Service does when it is scaled. The name
 * server is a thread of the test. */
#include "rpc_fixture.h"
#include <arpa/inet.h>
#include <sys/socket.h>

#define PEERS 5

/* Answers every question for an A record with 127.0.0.1, .2 and so on; with "no such name" where there are none. */
struct name_server {
    int fd, port;
    atomic_int addresses;
    pthread_t thread;
};

#define HEADER_SIZE 12
#define TYPE_A      1

static size_t question_end(const uint8_t *query, size_t len)
{
    size_t at = HEADER_SIZE;

    while (at < len && query[at] != 0)
        at += query[at] + 1u;
    return at + 5 <= len ? at + 5 : 0; /* the name's end, type and class */
}

static size_t answer_query(uint8_t *message, size_t len, int addresses)
{
    size_t end = question_end(message, len);
    int answers;

    if (end == 0)
        return 0;
    answers = message[end - 3] == TYPE_A ? addresses : 0;
    message[2] = 0x84; /* an answer, and from who knows */
    message[3] = addresses == 0 ? 3 : 0;
    message[7] = (uint8_t)answers;
    memset(message + 8, 0, 4); /* no more sections, whatever the query had */
    for (int i = 0; i < answers; i++) {
        const uint8_t record[] = {0xc0, HEADER_SIZE, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, (uint8_t)(i + 1)};

        memcpy(message + end, record, sizeof(record));
        end += sizeof(record);
    }
    return end;
}

static void *answer_queries(void *arg)
{
    struct name_server *server = arg;
    uint8_t message[1024];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t len;

    while ((len = recvfrom(server->fd, message, 512, 0, (struct sockaddr *)&from, &from_len)) > 1) {
        size_t answer = answer_query(message, (size_t)len, atomic_load(&server->addresses));

        if (answer > 0)
            sendto(server->fd, message, answer, 0, (struct sockaddr *)&from, from_len);
        from_len = sizeof(from);
    }
    return NULL;
}

static void name_server_open(struct name_server *server, int addresses)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    atomic_store(&server->addresses, addresses);
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    getsockname(server->fd, (struct sockaddr *)&address, &len);
    server->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&server->thread, NULL, answer_queries, server), 0);
}

static void name_server_close(struct name_server *server)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)server->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    sendto(server->fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address)); /* too short: the thread ends */
    pthread_join(server->thread, NULL);
    close(server->fd);
}

/* ---- servers on one port of several addresses ---- */

static struct fixture peers[PEERS];
static struct name_server names;

static int listen_everywhere(int fds[PEERS])
{
    char host[32];
    int port = 0;

    for (int i = 0; i < PEERS; i++) {
        snprintf(host, sizeof(host), "127.0.0.%d", i + 1);
        if (net_listen(host, port, &fds[i], &port) != 0) {
            while (i > 0)
                close(fds[--i]);
            return -EADDRINUSE;
        }
    }
    return port;
}

static int open_peers(int addresses)
{
    int fds[PEERS], port = -1;

    for (int tries = 0; tries < 100 && port < 0; tries++)
        port = listen_everywhere(fds);
    cr_assert_gt(port, 0);
    for (int i = 0; i < PEERS; i++)
        fixture_serve_on(&peers[i], fds[i], (struct rpc_server_def){.max_connection_age_ms = 200});
    name_server_open(&names, addresses);
    return port;
}

static void close_peers(void)
{
    for (int i = 0; i < PEERS; i++)
        fixture_close(&peers[i]);
    name_server_close(&names);
}

static void connect_by_name(struct fixture *client, int port)
{
    char target[64];

    snprintf(target, sizeof(target), "dns://127.0.0.1:%d/peers.test:%d", names.port, port);
    fixture_connect(client, (struct rpc_client_def){.target = target, .resolve_interval_ms = 50});
}

/* Calls until the first count peers have been seen to serve, and no other. */
static void call_until_served_by(struct fixture *client, int count)
{
    int served = 0;
    bool seen[PEERS] = {false};

    while (served < count) {
        struct fixture_answer answer = fixture_call(client, 100, 0, (struct rpc_call_options){0});

        cr_assert_eq(answer.code, ERR_GRPC_OK, "%s: %s", err_grpc_name(answer.code), answer.message);
        for (int i = 0; i < PEERS; i++)
            if (!seen[i] && sem_trywait(&peers[i].closed) == 0) {
                cr_assert_lt(i, count);
                seen[i] = true;
                served++;
            }
    }
}

TestSuite(rpc_resolve, .timeout = 120);

Test(rpc_resolve, follows_scaling_up)
{
    struct fixture client = {0};

    connect_by_name(&client, open_peers(2));
    call_until_served_by(&client, 2);
    atomic_store(&names.addresses, PEERS);
    call_until_served_by(&client, PEERS);
    fixture_close(&client);
    close_peers();
}

/* The resolver's own patience doubles up to two minutes. */
Test(rpc_resolve, finds_a_name_soon_after_it_has_come_to_be)
{
    struct fixture client = {0};
    struct fixture_answer answer = {0};

    connect_by_name(&client, open_peers(0));
    for (int i = 0; i < 10; i++) {
        answer = fixture_call(&client, 100, 0, (struct rpc_call_options){0});
        cr_assert_eq(answer.code, ERR_GRPC_UNAVAILABLE, "%s", answer.message);
    }
    atomic_store(&names.addresses, 1);
    while (answer.code != ERR_GRPC_OK)
        answer = fixture_call(&client, 100, 0, (struct rpc_call_options){0});
    fixture_close(&client);
    close_peers();
}
