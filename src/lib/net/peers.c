/* Addresses are kept in a tree: whoever chooses many of them cannot make it slow, as with a hash table. */
#include "peers.h"
#include "net_networks.h"
#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_BYTES 8 /* of an IPv6 address, by which clients are told apart */

struct net_peer {
    uint8_t address[NET_IP_BYTES];
    unsigned connections;
};

struct net_peers {
    const struct acceptor_address_bound *bound;
    pthread_mutex_t lock; /* of what follows */
    void *tree;           /* of struct net_peer, by address */
};

struct net_peers *net_peers_new(const struct acceptor_address_bound *bound)
{
    struct net_peers *peers = calloc(1, sizeof(*peers));

    assert(bound->max_connections > 0);
    if (peers == NULL)
        return NULL;
    peers->bound = bound;
    pthread_mutex_init(&peers->lock, NULL);
    return peers;
}

struct net_peers *net_peers_free(struct net_peers *peers)
{
    if (peers == NULL)
        return NULL;
    assert(peers->tree == NULL);
    pthread_mutex_destroy(&peers->lock);
    free(peers);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct net_peer *)a)->address, ((const struct net_peer *)b)->address, NET_IP_BYTES);
}

static struct net_peer *add(struct net_peers *peers, const struct net_peer *wanted)
{
    struct net_peer *peer = malloc(sizeof(*peer));

    if (peer == NULL)
        return NULL;
    *peer = *wanted;
    if (tsearch(peer, &peers->tree, compare) == NULL) {
        free(peer);
        return NULL;
    }
    return peer;
}

static struct net_peer *find(struct net_peers *peers, const struct net_peer *wanted)
{
    void *node = tfind(wanted, &peers->tree, compare);

    return node != NULL ? *(struct net_peer **)node : add(peers, wanted);
}

bool acceptor_is_proxy(const struct acceptor_address_bound *bound, const struct sockaddr_storage *address)
{
    uint8_t bytes[NET_IP_BYTES];

    if (bound == NULL || bound->trusted.count == 0)
        return false;
    net_ip_bytes(address, bytes);
    return net_networks_contain(&bound->trusted, bytes);
}

bool net_peers_join(struct net_peers *peers, const struct sockaddr_storage *address, struct net_peer **ret_peer)
{
    struct net_peer wanted = {.connections = 0}, *peer;
    bool joins;

    *ret_peer = NULL;
    if (acceptor_is_proxy(peers->bound, address))
        return true;
    net_ip_bytes(address, wanted.address);
    if (address->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)wanted.address))
        memset(wanted.address + CLIENT_BYTES, 0, NET_IP_BYTES - CLIENT_BYTES);
    pthread_mutex_lock(&peers->lock);
    peer = find(peers, &wanted);
    joins = peer != NULL && peer->connections < peers->bound->max_connections;
    if (joins) {
        peer->connections++;
        *ret_peer = peer;
    }
    pthread_mutex_unlock(&peers->lock);
    return joins;
}

void net_peers_leave(struct net_peers *peers, struct net_peer *peer)
{
    if (peer == NULL)
        return;
    pthread_mutex_lock(&peers->lock);
    assert(peer->connections > 0);
    if (--peer->connections == 0) {
        tdelete(peer, &peers->tree, compare);
        free(peer);
    }
    pthread_mutex_unlock(&peers->lock);
}
