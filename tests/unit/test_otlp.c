/* Spans that are exported to a gRPC server of the test. */
#include "clock.h"
#include "net_listen.h"
#include "otlp_internal.h"
#include "otlp_trace.descriptors.h"
#include "otlp_trace.pb-c.h"
#include "otlp_trace.rpc_server.h"
#include "rpc.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest request_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse response_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess partial_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Span span_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__KeyValue key_value_message;
#define SERVICE  (&opentelemetry__proto__collector__trace__v1__trace_service__descriptor)
#define INIT(n_) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##n_##__INIT

#define MAX_SPANS 64

struct fixture {
    struct rpc_server *server;
    struct metrics *metrics;
    struct otlp *otlp;
    int port;
    atomic_int fail;       /* so many calls are answered with UNAVAILABLE */
    atomic_int refuse;     /* the status of all further calls */
    atomic_int reject;     /* spans of each batch */
    sem_t called, arrived; /* each call; each span of those that were taken */
    atomic_bool silent;
    pthread_mutex_t lock;
    unsigned count, batches;
    span_message *spans[MAX_SPANS];
    char resource[1024]; /* key=value; of the last batch */
};

static void wait_on(sem_t *semaphore)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    cr_assert_eq(sem_timedwait(semaphore, &until), 0, "what was waited for did not come within a minute");
}

static void keep_resource(struct fixture *f, const request_message *request)
{
    size_t len = 0;

    for (size_t i = 0; i < request->resource_spans[0]->resource->n_attributes; i++) {
        const key_value_message *pair = request->resource_spans[0]->resource->attributes[i];

        len += (size_t)snprintf(f->resource + len, sizeof(f->resource) - len, "%.*s=%.*s;", (int)pair->key.len,
                                pair->key.data, (int)pair->value->string_value.len, pair->value->string_value.data);
    }
}

static void keep(struct fixture *f, const request_message *request)
{
    pthread_mutex_lock(&f->lock);
    f->batches++;
    keep_resource(f, request);
    for (size_t i = 0; i < request->resource_spans[0]->scope_spans[0]->n_spans; i++) {
        const ProtobufCBinaryData *bytes = &request->resource_spans[0]->scope_spans[0]->spans[i];

        cr_assert_lt(f->count, MAX_SPANS);
        f->spans[f->count] = opentelemetry__proto__collector__trace__v1__span__unpack(NULL, bytes->len, bytes->data);
        cr_assert_not_null(f->spans[f->count++]);
        sem_post(&f->arrived);
    }
    pthread_mutex_unlock(&f->lock);
}

static void export_spans(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fixture *f = rpc_call_service_state(call);
    response_message response = INIT(EXPORT_TRACE_SERVICE_RESPONSE);
    partial_message partial = INIT(EXPORT_TRACE_PARTIAL_SUCCESS);

    sem_post(&f->called);
    if (atomic_load(&f->silent))
        return;
    if (atomic_fetch_sub(&f->fail, 1) > 0) {
        rpc_finish(call, ERR_GRPC_UNAVAILABLE, "not now");
        return;
    }
    if (atomic_load(&f->refuse) != 0) {
        rpc_finish(call, (enum err_grpc)atomic_load(&f->refuse), "never");
        return;
    }
    keep(f, (const request_message *)message);
    partial.rejected_spans = atomic_load(&f->reject);
    response.partial_success = partial.rejected_spans > 0 ? &partial : NULL;
    rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {{SERVICE, "Export", RPC_UNARY_KIND, .on_message = export_spans}, {0}};

/* port 0: any. */
static void serve(struct fixture *f, int port)
{
    int fd;

    cr_assert_eq(net_listen("127.0.0.1", port, &fd, &f->port), 0);
    cr_assert_eq(rpc_server_open(fd,
                                 &(struct rpc_server_def){.methods = methods,
                                                          .descriptors = otlp_trace_descriptors,
                                                          .descriptors_len = otlp_trace_descriptors_len,
                                                          .state = f,
                                                          .max_message = 4 << 20},
                                 &f->server),
                 0);
    rpc_server_start(f->server);
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.metrics = metrics_new()};
    pthread_mutex_init(&f->lock, NULL);
    sem_init(&f->called, 0, 0);
    sem_init(&f->arrived, 0, 0);
}

