#include "clock.h"
#include "store_etcd_world.h"
#include "thread.h"

static void sleep_ns(uint64_t ns)
{
    nanosleep(&(struct timespec){(time_t)(ns / CLOCK_NS_PER_S), (long)(ns % CLOCK_NS_PER_S)}, NULL);
}

static void join_thread(pthread_t thread)
{
    pthread_join(thread, NULL);
}

static void wake(pthread_cond_t *cond)
{
    pthread_cond_broadcast(cond);
}

static void await(sem_t *done)
{
    while (sem_wait(done) != 0)
        continue; /* a signal */
}

static void post(sem_t *done)
{
    sem_post(done);
}

const struct etcd_world etcd_real_world = {
    .monotonic_ns = clock_monotonic_ns,
    .realtime_ns = clock_realtime_ns,
    .sleep = sleep_ns,
    .new_id = uuid_new,
    .start_thread = thread_start,
    .join_thread = join_thread,
    .cond_init = thread_cond_init,
    .wait = thread_wait_until,
    .wake = wake,
    .await = await,
    .post = post,
    .client_open = rpc_client_open,
    .client_cancel = rpc_client_cancel,
    .client_free = rpc_client_free,
    .unary = rpc_unary,
    .stream_open = rpc_stream_open,
    .stream_send = rpc_stream_send,
    .stream_cancel = rpc_stream_cancel,
    .stream_unref = rpc_stream_unref,
};
