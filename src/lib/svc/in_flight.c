#include "clock.h"
#include "net_listing.h"
#include "svc_in_flight.h"
#include "thread.h"
#include <stdlib.h>

#define WAIT_NS   CLOCK_NS_PER_S
#define MAX_EACH  200          /* requests, and connections, of a worker */
#define MAX_LIST  (256 * 1024) /* bytes of either list; what is beyond is left out */
#define MAX_SHOWN 256          /* bytes of a path */

/* What one worker is asked. */
struct question {
    struct loop_message message;
    struct gathering *gathering;
    struct svc_server server;
    unsigned worker;
    unsigned requests, connections; /* listed */
    bool answered;
};

/* Freed by whoever drops the last reference: each question's, and the thread's. */
struct gathering {
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    unsigned references, missing;
    struct buf requests, connections;
    bool cut;  /* not all of them fitted */
    bool over; /* the reply has been made */

    struct svc_in_flight *in_flight;
    struct http_deferred *deferred;
    unsigned count;
    struct question questions[];
};

static void unref(struct gathering *gathering) /* locked; unlocks */
{
    bool last = --gathering->references == 0;

    pthread_mutex_unlock(&gathering->lock);
    if (!last)
        return;
    buf_release(&gathering->requests);
    buf_release(&gathering->connections);
    pthread_cond_destroy(&gathering->changed);
    pthread_mutex_destroy(&gathering->lock);
    free(gathering);
}

/* ---- what a worker says ---- */

static unsigned long long age_ms(uint64_t since_ns)
{
    return (clock_monotonic_ns() - since_ns) / CLOCK_NS_PER_MS;
}

static void append_string(struct buf *out, const char *key, struct str value)
{
    buf_printf(out, ",\"%s\":", key);
    buf_append_json_string(out, (struct str){value.s, value.len < MAX_SHOWN ? value.len : MAX_SHOWN});
}

/* With the lock held. Appends an object, or leaves it out where it does not fit. */
static void put(struct gathering *gathering, struct buf *list, struct buf *take_object)
{
    if (take_object->failed || list->len + take_object->len + 1 > MAX_LIST) {
        gathering->cut = true;
    } else {
        if (list->len > 0)
            buf_append_char(list, ',');
        buf_append_str(list, buf_str(take_object));
    }
    buf_release(take_object);
}

static struct buf begin_object(const struct question *question)
{
    struct buf object = {0};

    buf_printf(&object, "{\"server\":\"%s\",\"worker\":%u", question->server.type->protocol, question->worker);
    return object;
}

static void put_request(void *arg, const struct net_listed_request *request)
{
    struct question *question = arg;
    struct buf object;
    char trace_id[TRACE_ID_TEXT_SIZE];

    if (question->requests++ >= MAX_EACH) {
        question->gathering->cut = true;
        return;
    }
    object = begin_object(question);
    trace_id_text(request->trace, trace_id);
    buf_printf(&object, ",\"age_ms\":%llu", age_ms(request->begun_ns));
    append_string(&object, "phase", str_of(request->phase));
    append_string(&object, "method", request->method);
    append_string(&object, "path", request->path);
    append_string(&object, "route", request->route);
    append_string(&object, "client", request->client);
    append_string(&object, "trace", str_of(trace_id));
    buf_append_char(&object, '}');
    put(question->gathering, &question->gathering->requests, &object);
}

static void put_connection(void *arg, const struct net_listed_connection *connection)
{
    struct question *question = arg;
    struct buf object;

    if (question->connections++ >= MAX_EACH) {
        question->gathering->cut = true;
        return;
    }
    object = begin_object(question);
    buf_printf(&object, ",\"age_ms\":%llu,\"requests\":%u,\"held_bytes\":%zu", age_ms(connection->opened_ns),
               connection->requests, connection->held_bytes);
    append_string(&object, "peer", connection->peer);
    buf_append_char(&object, '}');
    put(question->gathering, &question->gathering->connections, &object);
}

/* In the worker's thread. */
static void answer(struct loop_message *message)
{
    struct question *question = (struct question *)message;
    struct gathering *gathering = question->gathering;

    pthread_mutex_lock(&gathering->lock);
    if (!gathering->over) /* one more tells that there are more */
        question->server.type->list(question->server.server, question->worker, MAX_EACH + 1,
                                    &(struct net_listing){question, put_request, put_connection});
    question->answered = true;
    if (--gathering->missing == 0)
        pthread_cond_signal(&gathering->changed);
    unref(gathering);
}

