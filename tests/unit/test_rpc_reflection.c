/* Health and reflection as clients see them, and the walker of descriptors by itself. */
#include "health.descriptors.h"
#include "health.pb-c.h"
#include "reflection_v1.pb-c.h"
#include "reflection_v1alpha.pb-c.h"
#include "rpc_fixture.h"
#include "rpc_server_internal.h"

static struct fixture fixture;

static void open_fixture(void)
{
    fixture_open(&fixture);
}

static void close_fixture(void)
{
    fixture_close(&fixture);
}

TestSuite(rpc_reflection, .init = open_fixture, .fini = close_fixture, .timeout = 120);
TestSuite(rpc_health, .init = open_fixture, .fini = close_fixture, .timeout = 120);
TestSuite(rpc_descriptor, .timeout = 120);

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

#define REQUEST_CASE(name_)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name_
#define RESPONSE_CASE(name_) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name_

/* What the answers say: names of services, or of files, separated by blanks; "error CODE"; "type NAME". */
struct conversation {
    sem_t done;
    enum err_grpc code;
    struct buf said;
};

static void hear(void *arg, const ProtobufCMessage *message)
{
    struct conversation *conversation = arg;
    const Response *response = (const Response *)message; /* v1alpha has the same fields */
    struct buf *said = &conversation->said;

    switch ((int)response->message_response_case) {
    case RESPONSE_CASE(LIST_SERVICES_RESPONSE):
        for (size_t i = 0; i < response->list_services_response->n_service; i++)
            buf_printf(said, "%s ", response->list_services_response->service[i]->name);
        break;
    case RESPONSE_CASE(FILE_DESCRIPTOR_RESPONSE):
        for (size_t i = 0; i < response->file_descriptor_response->n_file_descriptor_proto; i++) {
            ProtobufCBinaryData file = response->file_descriptor_response->file_descriptor_proto[i];

            /* A FileDescriptorProto begins with its name: field 1. */
            cr_assert(file.len > 2 && file.data[0] == 0x0a && file.data[1] < 0x80 && file.data[1] + 2u < file.len);
            buf_printf(said, "%.*s ", file.data[1], (const char *)file.data + 2);
        }
        break;
    case RESPONSE_CASE(ALL_EXTENSION_NUMBERS_RESPONSE):
        buf_printf(said, "type %s ", response->all_extension_numbers_response->base_type_name);
        break;
    case RESPONSE_CASE(ERROR_RESPONSE):
        buf_printf(said, "error %s ", err_grpc_name(response->error_response->error_code));
        break;
    default:
        buf_append_cstr(said, "nothing ");
    }
    cr_assert_str_eq(response->valid_host, "host");
    cr_assert_not_null(response->original_request);
}

static void hear_end(void *arg, const struct rpc_status *status)
{
    struct conversation *conversation = arg;

    conversation->code = status->code;
    sem_post(&conversation->done);
}

static void assert_said(const ProtobufCServiceDescriptor *service, int what, const char *text, const char *expected)
{
    static const struct rpc_stream_handlers handlers = {.on_message = hear, .on_done = hear_end};
    struct conversation conversation = {0};
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    Request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    struct rpc_stream *stream;

    sem_init(&conversation.done, 0, 0);
    request.host = (char *)"host";
    request.message_request_case = (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)what;
    if (what == REQUEST_CASE(FILE_CONTAINING_EXTENSION)) {
        extension.containing_type = (char *)text;
        request.file_containing_extension = &extension;
    } else if (what != 0) {
        request.list_services = (char *)text; /* all the others are strings, too */
    }
    cr_assert_eq(rpc_stream_open(fixture.client, service, "ServerReflectionInfo",
                                 &(struct rpc_call_options){.timeout_ms = 30000}, &handlers, &conversation, &stream),
                 0);
    cr_assert_eq(rpc_stream_send(stream, &request.base), 0);
    rpc_stream_half_close(stream);
    fixture_wait(&conversation.done);
    rpc_stream_unref(stream);
    buf_append_char(&conversation.said, '\0');
    cr_assert_eq(conversation.code, ERR_GRPC_OK);
    cr_assert_str_eq(conversation.said.data, expected);
    buf_release(&conversation.said);
}

