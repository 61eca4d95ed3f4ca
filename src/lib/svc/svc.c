#include "svc.h"
#include "clock.h"
#include "crash.h"
#include "http_auth.h"
#include "net_listen.h"
#include "svc_context.h"
#include "svc_cpus.h"
#include "svc_libraries.h"
#include "svc_signals.h"
#include "svc_store.h"
#include "svc_telemetry.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_DRAINED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define LOG_FLUSH_MS       2000
#define TELEMETRY_FLUSH_MS 1000
#define STOP_MS            10000 /* bound on stop */
/* Where requests were cut off: within what Kubernetes still allows, and stop has less to do. */
#define STOP_LATE_MS 4000
#define MAX_TABLES   (SVC_MAX_SERVERS + 5) /* the common ones, ports, the store's, the service's own */

/* ---- options ---- */

static const struct config_option common_options[] = {
    {"BIND_ADDRESS", "::", .help = "numeric address to listen on; :: listens on all IPv6 and IPv4 addresses",
     .check = net_listen_check_host},
    {"METRICS_PORT", "9090", CONFIG_INT, 0, 65535,
     .help = "port of /healthz, /readyz, /metrics and diagnostics; 0: any free port"},
    {"WORKERS", "0", CONFIG_INT, 0, 256, .unit = "threads",
     .help = "event loops; 0: one for each CPU of the CPU limit"},
    {"LOG_LEVEL", "info", CONFIG_CHOICE, .choices = "debug|info|notice|warning|error|critical",
     .help = "minimum severity; at run time PUT /log-level on the admin port, or SIGUSR1 for debug"},
    {"LOG_FORMAT", "json", CONFIG_CHOICE, .choices = "json|text", .help = "text prints lines for people"},
    {"LOG_SKIP_SUCCESSES", "0", CONFIG_INT, 0, 100, .unit = "%",
     .help = "share of traces whose successful requests are not logged; sampled traces are always logged"},
    {"MAX_CONNECTIONS", "10000", CONFIG_INT, 1, 1000000,
     .help = "connections, of HTTP and of gRPC each; a further one replaces the longest idle one, or is closed"},
    {"MAX_CONNECTIONS_PER_ADDRESS", "0", CONFIG_INT, 0, 1000000,
     .help = "connections of one client address (IPv6: /64), of HTTP and of gRPC each; 0: unlimited"},
    {"TRUSTED_PROXIES", "",
     .help =
         "addresses and networks (10.0.0.0/8,...) of proxies: MAX_CONNECTIONS_PER_ADDRESS does not apply to them, and "
         "their X-Forwarded-For and X-Forwarded-Proto name the client in log lines and spans",
     .check = net_networks_check},
    {"MEMORY_LIMIT_BYTES", "0", CONFIG_BYTES, 0, INT64_MAX,
     .help = "memory limit, of which clients may use a part; 0: the limit of the cgroup"},
    {"SHUTDOWN_DELAY_SECONDS", "5", CONFIG_INT, 0, 3600, .unit = "s", .help = "time to keep serving after SIGTERM"},
    {"SHUTDOWN_TIMEOUT_SECONDS", "20", CONFIG_INT, 1, 3600, .unit = "s",
     .help = "time limit for requests in flight, after the delay"},
    {"GOOGLE_CLOUD_PROJECT", "", .help = "project in the trace ids of log lines"},
    {0},
};

static void add_servers(struct svc *svc)
{
    if (svc->def->routes != NULL)
        svc->servers[svc->server_count++].type = &svc_http_server;
    if (svc->def->rpc != NULL)
        svc->servers[svc->server_count++].type = svc->def->rpc->server;
    assert(svc->server_count <= SVC_MAX_SERVERS);
}

struct tables {
    struct config_option ports[SVC_MAX_SERVERS + 1]; /* with the service's own defaults */
    const struct config_option *list[MAX_TABLES];
    size_t count;
};

