/* One call: from its headers to its end. What comes is told to the handlers at once; what they do about it (send,
 * finish, resume) is done at the end of the turn, by rpc_call_run, whether it was asked for by the loop's thread or by
 * another, which posts a message then. */
#include "clock.h"
#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define STATUS_MESSAGE_MAX 1024 /* bytes: clients accept 8 KiB of trailers, percent-encoded */

static bool takes_one_message(const struct rpc_call *call)
{
    return call->entry->method->kind == RPC_UNARY_KIND || call->entry->method->kind == RPC_SERVER_STREAM_KIND;
}

static bool is_stream(const struct rpc_call *call)
{
    return call->entry->method != NULL && call->entry->method->kind != RPC_UNARY_KIND;
}

/* ---- memory ---- */

static struct rpc_call *take_from_pool(struct rpc_loop *loop)
{
    struct rpc_call *call = TAILQ_FIRST(&loop->pool);

    if (call != NULL) {
        TAILQ_REMOVE(&loop->pool, call, link);
        loop->pooled--;
        return call;
    }
    call = malloc(sizeof(*call));
    if (call != NULL)
        pthread_mutex_init(&call->lock, NULL);
    return call;
}

struct rpc_call *rpc_call_new(struct rpc_conn *conn, int32_t stream)
{
    struct rpc_loop *loop = conn->loop;
    struct rpc_call *call = take_from_pool(loop);

    if (call == NULL)
        return NULL;
    /* All but the lock, and what need not be zero. */
    memset(call, 0, offsetof(struct rpc_call, lock));
    memset((char *)call + offsetof(struct rpc_call, message_to_loop), 0,
           offsetof(struct rpc_call, out_own) - offsetof(struct rpc_call, message_to_loop));
    rpc_account_add(&loop->account, sizeof(*call));
    call->loop = loop;
    call->conn = conn;
    call->stream = stream;
    call->begun_ns = clock_monotonic_ns();
    call->arena = (struct rpc_arena){&loop->account, NULL, call->arena_first, sizeof(call->arena_first)};
    call->in.account = &loop->account;
    call->in.max = loop->server->def.max_message;
    call->out.budget = &loop->server->memory;
    atomic_init(&call->refs, 1);
    rpc_head_init(&call->head);
    TAILQ_INSERT_TAIL(&conn->calls, call, link);
    return call;
}

void rpc_call_destroy(struct rpc_call *call)
{
    pthread_mutex_destroy(&call->lock);
    free(call);
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

static bool drop_reference(struct rpc_call *call)
{
    return atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1;
}

struct rpc_call *rpc_call_unref(struct rpc_call *call)
{
    if (call != NULL && drop_reference(call))
        rpc_call_destroy(call);
    return NULL;
}

static void release_fields(struct rpc_fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++)
        free(fields->field[i]);
    fields->count = 0;
}

/* What the call has beside itself goes at its end, whoever still holds a reference. */
static void release(struct rpc_call *call)
{
    struct rpc_loop *loop = call->loop;

    rpc_account_give(&loop->account, call->backlog_capacity);
    free(call->backlog);
    call->backlog = NULL;
    rpc_in_release(&call->in);
    rpc_arena_release(&call->arena);
    rpc_account_give(&loop->account, sizeof(*call));
    pthread_mutex_lock(&call->lock);
    rpc_out_clear(&call->out, &call->out_own);
    release_fields(&call->initial);
    release_fields(&call->trailing);
    free(call->status_message);
    call->status_message = NULL;
    pthread_mutex_unlock(&call->lock);
    if (!drop_reference(call))
        return;
    if (loop->pooled >= RPC_LOOP_POOL) {
        rpc_call_destroy(call);
        return;
    }
    TAILQ_INSERT_HEAD(&loop->pool, call, link);
    loop->pooled++;
}

/* ---- what is to be done at the end of the turn ---- */

void rpc_call_due(struct rpc_call *call)
{
    if (call->is_due || call->conn == NULL)
        return;
    call->is_due = true;
    TAILQ_INSERT_TAIL(&call->loop->due, call, due);
}

