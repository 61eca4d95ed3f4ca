/* otlp_read -- takes requests of OTLP apart in place, without unpacking them: messages of
 * https://github.com/open-telemetry/opentelemetry-proto, of which fields that are not used are skipped. What is
 * returned points into the request. No state; any thread.
 */
#pragma once
#include "buf.h"
#include <stdbool.h>
#include <stdint.h>

#define OTLP_MAX_PAIRS 32 /* attributes of one item; further ones are left out */

enum otlp_kind { OTLP_STRING, OTLP_INTEGER, OTLP_DOUBLE, OTLP_BOOL };

struct otlp_pair {
    struct str key;
    enum otlp_kind kind;
    struct str string;
    int64_t integer; /* OTLP_BOOL: 0 or 1 */
    double number;
};

/* Lists, maps and bytes as values are left out. */
struct otlp_pairs {
    size_t count;
    struct otlp_pair list[OTLP_MAX_PAIRS];
};

/* NULL: there is none. */
const struct otlp_pair *otlp_pair_find(const struct otlp_pairs *pairs, struct str key);
/* The value of a string attribute; STR_NULL. */
struct str otlp_pair_string(const struct otlp_pairs *pairs, struct str key);

/* All functions below: 0, -EBADMSG for bytes that are no such message, or what a callback returned, which ends them. */

/* The attributes of the resource of a ResourceSpans, ResourceMetrics or ResourceLogs. */
int otlp_read_resource(struct str resource, struct otlp_pairs *ret_attributes);
/* Each Span, Metric or LogRecord in one of them. */
int otlp_each_item(struct str resource, int (*each)(void *arg, struct str item), void *arg);

struct otlp_span_view {
    struct str trace_id, span_id, parent_id; /* of any length */
    struct str name;
    uint64_t kind; /* 1 internal, 2 server, 3 client, 4 producer, 5 consumer */
    uint64_t start_ns, end_ns;
    bool failed;
    struct str message; /* of the status */
    struct otlp_pairs attributes;
};
int otlp_read_span(struct str item, struct otlp_span_view *ret_span);

struct otlp_record_view {
    uint64_t time_ns;  /* observed where the record has no other; 0: it has none */
    uint64_t severity; /* 1 to 24; 0: unknown */
    struct str body;   /* of a string */
    struct str trace_id, span_id;
    struct otlp_pairs attributes;
};
int otlp_read_record(struct str item, struct otlp_record_view *ret_record);

enum otlp_metric_kind { OTLP_OTHER, OTLP_GAUGE, OTLP_SUM, OTLP_HISTOGRAM };

struct otlp_metric_view {
    struct str name;
    enum otlp_metric_kind kind; /* OTLP_OTHER: exponential histograms and summaries */
    bool delta;                 /* temporality of sums and histograms: else cumulative */
    struct str data;            /* for otlp_each_point */
};
int otlp_read_metric(struct str item, struct otlp_metric_view *ret_metric);

#define OTLP_MAX_BUCKETS 64 /* of a histogram; those beyond count for the last */

struct otlp_point_view {
    uint64_t time_ns;
    double value;       /* histograms: the sum */
    size_t bound_count; /* buckets are one more */
    double bounds[OTLP_MAX_BUCKETS];
    uint64_t buckets[OTLP_MAX_BUCKETS + 1]; /* not cumulative */
    struct otlp_pairs attributes;
};
int otlp_each_point(const struct otlp_metric_view *metric, int (*each)(void *arg, const struct otlp_point_view *point),
                    void *arg);
