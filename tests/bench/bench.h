/* bench -- what benchmarks share. */
#pragma once
#include "metrics.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts values. */
static inline double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), bench_compare);
    return values[count / 2];
}

/* The CPU time that a process has taken so far. */
static inline double bench_cpu_seconds(pid_t pid)
{
    struct timespec time = {0};
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The value of a metric without labels. */
static inline double bench_metric(struct metrics *metrics, const char *name)
{
    struct buf text = {0};
    char line[64];
    double value = 0;
    char *found;

    metrics_write(metrics, &text);
    buf_append_char(&text, '\0');
    snprintf(line, sizeof(line), "\n%s ", name);
    found = buf_error(&text) == 0 ? strstr(text.data, line) : NULL;
    if (found != NULL)
        value = strtod(found + strlen(line), NULL);
    buf_release(&text);
    return value;
}
