/* Numbers of fields are those of the .proto files of OpenTelemetry, which never change. */
#include "otlp_read.h"
#include "varint.h"
#include <errno.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct field {
    uint64_t number, type;
    uint64_t integer;
    struct str bytes;
};

static uint64_t little_endian(struct str bytes)
{
    uint64_t value = 0;

    for (size_t i = bytes.len; i-- > 0;)
        value = value << 8 | (uint8_t)bytes.s[i];
    return value;
}

static double as_double(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static bool take_contents(struct str *rest, struct field *field)
{
    uint64_t len;

    switch (field->type) {
    case VARINT:
        return varint_take(rest, &field->integer);
    case BYTES:
        return varint_take(rest, &len) && varint_take_bytes(rest, len, &field->bytes);
    case FIXED64:
    case FIXED32:
        if (!varint_take_bytes(rest, field->type == FIXED64 ? 8 : 4, &field->bytes))
            return false;
        field->integer = little_endian(field->bytes);
        return true;
    default:
        return false; /* groups, which proto3 does not have */
    }
}

/* 1: a field; 0: the end; -EBADMSG. */
static int next_field(struct str *rest, struct field *field)
{
    uint64_t tag;

    if (rest->len == 0)
        return 0;
    if (!varint_take(rest, &tag) || tag >> 3 == 0 || tag >> 3 > 536870911)
        return -EBADMSG;
    field->number = tag >> 3;
    field->type = tag & 7;
    return take_contents(rest, field) ? 1 : -EBADMSG;
}

static bool is(const struct field *field, uint64_t number, uint64_t type)
{
    return field->number == number && field->type == type;
}

/* Calls each for the contents of every field of that number that holds bytes. */
static int each_bytes(struct str message, uint64_t number, int (*each)(void *arg, struct str bytes), void *arg)
{
    struct field field;
    int r;

    while ((r = next_field(&message, &field)) == 1) {
        r = is(&field, number, BYTES) ? each(arg, field.bytes) : 0;
        if (r != 0)
            return r;
    }
    return r;
}

/* ---- attributes ---- */

enum { VALUE_STRING = 1, VALUE_BOOL, VALUE_INT, VALUE_DOUBLE };

/* 1: a value that is kept; 0: another. */
static int read_value(struct str message, struct otlp_pair *pair)
{
    struct field field;
    int r, known = 0;

    while ((r = next_field(&message, &field)) == 1) {
        if (is(&field, VALUE_STRING, BYTES)) {
            pair->kind = OTLP_STRING;
            pair->string = field.bytes;
        } else if (is(&field, VALUE_BOOL, VARINT) || is(&field, VALUE_INT, VARINT)) {
            pair->kind = field.number == VALUE_BOOL ? OTLP_BOOL : OTLP_INTEGER;
            pair->integer = field.number == VALUE_BOOL ? field.integer != 0 : (int64_t)field.integer;
        } else if (is(&field, VALUE_DOUBLE, FIXED64)) {
            pair->kind = OTLP_DOUBLE;
            pair->number = as_double(field.integer);
        } else {
            continue;
        }
        known = 1;
    }
    return r < 0 ? r : known;
}

static int read_pair(void *arg, struct str message)
{
    struct otlp_pairs *pairs = arg;
    struct otlp_pair pair = {.key = STR_NULL};
    struct field field;
    int r, known = 0;

    while ((r = next_field(&message, &field)) == 1) {
        if (is(&field, 1, BYTES))
            pair.key = field.bytes;
        else if (is(&field, 2, BYTES) && (known = read_value(field.bytes, &pair)) < 0)
            return known;
    }
    if (r == 0 && known == 1 && pair.key.len > 0 && pairs->count < OTLP_MAX_PAIRS)
        pairs->list[pairs->count++] = pair;
    return r;
}

const struct otlp_pair *otlp_pair_find(const struct otlp_pairs *pairs, struct str key)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_eq(pairs->list[i].key, key))
            return &pairs->list[i];
    return NULL;
}

