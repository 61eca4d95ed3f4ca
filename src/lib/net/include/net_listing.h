/* net_listing -- what a server says of its requests in flight and its connections, for people who look into a process.
 *
 * A server calls the functions of a listing for each of them, in the thread of their loop. What they get is valid
 * during the call only.
 */
#pragma once
#include "buf.h"
#include "names.h"

struct net_listed_request {
    struct str method, path, route; /* route: the template, or the rpc; the path has no query */
    const char *phase;              /* "queued", "receiving", "handling", "sending" */
    struct str client;              /* address */
    const struct trace *trace;
    uint64_t begun_ns; /* monotonic */
};

struct net_listed_connection {
    struct str peer; /* address */
    uint64_t opened_ns;
    unsigned requests; /* in flight */
    size_t held_bytes; /* as far as they are counted by connection */
};

struct net_listing {
    void *arg;
    void (*request)(void *arg, const struct net_listed_request *request);
    void (*connection)(void *arg, const struct net_listed_connection *connection);
};
