/* Series as data points, and those of a family as a Metric. Names and labels are the same as at /metrics. */
#include "otlp_internal.h"
#include <stdlib.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__Metric metric_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__DataPoints points_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__NumberDataPoint number_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__HistogramDataPoint histogram_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Exemplar exemplar_message;
#define CASE(name_) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##name_

#define CUMULATIVE 2

static void add_labels(struct otlp_pairs *pairs, const struct metrics_def *def, const struct metrics_point *point)
{
    for (size_t i = 0; i < METRICS_MAX_LABELS && def->labels[i] != NULL; i++)
        otlp_add_string(pairs, def->labels[i], otlp_bytes(point->labels[i].s, point->labels[i].len));
}

static struct otlp_item *pack_number(const struct metrics_def *def, const struct metrics_point *point,
                                     struct otlp_pairs *pairs, const struct otlp_times *times)
{
    number_message message;

    opentelemetry__proto__collector__trace__v1__number_data_point__init(&message);
    message.start_time_unix_nano = times->start_ns;
    message.time_unix_nano = times->now_ns;
    message.attributes = pairs->list;
    message.n_attributes = pairs->count;
    if (def->type == METRICS_COUNTER) {
        message.value_case = CASE(NUMBER_DATA_POINT__VALUE_AS_INT);
        message.as_int = (int64_t)point->count;
    } else {
        message.value_case = CASE(NUMBER_DATA_POINT__VALUE_AS_DOUBLE);
        message.as_double = point->value;
    }
    return otlp_item_pack(&message.base, 1, SIZE_MAX);
}

struct exemplars {
    exemplar_message *list[METRICS_MAX_BUCKETS + 1], exemplars[METRICS_MAX_BUCKETS + 1];
};

static void fill_exemplars(const struct metrics_point *point, struct exemplars *exemplars)
{
    for (unsigned i = 0; i < point->exemplar_count; i++) {
        const struct metrics_exemplar *from = &point->exemplars[i];
        exemplar_message *to = exemplars->list[i] = &exemplars->exemplars[i];

        opentelemetry__proto__collector__trace__v1__exemplar__init(to);
        to->time_unix_nano = from->time_ns;
        to->value_case = CASE(EXEMPLAR__VALUE_AS_DOUBLE);
        to->as_double = from->value;
        to->trace_id = otlp_bytes(from->trace_id, sizeof(from->trace_id));
        to->span_id = otlp_bytes(from->span_id, sizeof(from->span_id));
    }
}

static struct otlp_item *pack_histogram(const struct metrics_def *def, const struct metrics_point *point,
                                        struct otlp_pairs *pairs, const struct otlp_times *times)
{
    histogram_message message;
    struct exemplars exemplars;

    opentelemetry__proto__collector__trace__v1__histogram_data_point__init(&message);
    fill_exemplars(point, &exemplars);
    message.start_time_unix_nano = times->start_ns;
    message.time_unix_nano = times->now_ns;
    message.count = point->count;
    message.optional_sum_case = CASE(HISTOGRAM_DATA_POINT__OPTIONAL_SUM_SUM);
    message.sum = point->value;
    message.bucket_counts = (uint64_t *)point->buckets;
    message.n_bucket_counts = def->bucket_count + 1;
    message.explicit_bounds = (double *)def->buckets;
    message.n_explicit_bounds = def->bucket_count;
    message.exemplars = exemplars.list;
    message.n_exemplars = point->exemplar_count;
    message.attributes = pairs->list;
    message.n_attributes = pairs->count;
    return otlp_item_pack(&message.base, 1, SIZE_MAX);
}

struct otlp_item *otlp_point_pack(const struct metrics_family *family, const struct metrics_series *series,
                                  const struct otlp_times *times)
{
    const struct metrics_def *def = metrics_def_of(family);
    struct otlp_times own = *times;
    struct metrics_point point;
    struct otlp_pairs pairs;

    metrics_read(series, &point);
    pairs.count = 0;
    add_labels(&pairs, def, &point);
    if (def->type == METRICS_HISTOGRAM)
        return pack_histogram(def, &point, &pairs, times);
    if (!metrics_is_counter(family))
        own.start_ns = 0; /* a gauge has none */
    return pack_number(def, &point, &pairs, &own);
}

/* By UCUM, as OpenTelemetry has it. */
static const char *unit_of(const char *name)
{
    return strstr(name, "_seconds") != NULL ? "s" : strstr(name, "_bytes") != NULL ? "By" : "";
}

struct otlp_item *otlp_metric_pack(const struct metrics_family *family, const struct otlp_item *points, size_t count)
{
    const struct metrics_def *def = metrics_def_of(family);
    metric_message message;
    points_message data = OTLP_INIT(DATA_POINTS);
    struct otlp_item *item = NULL;

    opentelemetry__proto__collector__trace__v1__metric__init(&message);
    message.name = otlp_cstr(def->name);
    message.description = otlp_cstr(def->help);
    message.unit = otlp_cstr(unit_of(def->name));
    data.data_points = otlp_item_array(points, count);
    data.n_data_points = count;
    message.gauge = &data; /* or another: they share their memory */
    message.data_case = CASE(METRIC__DATA_GAUGE);
    if (def->type == METRICS_HISTOGRAM || metrics_is_counter(family)) {
        message.data_case = def->type == METRICS_HISTOGRAM ? CASE(METRIC__DATA_HISTOGRAM) : CASE(METRIC__DATA_SUM);
        data.aggregation_temporality = CUMULATIVE;
        data.is_monotonic = def->type != METRICS_HISTOGRAM;
    }
    if (data.data_points != NULL)
        item = otlp_item_pack(&message.base, count, SIZE_MAX);
    free(data.data_points);
    return item;
}
