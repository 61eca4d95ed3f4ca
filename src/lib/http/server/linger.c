/* Lingering close (RFC 9112, 9.6): a connection that is closed while its client still sends would be reset, and a reset
 * can make the client's kernel throw away the answer. So a second descriptor of the socket stays open when h2o closes
 * its own: its sending half is shut down, and what still comes is read and thrown away until the client closes, too.
 *
 * The same is done where the client has not taken all that the kernel has for it: closed, the connection would keep
 * that memory, and nobody could count it any more. It is counted as the server's until the client has taken it.
 *
 * Bounds: LINGER_MS and LINGER_BYTES of a connection, max_lingering connections of a worker (the oldest is closed
 * then). A client that has not taken all has LINGER_MS again, as long as it goes on to take, and STALLS times without;
 * then the connection is reset. Timer: one a worker, for the oldest: worker->lingering is in the order in which their
 * time ends. A lingering connection counts neither as one of the server's nor towards its drain. Loop's thread only. */
#include "http_internal.h"
#include "net_socket.h"
#include <fcntl.h>
#include <stdlib.h>

#define LINGER_MS    2000
#define LINGER_BYTES (16 << 20)
#define STALLS       5
#define MIN_OWED     (16 * 1024) /* bytes that are not worth a descriptor */

struct lingerer {
    h2o_linklist_t link;
    struct http_worker *worker;
    h2o_socket_t *socket;
    uint64_t end_ms;
    size_t thrown_away;
    size_t untaken; /* bytes, when it was last looked at */
    unsigned stalls;
    size_t charged; /* to the server's budget */
};

static struct lingerer *oldest(struct http_worker *worker)
{
    return H2O_STRUCT_FROM_MEMBER(struct lingerer, link, worker->lingering.next);
}

static size_t untaken(const struct lingerer *lingerer)
{
    size_t bytes = net_untaken(h2o_socket_get_fd(lingerer->socket));

    return bytes > 1 ? bytes : 0; /* the end of the stream may well be left to the kernel */
}

static void charge(struct lingerer *lingerer)
{
    struct budget *memory = &lingerer->worker->server->memory;

    budget_give(memory, lingerer->charged);
    lingerer->charged = net_kernel_bytes(h2o_socket_get_fd(lingerer->socket));
    budget_add(memory, lingerer->charged);
}

static void end(struct lingerer *lingerer)
{
    size_t left = untaken(lingerer);

    if (left > 0 && left >= lingerer->untaken)
        net_reset_at_close(h2o_socket_get_fd(lingerer->socket));
    budget_give(&lingerer->worker->server->memory, lingerer->charged);
    h2o_linklist_unlink(&lingerer->link);
    lingerer->worker->lingering_count--;
    h2o_socket_close(lingerer->socket);
    free(lingerer);
}

/* Also where its client goes on to take: left to the kernel, what it is owed would be counted by nobody. */
static void end_now(struct lingerer *lingerer)
{
    if (untaken(lingerer) > 0)
        net_reset_at_close(h2o_socket_get_fd(lingerer->socket));
    end(lingerer);
}

static void on_read(h2o_socket_t *socket, const char *err)
{
    struct lingerer *lingerer = socket->data;

    lingerer->thrown_away += socket->input->size;
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (err != NULL && untaken(lingerer) > 0)
        h2o_socket_read_stop(socket); /* the client has ended its side only */
    else if (err != NULL || lingerer->thrown_away > LINGER_BYTES)
        end(lingerer);
}

/* Whether it may stay for another LINGER_MS. */
static bool stays(struct lingerer *lingerer)
{
    size_t left = untaken(lingerer);

    lingerer->stalls = left < lingerer->untaken ? 0 : lingerer->stalls + 1;
    lingerer->untaken = left;
    return left > 0 && lingerer->stalls < STALLS;
}

static void look_at_oldest(struct http_worker *worker)
{
    struct lingerer *lingerer = oldest(worker);

    if (!stays(lingerer)) {
        end(lingerer);
        return;
    }
    charge(lingerer);
    lingerer->end_ms = h2o_now(worker->h2o.loop) + LINGER_MS;
    h2o_linklist_unlink(&lingerer->link);
    h2o_linklist_insert(&worker->lingering, &lingerer->link);
}

static void arm_timer(struct http_worker *worker);

static void on_timer(struct loop_timer *timer)
{
    struct http_worker *worker = H2O_STRUCT_FROM_MEMBER(struct http_worker, linger_timer, timer);

    while (worker->lingering_count > 0 && oldest(worker)->end_ms <= h2o_now(worker->h2o.loop))
        look_at_oldest(worker);
    if (worker->lingering_count > 0)
        arm_timer(worker);
}

static void arm_timer(struct http_worker *worker)
{
    uint64_t now_ms = h2o_now(worker->h2o.loop), end_ms = oldest(worker)->end_ms;
    uint64_t wait_ms = end_ms > now_ms ? end_ms - now_ms : 0;

    if (loop_timer_start(worker->loop, &worker->linger_timer, wait_ms < LINGER_MS ? wait_ms : LINGER_MS, on_timer) < 0)
        http_linger_end_all(worker); /* no memory for a timer */
}

static void begin(struct http_worker *worker, int take_fd)
{
    struct lingerer *lingerer = malloc(sizeof(*lingerer));

    if (lingerer == NULL) {
        close(take_fd);
        return;
    }
    if (worker->lingering_count == worker->server->def.max_lingering)
        end_now(oldest(worker));
    *lingerer = (struct lingerer){.worker = worker,
                                  .socket = h2o_evloop_socket_create(worker->h2o.loop, take_fd, 0),
                                  .end_ms = h2o_now(worker->h2o.loop) + LINGER_MS};
    lingerer->socket->data = lingerer;
    lingerer->untaken = untaken(lingerer);
    charge(lingerer);
    h2o_linklist_insert(&worker->lingering, &lingerer->link);
    worker->lingering_count++;
    h2o_socket_read_start(lingerer->socket, on_read);
    if (!loop_timer_running(&worker->linger_timer))
        arm_timer(worker);
}

void http_linger(struct http_conn *conn)
{
    int fd = fcntl(h2o_socket_get_fd(conn->socket), F_DUPFD_CLOEXEC, 0);

    if (fd < 0 || shutdown(fd, SHUT_WR) < 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    begin(conn->worker, fd);
}

bool http_linger_is_owed(const struct http_conn *conn)
{
    return net_untaken(h2o_socket_get_fd(conn->socket)) >= MIN_OWED;
}

size_t http_linger_end_some(struct http_worker *worker, size_t wanted)
{
    size_t freed = 0;

    while (worker->lingering_count > 0 && freed < wanted) {
        struct lingerer *lingerer = oldest(worker);

        freed += lingerer->charged;
        end_now(lingerer);
    }
    return freed < wanted ? freed : wanted;
}

void http_linger_end_all(struct http_worker *worker)
{
    loop_timer_stop(worker->loop, &worker->linger_timer);
    while (worker->lingering_count > 0)
        end(oldest(worker));
}
