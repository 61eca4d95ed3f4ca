#include "mutex.h"
#include "scheduler.h"

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (sim_self() == NULL) /* not in the simulation: conformance.c also talks to a real etcd */
        return __real_pthread_mutex_lock(mutex);
    if (pthread_mutex_trylock(mutex) != 0)
        sim_violated("a mutex is held by a fiber that has blocked");
    sim_locked();
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int err = __real_pthread_mutex_unlock(mutex);

    sim_unlocked();
    sim_preempt();
    return err;
}
