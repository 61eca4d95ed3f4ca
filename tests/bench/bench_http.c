/* What the HTTP layer costs: requests/s of a server made with http.h, its log and metrics on, beside a bare h2o handler
 * that sends the same bytes, one event loop each, in turn.
 *
 *   bench_http [ROUNDS [SECONDS]]      runs wrk (HTTP/1.1) and h2load (HTTP/2) against both; prints medians and ratios
 *   bench_http serve bare|library PORT just serves, until it is ended
 */
#include "h2o_compat.h"
#include "http.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_ROUNDS 25

static const char text[] = "hello, world!\n";

/* ---- a server made with the library ---- */

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain; charset=utf-8", str_of(text));
}

static void serve_library(int fd)
{
    static const struct http_route routes[] = {{"GET", "/hello", .handler = hello}, {0}};
    struct http_server_def def = {.name = "http", .routes = routes, .workers = 1, .metrics = metrics_new()};
    struct http_server *server;

    if (log_open(open("/dev/null", O_WRONLY), LOG_INFO, "bench", NULL, def.metrics, &def.log) < 0 ||
        http_server_open(fd, &def, &server) < 0)
        exit(1);
    http_server_start(server);
    for (;;)
        pause();
}

/* ---- the same without it ---- */

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static h2o_generator_t generator = {NULL, NULL};
    h2o_iovec_t body = h2o_iovec_init(text, strlen(text));

    if (!h2o_memis(req->path_normalized.base, req->path_normalized.len, H2O_STRLIT("/hello")))
        return -1;
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain; charset=utf-8"));
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void on_connection(h2o_socket_t *listener, const char *err)
{
    h2o_socket_t *socket;

    if ((socket = h2o_evloop_socket_accept(listener)) != NULL)
        h2o_accept(listener->data, socket);
}

static void serve_bare(int fd)
{
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept_context = {.ctx = &context};
    h2o_evloop_t *loop = h2o_evloop_create();
    h2o_socket_t *listener = h2o_evloop_socket_create(loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_hostconf_t *host;

    h2o_config_init(&config);
    config.server_name = h2o_iovec_init(H2O_STRLIT(""));
    host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_context_init(&context, loop, &config);
    accept_context.hosts = config.hosts;
    listener->data = &accept_context;
    h2o_socket_read_start(listener, on_connection);
    for (;;)
        h2o_evloop_run(loop, 1000);
}

static void serve(bool library, int fd)
{
    signal(SIGPIPE, SIG_IGN);
    if (library)
        serve_library(fd);
    else
        serve_bare(fd);
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

static double measure(bool http2, int port, int seconds)
{
    if (http2)
        return run(" req/s", "h2load -t1 -c16 -m16 -D%d http://127.0.0.1:%d/hello 2>&1", seconds, port);
    return run("Requests/sec:", "wrk -t1 -c64 -d%d http://127.0.0.1:%d/hello 2>&1", seconds, port);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

static void compare_servers(bool http2, const int ports[2], int rounds, int seconds)
{
    double rates[2][MAX_ROUNDS], ratios[MAX_ROUNDS];

    for (int i = 0; i < rounds; i++) {
        for (int library = 0; library < 2; library++)
            rates[library][i] = measure(http2, ports[library], seconds);
        ratios[i] = rates[1][i] / rates[0][i];
    }
    printf("%-8s bare %9.0f/s   library %9.0f/s   ratio %.2f\n", http2 ? "HTTP/2" : "HTTP/1.1",
           median(rates[0], rounds), median(rates[1], rounds), median(ratios, rounds));
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5, seconds = argc > 2 ? atoi(argv[2]) : 2;
    int fds[2], ports[2];
    pid_t children[2];

    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        if (http_listen("127.0.0.1", atoi(argv[3]), &fds[0], &ports[0]) == 0)
            serve(strcmp(argv[2], "library") == 0, fds[0]);
        return 1;
    }
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    for (int library = 0; library < 2; library++) {
        if (http_listen("127.0.0.1", 0, &fds[library], &ports[library]) < 0)
            return 1;
        if ((children[library] = fork()) == 0)
            serve(library, fds[library]);
    }
    compare_servers(false, ports, rounds, seconds);
    compare_servers(true, ports, rounds, seconds);
    for (int library = 0; library < 2; library++) {
        kill(children[library], SIGKILL);
        waitpid(children[library], NULL, 0);
    }
    return 0;
}
