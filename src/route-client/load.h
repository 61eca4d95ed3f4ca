/* load -- makes calls, so many at a time, and keeps account of them: a closed loop, the next begins when one has ended.
 *
 * Threads: load_run's caller waits; the calls are made by the client's threads. SIGINT and SIGTERM must be blocked in
 * all threads: they end the run early, after the calls in flight; a second one ends the process.
 */
#pragma once
#include "calls.h"
#include "histogram.h"

#define LOAD_STATUSES 17

struct load_stats {
    uint64_t calls, failed;
    uint64_t statuses[LOAD_STATUSES]; /* by gRPC status; a wrong answer counts as OK here, and as wrong */
    uint64_t wrong;
    struct histogram latency_ns; /* of all calls, failed ones too */
};

struct load_options {
    struct calls_options calls;
    const enum calls_kind *kinds; /* made by turns */
    size_t kind_count;
    unsigned concurrency;
    uint64_t limit;       /* calls; 0: as many as there is time for */
    uint64_t duration_ns; /* 0: until limit */
    bool progress;        /* a line on standard error, overwritten once a second */
};

struct load_result {
    uint64_t elapsed_ns;
    struct load_stats by_kind[CALLS_KINDS]; /* CALLS_GET_NOTHING is counted with CALLS_GET_FEATURE: one method */
    enum calls_kind first_failed_kind;
    struct calls_outcome first_failure; /* where any has failed */
};

/* 0 or -errno. */
int load_run(const struct load_options *options, struct load_result *ret_result);
