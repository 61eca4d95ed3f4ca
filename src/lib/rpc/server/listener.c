/* Accepts connections for C-core, which then owns them. C-core's own listener would close its socket with connections
 * in the backlog, and cannot say which connections are left. The latter is seen on a duplicate of each descriptor:
 * C-core shuts a socket down before it closes it, and that hangs up the duplicate. */
#include "clock.h"
#include "net_listen.h"
#include "rpc_server_internal.h"
#include "thread.h"
#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS          64
#define SETTLE_NS       (20 * CLOCK_NS_PER_MS)  /* for handshakes that are half done when SYNs begin to be dropped */
#define RETRY_NS        (100 * CLOCK_NS_PER_MS) /* after descriptors or memory were short */
#define USER_TIMEOUT_MS 20000                   /* a peer that does not acknowledge for so long is gone */

struct connection {
    TAILQ_ENTRY(connection) link;
    int fd; /* the duplicate */
    uint64_t accepted_ns;
};

TAILQ_HEAD(connections, connection);

enum state { WAITING, ACCEPTING, DRAINING, DRAINED };

struct rpc_listener {
    int fd, epoll_fd, wake_fd;
    grpc_server *server;
    grpc_server_credentials *credentials;
    unsigned max_connections;
    void (*changed)(void *arg);
    void *arg;
    pthread_t thread;
    bool running;

    /* the thread's own */
    enum state state;
    bool paused; /* the socket is not looked at: too many connections, or no descriptors */
    uint64_t resume_ns, close_ns;

    pthread_mutex_t lock; /* of what follows */
    enum state wanted;    /* WAITING, ACCEPTING or DRAINED */
    bool ending, drained;
    struct connections connections; /* in the order of their coming */
    unsigned count;
};

static void watch_socket(struct rpc_listener *listener, bool watch)
{
    struct epoll_event event = {.events = watch ? EPOLLIN : 0, .data.ptr = &listener->fd};

    epoll_ctl(listener->epoll_fd, EPOLL_CTL_MOD, listener->fd, &event);
    listener->paused = !watch;
    listener->resume_ns = 0;
}

