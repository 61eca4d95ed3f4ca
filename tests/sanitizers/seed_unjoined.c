/* A thread of src/lib that nobody waits for. */
#include "thread.h"
#include <criterion/criterion.h>
#include <semaphore.h>

static void *end(void *done)
{
    sem_post(done);
    return NULL;
}

Test(seed, unjoined)
{
    pthread_t thread;
    sem_t done;

    sem_init(&done, 0, 0);
    cr_assert_eq(thread_start(&thread, "seed", end, &done), 0);
    sem_wait(&done);
}