static void assert_v1(int what, const char *text, const char *expected)
{
    assert_said(&grpc__reflection__v1__server_reflection__descriptor, what, text, expected);
}

Test(rpc_reflection, lists_services)
{
    const char *services = "grpc.health.v1.Health grpc.reflection.v1.ServerReflection "
                           "grpc.reflection.v1alpha.ServerReflection routeguide.RouteGuide ";

    assert_v1(REQUEST_CASE(LIST_SERVICES), "*", services);
    assert_said(&grpc__reflection__v1alpha__server_reflection__descriptor, REQUEST_CASE(LIST_SERVICES), "*", services);
}

Test(rpc_reflection, finds_files_by_name)
{
    assert_v1(REQUEST_CASE(FILE_BY_FILENAME), "routeguide.proto", "routeguide.proto ");
    assert_v1(REQUEST_CASE(FILE_BY_FILENAME), "health.proto", "health.proto ");
    assert_v1(REQUEST_CASE(FILE_BY_FILENAME), "reflection_v1.proto", "reflection_v1.proto ");
    assert_v1(REQUEST_CASE(FILE_BY_FILENAME), "other.proto", "error NOT_FOUND ");
    assert_v1(REQUEST_CASE(FILE_BY_FILENAME), "", "error NOT_FOUND ");
}

Test(rpc_reflection, finds_files_by_symbol)
{
    assert_v1(REQUEST_CASE(FILE_CONTAINING_SYMBOL), "routeguide.RouteGuide", "routeguide.proto ");
    assert_v1(REQUEST_CASE(FILE_CONTAINING_SYMBOL), "routeguide.RouteGuide.GetFeature", "routeguide.proto ");
    assert_v1(REQUEST_CASE(FILE_CONTAINING_SYMBOL), "routeguide.Point", "routeguide.proto ");
    assert_v1(REQUEST_CASE(FILE_CONTAINING_SYMBOL), "routeguide.Unknown", "error NOT_FOUND ");
    assert_said(&grpc__reflection__v1alpha__server_reflection__descriptor, REQUEST_CASE(FILE_CONTAINING_SYMBOL),
                "grpc.reflection.v1alpha.ServerReflection", "reflection_v1alpha.proto ");
}

Test(rpc_reflection, knows_no_extensions)
{
    assert_v1(REQUEST_CASE(FILE_CONTAINING_EXTENSION), "routeguide.Point", "error NOT_FOUND ");
    assert_v1(REQUEST_CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), "routeguide.Point", "type routeguide.Point ");
    assert_v1(REQUEST_CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), "routeguide.Unknown", "error NOT_FOUND ");
    assert_v1(0, NULL, "error INVALID_ARGUMENT ");
}

/* ---- descriptors ---- */

static struct rpc_descriptors *descriptors_of(struct str set, int expected)
{
    struct rpc_descriptors *descriptors;

    cr_assert_eq(rpc_descriptors_new(&descriptors), 0);
    cr_assert_eq(rpc_descriptors_add(descriptors, set), expected);
    return descriptors;
}

static bool declares(const struct rpc_descriptors *descriptors, const char *symbol)
{
    return rpc_descriptors_find_symbol(descriptors, str_of(symbol)) == 0;
}

