#include "network.h"
#include "err.h"
#include "mutex.h"
#include "rpc_client.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RESEND_NS   (200 * CLOCK_NS_PER_MS) /* of what is on its way while a link is cut */
#define DEAD_NS     (8 * CLOCK_NS_PER_S)    /* after which a connection is given up */
#define REFUSED_NS  (2 * CLOCK_NS_PER_MS)   /* until nobody's port is found to be closed */
#define MAX_THREADS 2

static struct {
    struct network_options options;
    bool cut[NETWORK_PROCESSES][CLUSTER_MAX];
    struct rpc_stream *streams;
} network;

void network_start(const struct network_options *options)
{
    network.options = *options;
}

void network_cut(int process, unsigned member, bool cut)
{
    network.cut[process][member] = cut;
}

static uint64_t delay(void)
{
    if (sim_chance(network.options.late))
        return sim_below(network.options.late_ns + 1);
    return sim_below(network.options.delay_ns + 1);
}

/* ---- a client: its calls and its threads ---- */

/* What a thread of the client is to call. */
struct delivery {
    struct delivery *next;
    struct call *call;         /* its end; NULL: */
    struct rpc_stream *stream; /* a message, or the end */
    const ProtobufCMessage *message;
    struct rpc_status status;
};

struct worker {
    struct rpc_client *client;
    struct delivery *first, **last;
};

struct rpc_client {
    struct sim_process *process;
    unsigned member;
    bool cancelled, closing;
    unsigned threads, running, next_thread;
    struct worker workers[MAX_THREADS];
    struct call *calls;
};

struct call {
    struct call *next;
    struct rpc_client *client;
    struct worker *worker;
    bool ended;
    const char *method;
    const ProtobufCMessage *request;
    unsigned epoch;
    uint64_t until_ns;
    rpc_unary_done *done;
    void *arg;
    int code; /* of the answer on its way */
    const char *message;
    const ProtobufCMessage *reply;
};

struct message {
    struct message *next;
    const ProtobufCMessage *content; /* NULL: the end */
    struct mvcc_status status;
};

/* Messages on their way, in their order. */
struct way {
    struct message *first, **last;
    uint64_t at_ns; /* when the last of them arrives */
};

struct rpc_stream {
    struct rpc_stream *next;
    struct rpc_client *client;
    const struct rpc_stream_handlers *handlers;
    void *arg;
    bool ended;
    struct cluster_stream *at_member;
    struct way to, from; /* the member */
    uint64_t stuck_ns;   /* since when nothing gets through; 0: it does */
};

static bool is_cut(const struct rpc_client *client)
{
    return network.cut[client->process->number][client->member];
}

static void deliver(struct worker *worker, struct delivery delivery)
{
    struct delivery *copy = sim_copy(&delivery, sizeof(delivery));

    copy->next = NULL;
    *worker->last = copy;
    worker->last = &copy->next;
    sim_wake(worker);
}

static void run_delivery(const struct delivery *delivery)
{
    const struct rpc_stream *stream = delivery->stream;

    if (delivery->call != NULL)
        delivery->call->done(delivery->call->arg, &delivery->status, delivery->message);
    else if (delivery->message != NULL)
        stream->handlers->on_message(stream->arg, delivery->message);
    else
        stream->handlers->on_done(stream->arg, &delivery->status);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct rpc_client *client = worker->client;

    for (;;) {
        struct delivery *delivery = worker->first;

        if (delivery == NULL && client->closing)
            break;
        if (delivery == NULL) {
            sim_block(worker, SIM_NEVER_NS);
            continue;
        }
        worker->first = delivery->next;
        if (worker->first == NULL)
            worker->last = &worker->first;
        run_delivery(delivery);
    }
    client->running--;
    sim_wake(client);
    return NULL;
}

/* The endpoint's number is its port. */
static int client_open(const struct rpc_client_def *def, struct rpc_client **ret_client)
{
    struct rpc_client *client = sim_alloc(sizeof(*client));

    client->process = sim_self();
    client->member = (unsigned)atoi(strchr(def->target, ':') + 1) - 1;
    client->threads = client->running = def->threads;
    assert(client->threads >= 1 && client->threads <= MAX_THREADS && client->member < CLUSTER_MAX);
    for (unsigned i = 0; i < client->threads; i++) {
        client->workers[i] = (struct worker){.client = client};
        client->workers[i].last = &client->workers[i].first;
        sim_spawn(client->process, run_worker, &client->workers[i]);
    }
    *ret_client = client;
    return 0;
}

