/* acceptor -- accepts a listening socket's connections in the event loops of a server, and bounds their number.
 *
 * Every loop accepts. A connection goes to the loop that has the fewest, where that makes a difference, and counts from
 * its acceptance until acceptor_left.
 *
 * When max_connections are open, or the process has no file descriptor left, the listener is full: the connection that
 * has been idle for longest yields its place to the new one. A connection is idle while it
 * has no complete request to answer; one that has received part of a request yields later. If none is idle, the new
 * connection is closed at once. Both are counted (listener_idle_closed_total, listener_refused_total) and logged.
 *
 * The connections of one client address can be bounded, too: further ones are closed at once, counted
 * (listener_address_refused_total) and logged. How many an address has is counted for each acceptor.
 *
 * Threads: acceptor_open, _start, _drain, _stop, _wait and _free are called from a thread that is not one of the loops;
 * _connections, _is_draining and _is_crowded from any. What takes an acceptor_place runs in the loop of the connection,
 * as do open, has_begun and yield; is_paused and drained run in the loop that accepts.
 */
#pragma once
#include "names.h"
#include "net_networks.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct acceptor;
struct acceptor_loop;
struct log;
struct loop;
struct metrics;
struct net_peer;
struct sockaddr_storage;

/* File descriptors of an acceptor beyond max_connections: of connections that yield and are not closed yet. */
#define ACCEPTOR_SPARE 8

/* A connection's place: embed it, zeroed. */
struct acceptor_place { /* private */
    TAILQ_ENTRY(acceptor_place) link;
    struct acceptor_loop *loop;
    enum { ACCEPTOR_OUTSIDE, ACCEPTOR_BUSY, ACCEPTOR_IDLE, ACCEPTOR_BEGUN, ACCEPTOR_YIELDED } state;
    int fd;
    struct net_peer *peer; /* by which it is counted; NULL: its address is not bounded */
    uint64_t since_ms;     /* while idle: since when, by the loop's clock */
};

/* Of one client: an IPv4 address, or the first 64 bits of an IPv6 address. */
struct acceptor_address_bound {
    unsigned max_connections;    /* 0: no bound */
    struct net_networks trusted; /* proxies: an address of theirs stands for many clients, and has no bound */
};
/* Whether the address is a trusted proxy's. bound may be NULL. */
bool acceptor_is_proxy(const struct acceptor_address_bound *bound, const struct sockaddr_storage *address);

struct acceptor_def {
    const char *server;                                 /* label of the metrics, field of the log line */
    struct log *log;                                    /* may be NULL */
    struct metrics *metrics;                            /* may be NULL */
    struct loop *const *loops;                          /* copied; the loops outlive the acceptor */
    unsigned loop_count;                                /* >= 1 */
    unsigned max_connections;                           /* >= 1 */
    const struct acceptor_address_bound *address_bound; /* outlives the acceptor; may be NULL: no bound */
    void *arg;                                          /* of the callbacks */
    /* Takes a connected socket (non-blocking, TCP_NODELAY) and gives it to acceptor_join. False: it has closed the
     * socket, and there is no connection. */
    bool (*open)(void *arg, unsigned loop, int take_fd, const struct sockaddr_storage *peer);
    /* Whether a part of a request has come on an idle connection, beyond what the socket still holds; may be NULL. */
    bool (*has_begun)(void *arg, struct acceptor_place *place);
    /* Begins to close an idle connection, which ends within a turn of the loop; does not call acceptor_left itself. */
    void (*yield)(void *arg, struct acceptor_place *place);
    bool (*is_paused)(void *arg);              /* nothing is accepted while it is true; may be NULL */
    void (*drained)(void *arg, unsigned loop); /* the loop accepts no more, after acceptor_drain */
};

/* Takes a listening socket: closes it in the end, also on failure. 0 or -errno. */
int acceptor_open(int take_listen_fd, const struct acceptor_def *def, struct acceptor **ret_acceptor);
void acceptor_start(struct acceptor *acceptor);
/* Stops accepting without losing a connection that is in the backlog. Does not wait. A second call does nothing. */
void acceptor_drain(struct acceptor *acceptor);
bool acceptor_is_draining(const struct acceptor *acceptor);
/* Stops accepting at once. When it returns, each connection is in its loop, or a message on its way there: it is opened
 * before any message that is posted from now on. */
void acceptor_stop(struct acceptor *acceptor);
/* Waits until all connections have left and nothing is accepted any more; false where that is not so at deadline_ns
 * (monotonic). */
bool acceptor_wait(struct acceptor *acceptor, uint64_t deadline_ns);
/* After acceptor_stop, and when all connections have left. NULL is accepted. Returns NULL. */
struct acceptor *acceptor_free(struct acceptor *acceptor);
/* How many there are: at most max_connections, except in a drain, which accepts the whole backlog. */
unsigned acceptor_connections(const struct acceptor *acceptor);

/* Whether busy connections take more than three quarters of max_connections. A request that makes one more connection
 * busy is to be refused then: connections that are not busy yield, so that new ones are heard. Any thread. */
bool acceptor_is_crowded(const struct acceptor *acceptor);

/* To be called by the callback open. The connection is idle from then on. */
void acceptor_join(struct acceptor *acceptor, unsigned loop, struct acceptor_place *place, int fd);
void acceptor_busy(struct acceptor_place *place); /* it has a request to be answered; again: nothing */
void acceptor_idle(struct acceptor_place *place); /* its last request has ended; again: nothing */
void acceptor_left(struct acceptor_place *place); /* the connection is closed; may be freed */
