/* The acceptor: see acceptor.h.
 *
 * STATES of a loop's listener
 *
 *   accepting <--> paused      out of file descriptors or memory, is_paused, or ACCEPTOR_SPARE connections that yield
 *       |                      have not closed yet. Connections wait in the kernel's backlog. Again after RETRY_MS, or
 *       |                      when a connection of this loop leaves.
 *       v acceptor_drain
 *   draining                   new SYNs are dropped; HANDSHAKES_MS for handshakes that have begun, then the backlog is
 *       |                      accepted: a client may have sent its request already, and a close would reset it.
 *       v                      Out of descriptors it tries again, DRAIN_TRIES times.
 *   closed                     also by acceptor_stop, from any state
 *
 * STATES of a place
 *
 *   OUTSIDE -- acceptor_join --> IDLE <--> BUSY          one of acceptor->connections
 *                                 |         ^
 *                                 v is seen | acceptor_busy
 *                               BEGUN ------+            the same: a part of a request has come, as was seen when a
 *                                 |                      place was needed
 *                                 v yields, as IDLE does
 *                              YIELDED                   one of acceptor->spare: its place is another's
 *   any of the last four -- acceptor_left --> OUTSIDE
 *
 * WHO YIELDS
 *
 * Each loop keeps its idle places in the order of since_ms, and publishes the first one's in idle_since_ms, so that the
 * loop that accepts finds the loop whose connection has been idle for longest without a lock. The new connection goes
 * there, and takes the place of the first one that is really idle. One whose socket has bytes that were not read, or of
 * which the server says that a request has begun, is BEGUN from then on: others yield before it that have been idle, or
 * BEGUN, for longer. So a request that is on its way has time to come, and clients that send their requests slowly keep
 * nobody out. After LOOKS at idle places the first of them yields nevertheless. Another loop may have taken the
 * connection meanwhile: then the next one of the loop yields.
 *
 * Connections whose requests are being answered do not yield. So that they do not take all places, the server asks
 * acceptor_is_crowded before a connection becomes one of them, and refuses the request.
 *
 * FILE DESCRIPTORS
 *
 * accept(2) fails with EMFILE without taking the connection from the backlog, and the listener stays readable.
 * reserve_fd is a descriptor that is closed for a moment, so that the connection can be accepted, and either closed or
 * given the place of another. One for all loops: whoever takes it leaves -1.
 *
 * THREADS
 *
 * A struct acceptor_loop belongs to its loop's thread but for its atomic members. The only lock is that of peers.c,
 * where the connections of an address are bounded.
 */
#include "acceptor.h"
#include "clock.h"
#include "h2o_compat.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "net_listen.h"
#include "peers.h"
#include "seldom.h"
#include "wait_group.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 16 /* then the connections' turn */
#define RETRY_MS       10
#define HANDSHAKES_MS  20 /* for those that have begun to end, once new ones are dropped */
#define DRAIN_TRIES    50
#define LOOKS          64
#define CROWDED_PART   4 /* of max_connections: are not all busy */
#define WARN_NS        (10 * CLOCK_NS_PER_S)
#define CACHE_LINE     64

static_assert(ACCEPTOR_SPARE <= ACCEPTS_A_TURN,
              "a full listener pauses within a turn, so that those that yield can end");

TAILQ_HEAD(places, acceptor_place);

struct acceptor_loop {
    _Alignas(CACHE_LINE) struct acceptor *acceptor;
    struct loop *loop;
    unsigned index;
    int listen_fd;          /* the listening socket, or a copy of its descriptor; -1 once closed */
    h2o_socket_t *listener; /* owns listen_fd from the start on */
    bool paused;
    unsigned drain_tries;
    struct net_peer *arriving; /* of the connection that is being opened */
    struct loop_timer retry_timer, drain_timer;
    struct loop_message drain_message;
    struct places idle, begun; /* the one that has been so for longest is the first */
    atomic_uint connections, busy;
    _Atomic uint64_t idle_since_ms; /* of the first of both; UINT64_MAX: there is none */
};

