#include "net_socket.h"
#include <limits.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

size_t net_kernel_bytes(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
        return 0;
    return (size_t)info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED];
}

size_t net_untaken(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

bool net_peer_has_ended(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

    return poll(&poll_fd, 1, 0) == 1;
}

void net_reset_at_close(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void set_size(int fd, int option, size_t size)
{
    int bytes = size < INT_MAX / 2 ? (int)size : INT_MAX / 2;

    if (bytes > 0)
        setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

void net_bound_queues(int listen_fd, size_t receive, size_t send, unsigned timeout_ms)
{
    set_size(listen_fd, SO_RCVBUF, receive);
    set_size(listen_fd, SO_SNDBUF, send);
    setsockopt(listen_fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}