/* ---- unary calls ---- */

static void end_call(struct call *call, int code, const char *message, const ProtobufCMessage *reply)
{
    struct call **link = &call->client->calls;

    if (call->ended)
        return;
    call->ended = true;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    sim_note("call %s of process %d to member %u ends: %d %s", call->method, call->client->process->number,
             call->client->member, code, message);
    deliver(call->worker, (struct delivery){.call = call, .message = reply, .status = {(enum err_grpc)code, message}});
}

static void on_deadline(void *arg)
{
    end_call(arg, ERR_GRPC_DEADLINE_EXCEEDED, "Deadline Exceeded", NULL);
}

static void on_lost(void *arg)
{
    end_call(arg, ERR_GRPC_UNAVAILABLE, "connection lost", NULL);
}

static void lose(struct call *call)
{
    if (sim_chance(500)) /* else its deadline ends it */
        sim_after(sim_below(2 * CLOCK_NS_PER_S), on_lost, call);
}

static void on_reply_arrived(void *arg)
{
    struct call *call = arg;

    if (call->client->process->dead)
        return;
    if (is_cut(call->client) && sim_now_ns() < call->until_ns) {
        sim_after(RESEND_NS, on_reply_arrived, call);
        return;
    }
    end_call(call, call->code, call->message, call->reply);
}

static void on_answer(void *arg, struct mvcc_status status, const ProtobufCMessage *reply)
{
    struct call *call = arg;

    if (sim_chance(network.options.lose_answer)) {
        sim_note("an answer is lost: %s of process %d", call->method, call->client->process->number);
        lose(call);
        return;
    }
    call->code = status.code;
    call->message = status.message;
    call->reply = reply;
    sim_after(delay(), on_reply_arrived, call);
}

/* It may arrive after its caller has given up, or is dead. */
static void on_request_arrived(void *arg)
{
    struct call *call = arg;
    uint64_t now_ns = sim_now_ns();

    if (is_cut(call->client)) {
        if (now_ns < call->until_ns + DEAD_NS)
            sim_after(RESEND_NS, on_request_arrived, call);
        return;
    }
    if (!cluster_is_up(call->client->member) || call->epoch != cluster_epoch()) /* its connection is gone */
        sim_after(REFUSED_NS, on_lost, call);
    else
        cluster_call(call->client->member, call->method, call->request, on_answer, call);
}

static const ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = sim_alloc(len);
    ProtobufCMessage *copy;

    protobuf_c_message_pack(message, bytes);
    copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    assert(copy != NULL);
    free(bytes);
    return copy;
}

static int unary(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                 const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done,
                 void *arg)
{
    struct call *call;

    if (client->cancelled)
        return -ECANCELED;
    call = sim_alloc(sizeof(*call));
    *call = (struct call){.next = client->calls,
                          .client = client,
                          .worker = &client->workers[client->next_thread++ % client->threads],
                          .method = method,
                          .request = copy_message(request),
                          .epoch = cluster_epoch(),
                          .until_ns = sim_now_ns() + options->timeout_ms * CLOCK_NS_PER_MS,
                          .done = done,
                          .arg = arg};
    client->calls = call;
    sim_note("call %s of process %d to member %u", method, client->process->number, client->member);
    sim_after(options->timeout_ms * CLOCK_NS_PER_MS, on_deadline, call);
    if (sim_chance(network.options.lose_request))
        lose(call);
    else
        sim_after(delay(), on_request_arrived, call);
    return 0;
}

/* ---- streams ---- */

static void end_stream(struct rpc_stream *stream, int code, const char *message)
{
    struct rpc_stream **link = &network.streams;

    if (stream->ended)
        return;
    stream->ended = true;
    for (; *link != stream; link = &(*link)->next)
        continue;
    *link = stream->next;
    if (stream->at_member != NULL)
        cluster_stream_close(stream->at_member);
    sim_note("stream of process %d to member %u ends: %d", stream->client->process->number, stream->client->member,
             code);
    deliver(&stream->client->workers[0], (struct delivery){.stream = stream, .status = {(enum err_grpc)code, message}});
}

