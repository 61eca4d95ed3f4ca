/* Where spans, log lines and metrics go: by OpenTelemetry's environment variables
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). */
#include "otlp.h"
#include "svc_context.h"
#include "svc_telemetry.h"
#include <errno.h>

#define EXPORTERS "otlp|none"

const struct config_option svc_telemetry_options[] = {
    {"OTEL_EXPORTER_OTLP_ENDPOINT", "", .check = otlp_check_endpoint,
     .help = "collector that gets telemetry by OTLP over gRPC: http://HOST:PORT, or https:// for TLS; empty: none"},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", .check = otlp_check_endpoint,
     .help = "the same for spans; empty: OTEL_EXPORTER_OTLP_ENDPOINT"},
    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "", .check = otlp_check_endpoint,
     .help = "the same for metrics; empty: OTEL_EXPORTER_OTLP_ENDPOINT"},
    {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "", .check = otlp_check_endpoint,
     .help = "the same for log lines; empty: OTEL_EXPORTER_OTLP_ENDPOINT"},
    {"OTEL_EXPORTER_OTLP_CERTIFICATE", "",
     .help = "PEM file of who signs the collector's certificate; empty: whom the system trusts"},
    {"OTEL_EXPORTER_OTLP_HEADERS", "", .check = otlp_check_headers, .secret = true,
     .help = "NAME=VALUE,... sent to the collector with each request"},
    {"OTEL_SDK_DISABLED", "false", CONFIG_BOOL, .help = "nothing is sent to collectors"},
    {"OTEL_SERVICE_NAME", "", .help = "service.name of telemetry; empty: the service's own"},
    {"OTEL_RESOURCE_ATTRIBUTES", "", .check = otlp_check_resource, .help = "KEY=VALUE,... of all telemetry"},
    {"OTEL_TRACES_EXPORTER", "otlp", CONFIG_CHOICE, .choices = EXPORTERS,
     .help = "otlp: spans are sent where there is an endpoint"},
    {"OTEL_TRACES_SAMPLER", "parentbased_always_on", CONFIG_CHOICE,
     .choices = "always_on|always_off|traceidratio|parentbased_always_on|parentbased_always_off|"
                "parentbased_traceidratio",
     .help = "which traces are sampled, and so have spans"},
    {"OTEL_TRACES_SAMPLER_ARG", "", .check = span_sampler_check_ratio,
     .help = "share of traces that the ratio samplers take, 0 to 1; empty: 1"},
    {"OTEL_BSP_MAX_QUEUE_SIZE", "2048", CONFIG_INT, 1, 1 << 20, .unit = "spans",
     .help = "spans queued for the collector; also bounded by 1/64 of the memory limit"},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", CONFIG_INT, 1, 8192, .unit = "spans",
     .help = "spans in one request to the collector"},
    {"OTEL_BSP_SCHEDULE_DELAY", "5000", CONFIG_INT, 1, 3600000, .unit = "ms",
     .help = "longest wait before a batch that is not full is sent"},
    {"OTEL_BSP_EXPORT_TIMEOUT", "30000", CONFIG_INT, 1, 3600000, .unit = "ms",
     .help = "time to send a batch, retries included; then it is dropped"},
    {"OTEL_METRICS_EXPORTER", "none", CONFIG_CHOICE, .choices = EXPORTERS,
     .help = "otlp: metrics are sent, too; /metrics has them in any case"},
    {"OTEL_METRIC_EXPORT_INTERVAL", "60000", CONFIG_INT, 1000, 3600000, .unit = "ms",
     .help =
         "time between exports of metrics; there is one at once when the service starts, is ready, drains and stops"},
    {"OTEL_METRIC_EXPORT_TIMEOUT", "30000", CONFIG_INT, 1, 3600000, .unit = "ms",
     .help = "time to send a request with metrics, retries included; then it is dropped"},
    {"OTEL_LOGS_EXPORTER", "none", CONFIG_CHOICE, .choices = EXPORTERS,
     .help = "otlp: log lines are sent, too; standard output has them in any case"},
    {"OTEL_BLRP_MAX_QUEUE_SIZE", "2048", CONFIG_INT, 1, 1 << 20, .unit = "lines",
     .help = "log lines queued for the collector; also bounded by 1/64 of the memory limit"},
    {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "512", CONFIG_INT, 1, 8192, .unit = "lines",
     .help = "log lines in one request to the collector"},
    {"OTEL_BLRP_SCHEDULE_DELAY", "1000", CONFIG_INT, 1, 3600000, .unit = "ms",
     .help = "longest wait before a batch of log lines that is not full is sent"},
    {"OTEL_BLRP_EXPORT_TIMEOUT", "30000", CONFIG_INT, 1, 3600000, .unit = "ms",
     .help = "time to send a batch of log lines, retries included; then it is dropped"},
    {0},
};

/* The options of a signal. */
struct signal_options {
    const char *exporter, *endpoint;
    const char *queue, *batch; /* NULL: it has none */
    const char *delay, *timeout;
    enum memory_part part;
};

