/* protobuf-c gives a string as a C string: of one with a NUL in it only the beginning would be seen, and the rest lost
 * without a word. So the bytes of a message are searched for such strings before they are unpacked, and for what
 * protobuf-c does not decode as Protocol Buffers says: see normalize.c. */
#include "rpc_fields.h"
#include <errno.h>

static bool is_whole(struct str contents)
{
    return contents.len == 0 || memchr(contents.s, '\0', contents.len) == NULL;
}

/* Notes that a single message has come; true where it has come before, or may have. */
static bool came_before(uint64_t *seen, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *known)
{
    size_t index = (size_t)(known - type->fields);
    uint64_t bit = index < 64 ? UINT64_C(1) << index : 0;
    bool before = bit == 0 || (*seen & bit) != 0;

    *seen |= bit;
    return before;
}

int rpc_text_check(struct str bytes, const ProtobufCMessageDescriptor *type, unsigned max_depth, bool *ret_is_plain)
{
    struct rpc_wire_field field;
    uint64_t seen = 0;
    int err;

    while (bytes.len > 0) {
        const ProtobufCFieldDescriptor *known;

        if (!rpc_fields_next(&bytes, &field))
            return -EBADMSG; /* protobuf-c might accept it, and what comes after it */
        known = rpc_fields_known(type, &field);
        if (known == NULL) {
            if (field.wire == RPC_WIRE_GROUP ||
                (field.number <= UINT32_MAX &&
                 protobuf_c_message_descriptor_get_field(type, (unsigned)field.number) != NULL))
                *ret_is_plain = false;
            continue;
        }
        if (known->type == PROTOBUF_C_TYPE_STRING && !is_whole(field.contents))
            return -EILSEQ;
        if (known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        err = max_depth > 0 ? rpc_text_check(field.contents, known->descriptor, max_depth - 1, ret_is_plain) : -EILSEQ;
        if (err < 0)
            return err;
        if (rpc_fields_is_single_message(known) && came_before(&seen, type, known))
            *ret_is_plain = false;
    }
    return 0;
}
