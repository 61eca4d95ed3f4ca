#include "svc_cpus.h"
#include <sched.h>
#include <stdio.h>

/* Reads one or two numbers; "max" and whatever else is not a number is no limit. */
static int read_numbers(const char *path, long long *first, long long *second)
{
    FILE *file = fopen(path, "re");
    int count;

    if (file == NULL)
        return 0;
    count = fscanf(file, "%lld %lld", first, second);
    fclose(file);
    return count;
}

static unsigned quotient_rounded_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

static unsigned cgroup_limit(void)
{
    long long quota = 0, period = 0, ignored;

    if (read_numbers("/sys/fs/cgroup/cpu.max", &quota, &period) == 2)
        return quotient_rounded_up(quota, period);
    if (read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota, &ignored) >= 1 &&
        read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period, &ignored) >= 1)
        return quotient_rounded_up(quota, period);
    return 0;
}

unsigned svc_cpus(void)
{
    unsigned limit = cgroup_limit(), online = 1;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        online = (unsigned)CPU_COUNT(&set);
    return limit != 0 && limit < online ? limit : online;
}