static void on_message_to_loop(struct loop_message *message)
{
    struct rpc_call *call = RPC_OWNER(message, struct rpc_call, message_to_loop);

    pthread_mutex_lock(&call->lock);
    call->posted = false;
    pthread_mutex_unlock(&call->lock);
    rpc_call_due(call);
    rpc_call_unref(call);
}

/* Under the lock, of a call that is not over: so its loop is there. Any thread. */
static void have_run(struct rpc_call *call)
{
    if (loop_is_current(call->loop->loop)) {
        rpc_call_due(call);
    } else if (!call->posted) {
        call->posted = true;
        call->message_to_loop.run = on_message_to_loop;
        loop_post(call->loop->loop, &rpc_call_ref(call)->message_to_loop);
    }
}

/* ---- messages ---- */

enum may { MAY_GO, MAY_WAIT, MAY_NOT };

static enum may may_deliver(struct rpc_call *call)
{
    enum may may;

    pthread_mutex_lock(&call->lock);
    may = call->finished || !call->opened ? MAY_NOT : call->paused ? MAY_WAIT : MAY_GO;
    pthread_mutex_unlock(&call->lock);
    return may;
}

static void refuse(struct rpc_call *call, int err)
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

static int unpack_and_tell(struct rpc_call *call, struct str bytes)
{
    struct rpc_unpacked unpacked;
    int err = rpc_unpack_bytes(bytes, call->entry->input, &unpacked);

    if (err != 0)
        return err;
    call->entry->method->on_message(call, unpacked.message);
    rpc_unpacked_release(&unpacked);
    return 0;
}

static void tell_message(struct rpc_call *call, struct str bytes)
{
    int err;

    if (!call->in.compressed) {
        err = unpack_and_tell(call, bytes);
    } else if (call->head.encoding != RPC_GZIP) {
        err = -EPROTO;
    } else {
        err = rpc_inflate(bytes, call->in.max, &call->loop->account, &bytes);
        if (err == 0) {
            err = unpack_and_tell(call, bytes);
            rpc_inflated_free(bytes, &call->loop->account);
        }
    }
    if (err != 0)
        refuse(call, err);
}

static void message_came(struct rpc_call *call, struct str message)
{
    call->request_size += message.len;
    if (!takes_one_message(call)) {
        tell_message(call, message);
        return;
    }
    call->held = true;
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

        if (call->held) {
            rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, more came");
            continue;
        }
        result = rpc_in_take(&call->in, call->in_first, &bytes, takes_one_message(call), &message);
        if (result < 0)
            refuse(call, result);
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
        if (!rpc_account_take(&call->loop->account, capacity - call->backlog_capacity))
            return false;
        if ((backlog = realloc(call->backlog, capacity)) == NULL) {
            rpc_account_give(&call->loop->account, capacity - call->backlog_capacity);
            return false;
        }
        call->backlog = backlog;
        call->backlog_capacity = capacity;
    }
    memcpy(call->backlog + call->backlog_len, bytes.s, bytes.len);
    call->backlog_len += bytes.len;
    return true;
}

void rpc_call_bytes(struct rpc_call *call, struct str bytes)
{
    size_t used = call->backlog_len == 0 ? deliver(call, bytes) : 0;

    consumed(call, used);
    if (used == bytes.len)
        return;
    if (!keep(call, (struct str){bytes.s + used, bytes.len - used}))
        refuse(call, -ENOBUFS);
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
    else if (takes_one_message(call) && call->held)
        tell_message(call, call->message);
    else if (takes_one_message(call))
        rpc_finish(call, ERR_GRPC_UNIMPLEMENTED, "the method takes one request message, none came");
    else if (call->entry->method->on_half_close != NULL)
        call->entry->method->on_half_close(call);
}

static void expect_no_messages(struct rpc_call *call)
{
    if (call->may_receive)
        atomic_fetch_sub(&call->loop->server->receiving, 1);
    call->may_receive = false;
}

void rpc_call_half_closed(struct rpc_call *call)
{
    call->half_closed = true;
    expect_no_messages(call);
    if (call->backlog_len == 0 && may_deliver(call) == MAY_GO)
        tell_end(call);
}

