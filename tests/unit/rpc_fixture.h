/* A RouteGuide server on a port of its own and a client of it, for tests of rpc. What a method does is said by the
 * request, so that one service serves all tests. */
#pragma once
#include "clock.h"
#include "net_listen.h"
#include "routeguide.descriptors.h"
#include "routeguide.pb-c.h"
#include "rpc.h"
#include "rpc_client.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUTE_GUIDE (&routeguide__route_guide__descriptor)

/* Latitudes that GetFeature takes as orders; any other is answered with the name "feature". */
enum {
    ORDER_HOLD = 1, /* no answer */
    ORDER_FAIL,     /* -ENOENT */
    ORDER_THREAD,   /* the answer comes from another thread, some time later */
    ORDER_METADATA, /* the name is the value of the metadata "echo" */
    ORDER_TRACE,    /* the name is the trace id */
    ORDER_BIG,      /* the name has longitude bytes */
    ORDER_BLOCK,    /* as none may do: the handler waits for unblocked */
    ORDER_DEADLINE, /* the name is the number of milliseconds left */
    ORDER_GZIP, /* the name begins with "gzip", and is compressed, where the client accepts that; else with "plain" */
};

struct fixture {
    struct rpc_server *server;
    struct rpc_client *client;
    struct metrics *metrics;
    struct log *log;
    int port;
    sem_t closed; /* posted by every on_close of a call */
    sem_t unblocked;
    sem_t entered; /* posted by every GetFeature that is held, and by the first message of a RecordRoute */
    atomic_int messages, half_closes, cancelled;
    atomic_bool sends_late; /* once a call has ended, another thread sends on it */
    sem_t late;             /* posted when that has been done */
    atomic_int late_send_result;
    atomic_bool unready;
};

static inline bool fixture_ready(void *state)
{
    return !atomic_load(&((struct fixture *)state)->unready);
}

static inline void fixture_wait(sem_t *semaphore)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    cr_assert_eq(sem_timedwait(semaphore, &until), 0, "what was waited for did not come within a minute");
}

static inline void fixture_reply_name(struct rpc_call *call, const char *name)
{
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;

    feature.name = (char *)name;
    rpc_reply(call, &feature.base);
}

static inline void *fixture_answer_later(void *arg)
{
    struct rpc_call *call = arg;

    fixture_reply_name(call, "from a thread");
    rpc_call_unref(call);
    return NULL;
}

static inline void *fixture_send_late(void *arg)
{
    struct rpc_call *call = arg;
    struct fixture *fixture = rpc_call_service_state(call);
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;

    atomic_store(&fixture->late_send_result, rpc_send(call, &feature.base));
    rpc_finish(call, ERR_GRPC_OK, NULL);
    rpc_call_unref(call);
    sem_post(&fixture->late);
    return NULL;
}

static inline void fixture_in_thread(struct rpc_call *call, void *(*run)(void *))
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run, rpc_call_ref(call)), 0);
    pthread_detach(thread);
}

static inline void fixture_get_feature(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Routeguide__Point *point = (const Routeguide__Point *)message;
    struct fixture *fixture = rpc_call_service_state(call);
    char text[64], *big;
    struct str echo;

    switch (point->latitude) {
    case ORDER_HOLD:
        sem_post(&fixture->entered);
        break;
    case ORDER_BLOCK:
        sem_post(&fixture->entered);
        fixture_wait(&fixture->unblocked);
        fixture_reply_name(call, "unblocked");
        break;
    case ORDER_FAIL:
        rpc_fail(call, -ENOENT, "there is no feature");
        break;
    case ORDER_THREAD:
        fixture_in_thread(call, fixture_answer_later);
        break;
    case ORDER_METADATA:
        echo = rpc_call_metadata(call, "echo");
        snprintf(text, sizeof(text), "%.*s", STR_ARG(echo));
        fixture_reply_name(call, text);
        break;
    case ORDER_TRACE:
        trace_id_text(rpc_call_trace(call), text);
        fixture_reply_name(call, text);
        break;
    case ORDER_BIG:
        big = malloc((size_t)point->longitude + 1);
        memset(big, 'x', (size_t)point->longitude);
        big[point->longitude] = '\0';
        fixture_reply_name(call, big);
        free(big);
        break;
    case ORDER_DEADLINE:
        snprintf(text, sizeof(text), "%llu",
                 (unsigned long long)((rpc_call_deadline_ns(call) - clock_monotonic_ns()) / CLOCK_NS_PER_MS));
        fixture_reply_name(call, text);
        break;
    case ORDER_GZIP:
        snprintf(text, sizeof(text), "%-63s", rpc_call_compress(call, true) ? "gzip" : "plain");
        fixture_reply_name(call, text);
        break;
    default:
        fixture_reply_name(call, "feature");
    }
}