static int add_connection(struct rpc_listener *listener, int fd)
{
    struct connection *connection = malloc(sizeof(*connection));
    struct epoll_event event = {.events = 0, .data.ptr = connection}; /* a hang-up is always told */

    if (connection == NULL)
        return -ENOMEM;
    *connection = (struct connection){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .accepted_ns = clock_monotonic_ns()};
    if (connection->fd < 0 || epoll_ctl(listener->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        int err = -errno;

        if (connection->fd >= 0)
            close(connection->fd);
        free(connection);
        return err;
    }
    pthread_mutex_lock(&listener->lock);
    TAILQ_INSERT_TAIL(&listener->connections, connection, link);
    listener->count++;
    pthread_mutex_unlock(&listener->lock);
    return 0;
}

/* 0, -EAGAIN when there is none, or why none can be taken. */
static int accept_one(struct rpc_listener *listener)
{
    int on = 1, timeout_ms = USER_TIMEOUT_MS, fd, err;

    fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR || errno == EPROTO ? 0 : -errno;
    net_listen_accepted(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    err = add_connection(listener, fd);
    if (err != 0)
        close(fd);
    else
        grpc_server_add_channel_from_fd(listener->server, fd, listener->credentials);
    return err;
}

static void accept_some(struct rpc_listener *listener)
{
    int err = 0;

    for (int i = 0; i < EVENTS && err == 0; i++) {
        if (rpc_listener_connections(listener) >= listener->max_connections) {
            watch_socket(listener, false);
            return;
        }
        err = accept_one(listener);
    }
    if (err != 0 && err != -EAGAIN) {
        watch_socket(listener, false);
        listener->resume_ns = clock_monotonic_ns() + RETRY_NS;
    }
}

static void connection_ended(struct rpc_listener *listener, struct connection *connection)
{
    epoll_ctl(listener->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    close(connection->fd);
    pthread_mutex_lock(&listener->lock);
    TAILQ_REMOVE(&listener->connections, connection, link);
    listener->count--;
    pthread_mutex_unlock(&listener->lock);
    free(connection);
    if (listener->paused)
        watch_socket(listener, true);
    listener->changed(listener->arg);
}

/* Everything that has reached the backlog is taken, whatever the bound: it is small, and closing would reset it. */
static void close_socket(struct rpc_listener *listener)
{
    while (accept_one(listener) == 0)
        ;
    close(listener->fd);
    listener->fd = -1;
    listener->paused = false;
    listener->state = DRAINED;
    pthread_mutex_lock(&listener->lock);
    listener->drained = true;
    pthread_mutex_unlock(&listener->lock);
    listener->changed(listener->arg);
}

/* Goes on towards the state that is wanted; returns when there is more to do (monotonic ns). */
static uint64_t turn(struct rpc_listener *listener, enum state wanted)
{
    uint64_t now = clock_monotonic_ns();

    if (wanted == ACCEPTING && listener->state == WAITING) {
        listener->state = ACCEPTING;
        watch_socket(listener, true);
    }
    if (wanted == DRAINED && listener->state < DRAINING) {
        listener->state = DRAINING;
        listener->close_ns = now + SETTLE_NS;
        net_listen_stop(listener->fd);
    }
    if (listener->state == DRAINING) {
        if (now < listener->close_ns)
            return listener->close_ns;
        close_socket(listener);
    }
    if (listener->paused && listener->resume_ns != 0) {
        if (now < listener->resume_ns)
            return listener->resume_ns;
        watch_socket(listener, true);
    }
    return UINT64_MAX;
}

static int timeout_ms(uint64_t due_ns)
{
    uint64_t now = clock_monotonic_ns();

    if (due_ns == UINT64_MAX)
        return -1;
    return due_ns > now ? (int)((due_ns - now) / CLOCK_NS_PER_MS + 1) : 0;
}

static void *listener_run(void *arg)
{
    struct rpc_listener *listener = arg;
    struct epoll_event events[EVENTS];
    enum state wanted;
    bool ending;

    for (;;) {
        int count;

        pthread_mutex_lock(&listener->lock);
        wanted = listener->wanted;
        ending = listener->ending;
        pthread_mutex_unlock(&listener->lock);
        if (ending)
            return NULL;
        count = epoll_wait(listener->epoll_fd, events, EVENTS, timeout_ms(turn(listener, wanted)));
        for (int i = 0; i < count; i++) {
            uint64_t wakes;

            if (events[i].data.ptr == &listener->fd)
                accept_some(listener);
            else if (events[i].data.ptr != &listener->wake_fd)
                connection_ended(listener, events[i].data.ptr);
            else if (read(listener->wake_fd, &wakes, sizeof(wakes)) < 0)
                continue;
        }
    }
}

static void want(struct rpc_listener *listener, enum state state)
{
    pthread_mutex_lock(&listener->lock);
    if (listener->wanted < state)
        listener->wanted = state;
    pthread_mutex_unlock(&listener->lock);
    eventfd_write(listener->wake_fd, 1);
}

static int watch(struct rpc_listener *listener, int *fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = fd};

    return epoll_ctl(listener->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0 ? 0 : -errno;
}

int rpc_listener_open(int take_fd, grpc_server *server, unsigned max_connections, void (*changed)(void *arg), void *arg,
                      struct rpc_listener **ret_listener)
{
    struct rpc_listener *listener = calloc(1, sizeof(*listener));
    int err;

    if (listener == NULL) {
        close(take_fd);
        return -ENOMEM;
    }
    listener->fd = take_fd;
    listener->wake_fd = listener->epoll_fd = -1;
    listener->server = server;
    listener->max_connections = max_connections;
    listener->changed = changed;
    listener->arg = arg;
    TAILQ_INIT(&listener->connections);
    pthread_mutex_init(&listener->lock, NULL);
    listener->credentials = grpc_insecure_server_credentials_create();
    listener->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    listener->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener->wake_fd < 0 || listener->epoll_fd < 0)
        err = -errno;
    else
        err = watch(listener, &listener->wake_fd, EPOLLIN);
    if (err == 0)
        err = watch(listener, &listener->fd, 0);
    if (err == 0)
        err = thread_start(&listener->thread, "rpc-accept", listener_run, listener);
    listener->running = err == 0;
    if (err == 0)
        *ret_listener = listener;
    else
        rpc_listener_free(listener);
    return err;
}

void rpc_listener_start(struct rpc_listener *listener)
{
    want(listener, ACCEPTING);
}

void rpc_listener_drain(struct rpc_listener *listener)
{
    want(listener, DRAINED);
}

bool rpc_listener_drained(struct rpc_listener *listener, unsigned *ret_connections, uint64_t *ret_newest_ns)
{
    bool drained;

    pthread_mutex_lock(&listener->lock);
    drained = listener->drained;
    if (drained) {
        struct connection *newest = TAILQ_LAST(&listener->connections, connections);

        *ret_connections = listener->count;
        *ret_newest_ns = newest != NULL ? newest->accepted_ns : 0;
    }
    pthread_mutex_unlock(&listener->lock);
    return drained;
}

unsigned rpc_listener_connections(struct rpc_listener *listener)
{
    unsigned count;

    pthread_mutex_lock(&listener->lock);
    count = listener->count;
    pthread_mutex_unlock(&listener->lock);
    return count;
}

struct rpc_listener *rpc_listener_free(struct rpc_listener *listener)
{
    struct connection *connection;

    if (listener == NULL)
        return NULL;
    pthread_mutex_lock(&listener->lock);
    listener->ending = true;
    pthread_mutex_unlock(&listener->lock);
    if (listener->running) {
        eventfd_write(listener->wake_fd, 1);
        pthread_join(listener->thread, NULL);
    }
    while ((connection = TAILQ_FIRST(&listener->connections)) != NULL) {
        TAILQ_REMOVE(&listener->connections, connection, link);
        close(connection->fd);
        free(connection);
    }
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->epoll_fd >= 0)
        close(listener->epoll_fd);
    if (listener->wake_fd >= 0)
        close(listener->wake_fd);
    grpc_server_credentials_release(listener->credentials);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
    return NULL;
}
