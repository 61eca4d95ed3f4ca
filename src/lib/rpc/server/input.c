/* What comes on a call: messages out of bytes, and to the handlers, as fast as they take them. What comes while a call
 * is paused is kept, and not consumed, so that the client may send no more than the stream's window. */
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>

#define LARGE_MESSAGE ((size_t)64 * 1024)

static bool takes_one_message(const struct rpc_call *call)
{
    return call->entry->method->kind == RPC_UNARY_KIND || call->entry->method->kind == RPC_SERVER_STREAM_KIND;
}

enum may { MAY_GO, MAY_WAIT, MAY_NOT };

static enum may may_deliver(struct rpc_call *call)
{
    enum may may;
    bool locked = rpc_call_lock(call);

    may = call->finished || !call->opened ? MAY_NOT : call->paused ? MAY_WAIT : MAY_GO;
    rpc_call_unlock(call, locked);
    return may;
}

void rpc_input_refuse(struct rpc_call *call, int err)
{
    switch (err) {
    case -EMSGSIZE:
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "the message is larger than the server accepts");
        break;
    case -EPROTO:
        rpc_finish(call, ERR_GRPC_INTERNAL, "a message does not begin as gRPC's do");
        break;
    case -EILSEQ:
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "a string must not contain a NUL");
        break;
    case -EBADMSG:
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "the message cannot be unpacked");
        break;
    default:
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "the server has too little memory");
    }
}

/* What a message may take when it is unpacked is charged where it is worth it. */
static size_t unpacked_size(struct str bytes)
{
    return bytes.len > LARGE_MESSAGE ? RPC_UNPACK_FACTOR * bytes.len : 0;
}

static int unpack_and_tell(struct rpc_call *call, struct str bytes)
{
    struct rpc_account *account = &call->loop->account;
    struct rpc_unpacked unpacked;
    int err;

    if (!rpc_account_take(account, unpacked_size(bytes)))
        return -ENOBUFS;
    err = rpc_unpack_bytes(bytes, call->entry->input, &unpacked);
    if (err == 0) {
        rpc_method_invoke(call->entry->method, call, unpacked.message);
        rpc_unpacked_release(&unpacked);
    }
    rpc_account_give(account, unpacked_size(bytes));
    return err;
}

static void count_inflated(struct rpc_call *call, size_t len)
{
    loop_has_read(call->loop->loop, 0, len);
    if (call->conn != NULL)
        call->conn->inflated += len;
}

static int inflate_and_tell(struct rpc_call *call, struct str bytes)
{
    struct str inflated;
    int err = rpc_inflate(bytes, call->in.max, &call->loop->account, &inflated);

    if (err == -EMSGSIZE)
        count_inflated(call, call->in.max);
    if (err != 0)
        return err;
    count_inflated(call, inflated.len);
    err = unpack_and_tell(call, inflated);
    rpc_inflated_free(inflated, &call->loop->account);
    return err;
}

static void tell_message(struct rpc_call *call, struct str bytes)
{
    int err;

    if (!call->in.compressed) {
        err = unpack_and_tell(call, bytes);
    } else if (call->head.encoding != RPC_GZIP) {
        err = -EPROTO;
    } else {
        err = inflate_and_tell(call, bytes);
    }
    if (err != 0)
        rpc_input_refuse(call, err);
}

static void message_came(struct rpc_call *call, struct str message)
{
    call->request_size += message.len;
    if (!takes_one_message(call)) {
        tell_message(call, message);
        return;
    }
    call->message = message;
}

/* Tells the handlers the messages in bytes, as long as they may be told. Returns how many bytes were used. */
static size_t deliver(struct rpc_call *call, struct str bytes)
{
    size_t len = bytes.len;
    enum may may = MAY_GO;

    while (bytes.len > 0 && (may = may_deliver(call)) == MAY_GO) {
        struct str message;
        int result;

        if (call->message.s != NULL) {
            rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, more came");
            continue;
        }
        result = rpc_in_take(&call->in, call->in_first, &bytes, takes_one_message(call), &message);
        if (result < 0)
            rpc_input_refuse(call, result);
        else if (result == 1)
            message_came(call, message);
    }
    return may == MAY_NOT ? len : len - bytes.len;
}

static void consumed(struct rpc_call *call, size_t len)
{
    if (len > 0)
        nghttp2_session_consume_stream(call->conn->session, call->stream, len);
}

/* A client sends no more than its window, while nothing of it is consumed. */
static bool keep(struct rpc_call *call, struct str bytes)
{
    size_t capacity = call->backlog_len + bytes.len;
    uint8_t *backlog;

    if (capacity > call->backlog_capacity) {
        capacity = 2 * capacity;
        backlog = rpc_account_realloc(&call->loop->account, call->backlog, call->backlog_capacity, capacity);
        if (backlog == NULL)
            return false;
        call->backlog = backlog;
        call->backlog_capacity = capacity;
    }
    memcpy(call->backlog + call->backlog_len, bytes.s, bytes.len);
    call->backlog_len += bytes.len;
    return true;
}

void rpc_input_bytes(struct rpc_call *call, struct str bytes)
{
    size_t used;

    call->moved_ns = call->conn->heard_ns;
    used = call->backlog_len == 0 ? deliver(call, bytes) : 0;
    consumed(call, used);
    if (used == bytes.len)
        return;
    if (!keep(call, (struct str){bytes.s + used, bytes.len - used}))
        rpc_input_refuse(call, -ENOBUFS);
}

static void deliver_backlog(struct rpc_call *call)
{
    size_t used = deliver(call, (struct str){(const char *)call->backlog, call->backlog_len});

    call->backlog_len -= used;
    memmove(call->backlog, call->backlog + used, call->backlog_len);
    consumed(call, used);
}

static void tell_end(struct rpc_call *call)
{
    call->end_told = true;
    if (!rpc_in_is_between(&call->in))
        rpc_finish(call, ERR_GRPC_INTERNAL, "the last message is cut off");
    else if (call->message.s != NULL)
        tell_message(call, call->message);
    else if (takes_one_message(call))
        rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, none came");
    else if (call->entry->method->on_half_close != NULL)
        call->entry->method->on_half_close(call);
}

void rpc_input_ended(struct rpc_call *call)
{
    call->half_closed = true;
    if (call->backlog_len == 0 && may_deliver(call) == MAY_GO)
        tell_end(call);
}

bool rpc_input_is_wanted(struct rpc_call *call)
{
    return may_deliver(call) != MAY_NOT;
}

void rpc_input_resume(struct rpc_call *call)
{
    if (call->backlog_len > 0)
        deliver_backlog(call);
    if (call->half_closed && !call->end_told && call->backlog_len == 0 && may_deliver(call) == MAY_GO)
        tell_end(call);
}
