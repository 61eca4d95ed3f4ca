/* wait_group -- counts what has begun and not ended, and waits until all of it has, as Go's sync.WaitGroup does.
 *
 * Any thread may add, end and wait. The group may be released once a wait has returned true and no thread is still
 * within wait_group_done.
 */
#pragma once
#include "names.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wait_group {
    pthread_mutex_t lock; /* for changed, signalled when active falls to 0 */
    pthread_cond_t changed;
    atomic_uint active;
};

void wait_group_init(struct wait_group *group);
void wait_group_add(struct wait_group *group);
void wait_group_done(struct wait_group *group);
/* True when nothing is active; false where something still is at deadline_ns (monotonic). */
bool wait_group_wait(struct wait_group *group, uint64_t deadline_ns);
void wait_group_release(struct wait_group *group);
