#include "rpc_client_internal.h"
#include <errno.h>

/* Messages of one call that C-core has not taken yet: a ring with two bounds. FULL is advice: whoever sends is told to
 * wait until half of it is free. HARD is the end: the ring has no more slots. One message may be larger than both. */

#define CAPACITY (sizeof(((struct rpc_queue *)0)->messages) / sizeof(grpc_byte_buffer *))

static_assert(RPC_QUEUE_HARD > 1, "who sends is told before messages are refused");
static_assert(CAPACITY == RPC_QUEUE_FULL_MESSAGES * RPC_QUEUE_HARD, "beyond() keeps the ring from overflowing");

static bool beyond(const struct rpc_queue *queue, unsigned times)
{
    return queue->count >= RPC_QUEUE_FULL_MESSAGES * times || queue->bytes >= (size_t)RPC_QUEUE_FULL_BYTES * times;
}

int rpc_queue_put(struct rpc_queue *queue, grpc_byte_buffer *take_message)
{
    if (beyond(queue, RPC_QUEUE_HARD)) {
        grpc_byte_buffer_destroy(take_message);
        queue->full = true;
        return -ENOBUFS;
    }
    assert(queue->count < CAPACITY);
    queue->messages[(queue->first + queue->count++) % CAPACITY] = take_message;
    queue->bytes += grpc_byte_buffer_length(take_message);
    queue->full = queue->full || beyond(queue, 1);
    return queue->full;
}

grpc_byte_buffer *rpc_queue_take(struct rpc_queue *queue)
{
    grpc_byte_buffer *message;

    if (queue->count == 0)
        return NULL;
    message = queue->messages[queue->first];
    queue->first = (queue->first + 1) % CAPACITY;
    queue->count--;
    assert(queue->bytes >= grpc_byte_buffer_length(message));
    queue->bytes -= grpc_byte_buffer_length(message);
    return message;
}

bool rpc_queue_writable(struct rpc_queue *queue)
{
    if (!queue->full || queue->count > RPC_QUEUE_FULL_MESSAGES / 2 || queue->bytes > RPC_QUEUE_FULL_BYTES / 2)
        return false;
    queue->full = false;
    return true;
}

void rpc_queue_clear(struct rpc_queue *queue)
{
    grpc_byte_buffer *message;

    while ((message = rpc_queue_take(queue)) != NULL)
        grpc_byte_buffer_destroy(message);
    assert(queue->bytes == 0);
}