void rpc_call_run(struct rpc_call *call)
{
    bool room = call->room;

    if (call->conn == NULL)
        return;
    call->room = false;
    if (room && call->entry->method->on_writable != NULL && may_deliver(call) != MAY_NOT)
        call->entry->method->on_writable(call);
    if (call->backlog_len > 0)
        deliver_backlog(call);
    if (call->half_closed && !call->end_told && call->backlog_len == 0 && may_deliver(call) == MAY_GO)
        tell_end(call);
    rpc_response_pump(call);
    rpc_conn_dirty(call->conn);
}

/* ---- the end ---- */

static enum err_grpc outcome(const struct rpc_call *call, bool whole, uint64_t now)
{
    if (whole || (call->finished && call->status == ERR_GRPC_DEADLINE_EXCEEDED))
        return call->status;
    return now >= call->deadline_ns ? ERR_GRPC_DEADLINE_EXCEEDED : ERR_GRPC_CANCELLED;
}

static int http_status(const struct rpc_call *call, enum err_grpc code)
{
    if (call->http_status != 0)
        return call->http_status;
    return code == ERR_GRPC_OK ? 200 : err_http_status(err_from_grpc(code));
}

static void log_call(struct rpc_call *call, enum err_grpc code, uint64_t now)
{
    struct log *log = call->loop->server->def.log;

    if (log == NULL || (call->entry->quiet && !log_enabled(log, LOG_DEBUG)))
        return;
    log_request(log, &call->trace,
                &(struct log_request){
                    .method = STR("POST"),
                    .url = call->head.path,
                    .user_agent = call->head.user_agent,
                    .remote_ip = str_of(call->conn->remote_ip),
                    .protocol = STR("HTTP/2"),
                    .detail = code == call->status ? str_of(call->status_message) : STR_NULL,
                    .status = http_status(call, code),
                    .grpc_code = str_of(err_grpc_name(code)),
                    .request_size = call->request_size,
                    .response_size = call->response_size,
                    .latency_ns = now - call->begun_ns,
                });
}

static void intercept_after(struct rpc_call *call, enum err_grpc code)
{
    const struct rpc_server_def *def = &call->loop->server->def;

    for (size_t i = call->entry->quiet ? 0 : def->interceptor_count; i-- > 0;)
        if (def->interceptors[i].after != NULL)
            def->interceptors[i].after(call, code, def->interceptors[i].state);
}

/* Tells all who want to know of the end. */
static void tell_closed(struct rpc_call *call, bool whole)
{
    uint64_t now = clock_monotonic_ns();
    enum err_grpc code = outcome(call, whole, now);

    rpc_stats_handled(&call->entry->stats, code, now - call->begun_ns);
    log_call(call, code, now);
    if (!call->opened)
        return;
    if (call->entry->method->on_close != NULL)
        call->entry->method->on_close(call);
    intercept_after(call, code);
}

void rpc_call_end(struct rpc_call *call, bool whole)
{
    struct rpc_server *server = call->loop->server;
    bool begun = call->entry != NULL; /* else its headers were cut off */

    if (!whole)
        atomic_store(&call->cancelled, true);
    pthread_mutex_lock(&call->lock);
    call->over = true;
    pthread_mutex_unlock(&call->lock);
    if (call->conn->session != NULL)
        nghttp2_session_set_stream_user_data(call->conn->session, call->stream, NULL);
    if (begun)
        tell_closed(call, whole);
    TAILQ_REMOVE(&call->conn->calls, call, link);
    if (call->is_due)
        TAILQ_REMOVE(&call->loop->due, call, due);
    if (call->is_fresh)
        TAILQ_REMOVE(&call->loop->fresh, call, fresh);
    call->is_due = call->is_fresh = false;
    call->conn = NULL;
    loop_timer_stop(call->loop->loop, &call->timer);
    expect_no_messages(call);
    release(call);
    if (begun)
        atomic_fetch_sub(&server->in_flight, 1);
}

/* ---- deadlines ---- */

