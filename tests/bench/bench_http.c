/* What the HTTP layer costs: a bare h2o handler, the same made with http.h ("quiet"), that with its log (to /dev/null),
 * metrics and bound on memory ("full"), and that with 1 % of traces sent to an OpenTelemetry Collector ("traced"), each
 * with one event loop, in turn.
 *
 *   bench_http [ROUNDS [SECONDS]]     runs wrk (HTTP/1.1) and h2load (HTTP/2) against them; prints medians
 *   bench_http serve VARIANT PORT     just serves, until it is ended; traced: spans go to $OTEL_EXPORTER_OTLP_ENDPOINT
 *
 * Medians of: requests a second and the server's CPU time a request (all its threads); of each round's ratio to bare
 * and of "quiet", where logs, metrics and traces are off. Ratios of CPU times tell more than those of rates where
 * client and server share cores. The collector is the program otelcol in PATH; without it, traced is left out.
 */
#include "bare.h"
#include "bench.h"
#include "http.h"
#include "net_listen.h"
#include "otlp.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_ROUNDS 25

/* ---- a server made with the library ---- */

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain; charset=utf-8", str_of(bare_text));
}

enum variant { BARE, QUIET, FULL, TRACED, VARIANTS };
static const char *const names[VARIANTS] = {"bare", "quiet", "full", "traced"};

static struct span_sink *one_percent_of_traces(struct metrics *metrics)
{
    struct otlp_def def = {.signal = OTLP_SPANS,
                           .endpoint = getenv("OTEL_EXPORTER_OTLP_ENDPOINT"),
                           .service = "bench",
                           .metrics = metrics};
    struct otlp *otlp;

    if (def.endpoint == NULL || span_sampler_parse("parentbased_traceidratio", "0.01", &def.sampler) < 0 ||
        otlp_open(&def, &otlp) < 0)
        exit(1);
    return otlp_sink(otlp);
}

static void serve_library(int fd, enum variant variant)
{
    static const struct http_route routes[] = {{"GET", "/hello", .handler = hello}, {0}};
    struct http_server_def def = {.name = "http", .routes = routes, .workers = 1};
    struct http_server *server;

    if (variant != QUIET) {
        def.max_memory = 64 << 20;
        def.metrics = metrics_new();
        if (log_open(
                &(struct log_def){
                    .fd = open("/dev/null", O_WRONLY), .least = LOG_INFO, .service = "bench", .metrics = def.metrics},
                &def.log) < 0)
            exit(1);
    }
    if (variant == TRACED)
        def.spans = one_percent_of_traces(def.metrics);
    if (http_server_open(fd, &def, &server) < 0)
        exit(1);
    http_server_start(server);
    for (;;)
        pause();
}

/* ---- all of them ---- */

static void serve(enum variant variant, int fd)
{
    signal(SIGPIPE, SIG_IGN);
    if (variant == BARE)
        bare_serve(fd, "/hello");
    else
        serve_library(fd, variant);
}

/* ---- the collector ---- */

struct collector {
    pid_t pid;
    char folder[32], config[48], spans[48], endpoint[48];
};

static bool is_up(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool up;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    up = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return up;
}

static void write_config(const struct collector *collector, int port)
{
    FILE *file = fopen(collector->config, "w");

    if (file == NULL)
        exit(1);
    fprintf(file,
            "receivers: {otlp: {protocols: {grpc: {endpoint: \"127.0.0.1:%d\"}}}}\n"
            "exporters: {file: {path: \"%s\", flush_interval: 50ms}}\n"
            "service: {telemetry: {metrics: {level: none}, logs: {level: error}},\n"
            "  pipelines: {traces: {receivers: [otlp], exporters: [file]}}}\n",
            port, collector->spans);
    fclose(file);
}

/* False: there is none. */
static bool collector_start(struct collector *collector)
{
    const struct timespec pause = {0, 20 * 1000 * 1000};
    int fd, port, status;

    *collector = (struct collector){.folder = "/tmp/bench_http.XXXXXX"};
    if (mkdtemp(collector->folder) == NULL || net_listen("127.0.0.1", 0, &fd, &port) < 0)
        exit(1);
    close(fd); /* a port that is free */
    snprintf(collector->config, sizeof(collector->config), "%s/config.yaml", collector->folder);
    snprintf(collector->spans, sizeof(collector->spans), "%s/spans", collector->folder);
    snprintf(collector->endpoint, sizeof(collector->endpoint), "http://127.0.0.1:%d", port);
    write_config(collector, port);
    if ((collector->pid = fork()) == 0) {
        execlp("otelcol", "otelcol", "--config", collector->config, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && !is_up(port); i++) {
        if (waitpid(collector->pid, &status, WNOHANG) == collector->pid) {
            collector->pid = 0;
            return false;
        }
        nanosleep(&pause, NULL);
    }
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector->endpoint, 1);
    return true;
}

