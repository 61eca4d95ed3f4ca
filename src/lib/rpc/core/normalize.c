/* Messages that are valid and that protobuf-c does not decode as the specification says: it fails at unknown groups and
 * at known fields of another wire type, which are to be skipped, and of a sub-message that comes in parts it takes the
 * last alone where proto3's fields tell it nothing of their presence, while the parts are to be merged. Such messages
 * are written anew without these before they are unpacked; parts are merged by putting them one after the other, which
 * is how the specification defines it. No client that we know sends any of this, so that it need not be fast. */
#include "rpc_fields.h"
#include <errno.h>

/* A part of a message in a oneof is lost where another of its fields comes after it. */
static bool replaces(const ProtobufCFieldDescriptor *other, const ProtobufCFieldDescriptor *known)
{
    return other != NULL && other != known && (known->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
           (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && other->quantifier_offset == known->quantifier_offset;
}

/* Whether the field comes once more. */
static bool comes_again(struct str rest, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *known)
{
    struct rpc_wire_field field;

    while (rest.len > 0 && rpc_fields_next(&rest, &field))
        if (rpc_fields_known(type, &field) == known)
            return true;
    return false;
}

static bool is_message(struct str bytes)
{
    struct rpc_wire_field field;

    while (bytes.len > 0)
        if (!rpc_fields_next(&bytes, &field))
            return false;
    return true;
}

/* All parts up to end, one after the other. */
static int merge_parts(struct str bytes, const char *end, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *known, struct buf *to)
{
    struct rpc_wire_field field;

    while (bytes.s < end && rpc_fields_next(&bytes, &field)) {
        const ProtobufCFieldDescriptor *other = rpc_fields_known(type, &field);

        if (other == known && !is_message(field.contents))
            return -EBADMSG;
        if (replaces(other, known))
            to->len = 0;
        else if (other == known)
            buf_append_str(to, field.contents);
    }
    return buf_error(to);
}

static void append_varint(struct buf *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_char(to, (char)(value | 0x80));
    buf_append_char(to, (char)value);
}

static int append_message(struct buf *to, uint64_t number, struct str contents, const ProtobufCMessageDescriptor *type)
{
    struct buf inner = {0};
    int err = rpc_normalize(contents, type, &inner);

    append_varint(to, number << 3 | RPC_WIRE_BYTES);
    append_varint(to, inner.len);
    buf_append_str(to, buf_str(&inner));
    buf_release(&inner);
    return err;
}

/* Of a single message, whose last part field is. */
static int append_merged(struct buf *to, struct str bytes, const struct rpc_wire_field *field,
                         const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *known)
{
    struct buf parts = {0};
    int err = merge_parts(bytes, field->whole.s + field->whole.len, type, known, &parts);

    if (err == 0)
        err = append_message(to, field->number, buf_str(&parts), known->descriptor);
    buf_release(&parts);
    return err;
}

int rpc_normalize(struct str bytes, const ProtobufCMessageDescriptor *type, struct buf *to)
{
    struct str rest = bytes;
    struct rpc_wire_field field;
    int err = 0;

    while (rest.len > 0 && err == 0) {
        const ProtobufCFieldDescriptor *known;

        if (!rpc_fields_next(&rest, &field))
            return -EBADMSG;
        known = rpc_fields_known(type, &field);
        if (known != NULL && rpc_fields_is_single_message(known)) {
            if (!comes_again(rest, type, known))
                err = append_merged(to, bytes, &field, type, known);
        } else if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE) {
            err = append_message(to, field.number, field.contents, known->descriptor);
        } else if (known != NULL) {
            buf_append_str(to, field.whole);
        }
    }
    return err != 0 ? err : buf_error(to);
}
