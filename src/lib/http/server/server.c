#include "clock.h"
#include "http_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define CLOSE_BOUND_MS 10000
/* Beyond the largest max_body, so that our own 413 is sent after the body has been read. */
#define BODY_MARGIN (64 * 1024)

/* ---- connections ---- */

static void on_close(void *data)
{
    struct http_conn *conn = data;
    struct http_server *server = conn->worker->server;

    assert(conn->exchanges == 0);
    h2o_linklist_unlink(&conn->link);
    http_intake_end(conn);
    budget_give(&server->memory, conn->buffers);
    budget_give(&server->strangers, conn->strange);
    acceptor_left(&conn->place);
    free(conn);
}

static bool open_conn(void *arg, unsigned index, int take_fd, const struct sockaddr_storage *peer)
{
    struct http_server *server = arg;
    struct http_worker *worker = &server->workers[index];
    struct http_conn *conn = h2o_mem_alloc(sizeof(*conn));
    h2o_socket_t *socket = h2o_evloop_socket_create(worker->h2o.loop, take_fd,
                                                    H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION | H2O_SOCKET_FLAG_DONT_READ);

    *conn = (struct http_conn){
        .hosts = {server->h2o.hosts[0]}, .worker = worker, .socket = socket, .opened_ns = clock_monotonic_ns()};
    if (h2o_linklist_is_empty(&worker->conns))
        http_watch_start(worker);
    h2o_linklist_insert(&worker->conns, &conn->link);
    http_watch_open(conn);
    acceptor_join(server->acceptor, index, &conn->place, take_fd);
    net_ip_text(peer, conn->remote_ip);
    conn->is_proxy = acceptor_is_proxy(server->def.address_bound, peer);
    socket->on_close.cb = on_close;
    socket->on_close.data = conn;
    h2o_accept(&(h2o_accept_ctx_t){.ctx = &worker->h2o, .hosts = conn->hosts}, socket);
    http_intake_begin(conn);
    return true;
}

static bool has_begun(void *arg, struct acceptor_place *place)
{
    return !http_watch_is_idle(H2O_STRUCT_FROM_MEMBER(struct http_conn, place, place));
}

static void yield_conn(void *arg, struct acceptor_place *place)
{
    struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, place, place);

    if (http_linger_is_owed(conn))
        http_linger(conn);
    http_conn_shut(conn);
}

/* ---- leaving ---- */

static void discourage_worker(struct loop_message *message)
{
    H2O_STRUCT_FROM_MEMBER(struct http_worker, discourage_message, message)->h2o.shutdown_requested = 1;
}

static void drained(void *arg, unsigned index)
{
    struct http_server *server = arg;

    h2o_context_request_shutdown(&server->workers[index].h2o);
    http_streams_drain(&server->workers[index]);
}

static void end_streams_of(struct loop_message *message)
{
    http_streams_end(H2O_STRUCT_FROM_MEMBER(struct http_worker, streams_message, message));
}

static void end_streams(struct http_server *server)
{
    if (atomic_exchange(&server->streams_over, true))
        return;
    for (unsigned i = 0; i < server->worker_count; i++) {
        server->workers[i].streams_message.run = end_streams_of;
        loop_post(server->workers[i].loop, &server->workers[i].streams_message);
    }
}

/* Ends all that is there: waiting requests are answered 503, then connections are cut. Requests that still come from
 * what had been received are answered 503 too. */
static void cut_worker(void *arg)
{
    struct http_worker *worker = arg;

    worker->closing = true;
    http_exchanges_fail(worker); /* now no deferred answer has a request any more, ... */
    pthread_mutex_lock(&worker->gate->lock);
    worker->gate->loop = NULL; /* ... so that it may be freed by whoever gives it */
    pthread_mutex_unlock(&worker->gate->lock);
    for (h2o_linklist_t *link = worker->conns.next; link != &worker->conns; link = link->next)
        http_conn_shut(H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link));
}

/* ---- workers ---- */

static void init_worker(void *arg)
{
    struct http_worker *worker = arg;

    h2o_context_init(&worker->h2o, loop_h2o(worker->loop), &worker->server->h2o);
    http_intake_init(worker);
    http_watch_init(worker);
}

static void dispose_worker(void *arg)
{
    struct http_worker *worker = arg;

    loop_timer_stop(worker->loop, &worker->exchange_timer);
    loop_timer_stop(worker->loop, &worker->receive_timer);
    http_linger_end_all(worker);
    http_compress_end(worker);
    h2o_compat_context_dispose(&worker->h2o);
}

