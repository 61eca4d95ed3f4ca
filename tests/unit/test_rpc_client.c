/* What a client does when not everything is well. */
#include "rpc_fixture.h"
#include <arpa/inet.h>
#include <errno.h>
#include <grpc/grpc.h>
#include <sys/socket.h>

static struct fixture fixture;

static void open_fixture(void)
{
    fixture_open(&fixture);
}

static void close_fixture(void)
{
    fixture_close(&fixture);
}

TestSuite(rpc_client, .init = open_fixture, .fini = close_fixture, .timeout = 120);

static int open_target(const char *target)
{
    struct rpc_client *client = NULL;
    int err = rpc_client_open(&(struct rpc_client_def){.name = "peer", .target = target}, &client);

    cr_assert_eq(err == 0, client != NULL);
    rpc_client_free(client);
    return err;
}

Test(rpc_client, takes_targets_of_several_forms)
{
    cr_assert_eq(open_target("feature-store:9999"), 0);
    cr_assert_eq(open_target("127.0.0.1:1"), 0);
    cr_assert_eq(open_target("127.0.0.1:1,127.0.0.2:1"), 0);
    cr_assert_eq(open_target("[::1]:1,[::1]:2"), 0);
    cr_assert_eq(open_target("dns:///feature-store:9999"), 0);
    cr_assert_eq(open_target(""), -EINVAL);
    cr_assert_eq(open_target("feature-store"), -EINVAL);
    cr_assert_eq(open_target("a:1,b:2"), -EINVAL);
    cr_assert_eq(open_target("127.0.0.1:1,"), -EINVAL);
}

Test(rpc_client, resolves_names)
{
    char target[64];

    fixture.client = rpc_client_free(fixture.client);
    snprintf(target, sizeof(target), "localhost:%d", fixture.port);
    fixture_connect(&fixture, (struct rpc_client_def){.target = target});
    cr_assert_eq(fixture_call(&fixture, 100, 0, (struct rpc_call_options){0}).code, ERR_GRPC_OK);
}

Test(rpc_client, takes_compressed_responses)
{
    struct fixture_answer answer = fixture_call(&fixture, ORDER_GZIP, 0, (struct rpc_call_options){0});

    cr_assert_eq(answer.code, ERR_GRPC_OK);
    cr_assert_eq(strncmp(answer.name, "gzip ", 5), 0);
    cr_assert_eq(answer.name_len, 63u);
}

Test(rpc_client, fails_at_once_without_a_server)
{
    struct fixture_answer answer;

    fixture.server = rpc_server_close(fixture.server);
    answer = fixture_call(&fixture, 100, 0, (struct rpc_call_options){.timeout_ms = 60000});
    cr_assert_eq(answer.code, ERR_GRPC_UNAVAILABLE, "%s", answer.message);
}

/* The client's end waits for C-core's, though not for ever. */
Test(rpc_client, ends_in_the_pause_before_an_attempt_to_connect)
{
    fixture.client = rpc_client_free(fixture.client);
    fixture.server = rpc_server_close(fixture.server);
    fixture_connect(&fixture, (struct rpc_client_def){.reconnect_ms = 60000});
    cr_assert_eq(fixture_call(&fixture, 100, 0, (struct rpc_call_options){0}).code, ERR_GRPC_UNAVAILABLE);
    fixture.client = rpc_client_free(fixture.client);
    cr_assert(!grpc_is_initialized());
}

Test(rpc_client, waits_for_a_server_where_it_is_told_to)
{
    struct fixture_answer answer;
    struct rpc_client *client = fixture.client;
    int port = fixture.port, fd;

    fixture.server = rpc_server_close(fixture.server);
    cr_assert_eq(fixture_begin(&fixture, 100, 0,
                               &(struct rpc_call_options){.timeout_ms = 60000, .wait_for_ready = true}, &answer),
                 0);
    cr_assert_eq(net_listen("127.0.0.1", port, &fd, &port), 0);
    cr_assert_eq(rpc_server_open(fd,
                                 &(struct rpc_server_def){.methods = fixture_methods,
                                                          .descriptors = routeguide_descriptors,
                                                          .descriptors_len = routeguide_descriptors_len,
                                                          .state = &fixture},
                                 &fixture.server),
                 0);
    rpc_server_start(fixture.server);
    fixture_wait(&answer.done);
    cr_assert_eq(answer.code, ERR_GRPC_OK, "%s", answer.message);
    cr_assert_eq(fixture.client, client);
}

