/* Messages compressed by gzip while they are packed, so that no plain copy of them is made. */
#include "rpc_server_internal.h"
#include <malloc.h>
#include <stdlib.h>
#include <zlib.h>

#define HEAD_AND_TAIL  18 /* bytes of gzip's own */
#define GZIP           16 /* added to the window's size, it chooses gzip's format */
#define LEAST_WINDOW   9  /* as powers of two */
#define LARGEST_WINDOW 15

/* ---- zlib's memory: counted is what the C library has taken for a block, as in account.c ---- */

static void *take_block(void *budget, unsigned count, unsigned size)
{
    void *block = malloc((size_t)count * size);

    if (block != NULL && !budget_take(budget, malloc_usable_size(block))) {
        free(block);
        return NULL;
    }
    return block;
}

static void give_block(void *budget, void *block)
{
    budget_give(budget, malloc_usable_size(block));
    free(block);
}

/* ---- packing ---- */

struct packer {
    ProtobufCBuffer buffer;
    z_stream stream;
    bool full; /* the result would not be smaller */
};

static void append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    struct packer *packer = RPC_OWNER(buffer, struct packer, buffer);

    packer->stream.next_in = (uint8_t *)data;
    packer->stream.avail_in = (uInt)len;
    while (packer->stream.avail_in > 0 && !packer->full)
        packer->full = deflate(&packer->stream, Z_NO_FLUSH) != Z_OK || packer->stream.avail_out == 0;
}

/* A window that holds the message: zlib takes 8 KiB for 1 KiB, and 256 KiB for 32 KiB and more. */
static int window_for(size_t size)
{
    int window = LEAST_WINDOW;

    while (window < LARGEST_WINDOW && (size_t)1 << window < size)
        window++;
    return window;
}

size_t rpc_deflate(const ProtobufCMessage *message, size_t size, struct budget *budget, uint8_t *to)
{
    struct packer packer = {.buffer.append = append,
                            .stream = {.zalloc = take_block, .zfree = give_block, .opaque = budget}};
    int window = window_for(size);
    size_t len = 0;

    if (size <= HEAD_AND_TAIL || deflateInit2(&packer.stream, Z_BEST_SPEED, Z_DEFLATED, window + GZIP,
                                              window - LEAST_WINDOW + 2, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    packer.stream.next_out = to;
    packer.stream.avail_out = (uInt)(size - 1);
    protobuf_c_message_pack_to_buffer(message, &packer.buffer);
    if (!packer.full && deflate(&packer.stream, Z_FINISH) == Z_STREAM_END)
        len = packer.stream.total_out;
    deflateEnd(&packer.stream);
    return len;
}
