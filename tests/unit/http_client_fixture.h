/* http_client_fixture -- for the tests of the HTTP client: a peer that follows a script, and calls that are waited for.
 */
#pragma once
#include "http_client.h"
#include "http_fixture.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- a peer that says exactly what it is told: one connection after the other ---- */

struct script {
    const char *const *answers; /* one a request, on connections as below; ended by NULL */
    bool reuse;                 /* all on one connection; else one a connection, which is then closed */
    bool hold;                  /* the last connection is held open until script_close */
    int listen_fd, port;
    pthread_t thread;
    atomic_bool done;
    atomic_uint connections;
    char requests[16384]; /* the heads, one after the other */
};

/* Reads the head of a request and appends it to heads, a text of size bytes. False: the connection has ended. */
static inline bool read_request(int fd, char *heads, size_t size)
{
    size_t begin = strlen(heads), len = begin;

    while (len - begin < 4 || memcmp(heads + len - 4, "\r\n\r\n", 4) != 0) {
        if (len == size - 1 || recv(fd, heads + len, 1, 0) != 1)
            return false;
        heads[++len] = '\0';
    }
    return true;
}

static inline void *run_script(void *arg)
{
    struct script *script = arg;
    int fd = -1;

    for (unsigned i = 0; script->answers[i] != NULL; i++) {
        const char *answer = script->answers[i];
        if (fd < 0) {
            fd = accept(script->listen_fd, NULL, NULL);
            script->connections++;
        }
        if (!read_request(fd, script->requests, sizeof(script->requests)))
            break;
        if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0 || (!script->reuse && !script->hold)) {
            close(fd);
            fd = -1;
        }
    }
    while (script->hold && !script->done)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static inline void script_open(struct script *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    script->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(script->listen_fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(script->listen_fd, 16), 0);
    getsockname(script->listen_fd, (struct sockaddr *)&address, &len);
    script->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&script->thread, NULL, run_script, script), 0);
}

static inline void script_close(struct script *script)
{
    script->done = true;
    shutdown(script->listen_fd, SHUT_RDWR); /* ends an accept that waits */
    pthread_join(script->thread, NULL);
    close(script->listen_fd);
}

/* ---- the client under test ---- */

struct calls {
    struct http_client *client;
    struct loop *loop;
    struct metrics *metrics;
};

static inline struct calls calls_open(struct http_client_def def)
{
    struct calls calls = {.metrics = metrics_new()};

    def.name = "peer";
    def.metrics = calls.metrics;
    def.workers = def.workers > 0 ? def.workers : 1;
    cr_assert_eq(http_client_open(&def, &calls.client), 0);
    cr_assert_eq(loop_open(0, "caller", NULL, &calls.loop), 0);
    return calls;
}

static inline void calls_close(struct calls *calls)
{
    loop_close(calls->loop);
    http_client_free(calls->client);
    metrics_free(calls->metrics);
}

static inline struct calls calls_open_with(int port, struct http_client_def def)
{
    char target[64];

    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    def.target = target;
    return calls_open(def);
}

static inline struct calls calls_open_port(int port)
{
    return calls_open_with(port, (struct http_client_def){0});
}

struct result {
    struct calls *calls;
    struct http_client_request request;
    struct http_call *call;
    int begun;
    int err, status;
    char body[65536], headers[4096]; /* "name=value;" each */
    size_t body_len;
    bool within; /* done came from within http_client_call */
    atomic_bool returned, done;
};

static inline void keep(struct result *result, const struct http_client_response *response)
{
    struct http_field field;
    size_t position = 0, len = 0;

    result->status = response->status;
    result->body_len = response->body.len;
    if (response->body.len < sizeof(result->body)) {
        memcpy(result->body, response->body.s, response->body.len);
        result->body[response->body.len] = '\0';
    }
    while (http_client_next_header(response, &position, &field) && len < sizeof(result->headers) / 2) {
        cr_expect_eq(http_client_header(response, field.name).s != NULL, true);
        len += (size_t)snprintf(result->headers + len, sizeof(result->headers) - len, "%.*s=%.*s;", STR_ARG(field.name),
                                STR_ARG(field.value));
    }
}

static inline void on_done(void *arg, int err, const struct http_client_response *response)
{
    struct result *result = arg;

    result->err = err;
    cr_expect_eq(err == 0, response != NULL);
    if (response != NULL)
        keep(result, response);
    result->within = !result->returned;
    result->done = true;
}

static inline void begin(void *arg)
{
    struct result *result = arg;

    if (result->request.timeout_ms == 0)
        result->request.timeout_ms = NET_BOUND_MS;
    result->begun =
        http_client_call(result->calls->client, result->calls->loop, &result->request, on_done, result, &result->call);
    result->returned = true;
}

/* On the heap for its size. */
static inline struct result *result_new(struct calls *calls, struct http_client_request request)
{
    struct result *result = calloc(1, sizeof(*result));

    result->calls = calls;
    result->request = request;
    return result;
}

/* Calls and waits for the end. */
static inline struct result *call(struct calls *calls, struct http_client_request request)
{
    struct result *result = result_new(calls, request);

    loop_call(calls->loop, begin, result);
    cr_assert_eq(result->begun, 0, "%s", strerror(-result->begun));
    NET_AWAIT(result->done);
    cr_expect_not(result->within);
    return result;
}

static inline void expect_of(struct calls *calls, struct http_client_request request, int err, int status,
                             const char *body)
{
    struct result *result = call(calls, request);

    cr_expect_eq(result->err, err, "%s: %s", request.path.s, strerror(-result->err));
    cr_expect_eq(result->status, status, "%s: %d", request.path.s, result->status);
    if (body != NULL)
        cr_expect_str_eq(result->body, body, "%s: %s", request.path.s, result->body);
    free(result);
}

static inline void expect(struct calls *calls, const char *path, int err, int status, const char *body)
{
    expect_of(calls, (struct http_client_request){.path = str_of(path)}, err, status, body);
}

/* What http_client_call returns for a request that it refuses. */
static inline int refusal(struct calls *calls, struct http_client_request request)
{
    struct result *result = result_new(calls, request);
    int err;

    loop_call(calls->loop, begin, result);
    err = result->begun;
    if (err == 0)
        NET_AWAIT(result->done);
    free(result);
    return err;
}

static inline double client_metric(struct calls *calls, const char *series)
{
    return fixture_metric(&(struct fixture){.metrics = calls->metrics}, series);
}

#define OK "HTTP/1.1 200 OK\r\n"

static inline void expect_answer(const char *answer, int err, int status, const char *body)
{
    struct script script = {.answers = (const char *const[]){answer, NULL}};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect(&calls, "/", err, status, body);
    calls_close(&calls);
    script_close(&script);
}