struct acceptor {
    struct acceptor_def def;
    struct acceptor_loop *loops;
    atomic_uint connections, spare;
    atomic_int reserve_fd; /* -1: in use, or could not be opened */
    atomic_bool draining;
    struct net_peers *peers;  /* NULL: addresses have no bound */
    struct wait_group active; /* connections and listeners */
    struct metrics_series *idle_closed_total, *refused_total, *address_refused_total;
    atomic_uint_fast64_t idle_closed, refused, address_refused;
    _Atomic uint64_t warn_ns, address_warn_ns; /* no line in the log before that */
};

#define OWNER(pointer_, member_) H2O_STRUCT_FROM_MEMBER(struct acceptor_loop, member_, pointer_)

/* ---- places ---- */

static uint64_t since_ms(const struct acceptor_place *place)
{
    return place != NULL ? place->since_ms : UINT64_MAX;
}

/* The one that is to yield first; NULL: there is none. */
static struct acceptor_place *first_to_yield(const struct acceptor_loop *loop)
{
    struct acceptor_place *idle = TAILQ_FIRST(&loop->idle), *begun = TAILQ_FIRST(&loop->begun);

    return since_ms(begun) <= since_ms(idle) ? begun : idle;
}

static void publish_idle(struct acceptor_loop *loop)
{
    atomic_store_explicit(&loop->idle_since_ms, since_ms(first_to_yield(loop)), memory_order_relaxed);
}

static struct places *list_of(const struct acceptor_place *place)
{
    return place->state == ACCEPTOR_BEGUN ? &place->loop->begun : &place->loop->idle;
}

static void append(struct acceptor_place *place, int state)
{
    struct acceptor_loop *loop = place->loop;

    assert(state == ACCEPTOR_IDLE || state == ACCEPTOR_BEGUN);
    place->state = state;
    place->since_ms = h2o_now(loop_h2o(loop->loop));
    TAILQ_INSERT_TAIL(list_of(place), place, link);
    if (first_to_yield(loop) == place)
        publish_idle(loop);
}

static bool may_yield(const struct acceptor_place *place)
{
    return place->state == ACCEPTOR_IDLE || place->state == ACCEPTOR_BEGUN;
}

static void remove_place(struct acceptor_place *place)
{
    struct acceptor_loop *loop = place->loop;
    bool was_first = first_to_yield(loop) == place;

    assert(may_yield(place));
    TAILQ_REMOVE(list_of(place), place, link);
    if (was_first)
        publish_idle(loop);
}

void acceptor_join(struct acceptor *acceptor, unsigned loop, struct acceptor_place *place, int fd)
{
    assert(place->state == ACCEPTOR_OUTSIDE && loop < acceptor->def.loop_count);
    assert(loop_is_current(acceptor->loops[loop].loop));
    place->loop = &acceptor->loops[loop];
    place->fd = fd;
    place->peer = place->loop->arriving;
    append(place, ACCEPTOR_IDLE);
}

