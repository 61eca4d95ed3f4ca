#include "clock.h"
#include "rpc_client_internal.h"
#include <assert.h>
#include <errno.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_TIMEOUT_MS 1000000000000ULL /* beyond the sense of it, within the range of nanoseconds */

/* ---- methods ---- */

static struct rpc_peer_method *find_method(struct rpc_client *client, const ProtobufCMethodDescriptor *descriptor)
{
    struct rpc_peer_method *method = atomic_load_explicit(&client->methods, memory_order_acquire);

    while (method != NULL && method->descriptor != descriptor)
        method = method->next;
    return method;
}

static struct rpc_peer_method *add_method(struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                                          const ProtobufCMethodDescriptor *descriptor)
{
    struct rpc_peer_method *method = calloc(1, sizeof(*method));

    if (method == NULL)
        return NULL;
    if (asprintf(&method->path, "/%s/%s", service->name, descriptor->name) < 0) {
        free(method);
        return NULL;
    }
    method->descriptor = descriptor;
    rpc_stats_init(&method->stats, client->metrics, RPC_CLIENT_SIDE,
                   (const struct str[]){str_of(client->name), str_of(service->name), str_of(descriptor->name)});
    method->next = atomic_load(&client->methods);
    atomic_store_explicit(&client->methods, method, memory_order_release);
    return method;
}

static struct rpc_peer_method *method_of(struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                                         const char *name)
{
    const ProtobufCMethodDescriptor *descriptor = protobuf_c_service_descriptor_get_method_by_name(service, name);
    struct rpc_peer_method *method;

    assert(descriptor != NULL);
    method = find_method(client, descriptor);
    if (method != NULL)
        return method;
    pthread_mutex_lock(&client->lock);
    method = find_method(client, descriptor);
    if (method == NULL)
        method = add_method(client, service, descriptor);
    pthread_mutex_unlock(&client->lock);
    return method;
}

/* ---- metadata ---- */

static void release_metadata(struct rpc_flight *flight)
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

    *metadata = (grpc_metadata){.key = rpc_slice(name), .value = rpc_slice(value)};
    if (!grpc_header_key_is_legal(metadata->key))
        return -EINVAL;
    return grpc_is_binary_header(metadata->key) || grpc_header_nonbin_value_is_legal(metadata->value) ? 0 : -EINVAL;
}

static int fill_metadata(struct rpc_flight *flight, const struct rpc_call_options *options)
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
        release_metadata(flight);
    return err;
}

/* ---- the call ---- */

static int make_outgoing(struct rpc_flight *flight, const struct rpc_call_options *options)
{
    if (options->ret_outgoing == NULL)
        return 0;
    flight->outgoing = rpc_outgoing_new();
    return flight->outgoing != NULL ? 0 : -ENOMEM;
}

/* Of a call that has not begun: nobody has the other reference. */
static void drop_outgoing(struct rpc_flight *flight)
{
    rpc_outgoing_unref(flight->outgoing);
    flight->outgoing = rpc_outgoing_unref(flight->outgoing);
}

static int reserve(struct rpc_flight *flight)
{
    struct rpc_client *client = flight->client;
    int err = 0;

    pthread_mutex_lock(&client->lock);
    if (client->closing)
        err = -ECANCELED;
    else if (client->in_flight >= client->max_in_flight)
        err = -ENOBUFS;
    else
        client->in_flight++;
    if (err == 0)
        flight->channel = rpc_channel_use(client);
    pthread_mutex_unlock(&client->lock);
    return err;
}

static void create_call(struct rpc_flight *flight, uint64_t timeout_ms)
{
    struct rpc_client *client = flight->client;
    unsigned worker = atomic_fetch_add_explicit(&client->next_worker, 1, memory_order_relaxed) % client->threads;
    grpc_slice path = grpc_slice_from_copied_string(flight->method->path);
    uint64_t timeout_ns = (timeout_ms < MAX_TIMEOUT_MS ? timeout_ms : MAX_TIMEOUT_MS) * CLOCK_NS_PER_MS;

    flight->begun_ns = clock_monotonic_ns();
    flight->grpc =
        grpc_channel_create_call(flight->channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, client->workers[worker].queue,
                                 path, NULL, rpc_time(flight->begun_ns + timeout_ns), NULL);
    grpc_slice_unref(path);
}