static const struct signal_options signals[OTLP_SIGNALS] = {
    [OTLP_SPANS] = {"OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_BSP_MAX_QUEUE_SIZE",
                    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT",
                    MEMORY_SPANS},
    [OTLP_LOGS] = {"OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_BLRP_MAX_QUEUE_SIZE",
                   "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BLRP_EXPORT_TIMEOUT",
                   MEMORY_LOGS},
    [OTLP_METRICS] = {"OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", NULL, NULL,
                      "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT", MEMORY_METRICS},
};

static unsigned unsigned_of(const struct svc *svc, const char *name)
{
    return name != NULL ? (unsigned)config_int(svc->config, name) : 0;
}

static const char *endpoint_of(const struct svc *svc, enum otlp_kind kind)
{
    const char *own = config_string(svc->config, signals[kind].endpoint);

    return own[0] != '\0' ? own : config_string(svc->config, "OTEL_EXPORTER_OTLP_ENDPOINT");
}

static bool is_wanted(const struct svc *svc, enum otlp_kind kind)
{
    return !config_bool(svc->config, "OTEL_SDK_DISABLED") &&
           strcmp(config_string(svc->config, signals[kind].exporter), "otlp") == 0;
}

/* OTEL_TRACES_EXPORTER is otlp by default, so that the endpoint alone decides about spans. */
int svc_telemetry_check(struct svc *svc)
{
    for (unsigned kind = 0; kind < OTLP_SIGNALS; kind++)
        if (kind != OTLP_SPANS && is_wanted(svc, kind) && endpoint_of(svc, kind)[0] == '\0')
            return svc_fail(svc, "%s=otlp needs OTEL_EXPORTER_OTLP_ENDPOINT or %s", signals[kind].exporter,
                            signals[kind].endpoint);
    return 0;
}

/* OTEL_SERVICE_NAME goes before service.name among the attributes, which goes before the service's own name. */
static int list_attributes(const struct svc *svc, struct buf *list)
{
    const char *name = config_string(svc->config, "OTEL_SERVICE_NAME");

    buf_append_cstr(list, config_string(svc->config, "OTEL_RESOURCE_ATTRIBUTES"));
    if (name[0] != '\0')
        buf_append_cstr(list, ",service.name=");
    for (; *name != '\0'; name++)
        buf_printf(list, "%%%02x", (unsigned char)*name);
    buf_append_char(list, '\0');
    return buf_error(list);
}

static int open_exporter(struct svc *svc, enum otlp_kind kind, const char *attributes)
{
    const struct signal_options *options = &signals[kind];
    struct otlp_def def = {
        .signal = kind,
        .endpoint = endpoint_of(svc, kind),
        .ca_file = config_string(svc->config, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        .headers = config_string(svc->config, "OTEL_EXPORTER_OTLP_HEADERS"),
        .service = svc->def->name,
        .resource = attributes,
        .max_queue = unsigned_of(svc, options->queue),
        .max_batch = unsigned_of(svc, options->batch),
        .delay_ms = unsigned_of(svc, options->delay),
        .timeout_ms = unsigned_of(svc, options->timeout),
        .max_memory = svc_memory_part(svc, options->part),
        .metrics = svc->metrics,
    };
    int r = span_sampler_parse(config_string(svc->config, "OTEL_TRACES_SAMPLER"),
                               config_string(svc->config, "OTEL_TRACES_SAMPLER_ARG"), &def.sampler);

    return r == 0 ? otlp_open(&def, &svc->exporters[kind]) : r;
}

int svc_telemetry_open(struct svc *svc)
{
    struct buf attributes = {0};
    int r = svc_telemetry_check(svc);

    if (r != 0)
        return r;
    r = list_attributes(svc, &attributes);
    for (unsigned kind = 0; kind < OTLP_SIGNALS && r == 0; kind++)
        if (is_wanted(svc, kind) && endpoint_of(svc, kind)[0] != '\0')
            r = open_exporter(svc, kind, attributes.data);
    buf_release(&attributes);
    if (r == 0 && svc->exporters[OTLP_LOGS] != NULL)
        log_set_sink(svc->log, otlp_log_sink(svc->exporters[OTLP_LOGS]));
    if (r == -EBADMSG)
        return svc_fail(svc, "OTEL_EXPORTER_OTLP_CERTIFICATE=%s: cannot be read, or is not PEM",
                        config_string(svc->config, "OTEL_EXPORTER_OTLP_CERTIFICATE"));
    return r == -EINVAL ? svc_fail(svc, "OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES: too many, or not UTF-8") : r;
}

void svc_telemetry_export(struct svc *svc)
{
    otlp_export_now(svc->exporters[OTLP_METRICS]);
}

void svc_telemetry_close(struct svc *svc, unsigned timeout_ms)
{
    log_set_sink(svc->log, NULL);
    for (unsigned kind = 0; kind < OTLP_SIGNALS; kind++)
        otlp_end(svc->exporters[kind], timeout_ms);
    for (unsigned kind = 0; kind < OTLP_SIGNALS; kind++)
        svc->exporters[kind] = otlp_close(svc->exporters[kind], timeout_ms);
}

struct span_sink *svc_spans(const struct svc *svc)
{
    return svc->exporters[OTLP_SPANS] != NULL ? otlp_sink(svc->exporters[OTLP_SPANS]) : NULL;
}