Test(rpc_descriptor, finds_every_kind_of_symbol)
{
    struct rpc_descriptors *health =
        descriptors_of((struct str){(const char *)health_descriptors, health_descriptors_len}, 0);

    cr_assert_eq(rpc_descriptors_count(health), 1);
    cr_assert(declares(health, "grpc.health.v1.Health"));
    cr_assert(declares(health, "grpc.health.v1.Health.Watch"));
    cr_assert(declares(health, "grpc.health.v1.HealthCheckResponse"));
    cr_assert(declares(health, "grpc.health.v1.HealthCheckResponse.ServingStatus"));
    cr_assert(declares(health, "grpc.health.v1.HealthCheckResponse.status"));
    cr_assert(declares(health, "grpc.health.v1.HealthCheckResponse.SERVING"), "a value is in its enum's scope");
    cr_assert(!declares(health, "grpc.health.v1"));
    cr_assert(!declares(health, "grpc.health.v1."));
    cr_assert(!declares(health, "Health"));
    cr_assert(!declares(health, "grpc.health.v1.Health."));
    cr_assert(!declares(health, "grpc.health.v1.Health.Watch.Watch"));
    cr_assert(!declares(health, "grpc.health.v1.HealthCheckRequest.status"));
    cr_assert(!declares(health, ""));
    rpc_descriptors_free(health);
}

/* A FileDescriptorSet by hand: files of a name that import others. */
static void append_field(struct buf *out, uint8_t number, struct str bytes)
{
    cr_assert_lt(bytes.len, 128);
    buf_append_char(out, (char)(number << 3 | 2));
    buf_append_char(out, (char)bytes.len);
    buf_append_str(out, bytes);
}

static void append_file(struct buf *set, const char *name, const char *import1, const char *import2)
{
    struct buf file = {0};

    append_field(&file, 1, str_of(name));
    if (import1 != NULL)
        append_field(&file, 3, str_of(import1));
    if (import2 != NULL)
        append_field(&file, 3, str_of(import2));
    append_field(set, 1, buf_str(&file));
    buf_release(&file);
}

Test(rpc_descriptor, knows_what_a_file_needs)
{
    struct rpc_descriptors *descriptors;
    struct buf set = {0};
    bool wanted[4] = {false};

    append_file(&set, "a", "b", "c");
    append_file(&set, "b", "a", NULL); /* in a circle, which protoc would refuse */
    append_file(&set, "c", "missing", NULL);
    append_file(&set, "d", "a", NULL);
    append_file(&set, "a", NULL, NULL); /* again: the first stays */
    descriptors = descriptors_of(buf_str(&set), 0);
    cr_assert_eq(rpc_descriptors_count(descriptors), 4);
    rpc_descriptors_closure(descriptors, 0, wanted);
    cr_assert(wanted[0] && wanted[1] && wanted[2] && !wanted[3]);
    rpc_descriptors_free(descriptors);
    buf_release(&set);
}

/* Whatever the bytes, nothing outside of them is read: the sanitizers watch. */
Test(rpc_descriptor, survives_broken_bytes)
{
    char *bytes = malloc(health_descriptors_len);

    for (size_t len = 0; len < health_descriptors_len; len++) {
        char *part = malloc(len + 1); /* its end is the end of an allocation */
        struct rpc_descriptors *descriptors;

        memcpy(part, health_descriptors, len);
        cr_assert_eq(rpc_descriptors_new(&descriptors), 0);
        cr_assert_eq(rpc_descriptors_add(descriptors, (struct str){part, len}), len == 0 ? 0 : -EINVAL);
        rpc_descriptors_free(descriptors);
        free(part);
    }
    for (size_t i = 0; i < health_descriptors_len; i++) {
        struct rpc_descriptors *descriptors;

        memcpy(bytes, health_descriptors, health_descriptors_len);
        bytes[i] = (char)~bytes[i];
        cr_assert_eq(rpc_descriptors_new(&descriptors), 0);
        rpc_descriptors_add(descriptors, (struct str){bytes, health_descriptors_len});
        rpc_descriptors_find_symbol(descriptors, STR("grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"));
        rpc_descriptors_free(descriptors);
    }
    free(bytes);
}

/* ---- health ---- */

