/* Spans, log lines and metrics that are exported to a gRPC server of the test. */
#include "clock.h"
#include "net_listen.h"
#include "otlp_internal.h"
#include "otlp_trace.descriptors.h"
#include "otlp_trace.pb-c.h"
#include "otlp_trace.rpc_server.h"
#include "rpc.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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
typedef Opentelemetry__Proto__Collector__Trace__V1__LogRecord record_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Metric metric_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__NumberDataPoint number_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__HistogramDataPoint histogram_message;
#define SERVICE  (&opentelemetry__proto__collector__trace__v1__trace_service__descriptor)
#define INIT(n_) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##n_##__INIT

#define MAX_ITEMS      256
#define SPAN(f_, i_)   ((span_message *)(f_).got[OTLP_SPANS].items[i_])
#define RECORD(f_, i_) ((record_message *)(f_).got[OTLP_LOGS].items[i_])
#define METRIC(f_, i_) ((metric_message *)(f_).got[OTLP_METRICS].items[i_])

static const ProtobufCMessageDescriptor *const kinds[OTLP_SIGNALS] = {
    [OTLP_SPANS] = &opentelemetry__proto__collector__trace__v1__span__descriptor,
    [OTLP_LOGS] = &opentelemetry__proto__collector__trace__v1__log_record__descriptor,
    [OTLP_METRICS] = &opentelemetry__proto__collector__trace__v1__metric__descriptor,
};

struct fixture {
    struct rpc_server *server;
    struct metrics *metrics;
    struct otlp *otlp;
    int port;
    atomic_int fail;       /* so many calls are answered with UNAVAILABLE */
    atomic_int refuse;     /* the status of all further calls */
    atomic_int reject;     /* spans of each batch */
    sem_t called, arrived; /* each call; each item of those that were taken */
    atomic_bool silent;
    pthread_mutex_t lock;
    unsigned batches;
    size_t largest; /* bytes of a batch's items */
    struct {
        unsigned count;
        ProtobufCMessage *items[MAX_ITEMS];
    } got[OTLP_SIGNALS];
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

static void keep(struct fixture *f, enum otlp_kind kind, const request_message *request)
{
    size_t bytes = 0;

    pthread_mutex_lock(&f->lock);
    f->batches++;
    keep_resource(f, request);
    for (size_t i = 0; i < request->resource_spans[0]->scope_spans[0]->n_spans; i++) {
        const ProtobufCBinaryData *item = &request->resource_spans[0]->scope_spans[0]->spans[i];
        unsigned at = f->got[kind].count++;

        cr_assert_lt(at, MAX_ITEMS);
        f->got[kind].items[at] = protobuf_c_message_unpack(kinds[kind], NULL, item->len, item->data);
        cr_assert_not_null(f->got[kind].items[at]);
        bytes += item->len;
        sem_post(&f->arrived);
    }
    f->largest = bytes > f->largest ? bytes : f->largest;
    pthread_mutex_unlock(&f->lock);
}

static void export_items(struct rpc_call *call, enum otlp_kind kind, const ProtobufCMessage *message)
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
    keep(f, kind, (const request_message *)message);
    partial.rejected_spans = atomic_load(&f->reject);
    response.partial_success = partial.rejected_spans > 0 ? &partial : NULL;
    rpc_reply(call, &response.base);
}

static void export_spans(struct rpc_call *call, const ProtobufCMessage *message)
{
    export_items(call, OTLP_SPANS, message);
}

static void export_logs(struct rpc_call *call, const ProtobufCMessage *message)
{
    export_items(call, OTLP_LOGS, message);
}

static void export_metrics(struct rpc_call *call, const ProtobufCMessage *message)
{
    export_items(call, OTLP_METRICS, message);
}

/* The services of the other signals have the same messages. */
static ProtobufCServiceDescriptor log_service, metric_service;

static const struct rpc_method methods[] = {{SERVICE, "Export", RPC_UNARY_KIND, .on_message = export_spans},
                                            {&log_service, "Export", RPC_UNARY_KIND, .on_message = export_logs},
                                            {&metric_service, "Export", RPC_UNARY_KIND, .on_message = export_metrics},
                                            {0}};

