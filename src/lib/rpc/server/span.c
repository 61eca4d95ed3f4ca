/* The span of a call, when it has ended. */
#include "rpc_server_internal.h"

/* As OpenTelemetry's semantic conventions say for servers. */
static bool is_failure(enum err_grpc code)
{
    return code == ERR_GRPC_UNKNOWN || code == ERR_GRPC_DEADLINE_EXCEEDED || code == ERR_GRPC_UNIMPLEMENTED ||
           code == ERR_GRPC_INTERNAL || code == ERR_GRPC_UNAVAILABLE || code == ERR_GRPC_DATA_LOSS;
}

static struct str nth_value(void *request, const char *name, size_t index)
{
    return rpc_head_find(&((struct rpc_call *)request)->head, name, index);
}

static void *allocate(void *request, size_t len)
{
    return rpc_arena_alloc(&((struct rpc_call *)request)->arena, len);
}

void rpc_span_begin(struct rpc_call *call)
{
    static const struct span_carrier carrier = {.value = nth_value, .alloc = allocate};

    span_accept(call->loop->server->def.spans, &carrier, call, &call->trace);
}

static void end_wanted(struct rpc_call *call, enum err_grpc code, uint64_t duration_ns)
{
    struct span_sink *spans = call->loop->server->def.spans;
    const struct str path = call->entry->path;
    const struct str name = call->entry->method != NULL ? (struct str){path.s + 1, path.len - 1} : STR("_OTHER");
    char client_ip[NET_IP_SIZE];

    rpc_client_ip(call, client_ip);
    const struct span_attribute attributes[] = {
        SPAN_STR("rpc.system.name", STR("grpc")),
        SPAN_STR("rpc.method", name),
        SPAN_STR("rpc.response.status_code", str_of(err_grpc_name(code))),
        SPAN_STR("client.address", str_of(client_ip)),
        SPAN_STR("user_agent.original", call->head.user_agent),
        SPAN_STR("error.type", str_of(is_failure(code) ? err_grpc_name(code) : NULL)),
    };

    span_end(spans, &(struct span){.trace = &call->trace,
                                   .kind = SPAN_SERVER,
                                   .name = name,
                                   .duration_ns = duration_ns,
                                   .failed = is_failure(code),
                                   .error = code == call->status ? str_of(call->status_message) : STR_NULL,
                                   .attributes = attributes,
                                   .attribute_count = sizeof(attributes) / sizeof(attributes[0])});
}

void rpc_span_end(struct rpc_call *call, enum err_grpc code, uint64_t duration_ns)
{
    if (!call->entry->quiet && span_is_wanted(call->loop->server->def.spans, &call->trace))
        end_wanted(call, code, duration_ns);
}
