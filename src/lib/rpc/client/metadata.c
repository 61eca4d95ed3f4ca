/* What a call sends as metadata: the caller's, and traceparent, which names a child of the caller's span. */
#include "rpc_client_internal.h"
#include <errno.h>

static_assert(sizeof(((struct rpc_flight *)0)->metadata) / sizeof(grpc_metadata) == RPC_MAX_METADATA + 1,
              "there is room for the caller's and for traceparent");

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

    assert(flight->metadata_count <= RPC_MAX_METADATA + 1);
    *metadata = (grpc_metadata){.key = rpc_slice(name), .value = rpc_slice(value)};
    if (!grpc_header_key_is_legal(metadata->key))
        return -EINVAL;
    return grpc_is_binary_header(metadata->key) || grpc_header_nonbin_value_is_legal(metadata->value) ? 0 : -EINVAL;
}

int rpc_flight_fill_metadata(struct rpc_flight *flight, const struct rpc_call_options *options)
{
    int err = options->metadata_count <= RPC_MAX_METADATA ? 0 : -EINVAL;

    for (size_t i = 0; i < options->metadata_count && err == 0; i++)
        err = add_metadata(flight, str_of(options->metadata[i].name), options->metadata[i].value);
    if (err == 0 && options->trace != NULL) {
        char header[TRACE_PARENT_LEN + 1];
        struct trace child;

        trace_child(options->trace, &child);
        trace_format(&child, header);
        err = add_metadata(flight, STR("traceparent"), str_of(header));
    }
    if (err != 0)
        rpc_flight_release_metadata(flight);
    assert(err == 0 || flight->metadata_count == 0);
    return err;
}
