/* What HTTP/2 itself refuses. h2o counts the streams that it resets by their error code; these counts become metrics,
 * and a log line once in a while. It does not count connections that it ends with an error; those that head.c ends are
 * counted there. */
#include "http_internal.h"
#include "seldom.h"

#define WARN_NS (10 * CLOCK_NS_PER_S)

static const char *const codes[HTTP2_ERRORS] = {"NO_ERROR",           "PROTOCOL_ERROR",   "INTERNAL_ERROR",
                                                "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
                                                "FRAME_SIZE_ERROR",   "REFUSED_STREAM",   "CANCEL",
                                                "COMPRESSION_ERROR",  "CONNECT_ERROR",    "ENHANCE_YOUR_CALM",
                                                "INADEQUATE_SECURITY"};

_Static_assert(HTTP2_ERRORS == H2O_HTTP2_ERROR_MAX, "each error has a name");

void http_refusals_open(struct http_server *server)
{
    static const struct metrics_def refused = {
        .name = "http2_refused_total",
        .help = "Streams (RST_STREAM) and connections (GOAWAY) that HTTP/2 refused, by error code.",
        .type = METRICS_COUNTER,
        .labels = {"server", "frame", "code"}};

    server->refused_family = metrics_family(server->def.metrics, &refused);
}

void http_refusals_count(struct http_server *server, const char *frame, unsigned error, uint64_t count)
{
    const struct str labels[] = {str_of(server->def.name), str_of(frame), str_of(codes[error])};

    metrics_add(metrics_series(server->refused_family, labels), count);
    if (seldom(&server->warn_refused_ns, WARN_NS))
        log_fields(server->def.log, LOG_WARNING, NULL, "a client's HTTP/2 was refused",
                   (const struct log_field[]){LOG_CSTR("server", server->def.name), LOG_CSTR("frame", frame),
                                              LOG_CSTR("code", codes[error]), LOG_INT("count", (int64_t)count)},
                   4);
}

void http_refusals_look(struct http_worker *worker)
{
    for (unsigned error = 1; error < HTTP2_ERRORS; error++) {
        uint64_t count = worker->h2o.http2.events.protocol_level_errors[error];

        if (count != worker->resets_seen[error])
            http_refusals_count(worker->server, "RST_STREAM", error, count - worker->resets_seen[error]);
        worker->resets_seen[error] = count;
    }
}