static int open_worker(struct http_server *server, unsigned index)
{
    struct http_worker *worker = &server->workers[index];
    int err;

    *worker = (struct http_worker){.server = server};
    h2o_linklist_init_anchor(&worker->conns);
    h2o_linklist_init_anchor(&worker->exchanges);
    h2o_linklist_init_anchor(&worker->lingering);
    h2o_linklist_init_anchor(&worker->streams);
    http_share_init(worker);
    worker->red = calloc((server->paths.count + 1) * HTTP_METHODS, sizeof(*worker->red));
    if (worker->red == NULL) {
        err = -ENOMEM;
        goto fail;
    }
    if ((err = loop_open(index, server->def.name, server->def.unrecorded ? NULL : server->def.metrics, &worker->loop)) <
        0)
        goto fail;
    if ((worker->gate = http_gate_new(worker->loop, server)) == NULL) {
        err = -ENOMEM;
        goto fail;
    }
    loop_call(worker->loop, init_worker, worker);
    return 0;
fail:
    loop_close(worker->loop);
    free(worker->red);
    return err;
}

static void close_worker(struct http_worker *worker)
{
    loop_call(worker->loop, dispose_worker, worker);
    loop_close(worker->loop);
    pthread_mutex_lock(&worker->gate->lock);
    worker->gate = http_gate_unref(worker->gate);
    free(worker->red);
}

/* ---- metrics ---- */

static void on_scrape(void *arg)
{
    struct http_server *server = arg;

    metrics_set(server->connections_gauge, acceptor_connections(server->acceptor));
    metrics_set(server->in_flight_gauge, atomic_load_explicit(&server->in_flight, memory_order_relaxed));
    metrics_set(server->streams_gauge, atomic_load_explicit(&server->streams, memory_order_relaxed));
    metrics_set(server->memory_gauge, (double)budget_used(&server->memory));
}

static struct metrics_series *own_series(struct http_server *server, const struct metrics_def *def)
{
    return metrics_series(metrics_family(server->def.metrics, def), (const struct str[]){str_of(server->def.name)});
}

static void open_memory_metrics(struct http_server *server)
{
    static const struct metrics_def used = {.name = "http_memory_bytes",
                                            .help = "Memory that clients make a listener hold.",
                                            .type = METRICS_GAUGE,
                                            .labels = {"server"}};
    static const struct metrics_def max = {.name = "http_memory_max_bytes",
                                           .help = "Bound of http_memory_bytes; 0: none.",
                                           .type = METRICS_GAUGE,
                                           .labels = {"server"}};
    static const struct metrics_def refused = {.name = "http_memory_refused_total",
                                               .help = "HTTP requests answered 503 for http_memory_max_bytes.",
                                               .type = METRICS_COUNTER,
                                               .labels = {"server"}};
    static const struct metrics_def closed = {.name = "http_memory_closed_total",
                                              .help = "HTTP connections closed for http_memory_max_bytes.",
                                              .type = METRICS_COUNTER,
                                              .labels = {"server"}};

    server->memory_gauge = own_series(server, &used);
    metrics_set(own_series(server, &max), (double)server->memory.max);
    server->refused_total = own_series(server, &refused);
    server->closed_total = own_series(server, &closed);
}

/* What fails has a series from the start on. One that comes with the first failures has no rate before the next ones:
 * an alert would miss them. */
static void open_failures(struct http_server *server)
{
    static const struct str statuses[] = {STR("500"), STR("502"), STR("503"), STR("504"), STR("507")};

    for (unsigned i = 0; i < server->paths.count; i++)
        for (unsigned method = 0; method < HTTP_OTHER_METHOD; method++)
            for (unsigned j = 0;
                 server->paths.paths[i].routes[method] != NULL && j < sizeof(statuses) / sizeof(*statuses); j++)
                metrics_series(server->requests,
                               (const struct str[]){str_of(http_method_name(method)),
                                                    str_of(server->paths.paths[i].template), statuses[j]});
}