typedef Grpc__Health__V1__HealthCheckRequest HealthRequest;
typedef Grpc__Health__V1__HealthCheckResponse HealthResponse;

#define STATUS(name_) ((int)GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name_)

struct health_answer {
    sem_t told, done;
    enum err_grpc code;
    int checked;       /* by Check */
    atomic_int status; /* by Watch */
};

static void checked(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct health_answer *answer = arg;

    answer->code = status->code;
    answer->checked = reply != NULL ? (int)((const HealthResponse *)reply)->status : -1;
    sem_post(&answer->done);
}

static struct health_answer check_health(const char *service)
{
    struct health_answer answer = {0};
    HealthRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = (char *)service;
    sem_init(&answer.done, 0, 0);
    cr_assert_eq(rpc_unary(fixture.client, &grpc__health__v1__health__descriptor, "Check", &request.base,
                           &(struct rpc_call_options){.timeout_ms = 30000}, checked, &answer),
                 0);
    fixture_wait(&answer.done);
    return answer;
}

Test(rpc_health, is_asked_for_each_service_and_for_all)
{
    cr_assert_eq(check_health("").checked, STATUS(NOT_SERVING));
    rpc_server_set_serving(fixture.server, true);
    cr_assert_eq(check_health("").checked, STATUS(SERVING));
    cr_assert_eq(check_health("routeguide.RouteGuide").checked, STATUS(SERVING));
    cr_assert_eq(check_health("routeguide.Other").code, ERR_GRPC_NOT_FOUND);
    rpc_server_set_serving(fixture.server, false);
    cr_assert_eq(check_health("routeguide.RouteGuide").checked, STATUS(NOT_SERVING));
}

/* "NAME=STATUS " for each. */
static struct buf listing;

static void listed(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    const Grpc__Health__V1__HealthListResponse *list = (const Grpc__Health__V1__HealthListResponse *)reply;
    struct health_answer *answer = arg;

    cr_assert_eq(status->code, ERR_GRPC_OK);
    for (size_t i = 0; i < list->n_statuses; i++)
        buf_printf(&listing, "%s=%d ", list->statuses[i]->key, (int)list->statuses[i]->value->status);
    sem_post(&answer->done);
}

Test(rpc_health, lists_all_services)
{
    Grpc__Health__V1__HealthListRequest request = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
    struct health_answer answer = {0};

    rpc_server_set_serving(fixture.server, true);
    sem_init(&answer.done, 0, 0);
    cr_assert_eq(rpc_unary(fixture.client, &grpc__health__v1__health__descriptor, "List", &request.base,
                           &(struct rpc_call_options){.timeout_ms = 30000}, listed, &answer),
                 0);
    fixture_wait(&answer.done);
    buf_append_char(&listing, '\0');
    cr_assert_str_eq(listing.data, "=1 routeguide.RouteGuide=1 ");
    buf_release(&listing);
}

Test(rpc_health, is_told_by_a_server_that_is_full)
{
    struct fixture_answer held;

    fixture_close(&fixture);
    fixture_serve(&fixture, (struct rpc_server_def){.max_in_flight = 1});
    fixture_connect(&fixture, (struct rpc_client_def){0});
    rpc_server_set_serving(fixture.server, true);
    cr_assert_eq(fixture_begin(&fixture, ORDER_HOLD, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &held), 0);
    fixture_wait(&fixture.entered);
    cr_assert_eq(check_health("").checked, STATUS(SERVING));
    fixture_close(&fixture);
    fixture_wait(&held.done);
}

static void told(void *arg, const ProtobufCMessage *message)
{
    struct health_answer *answer = arg;

    atomic_store(&answer->status, (int)((const HealthResponse *)message)->status);
    sem_post(&answer->told);
}

static void watch_ended(void *arg, const struct rpc_status *status)
{
    struct health_answer *answer = arg;

    answer->code = status->code;
    sem_post(&answer->done);
}

