/* svc_cpus -- how many workers fit: the CPU limit of the cgroup (v2 or v1), rounded up, else the CPUs that the process
 * may run on. At least 1. */
#pragma once
#include "include/names.h"

unsigned svc_cpus(void);
