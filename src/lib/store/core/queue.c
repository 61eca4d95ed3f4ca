#include "store_engine.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>

void store_queue_init(struct store_queue *queue, size_t max_count, size_t max_bytes)
{
    *queue = (struct store_queue){.max_count = max_count, .max_bytes = max_bytes, .wanted = 1};
    queue->last = &queue->first;
    pthread_mutex_init(&queue->mutex, NULL);
    thread_cond_init(&queue->filled);
}

void store_queue_release(struct store_queue *queue)
{
    assert(queue->first == NULL);
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->mutex);
}

static size_t batch_bytes(const struct store_batch *batch)
{
    return sizeof(*batch) + batch->bytes.len;
}

static int put_error(const struct store_queue *queue, size_t bytes)
{
    if (queue->closed)
        return -ECANCELED;
    return queue->count < queue->max_count && queue->bytes + bytes <= queue->max_bytes ? 0 : -ENOBUFS;
}

int store_queue_put(struct store_queue *queue, struct store_batch *batch)
{
    size_t bytes = batch_bytes(batch);
    int err;

    pthread_mutex_lock(&queue->mutex);
    err = put_error(queue, bytes);
    if (err == 0) {
        batch->next = NULL;
        *queue->last = batch;
        queue->last = &batch->next;
        queue->count++;
        queue->bytes += bytes;
        if (queue->count >= queue->wanted)
            pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->mutex);
    return err;
}

static void wait_filled(struct store_queue *queue, size_t wanted, uint64_t until_ns)
{
    queue->wanted = wanted;
    while (queue->count < wanted && !queue->closed)
        if (thread_wait_until(&queue->filled, &queue->mutex, until_ns) == -ETIMEDOUT)
            break;
    queue->wanted = 1;
}

bool store_queue_await(struct store_queue *queue, size_t wanted, uint64_t until_ns)
{
    bool reached;

    if (wanted > queue->max_count)
        wanted = queue->max_count;
    pthread_mutex_lock(&queue->mutex);
    wait_filled(queue, wanted, until_ns);
    reached = queue->count >= wanted;
    pthread_mutex_unlock(&queue->mutex);
    return reached;
}

size_t store_queue_take(struct store_queue *queue, struct store_batch **requests, size_t max_count, size_t max_bytes,
                        uint64_t until_ns, bool *ret_closed)
{
    size_t count = 0, bytes = 0;

    pthread_mutex_lock(&queue->mutex);
    wait_filled(queue, 1, until_ns);
    while (queue->first != NULL && count < max_count) {
        struct store_batch *batch = queue->first;
        size_t size = batch_bytes(batch);

        if (count > 0 && bytes + size > max_bytes)
            break;
        queue->first = batch->next;
        queue->count--;
        queue->bytes -= size;
        bytes += size;
        requests[count++] = batch;
    }
    if (queue->first == NULL)
        queue->last = &queue->first;
    *ret_closed = queue->closed && count == 0;
    pthread_mutex_unlock(&queue->mutex);
    return count;
}

void store_queue_close(struct store_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
}

size_t store_queue_count(struct store_queue *queue)
{
    size_t count;

    pthread_mutex_lock(&queue->mutex);
    count = queue->count;
    pthread_mutex_unlock(&queue->mutex);
    return count;
}
