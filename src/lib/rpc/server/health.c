/* grpc.health.v1.Health: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. All services of a server have
 * the same state, because they share its process: SERVING where rpc_server_set_serving says so and the service is
 * ready. Whether it is ready can only be asked: for Check at each call, for Watch every LOOK_NS. */
#include "clock.h"
#include "health.pb-c.h"
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;

#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

#define LOOK_NS (250 * CLOCK_NS_PER_MS)

struct watch {
    TAILQ_ENTRY(watch) link;
    struct rpc_call *call;
    bool known; /* the service that it asks for */
    Status told;
};

struct rpc_health {
    const struct rpc_method *table;
    bool (*ready)(void *state); /* may be NULL */
    void *state;
    atomic_uint watched;  /* how many watches there are */
    pthread_mutex_t lock; /* of what follows; taken before a call's */
    bool serving, ended;
    uint64_t look_ns; /* when to ask again whether the service is ready */
    TAILQ_HEAD(, watch) watches;
};

static bool is_known(const struct rpc_health *health, const char *service)
{
    if (service[0] == '\0')
        return true;
    for (const struct rpc_method *method = health->table; method->service != NULL; method++)
        if (strcmp(method->service->name, service) == 0)
            return true;
    return false;
}

static Response response_of(Status status)
{
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status;
    return response;
}

/* Under the lock. */
static Status status_of(const struct rpc_health *health)
{
    return health->serving && (health->ready == NULL || health->ready(health->state)) ? SERVING : NOT_SERVING;
}

static void check(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_health *health = rpc_call_server(call)->health;
    Response response;

    if (!is_known(health, ((const Request *)message)->service)) {
        rpc_finish(call, ERR_GRPC_NOT_FOUND, "no such service");
        return;
    }
    pthread_mutex_lock(&health->lock);
    response = response_of(status_of(health));
    pthread_mutex_unlock(&health->lock);
    rpc_reply(call, &response.base);
}

typedef Grpc__Health__V1__HealthListResponse__StatusesEntry Entry;

/* "" and each service of the table, whose methods need not stand together. Returns how many names there are. */
static size_t services_of(const struct rpc_method *table, const char **names)
{
    size_t count = 1;

    names[0] = "";
    for (const struct rpc_method *method = table; method->service != NULL; method++) {
        size_t i = 0;

        while (i < count && strcmp(names[i], method->service->name) != 0)
            i++;
        if (i == count)
            names[count++] = method->service->name;
    }
    return count;
}

static size_t count_methods(const struct rpc_method *table)
{
    size_t count = 0;

    while (table[count].service != NULL)
        count++;
    return count;
}

static void list(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_health *health = rpc_call_server(call)->health;
    Grpc__Health__V1__HealthListResponse answer = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    size_t most = count_methods(health->table) + 1;
    const char **names = calloc(most, sizeof(*names));
    Entry *entries = calloc(most, sizeof(*entries)), **statuses = calloc(most, sizeof(*statuses));
    Response response;

    if (names == NULL || entries == NULL || statuses == NULL) {
        rpc_fail(call, -ENOMEM, NULL);
        goto out;
    }
    pthread_mutex_lock(&health->lock);
    response = response_of(status_of(health));
    pthread_mutex_unlock(&health->lock);
    answer.n_statuses = services_of(health->table, names);
    answer.statuses = statuses;
    for (size_t i = 0; i < answer.n_statuses; i++) {
        grpc__health__v1__health_list_response__statuses_entry__init(&entries[i]);
        entries[i].key = (char *)names[i];
        entries[i].value = &response;
        statuses[i] = &entries[i];
    }
    rpc_reply(call, &answer.base);
out:
    free(names);
    free(entries);
    free(statuses);
}

/* Under the lock. A watcher that does not read is sent away: better no news than old news. */
static void tell(struct watch *watch, Status of_known)
{
    Status status = watch->known ? of_known : SERVICE_UNKNOWN;
    Response response = response_of(status);

    if (watch->told == status)
        return;
    watch->told = status;
    if (rpc_send(watch->call, &response.base) == -ENOBUFS)
        rpc_finish(watch->call, ERR_GRPC_RESOURCE_EXHAUSTED, "the watcher does not read");
}

/* Under the lock. */
static void tell_all(struct rpc_health *health)
{
    Status status = status_of(health);

    for (struct watch *watch = TAILQ_FIRST(&health->watches); watch != NULL; watch = TAILQ_NEXT(watch, link))
        tell(watch, status);
}

