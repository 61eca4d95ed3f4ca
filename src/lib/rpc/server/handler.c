/* What handlers call. Nothing is handed to nghttp2 from here: that is rpc_call_run's. */
#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define STATUS_MESSAGE_MAX 1024 /* bytes: clients accept 8 KiB of trailers, percent-encoded */

static_assert(3 * STATUS_MESSAGE_MAX < 8 * 1024, "the message of a status fits into the trailers that clients accept");

struct rpc_server *rpc_call_server(const struct rpc_call *call)
{
    return call->loop->server;
}

void *rpc_call_service_state(const struct rpc_call *call)
{
    return call->loop->server->def.state;
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
    call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
    return call->data;
}

const struct trace *rpc_call_trace(const struct rpc_call *call)
{
    return &call->trace;
}

uint64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    return call->deadline_ns;
}

struct str rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    return rpc_head_find(&call->head, name, 0);
}

struct str rpc_call_metadata_at(const struct rpc_call *call, const char *name, size_t index)
{
    return rpc_head_find(&call->head, name, index);
}

#define MAX_VALUE ((size_t)8 * 1024) /* nghttp2 sends no header block of more than 64 KiB */

static bool is_text(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.s[i] < 0x20 || value.s[i] > 0x7e)
            return false;
    return true;
}

/* NULL out of memory, or where HTTP/2 would not carry the value. */
static struct rpc_field *field_new(const char *name, struct str value)
{
    struct str name_str = str_of(name);
    bool is_binary = rpc_is_binary(name_str);
    struct rpc_field *field = value.len <= MAX_VALUE && (is_binary || is_text(value))
                                  ? malloc(sizeof(*field) + 4 * (value.len / 3 + 1))
                                  : NULL;
    char *bytes;

    if (field == NULL)
        return NULL;
    bytes = (char *)(field + 1);
    *field = (struct rpc_field){.name = name_str, .value = {bytes, value.len}};
    if (is_binary)
        field->value.len = rpc_base64_encode(value, bytes);
    else if (value.len > 0)
        memcpy(bytes, value.s, value.len);
    return field;
}

static void add_field(struct rpc_fields *fields, bool too_late, const char *name, struct str value)
{
    struct rpc_field *field = !too_late && fields->count < RPC_MAX_FIELDS ? field_new(name, value) : NULL;

    if (field != NULL)
        fields->field[fields->count++] = field;
}

void rpc_call_add_metadata(struct rpc_call *call, const char *name, struct str value)
{
    bool locked = rpc_call_lock(call);

    add_field(&call->initial, call->answered || call->over, name, value);
    rpc_call_unlock(call, locked);
}

void rpc_call_add_trailer(struct rpc_call *call, const char *name, struct str value)
{
    bool locked = rpc_call_lock(call);

    add_field(&call->trailing, call->finished || call->over, name, value);
    rpc_call_unlock(call, locked);
}

void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value)
{
    rpc_call_add_metadata(call, name, str_of(value));
}

bool rpc_call_compress(struct rpc_call *call, bool compress)
{
    bool will;
    bool locked = rpc_call_lock(call);

    if (compress && call->head.accepts_gzip && !call->answered)
        call->announces_gzip = true;
    will = compress && call->announces_gzip;
    call->out.compress_from = will ? 1 : 0;
    rpc_call_unlock(call, locked);
    return will;
}

bool rpc_call_message_was_compressed(const struct rpc_call *call)
{
    return call->in.compressed;
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    return atomic_load(&call->cancelled);
}

/* NULL out of memory: the status is worth more than its text. */
static char *copy_text(const char *text, size_t len)
{
    char *copy = malloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

static void finish_locked(struct rpc_call *call, enum err_grpc status, const char *message)
{
    if (call->finished || call->over)
        return;
    call->finished = true;
    call->status = status;
    if (message != NULL)
        call->status_message = copy_text(message, strnlen(message, STATUS_MESSAGE_MAX));
    rpc_call_want_run(call);
}

static int send_locked(struct rpc_call *call, const ProtobufCMessage *message)
{
    size_t size = 0;
    int result;

    if (call->finished || call->over)
        return -ECANCELED;
    result = rpc_out_put(&call->out, &call->out_own, message, &size);
    if (result == -ENOMEM) {
        finish_locked(call, ERR_GRPC_RESOURCE_EXHAUSTED, err_text(-ENOMEM));
        return -ECANCELED;
    }
    call->response_size += size;
    rpc_call_want_run(call);
    return result;
}

int rpc_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    int result;
    bool locked = rpc_call_lock(call);

    result = send_locked(call, message);
    rpc_call_unlock(call, locked);
    return result;
}

void rpc_finish(struct rpc_call *call, enum err_grpc status, const char *message)
{
    bool locked = rpc_call_lock(call);

    finish_locked(call, status, message);
    rpc_call_unlock(call, locked);
}

void rpc_finish_with_details(struct rpc_call *call, enum err_grpc status, const char *message, struct str details)
{
    bool locked = rpc_call_lock(call);

    add_field(&call->trailing, call->finished || call->over, "grpc-status-details-bin", details);
    finish_locked(call, status, message);
    rpc_call_unlock(call, locked);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    bool locked = rpc_call_lock(call);

    if (send_locked(call, message) >= 0)
        finish_locked(call, ERR_GRPC_OK, NULL);
    else
        finish_locked(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too much is waiting to be sent");
    rpc_call_unlock(call, locked);
}

void rpc_fail(struct rpc_call *call, int err, const char *message)
{
    rpc_finish(call, err_grpc_status(err), message != NULL ? message : err_text(err));
}

void rpc_pause(struct rpc_call *call)
{
    bool locked = rpc_call_lock(call);

    call->paused = true;
    rpc_call_unlock(call, locked);
}

void rpc_resume(struct rpc_call *call)
{
    bool locked = rpc_call_lock(call);

    call->paused = false;
    if (!call->over)
        rpc_call_want_run(call);
    rpc_call_unlock(call, locked);
}
