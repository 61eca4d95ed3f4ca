/* thread -- what all threads of the process begin and wait like: signals are left to the main thread (SIGPIPE too),
 * those that report a crash have a stack of their own, waits have a deadline on the monotonic clock.
 */
#pragma once
#include "names.h"
#include <pthread.h>
#include <stdint.h>

#define THREAD_SIGNAL_STACK (32 * 1024) /* bytes, for handlers with SA_ONSTACK */

/* name: 15 bytes of it are shown. 0 or -errno. */
int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *arg), void *arg);

/* A condition for thread_wait_until; ended by pthread_cond_destroy. */
void thread_cond_init(pthread_cond_t *cond);
/* As pthread_cond_wait, which may also return without a cause. 0 or, from deadline_ns (monotonic) on, -ETIMEDOUT. */
int thread_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);