/* port 0: any. */
static void serve(struct fixture *f, int port)
{
    int fd;

    log_service = metric_service = *SERVICE;
    log_service.name = "opentelemetry.proto.collector.logs.v1.LogsService";
    metric_service.name = "opentelemetry.proto.collector.metrics.v1.MetricsService";
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
    for (unsigned kind = 0; kind < OTLP_SIGNALS; kind++)
        for (unsigned i = 0; i < f->got[kind].count; i++)
            protobuf_c_message_free_unpacked(f->got[kind].items[i], NULL);
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
    span = SPAN(f, 0);
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
    cr_assert(is_string(SPAN(f, 0)->attributes[0], "bad", "a??"));
    cr_assert_eq(SPAN(f, 0)->attributes[1]->value->string_value.len, 511);
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
    cr_assert_eq(f.got[OTLP_SPANS].count, 3);
    f.otlp = otlp_close(f.otlp, 10000);
    cr_assert_eq(f.got[OTLP_SPANS].count, 4);
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
    cr_assert_eq(f.got[OTLP_SPANS].count, 1);
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
    cr_assert_eq(f.got[OTLP_SPANS].count, 2);
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

/* ---- log lines ---- */

struct logged {
    struct fixture f;
    struct log *log;
    int fd; /* /dev/null: nothing is written */
};

static void set_up_log(struct logged *l, struct otlp_def def)
{
    set_up(&l->f);
    serve(&l->f, 0);
    def.signal = OTLP_LOGS;
    connect_with(&l->f, def);
    l->fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    cr_assert_eq(log_open(&(struct log_def){.fd = l->fd, .service = "test"}, &l->log), 0);
    log_set_sink(l->log, otlp_log_sink(l->f.otlp));
}

static void tear_down_log(struct logged *l)
{
    log_set_sink(l->log, NULL);
    tear_down(&l->f);
    log_close(l->log, 1000);
    close(l->fd);
}

static const key_value_message *attribute(key_value_message *const *list, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (list[i]->key.len == strlen(key) && memcmp(list[i]->key.data, key, strlen(key)) == 0)
            return list[i];
    cr_assert_fail("no %s", key);
    return NULL;
}

static bool record_has(const record_message *record, const char *key, const char *value)
{
    return is_string(attribute(record->attributes, record->n_attributes, key), key, value);
}

static int64_t record_integer(const record_message *record, const char *key)
{
    return attribute(record->attributes, record->n_attributes, key)->value->int_value;
}

Test(otlp, a_line_arrives_whole)
{
    const struct log_field fields[] = {LOG_CSTR("name", "a\"b"),
                                       LOG_INT("count", -3),
                                       LOG_CSTR("empty", ""),
                                       {.key = "on", .kind = LOG_BOOLEAN, .integer = 1}};
    uint64_t before = clock_realtime_ns();
    struct trace trace;
    struct logged l;
    record_message *record;

    set_up_log(&l, (struct otlp_def){.delay_ms = 1});
    trace_begin(STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), false, &trace);
    log_fields(l.log, LOG_WARNING, &trace, "what happened", fields, 4);
    wait_on(&l.f.arrived);
    record = RECORD(l.f, 0);
    cr_assert(record->time_unix_nano >= before && record->time_unix_nano <= clock_realtime_ns());
    cr_assert_eq(record->observed_time_unix_nano, record->time_unix_nano);
    cr_assert_eq(record->severity_number, 13);
    cr_assert_arr_eq(record->severity_text.data, "WARNING", 7);
    cr_assert_eq(record->body->string_value.len, strlen("what happened"));
    cr_assert_eq(record->trace_id.len, 16);
    cr_assert_arr_eq(record->trace_id.data, trace.trace_id, 16);
    cr_assert_eq(record->span_id.len, 8);
    cr_assert_arr_eq(record->span_id.data, trace.span_id, 8);
    cr_assert_eq(record->flags, 1);
    cr_assert_eq(record->n_attributes, 3);
    cr_assert(record_has(record, "name", "a\"b"));
    cr_assert_eq(record_integer(record, "count"), -3);
    cr_assert_eq(attribute(record->attributes, 3, "on")->value->bool_value, 1);
    cr_assert_not_null(strstr(l.f.resource, "service.name=test;"), "%s", l.f.resource);
    tear_down_log(&l);
}

