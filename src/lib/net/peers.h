/* net_peers -- how many connections each client address has, with a bound.
 *
 * An IPv6 client chooses the last 64 bits of its address as it likes: those with the same first 64 bits count as one.
 * An address is known while it has connections, so that the memory is bounded with them: about 100 bytes for each. Any
 * thread.
 */
#pragma once
#include "acceptor.h"
#include "include/names.h"

struct net_peer;
struct net_peers;

/* bound outlives it. NULL: out of memory. */
struct net_peers *net_peers_new(const struct acceptor_address_bound *bound);
/* When no connection is left. NULL is accepted; returns NULL. */
struct net_peers *net_peers_free(struct net_peers *peers);
/* Counts a connection. False: its address has as many as it may, or there is no memory. *ret_peer is for
 * net_peers_leave; NULL: the address is not counted. */
bool net_peers_join(struct net_peers *peers, const struct sockaddr_storage *address, struct net_peer **ret_peer);
void net_peers_leave(struct net_peers *peers, struct net_peer *peer);
