#include "clock.h"
#include "http_client_internal.h"
#include "thread.h"
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#define LEAST_INTERVAL_MS 100  /* between two resolutions, however much they are wanted */
#define STOP_BOUND_MS     1000 /* getaddrinfo(3) cannot be interrupted */

static_assert(CLIENT_MAX_TARGETS <= CLIENT_MAX_ADDRESSES, "each target has room for an address");

/* ---- the target ---- */

/* "host:port" or "[::1]:port"; cuts piece in place. authority is the uncut text. */
static int parse_target(char *piece, const char *authority, struct client_target *ret_target)
{
    char *colon = strrchr(piece, ':'), *host = piece, *end;
    struct str port;
    uint64_t number;

    if (colon == NULL || colon == piece)
        return -EINVAL;
    end = colon;
    port = str_of(colon + 1);
    if (*piece == '[') {
        if (end[-1] != ']')
            return -EINVAL;
        host++;
        end--;
    } else if (memchr(piece, ':', (size_t)(colon - piece)) != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    if (end <= host || str_to_u64(port, 65535, &number) < 0 || number == 0)
        return -EINVAL;
    *end = *colon = '\0';
    *ret_target = (struct client_target){authority, host, port.s};
    return 0;
}

/* The resolver keeps the list twice: cut at commas for the Host header, and cut further into hosts and ports. */
static int parse_targets(struct client_resolver *resolver, const char *target)
{
    size_t size = strlen(target) + 1;
    char *authority, *piece, *next;

    if ((resolver->target = malloc(2 * size)) == NULL)
        return -ENOMEM;
    authority = resolver->target;
    memcpy(authority, target, size);
    for (; authority != NULL; authority = next) {
        if ((next = strchr(authority, ',')) != NULL)
            *next++ = '\0';
        piece = authority + size;
        strcpy(piece, authority);
        if (resolver->target_count == CLIENT_MAX_TARGETS ||
            parse_target(piece, authority, &resolver->targets[resolver->target_count]) < 0)
            return -EINVAL;
        resolver->target_count++;
    }
    return 0;
}

const char *http_client_check_target(const char *target)
{
    struct client_resolver parsed = {0};
    int r = parse_targets(&parsed, target);

    free(parsed.target);
    return r == 0 ? NULL : r == -EINVAL ? "must be host:port" : strerror(-r);
}

/* ---- resolving ---- */

static int compare_addresses(const void *a, const void *b)
{
    const struct client_address *x = a, *y = b;

    return memcmp(&x->address, &y->address, sizeof(x->address));
}

/* Sorted, so that all replicas of a service see the same order; without those that are there twice. */
static void normalize(struct client_addresses *addresses)
{
    unsigned kept = 0;

    qsort(addresses->list, addresses->count, sizeof(*addresses->list), compare_addresses);
    for (unsigned i = 0; i < addresses->count; i++)
        if (kept == 0 || compare_addresses(&addresses->list[i], &addresses->list[kept - 1]) != 0)
            addresses->list[kept++] = addresses->list[i];
    addresses->count = kept;
}

/* Appends what one target has. 0 or -EAGAIN. */
static int resolve_one(const struct client_target *target, int flags, struct client_addresses *addresses)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | flags, .ai_socktype = SOCK_STREAM}, *found;

    if (getaddrinfo(target->host, target->port, &hints, &found) != 0)
        return -EAGAIN;
    for (struct addrinfo *a = found; a != NULL && addresses->count < CLIENT_MAX_ADDRESSES; a = a->ai_next) {
        struct client_address *address = &addresses->list[addresses->count++];
        *address = (struct client_address){.len = a->ai_addrlen, .authority = target->authority};
        memset(&address->address, 0, sizeof(address->address));
        memcpy(&address->address, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    return 0;
}

static int resolve(const struct client_resolver *resolver, int flags, struct client_addresses *addresses)
{
    int err = 0;

    addresses->count = 0;
    for (unsigned i = 0; i < resolver->target_count; i++)
        err = resolve_one(&resolver->targets[i], flags, addresses) < 0 ? -EAGAIN : err;
    normalize(addresses);
    return err;
}

static bool same(const struct client_addresses *a, const struct client_addresses *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (compare_addresses(&a->list[i], &b->list[i]) != 0)
            return false;
    return true;
}

/* Locked. Addresses that once worked are better than a name server that fails: they are kept. */
static void publish(struct client_resolver *resolver, const struct client_addresses *addresses, int err)
{
    if ((err == 0 || resolver->addresses.count == 0) && !same(addresses, &resolver->addresses)) {
        resolver->addresses = *addresses;
        atomic_fetch_add(&resolver->generation, 1);
        metrics_set(resolver->address_gauge, addresses->count);
    }
}

/* ---- the thread ---- */

/* Locked. Returns at once when stopping. */
static void sleep_until_wanted(struct client_resolver *resolver, unsigned ms, bool wakeable)
{
    uint64_t due_ns = clock_monotonic_ns() + ms * CLOCK_NS_PER_MS;
    int err = 0;

    while (!resolver->stopping && !(wakeable && resolver->wanted) && err == 0)
        err = thread_wait_until(&resolver->changed, &resolver->lock, due_ns);
}

static void *resolver_main(void *arg)
{
    struct client_resolver *resolver = arg;
    struct client_addresses *found = calloc(1, sizeof(*found));
    int err;

    pthread_mutex_lock(&resolver->lock);
    while (!resolver->stopping && found != NULL) {
        resolver->wanted = false;
        pthread_mutex_unlock(&resolver->lock);
        err = resolve(resolver, 0, found);
        pthread_mutex_lock(&resolver->lock);
        if (resolver->stopping)
            break;
        publish(resolver, found, err);
        resolver->resolved(resolver->arg);
        sleep_until_wanted(resolver, LEAST_INTERVAL_MS, false);
        sleep_until_wanted(resolver, resolver->interval_ms, true);
    }
    free(found);
    resolver->running = false;
    pthread_cond_broadcast(&resolver->changed);
    pthread_mutex_unlock(&resolver->lock);
    return NULL;
}

static int start_thread(struct client_resolver *resolver)
{
    pthread_t thread;
    int err;

    resolver->running = true;
    if ((err = thread_start(&thread, "resolver", resolver_main, resolver)) == 0)
        pthread_detach(thread);
    else
        resolver->running = false;
    return err;
}

/* ---- what others call ---- */

static int resolve_numeric(struct client_resolver *resolver)
{
    struct client_addresses *found = calloc(1, sizeof(*found));
    int err = -ENOMEM;

    if (found != NULL && (err = resolve(resolver, AI_NUMERICHOST, found)) == 0)
        publish(resolver, found, 0);
    free(found);
    return err;
}

int client_resolver_open(struct client_resolver *resolver, const char *target, unsigned interval_ms,
                         struct metrics_series *address_gauge, void (*resolved)(void *arg), void *arg)
{
    int err;

    *resolver = (struct client_resolver){
        .interval_ms = interval_ms, .address_gauge = address_gauge, .resolved = resolved, .arg = arg};
    thread_cond_init(&resolver->changed);
    pthread_mutex_init(&resolver->lock, NULL);
    if ((err = parse_targets(resolver, target)) == 0 && (err = resolve_numeric(resolver)) == -EAGAIN)
        err = start_thread(resolver);
    if (err < 0)
        client_resolver_release(resolver);
    return err;
}

bool client_resolver_asks(struct client_resolver *resolver)
{
    bool asks;

    pthread_mutex_lock(&resolver->lock);
    asks = resolver->running;
    pthread_mutex_unlock(&resolver->lock);
    return asks;
}

void client_resolver_want(struct client_resolver *resolver)
{
    pthread_mutex_lock(&resolver->lock);
    resolver->wanted = true;
    pthread_cond_broadcast(&resolver->changed);
    pthread_mutex_unlock(&resolver->lock);
}

bool client_resolver_release(struct client_resolver *resolver)
{
    uint64_t due_ns = clock_monotonic_ns() + STOP_BOUND_MS * CLOCK_NS_PER_MS;
    int err = 0;
    bool running;

    pthread_mutex_lock(&resolver->lock);
    resolver->stopping = true;
    pthread_cond_broadcast(&resolver->changed);
    while (resolver->running && err == 0)
        err = thread_wait_until(&resolver->changed, &resolver->lock, due_ns);
    running = resolver->running;
    pthread_mutex_unlock(&resolver->lock);
    if (running)
        return false;
    free(resolver->target);
    pthread_cond_destroy(&resolver->changed);
    pthread_mutex_destroy(&resolver->lock);
    return true;
}