static void connect_with(struct fixture *f, struct otlp_def def)
{
    char endpoint[64];

    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", f->port);
    def.endpoint = endpoint;
    def.service = "test";
    def.metrics = f->metrics;
    def.sampler.below = SPAN_ALL;
    cr_assert_eq(otlp_open(&def, &f->otlp), 0);
}

static void tear_down(struct fixture *f)
{
    f->otlp = otlp_close(f->otlp, 10000);
    f->server = rpc_server_close(f->server);
    for (unsigned i = 0; i < f->count; i++)
        opentelemetry__proto__collector__trace__v1__span__free_unpacked(f->spans[i], NULL);
    f->metrics = metrics_free(f->metrics);
}

static void put(struct fixture *f, struct span span)
{
    struct trace trace;

    if (span.trace == NULL) {
        span_begin(otlp_sink(f->otlp), STR_NULL, &trace);
        span.trace = &trace;
    }
    if (span.name.s == NULL)
        span.name = STR("name");
    span_end(otlp_sink(f->otlp), &span);
}

static double metric(struct fixture *f, const char *name)
{
    struct buf page = {0};
    char line[128];
    const char *at;
    double value;

    metrics_write(f->metrics, &page);
    buf_append_char(&page, '\0');
    snprintf(line, sizeof(line), "\n%s ", name);
    at = strstr(page.data, line);
    cr_assert_not_null(at, "no %s in %s", name, page.data);
    value = atof(at + strlen(line));
    buf_release(&page);
    return value;
}

/* ---- what is sent ---- */

static bool is_string(const key_value_message *pair, const char *key, const char *value)
{
    return pair->key.len == strlen(key) && memcmp(pair->key.data, key, pair->key.len) == 0 &&
           pair->value->string_value.len == strlen(value) &&
           memcmp(pair->value->string_value.data, value, strlen(value)) == 0;
}

Test(otlp, a_span_arrives_whole)
{
    const struct span_attribute attributes[] = {SPAN_STR("http.route", STR("/v1/notes/{id}")),
                                                SPAN_STR("none", STR_NULL), SPAN_INT("http.response.status_code", 503)};
    uint64_t before = clock_realtime_ns();
    struct fixture f;
    struct trace trace;
    span_message *span;

    set_up(&f);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1, .resource = "team=shop, note = a%2Cb%20"});
    span_begin(otlp_sink(f.otlp), STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), &trace);
    trace.state = STR("vendor=1");
    put(&f, (struct span){.trace = &trace,
                          .kind = SPAN_SERVER,
                          .name = STR("GET /v1/notes/{id}"),
                          .duration_ns = 1000000,
                          .failed = true,
                          .error = STR("no room"),
                          .attributes = attributes,
                          .attribute_count = 3});
    wait_on(&f.arrived);
    span = f.spans[0];
    cr_assert_eq(span->trace_id.len, 16);
    cr_assert_arr_eq(span->trace_id.data, trace.trace_id, 16);
    cr_assert_eq(span->span_id.len, 8);
    cr_assert_arr_eq(span->span_id.data, trace.span_id, 8);
    cr_assert_eq(span->parent_span_id.len, 8);
    cr_assert_arr_eq(span->parent_span_id.data, "\xb7\xad\x6b\x71\x69\x20\x33\x31", 8);
    cr_assert_eq(span->kind, 2);
    cr_assert_eq(span->trace_state.len, 8);
    cr_assert_eq(span->end_time_unix_nano - span->start_time_unix_nano, 1000000);
    cr_assert(span->end_time_unix_nano >= before && span->end_time_unix_nano <= clock_realtime_ns());
    cr_assert_eq(span->status->code, 2);
    cr_assert_eq(span->status->message.len, strlen("no room"));
    cr_assert_eq(span->flags & 1, 1);
    cr_assert_eq(span->n_attributes, 2);
    cr_assert(is_string(span->attributes[0], "http.route", "/v1/notes/{id}"));
    cr_assert_eq(span->attributes[1]->value->int_value, 503);
    cr_assert_not_null(strstr(f.resource, "service.name=test;"), "%s", f.resource);
    cr_assert_not_null(strstr(f.resource, "team=shop;note=a,b ;"), "%s", f.resource);
    tear_down(&f);
}

