#include "rpc_fields.h"
#include "varint.h"

#define GROUP_END  4
#define MAX_GROUPS 100 /* in each other, as protobuf's own decoders have it */

static bool skip(struct str *bytes, uint64_t len)
{
    struct str skipped;

    return varint_take_bytes(bytes, len, &skipped);
}

/* What follows a tag, of any wire type but groups'. */
static bool skip_value(struct str *bytes, unsigned wire)
{
    uint64_t value;

    switch (wire) {
    case RPC_WIRE_VARINT:
        return varint_take(bytes, &value);
    case RPC_WIRE_64BIT:
        return skip(bytes, 8);
    case RPC_WIRE_BYTES:
        return varint_take(bytes, &value) && skip(bytes, value);
    case RPC_WIRE_32BIT:
        return skip(bytes, 4);
    default:
        return false;
    }
}

/* All to the end of the group that has begun. Groups in it end in their order. */
static bool skip_group(struct str *bytes, uint64_t number)
{
    uint64_t open[MAX_GROUPS] = {number}, tag;
    unsigned depth = 1;

    while (depth > 0) {
        if (!varint_take(bytes, &tag))
            return false;
        if ((tag & 7) == RPC_WIRE_GROUP && depth < MAX_GROUPS)
            open[depth++] = tag >> 3;
        else if ((tag & 7) == GROUP_END && open[depth - 1] == tag >> 3)
            depth--;
        else if (!skip_value(bytes, tag & 7))
            return false;
    }
    return true;
}

bool rpc_fields_next(struct str *bytes, struct rpc_wire_field *ret_field)
{
    const char *begin = bytes->s;
    uint64_t tag, len;

    if (!varint_take(bytes, &tag) || tag >> 3 == 0)
        return false;
    *ret_field = (struct rpc_wire_field){.number = tag >> 3, .wire = (enum rpc_wire)(tag & 7)};
    if (ret_field->wire == RPC_WIRE_BYTES) {
        if (!varint_take(bytes, &len) || !varint_take_bytes(bytes, len, &ret_field->contents))
            return false;
    } else if (ret_field->wire == RPC_WIRE_GROUP ? !skip_group(bytes, ret_field->number)
                                                 : !skip_value(bytes, ret_field->wire)) {
        return false;
    }
    ret_field->whole = (struct str){begin, (size_t)(bytes->s - begin)};
    return true;
}

static enum rpc_wire wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return RPC_WIRE_32BIT;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return RPC_WIRE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return RPC_WIRE_BYTES;
    default:
        return RPC_WIRE_VARINT;
    }
}

const ProtobufCFieldDescriptor *rpc_fields_known(const ProtobufCMessageDescriptor *type,
                                                 const struct rpc_wire_field *field)
{
    const ProtobufCFieldDescriptor *known =
        field->number <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(type, (unsigned)field->number) : NULL;

    if (known == NULL)
        return NULL;
    if (field->wire == wire_of(known->type))
        return known;
    /* Several numbers may be packed. */
    return field->wire == RPC_WIRE_BYTES && known->label == PROTOBUF_C_LABEL_REPEATED ? known : NULL;
}
