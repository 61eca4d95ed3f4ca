/* Packs messages in one pass. protobuf-c goes over a message twice, to measure and to pack it, which is most of the CPU
 * time of a stream of short messages. What most messages consist of is packed here, and bounds are checked on the way;
 * where a message has anything else, the whole of it is left to protobuf-c. */
#include "rpc_server_internal.h"

#define MAX_VARINT 10
#define MAX_TAG    5

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

/* at is NULL once something did not fit, or is left to protobuf-c. */
struct packing {
    uint8_t *at, *end;
};

static bool has_room(struct packing *packing, size_t size)
{
    if (packing->at != NULL && (size_t)(packing->end - packing->at) < size)
        packing->at = NULL;
    return packing->at != NULL;
}

static uint8_t *write_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *write_tag(uint8_t *at, const ProtobufCFieldDescriptor *field, enum wire wire)
{
    return write_varint(at, (uint64_t)field->id << 3 | wire);
}

/* Fields of proto3 are left out where they have their default. */
static void put_number(struct packing *packing, const ProtobufCFieldDescriptor *field, uint64_t value)
{
    if (value != 0 && has_room(packing, MAX_TAG + MAX_VARINT))
        packing->at = write_varint(write_tag(packing->at, field, WIRE_VARINT), value);
}

static void put_bytes(struct packing *packing, const ProtobufCFieldDescriptor *field, const void *bytes, size_t len)
{
    if (len == 0 || !has_room(packing, MAX_TAG + MAX_VARINT + len))
        return;
    packing->at = write_varint(write_tag(packing->at, field, WIRE_BYTES), len);
    memcpy(packing->at, bytes, len);
    packing->at += len;
}

static void put_fields(struct packing *packing, const ProtobufCMessage *message);

/* Most are shorter than 128 bytes: their length takes one. */
static void put_message(struct packing *packing, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    uint8_t length[MAX_VARINT], *begin;
    size_t len, more;

    if (!has_room(packing, MAX_TAG + 1))
        return;
    begin = packing->at = write_tag(packing->at, field, WIRE_BYTES) + 1;
    put_fields(packing, message);
    if (!has_room(packing, MAX_VARINT))
        return;
    len = (size_t)(packing->at - begin);
    more = (size_t)(write_varint(length, len) - length) - 1;
    if (more > 0)
        memmove(begin + more, begin, len);
    memcpy(begin - 1, length, more + 1);
    packing->at += more;
}

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static void put_field(struct packing *packing, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *member = (const char *)message + field->offset;
    const ProtobufCBinaryData *data = member;
    const ProtobufCMessage *inner;
    const char *text;

    if (field->label != PROTOBUF_C_LABEL_NONE || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        packing->at = NULL;
        return;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        put_number(packing, field, (uint64_t)(int64_t) * (const int32_t *)member);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        put_number(packing, field, *(const uint32_t *)member);
        break;
    case PROTOBUF_C_TYPE_SINT32:
        put_number(packing, field, (uint32_t)zigzag(*(const int32_t *)member));
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        put_number(packing, field, *(const uint64_t *)member);
        break;
    case PROTOBUF_C_TYPE_SINT64:
        put_number(packing, field, zigzag(*(const int64_t *)member));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        put_number(packing, field, *(const protobuf_c_boolean *)member != 0);
        break;
    case PROTOBUF_C_TYPE_STRING:
        if ((text = *(const char *const *)member) != NULL)
            put_bytes(packing, field, text, strlen(text));
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_bytes(packing, field, data->data, data->len);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        if ((inner = *(const ProtobufCMessage *const *)member) != NULL)
            put_message(packing, field, inner);
        break;
    default: /* fixed length and floating point */
        packing->at = NULL;
    }
}

static void put_fields(struct packing *packing, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    if (message->n_unknown_fields > 0)
        packing->at = NULL;
    for (unsigned i = 0; i < type->n_fields && packing->at != NULL; i++)
        put_field(packing, message, &type->fields[i]);
}

ssize_t rpc_pack_simple(const ProtobufCMessage *message, uint8_t *to, size_t room)
{
    struct packing packing = {to, to + room};

    put_fields(&packing, message);
    return packing.at != NULL ? packing.at - to : -1;
}
