#include "net_listen.h"
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_listener(const struct addrinfo *address, int *ret_fd)
{
    int err, on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    /* REUSEADDR only lets a port be bound again whose old connections are still in TIME_WAIT. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (address->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, 65535) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

static int port_of(int fd, int *ret_port)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -errno;
    *ret_port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                    : ((struct sockaddr_in *)&address)->sin_port);
    return 0;
}

int net_listen(const char *host, int port, int *ret_fd, int *ret_port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *address;
    char service[16];
    int err, fd = -1;

    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &address) != 0)
        return -EINVAL;
    err = bind_listener(address, &fd);
    freeaddrinfo(address);
    if ((err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL) && strcmp(host, "::") == 0)
        return net_listen("0.0.0.0", port, ret_fd, ret_port);
    if (err == 0)
        err = port_of(fd, ret_port);
    if (err < 0) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

const char *net_listen_check_host(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *address;

    if (getaddrinfo(host, NULL, &hints, &address) != 0)
        return "must be a numeric address";
    freeaddrinfo(address);
    return NULL;
}

int net_listen_stop_syn(int fd)
{
    /* Drop what has SYN and not ACK; let the rest pass: also the ACK that ends a handshake that has begun. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* TCP flags */
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* For both families: a socket of the one may carry the other. */
static int set_least_ttl(int fd, int ttl)
{
    int v4 = setsockopt(fd, IPPROTO_IP, IP_MINTTL, &ttl, sizeof(ttl)) < 0 ? -errno : 0;
    int v6 = setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &ttl, sizeof(ttl)) < 0 ? -errno : 0;

    return v4 == 0 || v6 == 0 ? 0 : v4;
}

int net_listen_stop_syn_by_ttl(int fd)
{
    return set_least_ttl(fd, 255);
}

void net_listen_stop(int fd)
{
    if (net_listen_stop_syn(fd) < 0)
        net_listen_stop_syn_by_ttl(fd);
}

void net_listen_accepted(int fd)
{
    set_least_ttl(fd, 0);
}
