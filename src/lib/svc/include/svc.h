/* svc -- everything that services have in common: options, logging, metrics, listeners, readiness, signals, drain and
 * the exit status. A service's main.c is its tables and wiring, and a call of svc_main.
 *
 * Life: options (environment, then flags; -n checks them and the files that they name, and exits; --help lists them;
 * --version) -> sockets bound -> start -> accepting, ready -> SIGTERM or SIGINT: not ready at once (gRPC health too),
 * serving on for SHUTDOWN_DELAY_SECONDS with Connection: close -> listeners closed, GOAWAY, in-flight requests finish
 * within SHUTDOWN_TIMEOUT_SECONDS -> stop -> telemetry and log flushed -> exit 0. A second SIGTERM changes nothing; a
 * second SIGINT ends the process at once. A first signal that comes while start runs ends the process at once with
 * status 0; stop is not called then. Nothing has been accepted before start has returned, so nothing acknowledged is
 * lost.
 *
 * The admin listener (METRICS_PORT) serves /healthz (the event loops turn; looks at nothing outside), /readyz, /metrics
 * and /log-level from a loop of its own; over loopback only /in-flight (requests and connections) and /config.
 *
 * File descriptors: the soft limit is raised to the hard limit. The admin listener has a part of them for itself;
 * MAX_CONNECTIONS is reduced to what the others allow (svc_descriptors.h). MAX_CONNECTIONS_PER_ADDRESS bounds those of
 * one client, but for TRUSTED_PROXIES, to the HTTP listener, and those to the gRPC listener. Memory: what clients can
 * make the process hold is a part of MEMORY_LIMIT_BYTES, which is the cgroup's limit where it is 0 (memory_part.h;
 * max_memory in http.h and rpc.h).
 *
 * Exit status: 0 drained in time, or stopped while starting, 1 could not start or had to cut something off, 2 wrong
 * options. What went wrong is one line on standard error, which gets nothing else: what libraries print is logged
 * (log_take_stderr).
 */
#pragma once
#include "config.h"
#include "http.h"
#include "log.h"
#include "memory_part.h"
#include "metrics.h"
#include "names.h"
#include "rpc.h"
#include "span.h"

struct svc;

/* What serves rpcs. It is named by RPC_SERVICE alone, so that a service without rpcs does not link gRPC. */
struct svc_server_type;
extern const struct svc_server_type svc_rpc_server;

struct svc_rpc {
    const struct svc_server_type *server;
    const struct rpc_method *methods;
    const uint8_t *descriptors;
    size_t descriptors_len;
};

/* RPC_SERVICE(methods, descriptors): descriptors is an array made at build, with descriptors_len. */
#define RPC_SERVICE(methods_, descriptors_)                                                                            \
    (&(const struct svc_rpc){.server = &svc_rpc_server,                                                                \
                             .methods = (methods_),                                                                    \
                             .descriptors = (descriptors_),                                                            \
                             .descriptors_len = descriptors_##_len})

/* SVC_STORE(tables, count, &store) of svc_store.h: svc opens the store, by the options STORE_URL and STORE_MAX_BYTES,
 * before start, and closes it after stop; /readyz, gRPC health and /healthz report its state too. */
struct svc_store_engine;
struct svc_store {
    const struct svc_store_engine *engine;
    const struct store_table *tables; /* which outlive the service */
    size_t count;
    struct store **store;
};

struct svc_def {
    const char *name, *summary;
    void *state;                         /* given to every handler */
    const struct config_option *options; /* the service's own; may be NULL; may give other defaults to svc's */
    const struct http_route *routes;     /* NULL: no HTTP listener */
    const struct svc_rpc *rpc;           /* NULL: no gRPC listener */
    const struct svc_store *store;       /* NULL: none that svc opens */
    const char *http_port, *grpc_port;   /* defaults of PORT and GRPC_PORT; NULL: 8080 and 9000 */
    /* For -n, after the options' own checks: whatever else of them start would refuse without asking the network, such
     * as files. Fails as start does; may be NULL. */
    int (*check)(struct svc *svc);
    /* Opens what the service needs. On failure it has called svc_fail; stop is called after a half-done start too. */
    int (*start)(struct svc *svc, void *state);
    void (*stop)(void *state); /* nothing is in flight any more; may be NULL */
    /* Asked by any thread after start has returned; both may be NULL. */
    bool (*ready)(void *state);   /* for /readyz and gRPC health, beside svc's own state; never waits */
    bool (*healthy)(void *state); /* at /healthz: false where only a restart helps */
};

int svc_main(int argc, char **argv, const struct svc_def *def);

/* For start: what svc owns. All outlive stop. */
const struct config *svc_config(const struct svc *svc);
struct metrics *svc_metrics(const struct svc *svc);
struct log *svc_log(const struct svc *svc);
struct span_sink *svc_spans(const struct svc *svc); /* for clients and stores; NULL: no spans are made */
unsigned svc_workers(const struct svc *svc);
/* Bytes of the process's memory limit for that purpose; 0: there is no limit. */
size_t svc_memory_part(const struct svc *svc, enum memory_part part);
size_t svc_memory_part_at_most(const struct svc *svc, enum memory_part part, size_t most);
/* What all clients hold together, for HTTP clients that the service opens (whole). */
struct budget *svc_memory_budget(struct svc *svc);
/* The answer of /metrics, for a service that offers it beside the admin listener: OpenMetrics where the request accepts
 * it, which has exemplars, else the text format of Prometheus. */
struct http_reply *svc_metrics_page(struct metrics *metrics, const struct http_req *req);
/* Says why start fails: one line, kept for standard error. Returns -EINVAL, for `return svc_fail(...)`. */
int svc_fail(struct svc *svc, const char *format, ...) __attribute__((format(printf, 2, 3)));