struct str otlp_pair_string(const struct otlp_pairs *pairs, struct str key)
{
    const struct otlp_pair *pair = otlp_pair_find(pairs, key);

    return pair != NULL && pair->kind == OTLP_STRING ? pair->string : STR_NULL;
}

/* ---- resources ---- */

static int read_attributes(void *arg, struct str message)
{
    return each_bytes(message, 1, read_pair, arg);
}

int otlp_read_resource(struct str resource, struct otlp_pairs *ret_attributes)
{
    ret_attributes->count = 0;
    return each_bytes(resource, 1, read_attributes, ret_attributes);
}

struct items {
    int (*each)(void *arg, struct str item);
    void *arg;
};

static int read_scope(void *arg, struct str message)
{
    const struct items *items = arg;

    return each_bytes(message, 2, items->each, items->arg);
}

int otlp_each_item(struct str resource, int (*each)(void *arg, struct str item), void *arg)
{
    return each_bytes(resource, 2, read_scope, &(struct items){each, arg});
}

/* ---- spans ---- */

static int read_status(struct str message, struct otlp_span_view *span)
{
    struct field field;
    int r;

    while ((r = next_field(&message, &field)) == 1) {
        if (is(&field, 2, BYTES))
            span->message = field.bytes;
        else if (is(&field, 3, VARINT))
            span->failed = field.integer == 2;
    }
    return r;
}

static int read_span_field(const struct field *field, struct otlp_span_view *span)
{
    switch (field->number << 3 | field->type) {
    case 1 << 3 | BYTES:
        span->trace_id = field->bytes;
        break;
    case 2 << 3 | BYTES:
        span->span_id = field->bytes;
        break;
    case 4 << 3 | BYTES:
        span->parent_id = field->bytes;
        break;
    case 5 << 3 | BYTES:
        span->name = field->bytes;
        break;
    case 6 << 3 | VARINT:
        span->kind = field->integer;
        break;
    case 7 << 3 | FIXED64:
        span->start_ns = field->integer;
        break;
    case 8 << 3 | FIXED64:
        span->end_ns = field->integer;
        break;
    case 9 << 3 | BYTES:
        return read_pair(&span->attributes, field->bytes);
    case 15 << 3 | BYTES:
        return read_status(field->bytes, span);
    }
    return 0;
}

int otlp_read_span(struct str item, struct otlp_span_view *ret_span)
{
    struct field field;
    int r;

    memset(ret_span, 0, offsetof(struct otlp_span_view, attributes));
    ret_span->attributes.count = 0;
    while ((r = next_field(&item, &field)) == 1)
        if (read_span_field(&field, ret_span) < 0)
            return -EBADMSG;
    return r;
}

/* ---- log records ---- */

static int read_body(struct str message, struct otlp_record_view *record)
{
    struct otlp_pair value = {.string = STR_NULL};
    int r = read_value(message, &value);

    if (r == 1 && value.kind == OTLP_STRING)
        record->body = value.string;
    return r < 0 ? r : 0;
}

static int read_record_field(const struct field *field, struct otlp_record_view *record)
{
    switch (field->number << 3 | field->type) {
    case 1 << 3 | FIXED64:
        record->time_ns = field->integer != 0 ? field->integer : record->time_ns;
        break;
    case 2 << 3 | VARINT:
        record->severity = field->integer;
        break;
    case 5 << 3 | BYTES:
        return read_body(field->bytes, record);
    case 6 << 3 | BYTES:
        return read_pair(&record->attributes, field->bytes);
    case 9 << 3 | BYTES:
        record->trace_id = field->bytes;
        break;
    case 10 << 3 | BYTES:
        record->span_id = field->bytes;
        break;
    case 11 << 3 | FIXED64:
        record->time_ns = record->time_ns == 0 ? field->integer : record->time_ns;
        break;
    }
    return 0;
}

int otlp_read_record(struct str item, struct otlp_record_view *ret_record)
{
    struct field field;
    int r;

    memset(ret_record, 0, offsetof(struct otlp_record_view, attributes));
    ret_record->attributes.count = 0;
    while ((r = next_field(&item, &field)) == 1)
        if (read_record_field(&field, ret_record) < 0)
            return -EBADMSG;
    return r;
}

