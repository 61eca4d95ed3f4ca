/* What a call sends as metadata: the caller's, and the trace's. */
#include "rpc_client_internal.h"
#include <errno.h>

static_assert(sizeof(((struct rpc_flight *)0)->metadata) / sizeof(grpc_metadata) ==
                  RPC_MAX_METADATA + RPC_TRACE_METADATA,
              "there is room for the caller's and the trace's");

void rpc_flight_release_metadata(struct rpc_flight *flight)
{
    for (size_t i = 0; i < flight->metadata_count; i++) {
        grpc_slice_unref(flight->metadata[i].key);
        grpc_slice_unref(flight->metadata[i].value);
    }
    flight->metadata_count = 0;
}

static int add_metadata(struct rpc_flight *flight, struct str name, struct str value)
{
    grpc_metadata *metadata = &flight->metadata[flight->metadata_count++];

    assert(flight->metadata_count <= RPC_MAX_METADATA + RPC_TRACE_METADATA);
    *metadata = (grpc_metadata){.key = rpc_slice(name), .value = rpc_slice(value)};
    if (!grpc_header_key_is_legal(metadata->key))
        return -EINVAL;
    return grpc_is_binary_header(metadata->key) || grpc_header_nonbin_value_is_legal(metadata->value) ? 0 : -EINVAL;
}

static int add_trace(struct rpc_flight *flight, const struct trace *trace)
{
    char header[TRACE_PARENT_LEN + 1];
    int err;

    span_begin_child(flight->client->spans, trace, &flight->trace);
    flight->traced = true;
    trace_format(&flight->trace, header);
    err = add_metadata(flight, STR("traceparent"), str_of(header));
    if (err == 0 && trace->state.len > 0)
        err = add_metadata(flight, STR("tracestate"), trace->state);
    if (err == 0 && trace->baggage.len > 0)
        err = add_metadata(flight, STR("baggage"), trace->baggage);
    return err;
}

int rpc_flight_fill_metadata(struct rpc_flight *flight, const struct rpc_call_options *options)
{
    int err = options->metadata_count <= RPC_MAX_METADATA ? 0 : -EINVAL;

    for (size_t i = 0; i < options->metadata_count && err == 0; i++)
        err = add_metadata(flight, str_of(options->metadata[i].name), options->metadata[i].value);
    if (err == 0 && options->trace != NULL)
        err = add_trace(flight, options->trace);
    if (err != 0)
        rpc_flight_release_metadata(flight);
    assert(err == 0 || flight->metadata_count == 0);
    return err;
}