static void add_port(struct tables *tables, size_t *count, const struct config_option *port, const char *value)
{
    if (value == NULL)
        return;
    tables->ports[*count] = *port;
    tables->ports[(*count)++].value = value;
}

/* A service's own default ports come after the common tables, its own options last. */
static void make_tables(const struct svc *svc, struct tables *ret_tables)
{
    const struct svc_def *def = svc->def;
    size_t ports = 0;

    *ret_tables = (struct tables){0};
    ret_tables->list[ret_tables->count++] = common_options;
    ret_tables->list[ret_tables->count++] = svc_telemetry_options;
    for (unsigned i = 0; i < svc->server_count; i++) {
        const struct svc_server_type *type = svc->servers[i].type;

        ret_tables->list[ret_tables->count++] = type->options;
        add_port(ret_tables, &ports, &type->options[0], type == &svc_http_server ? def->http_port : def->grpc_port);
    }
    if (def->store != NULL)
        ret_tables->list[ret_tables->count++] = def->store->engine->options;
    if (ports > 0)
        ret_tables->list[ret_tables->count++] = ret_tables->ports;
    if (def->options != NULL)
        ret_tables->list[ret_tables->count++] = def->options;
    assert(ret_tables->count <= MAX_TABLES);
}

static int print_help(const struct svc_def *def, const struct tables *tables)
{
    char *options = config_help(tables->list, tables->count);

    if (options == NULL)
        return EXIT_FAILED;
    printf("%s -- %s\n\nusage: %s [OPTION...]\n\n%s\n"
           "  -n         check the options and the files that they name, and exit\n"
           "  --help     this text\n"
           "  --version  the version\n",
           def->name, def->summary, def->name, options);
    free(options);
    return EXIT_DRAINED;
}

/* Takes the first argument that equals name out of argv. */
static bool take_argument(int *argc, char **argv, const char *name)
{
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], name) == 0) {
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv));
            (*argc)--;
            return true;
        }
    return false;
}

/* ---- listeners ---- */

static void share_descriptors(struct svc *svc)
{
    unsigned wanted = (unsigned)config_int(svc->config, "MAX_CONNECTIONS");

    svc->descriptors = svc_descriptors_share(svc->workers + 1, svc->server_count);
    log_fields(svc->log, wanted > svc_max_connections(svc) ? LOG_WARNING : LOG_INFO, NULL,
               wanted > svc_max_connections(svc)
                   ? "the limit of file descriptors allows fewer connections than MAX_CONNECTIONS"
                   : "file descriptors",
               (struct log_field[]){LOG_INT("limit", svc->descriptors.limit),
                                    LOG_INT("max_connections", svc_max_connections(svc)),
                                    LOG_INT("max_admin_connections", svc->descriptors.admin)},
               3);
}

static void bound_addresses(struct svc *svc)
{
    struct acceptor_address_bound *bound = &svc->address_bound;

    bound->max_connections = (unsigned)config_int(svc->config, "MAX_CONNECTIONS_PER_ADDRESS");
    if (net_networks_parse(config_string(svc->config, "TRUSTED_PROXIES"), &bound->trusted) < 0)
        assert(!"the option was checked");
}

static int open_admin(struct svc *svc)
{
    int fd, r = svc_listen_on(svc, "admin", "METRICS_PORT", &fd);

    if (r != 0)
        return r;
    return http_server_open(fd,
                            &(struct http_server_def){.name = "admin",
                                                      .routes = svc_admin_routes,
                                                      .state = &svc->admin,
                                                      .log = svc->log,
                                                      .metrics = svc->metrics,
                                                      .compress = true,
                                                      .unrecorded = true,
                                                      .workers = 1,
                                                      .max_connections = svc->descriptors.admin,
                                                      .max_lingering = svc->descriptors.lingering,
                                                      .max_memory = svc_memory_part(svc, MEMORY_ADMIN)},
                            &svc->admin_http);
}

/* All listeners are bound before the work of starting is done, so that a port in use is seen at once; the admin
 * listener answers meanwhile, the others accept after it. */
