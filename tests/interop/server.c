/* server -- gRPC's interop test service on rpc.h, for the published interop clients and ours.
 *
 *   server [PORT]    serves grpc.testing.TestService on 127.0.0.1, prints the port, and drains on SIGTERM
 */
#include "clock.h"
#include "interop.descriptors.h"
#include "interop.rpc_server.h"
#include "loop.h"
#include "net_listen.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SIZE     (4 * 1024 * 1024)  /* bytes of a payload that is sent */
#define MAX_MESSAGE  (16 * 1024 * 1024) /* grpc-java sends 10 MiB */
#define MAX_WAITING  1000               /* responses of a call that are to be sent */
#define DRAIN_NS     (10 * CLOCK_NS_PER_S)
#define MAX_MEMORY   ((size_t)1024 * 1024 * 1024)
#define US_PER_MS    1000
#define ECHO_INITIAL "x-grpc-test-echo-initial"
#define ECHO_TRAILER "x-grpc-test-echo-trailing-bin"

static uint8_t zeros[MAX_SIZE];
static struct loop *loop; /* of all calls */

/* ---- what all methods do ---- */

static void echo_metadata(struct rpc_call *call)
{
    struct str initial = rpc_call_metadata(call, ECHO_INITIAL), trailer = rpc_call_metadata(call, ECHO_TRAILER);

    if (initial.s != NULL)
        rpc_call_add_metadata(call, ECHO_INITIAL, initial);
    if (trailer.s != NULL)
        rpc_call_add_trailer(call, ECHO_TRAILER, trailer);
}

/* Returns true where the request asks for a status other than OK. */
static bool finish_as_told(struct rpc_call *call, const Grpc__Testing__EchoStatus *status)
{
    if (status == NULL || status->code == 0)
        return false;
    if (status->code < 0 || status->code > ERR_GRPC_UNAUTHENTICATED)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "there is no such status");
    else
        rpc_finish(call, (enum err_grpc)status->code, status->message);
    return true;
}

/* Returns false, and finishes the call, where the message did not come as the client says. */
static bool check_compressed(struct rpc_call *call, const Grpc__Testing__BoolValue *expected)
{
    if (expected == NULL || expected->value == rpc_call_message_was_compressed(call))
        return true;
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT,
               expected->value ? "the message is not compressed" : "the message is compressed");
    return false;
}

static bool check_size(struct rpc_call *call, int32_t size)
{
    if (size >= 0 && size <= MAX_SIZE)
        return true;
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "a response has 0 to 4 MiB");
    return false;
}

static Grpc__Testing__Payload payload_of(size_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body = (ProtobufCBinaryData){.len = size, .data = zeros};
    return payload;
}

/* ---- unary ---- */

static void empty_call(struct rpc_call *call, const Grpc__Testing__Empty *request)
{
    const Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;

    echo_metadata(call);
    grpc__testing__test_service__empty_call__reply(call, &response);
}

static void unary_call(struct rpc_call *call, const Grpc__Testing__SimpleRequest *request)
{
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;

    echo_metadata(call);
    if (!check_compressed(call, request->expect_compressed) || !check_size(call, request->response_size) ||
        finish_as_told(call, request->response_status))
        return;
    payload = payload_of((size_t)request->response_size);
    response.payload = &payload;
    response.server_id = request->fill_server_id ? (char *)"interop" : response.server_id;
    rpc_call_compress(call, request->response_compressed != NULL && request->response_compressed->value);
    grpc__testing__test_service__unary_call__reply(call, &response);
}

/* ---- a stream from the client ---- */

static void open_sum(struct rpc_call *call)
{
    int64_t *sum = calloc(1, sizeof(*sum));

    echo_metadata(call);
    rpc_call_set_data(call, sum);
    if (sum == NULL)
        rpc_fail(call, -ENOMEM, NULL);
}

static void add_input(struct rpc_call *call, const Grpc__Testing__StreamingInputCallRequest *request)
{
    int64_t *sum = rpc_call_data(call);

    if (check_compressed(call, request->expect_compressed) && request->payload != NULL)
        *sum += (int64_t)request->payload->body.len;
}

static void end_input(struct rpc_call *call)
{
    Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    const int64_t *sum = rpc_call_data(call);

    response.aggregated_payload_size = *sum < INT32_MAX ? (int32_t)*sum : INT32_MAX;
    grpc__testing__test_service__streaming_input_call__reply(call, &response);
}

static void free_data(struct rpc_call *call)
{
    free(rpc_call_data(call));
}

/* ---- streams to the client ---- */

struct response {
    size_t size;
    unsigned wait_ms;
    bool compressed;
};

/* Responses that are to be sent, in their order. The client's next request is read when all have been sent. */
struct output {
    struct rpc_call *call;
    struct loop_timer timer; /* for the next one */
    struct response responses[MAX_WAITING];
    size_t count, at;
    bool is_last; /* the client asks for no more */
    bool held;    /* until then (half duplex) */
};

static void open_output(struct rpc_call *call)
{
    struct output *output = calloc(1, sizeof(*output));

    echo_metadata(call);
    rpc_call_set_data(call, output);
    if (output == NULL)
        rpc_fail(call, -ENOMEM, NULL);
    else
        output->call = call;
}

static void open_half_duplex(struct rpc_call *call)
{
    struct output *output;

    open_output(call);
    output = rpc_call_data(call);
    if (output != NULL)
        output->held = true;
}