int rpc_flight_begin(struct rpc_flight *flight, struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                     const char *method, const struct rpc_call_options *options)
{
    int err;

    assert(options->timeout_ms > 0);
    flight->client = client;
    flight->method = method_of(client, service, method);
    if (flight->method == NULL)
        return -ENOMEM;
    err = fill_metadata(flight, options);
    if (err != 0)
        return err;
    err = make_outgoing(flight, options);
    if (err == 0)
        err = reserve(flight);
    if (err != 0) {
        drop_outgoing(flight);
        release_metadata(flight);
        return err;
    }
    grpc_metadata_array_init(&flight->initial_metadata);
    grpc_metadata_array_init(&flight->trailing_metadata);
    flight->details = grpc_empty_slice();
    create_call(flight, options->timeout_ms);
    if (flight->outgoing != NULL) {
        rpc_outgoing_set(flight->outgoing, flight->grpc);
        *options->ret_outgoing = flight->outgoing;
    }
    rpc_stats_started(&flight->method->stats);
    pthread_mutex_lock(&client->lock);
    TAILQ_INSERT_TAIL(&client->flights, flight, link);
    if (client->closing)
        grpc_call_cancel(flight->grpc, NULL);
    pthread_mutex_unlock(&client->lock);
    return 0;
}

grpc_op rpc_flight_send_metadata(struct rpc_flight *flight, const struct rpc_call_options *options)
{
    return (grpc_op){
        .op = GRPC_OP_SEND_INITIAL_METADATA,
        .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET |
                 (options->wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0),
        .data.send_initial_metadata = {.count = flight->metadata_count, .metadata = flight->metadata},
    };
}

grpc_op rpc_flight_recv_metadata(struct rpc_flight *flight)
{
    return (grpc_op){
        .op = GRPC_OP_RECV_INITIAL_METADATA,
        .data.recv_initial_metadata.recv_initial_metadata = &flight->initial_metadata,
    };
}

grpc_op rpc_flight_recv_status(struct rpc_flight *flight)
{
    return (grpc_op){
        .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
        .data.recv_status_on_client = {.trailing_metadata = &flight->trailing_metadata,
                                       .status = &flight->status,
                                       .status_details = &flight->details},
    };
}

void rpc_flight_landed(struct rpc_flight *flight)
{
    if (flight->outgoing != NULL)
        rpc_outgoing_set(flight->outgoing, NULL);
    flight->outgoing = rpc_outgoing_unref(flight->outgoing);
    pthread_mutex_lock(&flight->client->lock);
    TAILQ_REMOVE(&flight->client->flights, flight, link);
    pthread_mutex_unlock(&flight->client->lock);
}

struct rpc_status rpc_flight_status(const struct rpc_flight *flight, char **ret_text)
{
    unsigned code = (unsigned)flight->status;

    *ret_text = grpc_slice_to_c_string(flight->details);
    return (struct rpc_status){.code = code < RPC_STATUS_CODES ? (enum err_grpc)code : ERR_GRPC_UNKNOWN,
                               .message = *ret_text};
}

void rpc_flight_count(struct rpc_flight *flight, enum err_grpc code)
{
    if (code == ERR_GRPC_UNAVAILABLE || code == ERR_GRPC_DEADLINE_EXCEEDED)
        rpc_channel_failed(flight->client);
    rpc_stats_handled(&flight->method->stats, code, clock_monotonic_ns() - flight->begun_ns);
}

void rpc_flight_end(struct rpc_flight *flight)
{
    struct rpc_client *client = flight->client;

    release_metadata(flight);
    grpc_metadata_array_destroy(&flight->initial_metadata);
    grpc_metadata_array_destroy(&flight->trailing_metadata);
    grpc_slice_unref(flight->details);
    grpc_call_unref(flight->grpc);
    flight->grpc = NULL;
    rpc_channel_done(client, flight->channel);
    pthread_mutex_lock(&client->lock);
    if (--client->in_flight == 0 && client->closing)
        pthread_cond_signal(&client->landed);
    pthread_mutex_unlock(&client->lock);
}
