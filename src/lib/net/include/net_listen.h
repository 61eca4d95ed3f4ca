/* net_listen -- listening sockets, and how they stop without losing a connection. Any thread; nothing blocks.
 */
#pragma once
#include "names.h"

/* A listening TCP socket, non-blocking, CLOEXEC, backlog as large as allowed. host: a numeric address ("::" is both
 * families where there is IPv6, else IPv4); port 0 picks one. No SO_REUSEPORT: a port in use is -EADDRINUSE. */
int net_listen(const char *host, int port, int *ret_fd, int *ret_port);
/* For options: NULL, or what a host to listen on must be. */
const char *net_listen_check_host(const char *host);
/* Drops new SYNs of a listening socket, so that its backlog can be emptied and closed without a reset: handshakes that
 * have begun still end. 0 or -errno; -EPERM: this kernel asks for a capability. */
int net_listen_stop_syn(int fd);
/* The same without any: all that comes with a TTL below 255 is dropped, which is to say all but what begins at 255 and
 * has crossed no router. Connections that are accepted from then on inherit that, and must be given to
 * net_listen_accepted.
 */
int net_listen_stop_syn_by_ttl(int fd);
/* The first of the two that works. Where both are refused, a connection that is being made right now may be reset. */
void net_listen_stop(int fd);
void net_listen_accepted(int fd);
