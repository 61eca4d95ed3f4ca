#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>

#define SWEEP_MS 1000

/* The resolver has an answer, good or bad. */
static void run_resolved(struct loop_message *message)
{
    struct client_worker *worker = H2O_STRUCT_FROM_MEMBER(struct client_worker, resolved, message);
    struct client_resolver *resolver = &worker->client->resolver;

    pthread_mutex_lock(&resolver->lock);
    worker->notified = worker->waiting = false;
    pthread_mutex_unlock(&resolver->lock);
    client_hosts_refresh(worker);
    for (h2o_linklist_t *link = worker->calls.next, *next; link != &worker->calls; link = next) {
        struct http_call *call = H2O_STRUCT_FROM_MEMBER(struct http_call, link, link);
        next = link->next;
        if (!call->waiting)
            continue;
        call->waiting = false;
        if (worker->host_count > 0)
            client_call_attempt(call);
        else
            client_call_fail_soon(call, -ECONNREFUSED);
    }
}

/* In the resolver's thread, under its lock: so no loop that has ended is posted to. */
static void notify_workers(void *arg)
{
    struct http_client *client = arg;

    for (unsigned i = 0; i < client->def.workers; i++) {
        struct client_worker *worker = &client->workers[i];
        if (worker->loop != NULL && worker->waiting && !worker->notified) {
            worker->notified = true;
            worker->resolved.run = run_resolved;
            loop_post(worker->loop, &worker->resolved);
        }
    }
}

/* ---- a worker's life ---- */

static void set_loop(struct client_worker *worker, struct loop *loop)
{
    pthread_mutex_lock(&worker->client->resolver.lock);
    worker->loop = loop;
    pthread_mutex_unlock(&worker->client->resolver.lock);
}

static void run_sweeper(struct loop_timer *timer)
{
    struct client_worker *worker = H2O_STRUCT_FROM_MEMBER(struct client_worker, sweeper, timer);

    for (unsigned i = 0; i < worker->host_count; i++)
        client_conns_retire(worker->hosts[i], false);
    loop_timer_start(worker->loop, timer, SWEEP_MS, run_sweeper); /* or the next call starts it */
}

/* The loop ends: what is there ends before it. */
static void close_worker(struct loop_message *message)
{
    struct client_worker *worker = H2O_STRUCT_FROM_MEMBER(struct client_worker, closer, message);

    worker->closed = true;
    while (!h2o_linklist_is_empty(&worker->calls)) {
        struct http_call *call = H2O_STRUCT_FROM_MEMBER(struct http_call, link, worker->calls.next);
        if (call->conn != NULL)
            client_conn_close(call->conn);
        client_call_finish(call, -ECANCELED, NULL);
    }
    client_hosts_replace(worker, NULL, 0);
    loop_timer_stop(worker->loop, &worker->sweeper);
    set_loop(worker, NULL);
}

static struct client_worker *worker_of(struct http_client *client, struct loop *loop)
{
    struct client_worker *worker;

    assert(loop_is_current(loop) && loop_index(loop) < client->def.workers);
    worker = &client->workers[loop_index(loop)];
    if (worker->loop == NULL && !worker->closed) {
        set_loop(worker, loop);
        worker->closer.run = close_worker;
        loop_at_close(loop, &worker->closer);
    }
    assert(worker->closed || worker->loop == loop);
    return worker;
}

/* ---- calls ---- */

static int start_call(struct http_call *call, const struct http_client_request *request)
{
    int err = client_request_write(call, request);

    return err < 0 ? err
                   : loop_timer_start(call->worker->loop, &call->timer, request->timeout_ms, client_call_on_timer);
}

int http_client_call(struct http_client *client, struct loop *loop, const struct http_client_request *request,
                     http_client_done *done, void *arg, struct http_call **ret_call)
{
    struct client_worker *worker = worker_of(client, loop);
    struct http_call *call;
    int err;

    if (worker->closed)
        return -ECANCELED;
    if (worker->in_flight >= client->def.max_in_flight)
        return -ENOBUFS;
    if ((call = calloc(1, sizeof(*call))) == NULL)
        return -ENOMEM;
    *call = (struct http_call){
        .worker = worker, .err = -ETIMEDOUT, .start_ns = clock_monotonic_ns(), .done = done, .arg = arg};
    if ((err = start_call(call, request)) < 0) {
        client_request_release(call);
        free(call);
        return err;
    }
    h2o_linklist_insert(&worker->calls, &call->link);
    worker->in_flight++;
    if (!loop_timer_running(&worker->sweeper))
        loop_timer_start(loop, &worker->sweeper, SWEEP_MS, run_sweeper);
    client_call_attempt(call);
    *ret_call = call;
    return 0;
}