static void open_metrics(struct http_server *server)
{
    static const struct metrics_def requests = {.name = "http_requests_total",
                                                .help = "HTTP requests by method, route and status.",
                                                .type = METRICS_COUNTER,
                                                .labels = {"method", "path", "status"}};
    static const struct metrics_def durations = {
        .name = "http_request_duration_seconds",
        .help = "Time from an HTTP request's being received to its response's having been sent.",
        .type = METRICS_HISTOGRAM,
        .labels = {"method", "path"}};
    static const struct metrics_def connections = {.name = "http_connections",
                                                   .help = "Open HTTP connections of a listener.",
                                                   .type = METRICS_GAUGE,
                                                   .labels = {"server"}};
    static const struct metrics_def in_flight = {.name = "http_requests_in_flight",
                                                 .help = "HTTP requests that are being answered.",
                                                 .type = METRICS_GAUGE,
                                                 .labels = {"server"}};
    static const struct metrics_def max_connections = {.name = "http_connections_max",
                                                       .help = "Bound of http_connections.",
                                                       .type = METRICS_GAUGE,
                                                       .labels = {"server"}};
    static const struct metrics_def max_in_flight = {.name = "http_requests_in_flight_max",
                                                     .help = "Bound of http_requests_in_flight.",
                                                     .type = METRICS_GAUGE,
                                                     .labels = {"server"}};
    static const struct metrics_def streams = {.name = "http_streams",
                                               .help = "Streaming replies that are open.",
                                               .type = METRICS_GAUGE,
                                               .labels = {"server"}};
    static const struct metrics_def streams_cut = {
        .name = "http_streams_cut_total",
        .help = "Streaming replies cut off: the client took nothing, or the server closed.",
        .type = METRICS_COUNTER,
        .labels = {"server"}};
    struct metrics *metrics = server->def.metrics;

    if (metrics == NULL)
        return;
    server->requests = metrics_family(metrics, &requests);
    server->durations = metrics_family(metrics, &durations);
    if (!server->def.unrecorded)
        open_failures(server);
    server->connections_gauge = own_series(server, &connections);
    server->in_flight_gauge = own_series(server, &in_flight);
    metrics_set(own_series(server, &max_connections), server->def.max_connections);
    metrics_set(own_series(server, &max_in_flight), server->def.max_in_flight);
    server->streams_gauge = own_series(server, &streams);
    server->streams_cut_total = own_series(server, &streams_cut);
    open_memory_metrics(server);
    http_refusals_open(server);
    metrics_on_scrape(metrics, on_scrape, server);
}

/* ---- the server ---- */

static void set_defaults(struct http_server_def *def)
{
    def->max_connections = def->max_connections > 0 ? def->max_connections : 10000;
    def->max_lingering = def->max_lingering > 0 ? def->max_lingering : 64;
    def->max_in_flight = def->max_in_flight > 0 ? def->max_in_flight : 10000;
    def->request_timeout_ms = def->request_timeout_ms > 0 ? def->request_timeout_ms : 30000;
    def->max_bodies = def->max_bodies > 0 ? def->max_bodies : 64 << 20;
    def->idle_timeout_ms = def->idle_timeout_ms > 0 ? def->idle_timeout_ms : 620000;
    def->receive_timeout_ms = def->receive_timeout_ms > 0 ? def->receive_timeout_ms : 10000;
}

/* Connections that hold nothing take at most half of the memory; requests, as long as they hold no more, all of it. */
static void bound_by_memory(struct http_server *server)
{
    server->memory.max = server->def.max_memory;
    server->memory.whole = server->def.whole;
    server->strangers.max = server->def.max_memory / HTTP_STRANGERS;
    server->def.max_connections = budget_fit(server->def.max_connections, server->def.max_memory, 2 * HTTP_CONN_BYTES);
    server->def.max_in_flight = budget_fit(server->def.max_in_flight, server->def.max_memory, HTTP_REQUEST_BYTES);
    if (server->def.max_streams == 0)
        server->def.max_streams = (server->def.max_in_flight + 1) / 2;
}