/* True: the link is cut, and what has arrived is to be sent again later. */
static bool is_stuck(struct rpc_stream *stream)
{
    uint64_t now_ns = sim_now_ns();

    if (!is_cut(stream->client)) {
        stream->stuck_ns = 0;
        return false;
    }
    if (stream->stuck_ns == 0)
        stream->stuck_ns = now_ns;
    if (now_ns - stream->stuck_ns > DEAD_NS)
        end_stream(stream, ERR_GRPC_UNAVAILABLE, "keepalive failed");
    return true;
}

static void put(struct rpc_stream *stream, struct way *way, struct message message, void (*arrived)(void *arg))
{
    uint64_t now_ns = sim_now_ns(), at_ns = now_ns + delay();

    *way->last = sim_copy(&message, sizeof(message));
    way->last = &(*way->last)->next;
    way->at_ns = at_ns > way->at_ns ? at_ns : way->at_ns;
    sim_after(way->at_ns - now_ns, arrived, stream);
}

/* NULL: the stream is at its end, or the link is cut: it arrives again later. */
static struct message *take(struct rpc_stream *stream, struct way *way, void (*arrived)(void *arg))
{
    struct message *message = way->first;

    if (stream->ended || stream->client->process->dead)
        return NULL;
    if (is_stuck(stream)) {
        sim_after(RESEND_NS, arrived, stream);
        return NULL;
    }
    way->first = message->next;
    if (way->first == NULL)
        way->last = &way->first;
    return message;
}

static void on_from_member(void *arg)
{
    struct rpc_stream *stream = arg;
    struct message *message = take(stream, &stream->from, on_from_member);

    if (message == NULL)
        return;
    if (message->content == NULL)
        end_stream(stream, message->status.code, message->status.message);
    else
        deliver(&stream->client->workers[0], (struct delivery){.stream = stream, .message = message->content});
}

static void on_sent(void *arg, const Etcdserverpb__WatchResponse *response)
{
    struct rpc_stream *stream = arg;

    put(stream, &stream->from, (struct message){.content = &response->base}, on_from_member);
}

static void on_ended(void *arg, struct mvcc_status status)
{
    struct rpc_stream *stream = arg;

    put(stream, &stream->from, (struct message){.status = status}, on_from_member);
}

static void on_to_member(void *arg)
{
    struct rpc_stream *stream = arg;
    struct message *message = take(stream, &stream->to, on_to_member);

    if (message == NULL)
        return;
    if (!cluster_is_up(stream->client->member)) {
        end_stream(stream, ERR_GRPC_UNAVAILABLE, "connection refused");
        return;
    }
    if (stream->at_member == NULL)
        stream->at_member = cluster_stream_open(stream->client->member, on_sent, on_ended, stream);
    cluster_stream_take(stream->at_member, (const Etcdserverpb__WatchRequest *)message->content);
}

static int stream_open(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                       const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers, void *arg,
                       struct rpc_stream **ret_stream)
{
    struct rpc_stream *stream;

    if (client->cancelled)
        return -ECANCELED;
    stream = sim_alloc(sizeof(*stream));
    *stream = (struct rpc_stream){.next = network.streams, .client = client, .handlers = handlers, .arg = arg};
    stream->to.last = &stream->to.first;
    stream->from.last = &stream->from.first;
    network.streams = stream;
    sim_note("stream of process %d to member %u", client->process->number, client->member);
    *ret_stream = stream;
    return 0;
}

static int stream_send(struct rpc_stream *stream, const ProtobufCMessage *content)
{
    put(stream, &stream->to, (struct message){.content = copy_message(content)}, on_to_member);
    return 0;
}

static void stream_cancel(struct rpc_stream *stream)
{
    end_stream(stream, ERR_GRPC_CANCELLED, "cancelled");
}

static struct rpc_stream *stream_unref(struct rpc_stream *stream)
{
    return NULL;
}

