/* tcp_proxy -- stands between a client and a server on 127.0.0.1 and breaks what is between them when a test says so.
 */
#pragma once
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_PROXY_MAX 64 /* connections in its life */

enum tcp_proxy_mode {
    TCP_PROXY_PASS,
    TCP_PROXY_DROP_ANSWERS,  /* what the server sends is thrown away */
    TCP_PROXY_HOLD_REQUESTS, /* what the client sends is kept, and passed on when the mode is PASS again */
    TCP_PROXY_REFUSE,        /* connections are cut, and new ones refused */
};

struct tcp_proxy {
    int port, server_port, listener, wake;
    pthread_t thread;
    atomic_int mode;
    atomic_bool stopped;
    struct {
        atomic_int client, server; /* -1: closed */
    } pairs[TCP_PROXY_MAX];
    atomic_int count; /* of connections there have been */
};

static inline int tcp_proxy_socket(int port, bool listening)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0);
    if (listening ? bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0
                  : connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline void tcp_proxy_close(struct tcp_proxy *proxy, int i)
{
    close(proxy->pairs[i].client);
    close(proxy->pairs[i].server);
    proxy->pairs[i].client = proxy->pairs[i].server = -1;
}

static inline void tcp_proxy_accept(struct tcp_proxy *proxy)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC), i = proxy->count;
    int server = proxy->mode == TCP_PROXY_REFUSE ? -1 : tcp_proxy_socket(proxy->server_port, false);

    assert(i < TCP_PROXY_MAX);
    if (client < 0 || server < 0) {
        close(client);
        return;
    }
    proxy->pairs[i].client = client;
    proxy->pairs[i].server = server;
    proxy->count++;
}

/* False: the connection is over. */
static inline bool tcp_proxy_copy(int from, int to, bool drop)
{
    char bytes[65536];
    ssize_t len = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (len < 0)
        return errno == EAGAIN;
    for (ssize_t sent = 0; len > 0 && !drop && sent < len;) {
        ssize_t n = send(to, bytes + sent, (size_t)(len - sent), MSG_NOSIGNAL);

        if (n < 0)
            return false;
        sent += n;
    }
    return len > 0;
}

static inline void tcp_proxy_turn(struct tcp_proxy *proxy)
{
    struct pollfd fds[2 + 2 * TCP_PROXY_MAX] = {{proxy->listener, POLLIN, 0}, {proxy->wake, POLLIN, 0}};
    int mode = proxy->mode, count = proxy->count;
    uint64_t woken;

    for (int i = 0; i < count; i++) {
        fds[2 + 2 * i] = (struct pollfd){mode == TCP_PROXY_HOLD_REQUESTS ? -1 : proxy->pairs[i].client, POLLIN, 0};
        fds[3 + 2 * i] = (struct pollfd){proxy->pairs[i].server, POLLIN, 0};
    }
    if (poll(fds, (nfds_t)(2 + 2 * count), -1) <= 0)
        return;
    if (fds[1].revents != 0 && read(proxy->wake, &woken, sizeof(woken)) > 0)
        return; /* the mode may be another one */
    for (int i = 0; i < count; i++) {
        bool ok = proxy->pairs[i].client >= 0;

        if (ok && fds[2 + 2 * i].revents != 0)
            ok = tcp_proxy_copy(proxy->pairs[i].client, proxy->pairs[i].server, false);
        if (ok && fds[3 + 2 * i].revents != 0)
            ok = tcp_proxy_copy(proxy->pairs[i].server, proxy->pairs[i].client, mode == TCP_PROXY_DROP_ANSWERS);
        if (!ok && proxy->pairs[i].client >= 0)
            tcp_proxy_close(proxy, i);
    }
    if (fds[0].revents != 0)
        tcp_proxy_accept(proxy);
}

static inline void *tcp_proxy_run(void *arg)
{
    struct tcp_proxy *proxy = arg;

    while (!proxy->stopped) {
        tcp_proxy_turn(proxy);
        for (int i = 0; i < proxy->count && proxy->mode == TCP_PROXY_REFUSE; i++)
            if (proxy->pairs[i].client >= 0)
                tcp_proxy_close(proxy, i);
    }
    return NULL;
}

static inline void tcp_proxy_start(struct tcp_proxy *proxy, int server_port)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    *proxy = (struct tcp_proxy){.server_port = server_port, .listener = tcp_proxy_socket(0, true)};
    getsockname(proxy->listener, (struct sockaddr *)&address, &len);
    proxy->port = ntohs(address.sin_port);
    proxy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(pthread_create(&proxy->thread, NULL, tcp_proxy_run, proxy) == 0);
}

static inline void tcp_proxy_wake(struct tcp_proxy *proxy)
{
    assert(write(proxy->wake, &(uint64_t){1}, 8) == 8);
}

static inline void tcp_proxy_set(struct tcp_proxy *proxy, enum tcp_proxy_mode mode)
{
    proxy->mode = mode;
    tcp_proxy_wake(proxy);
}

/* Cuts all connections; new ones pass. */
static inline void tcp_proxy_cut(struct tcp_proxy *proxy)
{
    tcp_proxy_set(proxy, TCP_PROXY_REFUSE);
    for (int i = 0; i < proxy->count; i++)
        while (proxy->pairs[i].client >= 0)
            usleep(200);
    tcp_proxy_set(proxy, TCP_PROXY_PASS);
}

static inline void tcp_proxy_stop(struct tcp_proxy *proxy)
{
    proxy->stopped = true;
    tcp_proxy_wake(proxy);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < proxy->count; i++)
        if (proxy->pairs[i].client >= 0)
            tcp_proxy_close(proxy, i);
    close(proxy->listener);
    close(proxy->wake);
}
