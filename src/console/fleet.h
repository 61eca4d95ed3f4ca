/* fleet -- services and their replicas as telemetry shows them: states, rates, latencies, flows between services, and a
 * time line of what happened.
 *
 * Everything has a bound: replicas, services, flows, events. A replica that is gone makes place for a new one; while no
 * replica is gone, a new one beyond the bound is refused.
 *
 * Times are ms since 1970, given by the caller. fleet_tick is to be called about once a second. One thread at a time.
 */
#pragma once
#include "buf.h"
#include "latency.h"
#include "otlp_read.h"
#include "traces.h"

#define FLEET_MAX_REPLICAS 1000
#define FLEET_MAX_SERVICES 200
#define FLEET_MAX_FLOWS    400
#define FLEET_MAX_EVENTS   300
#define FLEET_MAX_WORKERS  16
#define FLEET_NAME         64 /* bytes of a service's name, with the NUL; longer ones are cut */
#define FLEET_INSTANCE     128
#define FLEET_VERSION      48
#define FLEET_WINDOW       10 /* s, of rates that are counted by spans */
#define FLEET_STEPS        60 /* of the history */
#define FLEET_STEP_MS      5000
#define FLEET_FORGET_MS    600000 /* a replica that has been gone for so long is forgotten */

enum fleet_state { FLEET_STARTING, FLEET_READY, FLEET_DRAINING, FLEET_GONE };

/* What was counted, second by second. */
struct fleet_window {
    float requests[FLEET_WINDOW + 1], errors[FLEET_WINDOW + 1]; /* by second modulo; the present one is not whole */
    struct latency now, before;                                 /* of this window's length, and of the one before */
};

/* Sums over all series of one export of metrics: cumulative. */
struct fleet_sums {
    double requests, errors, commits;
    double connections, memory_used, memory_limit;
    double loops[FLEET_MAX_WORKERS]; /* seconds that each event loop was busy */
    double latency[LATENCY_BUCKETS], commit_latency[LATENCY_BUCKETS];
};

struct fleet_metrics {
    uint64_t time_ns;    /* of the export that is being taken in; 0: metrics have never come */
    uint64_t arrived_ms; /* its last point */
    uint64_t done_ns;    /* the export whose sums are `last` */
    uint64_t interval_ms;
    char workers[FLEET_MAX_WORKERS][16];
    struct fleet_sums sums, last;
    bool has_latency;
};

/* NAN where there is none. */
struct fleet_store {
    bool is_there;
    char engine[8];
    double revision, lag_ms, records, bytes, limit_bytes, commits_per_s, commit_p99_ms;
};

struct fleet_replica {
    struct fleet_service *service;
    char instance[FLEET_INSTANCE], version[FLEET_VERSION];
    enum fleet_state state;
    bool has_phase; /* it says itself which state it is in */
    uint64_t since_ms, first_seen_ms, last_seen_ms, started_ms;
    double requests_per_s, errors_per_s, p50_ms, p99_ms;             /* NAN: without requests */
    double loop_utilization, memory_used, memory_limit, connections; /* NAN: not known */
    struct latency latency;                                          /* that p50_ms and p99_ms are of */
    struct fleet_store store;
    struct fleet_window window;
    struct fleet_metrics metrics;
};

struct fleet_service {
    char name[FLEET_NAME];
    unsigned replicas;        /* that are known */
    unsigned announced, seen; /* not gone: as the time line says, and now */
    bool is_announced;
    uint64_t seen_ms;                /* since when it is so many */
    char versions[4][FLEET_VERSION]; /* the last new ones */
    unsigned version_count;
    float requests[FLEET_STEPS], errors[FLEET_STEPS], p99_ms[FLEET_STEPS]; /* the oldest at `step` */
};

struct fleet_flow {
    char from[FLEET_NAME], to[FLEET_NAME];
    uint64_t last_ms;
    struct fleet_window window;
};

enum fleet_event_kind {
    FLEET_STARTED,
    FLEET_BECAME_READY,
    FLEET_BEGAN_DRAINING,
    FLEET_WENT,
    FLEET_RESTARTED,
    FLEET_NEW_VERSION,
    FLEET_SCALED,
};

struct fleet_event {
    uint64_t sequence, time_ms;
    enum fleet_event_kind kind;
    char service[FLEET_NAME], instance[FLEET_INSTANCE], version[FLEET_VERSION]; /* instance may be empty */
    char text[64];
};

struct fleet {
    struct fleet_replica *replicas[FLEET_MAX_REPLICAS]; /* in order of first sight; the first replica_count */
    struct fleet_service *services[FLEET_MAX_SERVICES];
    struct fleet_flow *flows[FLEET_MAX_FLOWS];
    unsigned replica_count, service_count, flow_count;
    struct fleet_event *events; /* a ring: event number n is at n modulo FLEET_MAX_EVENTS */
    uint64_t last_event;        /* its sequence; 0: none yet */
    unsigned step;              /* of the histories: the oldest, and so the next to be written */
    uint64_t step_ms, second;
    size_t used; /* bytes */
};

/* 0 or -ENOMEM. */
int fleet_open(struct fleet *fleet);
void fleet_release(struct fleet *fleet); /* a zeroed one is fine */

/* The replica that a resource names, which is alive: it has just sent something. NULL: it has no service.name, or there
 * is no place. */
struct fleet_replica *fleet_seen(struct fleet *fleet, const struct otlp_pairs *resource, uint64_t now_ms);
/* A point of a metric. */
void fleet_point(struct fleet *fleet, struct fleet_replica *replica, struct str metric,
                 const struct otlp_point_view *point, uint64_t now_ms);
/* A span of it, whether or not its trace is kept. */
void fleet_span(struct fleet *fleet, struct fleet_replica *replica, const struct otlp_span_view *span, uint64_t now_ms);
/* What a trace shows of who calls whom: span has just been added to it. weight: for how many traces it stands. */
void fleet_trace(struct fleet *fleet, const struct traces_trace *trace, const struct traces_span *span, double weight,
                 uint64_t now_ms);
/* The message of a line says what state its replica is in, unless the replica's metrics do. */
void fleet_message(struct fleet *fleet, struct fleet_replica *replica, struct str message, uint64_t now_ms);
void fleet_tick(struct fleet *fleet, uint64_t now_ms);

/* An event by its sequence; NULL: it is no longer kept, or has not come. */
const struct fleet_event *fleet_event(const struct fleet *fleet, uint64_t sequence);
const char *fleet_state_name(enum fleet_state state);
const char *fleet_event_name(enum fleet_event_kind kind);
/* Over the last whole seconds of a window. */
double fleet_window_requests(const struct fleet_window *window, uint64_t second);
double fleet_window_errors(const struct fleet_window *window, uint64_t second);
struct latency fleet_window_latency(const struct fleet_window *window);
