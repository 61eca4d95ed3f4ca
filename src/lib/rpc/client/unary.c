/* One unary call: one batch with all its operations, and so one event, which is the last. Nobody else refers to it:
 * C-core and rpc_client_cancel know its flight, the event frees it. */
#include "rpc_client_internal.h"
#include <errno.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

struct unary {
    struct rpc_flight flight;
    struct rpc_event completed;
    rpc_unary_answer *answer;
    rpc_done *done;
    void *arg;
    grpc_byte_buffer *request, *reply;
};

static void answer_unary(struct unary *unary)
{
    char *text;
    struct rpc_status status = rpc_flight_status(&unary->flight, &text);
    struct rpc_unpacked reply = {0};

    if (status.code == ERR_GRPC_OK && unary->reply == NULL)
        status = (struct rpc_status){ERR_GRPC_UNIMPLEMENTED, "the server sent no reply message"};
    else if (status.code == ERR_GRPC_OK &&
             rpc_unpack(unary->reply, unary->flight.method->descriptor->output, &reply) != 0)
        status = (struct rpc_status){ERR_GRPC_INTERNAL, "the reply cannot be unpacked"};
    rpc_flight_count(&unary->flight, status.code);
    unary->answer(unary->done, unary->arg, &status, reply.message);
    rpc_unpacked_release(&reply);
    gpr_free(text);
}

static void on_completed(struct rpc_event *event, bool ok)
{
    struct unary *unary = RPC_OWNER(event, struct unary, completed);

    rpc_flight_landed(&unary->flight);
    answer_unary(unary);
    grpc_byte_buffer_destroy(unary->request);
    grpc_byte_buffer_destroy(unary->reply);
    rpc_flight_end(&unary->flight);
    free(unary);
}

int rpc_unary_typed(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                    const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_answer *answer,
                    rpc_done *done, void *arg)
{
    struct unary *unary = calloc(1, sizeof(*unary));
    int err;

    if (unary == NULL)
        return -ENOMEM;
    unary->completed.run = on_completed;
    unary->answer = answer;
    unary->done = done;
    unary->arg = arg;
    err = rpc_flight_begin(&unary->flight, client, service, method, options);
    if (err != 0) {
        free(unary);
        return err;
    }
    assert(request->descriptor == unary->flight.method->descriptor->input);
    unary->request = rpc_pack(request);

    const grpc_op ops[] = {
        rpc_flight_send_metadata(&unary->flight, options),
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = unary->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        rpc_flight_recv_metadata(&unary->flight),
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &unary->reply},
        rpc_flight_recv_status(&unary->flight),
    };
    rpc_start(unary->flight.grpc, ops, sizeof(ops) / sizeof(ops[0]), &unary->completed);
    return 0;
}

static void answer_untyped(rpc_done *done, void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    ((rpc_unary_done *)done)(arg, status, reply);
}

int rpc_unary(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
              const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done, void *arg)
{
    return rpc_unary_typed(client, service, method, request, options, answer_untyped, (rpc_done *)done, arg);
}
