#include "rpc_core.h"
#include <errno.h>
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

static int unpack(struct str bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked)
{
    ret_unpacked->allocator =
        (ProtobufCAllocator){.alloc = unpack_alloc, .free = unpack_free, .allocator_data = ret_unpacked};
    ret_unpacked->chunks = NULL;
    ret_unpacked->room = ret_unpacked->first;
    ret_unpacked->room_len = sizeof(ret_unpacked->first);
    ret_unpacked->budget = bytes.len * RPC_UNPACK_FACTOR + RPC_UNPACK_EXTRA;
    ret_unpacked->message =
        protobuf_c_message_unpack(type, &ret_unpacked->allocator, bytes.len, (const uint8_t *)bytes.s);
    if (ret_unpacked->message == NULL) {
        rpc_unpacked_release(ret_unpacked);
        return -EBADMSG;
    }
    return 0;
}

int rpc_unpack_bytes(struct str bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked)
{
    struct buf normal = {0};
    bool is_plain = true;
    int err = rpc_text_check(bytes, type, RPC_MAX_DEPTH, &is_plain);

    if (err < 0)
        return err;
    if (is_plain)
        return unpack(bytes, type, ret_unpacked);
    err = rpc_normalize(bytes, type, &normal);
    if (err == 0)
        err = unpack(buf_str(&normal), type, ret_unpacked);
    buf_release(&normal);
    return err;
}
