#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define PREFIX     5
#define CHUNK_SIZE 4096

static_assert(RPC_OUT_FIRST < CHUNK_SIZE && CHUNK_SIZE < RPC_OUT_FULL_BYTES, "a queue is full before it is one chunk");
static_assert(RPC_OUT_HARD > 1, "who sends is told before messages are refused");

static bool beyond(const struct rpc_out *out, unsigned times)
{
    return out->messages >= RPC_OUT_FULL_MESSAGES * times || out->bytes >= (size_t)RPC_OUT_FULL_BYTES * times;
}

static struct rpc_out_chunk *own_chunk(struct rpc_out *out, struct rpc_out_own *own)
{
    out->own_taken = true;
    own->chunk = (struct rpc_out_chunk){.capacity = RPC_OUT_FIRST, .bytes = own->bytes};
    return &own->chunk;
}

static struct rpc_out_chunk *new_chunk(struct rpc_out *out, size_t size)
{
    size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    struct rpc_out_chunk *chunk;

    if (!budget_take(out->budget, sizeof(*chunk) + capacity))
        return NULL;
    if ((chunk = malloc(sizeof(*chunk) + capacity)) == NULL) {
        budget_give(out->budget, sizeof(*chunk) + capacity);
        return NULL;
    }
    *chunk = (struct rpc_out_chunk){.capacity = capacity, .bytes = (uint8_t *)(chunk + 1)};
    return chunk;
}

/* The last chunk, or one that is not in the queue yet; NULL: the budget, or out of memory. */
static struct rpc_out_chunk *room(struct rpc_out *out, struct rpc_out_own *own, size_t size)
{
    if (out->last != NULL && out->last->capacity - out->last->len >= size)
        return out->last;
    return size <= RPC_OUT_FIRST && !out->own_taken ? own_chunk(out, own) : new_chunk(out, size);
}

static void link_chunk(struct rpc_out *out, struct rpc_out_chunk *chunk)
{
    if (out->last != NULL)
        out->last->next = chunk;
    else
        out->first = chunk;
    out->last = chunk;
}

/* Gives back what compression has saved of a chunk that is not in the queue yet. */
static struct rpc_out_chunk *trim(struct rpc_out *out, struct rpc_out_own *own, struct rpc_out_chunk *chunk)
{
    size_t before = chunk->capacity, len = chunk->len;
    struct rpc_out_chunk *less;

    if (chunk == &own->chunk || before - len < CHUNK_SIZE || (less = realloc(chunk, sizeof(*chunk) + len)) == NULL)
        return chunk;
    less->bytes = (uint8_t *)(less + 1);
    less->capacity = len;
    budget_give(out->budget, before - len);
    return less;
}

/* The last message of the chunk: size bytes, in front of which there is room for its prefix. */
static void end_message(struct rpc_out_chunk *chunk, bool compressed, size_t size)
{
    uint8_t *prefix = chunk->bytes + chunk->len;
    uint32_t big_endian = htonl((uint32_t)size);

    assert(PREFIX + size <= chunk->capacity - chunk->len);
    prefix[0] = compressed;
    memcpy(prefix + 1, &big_endian, sizeof(big_endian));
    chunk->len += PREFIX + size;
    chunk->messages++;
}

/* Appends a message with its prefix. Returns its bytes as they are sent. */
static size_t write_message(struct rpc_out *out, struct rpc_out_chunk *chunk, const ProtobufCMessage *message,
                            size_t size, bool compress)
{
    uint8_t *bytes = chunk->bytes + chunk->len + PREFIX;
    size_t deflated = compress ? rpc_deflate(message, size, out->budget, bytes) : 0;

    if (deflated > 0)
        size = deflated;
    else
        protobuf_c_message_pack(message, bytes);
    end_message(chunk, deflated > 0, size);
    return size;
}

/* The same in one pass, into the chunk that there is; -1: that cannot be done. */
static ssize_t append_simple(struct rpc_out *out, struct rpc_out_own *own, const ProtobufCMessage *message)
{
    struct rpc_out_chunk *chunk = out->last != NULL ? out->last : own_chunk(out, own);
    size_t left = chunk->capacity - chunk->len;
    ssize_t size = left > PREFIX ? rpc_pack_simple(message, chunk->bytes + chunk->len + PREFIX, left - PREFIX) : -1;

    if (size >= 0)
        end_message(chunk, false, (size_t)size);
    if (chunk != out->last && size >= 0)
        link_chunk(out, chunk);
    else if (chunk != out->last)
        out->own_taken = false;
    return size;
}

/* 0, or -ENOMEM. */
static int append(struct rpc_out *out, struct rpc_out_own *own, const ProtobufCMessage *message, size_t *ret_size)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    struct rpc_out_chunk *chunk;

    if (size > UINT32_MAX || (chunk = room(out, own, PREFIX + size)) == NULL)
        return -ENOMEM;
    *ret_size = write_message(out, chunk, message, size, out->compress_from > 0 && size >= out->compress_from);
    if (chunk != out->last)
        link_chunk(out, trim(out, own, chunk));
    return 0;
}

static void drop_first(struct rpc_out *out, struct rpc_out_own *own)
{
    struct rpc_out_chunk *chunk = out->first;

    out->first = chunk->next;
    if (out->first == NULL)
        out->last = NULL;
    out->messages -= chunk->messages;
    if (chunk == &own->chunk) {
        out->own_taken = false;
        return;
    }
    budget_give(out->budget, sizeof(*chunk) + chunk->capacity);
    free(chunk);
}

int rpc_out_put(struct rpc_out *out, struct rpc_out_own *own, const ProtobufCMessage *message, size_t *ret_size)
{
    ssize_t simple;
    size_t size;

    if (beyond(out, RPC_OUT_HARD)) {
        out->full = true;
        return -ENOBUFS;
    }
    simple = out->compress_from == 0 ? append_simple(out, own, message) : -1;
    size = (size_t)simple;
    if (simple < 0 && append(out, own, message, &size) < 0)
        return -ENOMEM;
    out->messages++;
    out->bytes += PREFIX + size;
    out->full = out->full || beyond(out, 1);
    *ret_size = size;
    return out->full;
}

size_t rpc_out_read(struct rpc_out *out, struct rpc_out_own *own, uint8_t *to, size_t len)
{
    size_t done = 0;

    while (out->first != NULL && done < len) {
        struct rpc_out_chunk *chunk = out->first;
        size_t some = chunk->len - chunk->offset < len - done ? chunk->len - chunk->offset : len - done;

        memcpy(to + done, chunk->bytes + chunk->offset, some);
        chunk->offset += some;
        done += some;
        if (chunk->offset == chunk->len)
            drop_first(out, own);
    }
    out->bytes -= done;
    return done;
}

bool rpc_out_writable(struct rpc_out *out)
{
    if (!out->full || out->messages > RPC_OUT_FULL_MESSAGES / 2 || out->bytes > RPC_OUT_FULL_BYTES / 2)
        return false;
    out->full = false;
    return true;
}

bool rpc_out_is_whole(const struct rpc_out *out)
{
    const struct rpc_out_chunk *chunk = out->first;
    size_t at = 0;

    while (chunk != NULL && at < chunk->offset) {
        uint32_t big_endian;

        memcpy(&big_endian, chunk->bytes + at + 1, sizeof(big_endian));
        at += PREFIX + ntohl(big_endian);
    }
    return chunk == NULL || at == chunk->offset;
}

void rpc_out_clear(struct rpc_out *out, struct rpc_out_own *own)
{
    while (out->first != NULL)
        drop_first(out, own);
    out->bytes = 0;
}
