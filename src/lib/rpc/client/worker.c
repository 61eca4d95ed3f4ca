#include "clock.h"
#include "rpc_client_internal.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <grpc/support/time.h>
#include <stdlib.h>

/* C-core's messages on standard error quote what clients have sent: one could forge a whole line of the log. C-core
 * reads this variable when it starts. It is set before main, because setenv is not safe once there are threads; who
 * debugs C-core may set another value. */
__attribute__((constructor)) static void silence_grpc(void)
{
    setenv("GRPC_VERBOSITY", "NONE", 0);
}

/* C-core's monotonic clock is ours plus a whole number of seconds: 0 in version 1.51, 5 in version 1.83. */
static uint64_t ahead_ns;
static pthread_once_t ahead_once = PTHREAD_ONCE_INIT;

static uint64_t nanoseconds(gpr_timespec time)
{
    if (time.tv_sec >= (int64_t)(INT64_MAX / CLOCK_NS_PER_S))
        return UINT64_MAX;
    return time.tv_sec >= 0 ? (uint64_t)time.tv_sec * CLOCK_NS_PER_S + (uint64_t)time.tv_nsec : 0;
}

/* Their clock is read between two readings of ours. Where these are less than a second apart, only one whole number of
 * seconds can be the difference. */
static void measure_ahead(void)
{
    uint64_t before, theirs, after;

    do {
        before = clock_monotonic_ns();
        theirs = nanoseconds(gpr_now(GPR_CLOCK_MONOTONIC));
        after = clock_monotonic_ns();
    } while (after - before >= CLOCK_NS_PER_S);
    assert(theirs >= before);
    ahead_ns = (theirs - before) / CLOCK_NS_PER_S * CLOCK_NS_PER_S;
    assert(theirs - ahead_ns <= after); /* else the difference is not whole seconds */
}

gpr_timespec rpc_time(uint64_t monotonic_ns)
{
    pthread_once(&ahead_once, measure_ahead);
    if (monotonic_ns >= INT64_MAX - ahead_ns)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_from_nanos((int64_t)(monotonic_ns + ahead_ns), GPR_CLOCK_MONOTONIC);
}

uint64_t rpc_monotonic_ns(gpr_timespec time)
{
    uint64_t theirs = nanoseconds(gpr_convert_clock_type(time, GPR_CLOCK_MONOTONIC));

    pthread_once(&ahead_once, measure_ahead);
    if (theirs == UINT64_MAX)
        return UINT64_MAX;
    return theirs > ahead_ns ? theirs - ahead_ns : 0;
}

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
