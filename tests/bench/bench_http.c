/* What the HTTP layer costs: a bare h2o handler, the same made with http.h ("quiet"), and that with its log (to
 * /dev/null), metrics and bound on memory ("full"), each with one event loop, in turn.
 *
 *   bench_http [ROUNDS [SECONDS]]          runs wrk (HTTP/1.1) and h2load (HTTP/2) against them; prints medians
 *   bench_http serve bare|quiet|full PORT  just serves, until it is ended
 *
 * Medians of: requests a second, the server's CPU time a request (all its threads) and the ratio of CPU times, which
 * tells more than rates where client and server share cores.
 */
#include "bare.h"
#include "bench.h"
#include "http.h"
#include "net_listen.h"
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

static void serve_library(int fd, bool full)
{
    static const struct http_route routes[] = {{"GET", "/hello", .handler = hello}, {0}};
    struct http_server_def def = {.name = "http", .routes = routes, .workers = 1};
    struct http_server *server;

    if (full) {
        def.max_memory = 64 << 20;
        def.metrics = metrics_new();
        if (log_open(
                &(struct log_def){
                    .fd = open("/dev/null", O_WRONLY), .least = LOG_INFO, .service = "bench", .metrics = def.metrics},
                &def.log) < 0)
            exit(1);
    }
    if (http_server_open(fd, &def, &server) < 0)
        exit(1);
    http_server_start(server);
    for (;;)
        pause();
}

/* ---- all of them ---- */

enum variant { BARE, QUIET, FULL, VARIANTS };
static const char *const names[VARIANTS] = {"bare", "quiet", "full"};

static void serve(enum variant variant, int fd)
{
    signal(SIGPIPE, SIG_IGN);
    if (variant == BARE)
        bare_serve(fd, "/hello");
    else
        serve_library(fd, variant == FULL);
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

static void compare_servers(bool http2, const struct served *served, int rounds, int seconds)
{
    double rates[VARIANTS][MAX_ROUNDS], cpus[VARIANTS][MAX_ROUNDS], ratios[VARIANTS][MAX_ROUNDS];

    for (int i = 0; i < rounds; i++)
        for (int v = 0; v < VARIANTS; v++) {
            measure(http2, &served[v], seconds, &rates[v][i], &cpus[v][i]);
            ratios[v][i] = cpus[BARE][i] / cpus[v][i];
        }
    for (int v = 0; v < VARIANTS; v++)
        printf("%-9s %-6s %9.0f req/s   %6.2f us CPU a request   ratio %.2f\n", http2 ? "HTTP/2" : "HTTP/1.1", names[v],
               bench_median(rates[v], rounds), bench_median(cpus[v], rounds) * 1e6, bench_median(ratios[v], rounds));
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

    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve_one(argv[2], atoi(argv[3]));
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    for (enum variant v = BARE; v < VARIANTS; v++) {
        if (net_listen("127.0.0.1", 0, &fd, &served[v].port) < 0)
            return 1;
        if ((served[v].pid = fork()) == 0)
            serve(v, fd);
        close(fd);
    }
    compare_servers(false, served, rounds, seconds);
    compare_servers(true, served, rounds, seconds);
    for (enum variant v = BARE; v < VARIANTS; v++) {
        kill(served[v].pid, SIGKILL);
        waitpid(served[v].pid, NULL, 0);
    }
    return 0;
}