static void expire(struct loop_timer *timer)
{
    struct rpc_call *call = RPC_OWNER(timer, struct rpc_call, timer);
    bool whole;

    atomic_store(&call->cancelled, true);
    pthread_mutex_lock(&call->lock);
    whole = rpc_out_is_whole(&call->out);
    if (call->out.first != NULL && call->finished)
        call->status = ERR_GRPC_DEADLINE_EXCEEDED;
    rpc_out_clear(&call->out, &call->out_own);
    pthread_mutex_unlock(&call->lock);
    rpc_finish(call, ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long");
    /* A status after a part of a message would be taken for a fault of the server's. */
    if (!whole)
        nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    rpc_conn_dirty(call->conn);
}

void rpc_call_set_timer(struct rpc_call *call)
{
    uint64_t now = clock_monotonic_ns();
    uint64_t left_ms = call->deadline_ns > now ? (call->deadline_ns - now) / CLOCK_NS_PER_MS : 0;

    if (loop_timer_start(call->loop->loop, &call->timer, left_ms, expire) < 0)
        refuse(call, -ENOMEM);
}

/* ---- the beginning ---- */

/* False where the server has no memory for one more unfinished message. Streams may hold their part for an hour without
 * sending anything: they get half, so that unary calls still find some. */
static bool expect_messages(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    size_t max = is_stream(call) ? server->max_receiving - server->max_receiving / 2 : server->max_receiving;

    max += call->entry->quiet ? RPC_QUIET_RESERVE : 0;
    call->may_receive = atomic_fetch_add(&server->receiving, 1) < max;
    if (!call->may_receive)
        atomic_fetch_sub(&server->receiving, 1);
    return call->may_receive;
}

static bool is_finished(struct rpc_call *call)
{
    bool finished;

    pthread_mutex_lock(&call->lock);
    finished = call->finished;
    pthread_mutex_unlock(&call->lock);
    return finished;
}

static bool intercept_before(struct rpc_call *call)
{
    const struct rpc_server_def *def = &call->loop->server->def;
    size_t count = call->entry->quiet ? 0 : def->interceptor_count;
    bool finished = false;

    for (size_t i = 0; i < count && !finished; i++) {
        if (def->interceptors[i].before != NULL)
            def->interceptors[i].before(call, def->interceptors[i].state);
        finished = is_finished(call);
    }
    return !finished;
}

/* What is wrong with the request's headers; NULL: nothing. */
static const char *fault(const struct rpc_call *call, enum err_grpc *ret_status)
{
    const struct rpc_head *head = &call->head;
    const struct {
        bool is_so;
        enum err_grpc status;
        const char *text;
    } faults[] = {
        {head->too_large, ERR_GRPC_RESOURCE_EXHAUSTED, "the metadata is larger than the server accepts"},
        {head->no_memory, ERR_GRPC_RESOURCE_EXHAUSTED, "the server has too little memory"},
        {head->bad_timeout, ERR_GRPC_INTERNAL, "grpc-timeout is malformed"},
        {head->bad_value, ERR_GRPC_INTERNAL, "binary metadata is not base64"},
        {call->entry->method == NULL, ERR_GRPC_UNIMPLEMENTED, "no such method"},
        {head->encoding == RPC_UNKNOWN_ENCODING, ERR_GRPC_UNIMPLEMENTED, "grpc-encoding is not identity or gzip"},
        {call->deadline_ns <= call->begun_ns, ERR_GRPC_DEADLINE_EXCEEDED, "the call took too long"},
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (faults[i].is_so) {
            *ret_status = faults[i].status;
            return faults[i].text;
        }
    return NULL;
}

static void count_beginning(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    unsigned limit_ms;
    uint64_t limit_ns;

    call->entry = rpc_methods_find(&server->methods, call->head.path);
    limit_ms = is_stream(call) ? server->def.max_stream_ms : server->def.max_call_ms;
    limit_ns = limit_ms * CLOCK_NS_PER_MS;
    call->deadline_ns = call->begun_ns + (call->head.timeout_ns < limit_ns ? call->head.timeout_ns : limit_ns);
    trace_begin(rpc_call_metadata(call, "traceparent"), false, &call->trace);
    call->is_fresh = true;
    TAILQ_INSERT_TAIL(&call->loop->fresh, call, fresh);
    rpc_stats_started(&call->entry->stats);
}

void rpc_call_begin(struct rpc_call *call)
{
    struct rpc_server *server = call->loop->server;
    unsigned in_flight = atomic_fetch_add(&server->in_flight, 1);
    enum err_grpc status;
    const char *text;

    count_beginning(call);
    if (!call->head.is_post) {
        rpc_response_http(call, 405);
    } else if (!call->head.is_grpc) {
        rpc_response_http(call, 415);
    } else if ((text = fault(call, &status)) != NULL) {
        rpc_finish(call, status, text);
    } else if (in_flight >= server->def.max_in_flight + (call->entry->quiet ? RPC_QUIET_RESERVE : 0)) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many calls in flight");
    } else if (budget_exceeded(&server->memory) || !expect_messages(call)) {
        rpc_finish(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too many requests are being received");
    } else if (intercept_before(call)) {
        call->opened = true;
        if (call->entry->method->on_open != NULL)
            call->entry->method->on_open(call);
    }
}

/* ---- what handlers call ---- */

struct rpc_server *rpc_call_server(const struct rpc_call *call)
{
    return call->loop->server;
}

void rpc_call_watch_health(struct rpc_call *call)
{
    rpc_loop_watch_health(call->loop);
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
    bool is_binary = name_str.len > 4 && strcmp(name + name_str.len - 4, "-bin") == 0;
    struct rpc_field *field = is_binary || is_text(value) ? malloc(sizeof(*field) + 4 * (value.len / 3 + 1)) : NULL;
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

static void add_field(struct rpc_call *call, struct rpc_fields *fields, bool too_late, const char *name,
                      struct str value)
{
    struct rpc_field *field = !too_late && fields->count < RPC_MAX_FIELDS ? field_new(name, value) : NULL;

    if (field != NULL)
        fields->field[fields->count++] = field;
}

void rpc_call_add_metadata(struct rpc_call *call, const char *name, struct str value)
{
    pthread_mutex_lock(&call->lock);
    add_field(call, &call->initial, call->metadata_sent || call->over, name, value);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_add_trailer(struct rpc_call *call, const char *name, struct str value)
{
    pthread_mutex_lock(&call->lock);
    add_field(call, &call->trailing, call->finished || call->over, name, value);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value)
{
    rpc_call_add_metadata(call, name, str_of(value));
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
    have_run(call);
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
    have_run(call);
    return result;
}

int rpc_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    int result;

    pthread_mutex_lock(&call->lock);
    result = send_locked(call, message);
    pthread_mutex_unlock(&call->lock);
    return result;
}

void rpc_finish(struct rpc_call *call, enum err_grpc status, const char *message)
{
    pthread_mutex_lock(&call->lock);
    finish_locked(call, status, message);
    pthread_mutex_unlock(&call->lock);
}

void rpc_finish_with_details(struct rpc_call *call, enum err_grpc status, const char *message, struct str details)
{
    pthread_mutex_lock(&call->lock);
    add_field(call, &call->trailing, call->finished || call->over, "grpc-status-details-bin", details);
    finish_locked(call, status, message);
    pthread_mutex_unlock(&call->lock);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    pthread_mutex_lock(&call->lock);
    if (send_locked(call, message) >= 0)
        finish_locked(call, ERR_GRPC_OK, NULL);
    else
        finish_locked(call, ERR_GRPC_RESOURCE_EXHAUSTED, "too much is waiting to be sent");
    pthread_mutex_unlock(&call->lock);
}

void rpc_fail(struct rpc_call *call, int err, const char *message)
{
    rpc_finish(call, err_grpc_status(err), message != NULL ? message : err_text(err));
}

void rpc_pause(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->paused = true;
    pthread_mutex_unlock(&call->lock);
}

void rpc_resume(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->paused = false;
    if (!call->over)
        have_run(call);
    pthread_mutex_unlock(&call->lock);
}
