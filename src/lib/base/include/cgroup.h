/* cgroup -- the limits of the cgroup that this process is in, and of those above it that are visible; the least one
 * applies. Versions 1 and 2, in a container and outside. The functions read files of /proc and /sys: call them at
 * start.
 */
#pragma once
#include "names.h"
#include <stdint.h>

uint64_t cgroup_memory_bytes(void); /* 0: no limit */
unsigned cgroup_cpus(void);         /* CPU time per time, rounded up to whole CPUs; 0: no limit */

/* The same for tests: groups has the form of /proc/self/cgroup, mount that of /sys/fs/cgroup. */
uint64_t cgroup_memory_bytes_in(const char *groups, const char *mount);
unsigned cgroup_cpus_in(const char *groups, const char *mount);
