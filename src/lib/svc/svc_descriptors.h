/* svc_descriptors -- how many file descriptors the process may open, and whom they are for.
 *
 * The admin listener has its part of them, so that probes are answered however many connections clients open. The rest
 * is divided into equal shares: one for the HTTP listener, one for the gRPC listener, and one for outgoing connections.
 * A listener that the service does not have gets none. Some are for connections that are closed while their clients
 * still send, and linger.
 */
#pragma once
#include "include/names.h"

struct svc_descriptors {
    unsigned limit;     /* of the process */
    unsigned admin;     /* connections of the admin listener */
    unsigned share;     /* connections of each of the other listeners */
    unsigned lingering; /* connections that linger in each thread that has an event loop of HTTP */
};

/* Raises the soft limit to the hard limit, and shares what it allows. threads: all that have an event loop. shares: of
 * the listeners, without the one for outgoing connections. Called once, when starting. */
struct svc_descriptors svc_descriptors_share(unsigned threads, unsigned shares);
