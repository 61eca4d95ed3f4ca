/* The span of a call. */
#include "clock.h"
#include "rpc_client_internal.h"

/* The target's host, where it is host:port. */
static struct str host_of(const char *target)
{
    const char *colon = strrchr(target, ':');

    return colon != NULL ? (struct str){target, (size_t)(colon - target)} : str_of(target);
}

void rpc_flight_end_span(const struct rpc_flight *flight, enum err_grpc code)
{
    const struct rpc_client *client = flight->client;
    const struct str name = str_of(flight->method->path + 1);
    const struct span_attribute attributes[] = {
        SPAN_STR("rpc.system.name", STR("grpc")),
        SPAN_STR("rpc.method", name),
        SPAN_STR("rpc.response.status_code", str_of(err_grpc_name(code))),
        SPAN_STR("server.address", host_of(client->target)),
        SPAN_STR("peer.service", str_of(client->name)),
        SPAN_STR("error.type", str_of(code != ERR_GRPC_OK ? err_grpc_name(code) : NULL)),
    };

    span_end(client->spans, &(struct span){.trace = &flight->trace,
                                           .kind = SPAN_CLIENT,
                                           .name = name,
                                           .duration_ns = clock_monotonic_ns() - flight->begun_ns,
                                           .failed = code != ERR_GRPC_OK,
                                           .attributes = attributes,
                                           .attribute_count = sizeof(attributes) / sizeof(attributes[0])});
}