/* Written by the loop alone. */
static void count_busy(struct acceptor_loop *loop, unsigned more)
{
    atomic_store_explicit(&loop->busy, atomic_load_explicit(&loop->busy, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

void acceptor_busy(struct acceptor_place *place)
{
    assert(place->state != ACCEPTOR_OUTSIDE);
    if (!may_yield(place))
        return;
    remove_place(place);
    place->state = ACCEPTOR_BUSY;
    count_busy(place->loop, 1);
}

void acceptor_idle(struct acceptor_place *place)
{
    assert(place->state != ACCEPTOR_OUTSIDE);
    if (place->state != ACCEPTOR_BUSY)
        return;
    count_busy(place->loop, -1u);
    append(place, ACCEPTOR_IDLE);
}

bool acceptor_is_crowded(const struct acceptor *acceptor)
{
    unsigned busy = 0, most = acceptor->def.max_connections - acceptor->def.max_connections / CROWDED_PART;

    if (acceptor_connections(acceptor) < most)
        return false;
    for (unsigned i = 0; i < acceptor->def.loop_count; i++)
        busy += atomic_load_explicit(&acceptor->loops[i].busy, memory_order_relaxed);
    return busy > most;
}

static void count_in(struct acceptor_loop *loop)
{
    atomic_fetch_add_explicit(&loop->connections, 1, memory_order_relaxed);
    wait_group_add(&loop->acceptor->active);
}

/* of: the acceptor's connections or spare. */
static void count_out(struct acceptor_loop *loop, atomic_uint *of)
{
    unsigned before = atomic_fetch_sub_explicit(of, 1, memory_order_relaxed);

    assert(before > 0);
    atomic_fetch_sub_explicit(&loop->connections, 1, memory_order_relaxed);
    wait_group_done(&loop->acceptor->active);
}

static void resume_accepting(struct acceptor_loop *loop);

void acceptor_left(struct acceptor_place *place)
{
    struct acceptor_loop *loop = place->loop;
    struct acceptor *acceptor = loop->acceptor;
    bool yielded = place->state == ACCEPTOR_YIELDED;

    assert(place->state != ACCEPTOR_OUTSIDE && loop_is_current(loop->loop));
    if (may_yield(place))
        remove_place(place);
    if (place->state == ACCEPTOR_BUSY)
        count_busy(loop, -1u);
    place->state = ACCEPTOR_OUTSIDE;
    net_peers_leave(acceptor->peers, place->peer);
    resume_accepting(loop);
    count_out(loop, yielded ? &acceptor->spare : &acceptor->connections);
}

/* False: the listener is full. The drain takes all. */
static bool take_place(struct acceptor *acceptor)
{
    unsigned now = atomic_load_explicit(&acceptor->connections, memory_order_relaxed);

    do
        if (now >= acceptor->def.max_connections && !acceptor_is_draining(acceptor))
            return false;
    while (!atomic_compare_exchange_weak_explicit(&acceptor->connections, &now, now + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

/* ---- a full listener ---- */

static void write_warning(struct acceptor *acceptor)
{
    const struct log_field fields[] = {
        LOG_CSTR("server", acceptor->def.server), LOG_INT("connections", acceptor_connections(acceptor)),
        LOG_INT("max_connections", acceptor->def.max_connections),
        LOG_INT("idle_closed", (int64_t)acceptor->idle_closed), LOG_INT("refused", (int64_t)acceptor->refused)};

    log_fields(
        acceptor->def.log, LOG_WARNING, NULL,
        "the listener is full: a new connection takes the place of the one that has been idle for longest, or is "
        "refused",
        fields, sizeof(fields) / sizeof(fields[0]));
}

static void warn(struct acceptor *acceptor)
{
    if (seldom(&acceptor->warn_ns, WARN_NS))
        write_warning(acceptor);
}

static void warn_of_address(struct acceptor *acceptor, const struct sockaddr_storage *peer)
{
    char ip[NET_IP_SIZE];

    if (!seldom(&acceptor->address_warn_ns, WARN_NS))
        return;
    net_ip_text(peer, ip);
    log_fields(
        acceptor->def.log, LOG_WARNING, NULL,
        "a client address has as many connections as it may have: more are refused",
        (const struct log_field[]){LOG_CSTR("server", acceptor->def.server), LOG_CSTR("remote_ip", ip),
                                   LOG_INT("max_connections_per_address", acceptor->def.address_bound->max_connections),
                                   LOG_INT("refused", (int64_t)acceptor->address_refused)},
        4);
}

static bool has_unread_bytes(int fd)
{
    int bytes = 0;

    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static bool has_begun(struct acceptor_place *place)
{
    const struct acceptor_def *def = &place->loop->acceptor->def;

    return has_unread_bytes(place->fd) || (def->has_begun != NULL && def->has_begun(def->arg, place));
}

static void yield(struct acceptor_place *place)
{
    struct acceptor *acceptor = place->loop->acceptor;

    remove_place(place);
    place->state = ACCEPTOR_YIELDED;
    acceptor->def.yield(acceptor->def.arg, place);
    atomic_fetch_add_explicit(&acceptor->idle_closed, 1, memory_order_relaxed);
    metrics_add(acceptor->idle_closed_total, 1);
    warn(acceptor);
}

/* Has a connection yield its place. False: all are busy. */
static bool make_place(struct acceptor_loop *loop)
{
    struct acceptor_place *place;

    for (int i = 0; i < LOOKS; i++) {
        if ((place = first_to_yield(loop)) == NULL)
            return false;
        if (place->state == ACCEPTOR_BEGUN || !has_begun(place)) {
            yield(place);
            return true;
        }
        remove_place(place);
        append(place, ACCEPTOR_BEGUN);
    }
    yield(TAILQ_FIRST(&loop->begun));
    return true;
}

/* ---- from a loop to another ---- */

struct arrival {
    struct loop_message message;
    struct acceptor_loop *loop;
    int fd;
    bool full; /* it needs the place of another; until it has one, it is one of spare */
    struct sockaddr_storage address;
    struct net_peer *peer; /* as in acceptor_place */
};

static void refuse(struct acceptor *acceptor, const struct arrival *arrival)
{
    atomic_fetch_add_explicit(&acceptor->refused, 1, memory_order_relaxed);
    metrics_add(acceptor->refused_total, 1);
    warn(acceptor);
    net_peers_leave(acceptor->peers, arrival->peer);
    close(arrival->fd); /* last: its client finds it counted */
}

static bool open_connection(const struct arrival *arrival)
{
    struct acceptor_loop *loop = arrival->loop;
    struct acceptor *acceptor = loop->acceptor;
    bool opened;

    loop->arriving = arrival->peer; /* for acceptor_join */
    opened = acceptor->def.open(acceptor->def.arg, loop->index, arrival->fd, &arrival->address);
    loop->arriving = NULL;
    if (!opened)
        net_peers_leave(acceptor->peers, arrival->peer);
    return opened;
}

static void arrive(const struct arrival *arrival)
{
    struct acceptor_loop *loop = arrival->loop;
    struct acceptor *acceptor = loop->acceptor;

    if (arrival->full && !make_place(loop)) {
        refuse(acceptor, arrival);
        count_out(loop, &acceptor->spare);
    } else if (!open_connection(arrival)) {
        count_out(loop, &acceptor->connections);
    }
}

static void on_arrival(struct loop_message *message)
{
    struct arrival *arrival = H2O_STRUCT_FROM_MEMBER(struct arrival, message, message);

    arrive(arrival);
    free(arrival);
}

static void give(struct acceptor_loop *from, const struct arrival *arrival)
{
    struct acceptor *acceptor = from->acceptor;
    struct arrival *sent;

    count_in(arrival->loop);
    if (arrival->loop == from) {
        arrive(arrival);
    } else if ((sent = malloc(sizeof(*sent))) != NULL) {
        *sent = *arrival;
        sent->message.run = on_arrival;
        loop_post(arrival->loop->loop, &sent->message);
    } else {
        refuse(acceptor, arrival);
        count_out(arrival->loop, arrival->full ? &acceptor->spare : &acceptor->connections);
    }
}

static unsigned connections_of(struct acceptor_loop *loop)
{
    return atomic_load_explicit(&loop->connections, memory_order_relaxed);
}

/* Clients keep few connections for long: chance would load one core alone. Of many it does not matter which loop has an
 * eighth more, and handing over costs. In a drain the other loop may have heard already that it is to end. */
static struct acceptor_loop *emptiest(struct acceptor_loop *own)
{
    struct acceptor *acceptor = own->acceptor;
    struct acceptor_loop *least = own;

    for (unsigned i = 0; i < acceptor->def.loop_count && !acceptor_is_draining(acceptor); i++)
        if (connections_of(&acceptor->loops[i]) < connections_of(least))
            least = &acceptor->loops[i];
    return connections_of(own) > connections_of(least) + connections_of(least) / 8 ? least : own;
}

/* NULL: no connection is idle. */
static struct acceptor_loop *longest_idle(struct acceptor_loop *own)
{
    struct acceptor *acceptor = own->acceptor;
    struct acceptor_loop *found = own;
    uint64_t since_ms = atomic_load_explicit(&own->idle_since_ms, memory_order_relaxed), other_ms;

    /* In a drain the other loop may have heard already that it is to end. */
    for (unsigned i = 0; i < acceptor->def.loop_count && !acceptor_is_draining(acceptor); i++)
        if ((other_ms = atomic_load_explicit(&acceptor->loops[i].idle_since_ms, memory_order_relaxed)) < since_ms) {
            found = &acceptor->loops[i];
            since_ms = other_ms;
        }
    return since_ms != UINT64_MAX ? found : NULL;
}

static void admit_when_full(struct acceptor_loop *loop, struct arrival *arrival)
{
    if ((arrival->loop = longest_idle(loop)) == NULL) {
        refuse(loop->acceptor, arrival);
        return;
    }
    arrival->full = true;
    atomic_fetch_add_explicit(&loop->acceptor->spare, 1, memory_order_relaxed);
    give(loop, arrival);
}

static void refuse_address(struct acceptor *acceptor, const struct arrival *arrival)
{
    atomic_fetch_add_explicit(&acceptor->address_refused, 1, memory_order_relaxed);
    metrics_add(acceptor->address_refused_total, 1);
    warn_of_address(acceptor, &arrival->address);
    close(arrival->fd); /* last: its client finds it counted */
}

static bool is_over_address_bound(struct acceptor *acceptor, struct arrival *arrival)
{
    return acceptor->peers != NULL && !net_peers_join(acceptor->peers, &arrival->address, &arrival->peer);
}

/* Takes the socket. */
static void admit(struct acceptor_loop *loop, struct arrival *arrival, bool has_descriptors)
{
    if (is_over_address_bound(loop->acceptor, arrival)) {
        refuse_address(loop->acceptor, arrival);
    } else if (has_descriptors && take_place(loop->acceptor)) {
        arrival->loop = emptiest(loop);
        give(loop, arrival);
    } else {
        admit_when_full(loop, arrival);
    }
}

/* ---- accepting ---- */

/* -1 with errno. */
static int accept_socket(struct acceptor_loop *loop, struct sockaddr_storage *ret_peer)
{
    socklen_t len = sizeof(*ret_peer);
    int fd = accept4(loop->listen_fd, (struct sockaddr *)ret_peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (acceptor_is_draining(loop->acceptor))
        net_listen_accepted(fd);
    return fd;
}

static void restore_reserve(struct acceptor *acceptor)
{
    int fd, none = -1;

    if (atomic_load(&acceptor->reserve_fd) >= 0 || (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        return;
    if (!atomic_compare_exchange_strong(&acceptor->reserve_fd, &none, fd))
        close(fd);
}

/* Of accept(2): 0 where a connection was gone before it was accepted. */
static int accept_error(void)
{
    return errno == ECONNABORTED || errno == EPROTO || errno == EINTR ? 0 : -errno;
}

/* Accepts one by means of the reserve. As accept_one. */
static int accept_without_descriptor(struct acceptor_loop *loop)
{
    struct arrival arrival = {0};
    int fd = atomic_exchange(&loop->acceptor->reserve_fd, -1), result = 0;

    if (fd < 0)
        return -EMFILE;
    close(fd);
    if ((arrival.fd = accept_socket(loop, &arrival.address)) >= 0)
        admit(loop, &arrival, false);
    else
        result = accept_error();
    restore_reserve(loop->acceptor);
    return result;
}

/* 0, also where a connection was gone before it was accepted; -EAGAIN: there is none; or another errno: pause. */
static int accept_one(struct acceptor_loop *loop)
{
    struct arrival arrival = {0};

    arrival.fd = accept_socket(loop, &arrival.address);
    if (arrival.fd < 0 && (errno == EMFILE || errno == ENFILE)) /* also where there is no connection */
        return accept_without_descriptor(loop);
    if (arrival.fd < 0)
        return accept_error();
    admit(loop, &arrival, true);
    return 0;
}

static bool must_wait(const struct acceptor *acceptor)
{
    return atomic_load_explicit(&acceptor->spare, memory_order_relaxed) >= ACCEPTOR_SPARE ||
           (acceptor->def.is_paused != NULL && acceptor->def.is_paused(acceptor->def.arg));
}

static void on_connection(h2o_socket_t *listener, const char *err);

static void resume_accepting(struct acceptor_loop *loop)
{
    if (!loop->paused)
        return;
    loop->paused = false;
    loop_timer_stop(loop->loop, &loop->retry_timer);
    restore_reserve(loop->acceptor);
    h2o_socket_read_start(loop->listener, on_connection);
}

static void on_retry(struct loop_timer *timer)
{
    resume_accepting(OWNER(timer, retry_timer));
}

/* A listener that stays readable would keep the loop from sleeping. */
static void pause_accepting(struct acceptor_loop *loop)
{
    if (loop_timer_start(loop->loop, &loop->retry_timer, RETRY_MS, on_retry) < 0)
        return;
    loop->paused = true;
    h2o_socket_read_stop(loop->listener);
}

static void on_connection(h2o_socket_t *listener, const char *err)
{
    struct acceptor_loop *loop = listener->data;
    int result = 0;

    for (int i = 0; i < ACCEPTS_A_TURN && result == 0; i++)
        result = must_wait(loop->acceptor) ? -EBUSY : accept_one(loop);
    if (result != 0 && result != -EAGAIN)
        pause_accepting(loop);
}

static void start_accepting(void *arg)
{
    struct acceptor_loop *loop = arg;

    assert(loop->listener == NULL && loop->listen_fd >= 0);
    loop->listener = h2o_evloop_socket_create(loop_h2o(loop->loop), loop->listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->listener->data = loop;
    h2o_socket_read_start(loop->listener, on_connection);
}

void acceptor_start(struct acceptor *acceptor)
{
    for (unsigned i = 0; i < acceptor->def.loop_count; i++)
        loop_call(acceptor->loops[i].loop, start_accepting, &acceptor->loops[i]);
}

/* ---- the end ---- */

static void close_listener(struct acceptor_loop *loop)
{
    if (loop->listen_fd < 0)
        return;
    loop_timer_stop(loop->loop, &loop->retry_timer);
    loop_timer_stop(loop->loop, &loop->drain_timer);
    loop->paused = false;
    if (loop->listener != NULL)
        h2o_socket_close(loop->listener);
    else
        close(loop->listen_fd);
    loop->listener = NULL;
    loop->listen_fd = -1;
    wait_group_done(&loop->acceptor->active);
}

static void finish_drain(struct loop_timer *timer)
{
    struct acceptor_loop *loop = OWNER(timer, drain_timer);
    const struct acceptor_def *def = &loop->acceptor->def;
    int result = loop->listener != NULL ? 0 : -EAGAIN;

    while (result == 0)
        result = accept_one(loop);
    restore_reserve(loop->acceptor);
    if (result != -EAGAIN && ++loop->drain_tries < DRAIN_TRIES &&
        loop_timer_start(loop->loop, timer, RETRY_MS, finish_drain) == 0)
        return;
    close_listener(loop); /* acceptor_free comes after acceptor_stop, which waits for this loop's turn */
    def->drained(def->arg, loop->index);
}

static void begin_drain(struct loop_message *message)
{
    struct acceptor_loop *loop = OWNER(message, drain_message);

    if (loop->listen_fd >= 0 && loop_timer_start(loop->loop, &loop->drain_timer, HANDSHAKES_MS, finish_drain) < 0)
        finish_drain(&loop->drain_timer);
}

void acceptor_drain(struct acceptor *acceptor)
{
    if (atomic_exchange(&acceptor->draining, true))
        return;
    net_listen_stop(acceptor->loops[0].listen_fd); /* one socket, whichever descriptor it is called by */
    for (unsigned i = 0; i < acceptor->def.loop_count; i++) {
        acceptor->loops[i].drain_message.run = begin_drain;
        loop_post(acceptor->loops[i].loop, &acceptor->loops[i].drain_message);
    }
}

bool acceptor_is_draining(const struct acceptor *acceptor)
{
    return atomic_load_explicit(&acceptor->draining, memory_order_relaxed);
}

static void stop_accepting(void *arg)
{
    close_listener(arg);
}

void acceptor_stop(struct acceptor *acceptor)
{
    for (unsigned i = 0; i < acceptor->def.loop_count; i++)
        loop_call(acceptor->loops[i].loop, stop_accepting, &acceptor->loops[i]);
}

bool acceptor_wait(struct acceptor *acceptor, uint64_t deadline_ns)
{
    return wait_group_wait(&acceptor->active, deadline_ns);
}

unsigned acceptor_connections(const struct acceptor *acceptor)
{
    return atomic_load_explicit(&acceptor->connections, memory_order_relaxed);
}

/* ---- the acceptor ---- */

static struct metrics_series *series(const struct acceptor_def *def, const struct metrics_def *metric)
{
    return metrics_series(metrics_family(def->metrics, metric), (const struct str[]){str_of(def->server)});
}

static void open_metrics(struct acceptor *acceptor)
{
    static const struct metrics_def idle_closed = {
        .name = "listener_idle_closed_total",
        .help = "Connections without a whole request closed for new ones: the listener was full.",
        .type = METRICS_COUNTER,
        .labels = {"server"}};
    static const struct metrics_def refused = {
        .name = "listener_refused_total",
        .help = "New connections closed at once: the listener was full, and all others were busy.",
        .type = METRICS_COUNTER,
        .labels = {"server"}};

    static const struct metrics_def address_refused = {
        .name = "listener_address_refused_total",
        .help = "New connections closed at once: their client's address has as many as it may have.",
        .type = METRICS_COUNTER,
        .labels = {"server"}};

    if (acceptor->def.metrics == NULL)
        return;
    acceptor->idle_closed_total = series(&acceptor->def, &idle_closed);
    acceptor->refused_total = series(&acceptor->def, &refused);
    acceptor->address_refused_total = series(&acceptor->def, &address_refused);
}

static void init_loop(struct acceptor *acceptor, unsigned index)
{
    struct acceptor_loop *loop = &acceptor->loops[index];

    *loop = (struct acceptor_loop){.acceptor = acceptor,
                                   .loop = acceptor->def.loops[index],
                                   .index = index,
                                   .listen_fd = -1,
                                   .idle_since_ms = UINT64_MAX};
    TAILQ_INIT(&loop->idle);
    TAILQ_INIT(&loop->begun);
}

/* The first loop has the socket itself, each of the others a copy of the descriptor: h2o closes what it is given. */
static int share_socket(struct acceptor *acceptor, int take_listen_fd)
{
    int err = 0;

    acceptor->loops[0].listen_fd = take_listen_fd;
    for (unsigned i = 1; i < acceptor->def.loop_count && err == 0; i++)
        if ((acceptor->loops[i].listen_fd = fcntl(take_listen_fd, F_DUPFD_CLOEXEC, 0)) < 0)
            err = -errno;
    for (unsigned i = 0; i < acceptor->def.loop_count; i++)
        if (err == 0)
            wait_group_add(&acceptor->active);
        else if (acceptor->loops[i].listen_fd >= 0)
            close(acceptor->loops[i].listen_fd);
    return err;
}

static bool bounds_addresses(const struct acceptor_def *def)
{
    return def->address_bound != NULL && def->address_bound->max_connections > 0;
}

static struct acceptor *acceptor_new(const struct acceptor_def *def)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));

    if (acceptor == NULL)
        return NULL;
    acceptor->loops = aligned_alloc(CACHE_LINE, def->loop_count * sizeof(*acceptor->loops));
    if (bounds_addresses(def))
        acceptor->peers = net_peers_new(def->address_bound);
    if (acceptor->loops == NULL || (bounds_addresses(def) && acceptor->peers == NULL)) {
        net_peers_free(acceptor->peers);
        free(acceptor->loops);
        free(acceptor);
        return NULL;
    }
    acceptor->def = *def;
    acceptor->reserve_fd = -1;
    wait_group_init(&acceptor->active);
    for (unsigned i = 0; i < def->loop_count; i++)
        init_loop(acceptor, i);
    acceptor->def.loops = NULL;
    return acceptor;
}

int acceptor_open(int take_listen_fd, const struct acceptor_def *def, struct acceptor **ret_acceptor)
{
    struct acceptor *acceptor;
    int err;

    assert(def->loop_count > 0 && def->max_connections > 0);
    if ((acceptor = acceptor_new(def)) == NULL) {
        close(take_listen_fd);
        return -ENOMEM;
    }
    if ((err = share_socket(acceptor, take_listen_fd)) < 0) {
        acceptor_free(acceptor);
        return err;
    }
    restore_reserve(acceptor);
    open_metrics(acceptor);
    *ret_acceptor = acceptor;
    return 0;
}

struct acceptor *acceptor_free(struct acceptor *acceptor)
{
    if (acceptor == NULL)
        return NULL;
    assert(acceptor->connections == 0 && acceptor->spare == 0);
    if (acceptor->reserve_fd >= 0)
        close(acceptor->reserve_fd);
    wait_group_release(&acceptor->active);
    net_peers_free(acceptor->peers);
    free(acceptor->loops);
    free(acceptor);
    return NULL;
}
