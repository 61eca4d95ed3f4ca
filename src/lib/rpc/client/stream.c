/* One stream, client side.
 *
 * BATCHES under way, at most one of each; each has an event:
 *
 *   opened     sends the client's metadata, receives the server's; once, from the beginning
 *   ended      receives the status; once, from the beginning. Its event sets over: from then on no batch is started
 *   received   the next message; again and again until all_received (no message: the server's end)
 *   sent       the next message of the queue, with the half-close after the last; half_closed: it was in the last one
 *
 * The stream has ended when over is set and no other batch is under way: on_done is called in the event that finds it
 * so. C-core completes every batch in the end, since the call has a deadline.
 *
 * THREADS. All events run in the thread of the call's queue, one after the other, and call the handlers. busy is set
 * while one runs: what callers start meanwhile is started by settle at its end, so that a handler that sends does not
 * start a batch within the event of the former one. Callers may use any thread: what they do is under the lock.
 *
 * LOCKS. lock guards what stands after it. Handlers are called without it. grpc_call_cancel is called under it, because
 * the last event releases the call when over is set.
 *
 * MEMORY. Two references: the library's, given back after on_done, and the caller's. The flight (C-core's call) ends
 * with the library's; after that callers find over set, and do nothing.
 */
#include "rpc_client_internal.h"
#include <errno.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

struct rpc_stream {
    struct rpc_flight flight;
    struct rpc_event opened, ended, received, sent;
    struct rpc_stream_handlers handlers;
    void *arg;
    atomic_uint refs;
    grpc_byte_buffer *incoming; /* events alone */

    pthread_mutex_t lock; /* of what follows */
    struct rpc_queue queue;
    grpc_byte_buffer *sending_message;
    bool busy; /* in an event: nothing is started before its end */
    bool opening, sending, receiving;
    bool half_close; /* asked for */
    bool half_closed, all_received, broken;
    bool over; /* the status has come */
};

struct rpc_stream *rpc_stream_unref(struct rpc_stream *stream)
{
    if (stream != NULL && atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&stream->lock);
        free(stream);
    }
    return NULL;
}

/* ---- starting batches: under the lock ---- */

static void start_sending(struct rpc_stream *stream)
{
    grpc_op ops[2] = {0};
    size_t count = 0;
    grpc_byte_buffer *message = rpc_queue_take(&stream->queue);
    bool last = stream->half_close && stream->queue.count == 0;

    if (message != NULL) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count].flags = stream->queue.count > 0 ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[count++].data.send_message.send_message = message;
    }
    if (last)
        ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    if (count == 0)
        return;
    assert(!stream->sending && !stream->half_closed && stream->sending_message == NULL);
    stream->sending_message = message;
    stream->sending = true;
    stream->half_closed = last;
    rpc_start(stream->flight.grpc, ops, count, &stream->sent);
}

static void start_receiving(struct rpc_stream *stream)
{
    assert(!stream->receiving && !stream->all_received);
    stream->receiving = true;
    rpc_start(stream->flight.grpc,
              &(grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->incoming}, 1,
              &stream->received);
}

static void pump(struct rpc_stream *stream)
{
    if (stream->busy || stream->over)
        return;
    if (!stream->sending && !stream->half_closed)
        start_sending(stream);
    if (!stream->receiving && !stream->all_received)
        start_receiving(stream);
}

/* ---- events ---- */

static void end(struct rpc_stream *stream)
{
    char *text;
    struct rpc_status status = rpc_flight_status(&stream->flight, &text);

    assert(stream->over && stream->sending_message == NULL && stream->incoming == NULL);
    rpc_flight_landed(&stream->flight);
    rpc_flight_count(&stream->flight, status.code);
    stream->handlers.on_done(stream->arg, &status);
    gpr_free(text);
    pthread_mutex_lock(&stream->lock);
    rpc_queue_clear(&stream->queue);
    pthread_mutex_unlock(&stream->lock);
    rpc_flight_end(&stream->flight);
    rpc_stream_unref(stream);
}

static void settle(struct rpc_stream *stream)
{
    bool last;

    pthread_mutex_lock(&stream->lock);
    stream->busy = false;
    pump(stream);
    last = stream->over && !stream->opening && !stream->sending && !stream->receiving;
    pthread_mutex_unlock(&stream->lock);
    if (last)
        end(stream);
}