Test(rpc_client, bounds_what_is_in_flight)
{
    struct fixture_answer held, answer;
    struct rpc_call_options options = {.timeout_ms = 60000};

    fixture.client = rpc_client_free(fixture.client);
    fixture_connect(&fixture, (struct rpc_client_def){.max_in_flight = 1});
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &options, &held), 0);
    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), -ENOBUFS);
    fixture_wait(&fixture.entered);
    fixture.server = rpc_server_close(fixture.server);
    fixture_wait(&held.done);
}

/* One for each 16 KiB. */
Test(rpc_client, bounds_what_is_in_flight_by_memory)
{
    struct fixture_answer held[2], answer;
    struct rpc_call_options options = {.timeout_ms = 60000};

    fixture.client = rpc_client_free(fixture.client);
    fixture_connect(&fixture, (struct rpc_client_def){.max_in_flight = 3, .max_memory = 47 << 10});
    for (int i = 0; i < 2; i++)
        cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &options, &held[i]), 0);
    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), -ENOBUFS);
    fixture_wait(&fixture.entered);
    fixture.server = rpc_server_close(fixture.server);
    for (int i = 0; i < 2; i++)
        fixture_wait(&held[i].done);
}

Test(rpc_client, cancels_a_call_that_is_no_longer_wanted)
{
    struct rpc_outgoing *outgoing = NULL;
    struct rpc_call_options options = {.timeout_ms = 60000, .ret_outgoing = &outgoing};
    struct fixture_answer answer;

    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &options, &answer), 0);
    cr_assert_not_null(outgoing);
    fixture_wait(&fixture.entered);
    rpc_outgoing_cancel(outgoing);
    fixture_wait(&answer.done);
    cr_assert_eq(answer.code, ERR_GRPC_CANCELLED, "%s", answer.message);
    rpc_outgoing_cancel(outgoing); /* its end has come */
    cr_assert_null(rpc_outgoing_unref(outgoing));
    rpc_outgoing_cancel(NULL);
}

Test(rpc_client, refuses_metadata_that_cannot_be_sent)
{
    const struct rpc_metadata bad_name[] = {{"Upper", STR("x")}}, bad_value[] = {{"name", STR("a\nb")}};
    struct rpc_metadata many[RPC_MAX_METADATA + 1];
    struct fixture_answer answer;
    struct rpc_call_options options = {.timeout_ms = 60000, .metadata = bad_name, .metadata_count = 1};

    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), -EINVAL);
    options.metadata = bad_value;
    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), -EINVAL);
    for (int i = 0; i <= RPC_MAX_METADATA; i++)
        many[i] = (struct rpc_metadata){"name", STR("value")};
    options.metadata = many;
    options.metadata_count = RPC_MAX_METADATA + 1;
    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), -EINVAL);
    options.metadata_count = RPC_MAX_METADATA;
    cr_assert_eq(fixture_begin(&fixture, 100, 0, &options, &answer), 0);
    fixture_wait(&answer.done);
    cr_assert_eq(answer.code, ERR_GRPC_OK);
}

Test(rpc_client, refuses_a_reply_beyond_its_limit)
{
    struct fixture_answer answer;

    fixture.client = rpc_client_free(fixture.client);
    fixture_connect(&fixture, (struct rpc_client_def){.max_message = 1000});
    answer = fixture_call(&fixture, ORDER_BIG, 2000, (struct rpc_call_options){0});
    cr_assert_eq(answer.code, ERR_GRPC_RESOURCE_EXHAUSTED, "%s", answer.message);
    fixture.client = rpc_client_free(fixture.client);
    fixture_connect(&fixture, (struct rpc_client_def){.max_message = SIZE_MAX});
    answer = fixture_call(&fixture, ORDER_BIG, 6000000, (struct rpc_call_options){0});
    cr_assert_eq(answer.code, ERR_GRPC_OK, "%s", answer.message);
    cr_assert_eq(answer.name_len, 6000000);
}

/* Calls that begin others when they end: none may be lost, none begun after the client's end. */
struct chain {
    struct fixture *fixture;
    atomic_int begun, done;
    sem_t running;
};

static void chain_on(struct chain *chain);

static void chain_done(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct chain *chain = arg;

    if (atomic_fetch_add(&chain->done, 1) == 20)
        sem_post(&chain->running);
    chain_on(chain);
}

static void chain_on(struct chain *chain)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;

    point.latitude = 100;
    atomic_fetch_add(&chain->begun, 1);
    if (rpc_unary(chain->fixture->client, ROUTE_GUIDE, "GetFeature", &point.base,
                  &(struct rpc_call_options){.timeout_ms = 60000}, chain_done, chain) != 0)
        atomic_fetch_sub(&chain->begun, 1);
}

