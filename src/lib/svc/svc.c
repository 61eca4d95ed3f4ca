#include "svc.h"
#include "cgroup.h"
#include "clock.h"
#include "http_auth.h"
#include "net_listen.h"
#include "svc_admin.h"
#include "svc_cpus.h"
#include "svc_descriptors.h"
#include "svc_libraries.h"
#include "svc_signals.h"
#include "svc_store.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_DRAINED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define LOG_FLUSH_MS 2000
#define MAX_TABLES   7

struct svc {
    const struct svc_def *def;
    struct config *config;
    struct log *log;
    struct metrics *metrics;
    struct svc_admin admin;
    struct http_auth *auth;
    struct http_server *http, *admin_http;
    struct rpc_server *rpc;
    unsigned workers;
    struct svc_descriptors descriptors;
    char error[1024];
};

/* ---- options ---- */

static const struct config_option common_options[] = {
    {"HOST", "::", .help = "numeric address to listen on; :: is every IPv6 and IPv4 address"},
    {"METRICS_PORT", "9090", CONFIG_INT, 0, 65535, .help = "port of /healthz, /readyz and /metrics; 0 picks one"},
    {"WORKERS", "0", CONFIG_INT, 0, 256, .unit = "threads", .help = "0: as many as the CPU limit allows"},
    {"LOG_LEVEL", "info", CONFIG_CHOICE, .choices = "debug|info|notice|warning|error|critical",
     .help = "least severity"},
    {"MAX_CONNECTIONS", "10000", CONFIG_INT, 1, 1000000,
     .help = "of HTTP, and of gRPC (there at most one per 64 KiB of the memory limit); more wait to be accepted"},
    {"SHUTDOWN_DELAY_SECONDS", "5", CONFIG_INT, 0, 3600, .unit = "s", .help = "go on serving after SIGTERM"},
    {"SHUTDOWN_TIMEOUT_SECONDS", "20", CONFIG_INT, 1, 3600, .unit = "s",
     .help = "bound on finishing what is in flight"},
    {"GOOGLE_CLOUD_PROJECT", "", .help = "project of the trace ids in the log"},
    {0},
};

static const struct config_option http_options[] = {
    {"PORT", "8080", CONFIG_INT, 0, 65535, .help = "port of HTTP; 0 picks one"},
    {"REQUEST_TIMEOUT_MS", "30000", CONFIG_INT, 1, 3600000, .unit = "ms", .help = "bound on a request's answer"},
    {"HTTP_IDLE_SECONDS", "620", CONFIG_INT, 1, 86400, .unit = "s",
     .help = "a connection without a request is closed then; let it be more than a load balancer's"},
    {"AUTH_TOKENS_FILE", "",
     .help = "lines NAME SHA256 RATE, of the bearer tokens that may call; empty: everybody may"},
    {0},
};

static const struct config_option grpc_options[] = {
    {"GRPC_PORT", "9000", CONFIG_INT, 0, 65535, .help = "port of gRPC; 0 picks one"},
    {"GRPC_THREADS", "0", CONFIG_INT, 0, 256, .unit = "threads", .help = "0: as many as WORKERS"},
    {"GRPC_MAX_MESSAGE_BYTES", "64Ki", CONFIG_BYTES, 1024, 64 << 20,
     .help = "of a request: beyond it RESOURCE_EXHAUSTED"},
    {"MAX_CONNECTION_AGE_MS", "10000", CONFIG_INT, 100, 3600000, .unit = "ms",
     .help = "gRPC clients are moved on then, or after 8/11 of SHUTDOWN_TIMEOUT_SECONDS"},
    {0},
};

struct tables {
    struct config_option ports[3];
    const struct config_option *list[MAX_TABLES];
    size_t count;
};

/* A service's own default ports come after the common table, its own options last. */
static void make_tables(const struct svc_def *def, struct tables *ret_tables)
{
    size_t ports = 0;

    *ret_tables = (struct tables){0};
    ret_tables->list[ret_tables->count++] = common_options;
    if (def->routes != NULL) {
        ret_tables->list[ret_tables->count++] = http_options;
        if (def->http_port != NULL) {
            ret_tables->ports[ports] = http_options[0];
            ret_tables->ports[ports++].value = def->http_port;
        }
    }
    if (def->rpc != NULL) {
        ret_tables->list[ret_tables->count++] = grpc_options;
        if (def->grpc_port != NULL) {
            ret_tables->ports[ports] = grpc_options[0];
            ret_tables->ports[ports++].value = def->grpc_port;
        }
    }
    if (def->store != NULL)
        ret_tables->list[ret_tables->count++] = def->store->engine->options;
    if (ports > 0)
        ret_tables->list[ret_tables->count++] = ret_tables->ports;
    if (def->options != NULL)
        ret_tables->list[ret_tables->count++] = def->options;
}