static int open_listeners(struct svc *svc)
{
    int r = 0;

    share_descriptors(svc);
    bound_addresses(svc);
    for (unsigned i = 0; i < svc->server_count && r == 0; i++)
        r = svc->servers[i].type->open(svc, &svc->servers[i].server);
    return r == 0 ? open_admin(svc) : r;
}

static int open_service(struct svc *svc)
{
    const struct svc_store *store = svc->def->store;
    int r = store != NULL ? store->engine->open(svc, store->tables, store->count, store->store) : 0;

    return r == 0 && svc->def->start != NULL ? svc->def->start(svc, svc->def->state) : r;
}

static int start(struct svc *svc)
{
    int r = open_listeners(svc);

    if (r == 0)
        http_server_start(svc->admin_http);
    if (r == 0)
        r = open_service(svc);
    if (r != 0) {
        if (svc->error[0] == '\0')
            svc_fail(svc, "cannot start: %s", strerror(-r));
        return r;
    }
    for (unsigned i = 0; i < svc->server_count; i++)
        svc->servers[i].type->start(svc->servers[i].server);
    return 0;
}

static void set_serving(struct svc *svc, bool serving)
{
    for (unsigned i = 0; i < svc->server_count; i++)
        svc->servers[i].type->set_serving(svc->servers[i].server, serving);
}

static void set_ready(struct svc *svc)
{
    set_serving(svc, true);
    svc_set_phase(svc, SVC_READY);
    log_fields(svc->log, LOG_NOTICE, NULL, "ready", NULL, 0);
}

/* ---- signals and drain ---- */

/* While start runs: nothing has been accepted yet, and what is on disk is as after a crash, which it is made for. */
static void interrupt_start(void *arg)
{
    struct svc *svc = arg;

    log_fields(svc->log, LOG_NOTICE, NULL, "stopped while starting", NULL, 0);
    log_flush(svc->log, LOG_FLUSH_MS);
    _exit(EXIT_DRAINED);
}

