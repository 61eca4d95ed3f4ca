/* http_client_internal -- what the parts of the HTTP client share. No other file includes it.
 *
 *   client.c     the client, its workers, the beginning of a call
 *   conn.c       from an address to a response: connecting, sending, what is tried again
 *   response.c   the framing of responses
 *   hosts.c      addresses as a worker knows them, and the choice of one
 *   call.c       the end of a call
 *   span.c       the spans of a call and of a new connection
 *   throttle.c   whether calls may be repeated
 *   pool.c       connections: their number, memory, the idle ones, their end
 *   request.c    what is sent
 *   resolve.c    the target's addresses
 *   parse.c      heads and chunks
 *
 * A file uses those below it only.
 */
#pragma once
#include "budget.h"
#include "h2o_compat.h"
#include "http_client.h"
#include "http_metrics.h"
#include "http_parse.h"
#include "include/names.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- addresses: resolve.c ---- */

#define CLIENT_MAX_TARGETS   64
#define CLIENT_MAX_ADDRESSES 256 /* the rest of a larger answer is left out */

struct client_address {
    struct sockaddr_storage address; /* unused bytes are 0 */
    socklen_t len;
    const char *authority; /* for the Host header; lives as long as the client */
};

struct client_addresses {
    unsigned count;
    struct client_address list[CLIENT_MAX_ADDRESSES];
};

struct client_resolver {
    char *target; /* a copy, cut into pieces */
    unsigned target_count;
    struct client_target {
        const char *authority, *host, *port;
    } targets[CLIENT_MAX_TARGETS];
    unsigned interval_ms;
    struct metrics_series *address_gauge;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct client_addresses addresses; /* sorted */
    atomic_uint generation;            /* of addresses */
    bool wanted, stopping, running;
    /* Called under lock after each resolution, in the resolver's thread. */
    void (*resolved)(void *arg);
    void *arg;
};

/* Numeric targets are resolved when it returns; for others a thread begins. -EINVAL: target's form. */
int client_resolver_open(struct client_resolver *resolver, const char *target, unsigned interval_ms,
                         struct metrics_series *address_gauge, void (*resolved)(void *arg), void *arg);
bool client_resolver_asks(struct client_resolver *resolver); /* another answer may come: a target is not numeric */
void client_resolver_want(struct client_resolver *resolver); /* resolve soon; any thread */
/* False: a resolution goes on that cannot be stopped; the memory must be left to it (it uses no more than that). */
bool client_resolver_release(struct client_resolver *resolver);

/* ---- a worker's part: client.c ---- */

/* An address as a worker knows it. */
struct client_host {
    struct client_address address;
    h2o_linklist_t idle; /* connections, last used first */
    unsigned users;      /* connections, and the target as long as it has it: freed with the last */
    uint64_t failed_until_ns, closes_until_ns; /* left out, as long as there are others */
    bool current;                              /* the target still has it */
};

struct client_worker {
    struct http_client *client;
    struct loop *loop; /* NULL before its first call and after its end; written under the resolver's lock */
    struct loop_message closer, resolved;
    bool waiting;  /* calls wait for an address; under the resolver's lock */
    bool notified; /* resolved has been posted; likewise */
    bool closed;
    unsigned generation;
    struct client_host **hosts;
    unsigned host_count, next;
    unsigned in_flight;
    h2o_linklist_t calls;
    struct loop_timer sweeper;
    struct http_statuses requests;
};

#define CLIENT_MAX_HEAD (16 * 1024) /* bytes; of a request, and of a response with the 1xx ones before it */

struct http_client {
    struct http_client_def def;
    struct budget memory; /* requests, and responses beyond CLIENT_FREE_INPUT */
    struct client_resolver resolver;
    struct client_worker *workers;
    atomic_uint connections; /* of all workers */
    atomic_int tokens;       /* for repetitions, in tenths: see CLIENT_MAX_TOKENS */
    struct metrics_family *requests;
    struct metrics_series *durations, *conn_gauge;
};

struct http_call {
    h2o_linklist_t link; /* of the worker's calls */
    struct client_worker *worker;
    struct client_conn *conn;      /* NULL: waits for an address, or for its end */
    struct loop_timer timer;       /* the deadline, or the end that must not come at once */
    int err;                       /* that the timer ends it with */
    unsigned generation, attempts; /* of the addresses; how many of these have been tried */
    bool repeatable;               /* where it may be sent twice */
    bool repeated;                 /* after a connection broke */
    bool asked_again;              /* for addresses, after none could be connected to */
    bool waiting;
    uint64_t start_ns;
    struct trace trace; /* of its span */
    bool traced;
    const char *authority; /* that it was last sent to; NULL: to none */
    struct buf request;    /* the head up to the Host header's value (head_len bytes), then the body */
    size_t head_len, charged;
    size_t max_body; /* of the response */
    bool head_only;  /* HEAD: the response has no body */
    http_client_done *done;
    void *arg;
};