/* ---- metrics ---- */

int otlp_read_metric(struct str item, struct otlp_metric_view *ret_metric)
{
    struct field field;
    int r;

    *ret_metric = (struct otlp_metric_view){.kind = OTLP_OTHER};
    while ((r = next_field(&item, &field)) == 1) {
        if (is(&field, 1, BYTES))
            ret_metric->name = field.bytes;
        else if (is(&field, 5, BYTES) || is(&field, 7, BYTES) || is(&field, 9, BYTES)) {
            ret_metric->kind = field.number == 5 ? OTLP_GAUGE : field.number == 7 ? OTLP_SUM : OTLP_HISTOGRAM;
            ret_metric->data = field.bytes;
        }
    }
    for (struct str rest = ret_metric->data; r == 0 && next_field(&rest, &field) == 1;)
        if (is(&field, 2, VARINT))
            ret_metric->delta = field.integer == 1;
    return r;
}

static int read_number(struct str message, struct otlp_point_view *point)
{
    struct field field;
    int r;

    while ((r = next_field(&message, &field)) == 1) {
        if (is(&field, 7, BYTES) && read_pair(&point->attributes, field.bytes) < 0)
            return -EBADMSG;
        if (is(&field, 3, FIXED64))
            point->time_ns = field.integer;
        else if (is(&field, 4, FIXED64))
            point->value = as_double(field.integer);
        else if (is(&field, 6, FIXED64))
            point->value = (double)(int64_t)field.integer;
    }
    return r;
}

/* Packed, or one a field. */
static void read_buckets(struct str bytes, struct otlp_point_view *point, size_t *count)
{
    for (; bytes.len >= 8; bytes = (struct str){bytes.s + 8, bytes.len - 8}) {
        size_t at = *count < OTLP_MAX_BUCKETS ? *count : OTLP_MAX_BUCKETS;

        point->buckets[at] += little_endian((struct str){bytes.s, 8});
        (*count)++;
    }
}

static void read_bounds(struct str bytes, struct otlp_point_view *point)
{
    for (; bytes.len >= 8 && point->bound_count < OTLP_MAX_BUCKETS; bytes = (struct str){bytes.s + 8, bytes.len - 8})
        point->bounds[point->bound_count++] = as_double(little_endian((struct str){bytes.s, 8}));
}

static int read_histogram(struct str message, struct otlp_point_view *point)
{
    struct field field;
    size_t buckets = 0;
    int r;

    while ((r = next_field(&message, &field)) == 1) {
        if (is(&field, 9, BYTES) && read_pair(&point->attributes, field.bytes) < 0)
            return -EBADMSG;
        if (is(&field, 3, FIXED64))
            point->time_ns = field.integer;
        else if (is(&field, 5, FIXED64))
            point->value = as_double(field.integer);
        else if (field.number == 6 && (field.type == BYTES || field.type == FIXED64))
            read_buckets(field.bytes, point, &buckets);
        else if (field.number == 7 && (field.type == BYTES || field.type == FIXED64))
            read_bounds(field.bytes, point);
    }
    return r;
}

struct points {
    bool is_histogram;
    int (*each)(void *arg, const struct otlp_point_view *point);
    void *arg;
};

static int read_point(void *arg, struct str message)
{
    const struct points *points = arg;
    struct otlp_point_view point;
    int r;

    memset(&point, 0, offsetof(struct otlp_point_view, attributes));
    point.attributes.count = 0;
    r = points->is_histogram ? read_histogram(message, &point) : read_number(message, &point);
    return r < 0 ? r : points->each(points->arg, &point);
}

int otlp_each_point(const struct otlp_metric_view *metric, int (*each)(void *arg, const struct otlp_point_view *point),
                    void *arg)
{
    struct points points = {metric->kind == OTLP_HISTOGRAM, each, arg};

    return metric->kind == OTLP_OTHER ? 0 : each_bytes(metric->data, 1, read_point, &points);
}
