#include "clock.h"
#include "rpc_core.h"

enum { STARTED, HANDLED, SECONDS };

static const struct metrics_def defs[][3] =
    {
        [RPC_SERVER_SIDE] =
            {
                [STARTED] = {.name = "grpc_server_started_total",
                             .help = "Calls begun on the server.",
                             .type = METRICS_COUNTER,
                             .labels = {"grpc_type", "grpc_service", "grpc_method"}},
                [HANDLED] = {.name = "grpc_server_handled_total",
                             .help = "Calls completed on the server, whatever their status.",
                             .type = METRICS_COUNTER,
                             .labels = {"grpc_type", "grpc_service", "grpc_method", "grpc_code"}},
                [SECONDS] = {.name = "grpc_server_handling_seconds",
                             .help = "Time from a call's arrival on the server to its end.",
                             .type = METRICS_HISTOGRAM,
                             .labels = {"grpc_type", "grpc_service", "grpc_method"}},
            },
        [RPC_CLIENT_SIDE] =
            {
                [STARTED] = {.name = "grpc_client_started_total",
                             .help = "Calls begun by the client.",
                             .type = METRICS_COUNTER,
                             .labels = {"peer", "grpc_service", "grpc_method"}},
                [HANDLED] = {.name = "grpc_client_handled_total",
                             .help = "Calls of the client completed, whatever their status.",
                             .type = METRICS_COUNTER,
                             .labels = {"peer", "grpc_service", "grpc_method", "grpc_code"}},
                [SECONDS] = {.name = "grpc_client_handling_seconds",
                             .help = "Time from the begin of a call by the client to its end.",
                             .type = METRICS_HISTOGRAM,
                             .labels = {"peer", "grpc_service", "grpc_method"}},
            },
};

static struct metrics_series *handled(struct rpc_stats *stats, enum err_grpc code)
{
    struct metrics_series *series = atomic_load_explicit(&stats->handled[code], memory_order_acquire);
    struct str values[RPC_METRIC_LABELS + 1];

    if (series != NULL || stats->handled_family == NULL)
        return series;
    memcpy(values, stats->labels, sizeof(stats->labels));
    values[RPC_METRIC_LABELS] = str_of(err_grpc_name(code));
    series = metrics_series(stats->handled_family, values);
    atomic_store_explicit(&stats->handled[code], series, memory_order_release);
    return series;
}

/* Codes that are the server's fault: those that alerts ask for. */
static const enum err_grpc failures[] = {ERR_GRPC_UNKNOWN, ERR_GRPC_DEADLINE_EXCEEDED, ERR_GRPC_INTERNAL,
                                         ERR_GRPC_UNAVAILABLE, ERR_GRPC_DATA_LOSS};

void rpc_stats_init(struct rpc_stats *stats, struct metrics *metrics, enum rpc_side side,
                    const struct str labels[RPC_METRIC_LABELS])
{
    memset(stats, 0, sizeof(*stats));
    memcpy(stats->labels, labels, sizeof(stats->labels));
    stats->started = metrics_series(metrics_family(metrics, &defs[side][STARTED]), labels);
    stats->seconds = metrics_series(metrics_family(metrics, &defs[side][SECONDS]), labels);
    stats->handled_family = metrics_family(metrics, &defs[side][HANDLED]);
    /* A rate can be taken from the first call on, and from the first failure on. */
    handled(stats, ERR_GRPC_OK);
    for (size_t i = 0; side == RPC_SERVER_SIDE && i < sizeof(failures) / sizeof(failures[0]); i++)
        handled(stats, failures[i]);
}

void rpc_stats_started(struct rpc_stats *stats)
{
    metrics_add(stats->started, 1);
}

void rpc_stats_handled(struct rpc_stats *stats, enum err_grpc code, uint64_t latency_ns, const struct trace *trace)
{
    metrics_add(handled(stats, code), 1);
    metrics_observe_traced(stats->seconds, (double)latency_ns / CLOCK_NS_PER_S, trace);
}
