/* load -- what the programs that make load share: the clock, connections, latencies. */
#pragma once
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define LOAD_NS_PER_S 1000000000ULL

static inline uint64_t load_now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * LOAD_NS_PER_S + (uint64_t)time.tv_nsec;
}

static inline void load_fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A connection to a port of this machine; epoll tells with that pointer when it can be read. */
static inline int load_connect(int port, int epoll, void *conn)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        load_fail("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        load_fail("epoll_ctl");
    return fd;
}

/* ---- latencies of an open loop ---- */

struct load_latencies {
    uint32_t *us;
    size_t count, capacity;
};

static inline void load_expect(struct load_latencies *latencies, double count)
{
    latencies->capacity = (size_t)count + 1;
    latencies->us = calloc(latencies->capacity, sizeof(*latencies->us));
    assert(latencies->us != NULL);
}

/* The number of requests of an open loop that are due by now, and when the one with that index, from 0, is due. */
static inline uint64_t load_due(uint64_t begun_ns, uint64_t now_ns, double rate)
{
    return (uint64_t)((double)(now_ns - begun_ns) / LOAD_NS_PER_S * rate);
}

static inline uint64_t load_due_ns(uint64_t begun_ns, uint64_t index, double rate)
{
    return begun_ns + (uint64_t)((double)(index + 1) / rate * LOAD_NS_PER_S);
}

static inline void load_note(struct load_latencies *latencies, uint64_t due_ns)
{
    if (latencies->count < latencies->capacity)
        latencies->us[latencies->count++] = (uint32_t)((load_now_ns() - due_ns) / 1000);
}

static inline int load_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Members of a JSON object; nothing without latencies. */
static inline void load_print(struct load_latencies *latencies)
{
    if (latencies->count == 0)
        return;
    qsort(latencies->us, latencies->count, sizeof(*latencies->us), load_compare);
    printf(", \"p50_us\": %u, \"p99_us\": %u", latencies->us[latencies->count / 2],
           latencies->us[latencies->count * 99 / 100]);
}