Test(otlp, text_that_is_no_utf8_or_too_long_is_put_right)
{
    static char longer[2000];
    const struct str too_long = {longer, sizeof(longer)};
    const struct span_attribute attributes[] = {SPAN_STR("bad", STR("a\xff\xc3")), SPAN_STR("long", too_long)};
    struct fixture f;

    memset(longer, 'x', sizeof(longer));
    memcpy(longer + 511, "\xc3\xa4", 2); /* a character across the limit */
    set_up(&f);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1});
    put(&f, (struct span){.attributes = attributes, .attribute_count = 2});
    wait_on(&f.arrived);
    cr_assert(is_string(f.spans[0]->attributes[0], "bad", "a??"));
    cr_assert_eq(f.spans[0]->attributes[1]->value->string_value.len, 511);
    tear_down(&f);
}

Test(otlp, a_full_batch_is_sent_at_once_and_the_rest_at_the_end)
{
    struct fixture f;

    set_up(&f);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 3600000, .max_batch = 3});
    for (int i = 0; i < 4; i++)
        put(&f, (struct span){.kind = SPAN_CLIENT});
    for (int i = 0; i < 3; i++)
        wait_on(&f.arrived);
    cr_assert_eq(f.count, 3);
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(f.count, 4);
    cr_assert_eq(f.batches, 2);
    cr_assert_eq(metric(&f, "trace_spans_exported_total"), 4);
    tear_down(&f);
}

/* ---- collectors that fail ---- */

Test(otlp, a_batch_is_sent_again)
{
    struct fixture f;

    set_up(&f);
    atomic_store(&f.fail, 1);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1});
    put(&f, (struct span){.kind = SPAN_CLIENT});
    wait_on(&f.arrived);
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(f.count, 1);
    cr_assert_eq(metric(&f, "trace_spans_exported_total"), 1);
    cr_assert_eq(metric(&f, "trace_spans_dropped_total{reason=\"failed\"}"), 0);
    tear_down(&f);
}

Test(otlp, a_batch_that_is_refused_for_good_is_dropped)
{
    struct fixture f;

    set_up(&f);
    atomic_store(&f.refuse, ERR_GRPC_INVALID_ARGUMENT);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1});
    put(&f, (struct span){.kind = SPAN_CLIENT});
    wait_on(&f.called);
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(metric(&f, "trace_spans_dropped_total{reason=\"failed\"}"), 1);
    cr_assert_eq(sem_trywait(&f.called), -1); /* no second attempt */
    tear_down(&f);
}

Test(otlp, spans_that_the_collector_rejects_are_counted)
{
    struct fixture f;

    set_up(&f);
    atomic_store(&f.reject, 2);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.max_batch = 3});
    for (int i = 0; i < 3; i++)
        put(&f, (struct span){.kind = SPAN_CLIENT});
    wait_on(&f.arrived);
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(metric(&f, "trace_spans_exported_total"), 1);
    cr_assert_eq(metric(&f, "trace_spans_dropped_total{reason=\"rejected\"}"), 2);
    tear_down(&f);
}

/* The collector goes, and comes again at the same address: nothing but the connection is new. */
Test(otlp, a_collector_that_was_restarted_gets_spans_again)
{
    struct fixture f;

    set_up(&f);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1});
    put(&f, (struct span){.kind = SPAN_CLIENT});
    wait_on(&f.arrived);
    rpc_server_close(f.server);
    serve(&f, f.port);
    put(&f, (struct span){.kind = SPAN_CLIENT});
    wait_on(&f.arrived);
    cr_assert_eq(f.count, 2);
    tear_down(&f);
}

/* Nobody listens, or somebody who does not answer: the queue is bounded in number and bytes, and putting does not wait,
 * nor does the end for longer than it is given. */
static void expect_drops(struct fixture *f, struct otlp_def def, unsigned kept)
{
    connect_with(f, def);
    for (unsigned i = 0; i < kept + 100; i++)
        put(f, (struct span){.kind = SPAN_CLIENT});
    cr_assert_eq(metric(f, "trace_spans_dropped_total{reason=\"queue_full\"}"), 100);
    f->otlp = otlp_close(f->otlp, 100);
    cr_assert_eq(metric(f, "trace_spans_dropped_total{reason=\"failed\"}"), kept);
    cr_assert_eq(metric(f, "trace_spans_exported_total"), 0);
}