static void open_config(struct http_server *server)
{
    h2o_hostconf_t *host;

    h2o_config_init(&server->h2o);
    http_heads_measure(&server->h2o);
    server->h2o.max_request_entity_size = server->paths.largest_body + BODY_MARGIN;
    h2o_compat_set_timeouts(&server->h2o, server->def.idle_timeout_ms);
    host = h2o_config_register_host(&server->h2o, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    http_share_register(host);
    http_own_answers_register(host);
}

static int open_workers(struct http_server *server)
{
    int err = 0;

    server->workers = calloc(server->def.workers, sizeof(*server->workers));
    if (server->workers == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < server->def.workers && (err = open_worker(server, i)) == 0; i++)
        server->worker_count++;
    return err;
}

static int open_acceptor(struct http_server *server, int take_listen_fd)
{
    struct loop **loops = calloc(server->worker_count, sizeof(struct loop *));
    struct acceptor_def def = {.server = server->def.name,
                               .log = server->def.log,
                               .metrics = server->def.metrics,
                               .loops = loops,
                               .loop_count = server->worker_count,
                               .max_connections = server->def.max_connections,
                               .address_bound = server->def.address_bound,
                               .arg = server,
                               .open = open_conn,
                               .has_begun = has_begun,
                               .yield = yield_conn,
                               .drained = drained};
    int err;

    if (loops == NULL) {
        close(take_listen_fd);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < server->worker_count; i++)
        loops[i] = server->workers[i].loop;
    http_watch_bound_buffers(server, take_listen_fd);
    err = acceptor_open(take_listen_fd, &def, &server->acceptor);
    free(loops);
    return err;
}

int http_server_open(int take_listen_fd, const struct http_server_def *def, struct http_server **ret_server)
{
    struct http_server *server = calloc(1, sizeof(*server));
    int err = -ENOMEM;

    assert(def->workers > 0);
    if (server == NULL)
        goto fail;
    server->def = *def;
    set_defaults(&server->def);
    bound_by_memory(server);
    server->statm_fd = def->max_memory > 0 ? open("/proc/self/statm", O_RDONLY | O_CLOEXEC) : -1;
    if ((err = http_paths_open(def->routes, &server->paths)) < 0)
        goto fail;
    open_config(server);
    if ((err = open_workers(server)) < 0)
        goto fail;
    if ((err = open_acceptor(server, take_listen_fd)) < 0) {
        http_server_close(server);
        return err;
    }
    open_metrics(server);
    *ret_server = server;
    return 0;
fail:
    close(take_listen_fd);
    http_server_close(server);
    return err;
}

void http_server_start(struct http_server *server)
{
    acceptor_start(server->acceptor);
}

void http_server_discourage(struct http_server *server)
{
    if (atomic_exchange(&server->discouraged, true))
        return;
    for (unsigned i = 0; i < server->worker_count; i++) {
        server->workers[i].discourage_message.run = discourage_worker;
        loop_post(server->workers[i].loop, &server->workers[i].discourage_message);
    }
}

void http_server_drain(struct http_server *server)
{
    acceptor_drain(server->acceptor);
}

int http_server_wait(struct http_server *server, uint64_t deadline_ns)
{
    uint64_t now_ns = clock_monotonic_ns(), left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;

    if (acceptor_wait(server->acceptor, deadline_ns - left_ns / 4))
        return 0;
    end_streams(server);
    if (acceptor_wait(server->acceptor, deadline_ns))
        return 0;
    return atomic_load(&server->in_flight) == 0 ? 0 : -ETIMEDOUT;
}

/* Ends all connections. */
static void cut(struct http_server *server)
{
    acceptor_stop(server->acceptor);
    for (unsigned i = 0; i < server->worker_count; i++)
        loop_call(server->workers[i].loop, cut_worker, &server->workers[i]);
    if (!acceptor_wait(server->acceptor, clock_monotonic_ns() + CLOSE_BOUND_MS * CLOCK_NS_PER_MS))
        log_exit(server->def.log, EXIT_FAILURE, "a connection does not end: the process exits without waiting for it");
}

struct http_server *http_server_close(struct http_server *server)
{
    if (server == NULL)
        return NULL;
    if (server->acceptor != NULL)
        cut(server);
    metrics_off_scrape(server->def.metrics, on_scrape, server);
    for (unsigned i = 0; i < server->worker_count; i++)
        close_worker(&server->workers[i]);
    acceptor_free(server->acceptor);
    free(server->workers);
    if (server->h2o.hosts != NULL)
        h2o_config_dispose(&server->h2o);
    if (server->statm_fd >= 0)
        close(server->statm_fd);
    http_paths_release(&server->paths);
    free(server);
    return NULL;
}

unsigned http_server_workers(const struct http_server *server)
{
    return server->worker_count;
}

struct loop *http_server_loop(const struct http_server *server, unsigned index)
{
    return server->workers[index].loop;
}

uint64_t http_server_last_turn_ns(const struct http_server *server)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < server->worker_count; i++) {
        uint64_t turn = loop_last_turn_ns(server->workers[i].loop);
        oldest = turn < oldest ? turn : oldest;
    }
    return oldest;
}
