#include "rpc_client_internal.h"
#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

/* Most messages lie in one slice; only those that do not are copied together. */
static int contiguous(grpc_byte_buffer *bytes, grpc_slice *ret_slice)
{
    grpc_byte_buffer_reader reader;
    grpc_slice first, second;

    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return -EBADMSG;
    if (!grpc_byte_buffer_reader_next(&reader, &first)) {
        *ret_slice = grpc_empty_slice();
    } else if (!grpc_byte_buffer_reader_next(&reader, &second)) {
        *ret_slice = first;
    } else {
        grpc_slice_unref(first);
        grpc_slice_unref(second);
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, bytes))
            return -EBADMSG;
        *ret_slice = grpc_byte_buffer_reader_readall(&reader);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return 0;
}

int rpc_unpack(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked)
{
    grpc_slice slice;
    int err = contiguous(bytes, &slice);

    if (err != 0)
        return err;
    err = rpc_unpack_bytes((struct str){(const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)}, type,
                           ret_unpacked);
    grpc_slice_unref(slice);
    return err;
}

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_byte_buffer *bytes;

    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

grpc_slice rpc_slice(struct str s)
{
    return grpc_slice_from_copied_buffer(s.s, s.len);
}