static inline void fixture_closed(struct rpc_call *call)
{
    struct fixture *fixture = rpc_call_service_state(call);

    if (rpc_call_cancelled(call))
        atomic_fetch_add(&fixture->cancelled, 1);
    if (fixture->sends_late)
        fixture_in_thread(call, fixture_send_late);
    free(rpc_call_data(call));
    sem_post(&fixture->closed);
}

/* lo.latitude features with names of hi.latitude bytes, as fast as they are taken. */
struct fixture_listing {
    int left, size;
    bool once_full;
};

static inline void fixture_list_more(struct rpc_call *call)
{
    struct fixture_listing *listing = rpc_call_data(call);
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;
    char name[4096];
    int result = 0;

    memset(name, 'n', sizeof(name));
    name[listing->size] = '\0';
    feature.name = name;
    while (listing->left > 0 && result == 0) {
        listing->left--;
        result = rpc_send(call, &feature.base);
        cr_assert(result >= 0 || result == -ECANCELED, "%d", result);
    }
    listing->once_full = listing->once_full || result == 1;
    if (listing->left == 0)
        rpc_finish(call, ERR_GRPC_OK, listing->once_full ? "was full" : "never full");
}

static inline void fixture_list_features(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Routeguide__Rectangle *rectangle = (const Routeguide__Rectangle *)message;
    struct fixture_listing *listing = calloc(1, sizeof(*listing));

    cr_assert(rectangle->lo != NULL && rectangle->hi != NULL);
    if (listing == NULL) {
        rpc_fail(call, -ENOMEM, NULL);
        return;
    }
    listing->left = rectangle->lo->latitude;
    listing->size = rectangle->hi->latitude;
    rpc_call_set_data(call, listing);
    fixture_list_more(call);
}

static inline void fixture_record_point(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fixture *fixture = rpc_call_service_state(call);
    int *count = rpc_call_data(call);

    if (count == NULL) {
        count = calloc(1, sizeof(*count));
        rpc_call_set_data(call, count);
        sem_post(&fixture->entered);
    }
    ++*count;
    atomic_fetch_add(&fixture->messages, 1);
}

static inline void fixture_record_end(struct rpc_call *call)
{
    struct fixture *fixture = rpc_call_service_state(call);
    Routeguide__RouteSummary summary = ROUTEGUIDE__ROUTE_SUMMARY__INIT;
    int *count = rpc_call_data(call);

    summary.point_count = count != NULL ? *count : 0;
    atomic_fetch_add(&fixture->half_closes, 1);
    rpc_reply(call, &summary.base);
}

/* Echoes; "pause" stops the reading until resumed from another thread, "compress..." compresses from this echo on,
 * "plain..." does not. */
static inline void *fixture_resume(void *arg)
{
    struct rpc_call *call = arg;

    rpc_resume(call);
    rpc_call_unref(call);
    return NULL;
}

static inline void fixture_chat(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Routeguide__RouteNote *note = (const Routeguide__RouteNote *)message;

    if (strncmp(note->message, "compress", 8) == 0)
        rpc_call_compress(call, true);
    if (strncmp(note->message, "plain", 5) == 0)
        rpc_call_compress(call, false);
    if (rpc_send(call, message) == 1)
        rpc_pause(call);
    if (strcmp(note->message, "pause") == 0) {
        rpc_pause(call);
        fixture_in_thread(call, fixture_resume);
    }
}

static inline void fixture_chat_end(struct rpc_call *call)
{
    rpc_finish(call, ERR_GRPC_OK, NULL);
}

static inline void fixture_record_drain(struct rpc_call *call)
{
    rpc_finish(call, ERR_GRPC_UNAVAILABLE, "the server drains");
}

static const struct rpc_method fixture_methods[] = {
    {ROUTE_GUIDE, "GetFeature", RPC_UNARY_KIND, .on_message = fixture_get_feature, .on_close = fixture_closed},
    {ROUTE_GUIDE, "ListFeatures", RPC_SERVER_STREAM_KIND, .on_message = fixture_list_features,
     .on_writable = fixture_list_more, .on_close = fixture_closed},
    {ROUTE_GUIDE, "RecordRoute", RPC_CLIENT_STREAM_KIND, .on_message = fixture_record_point,
     .on_half_close = fixture_record_end, .on_drain = fixture_record_drain, .on_close = fixture_closed},
    {ROUTE_GUIDE, "RouteChat", RPC_BIDI_KIND, .on_message = fixture_chat, .on_half_close = fixture_chat_end,
     .on_writable = rpc_resume, .on_close = fixture_closed},
    {0},
};

static inline void fixture_serve_on(struct fixture *fixture, int fd, struct rpc_server_def def)
{
    sem_init(&fixture->closed, 0, 0);
    sem_init(&fixture->entered, 0, 0);
    sem_init(&fixture->unblocked, 0, 0);
    sem_init(&fixture->late, 0, 0);
    def.methods = fixture_methods;
    def.descriptors = routeguide_descriptors;
    def.descriptors_len = routeguide_descriptors_len;
    def.state = fixture;
    def.ready = fixture_ready;
    def.metrics = fixture->metrics;
    def.log = fixture->log;
    cr_assert_eq(rpc_server_open(fd, &def, &fixture->server), 0);
    rpc_server_start(fixture->server);
}

