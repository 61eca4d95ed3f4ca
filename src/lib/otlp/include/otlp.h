/* otlp -- sends spans, log lines or metrics to an OpenTelemetry Collector: OTLP over gRPC
 * (https://opentelemetry.io/docs/specs/otlp/), in cleartext or over TLS.
 *
 * An exporter is for one signal; it has a connection and a thread of its own, and sends one request at a time.
 *
 * Spans and log lines are packed by the thread that puts them and wait in a queue, bounded in number and bytes. Metrics
 * are read by the exporter's thread, at an interval and when otlp_export_now asks for it, and sent in requests that are
 * bounded in bytes.
 *
 * If the collector is away or slow, nobody waits: a request is sent again until its time is up and then dropped, and
 * what the queue has no room for is dropped. What became of it is counted: trace_spans_exported_total,
 * trace_spans_dropped_total{reason}, and the same of log_records and metric_points; trace_queue_bytes and
 * log_queue_bytes are what waits. The exporter logs nothing, so that log lines cause no further ones.
 */
#pragma once
#include "log.h"
#include "metrics.h"
#include "names.h"
#include "span.h"

struct otlp;

enum otlp_kind { OTLP_SPANS, OTLP_LOGS, OTLP_METRICS, OTLP_SIGNALS };

struct otlp_def {
    enum otlp_kind signal;
    const char *endpoint;        /* "http://host:port", or "https://..." for TLS; see otlp_check_endpoint */
    const char *ca_file;         /* PEM, the authority of the collector's certificate; NULL or "": the system's */
    const char *headers;         /* "name=value,...", percent-encoded, of each request; may be NULL */
    const char *service;         /* service.name, unless resource has one */
    const char *resource;        /* "key=value,...", percent-encoded, as OTEL_RESOURCE_ATTRIBUTES; may be NULL */
    struct span_sampler sampler; /* OTLP_SPANS */
    unsigned max_queue;          /* spans or lines; 0: 2,048 */
    unsigned max_batch;          /* spans or lines; 0: 512; at most max_queue */
    unsigned delay_ms;       /* until a batch that is not full is sent, 0: 5,000 for spans and 1,000 for lines; between
                                exports of metrics, 0: 60,000 */
    unsigned timeout_ms;     /* of a request, all attempts together; 0: 30,000 */
    size_t max_memory;       /* bytes: of the queue, the batch that is being sent, and its request; 0: 4 MiB */
    struct metrics *metrics; /* where it counts, and OTLP_METRICS: what it exports; may be NULL */
};

/* Does not connect yet. The def is read during the call only, but for metrics. OTLP_METRICS: exports for the first time
 * at once. 0, -EINVAL (endpoint, resource or headers), -EBADMSG (ca_file cannot be read), or another -errno. */
int otlp_open(const struct otlp_def *def, struct otlp **ret_otlp);
struct span_sink *otlp_sink(struct otlp *otlp);    /* of OTLP_SPANS */
struct log_sink *otlp_log_sink(struct otlp *otlp); /* of OTLP_LOGS */
/* OTLP_METRICS: exports before the interval has passed; does not wait for it. NULL is fine. */
void otlp_export_now(struct otlp *otlp);
/* Begins to send what waits (OTLP_METRICS: all once more), for timeout_ms at most, and to drop the rest; does not wait.
 * NULL is fine. Exporters of several signals end at the same time if this is called for each before otlp_close. */
void otlp_end(struct otlp *otlp, unsigned timeout_ms);
/* The same where otlp_end has not been called, and waits for it; nobody may put anything any more. metrics may be freed
 * afterwards. NULL is fine. Returns NULL. */
struct otlp *otlp_close(struct otlp *otlp, unsigned timeout_ms);

/* For options: NULL, or what it must be. An empty text is right: there is no collector. */
const char *otlp_check_endpoint(const char *endpoint);
const char *otlp_check_resource(const char *list);
const char *otlp_check_headers(const char *list);
