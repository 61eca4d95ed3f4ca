/* What a call sends: HEADERS, DATA with its messages, and HEADERS with the status; or, where there is nothing but a
 * status, one HEADERS frame (Trailers-Only). */
#include "clock.h"
#include "rpc_server_internal.h"
#include <assert.h>

#define STATIC_NV(name_, value_)                                                                                       \
    {                                                                                                                  \
        .name = (uint8_t *)(name_), .namelen = sizeof(name_) - 1, .value = (uint8_t *)(value_),                        \
        .valuelen = sizeof(value_) - 1, .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE          \
    }
#define HEAD_FIELDS 3
#define MAX_FIELDS  (HEAD_FIELDS + 3 + 2 * RPC_MAX_FIELDS)

struct fields {
    nghttp2_nv nv[MAX_FIELDS];
    size_t count;
};

static const struct fields head = {
    .nv = {STATIC_NV(":status", "200"), STATIC_NV("content-type", "application/grpc"),
           STATIC_NV("grpc-accept-encoding", "identity,gzip")},
    .count = HEAD_FIELDS,
};

/* The value must live as long as the call. */
static void add(struct fields *fields, struct str name, struct str value)
{
    assert(fields->count < MAX_FIELDS);
    fields->nv[fields->count++] = (nghttp2_nv){
        .name = (uint8_t *)name.s,
        .namelen = name.len,
        .value = (uint8_t *)value.s,
        .valuelen = value.len,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

static void add_set(struct fields *fields, const struct rpc_fields *set)
{
    for (unsigned i = 0; i < set->count; i++)
        add(fields, set->field[i]->name, set->field[i]->value);
}

/* Under the lock. */
static void add_initial(struct fields *fields, const struct rpc_call *call)
{
    if (call->announces_gzip)
        add(fields, STR("grpc-encoding"), STR("gzip"));
    add_set(fields, &call->initial);
}

/* Under the lock, once finished. */
static void add_status(struct fields *fields, struct rpc_call *call)
{
    static const char digits[][3] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                     "9", "10", "11", "12", "13", "14", "15", "16"};
    struct str message = str_of(call->status_message);
    char *encoded = message.len > 0 ? rpc_arena_alloc(&call->arena, 3 * message.len) : NULL;

    static_assert(sizeof(digits) / sizeof(digits[0]) == RPC_STATUS_CODES, "each status has its text");
    assert(call->finished && (unsigned)call->status < RPC_STATUS_CODES);
    add(fields, STR("grpc-status"), str_of(digits[call->status]));
    if (encoded != NULL)
        add(fields, STR("grpc-message"), (struct str){encoded, rpc_percent_encode(message, encoded)});
    add_set(fields, &call->trailing);
}

static void check(struct rpc_call *call, int result)
{
    if (result != 0)
        call->conn->broken = true;
}

/* Under the lock: there is no more to send. */
static void submit_trailers(struct rpc_call *call, nghttp2_session *session)
{
    struct fields fields = {.count = 0};

    add_status(&fields, call);
    check(call, nghttp2_submit_trailer(session, call->stream, fields.nv, fields.count));
}

static ssize_t read_messages(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
                             nghttp2_data_source *source, void *arg)
{
    struct rpc_call *call = source->ptr;
    size_t size;
    bool locked = rpc_call_lock(call);

    size = rpc_out_read(&call->out, &call->out_own, to, len);
    call->room = rpc_out_writable(&call->out) || call->room;
    call->deferred = size == 0 && !call->finished;
    if (call->out.first == NULL && call->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(call, session);
    }
    rpc_call_unlock(call, locked);
    if (call->may_receive && size > 0)
        call->moved_ns = clock_monotonic_ns();
    if (call->room)
        rpc_call_due(call);
    return call->deferred ? NGHTTP2_ERR_DEFERRED : (ssize_t)size;
}

/* Under the lock. */
static void submit_head(struct rpc_call *call)
{
    nghttp2_session *session = call->conn->session;
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_messages};
    bool trailers_only = call->finished && call->out.first == NULL && call->initial.count == 0;
    struct fields fields = head;

    assert(!call->answered && !call->over);
    if (trailers_only)
        add_status(&fields, call);
    else
        add_initial(&fields, call);
    call->answered = true;
    check(call,
          nghttp2_submit_response(session, call->stream, fields.nv, fields.count, trailers_only ? NULL : &provider));
}

void rpc_response_pump(struct rpc_call *call)
{
    bool ready;
    bool locked = rpc_call_lock(call);

    ready = call->out.first != NULL || call->finished;
    if (ready && !call->answered) {
        submit_head(call);
    } else if (ready && call->deferred) {
        call->deferred = false;
        check(call, nghttp2_session_resume_data(call->conn->session, call->stream));
    }
    rpc_call_unlock(call, locked);
}

void rpc_response_http(struct rpc_call *call, int status)
{
    static const struct fields method = {.nv = {STATIC_NV(":status", "405"), STATIC_NV("allow", "POST")}, .count = 2};
    static const struct fields type = {.nv = {STATIC_NV(":status", "415")}, .count = 1};
    const struct fields *fields = status == 405 ? &method : &type;

    call->http_status = status;
    call->answered = true;
    rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the request is not gRPC");
    check(call, nghttp2_submit_response(call->conn->session, call->stream, fields->nv, fields->count, NULL));
}
