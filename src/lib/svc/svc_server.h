/* svc_server -- what svc asks of the server of a protocol, so that the life of a process is written once for all of
 * them.
 *
 * A type is a table of functions. The order of calls: open; start; set_serving(true); then, once the process is to end,
 * set_serving(false), drain, wait; and close in any case, also after a failed open. All in the main thread but wait,
 * which svc calls for all servers at the same time; last_turn_ns and list_loop, which any thread calls from start to
 * close; and list.
 */
#pragma once
#include "include/names.h"
#include "svc.h"

struct net_listing;

#define SVC_MAX_SERVERS 2

struct svc_server_type {
    const char *protocol;                /* "http", "grpc" */
    const struct config_option *options; /* {0} ends them; the first is the port */
    /* For -n: what open would refuse, as far as that can be said without the network. NULL: nothing. */
    int (*check)(struct svc *svc);
    /* Binds its port by svc_listen and makes a server that does not accept yet. 0 or -errno, where svc_fail may have
     * said more. *ret_server is what the other functions get; it may be half-made, for close, when it fails. */
    int (*open)(struct svc *svc, void **ret_server);
    void (*start)(void *server); /* begins to accept */
    /* Tells clients whether to come here. False: from now on they are asked to go elsewhere, and still served. */
    void (*set_serving)(void *server, bool serving);
    /* Stops accepting without losing what is in the backlog; moves connections away. Does not wait. */
    void (*drain)(void *server);
    /* Until nothing is in flight any more; 0, or -ETIMEDOUT at deadline_ns. */
    int (*wait)(void *server, uint64_t deadline_ns);
    void (*close)(void *server); /* NULL is fine */
    /* When the oldest of its event loops turned last (monotonic), for liveness; NULL: it has none. */
    uint64_t (*last_turn_ns)(const void *server);
    struct loop *(*loop)(const void *server, unsigned worker); /* of a worker, for later servers; NULL: it has none */
    /* Requests in flight and connections of a worker, at most max of each, in the thread of list_loop. */
    struct loop *(*list_loop)(const void *server, unsigned worker);
    void (*list)(void *server, unsigned worker, unsigned max, const struct net_listing *listing);
};

/* One of a process's servers. */
struct svc_server {
    const struct svc_server_type *type;
    void *server; /* NULL: not opened */
};

extern const struct svc_server_type svc_http_server; /* of def->routes */
/* svc_rpc_server of svc.h is that of def->rpc: only RPC_SERVICE names it, so that others do not link gRPC. */

/* Of servers that ask for bearer tokens. */
#define SVC_AUTH_OPTION                                                                                                \
    {                                                                                                                  \
        "AUTH_TOKENS_FILE", "",                                                                                        \
            .help = "file of accepted bearer tokens, lines NAME SHA256 RATE; empty: no token is required"              \
    }

/* For open. */
const struct svc_def *svc_definition(const struct svc *svc);
int svc_listen(struct svc *svc, const struct svc_server_type *type, int *ret_fd);
unsigned svc_max_connections(const struct svc *svc); /* MAX_CONNECTIONS, or what file descriptors allow */
const struct acceptor_address_bound *svc_address_bound(const struct svc *svc);
unsigned svc_max_lingering(const struct svc *svc); /* see http_server_def */
/* Of a server opened before; NULL: there is none. */
struct loop *svc_worker_loop(const struct svc *svc, unsigned worker);
/* Opens AUTH_TOKENS_FILE, an option of the server's, once for all servers; svc closes it after them. 0, with *ret_auth
 * NULL where it is empty, or -errno. */
int svc_open_auth(struct svc *svc, struct http_auth **ret_auth);
int svc_check_auth(struct svc *svc); /* whether that will work; for check */