static int send_next(struct output *output)
{
    const struct response *next = &output->responses[output->at++];
    Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload = payload_of(next->size);

    response.payload = &payload;
    rpc_call_compress(output->call, next->compressed);
    return grpc__testing__test_service__full_duplex_call__send(output->call, &response);
}

static void all_sent(struct output *output)
{
    output->count = output->at = 0;
    if (output->is_last)
        rpc_finish(output->call, ERR_GRPC_OK, NULL);
    else
        rpc_resume(output->call);
}

static void on_timer(struct loop_timer *timer);

/* Sends until there is something to wait for: the next one's time, or room in the queue. */
static void send_due(struct output *output, bool waited)
{
    int result = 0;

    while (result == 0 && output->at < output->count) {
        unsigned wait_ms = output->responses[output->at].wait_ms;

        if (wait_ms > 0 && !waited) {
            if (loop_timer_start(loop, &output->timer, wait_ms, on_timer) < 0)
                rpc_fail(output->call, -ENOMEM, NULL);
            return;
        }
        waited = false;
        result = send_next(output);
    }
    if (result == 0)
        all_sent(output);
}

static void on_timer(struct loop_timer *timer)
{
    send_due((struct output *)(void *)((char *)timer - offsetof(struct output, timer)), true);
}

static void on_room(struct rpc_call *call)
{
    struct output *output = rpc_call_data(call);

    if (!loop_timer_running(&output->timer))
        send_due(output, false);
}

static bool add_response(struct output *output, const Grpc__Testing__ResponseParameters *parameters)
{
    if (!check_size(output->call, parameters->size))
        return false;
    if (output->count == MAX_WAITING || parameters->interval_us < 0) {
        rpc_finish(output->call, ERR_GRPC_INVALID_ARGUMENT, "too many responses, or a negative interval");
        return false;
    }
    output->responses[output->count++] = (struct response){
        .size = (size_t)parameters->size,
        .wait_ms = ((unsigned)parameters->interval_us + US_PER_MS - 1) / US_PER_MS,
        .compressed = parameters->compressed != NULL && parameters->compressed->value,
    };
    return true;
}

static void output_call(struct rpc_call *call, const Grpc__Testing__StreamingOutputCallRequest *request)
{
    struct output *output = rpc_call_data(call);

    for (size_t i = 0; i < request->n_response_parameters; i++)
        if (!add_response(output, request->response_parameters[i]))
            return;
    if (finish_as_told(call, request->response_status) || output->held)
        return;
    rpc_pause(call);
    send_due(output, false);
}

static void streaming_output_call(struct rpc_call *call, const Grpc__Testing__StreamingOutputCallRequest *request)
{
    struct output *output = rpc_call_data(call);

    output->is_last = true;
    output_call(call, request);
}

static void end_output(struct rpc_call *call)
{
    struct output *output = rpc_call_data(call);

    output->is_last = true;
    send_due(output, false);
}

static void free_output(struct rpc_call *call)
{
    struct output *output = rpc_call_data(call);

    if (output != NULL)
        loop_timer_stop(loop, &output->timer);
    free(output);
}

/* ---- the program ---- */

static const struct rpc_method methods[] = {
    GRPC__TESTING__TEST_SERVICE__EMPTY_CALL(empty_call),
    GRPC__TESTING__TEST_SERVICE__UNARY_CALL(unary_call),
    GRPC__TESTING__TEST_SERVICE__CACHEABLE_UNARY_CALL(unary_call),
    GRPC__TESTING__TEST_SERVICE__STREAMING_INPUT_CALL(add_input, .on_open = open_sum, .on_half_close = end_input,
                                                      .on_close = free_data),
    GRPC__TESTING__TEST_SERVICE__STREAMING_OUTPUT_CALL(streaming_output_call, .on_open = open_output,
                                                       .on_writable = on_room, .on_close = free_output),
    GRPC__TESTING__TEST_SERVICE__FULL_DUPLEX_CALL(output_call, .on_open = open_output, .on_half_close = end_output,
                                                  .on_writable = on_room, .on_close = free_output),
    GRPC__TESTING__TEST_SERVICE__HALF_DUPLEX_CALL(output_call, .on_open = open_half_duplex, .on_half_close = end_output,
                                                  .on_writable = on_room, .on_close = free_output),
    {0},
};

static int open_server(int port, struct rpc_server **ret_server, int *ret_port)
{
    const struct rpc_server_def def = {.methods = methods,
                                       .descriptors = interop_descriptors,
                                       .descriptors_len = interop_descriptors_len,
                                       .loops = &loop,
                                       .max_message = MAX_MESSAGE,
                                       .max_memory = MAX_MEMORY,
                                       .max_connection_age_ms = 3600000};
    int fd, err = net_listen("127.0.0.1", port, &fd, ret_port);

    return err == 0 ? rpc_server_open(fd, &def, ret_server) : err;
}

int main(int argc, char **argv)
{
    struct rpc_server *server;
    sigset_t signals;
    int port, signal, err;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    err = loop_open(0, "interop", NULL, &loop);
    if (err == 0)
        err = open_server(argc > 1 ? atoi(argv[1]) : 0, &server, &port);
    if (err != 0) {
        fprintf(stderr, "server: %s\n", err_text(err));
        return 1;
    }
    rpc_server_start(server);
    rpc_server_set_serving(server, true);
    printf("%d\n", port);
    fflush(stdout);
    sigwait(&signals, &signal);
    err = rpc_server_wait(server, clock_monotonic_ns() + DRAIN_NS);
    rpc_server_close(server);
    loop_close(loop);
    return err == 0 ? 0 : 1;
}
