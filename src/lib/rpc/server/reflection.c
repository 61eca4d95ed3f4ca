/* Server reflection: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. The versions v1 and v1alpha
 * differ in their package alone, so that one set of handlers, written in terms of v1, serves both. */
#include "health.descriptors.h"
#include "reflection_v1.descriptors.h"
#include "reflection_v1.pb-c.h"
#include "reflection_v1alpha.descriptors.h"
#include "reflection_v1alpha.pb-c.h"
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

_Static_assert(sizeof(Request) == sizeof(Grpc__Reflection__V1alpha__ServerReflectionRequest) &&
                   offsetof(Request, message_request_case) ==
                       offsetof(Grpc__Reflection__V1alpha__ServerReflectionRequest, message_request_case),
               "v1 and v1alpha have the same fields");

#define CASE(name_)   GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name_
#define ANSWER(name_) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name_

/* A full queue towards the client stops the reading of its questions. */
static void send_response(struct rpc_call *call, Response *response)
{
    if (rpc_send(call, &response->base) == 1)
        rpc_pause(call);
}

static void answer_error(struct rpc_call *call, Response *response, enum err_grpc code, const char *message)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

    error.error_code = (int32_t)code;
    error.error_message = (char *)message;
    response->message_response_case = ANSWER(ERROR_RESPONSE);
    response->error_response = &error;
    send_response(call, response);
}

static void answer_files(struct rpc_call *call, Response *response, const bool *wanted, ProtobufCBinaryData *files)
{
    const struct rpc_descriptors *descriptors = rpc_call_server(call)->descriptors;
    Grpc__Reflection__V1__FileDescriptorResponse answer = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;

    for (size_t i = 0; i < rpc_descriptors_count(descriptors); i++)
        if (wanted[i]) {
            struct str bytes = rpc_descriptors_file(descriptors, i)->bytes;

            files[answer.n_file_descriptor_proto++] =
                (ProtobufCBinaryData){.data = (uint8_t *)bytes.s, .len = bytes.len};
        }
    answer.file_descriptor_proto = files;
    response->message_response_case = ANSWER(FILE_DESCRIPTOR_RESPONSE);
    response->file_descriptor_response = &answer;
    send_response(call, response);
}

/* The file and all that it imports. */
static void answer_file(struct rpc_call *call, Response *response, int index)
{
    const struct rpc_descriptors *descriptors = rpc_call_server(call)->descriptors;
    size_t count = rpc_descriptors_count(descriptors);
    ProtobufCBinaryData *files = calloc(count, sizeof(*files));
    bool *wanted = calloc(count, sizeof(*wanted));

    if (files == NULL || wanted == NULL) {
        rpc_fail(call, -ENOMEM, NULL);
    } else {
        rpc_descriptors_closure(descriptors, (size_t)index, wanted);
        answer_files(call, response, wanted, files);
    }
    free(files);
    free(wanted);
}

static void answer_services(struct rpc_call *call, Response *response)
{
    const struct rpc_methods *methods = &rpc_call_server(call)->methods;
    Grpc__Reflection__V1__ListServiceResponse answer = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    Grpc__Reflection__V1__ServiceResponse *services = calloc(methods->count, sizeof(*services));
    Grpc__Reflection__V1__ServiceResponse **list = calloc(methods->count, sizeof(*list));
    const ProtobufCServiceDescriptor *previous = NULL;

    if (services == NULL || list == NULL) {
        rpc_fail(call, -ENOMEM, NULL);
        goto out;
    }
    for (size_t i = 0; i < methods->count; i++) { /* sorted by path, and so by service */
        const ProtobufCServiceDescriptor *service = methods->entries[i].method->service;

        if (service == previous)
            continue;
        grpc__reflection__v1__service_response__init(&services[answer.n_service]);
        services[answer.n_service].name = (char *)service->name;
        list[answer.n_service] = &services[answer.n_service];
        answer.n_service++;
        previous = service;
    }
    answer.service = list;
    response->message_response_case = ANSWER(LIST_SERVICES_RESPONSE);
    response->list_services_response = &answer;
    send_response(call, response);
out:
    free(services);
    free(list);
}

/* No file here has extensions: proto3 has none but for options. */
static void answer_extensions(struct rpc_call *call, Response *response, const char *type)
{
    Grpc__Reflection__V1__ExtensionNumberResponse answer = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

    if (rpc_descriptors_find_symbol(rpc_call_server(call)->descriptors, str_of(type)) < 0) {
        answer_error(call, response, ERR_GRPC_NOT_FOUND, "no such type");
        return;
    }
    answer.base_type_name = (char *)type;
    response->message_response_case = ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE);
    response->all_extension_numbers_response = &answer;
    send_response(call, response);
}

static void asked(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct rpc_descriptors *descriptors = rpc_call_server(call)->descriptors;
    const Request *request = (const Request *)message;
    Response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    int index;

    response.valid_host = request->host;
    response.original_request = (Request *)request;
    switch ((int)request->message_request_case) {
    case CASE(FILE_BY_FILENAME):
        index = rpc_descriptors_find(descriptors, str_of(request->file_by_filename));
        if (index >= 0)
            answer_file(call, &response, index);
        else
            answer_error(call, &response, ERR_GRPC_NOT_FOUND, "no such file");
        break;
    case CASE(FILE_CONTAINING_SYMBOL):
        index = rpc_descriptors_find_symbol(descriptors, str_of(request->file_containing_symbol));
        if (index >= 0)
            answer_file(call, &response, index);
        else
            answer_error(call, &response, ERR_GRPC_NOT_FOUND, "no such symbol");
        break;
    case CASE(FILE_CONTAINING_EXTENSION):
        answer_error(call, &response, ERR_GRPC_NOT_FOUND, "no such extension");
        break;
    case CASE(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extensions(call, &response, request->all_extension_numbers_of_type);
        break;
    case CASE(LIST_SERVICES):
        answer_services(call, &response);
        break;
    default:
        answer_error(call, &response, ERR_GRPC_INVALID_ARGUMENT, "the request asks for nothing");
    }
}

static void questions_ended(struct rpc_call *call)
{
    rpc_finish(call, ERR_GRPC_OK, NULL);
}

#define REFLECTION(service_)                                                                                           \
    {                                                                                                                  \
        .service = &(service_), .name = "ServerReflectionInfo", .kind = RPC_BIDI_KIND, .on_message = asked,            \
        .on_half_close = questions_ended, .on_writable = rpc_resume                                                    \
    }

const struct rpc_method rpc_reflection_methods[] = {
    REFLECTION(grpc__reflection__v1__server_reflection__descriptor),
    REFLECTION(grpc__reflection__v1alpha__server_reflection__descriptor),
    {0},
};

int rpc_reflection_new(const struct rpc_server_def *def, struct rpc_descriptors **ret_descriptors)
{
    const struct str sets[] = {
        {(const char *)def->descriptors, def->descriptors_len},
        {(const char *)health_descriptors, health_descriptors_len},
        {(const char *)reflection_v1_descriptors, reflection_v1_descriptors_len},
        {(const char *)reflection_v1alpha_descriptors, reflection_v1alpha_descriptors_len},
    };
    struct rpc_descriptors *descriptors = NULL;
    int err;

    err = rpc_descriptors_new(&descriptors);
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]) && err == 0; i++)
        err = rpc_descriptors_add(descriptors, sets[i]);
    if (err != 0) {
        rpc_descriptors_free(descriptors);
        return err;
    }
    *ret_descriptors = descriptors;
    return 0;
}
