/* mutex -- the linker puts these in the place of pthread_mutex_lock and _unlock in all that the simulation is linked
 * from (-Wl,--wrap): where a fiber leaves its last mutex, others may run. So no mutex is ever contended. */
#pragma once
#include <pthread.h>

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
