/* The queue of requests: what its taker waits for. */
#include "clock.h"
#include "store_engine.h"
#include <criterion/criterion.h>

#define FAR_NS (clock_monotonic_ns() + 60 * CLOCK_NS_PER_S) /* a bound, not an expectation */

static struct store_queue queue;

static void init(void)
{
    store_queue_init(&queue, 8, 1 << 20);
}

static void put(unsigned count)
{
    while (count-- > 0)
        cr_assert_eq(store_queue_put(&queue, store_batch_new()), 0);
}

static size_t take(void)
{
    struct store_batch *requests[8];
    bool closed;
    size_t count = store_queue_take(&queue, requests, 8, 1 << 20, 0, &closed);

    for (size_t i = 0; i < count; i++)
        store_batch_free(requests[i]);
    return count;
}

static void release(void)
{
    take();
    store_queue_release(&queue);
}

static void *put_three(void *arg)
{
    for (int i = 0; i < 3; i++)
        put(1);
    return NULL;
}

static void *close_queue(void *arg)
{
    store_queue_close(&queue);
    return NULL;
}

TestSuite(store_queue, .init = init, .fini = release);

Test(store_queue, its_taker_waits_for_as_many_as_it_wants)
{
    pthread_t other;

    put(1);
    cr_assert_eq(pthread_create(&other, NULL, put_three, NULL), 0);
    cr_expect(store_queue_await(&queue, 4, FAR_NS));
    cr_expect_eq(take(), 4);
    pthread_join(other, NULL);
}

Test(store_queue, its_taker_takes_a_single_one_after_it_has_wanted_more)
{
    pthread_t other;
    struct store_batch *requests[8];
    size_t count = 0;
    bool closed;

    cr_expect_not(store_queue_await(&queue, 4, 1), "nothing is there, and the time has come");
    cr_assert_eq(pthread_create(&other, NULL, put_three, NULL), 0);
    while (count < 3)
        count += store_queue_take(&queue, requests + count, 8 - count, 1 << 20, FAR_NS, &closed);
    pthread_join(other, NULL);
    while (count > 0)
        store_batch_free(requests[--count]);
}

Test(store_queue, its_taker_does_not_wait_for_more_than_fit)
{
    put(8);
    cr_expect(store_queue_await(&queue, 9, FAR_NS));
    cr_expect_eq(take(), 8);
}

Test(store_queue, its_taker_does_not_wait_once_it_is_closed)
{
    pthread_t other;

    put(1);
    cr_assert_eq(pthread_create(&other, NULL, close_queue, NULL), 0);
    cr_expect_not(store_queue_await(&queue, 2, FAR_NS));
    pthread_join(other, NULL);
}
