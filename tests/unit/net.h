/* net -- what the tests of the HTTP server and client need of sockets: a plain client and plain text. Every wait is
 * bounded; a test that runs into a bound fails. */
#pragma once
#include "clock.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NET_BOUND_MS 10000

/* receive: bytes that the kernel may keep for this client; 0: as it likes. */
static inline int net_connect_with(const char *host, int port, int receive)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval bound = {NET_BOUND_MS / 1000, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    cr_assert_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (receive > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(receive));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "connect: %s", strerror(errno));
    return fd;
}

static inline int net_connect(const char *host, int port)
{
    return net_connect_with(host, port, 0);
}

static inline void net_send(int fd, const void *bytes, size_t len)
{
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len, "send: %s", strerror(errno));
}

static inline void net_send_text(int fd, const char *text)
{
    net_send(fd, text, strlen(text));
}

/* Exactly len bytes. */
static inline void net_receive(int fd, void *bytes, size_t len)
{
    if (len > 0) /* else recv would wait for the next byte */
        cr_assert_eq(recv(fd, bytes, len, MSG_WAITALL), (ssize_t)len, "receive: %s", strerror(errno));
}

/* Whether the other side has closed; what comes before is thrown away. A reset is a close. */
static inline bool net_closed(int fd)
{
    char bytes[65536];
    ssize_t len;

    while ((len = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    return len == 0 || errno == ECONNRESET;
}

struct net_answer {
    int status;
    char head[16384]; /* with its empty line */
    char *body;       /* terminated; NULL: none was to come */
    size_t body_len;
};

static inline void net_answer_release(struct net_answer *answer)
{
    free(answer->body);
    answer->body = NULL;
}

/* Finds a header's value; "" where there is none. */
static inline const char *net_header(const struct net_answer *answer, const char *name, char value[512])
{
    char wanted[128];
    const char *at;
    size_t len;

    snprintf(wanted, sizeof(wanted), "\r\n%s: ", name);
    if ((at = strcasestr(answer->head, wanted)) == NULL)
        return strcpy(value, "");
    at += strlen(wanted);
    len = strcspn(at, "\r");
    cr_assert_lt(len, 512);
    memcpy(value, at, len);
    value[len] = '\0';
    return value;
}

static inline void net_read_head(int fd, struct net_answer *answer)
{
    size_t len = 0;

    while (len < 4 || memcmp(answer->head + len - 4, "\r\n\r\n", 4) != 0) {
        cr_assert_lt(len, sizeof(answer->head) - 1);
        net_receive(fd, answer->head + len++, 1);
    }
    answer->head[len] = '\0';
    cr_assert_eq(sscanf(answer->head, "HTTP/1.1 %d", &answer->status), 1, "%s", answer->head);
}

/* An answer with content-length (or to HEAD, or 204, 304: without a body). */
static inline void net_read_answer(int fd, bool head_only, struct net_answer *ret_answer)
{
    char length[512];

    memset(ret_answer, 0, sizeof(*ret_answer));
    net_read_head(fd, ret_answer);
    net_header(ret_answer, "content-length", length);
    if (head_only || ret_answer->status == 204 || ret_answer->status == 304 || ret_answer->status == 101 ||
        ret_answer->status == 100)
        return;
    cr_assert_str_not_empty(length, "no content-length: %s", ret_answer->head);
    ret_answer->body_len = strtoul(length, NULL, 10);
    ret_answer->body = malloc(ret_answer->body_len + 1);
    net_receive(fd, ret_answer->body, ret_answer->body_len);
    ret_answer->body[ret_answer->body_len] = '\0';
}

/* Asks on a connection that stays. */
static inline void net_ask(int fd, const char *request, struct net_answer *ret_answer)
{
    net_send_text(fd, request);
    net_read_answer(fd, strncmp(request, "HEAD ", 5) == 0, ret_answer);
}

/* Waits until a condition of another thread's holds; fails where it does not in time. */
#define NET_AWAIT(condition)                                                                                           \
    do {                                                                                                               \
        uint64_t deadline_ns = clock_monotonic_ns() + NET_BOUND_MS * CLOCK_NS_PER_MS;                                  \
        while (!(condition)) {                                                                                         \
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "never: " #condition);                                     \
            nanosleep(&(struct timespec){0, 1000000}, NULL);                                                           \
        }                                                                                                              \
    } while (0)
