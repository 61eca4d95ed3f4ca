/* What nghttp2 tells of a connection. Handlers are called from here, within nghttp2: whatever they send is handed to
 * it at the end of the turn, so that it is never entered twice. */
#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>

#define MAX_LOOKED_AT (4 * RPC_MAX_HEAD) /* bytes of a call's headers; beyond RPC_MAX_HEAD it is refused anyway */
#define NO_LIMIT      ((uint64_t)1 << 40)

static_assert(MAX_LOOKED_AT >= RPC_MAX_HEAD, "what is accepted is looked at");

static struct rpc_call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    /* The GOAWAY that is to be sent refuses it: nghttp2 closes its stream then. */
    if (((struct rpc_conn *)arg)->state >= RPC_CONN_LEAVING)
        return 0;
    call = rpc_call_new(arg, frame->hd.stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct rpc_call *call = call_of(session, frame->hd.stream_id);

    if (call == NULL)
        return 0;
    if (call->entry == NULL)
        rpc_head_add(&call->head, &call->arena, (struct str){(const char *)name, name_len},
                     (struct str){(const char *)value, value_len});
    else /* a client's trailers say nothing to gRPC */
        call->head.bytes += name_len + value_len + RPC_FIELD_OVERHEAD;
    /* One byte can stand for 4 KiB that nghttp2 looks at. It decodes the rest of the block, and looks no more. */
    return call->head.bytes > MAX_LOOKED_AT ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* A request with such a field is malformed (RFC 9113, 8.2.1). Left alone, nghttp2 would pass over the field. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_ping(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        rpc_conn_ponged(conn, frame->ping.opaque_data);
    else
        rpc_conn_pinged(conn);
    return 0;
}

/* Whether the client begins a stream that is older than one that it has begun. Its last gap is remembered. */
static bool is_skipped(struct rpc_conn *conn, int32_t stream)
{
    bool skipped = stream > conn->skipped_after && stream < conn->skipped_until;

    if (stream - 2 > conn->begun) { /* ids are not negative, and may be the largest there is */
        conn->skipped_after = conn->begun;
        conn->skipped_until = stream;
    }
    conn->begun = stream > conn->begun ? stream : conn->begun;
    return skipped;
}

/* Errors of the connection (RFC 9113, 5.1.1 and 6.3) that nghttp2 passes over. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *arg)
{
    bool is_wrong = head->type == NGHTTP2_HEADERS    ? is_skipped(arg, head->stream_id)
                    : head->type == NGHTTP2_PRIORITY ? head->stream_id == 0
                                                     : false;

    return is_wrong ? nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR) : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_call *call;

    if (frame->hd.type == NGHTTP2_PING)
        return on_ping(arg, frame);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        rpc_refusal_reset(arg, call_of(session, frame->hd.stream_id));
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    if (frame->hd.type == NGHTTP2_DATA)
        rpc_refusal_data(arg, frame);
    call = call_of(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (call->entry == NULL)
        rpc_call_begin(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        rpc_call_expect_no_messages(call);
        rpc_input_ended(call);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
    struct rpc_call *call = call_of(session, stream);

    /* The connection's window does not wait for a call that is paused: others go on. */
    nghttp2_session_consume_connection(session, len);
    if (call == NULL)
        nghttp2_session_consume_stream(session, stream, len);
    else
        rpc_input_bytes(call, (struct str){(const char *)data, len});
    return 0;
}

/* A client whose call has ended need not send the rest of it. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    rpc_conn_sent(conn, frame);
    if (frame->hd.type == NGHTTP2_GOAWAY || frame->hd.type == NGHTTP2_RST_STREAM)
        rpc_refusal_sent(conn, frame);
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (call = call_of(session, frame->hd.stream_id)) == NULL)
        return 0;
    call->trailers_sent = true;
    if (!call->half_closed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg)
{
    struct rpc_call *call = call_of(session, stream);
    bool whole;

    if (call == NULL)
        return 0;
    whole = call->trailers_sent && error == NGHTTP2_NO_ERROR;
    rpc_call_end(call, whole);
    return 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    return callbacks;
}

int rpc_session_prepare(struct rpc_server *server)
{
    server->callbacks = make_callbacks();
    if (server->callbacks == NULL || nghttp2_option_new(&server->option) != 0)
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(server->option, 1);
    nghttp2_option_set_no_closed_streams(server->option, 1);
    nghttp2_option_set_stream_reset_rate_limit(server->option, NO_LIMIT, NO_LIMIT); /* see rpc_refusal_reset */
    return 0;
}

void rpc_session_dispose(struct rpc_server *server)
{
    nghttp2_session_callbacks_del(server->callbacks);
    nghttp2_option_del(server->option);
}
