/* Deferred answers: from any thread, once, also when the client or the server has gone.
 *
 * A deferral belongs to whoever will answer. It knows its exchange as long as that is unanswered (loop's thread only:
 * exchange.c clears the pointer), and holds a reference to its worker's gate. Gate: what answers meet instead of the
 * worker itself, which may be freed before the last answer comes. gate->lock guards gate->loop, which is NULL from the
 * moment at which the worker takes no more messages; until then the lock keeps the loop alive while a message is
 * posted. */
#include "http_internal.h"
#include <stdlib.h>

/* ---- the gate ---- */

struct http_gate *http_gate_new(struct loop *loop, struct http_server *server)
{
    struct http_gate *gate = malloc(sizeof(*gate));

    if (gate == NULL)
        return NULL;
    *gate = (struct http_gate){.loop = loop, .server = server, .references = 1};
    pthread_mutex_init(&gate->lock, NULL);
    return gate;
}

struct http_gate *http_gate_unref(struct http_gate *gate)
{
    bool last;

    assert(gate->references > 0);
    last = --gate->references == 0;
    pthread_mutex_unlock(&gate->lock);
    if (last) {
        pthread_mutex_destroy(&gate->lock);
        free(gate);
    }
    return NULL;
}

/* ---- the answer ---- */

static void free_deferral(struct http_deferral *deferral) /* gate locked; unlocks */
{
    if (deferral->charged > 0 && deferral->gate->loop != NULL) /* else the server may be gone, with its budget */
        budget_give(&deferral->gate->server->memory, deferral->charged);
    http_gate_unref(deferral->gate);
    http_reply_free(deferral->reply);
    free(deferral);
}

static void deliver(struct loop_message *message)
{
    struct http_deferral *deferral = H2O_STRUCT_FROM_MEMBER(struct http_deferral, message, message);
    struct http_reply *reply = deferral->reply;

    if (deferral->exchange != NULL) {
        deferral->reply = NULL;
        http_exchange_answer(deferral->exchange, reply);
        assert(deferral->exchange == NULL);
    }
    pthread_mutex_lock(&deferral->gate->lock);
    free_deferral(deferral);
}

static void answer(struct http_deferred *take_deferred, struct http_reply *take_reply)
{
    struct http_deferral *deferral = H2O_STRUCT_FROM_MEMBER(struct http_deferral, deferred, take_deferred);
    struct http_gate *gate = deferral->gate;
    bool here;

    assert(deferral->reply == NULL);
    deferral->reply = take_reply;
    pthread_mutex_lock(&gate->lock);
    if (gate->loop == NULL) {
        free_deferral(deferral);
        return;
    }
    deferral->reply = http_watch_charge(take_reply, gate->server, deferral->must_be_sent);
    here = loop_is_current(gate->loop);
    if (!here)
        loop_post(gate->loop, &deferral->message);
    pthread_mutex_unlock(&gate->lock);
    if (here)
        deliver(&deferral->message);
}

/* Of the trace, which may outlive the request: into what was allocated behind the deferral. */
static void keep_strings(struct http_deferral *deferral)
{
    struct trace *trace = &deferral->deferred.trace;
    char *to = (char *)(deferral + 1);

    if (trace->state.len > 0)
        trace->state.s = memcpy(to, trace->state.s, trace->state.len);
    if (trace->baggage.len > 0)
        trace->baggage.s = memcpy(to + trace->state.len, trace->baggage.s, trace->baggage.len);
}

struct http_deferred *http_deferral_new(struct http_exchange *exchange)
{
    struct budget *memory = &exchange->worker->server->memory;
    struct trace trace = exchange->req.trace;
    size_t charged = trace.state.len + trace.baggage.len;
    struct http_deferral *deferral;

    assert(!exchange->was_deferred && !exchange->answered);
    if (charged > 0 && !budget_take(memory, charged)) { /* the answer needs neither */
        trace.state = trace.baggage = STR_NULL;
        charged = 0;
    }
    if ((deferral = malloc(sizeof(*deferral) + charged)) == NULL) {
        budget_give(memory, charged);
        return NULL;
    }
    *deferral = (struct http_deferral){.deferred = {.answer = answer,
                                                    .loop = exchange->req.loop,
                                                    .trace = trace,
                                                    .deadline_ns = exchange->deadline_ns},
                                       .message = {.run = deliver},
                                       .exchange = exchange,
                                       .charged = charged,
                                       .must_be_sent = !http_method_is_safe(exchange->method),
                                       .gate = exchange->worker->gate};
    keep_strings(deferral);
    pthread_mutex_lock(&deferral->gate->lock);
    deferral->gate->references++;
    pthread_mutex_unlock(&deferral->gate->lock);
    exchange->deferral = deferral;
    exchange->was_deferred = true;
    return &deferral->deferred;
}
