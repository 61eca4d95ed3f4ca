/* memory_part -- how a process divides its memory limit. docs/architecture.md has the same table, and a test compares
 * the two.
 *
 * What is not divided among the parts is for the process itself, its log (two queues of 4 MiB) and the page cache.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum memory_part {
    MEMORY_CLIENTS,       /* all that follows, up to MEMORY_HTTP_OUTGOING, together */
    MEMORY_HTTP,          /* clients of the HTTP server */
    MEMORY_GRPC,          /* clients of the gRPC server */
    MEMORY_HTTP_OUTGOING, /* requests and responses of an HTTP client */
    MEMORY_GRPC_OUTGOING, /* calls of a gRPC client, 16 KiB each */
    MEMORY_ADMIN,         /* clients of the admin listener */
    MEMORY_STORE_QUEUE,   /* writes that wait for the store */
    MEMORY_SERVICE,       /* what a service keeps of its clients: the notes of RouteChat */
    MEMORY_SPANS,         /* spans that wait for the collector of traces */
    MEMORY_LOGS,          /* log lines that wait for the collector of logs */
    MEMORY_METRICS,       /* metrics that are sent to a collector */
    MEMORY_PARTS
};

struct memory_part_def {
    const char *name;
    unsigned parts; /* of 64 that are the limit */
};

static const struct memory_part_def memory_parts[MEMORY_PARTS] = {
    [MEMORY_CLIENTS] = {"clients", 36},
    [MEMORY_HTTP] = {"http", 16},
    [MEMORY_GRPC] = {"grpc", 32},
    [MEMORY_HTTP_OUTGOING] = {"http_outgoing", 8},
    [MEMORY_GRPC_OUTGOING] = {"grpc_outgoing", 8},
    [MEMORY_ADMIN] = {"admin", 4},
    [MEMORY_STORE_QUEUE] = {"store_queue", 4},
    [MEMORY_SERVICE] = {"service", 8},
    [MEMORY_SPANS] = {"spans", 1},
    [MEMORY_LOGS] = {"logs", 1},
    [MEMORY_METRICS] = {"metrics", 1},
};

/* Bytes; 0 where there is no limit. */
static inline size_t memory_part(uint64_t limit, enum memory_part part)
{
    return (size_t)(limit / 64 * memory_parts[part].parts);
}

/* For what has a bound of its own, too. */
static inline size_t memory_part_at_most(uint64_t limit, enum memory_part part, size_t most)
{
    size_t bytes = memory_part(limit, part);

    return bytes > 0 && bytes < most ? bytes : most;
}
