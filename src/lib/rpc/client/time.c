/* Between our monotonic clock and C-core's. */
#include "clock.h"
#include "rpc_client_internal.h"
#include <grpc/support/time.h>

/* C-core's monotonic clock is ours plus a whole number of seconds: 0 in version 1.51, 5 in version 1.83. */
static uint64_t ahead_ns;
static pthread_once_t ahead_once = PTHREAD_ONCE_INIT;

static uint64_t nanoseconds(gpr_timespec time)
{
    if (time.tv_sec >= (int64_t)(INT64_MAX / CLOCK_NS_PER_S))
        return UINT64_MAX;
    return time.tv_sec >= 0 ? (uint64_t)time.tv_sec * CLOCK_NS_PER_S + (uint64_t)time.tv_nsec : 0;
}

/* Their clock is read between two readings of ours. Where these are less than a second apart, only one whole number of
 * seconds can be the difference. */
static void measure_ahead(void)
{
    uint64_t before, theirs, after;

    do {
        before = clock_monotonic_ns();
        theirs = nanoseconds(gpr_now(GPR_CLOCK_MONOTONIC));
        after = clock_monotonic_ns();
    } while (after - before >= CLOCK_NS_PER_S);
    assert(theirs >= before);
    ahead_ns = (theirs - before) / CLOCK_NS_PER_S * CLOCK_NS_PER_S;
    assert(theirs - ahead_ns <= after); /* else the difference is not whole seconds */
}

gpr_timespec rpc_time(uint64_t monotonic_ns)
{
    pthread_once(&ahead_once, measure_ahead);
    if (monotonic_ns >= INT64_MAX - ahead_ns)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_from_nanos((int64_t)(monotonic_ns + ahead_ns), GPR_CLOCK_MONOTONIC);
}

uint64_t rpc_monotonic_ns(gpr_timespec time)
{
    uint64_t theirs = nanoseconds(gpr_convert_clock_type(time, GPR_CLOCK_MONOTONIC));

    pthread_once(&ahead_once, measure_ahead);
    if (theirs == UINT64_MAX)
        return UINT64_MAX;
    return theirs > ahead_ns ? theirs - ahead_ns : 0;
}