/* ---- responses ---- */

struct str http_client_header(const struct http_client_response *response, struct str name)
{
    struct http_field field;
    size_t position = 0;

    while (http_parse_next_field(response->head, &position, &field))
        if (str_caseeq(field.name, name))
            return field.value;
    return STR_NULL;
}

bool http_client_next_header(const struct http_client_response *response, size_t *position,
                             struct http_field *ret_field)
{
    return http_parse_next_field(response->head, position, ret_field);
}

/* ---- the client ---- */

/* Of the file descriptors there are, listeners need the most. */
static unsigned allowed_connections(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 > UINT_MAX)
        return UINT_MAX;
    return limit.rlim_cur >= 4 ? (unsigned)(limit.rlim_cur / 4) : 1;
}

static void set_defaults(struct http_client_def *def)
{
    def->max_connections = def->max_connections > 0 ? def->max_connections : allowed_connections();
    def->max_in_flight = def->max_in_flight > 0 ? def->max_in_flight : 1000;
    def->max_request_body = def->max_request_body > 0 ? def->max_request_body : 1024 * 1024;
    def->max_body = def->max_body > 0 ? def->max_body : 1024 * 1024;
    def->resolve_interval_ms = def->resolve_interval_ms > 0 ? def->resolve_interval_ms : 2000;
    def->max_connection_age_ms = def->max_connection_age_ms > 0 ? def->max_connection_age_ms : 10000;
    def->connect_timeout_ms = def->connect_timeout_ms > 0 ? def->connect_timeout_ms : 1000;
}

static struct metrics_series *open_metrics(struct http_client *client)
{
    static const struct metrics_def requests = {.name = "http_client_requests_total",
                                                .help = "HTTP calls to a peer by status, or by why there was none.",
                                                .type = METRICS_COUNTER,
                                                .labels = {"peer", "status"}};
    static const struct metrics_def durations = {.name = "http_client_request_duration_seconds",
                                                 .help = "Time of an HTTP call to a peer, all attempts together.",
                                                 .type = METRICS_HISTOGRAM,
                                                 .labels = {"peer"}};
    static const struct metrics_def conns = {.name = "http_client_connections",
                                             .help = "Connections to a peer, idle ones among them.",
                                             .type = METRICS_GAUGE,
                                             .labels = {"peer"}};
    static const struct metrics_def addresses = {
        .name = "http_client_addresses", .help = "Addresses of a peer.", .type = METRICS_GAUGE, .labels = {"peer"}};
    struct metrics *metrics = client->def.metrics;
    const struct str peer[] = {str_of(client->def.name)};

    client->requests = metrics_family(metrics, &requests);
    client->durations = metrics_series(metrics_family(metrics, &durations), peer);
    client->conn_gauge = metrics_series(metrics_family(metrics, &conns), peer);
    return metrics_series(metrics_family(metrics, &addresses), peer);
}

/* Replicas and workers begin at different addresses, so that they do not move in step. */
static void init_workers(struct http_client *client)
{
    unsigned first = 0;

    if (getrandom(&first, sizeof(first), GRND_NONBLOCK) != sizeof(first))
        first = 0;
    for (unsigned i = 0; i < client->def.workers; i++) {
        struct client_worker *worker = &client->workers[i];
        worker->client = client;
        worker->next = first % CLIENT_MAX_ADDRESSES + i;
        h2o_linklist_init_anchor(&worker->calls);
    }
}

int http_client_open(const struct http_client_def *def, struct http_client **ret_client)
{
    struct http_client *client = calloc(1, sizeof(*client));
    int err;

    if (client == NULL)
        return -ENOMEM;
    client->def = *def;
    set_defaults(&client->def);
    client->memory.max = client->def.max_memory;
    client->memory.whole = client->def.whole;
    atomic_init(&client->tokens, CLIENT_MAX_TOKENS);
    if ((client->workers = calloc(def->workers, sizeof(*client->workers))) == NULL) {
        free(client);
        return -ENOMEM;
    }
    init_workers(client);
    if ((err = client_resolver_open(&client->resolver, def->target, client->def.resolve_interval_ms,
                                    open_metrics(client), notify_workers, client)) < 0) {
        free(client->workers);
        free(client);
        return err;
    }
    *ret_client = client;
    return 0;
}

struct http_client *http_client_free(struct http_client *client)
{
    if (client == NULL)
        return NULL;
    for (unsigned i = 0; i < client->def.workers; i++)
        assert(client->workers[i].loop == NULL);
    if (client_resolver_release(&client->resolver)) {
        free(client->workers);
        free(client);
    }
    return NULL;
}
