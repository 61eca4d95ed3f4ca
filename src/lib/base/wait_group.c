#include "wait_group.h"
#include "thread.h"

void wait_group_init(struct wait_group *group)
{
    pthread_mutex_init(&group->lock, NULL);
    thread_cond_init(&group->changed);
    atomic_init(&group->active, 0);
}

void wait_group_add(struct wait_group *group)
{
    atomic_fetch_add_explicit(&group->active, 1, memory_order_relaxed);
}

void wait_group_done(struct wait_group *group)
{
    if (atomic_fetch_sub_explicit(&group->active, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(&group->lock);
    pthread_cond_broadcast(&group->changed);
    pthread_mutex_unlock(&group->lock);
}

bool wait_group_wait(struct wait_group *group, uint64_t deadline_ns)
{
    int err = 0;

    pthread_mutex_lock(&group->lock);
    while (atomic_load(&group->active) != 0 && err == 0)
        err = thread_wait_until(&group->changed, &group->lock, deadline_ns);
    pthread_mutex_unlock(&group->lock);
    return atomic_load(&group->active) == 0;
}

void wait_group_release(struct wait_group *group)
{
    pthread_cond_destroy(&group->changed);
    pthread_mutex_destroy(&group->lock);
}
