/* C-core's life in this process.
 *
 * The last grpc_shutdown() only begins the end: C-core's own threads hold uses of the library too, and the last of them
 * cleans up. A process that exits before they are done runs the destructors of OpenSSL and C-core under them, and
 * aborts or crashes now and then. So our last use waits for theirs. There is no call that waits; but
 * grpc_is_initialized() takes the lock that the clean-up holds, and is false only after it.
 */
#include "clock.h"
#include "rpc_client_internal.h"
#include <stdlib.h>
#include <time.h>

#define WAIT_NS (2 * CLOCK_NS_PER_S) /* it takes 1 to 10 ms */
#define LOOK_NS CLOCK_NS_PER_MS

static atomic_uint users;

/* C-core's messages on standard error quote what clients have sent: one could forge a whole line of the log. C-core
 * reads this variable when it starts. It is set before main, because setenv is not safe once there are threads; who
 * debugs C-core may set another value. */
__attribute__((constructor)) static void silence_grpc(void)
{
    setenv("GRPC_VERBOSITY", "NONE", 0);
}

void rpc_library_use(void)
{
    atomic_fetch_add(&users, 1);
    grpc_init();
    assert(grpc_version_string()[0] != '\0'); /* svc logs it where this program has it */
}

void rpc_library_done(void)
{
    const uint64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    unsigned before = atomic_fetch_sub(&users, 1);
    bool last = before == 1;

    assert(before > 0);
    grpc_shutdown();
    while (last && grpc_is_initialized() && atomic_load(&users) == 0 && clock_monotonic_ns() < deadline_ns)
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}
