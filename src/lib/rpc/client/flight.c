/* What a unary call and a stream of a client have in common: from its beginning to its end.
 *
 *   begun ------------> landed --------> ended
 *   rpc_flight_begin    _landed, _count  _end
 *
 * begun: counted in client->in_flight, uses a channel, is in client->flights, so that rpc_client_cancel finds it.
 * landed: in the call's last event: it is out of client->flights, so that nobody cancels it any more.
 * ended: released. Before it, the callback has returned: in_flight falls when nothing of the call runs any more, and
 * then the client may be freed.
 *
 * A call that begins while the client is closing is refused (reserve), or, where closing came between, cancelled.
 *
 * Timer: C-core's deadline, which every call has. Locks: client->lock, for flights, in_flight and closing. Callers:
 * unary.c and stream.c; _begin in any thread, the others in the thread of the call's queue.
 */
#include "clock.h"
#include "rpc_client_internal.h"
#include <errno.h>
#include <grpc/slice.h>
#include <stdlib.h>

#define MAX_TIMEOUT_MS 1000000000000ULL /* beyond the sense of it, within the range of nanoseconds */

static_assert(MAX_TIMEOUT_MS <= INT64_MAX / 2 / CLOCK_NS_PER_MS, "a deadline is a number of nanoseconds");

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

    assert(options->timeout_ms > 0 && flight->grpc == NULL);
    flight->client = client;
    flight->method = rpc_peer_method(client, service, method);
    if (flight->method == NULL)
        return -ENOMEM;
    err = rpc_flight_fill_metadata(flight, options);
    if (err != 0)
        return err;
    err = make_outgoing(flight, options);
    if (err == 0)
        err = reserve(flight);
    if (err != 0) {
        drop_outgoing(flight);
        rpc_flight_release_metadata(flight);
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
    if (flight->traced && span_is_wanted(flight->client->spans, &flight->trace))
        rpc_flight_end_span(flight, code);
    rpc_stats_handled(&flight->method->stats, code, clock_monotonic_ns() - flight->begun_ns, NULL);
}

void rpc_flight_end(struct rpc_flight *flight)
{
    struct rpc_client *client = flight->client;

    rpc_flight_release_metadata(flight);
    grpc_metadata_array_destroy(&flight->initial_metadata);
    grpc_metadata_array_destroy(&flight->trailing_metadata);
    grpc_slice_unref(flight->details);
    grpc_call_unref(flight->grpc);
    flight->grpc = NULL;
    rpc_channel_done(client, flight->channel);
    pthread_mutex_lock(&client->lock);
    assert(client->in_flight > 0);
    if (--client->in_flight == 0 && client->closing)
        pthread_cond_signal(&client->landed);
    pthread_mutex_unlock(&client->lock);
}
