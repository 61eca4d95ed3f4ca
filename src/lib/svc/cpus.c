#include "cgroup.h"
#include "svc_cpus.h"
#include <sched.h>

unsigned svc_cpus(void)
{
    unsigned limit = cgroup_cpus(), online = 1;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        online = (unsigned)CPU_COUNT(&set);
    return limit != 0 && limit < online ? limit : online;
}