/* ---- repetitions: throttle.c; any thread ---- */

#define CLIENT_MAX_TOKENS 10000 /* tenths of a token */
#define CLIENT_TOKEN      10

void client_throttle_broken(struct http_client *client);   /* a connection ended before its call was answered */
void client_throttle_answered(struct http_client *client); /* a call */
bool client_throttle_allows(const struct http_client *client);

/* ---- the end of a call: call.c ---- */

void client_call_finish(struct http_call *call, int err, const struct http_client_response *response); /* calls done */
/* Ends it from the loop, never at once: http_client_call may not have returned yet. */
void client_call_fail_soon(struct http_call *call, int err);
void client_call_on_timer(struct loop_timer *timer); /* of a call: ends it with call->err */

/* ---- span.c ---- */

void client_span_begin(struct http_call *call, const struct trace *trace);
void client_span_end(const struct http_call *call, int result);        /* a status, or -errno */
void client_span_end_connect(const struct client_conn *conn, int err); /* of its call, that connecting was a part of */

/* ---- the choice of an address: hosts.c ---- */

/* Takes over what the resolver has found since. In want of memory the old hosts stay, until the next call. */
void client_hosts_refresh(struct client_worker *worker);
/* Steals hosts, an array on the heap; idle connections to those that are not among them are closed. */
void client_hosts_replace(struct client_worker *worker, struct client_host **take_hosts, unsigned count);
struct client_host *client_hosts_next(struct client_worker *worker); /* there is one */

void client_host_failed(struct client_worker *worker, struct client_host *host); /* could not be connected to */
/* As a server does that is about to end; each call would have to make a connection of its own. */
void client_host_closes(struct client_worker *worker, struct client_host *host);
static inline void client_host_release(struct client_host *host) /* one user less */
{
    assert(host->users > 0);
    if (--host->users == 0)
        free(host);
}

/* ---- what is sent: request.c ---- */

/* Fills in what the call has of its request. -EINVAL, -EMSGSIZE, -ENOBUFS, -ENOMEM; release it in any case. */
int client_request_write(struct http_call *call, const struct http_client_request *request);
void client_request_release(struct http_call *call);

/* ---- connections: pool.c; all of a worker's loop ---- */

/* Bytes of an input buffer that are not charged: max_connections bounds them. */
#define CLIENT_FREE_INPUT CLIENT_MAX_HEAD

struct client_conn {
    h2o_linklist_t link; /* of host's idle */
    struct client_worker *worker;
    struct client_host *host;
    h2o_socket_t *socket;
    struct http_call *call;  /* NULL: idle */
    struct loop_timer timer; /* of connecting */
    uint64_t begun_ns, retire_ns;
    bool writing;   /* the request */
    size_t charged; /* of socket->input */

    /* The response; it is in socket->input, without the 1xx ones before it. */
    enum { CLIENT_HEAD, CLIENT_LENGTH, CLIENT_CHUNKED, CLIENT_UNTIL_CLOSE } part;
    int status;
    bool begun; /* a byte has come */
    bool keep_alive;
    size_t interim;  /* bytes of the 1xx responses */
    size_t head_len; /* 0: it is not complete */
    size_t seen;     /* bytes of the head that have been looked at; of a chunked body, received */
    size_t body_len; /* expected; decoded so far where chunked */
    struct http_chunks chunks;
};

bool client_conn_count_in(struct http_client *client); /* false: there are as many connections as may be */
void client_conn_count_out(struct http_client *client);
/* Takes what the input buffer has grown to, or will, from the budget. -ENOBUFS: there is not so much. */
int client_conn_charge(struct client_conn *conn, size_t expected);
void client_conn_close(struct client_conn *conn);                    /* its call is left alone */
void client_conns_retire(struct client_host *host, bool all);        /* closes idle ones, all or those too old */
void client_conn_keep(struct client_conn *conn);                     /* among the idle ones, with its input empty */
struct client_conn *client_conn_take_idle(struct client_host *host); /* the last used; NULL: there is none */

/* ---- responses: response.c ---- */

void client_response_read(struct client_conn *conn);          /* more has come */
bool client_response_closed(struct client_conn *conn);        /* false: its end was not to come yet */
void client_response_fail(struct client_conn *conn, int err); /* closes the connection and ends its call */

/* ---- from an address to a response: conn.c ---- */

void client_call_attempt(struct http_call *call); /* begins with an address, or goes on with another */
