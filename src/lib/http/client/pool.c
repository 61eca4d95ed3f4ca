/* A worker's connections: how many there are, the memory of their input buffers, the idle ones of a host, and their
 * end.
 */
#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>
#include <stdlib.h>

/* ---- counting ---- */

void client_conn_count_out(struct http_client *client)
{
    atomic_fetch_sub_explicit(&client->connections, 1, memory_order_relaxed);
}

bool client_conn_count_in(struct http_client *client)
{
    if (atomic_fetch_add_explicit(&client->connections, 1, memory_order_relaxed) < client->def.max_connections)
        return true;
    client_conn_count_out(client);
    return false;
}

/* ---- memory ---- */

int client_conn_charge(struct client_conn *conn, size_t expected)
{
    size_t capacity = conn->socket->input->capacity, bytes = capacity > expected ? capacity : expected;

    if (bytes <= CLIENT_FREE_INPUT || bytes <= conn->charged)
        return 0;
    if (!budget_take(&conn->worker->client->memory, bytes - conn->charged))
        return -ENOBUFS;
    conn->charged = bytes;
    return 0;
}

static void give_back(struct client_conn *conn)
{
    if (conn->charged > 0)
        budget_give(&conn->worker->client->memory, conn->charged);
    conn->charged = 0;
}

static void reset_input(struct client_conn *conn)
{
    h2o_buffer_consume(&conn->socket->input, conn->socket->input->size);
    if (conn->charged > 0) {
        h2o_buffer_dispose(&conn->socket->input);
        h2o_buffer_init(&conn->socket->input, &h2o_socket_buffer_prototype);
    }
    give_back(conn);
}

/* ---- closing ---- */

void client_conn_close(struct client_conn *conn)
{
    struct client_worker *worker = conn->worker;

    assert(conn->call == NULL || conn->call->conn == conn);
    loop_timer_stop(worker->loop, &conn->timer);
    if (h2o_linklist_is_linked(&conn->link))
        h2o_linklist_unlink(&conn->link);
    if (conn->call != NULL)
        conn->call->conn = NULL;
    h2o_socket_close(conn->socket);
    give_back(conn);
    client_conn_count_out(worker->client);
    metrics_change(worker->client->conn_gauge, -1);
    client_host_release(conn->host);
    free(conn);
}

void client_conns_retire(struct client_host *host, bool all)
{
    uint64_t now_ns = clock_monotonic_ns();

    for (h2o_linklist_t *link = host->idle.next, *next; link != &host->idle; link = next) {
        struct client_conn *conn = H2O_STRUCT_FROM_MEMBER(struct client_conn, link, link);
        next = link->next;
        if (all || conn->retire_ns <= now_ns)
            client_conn_close(conn);
    }
}

/* ---- idle ---- */

void client_conn_keep(struct client_conn *conn)
{
    assert(conn->call == NULL && !conn->writing && !h2o_linklist_is_linked(&conn->link));
    reset_input(conn);
    h2o_linklist_insert(conn->host->idle.next, &conn->link);
}

struct client_conn *client_conn_take_idle(struct client_host *host)
{
    struct client_conn *conn;

    if (h2o_linklist_is_empty(&host->idle))
        return NULL;
    conn = H2O_STRUCT_FROM_MEMBER(struct client_conn, link, host->idle.next);
    h2o_linklist_unlink(&conn->link);
    assert(conn->call == NULL && conn->charged == 0);
    return conn;
}
