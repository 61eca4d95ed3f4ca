/* What the messages of all signals are made of: texts, attributes, items and requests. */
#include "otlp_internal.h"
#include "varint.h"
#include <assert.h>
#include <stdlib.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest request_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ResourceSpans resource_spans_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__ScopeSpans scope_spans_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__InstrumentationScope scope_message;
typedef Opentelemetry__Proto__Collector__Trace__V1__Resource resource_message;

ProtobufCBinaryData otlp_bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
}

ProtobufCBinaryData otlp_cstr(const char *text)
{
    return otlp_bytes(text, strlen(text));
}

/* ---- text ---- */

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
static struct str as_ascii(struct str text, struct otlp_scratch *scratch)
{
    char *to = scratch->bytes + scratch->used;

    if (text.len > sizeof(scratch->bytes) - scratch->used)
        text.len = sizeof(scratch->bytes) - scratch->used;
    for (size_t i = 0; i < text.len; i++)
        to[i] = (unsigned char)text.s[i] < 0x80 ? text.s[i] : '?';
    scratch->used += text.len;
    return (struct str){to, text.len};
}

ProtobufCBinaryData otlp_text(struct str text, struct otlp_scratch *scratch)
{
    size_t code_points;

    text = cut(text, scratch->max_text);
    if (str_utf8_length(text, &code_points) != 0)
        text = as_ascii(text, scratch);
    return otlp_bytes(text.s, text.len);
}

/* ---- attributes ---- */

static otlp_any_value *add_pair(struct otlp_pairs *pairs, const char *key)
{
    size_t i = pairs->count++;

    assert(i < OTLP_MAX_PAIRS);
    opentelemetry__proto__collector__trace__v1__any_value__init(&pairs->values[i]);
    pairs->pairs[i] = (otlp_key_value)OTLP_INIT(KEY_VALUE);
    pairs->pairs[i].key = otlp_cstr(key);
    pairs->pairs[i].value = &pairs->values[i];
    pairs->list[i] = &pairs->pairs[i];
    return &pairs->values[i];
}

void otlp_any_string(otlp_any_value *value, ProtobufCBinaryData string)
{
    opentelemetry__proto__collector__trace__v1__any_value__init(value);
    value->value_case = OTLP_VALUE_CASE(STRING);
    value->string_value = string;
}

void otlp_add_string(struct otlp_pairs *pairs, const char *key, ProtobufCBinaryData value)
{
    otlp_any_string(add_pair(pairs, key), value);
}

void otlp_add_integer(struct otlp_pairs *pairs, const char *key, int64_t value)
{
    otlp_any_value *any = add_pair(pairs, key);

    any->value_case = OTLP_VALUE_CASE(INT);
    any->int_value = value;
}

void otlp_add_bool(struct otlp_pairs *pairs, const char *key, bool value)
{
    otlp_any_value *any = add_pair(pairs, key);

    any->value_case = OTLP_VALUE_CASE(BOOL);
    any->bool_value = value;
}

/* ---- items ---- */

struct otlp_item *otlp_item_pack(const ProtobufCMessage *message, uint64_t count, size_t max_len)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    struct otlp_item *item = len <= max_len ? malloc(sizeof(*item) + len) : NULL;

    if (item == NULL)
        return NULL;
    item->next = NULL;
    item->count = count;
    item->len = protobuf_c_message_pack(message, item->bytes);
    assert(item->len == len);
    return item;
}

ProtobufCBinaryData *otlp_item_array(const struct otlp_item *items, size_t count)
{
    ProtobufCBinaryData *list = calloc(count, sizeof(*list));

    for (size_t i = 0; i < count && list != NULL; i++, items = items->next)
        list[i] = otlp_bytes(items->bytes, items->len);
    return list;
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

/* Keys of the resource are not terminated. */
static void add_resource(struct otlp_pairs *pairs, const struct otlp_resource *resource)
{
    for (size_t i = 0; i < resource->count; i++) {
        struct str key = resource->attributes[i].key, value = resource->attributes[i].value;

        otlp_add_string(pairs, "", otlp_bytes(value.s, value.len));
        pairs->pairs[i].key = otlp_bytes(key.s, key.len);
    }
}

void otlp_request_pack(const struct otlp_resource *resource, const struct otlp_item *items, size_t count,
                       struct buf *out)
{
    ProtobufCBinaryData *list = otlp_item_array(items, count);
    scope_message scope = OTLP_INIT(INSTRUMENTATION_SCOPE);
    scope_spans_message scope_spans = OTLP_INIT(SCOPE_SPANS), *scope_list[] = {&scope_spans};
    resource_message resource_part = OTLP_INIT(RESOURCE);
    resource_spans_message resource_spans = OTLP_INIT(RESOURCE_SPANS), *resource_list[] = {&resource_spans};
    request_message request = OTLP_INIT(EXPORT_TRACE_SERVICE_REQUEST);
    struct otlp_pairs pairs = {.count = 0};

    if (list == NULL) {
        out->failed = true;
        return;
    }
    add_resource(&pairs, resource);
    resource_part.attributes = pairs.list;
    resource_part.n_attributes = pairs.count;
    scope.name = otlp_cstr("slipway");
    scope.version = otlp_cstr(SLIPWAY_VERSION);
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
#define REJECTED        (1 << 3 | 0)

uint64_t otlp_response_rejected(struct str response)
{
    uint64_t tag, len, rejected;
    struct str partial;

    if (!varint_take(&response, &tag) || tag != PARTIAL_SUCCESS || !varint_take(&response, &len) ||
        !varint_take_bytes(&response, len, &partial) || !varint_take(&partial, &tag) || tag != REJECTED ||
        !varint_take(&partial, &rejected))
        return 0;
    return rejected;
}
