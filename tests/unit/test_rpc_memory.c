/* The Nth of the library's own allocations fails, for every N: an error comes back, or the call fails or comes later,
 * and everything ends. Libraries do not all survive a failed allocation: theirs do not fail. */
#include "failing_malloc.h"
#include "rpc_fixture.h"
#include <h2o/socket.h>

#ifdef SANITIZED
Test(rpc_memory, is_tested_without_sanitizers)
{
    cr_skip("allocators are a sanitizer's own");
}
#else

/* h2o ends the process where it gets no memory, also where it is linked statically. meson.build has the linker call
 * these for the two of its functions that allocate here. */
h2o_evloop_t *__real_h2o_evloop_create(void);
h2o_evloop_t *__wrap_h2o_evloop_create(void);
h2o_socket_t *__real_h2o_evloop_socket_create(h2o_evloop_t *loop, int fd, int flags);
h2o_socket_t *__wrap_h2o_evloop_socket_create(h2o_evloop_t *loop, int fd, int flags);

h2o_evloop_t *__wrap_h2o_evloop_create(void)
{
    h2o_evloop_t *loop;

    in_library = true;
    loop = __real_h2o_evloop_create();
    in_library = false;
    return loop;
}

h2o_socket_t *__wrap_h2o_evloop_socket_create(h2o_evloop_t *loop, int fd, int flags)
{
    h2o_socket_t *socket;

    in_library = true;
    socket = __real_h2o_evloop_socket_create(loop, fd, flags);
    in_library = false;
    return socket;
}

TestSuite(rpc_memory, .timeout = 120);

static void list_features(struct fixture *fixture)
{
    Routeguide__Point lo = ROUTEGUIDE__POINT__INIT, hi = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;
    struct fixture_stream stream = {0};
    int err;

    lo.latitude = 3;
    rectangle.lo = &lo;
    rectangle.hi = &hi;
    sem_init(&stream.done, 0, 0);
    err = rpc_stream_open(fixture->client, ROUTE_GUIDE, "ListFeatures", &(struct rpc_call_options){.timeout_ms = 60000},
                          &fixture_stream_handlers, &stream, &stream.stream);
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    if (err != 0)
        return;
    rpc_stream_send(stream.stream, &rectangle.base);
    rpc_stream_half_close(stream.stream);
    fixture_stream_end(&stream);
    cr_assert(stream.code == ERR_GRPC_OK ? stream.messages + 0 == 3 : stream.messages + 0 < 4);
}

static void call_a_method(struct fixture *fixture)
{
    struct fixture_answer answer;
    int err = fixture_begin(fixture, 100, 0, &(struct rpc_call_options){.timeout_ms = 60000, .wait_for_ready = true},
                            &answer);

    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    if (err != 0)
        return;
    fixture_wait(&answer.done);
    cr_assert_eq(answer.replied, answer.code == ERR_GRPC_OK);
}

static void live(struct fixture *fixture)
{
    const struct rpc_server_def def = {.methods = fixture_methods,
                                       .descriptors = routeguide_descriptors,
                                       .descriptors_len = routeguide_descriptors_len,
                                       .state = fixture};
    char target[64];
    int fd, err;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &fixture->port), 0);
    snprintf(target, sizeof(target), "127.0.0.1:%d", fixture->port);
    err = rpc_server_open(fd, &def, &fixture->server);
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    if (err == 0)
        err = rpc_client_open(&(struct rpc_client_def){.target = target}, &fixture->client);
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    if (err == 0) {
        rpc_server_start(fixture->server);
        call_a_method(fixture);
        list_features(fixture);
    }
    fixture_close(fixture);
}

Test(rpc_memory, every_allocation_may_fail)
{
    atomic_store(&fail_own_only, true);
    for (long n = 1;; n++) {
        struct fixture fixture = {0};
        long before = failed;

        sem_init(&fixture.closed, 0, 0);
        fail_in = n;
        live(&fixture);
        fail_in = 0;
        if (failed == before)
            break;
        cr_assert_lt(n, 10000);
    }
    cr_assert_gt(failed, 20);
}
#endif