/* Tells watchers what has changed; returns when to do it again (monotonic ns), UINT64_MAX without watchers. */
static uint64_t tick(struct rpc_health *health)
{
    uint64_t now, look_ns;

    if (health->ready == NULL || atomic_load(&health->watched) == 0)
        return UINT64_MAX;
    pthread_mutex_lock(&health->lock);
    now = clock_monotonic_ns();
    if (now >= health->look_ns) {
        tell_all(health);
        health->look_ns = now + LOOK_NS;
    }
    look_ns = health->look_ns;
    pthread_mutex_unlock(&health->lock);
    return look_ns;
}

static void on_health_timer(struct loop_timer *timer);

/* Of a loop in which there is a watch. */
static void look_later(struct rpc_loop *loop)
{
    uint64_t due_ns = tick(loop->server->health), now = clock_monotonic_ns();

    if (due_ns != UINT64_MAX && !loop->cutting)
        loop_timer_start(loop->loop, &loop->health_timer, due_ns > now ? (due_ns - now) / CLOCK_NS_PER_MS : 0,
                         on_health_timer);
}

static void on_health_timer(struct loop_timer *timer)
{
    look_later(RPC_OWNER(timer, struct rpc_loop, health_timer));
}

static void end_watch(struct watch *watch)
{
    rpc_finish(watch->call, ERR_GRPC_UNAVAILABLE, "the server is shutting down");
}

static void watch_begun(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_health *health = rpc_call_server(call)->health;
    struct watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        rpc_fail(call, -ENOMEM, NULL);
        return;
    }
    watch->call = rpc_call_ref(call); /* it is told of in any thread */
    watch->known = is_known(health, ((const Request *)message)->service);
    rpc_call_set_data(call, watch);
    pthread_mutex_lock(&health->lock);
    TAILQ_INSERT_TAIL(&health->watches, watch, link);
    atomic_fetch_add(&health->watched, 1);
    tell(watch, status_of(health));
    if (health->ended)
        end_watch(watch);
    pthread_mutex_unlock(&health->lock);
    look_later(call->loop);
}

static void watch_closed(struct rpc_call *call)
{
    struct rpc_health *health = rpc_call_server(call)->health;
    struct watch *watch = rpc_call_data(call);

    if (watch == NULL)
        return;
    pthread_mutex_lock(&health->lock);
    TAILQ_REMOVE(&health->watches, watch, link);
    atomic_fetch_sub(&health->watched, 1);
    pthread_mutex_unlock(&health->lock);
    rpc_call_unref(watch->call);
    free(watch);
}

const struct rpc_method rpc_health_methods[] = {
    RPC_UNARY(&grpc__health__v1__health__descriptor, "Check", check),
    RPC_UNARY(&grpc__health__v1__health__descriptor, "List", list),
    {
        .service = &grpc__health__v1__health__descriptor,
        .name = "Watch",
        .kind = RPC_SERVER_STREAM_KIND,
        .on_message = watch_begun,
        .on_close = watch_closed,
    },
    {0},
};

int rpc_health_new(const struct rpc_server_def *def, struct rpc_health **ret_health)
{
    struct rpc_health *health = calloc(1, sizeof(*health));

    if (health == NULL)
        return -ENOMEM;
    health->table = def->methods;
    health->ready = def->ready;
    health->state = def->ready_state != NULL ? def->ready_state : def->state;
    TAILQ_INIT(&health->watches);
    pthread_mutex_init(&health->lock, NULL);
    *ret_health = health;
    return 0;
}

void rpc_health_set(struct rpc_health *health, bool serving)
{
    pthread_mutex_lock(&health->lock);
    health->serving = serving;
    tell_all(health);
    pthread_mutex_unlock(&health->lock);
}

void rpc_health_end(struct rpc_health *health)
{
    rpc_health_set(health, false);
    pthread_mutex_lock(&health->lock);
    health->ended = true;
    for (struct watch *watch = TAILQ_FIRST(&health->watches); watch != NULL; watch = TAILQ_NEXT(watch, link))
        end_watch(watch);
    pthread_mutex_unlock(&health->lock);
}

struct rpc_health *rpc_health_free(struct rpc_health *health)
{
    if (health != NULL)
        pthread_mutex_destroy(&health->lock);
    free(health);
    return NULL;
}
