/* net_forwarded -- whom a proxy forwards a request for, as X-Forwarded-For names them. Anybody can send that header: it
 * is believed only from proxies that are trusted.
 *
 * Each proxy appends the address that its own client came from. So the list is read from its end, as long as the
 * address found is a trusted proxy's: the first that is not is the client, whatever stands before it.
 */
#pragma once
#include "names.h"
#include "net_networks.h"

/* ip: the address of a trusted proxy, which is replaced by the one that it forwards for. line: a line of
 * X-Forwarded-For; of several, the last one is to be given first. Returns whether ip is still a trusted proxy's, so
 * that a line before this one says more. What is not an address, with or without a port, ends the reading. */
bool net_forwarded(const struct net_networks *proxies, struct str line, char ip[NET_IP_SIZE]);