static void deliver(struct rpc_stream *stream, grpc_byte_buffer *bytes)
{
    struct rpc_unpacked unpacked;

    if (rpc_unpack(bytes, stream->flight.method->descriptor->output, &unpacked) != 0) {
        stream->broken = true;
        grpc_call_cancel_with_status(stream->flight.grpc, GRPC_STATUS_INTERNAL, "a message cannot be unpacked", NULL);
        return;
    }
    stream->handlers.on_message(stream->arg, unpacked.message);
    rpc_unpacked_release(&unpacked);
}

static void on_received(struct rpc_event *event, bool ok)
{
    struct rpc_stream *stream = RPC_OWNER(event, struct rpc_stream, received);
    grpc_byte_buffer *bytes = stream->incoming;

    pthread_mutex_lock(&stream->lock);
    stream->busy = true;
    stream->receiving = false;
    stream->all_received = !ok || bytes == NULL;
    pthread_mutex_unlock(&stream->lock);
    stream->incoming = NULL;
    if (ok && bytes != NULL && !stream->broken)
        deliver(stream, bytes);
    grpc_byte_buffer_destroy(bytes);
    settle(stream);
}

static void on_sent(struct rpc_event *event, bool ok)
{
    struct rpc_stream *stream = RPC_OWNER(event, struct rpc_stream, sent);
    bool writable;

    pthread_mutex_lock(&stream->lock);
    stream->busy = true;
    stream->sending = false;
    grpc_byte_buffer_destroy(stream->sending_message);
    stream->sending_message = NULL;
    if (!ok)
        rpc_queue_clear(&stream->queue);
    writable = ok && !stream->half_close && !stream->over && rpc_queue_writable(&stream->queue);
    pthread_mutex_unlock(&stream->lock);
    if (writable && stream->handlers.on_writable != NULL)
        stream->handlers.on_writable(stream->arg);
    settle(stream);
}

static void on_opened(struct rpc_event *event, bool ok)
{
    struct rpc_stream *stream = RPC_OWNER(event, struct rpc_stream, opened);

    pthread_mutex_lock(&stream->lock);
    stream->opening = false;
    pthread_mutex_unlock(&stream->lock);
    settle(stream);
}

static void on_ended(struct rpc_event *event, bool ok)
{
    struct rpc_stream *stream = RPC_OWNER(event, struct rpc_stream, ended);

    pthread_mutex_lock(&stream->lock);
    assert(!stream->over);
    stream->over = true;
    pthread_mutex_unlock(&stream->lock);
    settle(stream);
}

/* ---- what callers call ---- */

static struct rpc_stream *stream_new(const struct rpc_stream_handlers *handlers, void *arg)
{
    struct rpc_stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->opened.run = on_opened;
    stream->ended.run = on_ended;
    stream->received.run = on_received;
    stream->sent.run = on_sent;
    stream->handlers = *handlers;
    stream->arg = arg;
    atomic_init(&stream->refs, 2); /* the library's and the caller's */
    pthread_mutex_init(&stream->lock, NULL);
    return stream;
}

int rpc_stream_open(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                    const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers, void *arg,
                    struct rpc_stream **ret_stream)
{
    struct rpc_stream *stream = stream_new(handlers, arg);
    int err;

    if (stream == NULL)
        return -ENOMEM;
    err = rpc_flight_begin(&stream->flight, client, service, method, options);
    if (err != 0) {
        pthread_mutex_destroy(&stream->lock);
        free(stream);
        return err;
    }
    *ret_stream = stream;
    pthread_mutex_lock(&stream->lock);
    stream->opening = true;
    const grpc_op status = rpc_flight_recv_status(&stream->flight);
    const grpc_op metadata[] = {
        rpc_flight_send_metadata(&stream->flight, options),
        rpc_flight_recv_metadata(&stream->flight),
    };
    rpc_start(stream->flight.grpc, metadata, 2, &stream->opened);
    rpc_start(stream->flight.grpc, &status, 1, &stream->ended);
    pump(stream);
    pthread_mutex_unlock(&stream->lock);
    return 0;
}

int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    grpc_byte_buffer *bytes = rpc_pack(message);
    int result;

    pthread_mutex_lock(&stream->lock);
    if (stream->half_close || stream->over) {
        grpc_byte_buffer_destroy(bytes);
        result = -ECANCELED;
    } else {
        result = rpc_queue_put(&stream->queue, bytes);
        pump(stream);
    }
    pthread_mutex_unlock(&stream->lock);
    return result;
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->half_close = true;
    pump(stream);
    pthread_mutex_unlock(&stream->lock);
}

/* Under the lock, because the last event releases the call when over is set. */
void rpc_stream_cancel(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->over)
        grpc_call_cancel(stream->flight.grpc, NULL);
    pthread_mutex_unlock(&stream->lock);
}