Test(otlp, a_line_of_a_request_has_the_names_of_the_conventions)
{
    struct logged l;
    record_message *record;

    set_up_log(&l, (struct otlp_def){.delay_ms = 1});
    log_request(l.log, NULL,
                &(struct log_request){.method = STR("GET"),
                                      .url = STR("/v1/notes?limit=1"),
                                      .remote_ip = STR("192.0.2.1"),
                                      .status = 503,
                                      .latency_ns = 1234567,
                                      .response_size = 7});
    wait_on(&l.f.arrived);
    record = RECORD(l.f, 0);
    cr_assert_eq(record->severity_number, 17);
    cr_assert_eq(record->trace_id.len, 0);
    cr_assert(record_has(record, "http.request.method", "GET"));
    cr_assert(record_has(record, "url.path", "/v1/notes"));
    cr_assert(record_has(record, "url.query", "limit=1"));
    cr_assert(record_has(record, "client.address", "192.0.2.1"));
    cr_assert_eq(record_integer(record, "http.response.status_code"), 503);
    cr_assert_eq(record_integer(record, "http.response.body.size"), 7);
    cr_assert_eq(record_integer(record, "latency_us"), 1234);
    tear_down_log(&l);
}

Test(otlp, severities_are_numbered_as_the_specification_says)
{
    static const int32_t numbers[] = {5, 9, 10, 13, 17, 18};
    struct logged l;

    set_up_log(&l, (struct otlp_def){.delay_ms = 1});
    for (enum log_severity severity = LOG_DEBUG; severity <= LOG_CRITICAL; severity++)
        log_fields(l.log, severity, NULL, "x", NULL, 0);
    for (size_t i = 0; i < 6; i++)
        wait_on(&l.f.arrived);
    for (size_t i = 0; i < 6; i++)
        cr_expect_eq(RECORD(l.f, i)->severity_number, numbers[i]);
    tear_down_log(&l);
}

/* Also more attributes than a record has room for, and more bytes than one may have. */
Test(otlp, lines_that_are_too_long_are_cut)
{
    static char longer[2000];
    struct log_field fields[40];
    struct logged l;
    record_message *record;

    memset(longer, 'x', sizeof(longer));
    for (size_t i = 0; i < 40; i++)
        fields[i] = LOG_STR("key", ((struct str){longer, sizeof(longer)}));
    set_up_log(&l, (struct otlp_def){.delay_ms = 1});
    log_fields(l.log, LOG_INFO, NULL, "a\xff", fields, 1);
    log_fields(l.log, LOG_INFO, NULL, "many", fields, 40);
    wait_on(&l.f.arrived);
    wait_on(&l.f.arrived);
    record = RECORD(l.f, 0);
    cr_assert_arr_eq(record->body->string_value.data, "a?", 2);
    cr_assert_eq(record->attributes[0]->value->string_value.len, 1024);
    record = RECORD(l.f, 1);
    cr_assert_eq(record->n_attributes, 32);
    cr_assert_eq(record->dropped_attributes_count, 8);
    cr_assert_eq(record->attributes[31]->value->string_value.len, 128);
    tear_down_log(&l);
}

Test(otlp, lines_that_find_no_room_are_dropped)
{
    struct logged l;

    set_up_log(&l, (struct otlp_def){.max_queue = 10, .delay_ms = 3600000});
    atomic_store(&l.f.silent, true); /* what is being sent takes room, too */
    for (unsigned i = 0; i < 30; i++)
        log_fields(l.log, LOG_INFO, NULL, "x", NULL, 0);
    cr_assert_eq(metric(&l.f, "log_records_dropped_total{reason=\"queue_full\"}"), 20);
    cr_assert_gt(metric(&l.f, "log_queue_bytes"), 0);
    log_set_sink(l.log, NULL);
    l.f.otlp = otlp_close(l.f.otlp, 100);
    cr_assert_eq(metric(&l.f, "log_records_dropped_total{reason=\"failed\"}"), 10);
    log_fields(l.log, LOG_INFO, NULL, "nobody takes it any more", NULL, 0);
    tear_down_log(&l);
}

/* ---- metrics ---- */

static const struct metrics_def requests_def = {
    .name = "requests_total", .help = "Requests", .type = METRICS_COUNTER, .labels = {"path", "code"}};
static const struct metrics_def used_def = {.name = "used_bytes", .help = "Bytes", .type = METRICS_GAUGE};
static const double bounds[] = {.5, 1};
static const struct metrics_def time_def = {.name = "time_seconds",
                                            .help = "Time",
                                            .type = METRICS_HISTOGRAM,
                                            .labels = {"path"},
                                            .buckets = bounds,
                                            .bucket_count = 2};

/* The metric that came last. */
static metric_message *metric_named(struct fixture *f, const char *name)
{
    for (unsigned i = f->got[OTLP_METRICS].count; i-- > 0;)
        if (METRIC(*f, i)->name.len == strlen(name) && memcmp(METRIC(*f, i)->name.data, name, strlen(name)) == 0)
            return METRIC(*f, i);
    cr_assert_fail("no %s", name);
    return NULL;
}