Test(otlp, without_a_collector_spans_are_dropped)
{
    struct fixture f;
    int fd;

    set_up(&f);
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &f.port), 0);
    close(fd);
    expect_drops(&f, (struct otlp_def){.max_queue = 10, .max_batch = 5, .delay_ms = 1}, 10);
    tear_down(&f);
}

Test(otlp, a_collector_that_does_not_answer_holds_nobody)
{
    struct fixture f;

    set_up(&f);
    atomic_store(&f.silent, true);
    serve(&f, 0);
    expect_drops(&f, (struct otlp_def){.max_queue = 10, .max_batch = 5, .delay_ms = 1}, 10);
    tear_down(&f);
}

Test(otlp, the_queue_is_bounded_in_bytes)
{
    struct fixture f;
    double bytes;

    set_up(&f);
    atomic_store(&f.silent, true);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 3600000, .max_memory = 8192});
    for (unsigned i = 0; i < 1000; i++)
        put(&f, (struct span){.kind = SPAN_CLIENT});
    bytes = metric(&f, "trace_queue_bytes");
    cr_assert(bytes > 3900 && bytes <= 4096, "%f", bytes);
    cr_assert_gt(metric(&f, "trace_spans_dropped_total{reason=\"queue_full\"}"), 900);
    f.otlp = otlp_close(f.otlp, 0);
    tear_down(&f);
}

Test(otlp, a_trace_that_is_not_sampled_has_no_spans)
{
    struct trace trace = {.trace_id = {1}, .span_id = {1}};
    struct fixture f;

    set_up(&f);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.delay_ms = 1});
    put(&f, (struct span){.trace = &trace});
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(metric(&f, "trace_spans_exported_total"), 0);
    tear_down(&f);
}

/* ---- options ---- */

Test(otlp, endpoints)
{
    static const char *const right[] = {
        "", "http://c:4317", "http://[::1]:4317", "http://127.0.0.1:1/", "http://a.b:65535//", "https://c:4317"};
    static const char *const wrong[] = {"c:4317",          "https://c",      "http://c",        "http://:4317",
                                        "http://c:0",      "http://c:65536", "http://c:4317/x", "http://::1:4317",
                                        "http://u@c:4317", "http://[]:1",    "http://[::1:4317"};

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        cr_assert_null(otlp_check_endpoint(right[i]), "%s", right[i]);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not_null(otlp_check_endpoint(wrong[i]), "%s", wrong[i]);
}

Test(otlp, headers)
{
    static const char *const right[] = {"", "a=b", "A-b_c=x%20y, d=", "a=b=c"};
    static const char *const wrong[] = {"a", "=b", "a b=c", "a:=b", ":path=x", "a=%0a", "a=%c3%a4", "a=%"};
    struct otlp_resource headers;

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        cr_assert_null(otlp_check_headers(right[i]), "%s", right[i]);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not_null(otlp_check_headers(wrong[i]), "%s", wrong[i]);
    cr_assert_eq(otlp_headers_open(right[2], &headers), 0);
    cr_assert_eq(headers.count, 2);
    cr_expect(str_eq(headers.attributes[0].key, STR("a-b_c")));
    cr_expect(str_eq(headers.attributes[0].value, STR("x y")));
    otlp_resource_release(&headers);
}

Test(otlp, resources)
{
    char many[27 * 8 + 1] = "";

    for (int i = 0; i < 27; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "k%d=v,", i);
    cr_assert_null(otlp_check_resource(""));
    cr_assert_null(otlp_check_resource("a=b,c=,d=%C3%A4"));
    cr_assert_not_null(otlp_check_resource("a"));
    cr_assert_not_null(otlp_check_resource("=b"));
    cr_assert_not_null(otlp_check_resource("a=%"));
    cr_assert_not_null(otlp_check_resource("a=%f"));
    cr_assert_not_null(otlp_check_resource("a=%ff"));
    cr_assert_not_null(otlp_check_resource(many));
}
