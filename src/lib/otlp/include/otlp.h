/* otlp -- sends spans to an OpenTelemetry Collector: OTLP over gRPC
 * (https://opentelemetry.io/docs/specs/otlp/), in cleartext or over TLS.
 *
 * A span that is put is packed by the calling thread and waits in a queue, bounded in number and bytes; a thread of the
 * exporter's own sends batches, one at a time. Where the collector is away or slow, nobody waits: a batch is sent again
 * until its time is up and then dropped, and spans that the queue has no room for are dropped. What became of spans is
 * counted: trace_spans_exported_total, trace_spans_dropped_total{reason}; trace_queue_bytes is what waits.
 */
#pragma once
#include "metrics.h"
#include "names.h"
#include "span.h"

struct otlp;

struct otlp_def {
    const char *endpoint; /* "http://host:port", or "https://..." for TLS; see otlp_check_endpoint */
    const char *ca_file;  /* PEM, the authority of the collector's certificate; NULL or "": the system's */
    const char *headers;  /* "name=value,...", percent-encoded, of each request; may be NULL */
    const char *service;  /* service.name, unless resource has one */
    const char *resource; /* "key=value,...", percent-encoded, as OTEL_RESOURCE_ATTRIBUTES; may be NULL */
    struct span_sampler sampler;
    unsigned max_queue;      /* spans; 0: 2,048 */
    unsigned max_batch;      /* spans; 0: 512; at most max_queue */
    unsigned delay_ms;       /* until a batch that is not full is sent; 0: 5,000 */
    unsigned timeout_ms;     /* of a batch, all attempts together; 0: 30,000 */
    size_t max_memory;       /* bytes: of the queue, the batch that is being sent, and its request; 0: 4 MiB */
    struct metrics *metrics; /* may be NULL */
};

/* Does not connect yet. The def is read during the call only, but for metrics. 0, -EINVAL (endpoint, resource or
 * headers), -EBADMSG (ca_file cannot be read), or another -errno. */
int otlp_open(const struct otlp_def *def, struct otlp **ret_otlp);
struct span_sink *otlp_sink(struct otlp *otlp);
/* Sends what waits, for timeout_ms at most, and drops the rest; nobody may put spans any more. metrics may be freed
 * afterwards. NULL is fine. Returns NULL. */
struct otlp *otlp_close(struct otlp *otlp, unsigned timeout_ms);

/* For options: NULL, or what it must be. An empty text is right: there is no collector. */
const char *otlp_check_endpoint(const char *endpoint);
const char *otlp_check_resource(const char *list);
const char *otlp_check_headers(const char *list);