static void *unpack_point(const metric_message *metric, size_t i, const ProtobufCMessageDescriptor *type)
{
    const ProtobufCBinaryData *bytes = &metric->sum->data_points[i]; /* all kinds share it */
    void *point = protobuf_c_message_unpack(type, NULL, bytes->len, bytes->data);

    cr_assert_not_null(point);
    return point;
}

#define NUMBER(metric_, i_)                                                                                            \
    unpack_point(metric_, i_, &opentelemetry__proto__collector__trace__v1__number_data_point__descriptor)
#define HISTOGRAM(metric_, i_)                                                                                         \
    unpack_point(metric_, i_, &opentelemetry__proto__collector__trace__v1__histogram_data_point__descriptor)

/* Exports once more, and ends. */
static void export_last(struct fixture *f)
{
    f->otlp = otlp_close(f->otlp, 10000);
}

static void set_up_metrics(struct fixture *f, struct otlp_def def)
{
    set_up(f);
    serve(f, 0);
    def.signal = OTLP_METRICS;
    connect_with(f, def);
}

Test(otlp, counters_and_gauges_arrive_whole)
{
    uint64_t before = clock_realtime_ns();
    metric_message *sum, *gauge;
    number_message *point;
    struct fixture f;

    set_up_metrics(&f, (struct otlp_def){.delay_ms = 3600000});
    metrics_add(metrics_series(metrics_family(f.metrics, &requests_def), (const struct str[]){STR("/a"), STR("200")}),
                UINT64_C(1) << 60 | 1);
    metrics_set(metrics_single(f.metrics, &used_def), -1.5);
    export_last(&f);
    sum = metric_named(&f, "requests_total");
    cr_assert_eq(sum->data_case, 7);
    cr_assert(sum->sum->is_monotonic && sum->sum->aggregation_temporality == 2);
    cr_assert_arr_eq(sum->description.data, "Requests", 8);
    cr_assert_eq(sum->sum->n_data_points, 1);
    point = NUMBER(sum, 0);
    cr_assert_eq(point->as_int, INT64_C(1) << 60 | 1);
    cr_assert(point->start_time_unix_nano >= before && point->start_time_unix_nano <= point->time_unix_nano);
    cr_assert_eq(point->n_attributes, 2);
    cr_assert(is_string(point->attributes[0], "path", "/a") && is_string(point->attributes[1], "code", "200"));
    protobuf_c_message_free_unpacked(&point->base, NULL);
    gauge = metric_named(&f, "used_bytes");
    cr_assert_eq(gauge->data_case, 5);
    cr_assert(!gauge->gauge->is_monotonic && gauge->gauge->aggregation_temporality == 0);
    cr_assert_arr_eq(gauge->unit.data, "By", 2);
    point = NUMBER(gauge, 0);
    cr_assert_float_eq(point->as_double, -1.5, 0);
    cr_assert_eq(point->start_time_unix_nano, 0);
    protobuf_c_message_free_unpacked(&point->base, NULL);
    tear_down(&f);
}

Test(otlp, histograms_arrive_with_exemplars)
{
    const struct trace trace = {.trace_id = {1, 2}, .span_id = {3, 4}, .sampled = true};
    struct metrics_series *series;
    histogram_message *point;
    metric_message *message;
    struct fixture f;

    set_up_metrics(&f, (struct otlp_def){.delay_ms = 3600000});
    series = metrics_series(metrics_family(f.metrics, &time_def), &STR("/a"));
    metrics_observe(series, .25);
    metrics_observe(series, .25);
    metrics_observe_traced(series, 3, &trace);
    export_last(&f);
    message = metric_named(&f, "time_seconds");
    cr_assert_eq(message->data_case, 9);
    cr_assert_eq(message->histogram->aggregation_temporality, 2);
    point = HISTOGRAM(message, 0);
    cr_assert_eq(point->count, 3);
    cr_assert_float_eq(point->sum, 3.5, 0);
    cr_assert_eq(point->n_explicit_bounds, 2);
    cr_assert_arr_eq(point->explicit_bounds, bounds, sizeof(bounds));
    cr_assert_eq(point->n_bucket_counts, 3);
    cr_assert_arr_eq(point->bucket_counts, ((uint64_t[]){2, 0, 1}), 3 * sizeof(uint64_t));
    cr_assert_eq(point->n_exemplars, 1);
    cr_assert_float_eq(point->exemplars[0]->as_double, 3, 0);
    cr_assert_arr_eq(point->exemplars[0]->trace_id.data, trace.trace_id, 16);
    cr_assert_arr_eq(point->exemplars[0]->span_id.data, trace.span_id, 8);
    protobuf_c_message_free_unpacked(&point->base, NULL);
    tear_down(&f);
}

