/* Where spans go: by OpenTelemetry's environment variables
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). */
#include "otlp.h"
#include "svc_context.h"
#include "svc_traces.h"
#include <errno.h>

const struct config_option svc_trace_options[] = {
    {"OTEL_EXPORTER_OTLP_ENDPOINT", "", .check = otlp_check_endpoint,
     .help = "collector that gets spans by OTLP over gRPC: http://HOST:PORT, or https:// for TLS; empty: no spans are "
             "made"},
    {"OTEL_EXPORTER_OTLP_CERTIFICATE", "",
     .help = "PEM file of who signs the collector's certificate; empty: whom the system trusts"},
    {"OTEL_EXPORTER_OTLP_HEADERS", "", .check = otlp_check_headers, .secret = true,
     .help = "NAME=VALUE,... sent to the collector with each request"},
    {"OTEL_SDK_DISABLED", "false", CONFIG_BOOL, .help = "no spans are made"},
    {"OTEL_SERVICE_NAME", "", .help = "service.name of spans; empty: the service's own"},
    {"OTEL_RESOURCE_ATTRIBUTES", "", .check = otlp_check_resource, .help = "KEY=VALUE,... of all spans"},
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
    {0},
};

static unsigned unsigned_of(const struct svc *svc, const char *name)
{
    return (unsigned)config_int(svc->config, name);
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

static int open_exporter(struct svc *svc, const char *endpoint, const char *attributes)
{
    struct otlp_def def = {
        .endpoint = endpoint,
        .ca_file = config_string(svc->config, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        .headers = config_string(svc->config, "OTEL_EXPORTER_OTLP_HEADERS"),
        .service = svc->def->name,
        .resource = attributes,
        .max_queue = unsigned_of(svc, "OTEL_BSP_MAX_QUEUE_SIZE"),
        .max_batch = unsigned_of(svc, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        .delay_ms = unsigned_of(svc, "OTEL_BSP_SCHEDULE_DELAY"),
        .timeout_ms = unsigned_of(svc, "OTEL_BSP_EXPORT_TIMEOUT"),
        .max_memory = svc_memory_part(svc, MEMORY_SPANS),
        .metrics = svc->metrics,
    };
    int r = span_sampler_parse(config_string(svc->config, "OTEL_TRACES_SAMPLER"),
                               config_string(svc->config, "OTEL_TRACES_SAMPLER_ARG"), &def.sampler);

    return r == 0 ? otlp_open(&def, &svc->otlp) : r;
}

int svc_traces_open(struct svc *svc)
{
    const char *endpoint = config_string(svc->config, "OTEL_EXPORTER_OTLP_ENDPOINT");
    struct buf attributes = {0};
    int r;

    if (endpoint[0] == '\0' || config_bool(svc->config, "OTEL_SDK_DISABLED"))
        return 0;
    r = list_attributes(svc, &attributes);
    if (r == 0)
        r = open_exporter(svc, endpoint, attributes.data);
    buf_release(&attributes);
    if (r == -EBADMSG)
        return svc_fail(svc, "OTEL_EXPORTER_OTLP_CERTIFICATE=%s: cannot be read, or is not PEM",
                        config_string(svc->config, "OTEL_EXPORTER_OTLP_CERTIFICATE"));
    return r == -EINVAL ? svc_fail(svc, "OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES: too many, or not UTF-8") : r;
}

void svc_traces_close(struct svc *svc, unsigned timeout_ms)
{
    svc->otlp = otlp_close(svc->otlp, timeout_ms);
}

struct span_sink *svc_spans(const struct svc *svc)
{
    return svc->otlp != NULL ? otlp_sink(svc->otlp) : NULL;
}
