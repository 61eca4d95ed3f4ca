#include "rpc_core.h"
#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>

struct rpc_chunk {
    struct rpc_chunk *next;
    _Alignas(max_align_t) char bytes[];
};

#define CHUNK_SIZE 4096

static void *unpack_alloc(void *data, size_t size)
{
    struct rpc_unpacked *unpacked = data;
    const size_t align = _Alignof(max_align_t);
    struct rpc_chunk *chunk;
    void *p;

    if (size > unpacked->budget)
        return NULL;
    size = (size + align - 1) & ~(align - 1);
    unpacked->budget -= size < unpacked->budget ? size : unpacked->budget;
    if (size > unpacked->room_len) {
        size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;

        chunk = malloc(sizeof(*chunk) + chunk_size);
        if (chunk == NULL)
            return NULL;
        chunk->next = unpacked->chunks;
        unpacked->chunks = chunk;
        unpacked->room = chunk->bytes;
        unpacked->room_len = chunk_size;
    }
    p = unpacked->room;
    unpacked->room += size;
    unpacked->room_len -= size;
    return p;
}

/* All of it goes at once, in rpc_unpacked_release. */
static void unpack_free(void *data, void *pointer)
{
}

void rpc_unpacked_release(struct rpc_unpacked *unpacked)
{
    while (unpacked->chunks != NULL) {
        struct rpc_chunk *next = unpacked->chunks->next;

        free(unpacked->chunks);
        unpacked->chunks = next;
    }
    unpacked->message = NULL;
}

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
    int err;

    err = contiguous(bytes, &slice);
    if (err != 0)
        return err;
    if (!rpc_text_whole(rpc_slice_str(&slice), type, RPC_MAX_DEPTH)) {
        grpc_slice_unref(slice);
        return -EILSEQ;
    }
    ret_unpacked->allocator =
        (ProtobufCAllocator){.alloc = unpack_alloc, .free = unpack_free, .allocator_data = ret_unpacked};
    ret_unpacked->chunks = NULL;
    ret_unpacked->room = ret_unpacked->first;
    ret_unpacked->room_len = sizeof(ret_unpacked->first);
    ret_unpacked->budget = GRPC_SLICE_LENGTH(slice) * RPC_UNPACK_FACTOR + RPC_UNPACK_EXTRA;
    ret_unpacked->message = protobuf_c_message_unpack(type, &ret_unpacked->allocator, GRPC_SLICE_LENGTH(slice),
                                                      GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    if (ret_unpacked->message == NULL) {
        rpc_unpacked_release(ret_unpacked);
        return -EBADMSG;
    }
    return 0;
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

struct str rpc_slice_str(const grpc_slice *slice)
{
    return (struct str){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

grpc_slice rpc_slice(struct str s)
{
    return grpc_slice_from_copied_buffer(s.s, s.len);
}

struct str rpc_metadata_find(const grpc_metadata_array *metadata, const char *name)
{
    struct str wanted = str_of(name);

    for (size_t i = 0; i < metadata->count; i++)
        if (str_eq(rpc_slice_str(&metadata->metadata[i].key), wanted))
            return rpc_slice_str(&metadata->metadata[i].value);
    return STR_NULL;
}
