/* protobuf-c gives a string as a C string: of one with a NUL in it only the beginning would be seen, and the rest lost
 * without a word. So the bytes of a message are searched for such strings before they are unpacked. */
#include "rpc_core.h"
#include "varint.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

/* The contents of the next field; ret_tag is its number and wire type. */
static bool take_field(struct str *bytes, uint64_t *ret_tag, struct str *ret_contents)
{
    uint64_t len;

    if (!varint_take(bytes, ret_tag))
        return false;
    switch ((enum wire_type)(*ret_tag & 7)) {
    case WIRE_VARINT:
        *ret_contents = STR_NULL;
        return varint_take(bytes, &len);
    case WIRE_64BIT:
        return varint_take_bytes(bytes, 8, ret_contents);
    case WIRE_BYTES:
        return varint_take(bytes, &len) && varint_take_bytes(bytes, len, ret_contents);
    case WIRE_32BIT:
        return varint_take_bytes(bytes, 4, ret_contents);
    }
    return false; /* groups: protobuf-c knows none */
}

bool rpc_text_whole(struct str bytes, const ProtobufCMessageDescriptor *type, unsigned max_depth)
{
    while (bytes.len > 0) {
        const ProtobufCFieldDescriptor *field;
        struct str contents;
        uint64_t tag;

        if (!take_field(&bytes, &tag, &contents))
            return true; /* no message at all, which unpacking finds */
        if ((tag & 7) != WIRE_BYTES || tag >> 3 > UINT32_MAX)
            continue;
        field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (field == NULL)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING && contents.len > 0 && memchr(contents.s, '\0', contents.len))
            return false;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (max_depth == 0 || !rpc_text_whole(contents, field->descriptor, max_depth - 1)))
            return false;
    }
    return true;
}
