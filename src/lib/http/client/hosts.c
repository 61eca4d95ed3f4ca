/* hosts -- a worker's hosts: the target's addresses, and those that it no longer has whose connections have not all
 * ended; and which of them the next call goes to.
 */
#include "clock.h"
#include "http_client_internal.h"
#include <stdlib.h>

#define SKIP_MS 1000 /* an address to be avoided, as long as there are others */

static struct client_host *host_new(const struct client_address *address)
{
    struct client_host *host = calloc(1, sizeof(*host));

    if (host != NULL) {
        host->address = *address;
        h2o_linklist_init_anchor(&host->idle);
    }
    return host;
}

static struct client_host *find_host(const struct client_worker *worker, const struct client_address *address)
{
    for (unsigned i = 0; i < worker->host_count; i++)
        if (memcmp(&worker->hosts[i]->address.address, &address->address, sizeof(address->address)) == 0)
            return worker->hosts[i];
    return NULL;
}

/* Makes the hosts of addresses, those that are there already among them. Returns how many. */
static unsigned make_hosts(const struct client_worker *worker, const struct client_addresses *addresses,
                           struct client_host **hosts)
{
    unsigned count = 0;

    for (unsigned i = 0; i < addresses->count; i++) {
        struct client_host *host = find_host(worker, &addresses->list[i]);
        if (host != NULL || (host = host_new(&addresses->list[i])) != NULL)
            hosts[count++] = host;
    }
    return count;
}

void client_hosts_replace(struct client_worker *worker, struct client_host **hosts, unsigned count)
{
    struct client_host **old = worker->hosts;
    unsigned old_count = worker->host_count;

    for (unsigned i = 0; i < old_count; i++)
        old[i]->current = false;
    for (unsigned i = 0; i < count; i++) {
        hosts[i]->current = true;
        hosts[i]->users++;
    }
    worker->hosts = hosts;
    worker->host_count = count;
    for (unsigned i = 0; i < old_count; i++) {
        if (!old[i]->current)
            client_conns_retire(old[i], true);
        client_host_release(old[i]);
    }
    free(old);
}

void client_hosts_refresh(struct client_worker *worker)
{
    struct client_resolver *resolver = &worker->client->resolver;
    struct client_host **hosts;
    unsigned generation, count;

    if (atomic_load_explicit(&resolver->generation, memory_order_relaxed) == worker->generation)
        return;
    pthread_mutex_lock(&resolver->lock);
    generation = atomic_load(&resolver->generation);
    hosts = calloc(resolver->addresses.count + 1, sizeof(*hosts));
    count = hosts != NULL ? make_hosts(worker, &resolver->addresses, hosts) : 0;
    pthread_mutex_unlock(&resolver->lock);
    if (hosts == NULL)
        return;
    client_hosts_replace(worker, hosts, count);
    worker->generation = generation;
}

/* ---- the choice of an address ---- */

static uint64_t skip(struct client_worker *worker)
{
    client_resolver_want(&worker->client->resolver);
    return clock_monotonic_ns() + SKIP_MS * CLOCK_NS_PER_MS;
}

void client_host_failed(struct client_worker *worker, struct client_host *host)
{
    host->failed_until_ns = skip(worker);
}

void client_host_closes(struct client_worker *worker, struct client_host *host)
{
    host->closes_until_ns = skip(worker);
}

/* The one that failed longest ago may be back; a call that fails there goes on to the next. */
static struct client_host *longest_failed(const struct client_worker *worker)
{
    struct client_host *found = worker->hosts[0];

    for (unsigned i = 1; i < worker->host_count; i++)
        if (worker->hosts[i]->failed_until_ns < found->failed_until_ns)
            found = worker->hosts[i];
    return found;
}

enum rank { GOOD, CLOSES, FAILED };

static enum rank rank(const struct client_host *host, uint64_t now_ns)
{
    return host->failed_until_ns > now_ns ? FAILED : host->closes_until_ns > now_ns ? CLOSES : GOOD;
}

/* The nth of the best that there are. */
static struct client_host *nth_host(const struct client_worker *worker, uint64_t now_ns, unsigned n)
{
    unsigned counts[FAILED + 1] = {0};
    enum rank best;

    for (unsigned i = 0; i < worker->host_count; i++)
        counts[rank(worker->hosts[i], now_ns)]++;
    if (counts[GOOD] + counts[CLOSES] == 0)
        return longest_failed(worker);
    best = counts[GOOD] > 0 ? GOOD : CLOSES;
    n %= counts[best];
    for (unsigned i = 0;; i++)
        if (rank(worker->hosts[i], now_ns) == best && n-- == 0)
            return worker->hosts[i];
}

struct client_host *client_hosts_next(struct client_worker *worker)
{
    assert(worker->host_count > 0);
    return nth_host(worker, clock_monotonic_ns(), worker->next++);
}