static inline void fixture_serve(struct fixture *fixture, struct rpc_server_def def)
{
    int fd;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &fixture->port), 0);
    fixture_serve_on(fixture, fd, def);
}

static inline void fixture_connect(struct fixture *fixture, struct rpc_client_def def)
{
    char target[64];

    snprintf(target, sizeof(target), "127.0.0.1:%d", fixture->port);
    def.name = "fixture";
    def.target = def.target != NULL ? def.target : target;
    def.metrics = fixture->metrics;
    cr_assert_eq(rpc_client_open(&def, &fixture->client), 0);
}

static inline void fixture_open(struct fixture *fixture)
{
    fixture_serve(fixture, (struct rpc_server_def){0});
    fixture_connect(fixture, (struct rpc_client_def){0});
}

static inline void fixture_close(struct fixture *fixture)
{
    fixture->client = rpc_client_free(fixture->client);
    fixture->server = rpc_server_close(fixture->server);
}

/* ---- a call, waited for ---- */

struct fixture_answer {
    sem_t done;
    enum err_grpc code;
    char message[256];
    bool replied;
    char name[128]; /* of the Feature, cut off */
    size_t name_len;
};

static inline void fixture_answered(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct fixture_answer *answer = arg;

    answer->code = status->code;
    snprintf(answer->message, sizeof(answer->message), "%s", status->message);
    answer->replied = reply != NULL;
    if (reply != NULL) {
        const char *name = ((const Routeguide__Feature *)reply)->name;

        answer->name_len = strlen(name);
        snprintf(answer->name, sizeof(answer->name), "%s", name);
    }
    sem_post(&answer->done);
}

static inline int fixture_begin(struct fixture *fixture, int latitude, int longitude,
                                const struct rpc_call_options *options, struct fixture_answer *answer)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;

    *answer = (struct fixture_answer){0};
    sem_init(&answer->done, 0, 0);
    point.latitude = latitude;
    point.longitude = longitude;
    return rpc_unary(fixture->client, ROUTE_GUIDE, "GetFeature", &point.base, options, fixture_answered, answer);
}

static inline struct fixture_answer fixture_call(struct fixture *fixture, int latitude, int longitude,
                                                 struct rpc_call_options options)
{
    struct fixture_answer answer;

    if (options.timeout_ms == 0)
        options.timeout_ms = 30000;
    cr_assert_eq(fixture_begin(fixture, latitude, longitude, &options, &answer), 0);
    fixture_wait(&answer.done);
    return answer;
}

/* ---- a stream, waited for ---- */

struct fixture_stream {
    struct rpc_stream *stream;
    sem_t done, writable, message;
    atomic_int messages;
    enum err_grpc code;
    char text[256];
    char last[64];
    int point_count;
};

static inline void fixture_on_message(void *arg, const ProtobufCMessage *message)
{
    struct fixture_stream *stream = arg;

    if (message->descriptor == &routeguide__route_note__descriptor)
        snprintf(stream->last, sizeof(stream->last), "%s", ((const Routeguide__RouteNote *)message)->message);
    if (message->descriptor == &routeguide__route_summary__descriptor)
        stream->point_count = ((const Routeguide__RouteSummary *)message)->point_count;
    atomic_fetch_add(&stream->messages, 1);
    sem_post(&stream->message);
}

static inline void fixture_on_writable(void *arg)
{
    struct fixture_stream *stream = arg;

    sem_post(&stream->writable);
}

static inline void fixture_on_done(void *arg, const struct rpc_status *status)
{
    struct fixture_stream *stream = arg;

    stream->code = status->code;
    snprintf(stream->text, sizeof(stream->text), "%s", status->message);
    sem_post(&stream->done);
}

static const struct rpc_stream_handlers fixture_stream_handlers = {
    .on_message = fixture_on_message, .on_writable = fixture_on_writable, .on_done = fixture_on_done};

static inline void fixture_stream_open(struct fixture *fixture, const char *method, uint64_t timeout_ms,
                                       struct fixture_stream *stream)
{
    *stream = (struct fixture_stream){0};
    sem_init(&stream->done, 0, 0);
    sem_init(&stream->writable, 0, 0);
    sem_init(&stream->message, 0, 0);
    cr_assert_eq(rpc_stream_open(fixture->client, ROUTE_GUIDE, method,
                                 &(struct rpc_call_options){.timeout_ms = timeout_ms}, &fixture_stream_handlers, stream,
                                 &stream->stream),
                 0);
}

static inline void fixture_stream_end(struct fixture_stream *stream)
{
    fixture_wait(&stream->done);
    rpc_stream_unref(stream->stream);
}