/* ---- the reply ---- */

/* With the lock held. */
static struct http_reply *reply_of(struct gathering *gathering)
{
    struct buf body = {0};
    bool first = true;

    buf_append_cstr(&body, "{\"requests\":[");
    buf_append_str(&body, buf_str(&gathering->requests));
    buf_append_cstr(&body, "],\"connections\":[");
    buf_append_str(&body, buf_str(&gathering->connections));
    buf_append_cstr(&body, "],\"stuck\":[");
    for (unsigned i = 0; i < gathering->count; i++) {
        const struct question *question = &gathering->questions[i];

        if (question->answered)
            continue;
        buf_printf(&body, "%s{\"server\":\"%s\",\"worker\":%u}", first ? "" : ",", question->server.type->protocol,
                   question->worker);
        first = false;
    }
    buf_printf(&body, "],\"complete\":%s}\n", gathering->cut ? "false" : "true");
    if (buf_error(&body) == 0)
        return http_reply_take(200, "application/json", &body);
    buf_release(&body);
    return http_problem(500, "out of memory");
}

static void *wait_for_all(void *arg)
{
    struct gathering *gathering = arg;
    struct svc_in_flight *in_flight = gathering->in_flight;
    uint64_t until_ns = clock_monotonic_ns() + WAIT_NS;
    struct http_reply *reply;

    pthread_mutex_lock(&gathering->lock);
    while (gathering->missing > 0 && thread_wait_until(&gathering->changed, &gathering->lock, until_ns) == 0)
        ;
    reply = reply_of(gathering);
    gathering->over = true;
    buf_release(&gathering->requests);
    buf_release(&gathering->connections);
    http_answer(gathering->deferred, reply);
    unref(gathering);
    atomic_store(&in_flight->busy, false);
    return NULL;
}

/* ---- the handler ---- */

static struct gathering *gathering_new(struct svc_in_flight *in_flight, const struct svc_server *servers,
                                       unsigned server_count, unsigned workers)
{
    unsigned count = server_count * workers;
    struct gathering *gathering = calloc(1, sizeof(*gathering) + count * sizeof(gathering->questions[0]));

    if (gathering == NULL)
        return NULL;
    pthread_mutex_init(&gathering->lock, NULL);
    thread_cond_init(&gathering->changed);
    gathering->in_flight = in_flight;
    gathering->count = gathering->missing = count;
    gathering->references = count + 1;
    for (unsigned i = 0; i < count; i++)
        gathering->questions[i] = (struct question){
            .message.run = answer, .gathering = gathering, .server = servers[i / workers], .worker = i % workers};
    return gathering;
}

static void ask(struct gathering *gathering)
{
    for (unsigned i = 0; i < gathering->count; i++) {
        struct question *question = &gathering->questions[i];

        loop_post(question->server.type->list_loop(question->server.server, question->worker), &question->message);
    }
}

/* The thread that answered before has ended, or is about to. */
static void join(struct svc_in_flight *in_flight)
{
    if (in_flight->started)
        pthread_join(in_flight->thread, NULL);
    in_flight->started = false;
}

static void give_up(struct gathering *gathering)
{
    pthread_mutex_lock(&gathering->lock);
    gathering->references = 1;
    unref(gathering);
}

struct http_reply *svc_in_flight_reply(struct svc_in_flight *in_flight, const struct svc_server *servers,
                                       unsigned server_count, unsigned workers, struct http_req *req)
{
    struct gathering *gathering;

    if (atomic_exchange(&in_flight->busy, true))
        return http_set_header(http_problem(503, "another answer is being made"), "retry-after", "1");
    join(in_flight);
    gathering = gathering_new(in_flight, servers, server_count, workers);
    if (gathering != NULL && (gathering->deferred = http_defer(req)) == NULL) {
        give_up(gathering);
        gathering = NULL;
    }
    if (gathering == NULL) {
        atomic_store(&in_flight->busy, false);
        return http_problem(500, "out of memory");
    }
    if (thread_start(&in_flight->thread, "in-flight", wait_for_all, gathering) == 0) {
        in_flight->started = true;
        ask(gathering);
    } else {
        http_answer(gathering->deferred, http_problem(500, "no thread could be started"));
        give_up(gathering);
        atomic_store(&in_flight->busy, false);
    }
    return NULL;
}

void svc_in_flight_end(struct svc_in_flight *in_flight)
{
    join(in_flight);
}
