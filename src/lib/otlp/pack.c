/* The messages of otlp_trace.proto, packed. */
#include "clock.h"
#include "hex.h"
#include "otlp_internal.h"
#include "uuid.h"
#include "varint.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest request_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ResourceSpans resource_spans_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ScopeSpans scope_spans_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__InstrumentationScope scope_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Resource resource_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Span span_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Status status_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__KeyValue key_value_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__AnyValue any_value_message;
#define INIT(name_)       OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##name_##__INIT
#define VALUE_CASE(name_) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__ANY_VALUE__VALUE_##name_##_VALUE

#define MAX_TEXT     512 /* bytes of a name or value; the rest is cut off */
#define STATUS_ERROR 2
#define SAMPLED      1

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
}

/* ---- text ---- */

/* Where texts that are not as they must be are put right. */
struct scratch {
    size_t used;
    char bytes[2048];
};

/* Not within a character. */
static struct str cut(struct str text, size_t max)
{
    if (text.len <= max)
        return text;
    while (max > 0 && ((unsigned char)text.s[max] & 0xc0) == 0x80)
        max--;
    return (struct str){text.s, max};
}

/* Collectors refuse a whole batch for one string that is not UTF-8: of such a text, only ASCII stays. */
static struct str as_ascii(struct str text, struct scratch *scratch)
{
    char *to = scratch->bytes + scratch->used;

    if (text.len > sizeof(scratch->bytes) - scratch->used)
        text.len = sizeof(scratch->bytes) - scratch->used;
    for (size_t i = 0; i < text.len; i++)
        to[i] = (unsigned char)text.s[i] < 0x80 ? text.s[i] : '?';
    scratch->used += text.len;
    return (struct str){to, text.len};
}

static ProtobufCBinaryData text_of(struct str text, struct scratch *scratch)
{
    size_t code_points;

    text = cut(text, MAX_TEXT);
    if (str_utf8_length(text, &code_points) != 0)
        text = as_ascii(text, scratch);
    return bytes_of(text.s, text.len);
}

/* ---- attributes ---- */

struct pairs {
    size_t count;
    key_value_message *list[OTLP_MAX_RESOURCE];
    key_value_message pairs[OTLP_MAX_RESOURCE];
    any_value_message values[OTLP_MAX_RESOURCE];
};

_Static_assert(SPAN_MAX_ATTRIBUTES <= OTLP_MAX_RESOURCE, "struct pairs is for both");

static any_value_message *add_pair(struct pairs *pairs, ProtobufCBinaryData key)
{
    size_t i = pairs->count++;

    assert(i < OTLP_MAX_RESOURCE);
    opentelemetry__proto__collector__trace__v1__any_value__init(&pairs->values[i]);
    pairs->pairs[i] = (key_value_message)INIT(KEY_VALUE);
    pairs->pairs[i].key = key;
    pairs->pairs[i].value = &pairs->values[i];
    pairs->list[i] = &pairs->pairs[i];
    return &pairs->values[i];
}

static void add_string(struct pairs *pairs, struct str key, ProtobufCBinaryData value)
{
    any_value_message *any = add_pair(pairs, bytes_of(key.s, key.len));

    any->value_case = VALUE_CASE(STRING);
    any->string_value = value;
}

static void add_attribute(struct pairs *pairs, const struct span_attribute *attribute, struct scratch *scratch)
{
    struct str key = str_of(attribute->key);
    any_value_message *any;

    if (attribute->kind == SPAN_STRING) {
        if (attribute->string.len > 0)
            add_string(pairs, key, text_of(attribute->string, scratch));
        return;
    }
    any = add_pair(pairs, bytes_of(key.s, key.len));
    any->value_case = VALUE_CASE(INT);
    any->int_value = attribute->integer;
}

/* ---- spans ---- */

static void fill_span(const struct span *span, span_message *message, struct scratch *scratch)
{
    const struct trace *trace = span->trace;

    message->trace_id = bytes_of(trace->trace_id, sizeof(trace->trace_id));
    message->span_id = bytes_of(trace->span_id, sizeof(trace->span_id));
    if (trace_has_parent(trace))
        message->parent_span_id = bytes_of(trace->parent_id, sizeof(trace->parent_id));
    if (trace->state.len <= MAX_TEXT) /* a part of it would be another state */
        message->trace_state = text_of(trace->state, scratch);
    message->name = text_of(span->name, scratch);
    message->kind = span->kind;
    message->end_time_unix_nano = clock_realtime_ns();
    message->start_time_unix_nano = message->end_time_unix_nano - span->duration_ns;
    message->flags = SAMPLED;
}