static int print_help(const struct svc_def *def, const struct tables *tables)
{
    char *options = config_help(tables->list, tables->count);

    if (options == NULL)
        return EXIT_FAILED;
    printf("%s -- %s\n\nusage: %s [OPTION...]\n\n%s\n"
           "  -n         check the options and exit\n"
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

static enum log_severity severity(const char *name)
{
    static const char *const names[] = {"debug", "info", "notice", "warning", "error", "critical"};
    size_t i = 0;

    while (i < LOG_CRITICAL && strcmp(names[i], name) != 0)
        i++;
    return (enum log_severity)i;
}

/* ---- what start may ask for ---- */

const struct config *svc_config(const struct svc *svc)
{
    return svc->config;
}

struct metrics *svc_metrics(const struct svc *svc)
{
    return svc->metrics;
}

struct log *svc_log(const struct svc *svc)
{
    return svc->log;
}

unsigned svc_workers(const struct svc *svc)
{
    return svc->workers;
}

int svc_fail(struct svc *svc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(svc->error, sizeof(svc->error), format, args);
    va_end(args);
    return -EINVAL;
}

/* ---- listeners ---- */

static int listen_on(struct svc *svc, const char *protocol, const char *option, int *ret_fd)
{
    const char *host = config_string(svc->config, "HOST");
    int wanted = (int)config_int(svc->config, option), port, r;

    r = net_listen(host, wanted, ret_fd, &port);
    if (r != 0) {
        svc_fail(svc, "cannot listen on %s port %d (%s): %s", host, wanted, option, strerror(-r));
        return r;
    }
    log_fields(svc->log, LOG_INFO, NULL, "listening",
               (struct log_field[]){LOG_CSTR("protocol", protocol), LOG_CSTR("address", host), LOG_INT("port", port)},
               3);
    return 0;
}

static unsigned rpc_threads(const struct svc *svc)
{
    unsigned threads = (unsigned)config_int(svc->config, "GRPC_THREADS");

    return threads == 0 ? svc->workers : threads;
}

static unsigned max_connections(const struct svc *svc)
{
    unsigned wanted = (unsigned)config_int(svc->config, "MAX_CONNECTIONS");

    return wanted < svc->descriptors.share ? wanted : svc->descriptors.share;
}

static void share_descriptors(struct svc *svc)
{
    bool has_http = svc->def->routes != NULL, has_rpc = svc->def->rpc != NULL;
    unsigned threads = svc->workers + 1 + (has_rpc ? rpc_threads(svc) : 0), wanted;

    svc->descriptors = svc_descriptors_share(threads, has_http + 2 * has_rpc); /* gRPC takes two for a connection */
    wanted = (unsigned)config_int(svc->config, "MAX_CONNECTIONS");
    log_fields(
        svc->log, wanted > max_connections(svc) ? LOG_WARNING : LOG_INFO, NULL,
        wanted > max_connections(svc) ? "the limit of file descriptors allows fewer connections than MAX_CONNECTIONS"
                                      : "file descriptors",
        (struct log_field[]){LOG_INT("limit", svc->descriptors.limit), LOG_INT("max_connections", max_connections(svc)),
                             LOG_INT("max_admin_connections", svc->descriptors.admin)},
        3);
}

static int open_admin(struct svc *svc)
{
    int fd, r = listen_on(svc, "admin", "METRICS_PORT", &fd);

    if (r != 0)
        return r;
    return http_server_open(fd,
                            &(struct http_server_def){.name = "admin",
                                                      .routes = svc_admin_routes,
                                                      .state = &svc->admin,
                                                      .workers = 1,
                                                      .max_connections = svc->descriptors.admin,
                                                      .max_memory = cgroup_memory_bytes() / 16},
                            &svc->admin_http);
}

static int open_auth(struct svc *svc)
{
    const char *path = config_string(svc->config, "AUTH_TOKENS_FILE");
    unsigned line = 0;
    int r = path[0] == '\0' ? 0 : http_auth_open(path, &svc->auth, &line);

    if (r < 0 && line > 0)
        return svc_fail(svc, "AUTH_TOKENS_FILE=%s: line %u is not NAME SHA256 RATE, or a token's second", path, line);
    return r < 0 ? svc_fail(svc, "AUTH_TOKENS_FILE=%s: %s", path, strerror(-r)) : 0;
}

static int open_http(struct svc *svc)
{
    struct http_server_def def = {
        .name = "http",
        .routes = svc->def->routes,
        .state = svc->def->state,
        .auth = svc->auth,
        .log = svc->log,
        .metrics = svc->metrics,
        .workers = svc->workers,
        .max_connections = max_connections(svc),
        .request_timeout_ms = (unsigned)config_int(svc->config, "REQUEST_TIMEOUT_MS"),
        .idle_timeout_ms = (unsigned)config_int(svc->config, "HTTP_IDLE_SECONDS") * 1000,
        /* A quarter: the heap takes up to twice what is counted, and replies that are being made come on top. */
        .max_memory = cgroup_memory_bytes() / 4,
    };
    int fd, r = listen_on(svc, "http", "PORT", &fd);

    return r != 0 ? r : http_server_open(fd, &def, &svc->http);
}

/* A drain waits until every connection has been moved on, which may take a tenth longer, and then some turns: an age
 * that does not fit into its bound would have it cancel calls. */
static unsigned connection_age_ms(const struct config *config)
{
    int64_t age_ms = config_int(config, "MAX_CONNECTION_AGE_MS");
    int64_t fits_ms = config_int(config, "SHUTDOWN_TIMEOUT_SECONDS") * 1000 * 8 / 11;

    return (unsigned)(age_ms < fits_ms ? age_ms : fits_ms);
}

/* Half of the memory limit is for clients' connections and calls; the rest is for what handlers queue and keep, for the
 * service's data and for the page cache of its files. */
static size_t rpc_memory(void)
{
    return cgroup_memory_bytes() / 2;
}

static int open_rpc(struct svc *svc)
{
    struct rpc_server_def def = {
        .methods = svc->def->rpc->methods,
        .descriptors = svc->def->rpc->descriptors,
        .descriptors_len = svc->def->rpc->descriptors_len,
        .state = svc->def->state,
        .ready = svc->def->ready != NULL || svc->def->store != NULL ? svc_admin_ready : NULL,
        .ready_state = &svc->admin,
        .log = svc->log,
        .metrics = svc->metrics,
        .threads = rpc_threads(svc),
        .max_message = (size_t)config_int(svc->config, "GRPC_MAX_MESSAGE_BYTES"),
        .max_connections = max_connections(svc),
        .max_connection_age_ms = connection_age_ms(svc->config),
        .max_memory = rpc_memory(),
    };
    int fd, r = listen_on(svc, "grpc", "GRPC_PORT", &fd);

    return r != 0 ? r : svc->def->rpc->endpoint->open(fd, &def, &svc->rpc);
}

/* All listeners are bound before the work of starting is done, so that a port in use is seen at once; the admin
 * listener answers meanwhile, the others accept after it. */
static int open_listeners(struct svc *svc)
{
    int r = 0;

    share_descriptors(svc);
    if (svc->def->routes != NULL) {
        r = open_auth(svc);
        r = r == 0 ? open_http(svc) : r;
    }
    if (r == 0 && svc->def->rpc != NULL)
        r = open_rpc(svc);
    svc->admin.http = svc->http;
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
    if (svc->http != NULL)
        http_server_start(svc->http);
    if (svc->rpc != NULL)
        svc->def->rpc->endpoint->start(svc->rpc);
    return 0;
}

static void set_ready(struct svc *svc)
{
    if (svc->rpc != NULL)
        svc->def->rpc->endpoint->set_serving(svc->rpc, true);
    atomic_store(&svc->admin.phase, SVC_READY);
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

struct rpc_wait {
    struct svc *svc;
    uint64_t deadline_ns;
    int result;
};

static void *wait_for_rpc(void *arg)
{
    struct rpc_wait *wait = arg;

    wait->result = wait->svc->def->rpc->endpoint->wait(wait->svc->rpc, wait->deadline_ns);
    return NULL;
}

/* Waits for both servers at the same time: neither uses up the other's bound. */
static int wait_for_servers(struct svc *svc, uint64_t deadline_ns)
{
    struct rpc_wait wait = {svc, deadline_ns, 0};
    pthread_t thread;
    bool threaded = false;
    int r = 0;

    if (svc->rpc != NULL && svc->http != NULL)
        threaded = pthread_create(&thread, NULL, wait_for_rpc, &wait) == 0;
    if (svc->rpc != NULL && !threaded)
        wait_for_rpc(&wait);
    if (svc->http != NULL)
        r = http_server_wait(svc->http, deadline_ns);
    if (threaded)
        pthread_join(thread, NULL);
    return r != 0 ? r : wait.result;
}

static int drain(struct svc *svc)
{
    uint64_t begin = clock_monotonic_ns();
    uint64_t delay_end = begin + (uint64_t)config_int(svc->config, "SHUTDOWN_DELAY_SECONDS") * CLOCK_NS_PER_S;
    uint64_t deadline = delay_end + (uint64_t)config_int(svc->config, "SHUTDOWN_TIMEOUT_SECONDS") * CLOCK_NS_PER_S;
    int r;

    atomic_store(&svc->admin.phase, SVC_DRAINING);
    if (svc->rpc != NULL)
        svc->def->rpc->endpoint->set_serving(svc->rpc, false);
    if (svc->http != NULL)
        http_server_discourage(svc->http);
    log_fields(svc->log, LOG_NOTICE, NULL, "draining", NULL, 0);
    sleep_until(delay_end);
    if (svc->http != NULL)
        http_server_drain(svc->http);
    if (svc->rpc != NULL)
        svc->def->rpc->endpoint->drain(svc->rpc);
    r = wait_for_servers(svc, deadline);
    if (r != 0)
        svc_fail(svc, "SHUTDOWN_TIMEOUT_SECONDS passed with requests in flight");
    return r;
}

/* The admin listener goes first: it watches the others' loops. */
static void stop(struct svc *svc)
{
    if (svc->admin_http != NULL)
        svc->admin_http = http_server_close(svc->admin_http);
    if (svc->http != NULL)
        svc->http = http_server_close(svc->http);
    svc->auth = http_auth_free(svc->auth);
    if (svc->rpc != NULL)
        svc->rpc = svc->def->rpc->endpoint->close(svc->rpc);
    if (svc->def->stop != NULL)
        svc->def->stop(svc->def->state);
    if (svc->def->store != NULL)
        *svc->def->store->store = svc->def->store->engine->close(*svc->def->store->store);
}

/* ---- life ---- */

static int open_common(struct svc *svc)
{
    const char *project = config_string(svc->config, "GOOGLE_CLOUD_PROJECT");
    enum log_severity least = severity(config_string(svc->config, "LOG_LEVEL"));
    int r;

    svc->workers = (unsigned)config_int(svc->config, "WORKERS");
    if (svc->workers == 0)
        svc->workers = svc_cpus();
    svc->metrics = metrics_new();
    if (svc->metrics == NULL)
        return -ENOMEM;
    metrics_add_process(svc->metrics, svc->def->name);
    svc->admin.def = svc->def;
    svc->admin.metrics = svc->metrics;
    if ((r = log_open(STDOUT_FILENO, least, svc->def->name, project, svc->metrics, &svc->log)) == 0)
        r = log_take_stderr(svc->log);
    return r;
}

static int live(struct svc *svc)
{
    struct svc_signals signals;
    int r = svc_signals_open(&signals, interrupt_start, svc);

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
    r = open_common(svc);
    if (r == 0) {
        svc_libraries_warn(svc->log, svc->def->rpc != NULL ? svc->def->rpc->endpoint->library_version() : NULL);
        r = live(svc);
    }
    stop(svc);
    log_fields(svc->log, LOG_NOTICE, NULL, "stopped", NULL, 0);
    log_return_stderr();
    svc->log = log_close(svc->log, LOG_FLUSH_MS);
    svc->metrics = metrics_free(svc->metrics);
    if (r != 0)
        fprintf(stderr, "%s: %s\n", svc->def->name, svc->error[0] != '\0' ? svc->error : strerror(-r));
    return r == 0 ? EXIT_DRAINED : EXIT_FAILED;
}

int svc_main(int argc, char **argv, const struct svc_def *def)
{
    struct svc svc = {.def = def};
    struct tables tables;
    bool check_only;
    int r;

    make_tables(def, &tables);
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
    r = check_only ? EXIT_DRAINED : run(&svc);
    config_free(svc.config);
    return r;
}
