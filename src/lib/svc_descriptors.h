/* svc_descriptors -- how many file descriptors the process may open, and whom they are for.
 *
 * The admin listener has its part of them, so that probes are answered however many connections clients open. The rest
 * is shared alike by the HTTP listener, the gRPC listener and outgoing connections, those of them that there are.
 */
#pragma once

struct svc_descriptors {
    unsigned limit; /* of the process */
    unsigned admin; /* connections of the admin listener */
    unsigned share; /* connections of each other listener */
};

/* Raises the soft limit to the hard limit, and shares what it allows. threads: all that have an event loop or a
 * completion queue. listeners: but the admin listener. Called once, when starting. */
struct svc_descriptors svc_descriptors_share(unsigned threads, unsigned listeners);
