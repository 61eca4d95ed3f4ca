/* Messages as they come from clients, peers and etcd: what is accepted is a message by our own reading of the wire
 * format, has no NUL in its strings, and stays the same when it is packed and unpacked, by protobuf-c and in one pass.
 * The first byte is the type. */
#include "etcd.pb-c.h"
#include "fuzz.h"
#include "health.pb-c.h"
#include "routeguide.pb-c.h"
#include "rpc_fields.h"
#include "rpc_server_internal.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &routeguide__point__descriptor,
    &routeguide__rectangle__descriptor,
    &routeguide__feature__descriptor,
    &routeguide__route_note__descriptor,
    &routeguide__list_saves_request__descriptor,
    &routeguide__list_saves_response__descriptor,
    &etcdserverpb__range_response__descriptor,
    &etcdserverpb__txn_response__descriptor,
    &etcdserverpb__txn_request__descriptor,
    &etcdserverpb__watch_response__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
};

/* To the last byte, also in messages within. */
static bool is_whole(struct str bytes, const ProtobufCMessageDescriptor *type)
{
    struct rpc_wire_field field;

    while (bytes.len > 0) {
        const ProtobufCFieldDescriptor *known;

        if (!rpc_fields_next(&bytes, &field))
            return false;
        known = rpc_fields_known(type, &field);
        if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE && !is_whole(field.contents, known->descriptor))
            return false;
        if (known != NULL && known->type == PROTOBUF_C_TYPE_STRING)
            MUST(field.contents.len == 0 || memchr(field.contents.s, '\0', field.contents.len) == NULL);
    }
    return true;
}

/* In each number of bytes: what does not fit is not written. */
static void check_simple(struct fuzz_memory *memory, const ProtobufCMessage *message, struct str packed)
{
    enum { SPARE = 64 };
    ssize_t len = -1;

    for (size_t room = packed.len > SPARE ? packed.len - SPARE : 0; room <= packed.len + SPARE; room++) {
        uint8_t *bytes = fuzz_alloc(memory, room);
        ssize_t again = rpc_pack_simple(message, bytes, room);

        MUST(again < 0 ? len < 0 : str_eq(packed, (struct str){(const char *)bytes, (size_t)again}));
        len = again;
    }
}

static struct str pack(struct fuzz_memory *memory, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = fuzz_alloc(memory, len);

    MUST(protobuf_c_message_pack(message, bytes) == len);
    check_simple(memory, message, (struct str){(const char *)bytes, len});
    return (struct str){(const char *)bytes, len};
}

static void check_accepted(struct fuzz_memory *memory, struct str bytes, const struct rpc_unpacked *unpacked)
{
    const ProtobufCMessageDescriptor *type = unpacked->message->descriptor;
    struct rpc_unpacked again;
    struct str packed = pack(memory, unpacked->message);

    MUST(is_whole(bytes, type));
    MUST(rpc_unpack_bytes(packed, type, &again) == 0);
    MUST(str_eq(packed, pack(memory, again.message)));
    rpc_unpacked_release(&again);
}

/* What has been normalized is plain, and normalizing it again changes nothing. */
static void check_normal(struct str bytes, const ProtobufCMessageDescriptor *type)
{
    struct buf once = {0}, twice = {0};
    bool is_plain = true;

    if (rpc_text_check(bytes, type, RPC_MAX_DEPTH, &is_plain) == 0 && rpc_normalize(bytes, type, &once) == 0) {
        is_plain = true;
        MUST(rpc_text_check(buf_str(&once), type, RPC_MAX_DEPTH, &is_plain) == 0 && is_plain);
        MUST(once.len <= 2 * bytes.len + 16 && rpc_normalize(buf_str(&once), type, &twice) == 0);
        MUST(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    const ProtobufCMessageDescriptor *type = types[fuzz_byte(&input) % (sizeof(types) / sizeof(types[0]))];
    struct fuzz_memory memory = {0};
    struct str bytes = fuzz_copy(&memory, fuzz_rest(&input));
    struct rpc_unpacked unpacked;
    int err = rpc_unpack_bytes(bytes, type, &unpacked);

    MUST(err == 0 || err == -EILSEQ || err == -EBADMSG);
    if (err == 0) {
        check_accepted(&memory, bytes, &unpacked);
        rpc_unpacked_release(&unpacked);
    }
    check_normal(bytes, type);
    fuzz_release(&memory);
    return 0;
}
