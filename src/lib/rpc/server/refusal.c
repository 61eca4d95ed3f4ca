/* What HTTP/2 itself refuses: frames that a client must not send, and floods of those that it may send. nghttp2 bounds
 * the size of the header table and unread answers to PING and SETTINGS; what it does not bound in all versions is
 * bounded here. Each refusal is counted with the code that the client gets, and logged once in a while.
 *
 * Resets: a client that resets a call frees its place for another one, while the server may still work on the first, so
 * that the bound of streams would not bound that work. Each reset within RESET_SOON_NS of a call's beginning costs
 * time: its deadline divided by the number of streams, since a client whose calls all miss that deadline resets as
 * many; at most RESET_COST_NS, which is what a call without a deadline costs. A connection may owe RESET_DEBT_NS. */
#include "clock.h"
#include "rpc_server_internal.h"
#include "seldom.h"

#define MAX_FAULTS 100  /* for which streams of a connection may be reset */
#define MAX_EMPTY  1000 /* DATA frames without data in a row */
#define WARN_NS    (10 * CLOCK_NS_PER_S)

#define RESET_SOON_NS (100 * CLOCK_NS_PER_MS)
#define RESET_COST_NS (30 * CLOCK_NS_PER_MS)
#define RESET_DEBT_NS (30 * CLOCK_NS_PER_S)

static const struct metrics_def refused_def = {
    .name = "grpc_server_refused_total",
    .help = "Streams and connections of clients that were refused by HTTP/2, by frame and error code.",
    .type = METRICS_COUNTER,
    .labels = {"frame", "code"}};

void rpc_refusal_open(struct rpc_server *server)
{
    server->refused = metrics_family(server->def.metrics, &refused_def);
}

static void record(struct rpc_conn *conn, const char *frame, uint32_t error)
{
    struct rpc_server *server = conn->loop->server;
    const char *code = nghttp2_http2_strerror(error);
    uint64_t count = atomic_fetch_add_explicit(&server->refusals, 1, memory_order_relaxed) + 1;

    metrics_add(metrics_series(server->refused, (const struct str[]){str_of(frame), str_of(code)}), 1);
    if (!seldom(&server->warn_ns, WARN_NS))
        return;
    log_fields(server->def.log, LOG_WARNING, NULL, "a client's HTTP/2 was refused",
               (const struct log_field[]){LOG_CSTR("frame", frame), LOG_CSTR("code", code),
                                          LOG_CSTR("remote_ip", conn->remote_ip), LOG_INT("refused", (int64_t)count)},
               4);
}

void rpc_refuse(struct rpc_conn *conn, uint32_t error, const char *text)
{
    if (conn->refused)
        return;
    conn->refused = true;
    nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(conn->session),
                          error, (const uint8_t *)text, strlen(text));
}

void rpc_refusal_sent(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    uint32_t error = frame->hd.type == NGHTTP2_GOAWAY ? frame->goaway.error_code : frame->rst_stream.error_code;

    if (error == NGHTTP2_NO_ERROR)
        return;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        record(conn, "GOAWAY", error);
        return;
    }
    if (error == NGHTTP2_CANCEL) /* a call that is late, which is recorded as a call */
        return;
    record(conn, "RST_STREAM", error);
    /* More streams at once than it may have: before it has seen our settings, no client knows. */
    if (error != NGHTTP2_REFUSED_STREAM && ++conn->faults > MAX_FAULTS)
        rpc_refuse(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_faults");
}

void rpc_refusal_reset(struct rpc_conn *conn, const struct rpc_call *call)
{
    uint64_t now = clock_monotonic_ns(), cost;

    if (call == NULL || call->trailers_sent || now >= call->begun_ns + RESET_SOON_NS)
        return;
    cost = call->head.timeout_ns / RPC_MAX_STREAMS;
    conn->resets_ns = (conn->resets_ns > now ? conn->resets_ns : now) + (cost < RESET_COST_NS ? cost : RESET_COST_NS);
    if (conn->resets_ns > now + RESET_DEBT_NS)
        rpc_refuse(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
}

void rpc_refusal_data(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    bool is_empty = frame->hd.length - frame->data.padlen == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);

    conn->empty = is_empty ? conn->empty + 1 : 0;
    if (conn->empty > MAX_EMPTY)
        rpc_refuse(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_empty_frames");
}

void rpc_refusal_failed(struct rpc_conn *conn, int result)
{
    if (result == NGHTTP2_ERR_FLOODED) {
        rpc_refuse(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_frames");
    } else {
        conn->broken = true;
        record(conn, "none", NGHTTP2_PROTOCOL_ERROR); /* it is no HTTP/2 */
    }
}