static void set_answer(void *arg)
{
    static const struct metrics_def def = {.name = "answer", .help = "The answer", .type = METRICS_GAUGE};
    struct fixture *f = arg;

    metrics_set(metrics_single(f->metrics, &def), 42);
}

/* What is cheaper to read than to keep is read, by the exporter's thread, as at a scrape. */
Test(otlp, metrics_are_exported_at_once_when_somebody_asks)
{
    struct fixture f;
    number_message *point;

    set_up_metrics(&f, (struct otlp_def){.delay_ms = 3600000});
    wait_on(&f.called); /* the first export does not wait either */
    metrics_on_scrape(f.metrics, set_answer, &f);
    otlp_export_now(f.otlp);
    wait_on(&f.called);
    metrics_off_scrape(f.metrics, set_answer, &f);
    export_last(&f);
    cr_assert_geq(f.batches, 3);
    point = NUMBER(metric_named(&f, "answer"), 0);
    cr_assert_float_eq(point->as_double, 42, 0);
    protobuf_c_message_free_unpacked(&point->base, NULL);
    tear_down(&f);
}

Test(otlp, metrics_are_exported_at_the_interval)
{
    struct fixture f;

    set_up_metrics(&f, (struct otlp_def){.delay_ms = 10});
    for (int i = 0; i < 5; i++)
        wait_on(&f.called);
    tear_down(&f);
}

/* Each series once in an export, in requests that are bounded. */
Test(otlp, an_export_is_split_where_it_is_too_large)
{
    enum { SERIES = 500, MEMORY = 16384, EXPORTS = 2 };
    static unsigned seen[SERIES];
    struct metrics_family *family;
    struct fixture f;
    char name[16];

    set_up(&f);
    family = metrics_family(f.metrics, &requests_def);
    for (unsigned i = 0; i < SERIES; i++) {
        snprintf(name, sizeof(name), "/%u", i);
        metrics_add(metrics_series(family, (const struct str[]){str_of(name), STR("200")}), i);
    }
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.signal = OTLP_METRICS, .delay_ms = 3600000, .max_memory = MEMORY});
    wait_on(&f.called); /* the first export has begun */
    export_last(&f);
    cr_assert_gt(f.batches, 3 * EXPORTS);
    cr_assert_lt(f.largest, MEMORY / 2);
    for (unsigned i = 0; i < f.got[OTLP_METRICS].count; i++)
        for (size_t at = 0; at < METRIC(f, i)->sum->n_data_points; at++) {
            number_message *point = NUMBER(METRIC(f, i), at);

            if (point->n_attributes == 2) /* it is not of the exporter's own */
                seen[point->as_int]++;
            protobuf_c_message_free_unpacked(&point->base, NULL);
        }
    for (unsigned i = 0; i < SERIES; i++)
        cr_assert_eq(seen[i], EXPORTS, "%u", i);
    tear_down(&f);
}

Test(otlp, points_that_the_collector_rejects_are_counted)
{
    struct fixture f;

    set_up(&f);
    atomic_store(&f.reject, 2);
    serve(&f, 0);
    connect_with(&f, (struct otlp_def){.signal = OTLP_METRICS, .delay_ms = 3600000});
    wait_on(&f.called);
    export_last(&f);
    cr_assert_eq(metric(&f, "metric_points_dropped_total{reason=\"rejected\"}"), 4);
    cr_assert_gt(metric(&f, "metric_points_exported_total"), 0);
    tear_down(&f);
}

Test(otlp, without_a_collector_points_are_dropped)
{
    struct fixture f;
    int fd;

    set_up(&f);
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &f.port), 0);
    close(fd);
    connect_with(&f, (struct otlp_def){.signal = OTLP_METRICS, .delay_ms = 3600000, .timeout_ms = 1});
    while (metric(&f, "metric_points_dropped_total{reason=\"failed\"}") == 0)
        sched_yield();
    f.otlp = otlp_close(f.otlp, 100);
    cr_assert_eq(metric(&f, "metric_points_exported_total"), 0);
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
