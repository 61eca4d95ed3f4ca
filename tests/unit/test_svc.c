/* A whole service in the test's process: what svc wires together. */
#include "health.pb-c.h"
#include "http.h"
#include "http_try.h"
#include "loop.h"
#include "net.h"
#include "net_listing.h"
#include "routeguide.descriptors.h"
#include "rpc_client.h"
#include "svc.h"
#include "svc_admin.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static atomic_bool unready;
static const struct rpc_method no_methods[] = {{0}};

static struct {
    pthread_t thread;
    int log; /* what it writes to standard output */
    int status, grpc_port, admin_port;
    struct rpc_client *client;
} service;

static bool is_ready(void *state)
{
    return !atomic_load(&unready);
}

static void *run(void *arg)
{
    char name[] = "test", *argv[] = {name, NULL};

    service.status = svc_main(1, argv,
                              &(struct svc_def){.name = "test",
                                                .summary = "a test",
                                                .rpc = RPC_SERVICE(no_methods, routeguide_descriptors),
                                                .ready = is_ready});
    return NULL;
}

static int port_of(const char *text, const char *protocol)
{
    const char *line = strstr(text, protocol), *port = line != NULL ? strstr(line, "\"port\":") : NULL;

    cr_assert_not_null(port, "%s", text);
    return atoi(port + strlen("\"port\":"));
}

static void read_ports(void)
{
    char text[8192] = "";
    size_t len = 0;

    while (strstr(text, "\"message\":\"ready\"") == NULL) {
        ssize_t got = read(service.log, text + len, sizeof(text) - 1 - len);

        cr_assert_gt(got, 0, "%s", text);
        len += (size_t)got;
        text[len] = '\0';
    }
    service.grpc_port = port_of(text, "\"protocol\":\"grpc\"");
    service.admin_port = port_of(text, "\"protocol\":\"admin\"");
}

static void start_service(void)
{
    char target[64];
    int pipes[2];
    sigset_t set;

    setenv("BIND_ADDRESS", "127.0.0.1", 1);
    setenv("GRPC_PORT", "0", 1);
    setenv("METRICS_PORT", "0", 1);
    setenv("SHUTDOWN_DELAY_SECONDS", "0", 1);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* it is for the service's thread */
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_eq(dup2(pipes[1], STDOUT_FILENO), STDOUT_FILENO);
    close(pipes[1]);
    service.log = pipes[0];
    cr_assert_eq(pthread_create(&service.thread, NULL, run, NULL), 0);
    read_ports();
    snprintf(target, sizeof(target), "127.0.0.1:%d", service.grpc_port);
    cr_assert_eq(rpc_client_open(&(struct rpc_client_def){.target = target}, &service.client), 0);
}

static void stop_service(void)
{
    rpc_client_free(service.client);
    kill(getpid(), SIGTERM);
    pthread_join(service.thread, NULL);
    cr_assert_eq(service.status, 0);
}

TestSuite(svc, .init = start_service, .fini = stop_service, .timeout = 120);

static int readyz(void)
{
    struct net_answer answer;
    int fd = net_connect("127.0.0.1", service.admin_port);

    net_ask(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    close(fd);
    net_answer_release(&answer);
    return answer.status;
}

static void expect_phase(const char *phase)
{
    int fd = net_connect("127.0.0.1", service.admin_port);
    struct net_answer answer;
    unsigned phases = 0;
    char line[64];

    net_ask(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    close(fd);
    snprintf(line, sizeof(line), "\nprocess_phase{phase=\"%s\"} 1\n", phase);
    cr_assert_not_null(strstr(answer.body, line), "no%sin %s", line, answer.body);
    for (const char *at = answer.body; (at = strstr(at, "\nprocess_phase{")) != NULL; at++)
        phases += strncmp(strstr(at, "\"}"), "\"} 1\n", strlen("\"} 1\n")) == 0;
    cr_assert_eq(phases, 1, "%s", answer.body);
    net_answer_release(&answer);
}

struct answer {
    sem_t came;
    int serving;
};

static void checked(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct answer *answer = arg;

    answer->serving = reply != NULL ? (int)((const Grpc__Health__V1__HealthCheckResponse *)reply)->status : -1;
    sem_post(&answer->came);
}

static int grpc_health(void)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = 30000, .wait_for_ready = true};
    struct answer answer;

    sem_init(&answer.came, 0, 0);
    cr_assert_eq(rpc_unary(service.client, &grpc__health__v1__health__descriptor, "Check", &request.base, &options,
                           checked, &answer),
                 0);
    while (sem_wait(&answer.came) != 0)
        ;
    return answer.serving;
}

