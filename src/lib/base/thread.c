#include "thread.h"
#include "clock.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct beginning {
    void *(*run)(void *arg);
    void *arg;
};

/* The stack for signals lies at the beginning of the thread's own, where an overflow does not reach it. */
static void *begin(void *arg)
{
    struct beginning beginning = *(struct beginning *)arg;
    char signal_stack[THREAD_SIGNAL_STACK];
    stack_t before;
    void *result;

    free(arg);
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)}, &before);
    result = beginning.run(beginning.arg);
    sigaltstack(&before, NULL);
    return result;
}

int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *arg), void *arg)
{
    struct beginning *beginning = malloc(sizeof(*beginning));
    char shown[16] = "";
    sigset_t all, before;
    int err;

    if (beginning == NULL)
        return -ENOMEM;
    *beginning = (struct beginning){run, arg};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(ret_thread, NULL, begin, beginning);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        free(beginning);
    else
        pthread_setname_np(*ret_thread, strncat(shown, name, sizeof(shown) - 1));
    return -err;
}

void thread_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

int thread_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec until = {(time_t)(deadline_ns / CLOCK_NS_PER_S), (long)(deadline_ns % CLOCK_NS_PER_S)};

    return -pthread_cond_timedwait(cond, lock, &until);
}