Test(rpc_client, ends_with_calls_in_flight)
{
    struct chain chain = {.fixture = &fixture};
    struct fixture_answer held;

    sem_init(&chain.running, 0, 0);
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &held), 0);
    for (int i = 0; i < 8; i++)
        chain_on(&chain);
    fixture_wait(&chain.running);
    rpc_client_free(fixture.client);
    fixture.client = NULL;
    cr_assert_eq(sem_trywait(&held.done), 0, "the client has waited for its callbacks");
    cr_assert_eq(held.code, ERR_GRPC_CANCELLED);
    cr_assert_eq(atomic_load(&chain.begun), atomic_load(&chain.done));
}

/* ---- several servers ---- */

Test(rpc_client, spreads_calls_over_all_addresses)
{
    struct fixture other = {0};
    char target[64];
    int of_one = 0;

    fixture.client = rpc_client_free(fixture.client);
    fixture_serve(&other, (struct rpc_server_def){0});
    snprintf(target, sizeof(target), "127.0.0.1:%d,127.0.0.1:%d", fixture.port, other.port);
    fixture_connect(&fixture, (struct rpc_client_def){.target = target});
    for (int i = 0; i < 200; i++)
        cr_assert_eq(fixture_call(&fixture, 100, 0, (struct rpc_call_options){0}).code, ERR_GRPC_OK);
    while (sem_trywait(&other.closed) == 0)
        of_one++;
    cr_assert(of_one >= 20 && of_one <= 180, "%d of 200", of_one);
    fixture_close(&other);
}

/* A "server" that closes each connection when a call has come: its fate is unknown, and it is tried again where the
 * method is said to be idempotent. */
struct breaker {
    int fd, port;
    atomic_bool broke; /* the one call that it breaks */
    atomic_bool closing;
    pthread_t thread;
};

/* A client that is freed as it connects may leave its connection as it is, for nobody polls it any more. */
static bool wait_for_call(struct breaker *breaker, int fd)
{
    static const struct timeval look_again = {.tv_usec = 50 * 1000};
    static const char settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0}; /* an empty SETTINGS frame: it speaks HTTP/2 */
    char bytes[4096];
    size_t len = 0;
    ssize_t got;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look_again, sizeof(look_again));
    if (send(fd, settings, sizeof(settings), MSG_NOSIGNAL) < 0)
        return false;
    while (len < sizeof(bytes) && !breaker->closing) {
        got = recv(fd, bytes + len, sizeof(bytes) - len, 0);
        if (got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0)
            return false;
        len += (size_t)got;
        if (memmem(bytes, len, "GetFeature", 10) != NULL) /* part of the path, which is sent as it is */
            return true;
    }
    return false;
}

static void *break_connections(void *arg)
{
    struct breaker *breaker = arg;
    int fd;

    while ((fd = accept(breaker->fd, NULL, NULL)) >= 0) {
        /* The listener ends first: nobody connects anew. So whichever peer each attempt goes to, only one is broken. */
        if (wait_for_call(breaker, fd)) {
            shutdown(breaker->fd, SHUT_RDWR);
            atomic_store(&breaker->broke, true);
        }
        close(fd);
    }
    return NULL;
}

static void breaker_open(struct breaker *breaker)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    breaker->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(breaker->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(breaker->fd, 16), 0);
    getsockname(breaker->fd, (struct sockaddr *)&address, &len);
    breaker->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&breaker->thread, NULL, break_connections, breaker), 0);
}

static void breaker_close(struct breaker *breaker)
{
    breaker->closing = true;
    shutdown(breaker->fd, SHUT_RDWR);
    pthread_join(breaker->thread, NULL);
    close(breaker->fd);
}

/* Failures of calls that go to a server and to a breaker, in turn, until the breaker has broken one. */
static int failures(const char *idempotent_method)
{
    const char *const idempotent[] = {idempotent_method, NULL};
    struct breaker breaker = {0};
    char target[64];
    int failed = 0;

    breaker_open(&breaker);
    fixture.client = rpc_client_free(fixture.client);
    snprintf(target, sizeof(target), "127.0.0.1:%d,127.0.0.1:%d", fixture.port, breaker.port);
    fixture_connect(&fixture, (struct rpc_client_def){.target = target,
                                                      .retry_idempotent = idempotent_method != NULL,
                                                      .idempotent_methods = idempotent});
    while (!atomic_load(&breaker.broke))
        if (fixture_call(&fixture, 100, 0, (struct rpc_call_options){0}).code != ERR_GRPC_OK)
            failed++;
    fixture.client = rpc_client_free(fixture.client);
    breaker_close(&breaker);
    return failed;
}

Test(rpc_client, retries_idempotent_methods_only)
{
    cr_assert_gt(failures(NULL), 0);
    cr_assert_gt(failures("routeguide.RouteGuide/ListFeatures"), 0);
    cr_assert_eq(failures("routeguide.RouteGuide/GetFeature"), 0);
}