Test(svc, grpc_health_says_what_readyz_says)
{
    cr_assert_eq(readyz(), 200);
    cr_assert_eq(grpc_health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    atomic_store(&unready, true);
    cr_assert_eq(readyz(), 503);
    cr_assert_eq(grpc_health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
    atomic_store(&unready, false);
    cr_assert_eq(readyz(), 200);
    cr_assert_eq(grpc_health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
}

Test(svc, the_metric_of_the_phase_says_what_readyz_says)
{
    expect_phase("ready");
    atomic_store(&unready, true);
    expect_phase("not_ready");
    atomic_store(&unready, false);
    expect_phase("ready");
}

/* ---- a handler that never ends ---- */

#define BLOCKING "TEST_SVC_BLOCKING" /* in the environment of the process that has it */

static struct http_reply *block(struct http_req *req)
{
    while (pause() != 0)
        ;
    return NULL;
}

static const struct http_route blocking_routes[] = {{"GET", "/", block}, {0}};

static int run_blocking(void)
{
    char name[] = "test", *argv[] = {name, NULL};

    setenv("BIND_ADDRESS", "127.0.0.1", 1);
    setenv("PORT", "0", 1);
    setenv("METRICS_PORT", "0", 1);
    setenv("WORKERS", "1", 1);
    setenv("SHUTDOWN_DELAY_SECONDS", "0", 1);
    setenv("SHUTDOWN_TIMEOUT_SECONDS", "1", 1);
    return svc_main(1, argv, &(struct svc_def){.name = "test", .summary = "a test", .routes = blocking_routes});
}

/* A program of its own: TSan takes no new threads in a process that was forked from one with several. */
static void __attribute__((constructor)) become_blocking(void)
{
    if (getenv(BLOCKING) != NULL)
        _exit(run_blocking());
}

static void start_blocking(int log)
{
    dup2(log, STDOUT_FILENO);
    setenv(BLOCKING, "1", 1);
    execl("/proc/self/exe", "test_svc", (char *)NULL);
    _exit(127);
}

/* Reads until text stands in the log; everything where it is NULL. */
static void read_log(int fd, char log[16384], const char *text)
{
    size_t len = strlen(log);
    ssize_t got = 1;

    while (got > 0 && (text == NULL || strstr(log, text) == NULL)) {
        cr_assert_lt(len, 16383);
        cr_assert_geq(got = read(fd, log + len, 16383 - len), 0);
        log[len += (size_t)got] = '\0';
    }
}

Test(svc_stop, a_handler_that_blocks_its_loop_is_logged_and_does_not_keep_the_process)
{
    char log[16384] = "";
    int pipes[2], fd, status;
    pid_t child;

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    if ((child = fork()) == 0)
        start_blocking(pipes[1]);
    close(pipes[1]);
    read_log(pipes[0], log, "\"message\":\"ready\"");
    fd = net_connect("127.0.0.1", port_of(log, "\"protocol\":\"http\""));
    net_send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    kill(child, SIGTERM);
    read_log(pipes[0], log, NULL);
    cr_expect_not_null(strstr(log, "\"severity\":\"CRITICAL\""), "%s", log);
    cr_expect_not_null(strstr(log, "does not end: the process exits"), "%s", log);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%x", status);
    close(fd);
    close(pipes[0]);
}

/* ---- loops that do not turn ---- */

static uint64_t turned_now(const void *server)
{
    return clock_monotonic_ns();
}

static uint64_t turned_long_ago(const void *server)
{
    return clock_monotonic_ns() - 31 * CLOCK_NS_PER_S;
}

static int healthz(const struct svc_server *servers, unsigned count)
{
    struct svc_admin admin = {.servers = servers, .server_count = count};
    struct http_reply *reply =
        http_try(svc_admin_routes, &admin, &(struct http_try){.method = "GET", .target = "/healthz"});
    int status = http_reply_status(reply);

    http_reply_free(reply);
    return status;
}

Test(svc_admin, a_loop_of_any_server_that_does_not_turn_makes_healthz_fail)
{
    const struct svc_server_type turns = {.last_turn_ns = turned_now}, stuck = {.last_turn_ns = turned_long_ago};

    cr_assert_eq(healthz((const struct svc_server[]){{.type = &turns}, {.type = &turns}}, 2), 200);
    cr_assert_eq(healthz((const struct svc_server[]){{.type = &turns}, {.type = &stuck}}, 2), 503);
    cr_assert_eq(healthz((const struct svc_server[]){{.type = &stuck}, {.type = &turns}}, 2), 503);
    cr_assert_not_null(svc_http_server.last_turn_ns);
    cr_assert_not_null(svc_rpc_server.last_turn_ns);
}

/* ---- what is in flight ---- */

static struct loop *loops[2];
static sem_t blocked, released;

static struct loop *loop_of(const void *server, unsigned worker)
{
    return loops[worker];
}

static void list_two(void *server, unsigned worker, unsigned max, const struct net_listing *listing)
{
    struct trace trace = {.trace_id = {0xab}};
    char long_path[1000];

    memset(long_path, '"', sizeof(long_path));
    listing->request(listing->arg, &(struct net_listed_request){.method = STR("GET"),
                                                                .path = {long_path, sizeof(long_path)},
                                                                .route = STR("/\xff"),
                                                                .phase = "handling",
                                                                .client = STR("::1"),
                                                                .trace = &trace,
                                                                .begun_ns = clock_monotonic_ns()});
    listing->connection(listing->arg, &(struct net_listed_connection){
                                          .peer = STR("::1"), .opened_ns = clock_monotonic_ns(), .requests = worker});
}

static void hold_loop(struct loop_message *message)
{
    sem_post(&blocked);
    sem_wait(&released);
}

Test(svc_admin, what_is_in_flight_is_shown_also_where_a_loop_is_stuck)
{
    const struct svc_server_type type = {.protocol = "test", .list_loop = loop_of, .list = list_two};
    struct svc_admin admin = {
        .servers = &(struct svc_server){.type = &type}, .server_count = 1, .workers = 2, .phase = SVC_READY};
    struct loop_message message = {.run = hold_loop};
    struct http_reply *reply;
    struct str body;

    sem_init(&blocked, 0, 0);
    sem_init(&released, 0, 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(loop_open(i, "test", NULL, &loops[i]), 0);
    loop_post(loops[0], &message);
    sem_wait(&blocked);
    reply = http_try(svc_admin_routes, &admin, &(struct http_try){.method = "GET", .target = "/in-flight"});
    body = http_reply_body(reply);
    cr_assert_eq(http_reply_status(reply), 200, "%.*s", STR_ARG(body));
    cr_expect_not_null(memmem(body.s, body.len, "\"stuck\":[{\"server\":\"test\",\"worker\":0}]", 38), "%.*s",
                       STR_ARG(body));
    cr_expect_not_null(memmem(body.s, body.len, "{\"server\":\"test\",\"worker\":1,\"age_ms\":", 37));
    http_reply_free(reply);
    sem_post(&released);
    for (unsigned i = 0; i < 2; i++)
        loop_close(loops[i]); /* what was asked of the stuck loop is answered now, to nobody */
    svc_in_flight_end(&admin.in_flight);
}
