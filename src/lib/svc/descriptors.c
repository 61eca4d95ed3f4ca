#include "acceptor.h"
#include "svc_descriptors.h"
#include <assert.h>
#include <limits.h>
#include <sys/resource.h>

#define ADMIN_MAX   256
#define ADMIN_MIN   8
#define ADMIN_PART  8  /* an eighth of the limit, between the two above */
#define FOR_PROCESS 32 /* standard streams, log, store, resolvers, files that are read for a moment */
/* epoll, eventfd, the copies of two listeners; of each listener a connection beyond ACCEPTOR_SPARE, since every thread
 * looks at that bound before it accepts one */
#define FOR_A_THREAD   6
#define LINGERING_PART 16                   /* of the limit, for all threads together */
#define LINGERING_MAX  64                   /* of a thread */
#define FOR_LISTENER   (ACCEPTOR_SPARE + 1) /* and its reserve */

static_assert(ADMIN_MIN <= ADMIN_MAX, "the admin listener's part is between the two");
static_assert(ADMIN_MIN >= ACCEPTOR_SPARE, "probes find room while connections yield");

static unsigned raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur < UINT_MAX ? (unsigned)limit.rlim_cur : UINT_MAX;
}

static unsigned between(unsigned least, unsigned value, unsigned most)
{
    return value < least ? least : value > most ? most : value;
}

struct svc_descriptors svc_descriptors_share(unsigned threads, unsigned shares)
{
    struct svc_descriptors result = {.limit = raise_limit()};
    unsigned taken;

    result.admin = between(ADMIN_MIN, result.limit / ADMIN_PART, ADMIN_MAX);
    result.lingering = between(1, result.limit / LINGERING_PART / threads, LINGERING_MAX);
    taken = FOR_PROCESS + (FOR_A_THREAD + result.lingering) * threads + FOR_LISTENER * (shares + 1) + result.admin;
    result.share = result.limit > taken ? (result.limit - taken) / (shares + 1) : 0;
    result.share = result.share > 0 ? result.share : 1;
    return result;
}
