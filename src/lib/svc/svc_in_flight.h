/* svc_in_flight -- /in-flight: what all servers of the process are doing, as JSON.
 *
 * Each worker is asked by a message to its loop, and lists its requests and connections when that comes. A thread waits
 * for all of them, a second at most, so that the answer comes also where a loop is stuck: such a worker is named in
 * "stuck". One answer is made at a time.
 */
#pragma once
#include "http.h"
#include "include/names.h"
#include "svc_server.h"
#include <pthread.h>
#include <stdatomic.h>

struct svc_in_flight {
    atomic_bool busy;
    bool started; /* thread is to be joined; the admin listener's loop alone, and then svc_in_flight_end */
    pthread_t thread;
};

/* For a handler: defers, or returns a reply that says why not. */
struct http_reply *svc_in_flight_reply(struct svc_in_flight *in_flight, const struct svc_server *servers,
                                       unsigned server_count, unsigned workers, struct http_req *req);
/* When no request comes any more, and before the servers are closed. */
void svc_in_flight_end(struct svc_in_flight *in_flight);
