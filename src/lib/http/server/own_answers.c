/* What h2o answers by itself (400, 413, 417): instead of its text, a problem response with its reason, which is counted
 * and logged like any other. */
#include "http_internal.h"

struct problem_stream {
    h2o_ostream_t super;
    h2o_compat_sendvec body;
};

static void send_problem(h2o_ostream_t *stream, h2o_req_t *h2o, h2o_compat_sendvec *bufs, size_t count,
                         h2o_send_state_t state)
{
    struct problem_stream *problem = (struct problem_stream *)stream;

    h2o_ostream_send_next(stream, h2o, &problem->body, problem->body.len > 0, state);
}

/* A body that is too large over HTTP/2: the answer has no body of its own, so that it ends with its head. What the
 * client still sends makes h2o reset the stream, and would cut off the rest. */
static struct http_reply *reply_of(h2o_req_t *h2o)
{
    struct http_conn *conn = http_conn_of(h2o);

    if (conn->too_large != h2o)
        return http_problem(h2o->res.status, "%s", h2o->res.reason);
    conn->too_large = NULL;
    return http_reply_new(413);
}

static void on_response(h2o_filter_t *filter, h2o_req_t *h2o, h2o_ostream_t **slot)
{
    if (!http_exchange_is_ours(h2o)) {
        struct http_exchange *exchange = http_exchange_begin(h2o, &http_exchange_source);
        struct problem_stream *problem = (void *)h2o_compat_add_ostream(h2o, sizeof(*problem), slot);
        h2o_iovec_t body;

        h2o->res.headers.size = 0;
        http_exchange_respond(exchange, reply_of(h2o), &body);
        problem->super.do_send = send_problem;
        problem->body = h2o_compat_send_bytes(body.base, body.len);
        slot = &problem->super.next;
    }
    h2o_setup_next_ostream(h2o, slot);
}

void http_own_answers_register(h2o_hostconf_t *host)
{
    h2o_create_filter(&host->fallback_path, sizeof(h2o_filter_t))->on_setup_ostream = on_response;
}