static struct otlp_span *pack_span(const span_message *message)
{
    size_t len = protobuf_c_message_get_packed_size(&message->base);
    struct otlp_span *packed = len <= OTLP_MAX_SPAN ? malloc(sizeof(*packed) + len) : NULL;

    if (packed == NULL)
        return NULL;
    packed->next = NULL;
    packed->len = protobuf_c_message_pack(&message->base, packed->bytes);
    assert(packed->len == len);
    return packed;
}

struct otlp_span *otlp_span_pack(const struct span *span)
{
    span_message message = INIT(SPAN);
    status_message status = INIT(STATUS);
    struct scratch scratch;
    struct pairs pairs;

    assert(span->attribute_count <= SPAN_MAX_ATTRIBUTES);
    scratch.used = 0;
    pairs.count = 0;
    fill_span(span, &message, &scratch);
    for (size_t i = 0; i < span->attribute_count; i++)
        add_attribute(&pairs, &span->attributes[i], &scratch);
    message.attributes = pairs.list;
    message.n_attributes = pairs.count;
    if (span->failed) {
        status.code = STATUS_ERROR;
        status.message = text_of(span->error, &scratch);
        message.status = &status;
    }
    return pack_span(&message);
}

/* ---- the resource ---- */

/* In place. */
static int percent_decode(struct str *text)
{
    char *to = (char *)text->s;
    size_t len = 0;

    for (size_t i = 0; i < text->len; i++) {
        char c = text->s[i];

        if (c == '%') {
            int byte = i + 2 < text->len ? hex_byte(text->s + i + 1) : -1;

            if (byte < 0)
                return -EINVAL;
            c = (char)byte;
            i += 2;
        }
        to[len++] = c;
    }
    text->len = len;
    return 0;
}

/* Replaces one of the same key. */
static int add_resource(struct otlp_resource *resource, struct str key, struct str value)
{
    size_t at = 0;

    while (at < resource->count && !str_eq(resource->attributes[at].key, key))
        at++;
    if (at == OTLP_MAX_RESOURCE)
        return -EINVAL;
    resource->count = at == resource->count ? at + 1 : resource->count;
    resource->attributes[at].key = key;
    resource->attributes[at].value = value;
    return 0;
}

static int parse_attribute(struct otlp_resource *resource, struct str text)
{
    struct str key, value = text;
    size_t code_points;

    str_next(&value, '=', &key);
    if (value.s == NULL)
        return -EINVAL;
    key = str_trim(key);
    value = str_trim(value);
    if (key.len == 0 || percent_decode(&value) != 0 || str_utf8_length(key, &code_points) != 0 ||
        str_utf8_length(value, &code_points) != 0)
        return -EINVAL;
    return add_resource(resource, key, value);
}

static int parse_list(struct otlp_resource *resource, struct str list)
{
    struct str item;
    int r = 0;

    while (r == 0 && str_next(&list, ',', &item))
        if (str_trim(item).len > 0)
            r = parse_attribute(resource, item);
    return r;
}

/* What the list says replaces what is said of every service. */
int otlp_resource_open(const char *service, const char *list, struct otlp_resource *ret_resource)
{
    struct otlp_resource resource = {.count = 0};
    size_t service_len = strlen(service), list_len = list != NULL ? strlen(list) : 0;
    struct uuid id;
    char *at;
    int r = uuid_new(&id);

    if (r != 0)
        return r;
    resource.text = at = malloc(service_len + list_len + UUID_TEXT_LEN + 1);
    if (at == NULL)
        return -ENOMEM;
    uuid_format(&id, at);
    memcpy(at + UUID_TEXT_LEN, service, service_len);
    if (list_len > 0)
        memcpy(at + UUID_TEXT_LEN + service_len, list, list_len);
    add_resource(&resource, STR("service.name"), (struct str){at + UUID_TEXT_LEN, service_len});
    add_resource(&resource, STR("service.version"), STR(SLIPWAY_VERSION));
    add_resource(&resource, STR("service.instance.id"), (struct str){at, UUID_TEXT_LEN});
    add_resource(&resource, STR("telemetry.sdk.name"), STR("slipway"));
    add_resource(&resource, STR("telemetry.sdk.language"), STR("c"));
    add_resource(&resource, STR("telemetry.sdk.version"), STR(SLIPWAY_VERSION));
    r = parse_list(&resource, (struct str){at + UUID_TEXT_LEN + service_len, list_len});
    if (r != 0)
        otlp_resource_release(&resource);
    else
        *ret_resource = resource;
    return r;
}