/* Ends it; returns how many spans it has had. */
static size_t collector_stop(const struct collector *collector)
{
    size_t count = 0, size = 0;
    char *line = NULL;
    FILE *file;

    if (collector->pid > 0) {
        kill(collector->pid, SIGTERM);
        waitpid(collector->pid, NULL, 0);
    }
    if ((file = fopen(collector->spans, "r")) != NULL) {
        while (getline(&line, &size, file) > 0)
            for (const char *at = line; (at = strstr(at, "\"spanId\"")) != NULL; at++)
                count++;
        fclose(file);
    }
    free(line);
    unlink(collector->spans);
    unlink(collector->config);
    rmdir(collector->folder);
    return count;
}

/* ---- measuring ---- */

/* The number before or after mark in a command's output; 0 where it cannot be had. */
static double run(const char *mark, const char *format, ...)
{
    char command[512], line[512];
    double value = 0;
    va_list args;
    FILE *output;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if ((output = popen(command, "r")) == NULL)
        return 0;
    while (fgets(line, sizeof(line), output) != NULL) {
        char *at = strstr(line, mark);
        if (at != NULL && strcmp(mark, "Requests/sec:") == 0)
            value = atof(at + strlen(mark));
        else if (at != NULL) { /* "..., 12345.67 req/s, ..." */
            while (at > line && at[-1] != ',')
                at--;
            value = atof(at);
        }
    }
    pclose(output);
    return value;
}

struct served {
    pid_t pid;
    int port;
};

/* Requests a second, and the server's CPU seconds a request. */
static void measure(bool http2, const struct served *served, int seconds, double *ret_rate, double *ret_cpu)
{
    double before = bench_cpu_seconds(served->pid);

    if (http2)
        *ret_rate = run(" req/s", "h2load -t1 -c16 -m16 -D%d http://127.0.0.1:%d/hello 2>&1", seconds, served->port);
    else
        *ret_rate = run("Requests/sec:", "wrk -t1 -c64 -d%d http://127.0.0.1:%d/hello 2>&1", seconds, served->port);
    *ret_cpu = (bench_cpu_seconds(served->pid) - before) / (*ret_rate * seconds);
}

static void compare_servers(bool http2, const struct served *served, enum variant count, int rounds, int seconds)
{
    double rates[VARIANTS][MAX_ROUNDS], cpus[VARIANTS][MAX_ROUNDS];
    double to_bare[VARIANTS][MAX_ROUNDS], to_quiet[VARIANTS][MAX_ROUNDS], rate_to_quiet[VARIANTS][MAX_ROUNDS];

    for (int i = 0; i < rounds; i++)
        for (enum variant v = BARE; v < count; v++)
            measure(http2, &served[v], seconds, &rates[v][i], &cpus[v][i]);
    for (int i = 0; i < rounds; i++)
        for (enum variant v = BARE; v < count; v++) {
            to_bare[v][i] = cpus[BARE][i] / cpus[v][i];
            to_quiet[v][i] = cpus[QUIET][i] / cpus[v][i];
            rate_to_quiet[v][i] = rates[v][i] / rates[QUIET][i];
        }
    for (enum variant v = BARE; v < count; v++)
        printf("%-9s %-6s %9.0f req/s   %6.2f us CPU a request; CPU ratio: bare %.2f, quiet %.2f; rate ratio: quiet "
               "%.2f\n",
               http2 ? "HTTP/2" : "HTTP/1.1", names[v], bench_median(rates[v], rounds),
               bench_median(cpus[v], rounds) * 1e6, bench_median(to_bare[v], rounds), bench_median(to_quiet[v], rounds),
               bench_median(rate_to_quiet[v], rounds));
}

static int serve_one(const char *name, int port)
{
    int fd;

    for (enum variant v = BARE; v < VARIANTS; v++)
        if (strcmp(names[v], name) == 0 && net_listen("127.0.0.1", port, &fd, &port) == 0)
            serve(v, fd);
    return 1;
}

int main(int argc, char **argv)
{
    int fd, rounds = argc > 1 ? atoi(argv[1]) : 5, seconds = argc > 2 ? atoi(argv[2]) : 2;
    struct served served[VARIANTS];
    struct collector collector;
    enum variant count;
    size_t spans;

    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve_one(argv[2], atoi(argv[3]));
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    count = collector_start(&collector) ? VARIANTS : TRACED;
    for (enum variant v = BARE; v < count; v++) {
        if (net_listen("127.0.0.1", 0, &fd, &served[v].port) < 0)
            return 1;
        if ((served[v].pid = fork()) == 0)
            serve(v, fd);
        close(fd);
    }
    compare_servers(false, served, count, rounds, seconds);
    compare_servers(true, served, count, rounds, seconds);
    for (enum variant v = BARE; v < count; v++) {
        kill(served[v].pid, SIGKILL);
        waitpid(served[v].pid, NULL, 0);
    }
    spans = collector_stop(&collector);
    if (count == VARIANTS)
        printf("%zu spans have reached the collector\n", spans);
    else
        printf("traced is left out: otelcol does not start\n");
    return count == VARIANTS && spans == 0;
}
