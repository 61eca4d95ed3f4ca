/* The end of a call: its response, an error, its deadline, or its caller cancels it. */
#include "clock.h"
#include "http_client_internal.h"
#include <errno.h>
#include <stdlib.h>

static void count_call(const struct http_call *call, int result)
{
    struct client_worker *worker = call->worker;
    struct http_client *client = worker->client;
    const struct str peer[] = {str_of(client->def.name)};

    if (client->def.metrics == NULL)
        return;
    metrics_add(http_status_series(&worker->requests, client->requests, result, peer, 1), 1);
    metrics_observe(client->durations, (double)(clock_monotonic_ns() - call->start_ns) / (double)CLOCK_NS_PER_S);
}

static void free_call(struct http_call *call)
{
    loop_timer_stop(call->worker->loop, &call->timer);
    h2o_linklist_unlink(&call->link);
    call->worker->in_flight--;
    client_request_release(call);
    free(call);
}

void client_call_finish(struct http_call *call, int err, const struct http_client_response *response)
{
    http_client_done *done = call->done;
    void *arg = call->arg;

    assert((err < 0) == (response == NULL) && call->conn == NULL);
    count_call(call, err < 0 ? err : response->status);
    client_span_end(call, err < 0 ? err : response->status);
    free_call(call);
    done(arg, err, response);
}

void http_call_cancel(struct http_call *call)
{
    if (call->conn != NULL)
        client_conn_close(call->conn);
    client_span_end(call, -ECANCELED);
    free_call(call);
}

/* ---- the timer ---- */

void client_call_on_timer(struct loop_timer *timer)
{
    struct http_call *call = H2O_STRUCT_FROM_MEMBER(struct http_call, timer, timer);

    if (call->conn != NULL)
        client_conn_close(call->conn);
    client_call_finish(call, call->err, NULL);
}

void client_call_fail_soon(struct http_call *call, int err)
{
    call->err = err;
    if (loop_timer_start(call->worker->loop, &call->timer, 0, client_call_on_timer) < 0)
        abort(); /* its place was free a moment ago */
}
