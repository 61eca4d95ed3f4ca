/* protobuf-c gives a string as a C string: of one with a NUL in it only the beginning would be seen, and the rest lost
 * without a word. So the bytes of a message are searched for such strings before they are unpacked. */
#include "rpc_core.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

/* Takes len bytes off the front. */
static bool take(struct str *bytes, uint64_t len, struct str *ret_taken)
{
    if (len > bytes->len)
        return false;
    *ret_taken = (struct str){bytes->s, (size_t)len};
    bytes->s += len;
    bytes->len -= (size_t)len;
    return true;
}

static bool take_varint(struct str *bytes, uint64_t *ret_value)
{
    struct str byte;
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (!take(bytes, 1, &byte))
            return false;
        value |= (uint64_t)(*byte.s & 0x7f) << shift;
        if (!(*byte.s & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The contents of the next field; ret_tag is its number and wire type. */
static bool take_field(struct str *bytes, uint64_t *ret_tag, struct str *ret_contents)
{
    uint64_t len;

    if (!take_varint(bytes, ret_tag))
        return false;
    switch ((enum wire_type)(*ret_tag & 7)) {
    case WIRE_VARINT:
        *ret_contents = STR_NULL;
        return take_varint(bytes, &len);
    case WIRE_64BIT:
        return take(bytes, 8, ret_contents);
    case WIRE_BYTES:
        return take_varint(bytes, &len) && take(bytes, len, ret_contents);
    case WIRE_32BIT:
        return take(bytes, 4, ret_contents);
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
