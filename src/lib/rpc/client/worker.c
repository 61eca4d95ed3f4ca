/* A completion queue and its thread. Every tag is a struct rpc_event inside the object that it is about; its run is
 * called once for each batch that was started with it, in this thread. The thread ends when the queue is shut down and
 * everything that was started has come out of it: until then the objects must live. */
#include "rpc_client_internal.h"
#include "thread.h"
#include <errno.h>
#include <stdlib.h>

/* ThreadSanitizer does not see into C-core, whose queues order what is before and after them. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED_BY_TSAN
#endif
#endif
#if defined(WATCHED_BY_TSAN) || defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define TSAN_RELEASE(event_) __tsan_release(event_)
#define TSAN_ACQUIRE(event_) __tsan_acquire(event_)
#else
#define TSAN_RELEASE(event_) ((void)(event_))
#define TSAN_ACQUIRE(event_) ((void)(event_))
#endif

void rpc_start(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_event *event)
{
    grpc_call_error err;

    assert(event->run != NULL && count > 0);
    TSAN_RELEASE(event);
    err = grpc_call_start_batch(call, ops, count, event, NULL);
    assert(err == GRPC_CALL_OK);
}

static void *worker_run(void *arg)
{
    struct rpc_worker *worker = arg;

    for (;;) {
        uint64_t due_ns = worker->tick != NULL ? worker->tick(worker) : UINT64_MAX;
        grpc_event event = grpc_completion_queue_next(worker->queue, rpc_time(due_ns), NULL);

        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_event *done = event.tag;

            TSAN_ACQUIRE(done);
            done->run(done, event.success != 0);
        }
    }
}

int rpc_worker_init(struct rpc_worker *worker, uint64_t (*tick)(struct rpc_worker *))
{
    *worker = (struct rpc_worker){.queue = grpc_completion_queue_create_for_next(NULL), .tick = tick};
    return worker->queue != NULL ? 0 : -ENOMEM;
}

int rpc_worker_start(struct rpc_worker *worker, const char *name)
{
    int err = thread_start(&worker->thread, name, worker_run, worker);

    worker->running = err == 0;
    return err;
}

void rpc_worker_release(struct rpc_worker *worker)
{
    if (worker->queue == NULL)
        return;
    grpc_completion_queue_shutdown(worker->queue);
    if (worker->running)
        pthread_join(worker->thread, NULL);
    else
        worker_run(worker);
    grpc_completion_queue_destroy(worker->queue);
    *worker = (struct rpc_worker){0};
}
