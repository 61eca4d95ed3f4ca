/* The services of OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/). What cannot be read is INVALID_ARGUMENT,
 * after what stood before it has been taken; items that can be read and are refused are counted in the response.
 *
 * The descriptors of the services are made here, not by protoc-c: src/lib/otlp, which exports, has a service of the
 * same name with other types, and a program cannot have two of one name. */
#include "console.h"
#include "otlp_export.pb-c.h"
#include <errno.h>

#define SERVICE(variable_, signal_, name_)                                                                             \
    static const ProtobufCServiceDescriptor variable_ = {                                                              \
        .magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,                                                                 \
        .name = "opentelemetry.proto.collector." signal_ ".v1." name_,                                                 \
        .short_name = (name_),                                                                                         \
        .c_name = (name_),                                                                                             \
        .package = "opentelemetry.proto.collector." signal_ ".v1",                                                     \
        .n_methods = 1,                                                                                                \
        .methods = &export_method,                                                                                     \
        .method_indices_by_name = &first,                                                                              \
    }

static const unsigned first = 0;
static const ProtobufCMethodDescriptor export_method = {"Export", &slipway__otlp__export_request__descriptor,
                                                        &slipway__otlp__export_response__descriptor};
SERVICE(trace_service, "trace", "TraceService");
SERVICE(metrics_service, "metrics", "MetricsService");
SERVICE(logs_service, "logs", "LogsService");

#define ITEMS_A_LOCK 256 /* items and points that are taken before others get the lock */

/* Whose items are being taken. */
struct source {
    struct console *console;
    enum receive_signal signal;
    const struct otlp_pairs *attributes;
    struct fleet_replica *replica; /* NULL: refused; valid while the lock is held */
    struct str service, instance, metric;
    uint64_t now_ms, taken, *rejected;
};

/* ---- items ---- */

static void lock(struct source *source)
{
    pthread_mutex_lock(&source->console->lock);
    source->replica = fleet_seen(&source->console->fleet, source->attributes, source->now_ms);
}

/* Others get the lock now and then. False: the resource is refused. */
static bool goes_on(struct source *source)
{
    if (++source->taken % ITEMS_A_LOCK == 0) {
        pthread_mutex_unlock(&source->console->lock);
        lock(source);
    }
    if (source->replica == NULL)
        (*source->rejected)++;
    return source->replica != NULL;
}

static int take_span(void *arg, struct str item)
{
    struct source *source = arg;
    struct console *console = source->console;
    struct otlp_span_view view;
    struct traces_trace *trace;
    struct traces_span *span;
    int r = otlp_read_span(item, &view);

    if (r < 0)
        return r;
    console->spans.now++;
    if (traces_add(&console->traces, &view, source->service, source->instance, source->now_ms, &trace, &span) < 0) {
        (*source->rejected)++;
        return 0;
    }
    fleet_span(&console->fleet, source->replica, &view, source->now_ms);
    if (span != NULL)
        fleet_trace(&console->fleet, trace, span, traces_weight(&console->traces, trace), source->now_ms);
    return 0;
}

static int take_record(void *arg, struct str item)
{
    struct source *source = arg;
    struct console *console = source->console;
    struct otlp_record_view view;
    int r = otlp_read_record(item, &view);

    if (r < 0)
        return r;
    console->records.now++;
    if (lines_add(&console->lines, &view, source->service, source->instance, source->now_ms) == NULL)
        (*source->rejected)++;
    fleet_message(&console->fleet, source->replica, view.body, source->now_ms);
    return 0;
}

static int take_point(void *arg, const struct otlp_point_view *point)
{
    struct source *source = arg;

    if (!goes_on(source))
        return 0;
    source->console->points.now++;
    fleet_point(&source->console->fleet, source->replica, source->metric, point, source->now_ms);
    return 0;
}

/* Metrics of delta temporality are left out: services here send cumulative ones. */
static int take_metric(void *arg, struct str item)
{
    struct source *source = arg;
    struct otlp_metric_view metric;
    int r = otlp_read_metric(item, &metric);

    if (r < 0 || metric.delta)
        return r;
    source->metric = metric.name;
    return otlp_each_point(&metric, take_point, source);
}

static int (*const takers[])(void *arg, struct str item) = {
    [RECEIVE_SPANS] = take_span, [RECEIVE_METRICS] = take_metric, [RECEIVE_LOGS] = take_record};

static int take_item(void *arg, struct str item)
{
    struct source *source = arg;

    return goes_on(source) ? takers[source->signal](source, item) : 0;
}

int receive_resource(struct console *console, enum receive_signal signal, struct str resource, uint64_t *rejected)
{
    struct otlp_pairs attributes;
    struct source source = {.console = console,
                            .signal = signal,
                            .attributes = &attributes,
                            .now_ms = console_now_ms(),
                            .rejected = rejected};
    int r = otlp_read_resource(resource, &attributes);

    if (r < 0)
        return r;
    source.service = otlp_pair_string(&attributes, STR("service.name"));
    source.instance = otlp_pair_string(&attributes, STR("service.instance.id"));
    lock(&source);
    r = otlp_each_item(resource, take_item, &source);
    pthread_mutex_unlock(&console->lock);
    return r;
}

/* ---- calls ---- */

static void count_dropped(struct console *console, uint64_t count)
{
    pthread_mutex_lock(&console->lock);
    console->dropped += count;
    pthread_mutex_unlock(&console->lock);
}

static void take(struct rpc_call *call, const ProtobufCMessage *message, enum receive_signal signal)
{
    const Slipway__Otlp__ExportRequest *request = (const Slipway__Otlp__ExportRequest *)message;
    Slipway__Otlp__ExportResponse response = SLIPWAY__OTLP__EXPORT_RESPONSE__INIT;
    Slipway__Otlp__PartialSuccess partial = SLIPWAY__OTLP__PARTIAL_SUCCESS__INIT;
    struct console *console = rpc_call_service_state(call);
    uint64_t rejected = 0;
    int r = 0;

    for (size_t i = 0; i < request->n_resources && r == 0; i++)
        r = receive_resource(console, signal,
                             (struct str){(const char *)request->resources[i].data, request->resources[i].len},
                             &rejected);
    if (r < 0)
        rejected++;
    if (rejected > 0) {
        count_dropped(console, rejected);
        partial.rejected = (int64_t)rejected;
        partial.error_message = (char *)"no service.name, malformed ids, or too many replicas";
        response.partial_success = &partial;
    }
    if (r < 0)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "not a message of OTLP");
    else
        rpc_reply(call, &response.base);
}

static void on_spans(struct rpc_call *call, const ProtobufCMessage *message)
{
    take(call, message, RECEIVE_SPANS);
}

static void on_metrics(struct rpc_call *call, const ProtobufCMessage *message)
{
    take(call, message, RECEIVE_METRICS);
}

static void on_logs(struct rpc_call *call, const ProtobufCMessage *message)
{
    take(call, message, RECEIVE_LOGS);
}

const struct rpc_method receive_methods[] = {
    RPC_UNARY(&trace_service, "Export", on_spans),
    RPC_UNARY(&metrics_service, "Export", on_metrics),
    RPC_UNARY(&logs_service, "Export", on_logs),
    {0},
};