/* A token of HTTP, in lower case as HTTP/2 wants it. */
static bool make_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char *c = (char *)name.s + i;

        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
        if ((*c < 'a' || *c > 'z') && (*c < '0' || *c > '9') && strchr("!#$%&'*+-.^_`|~", *c) == NULL)
            return false;
    }
    return name.len > 0;
}

static bool is_visible(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.s[i] < ' ' || value.s[i] > '~')
            return false;
    return true;
}

int otlp_headers_open(const char *list, struct otlp_resource *ret_headers)
{
    struct otlp_resource headers = {.text = strdup(list != NULL ? list : "")};
    int r = headers.text != NULL ? parse_list(&headers, str_of(headers.text)) : -ENOMEM;

    for (size_t i = 0; i < headers.count && r == 0; i++)
        if (!make_name(headers.attributes[i].key) || !is_visible(headers.attributes[i].value))
            r = -EINVAL;
    if (r != 0)
        otlp_resource_release(&headers);
    else
        *ret_headers = headers;
    return r;
}

const char *otlp_check_headers(const char *list)
{
    struct otlp_resource headers;
    int r = otlp_headers_open(list, &headers);

    if (r == 0)
        otlp_resource_release(&headers);
    return r == -EINVAL ? "must be NAME=VALUE,..., percent-encoded, 32 at most" : NULL;
}

void otlp_resource_release(struct otlp_resource *resource)
{
    free(resource->text);
    resource->text = NULL;
}

const char *otlp_check_resource(const char *list)
{
    struct otlp_resource resource;
    int r = otlp_resource_open("", list, &resource);

    if (r == 0)
        otlp_resource_release(&resource);
    return r == -EINVAL ? "must be KEY=VALUE,..., percent-encoded, 26 at most" : NULL;
}

/* ---- requests and responses ---- */

static void append_message(const ProtobufCMessage *message, struct buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *to = (uint8_t *)buf_reserve(out, OTLP_GRPC_PREFIX + len);

    if (to == NULL)
        return;
    *to++ = 0; /* not compressed */
    for (unsigned i = 4; i-- > 0;)
        *to++ = (uint8_t)(len >> (8 * i));
    out->len += OTLP_GRPC_PREFIX + protobuf_c_message_pack(message, to);
}

void otlp_request_pack(const struct otlp_resource *resource, const struct otlp_span *spans, size_t count,
                       struct buf *out)
{
    ProtobufCBinaryData *list = calloc(count, sizeof(*list));
    scope_message scope = INIT(INSTRUMENTATION_SCOPE);
    scope_spans_message scope_spans = INIT(SCOPE_SPANS), *scope_list[] = {&scope_spans};
    resource_message resource_part = INIT(RESOURCE);
    resource_spans_message resource_spans = INIT(RESOURCE_SPANS), *resource_list[] = {&resource_spans};
    request_message request = INIT(EXPORT_TRACE_SERVICE_REQUEST);
    struct pairs pairs = {.count = 0};

    if (list == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++, spans = spans->next)
        list[i] = bytes_of(spans->bytes, spans->len);
    for (size_t i = 0; i < resource->count; i++)
        add_string(&pairs, resource->attributes[i].key,
                   bytes_of(resource->attributes[i].value.s, resource->attributes[i].value.len));
    resource_part.attributes = pairs.list;
    resource_part.n_attributes = pairs.count;
    scope.name = bytes_of("slipway", strlen("slipway"));
    scope.version = bytes_of(SLIPWAY_VERSION, strlen(SLIPWAY_VERSION));
    scope_spans.scope = &scope;
    scope_spans.spans = list;
    scope_spans.n_spans = count;
    resource_spans.resource = &resource_part;
    resource_spans.scope_spans = scope_list;
    resource_spans.n_scope_spans = 1;
    request.resource_spans = resource_list;
    request.n_resource_spans = 1;
    append_message(&request.base, out);
    free(list);
}

#define PARTIAL_SUCCESS (1 << 3 | 2) /* tags: field 1 of a response, and field 1 of that */
#define REJECTED_SPANS  (1 << 3 | 0)

uint64_t otlp_response_rejected(struct str response)
{
    uint64_t tag, len, rejected;
    struct str partial;

    if (!varint_take(&response, &tag) || tag != PARTIAL_SUCCESS || !varint_take(&response, &len) ||
        !varint_take_bytes(&response, len, &partial) || !varint_take(&partial, &tag) || tag != REJECTED_SPANS ||
        !varint_take(&partial, &rejected))
        return 0;
    return rejected;
}