void network_break_stream(void)
{
    unsigned count = 0, chosen;
    struct rpc_stream *stream;

    for (stream = network.streams; stream != NULL; stream = stream->next)
        count++;
    if (count == 0)
        return;
    chosen = (unsigned)sim_below(count);
    for (stream = network.streams; chosen > 0; stream = stream->next)
        chosen--;
    end_stream(stream, ERR_GRPC_UNAVAILABLE, "connection reset");
}

void network_forget(struct sim_process *process)
{
    struct rpc_stream *stream, *next;

    for (stream = network.streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->client->process == process)
            end_stream(stream, ERR_GRPC_CANCELLED, "its process is no more");
    }
}

/* ---- the end of a client ---- */

static void client_cancel(struct rpc_client *client)
{
    struct rpc_stream *stream, *next;

    client->cancelled = true;
    while (client->calls != NULL)
        end_call(client->calls, ERR_GRPC_CANCELLED, "cancelled", NULL);
    for (stream = network.streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->client == client)
            end_stream(stream, ERR_GRPC_CANCELLED, "cancelled");
    }
}

static struct rpc_client *client_free(struct rpc_client *client)
{
    if (client == NULL)
        return NULL;
    client_cancel(client);
    client->closing = true;
    for (unsigned i = 0; i < client->threads; i++)
        sim_wake(&client->workers[i]);
    while (client->running > 0)
        sim_block(client, SIM_NEVER_NS);
    return NULL;
}

/* ---- time, ids, threads ---- */

static uint64_t realtime_ns(void)
{
    uint64_t ns = SIM_REALTIME_S * CLOCK_NS_PER_S + sim_now_ns();

    return ns + (uint64_t)(sim_self()->clock_skew_s * (int64_t)CLOCK_NS_PER_S);
}

static int new_id(struct uuid *ret_uuid)
{
    uint64_t ms = realtime_ns() / CLOCK_NS_PER_MS, random[2] = {sim_random(), sim_random()};

    memcpy(ret_uuid->bytes, random, sizeof(random));
    for (int i = 0; i < 6; i++)
        ret_uuid->bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    ret_uuid->bytes[6] = (uint8_t)(0x70 | (ret_uuid->bytes[6] & 0x0f));
    ret_uuid->bytes[8] = (uint8_t)(0x80 | (ret_uuid->bytes[8] & 0x3f));
    return 0;
}

static int start_thread(pthread_t *ret_thread, const char *name, void *(*run)(void *arg), void *arg)
{
    *ret_thread = (pthread_t)sim_spawn(sim_self(), run, arg);
    return 0;
}

static void join_thread(pthread_t thread)
{
    sim_join((struct sim_fiber *)thread);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_cond_init(cond, NULL);
}

static int wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
    bool late;

    if (until_ns <= sim_now_ns())
        return -ETIMEDOUT;
    if (sim_chance(network.options.spurious))
        return 0;
    sim_unlocked();
    if (pthread_mutex_trylock(lock) == 0 || sim_locks() > 0)
        sim_violated("a wait with the wrong mutexes held");
    __real_pthread_mutex_unlock(lock);
    late = sim_block(cond, until_ns);
    pthread_mutex_lock(lock);
    return late ? -ETIMEDOUT : 0;
}

static void wake(pthread_cond_t *cond)
{
    sim_wake(cond);
}

static void await(sem_t *done)
{
    while (sem_trywait(done) != 0)
        sim_block(done, SIM_NEVER_NS);
}

static void post(sem_t *done)
{
    sem_post(done);
    sim_wake(done);
}

const struct etcd_world sim_world = {
    .monotonic_ns = sim_now_ns,
    .realtime_ns = realtime_ns,
    .sleep = sim_sleep,
    .new_id = new_id,
    .start_thread = start_thread,
    .join_thread = join_thread,
    .cond_init = cond_init,
    .wait = wait,
    .wake = wake,
    .await = await,
    .post = post,
    .client_open = client_open,
    .client_cancel = client_cancel,
    .client_free = client_free,
    .unary = unary,
    .stream_open = stream_open,
    .stream_send = stream_send,
    .stream_cancel = stream_cancel,
    .stream_unref = stream_unref,
};