static struct rpc_stream *watch(const char *service, struct health_answer *answer)
{
    static const struct rpc_stream_handlers handlers = {.on_message = told, .on_done = watch_ended};
    HealthRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct rpc_stream *stream;

    sem_init(&answer->told, 0, 0);
    sem_init(&answer->done, 0, 0);
    request.service = (char *)service;
    cr_assert_eq(rpc_stream_open(fixture.client, &grpc__health__v1__health__descriptor, "Watch",
                                 &(struct rpc_call_options){.timeout_ms = 60000}, &handlers, answer, &stream),
                 0);
    cr_assert_eq(rpc_stream_send(stream, &request.base), 0);
    rpc_stream_half_close(stream);
    return stream;
}

static void assert_told(struct health_answer *answer, int status)
{
    fixture_wait(&answer->told);
    cr_assert_eq(atomic_load(&answer->status), status);
}

Test(rpc_health, tells_watchers_of_changes)
{
    struct health_answer answer = {0}, other = {0};
    struct rpc_stream *stream = watch("routeguide.RouteGuide", &answer), *unknown = watch("none", &other);

    assert_told(&answer, STATUS(NOT_SERVING));
    assert_told(&other, STATUS(SERVICE_UNKNOWN));
    rpc_server_set_serving(fixture.server, true);
    assert_told(&answer, STATUS(SERVING));
    rpc_server_set_serving(fixture.server, true); /* no change: nothing is told */
    rpc_server_set_serving(fixture.server, false);
    assert_told(&answer, STATUS(NOT_SERVING));
    rpc_stream_cancel(stream);
    fixture_wait(&answer.done);
    cr_assert_eq(answer.code, ERR_GRPC_CANCELLED);
    rpc_stream_unref(stream);
    rpc_server_set_serving(fixture.server, true);
    rpc_stream_cancel(unknown);
    fixture_wait(&other.done);
    rpc_stream_unref(unknown);
    cr_assert_eq(sem_trywait(&other.told), -1);
}

Test(rpc_health, follows_whether_the_service_is_ready)
{
    struct health_answer answer = {0};
    struct rpc_stream *stream;

    rpc_server_set_serving(fixture.server, true);
    atomic_store(&fixture.unready, true);
    cr_assert_eq(check_health("").checked, STATUS(NOT_SERVING));
    stream = watch("routeguide.RouteGuide", &answer);
    assert_told(&answer, STATUS(NOT_SERVING));
    atomic_store(&fixture.unready, false);
    assert_told(&answer, STATUS(SERVING));
    cr_assert_eq(check_health("routeguide.RouteGuide").checked, STATUS(SERVING));
    atomic_store(&fixture.unready, true);
    assert_told(&answer, STATUS(NOT_SERVING));
    atomic_store(&fixture.unready, false);
    assert_told(&answer, STATUS(SERVING));
    rpc_server_set_serving(fixture.server, false);
    assert_told(&answer, STATUS(NOT_SERVING));
    rpc_stream_cancel(stream);
    fixture_wait(&answer.done);
    rpc_stream_unref(stream);
}

Test(rpc_health, ends_watches_when_the_server_does)
{
    struct health_answer answer = {0};
    struct rpc_stream *stream;

    fixture_close(&fixture);
    fixture_serve(&fixture, (struct rpc_server_def){.max_connection_age_ms = 100});
    fixture_connect(&fixture, (struct rpc_client_def){0});
    rpc_server_set_serving(fixture.server, true);
    stream = watch("", &answer);
    assert_told(&answer, STATUS(SERVING));
    cr_assert_eq(rpc_server_wait(fixture.server, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S), 0);
    assert_told(&answer, STATUS(NOT_SERVING));
    fixture_wait(&answer.done);
    cr_assert_eq(answer.code, ERR_GRPC_UNAVAILABLE);
    rpc_stream_unref(stream);
}