static void sleep_until(uint64_t monotonic_ns)
{
    struct timespec until = {(time_t)(monotonic_ns / CLOCK_NS_PER_S), (long)(monotonic_ns % CLOCK_NS_PER_S)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

struct waiter {
    const struct svc_server *server;
    uint64_t deadline_ns;
    int result;
    pthread_t thread;
    bool threaded;
};

static void *wait_for_server(void *arg)
{
    struct waiter *waiter = arg;

    waiter->result = waiter->server->type->wait(waiter->server->server, waiter->deadline_ns);
    return NULL;
}

/* Waits for all servers at the same time: none uses up another's bound. The first one's wait is this thread's. */
static int wait_for_servers(struct svc *svc, uint64_t deadline_ns)
{
    struct waiter waiters[SVC_MAX_SERVERS];
    int r = 0;

    for (unsigned i = svc->server_count; i-- > 0;) {
        waiters[i] = (struct waiter){.server = &svc->servers[i], .deadline_ns = deadline_ns};
        waiters[i].threaded = i > 0 && thread_start(&waiters[i].thread, "wait", wait_for_server, &waiters[i]) == 0;
        if (!waiters[i].threaded)
            wait_for_server(&waiters[i]);
    }
    for (unsigned i = 0; i < svc->server_count; i++) {
        if (waiters[i].threaded)
            pthread_join(waiters[i].thread, NULL);
        r = r != 0 ? r : waiters[i].result;
    }
    return r;
}

static int drain(struct svc *svc)
{
    uint64_t begin = clock_monotonic_ns();
    uint64_t delay_end = begin + (uint64_t)config_int(svc->config, "SHUTDOWN_DELAY_SECONDS") * CLOCK_NS_PER_S;
    uint64_t deadline = delay_end + (uint64_t)config_int(svc->config, "SHUTDOWN_TIMEOUT_SECONDS") * CLOCK_NS_PER_S;
    int r;

    svc_set_phase(svc, SVC_DRAINING);
    set_serving(svc, false);
    log_fields(svc->log, LOG_NOTICE, NULL, "draining", NULL, 0);
    sleep_until(delay_end);
    for (unsigned i = 0; i < svc->server_count; i++)
        svc->servers[i].type->drain(svc->servers[i].server);
    r = wait_for_servers(svc, deadline);
    if (r != 0)
        svc_fail(svc, "SHUTDOWN_TIMEOUT_SECONDS passed with requests in flight");
    return r;
}

/* The admin listener goes first: it watches the others' loops. The others close in reverse order, as later ones may use
 * earlier ones' loops. */
static void stop(struct svc *svc)
{
    if (svc->admin_http != NULL)
        svc->admin_http = http_server_close(svc->admin_http);
    svc_in_flight_end(&svc->admin.in_flight);
    for (unsigned i = svc->server_count; i-- > 0;)
        svc->servers[i].type->close(svc->servers[i].server);
    svc->auth = http_auth_free(svc->auth);
    if (svc->def->stop != NULL)
        svc->def->stop(svc->def->state);
    if (svc->def->store != NULL)
        *svc->def->store->store = svc->def->store->engine->close(*svc->def->store->store);
}

/* Whether a handler blocks its loop cannot be known, but that stop does not return. */
struct watchdog {
    struct log *log;
    uint64_t deadline_ns;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool is_stopped; /* lock protects it */
};

static void *watch_stop(void *arg)
{
    struct watchdog *watchdog = arg;
    bool late = false;

    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->is_stopped && !late)
        late = thread_wait_until(&watchdog->stopped, &watchdog->lock, watchdog->deadline_ns) < 0;
    late = !watchdog->is_stopped;
    pthread_mutex_unlock(&watchdog->lock);
    if (late)
        log_exit(watchdog->log, EXIT_FAILED,
                 "a handler or thread does not end: the process exits without waiting for it");
    return NULL;
}

static void stop_in_time(struct svc *svc, uint64_t bound_ms)
{
    struct watchdog watchdog = {.log = svc->log, .deadline_ns = clock_monotonic_ns() + bound_ms * CLOCK_NS_PER_MS};
    pthread_t thread;
    bool watched;

    pthread_mutex_init(&watchdog.lock, NULL);
    thread_cond_init(&watchdog.stopped);
    watched = thread_start(&thread, "stop", watch_stop, &watchdog) == 0;
    stop(svc);
    pthread_mutex_lock(&watchdog.lock);
    watchdog.is_stopped = true;
    pthread_cond_signal(&watchdog.stopped);
    pthread_mutex_unlock(&watchdog.lock);
    if (watched)
        pthread_join(thread, NULL);
    pthread_cond_destroy(&watchdog.stopped);
    pthread_mutex_destroy(&watchdog.lock);
}

/* ---- life ---- */

static enum log_severity configured_level(const struct svc *svc)
{
    enum log_severity level = LOG_INFO;

    log_severity_parse(str_of(config_string(svc->config, "LOG_LEVEL")), &level);
    return level;
}

/* SIGUSR1: for whoever may signal the process but does not reach its admin port. */
static void toggle_log_level(void *arg)
{
    struct svc *svc = arg;

    svc_set_log_level(svc->log, log_least(svc->log) == LOG_DEBUG ? configured_level(svc) : LOG_DEBUG);
}

static void report_cpus(struct svc *svc)
{
    static const struct metrics_def cpus = {
        .name = "process_cpus", .help = "CPUs whose time the process may use.", .type = METRICS_GAUGE};

    metrics_set(metrics_single(svc->metrics, &cpus), svc_cpus());
}

static int open_common(struct svc *svc)
{
    struct log_def log = {.fd = STDOUT_FILENO,
                          .least = configured_level(svc),
                          .text = strcmp(config_string(svc->config, "LOG_FORMAT"), "text") == 0,
                          .service = svc->def->name,
                          .project = config_string(svc->config, "GOOGLE_CLOUD_PROJECT"),
                          .skip_successes = (unsigned)config_int(svc->config, "LOG_SKIP_SUCCESSES")};
    int r;

    svc_memory_open(svc);
    svc->workers = (unsigned)config_int(svc->config, "WORKERS");
    if (svc->workers == 0)
        svc->workers = svc_cpus();
    svc->metrics = metrics_new();
    if (svc->metrics == NULL)
        return -ENOMEM;
    metrics_add_process(svc->metrics, svc->def->name, crash_build_id());
    svc_memory_report(svc);
    svc_phase_open(svc);
    report_cpus(svc);
    svc->admin.def = svc->def;
    svc->admin.metrics = svc->metrics;
    svc->admin.servers = svc->servers;
    svc->admin.server_count = svc->server_count;
    svc->admin.config = svc->config;
    svc->admin.workers = svc->workers;
    log.metrics = svc->metrics;
    if ((r = log_open(&log, &svc->log)) == 0)
        r = log_take_stderr(svc->log);
    svc->admin.log = svc->log;
    return r == 0 ? svc_telemetry_open(svc) : r;
}

static int live(struct svc *svc)
{
    struct svc_signals signals;
    int r = svc_signals_open(&signals, interrupt_start, toggle_log_level, svc);

    if (r != 0)
        return r;
    r = start(svc);
    svc_signals_started(&signals);
    if (r == 0) {
        set_ready(svc);
        svc_signals_wait(&signals);
        r = drain(svc);
    }
    svc_signals_close(&signals);
    return r;
}

static int run(struct svc *svc)
{
    int r;

    svc_signals_block(); /* before the first thread there is */
    crash_report_to(STDOUT_FILENO, svc->def->name);
    r = open_common(svc);
    if (r == 0) {
        svc_libraries_warn(svc->log);
        r = live(svc);
    }
    stop_in_time(svc, r == 0 ? STOP_MS : STOP_LATE_MS);
    svc_set_phase(svc, SVC_STOPPED);
    log_fields(svc->log, LOG_NOTICE, NULL, "stopped", NULL, 0);
    svc_telemetry_close(svc, TELEMETRY_FLUSH_MS);
    log_return_stderr();
    svc->log = log_close(svc->log, LOG_FLUSH_MS);
    svc->metrics = metrics_free(svc->metrics);
    if (r != 0)
        fprintf(stderr, "%s: %s\n", svc->def->name, svc->error[0] != '\0' ? svc->error : strerror(-r));
    return r == 0 ? EXIT_DRAINED : EXIT_FAILED;
}

/* What start would refuse, as far as that can be said without the network. */
static int check(struct svc *svc)
{
    int r = svc_telemetry_check(svc);

    for (unsigned i = 0; i < svc->server_count && r == 0; i++)
        if (svc->servers[i].type->check != NULL)
            r = svc->servers[i].type->check(svc);
    if (r == 0 && svc->def->check != NULL)
        r = svc->def->check(svc);
    if (r != 0)
        fprintf(stderr, "%s: %s\n", svc->def->name, svc->error);
    return r == 0 ? EXIT_DRAINED : EXIT_FAILED;
}

int svc_main(int argc, char **argv, const struct svc_def *def)
{
    struct svc svc = {.def = def};
    struct tables tables;
    bool check_only;
    int r;

    add_servers(&svc);
    make_tables(&svc, &tables);
    if (take_argument(&argc, argv, "--help"))
        return print_help(def, &tables);
    if (take_argument(&argc, argv, "--version")) {
        printf("%s %s\n", def->name, SLIPWAY_VERSION);
        return EXIT_DRAINED;
    }
    check_only = take_argument(&argc, argv, "-n");
    r = config_load(tables.list, tables.count, argc, argv, &svc.config, svc.error, sizeof(svc.error));
    if (r != 0) {
        fprintf(stderr, "%s: %s\n", def->name, svc.error);
        return r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
    }
    r = check_only ? check(&svc) : run(&svc);
    config_free(svc.config);
    return r;
}
