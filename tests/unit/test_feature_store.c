/* The handlers of feature-store on a store whose reads are answered late and by other threads, as an engine does that
 * asks its peers first: some at once, some before store_read has returned, some after. What they answer with an engine
 * that is never late is tested by tests/integration. */
#include "../../src/feature-store/feature_store.h"
#include "../../src/route-client/load.h"
#include "clock.h"
#include "net_listen.h"
#include "random.h"
#include "routeguide.descriptors.h"
#include "saves_fixture.h"
#include "store_engine.h"
#include "store_lmdb.h"
#include <semaphore.h>
#include <stdatomic.h>

#define READERS 3
#define PLACES  1500 /* more than one snapshot is used for */

/* ---- an engine that is late ---- */

struct late_read {
    struct late_read *next;
    struct store *store;
    uint64_t deadline_ns, max_stale_ms;
    store_reader *read;
    void *arg;
};

/* One a process: each test is a process of its own. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct late_read *reads;
    bool ended;
    pthread_t readers[READERS];
    atomic_uint count;
} late = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static void read_late(struct store *store, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    unsigned turn = atomic_fetch_add(&late.count, 1);
    struct late_read *job;

    if (turn % 4 == 0) {
        store_lmdb_engine.read(store, deadline_ns, max_stale_ms, read, arg);
        return;
    }
    job = malloc(sizeof(*job));
    *job = (struct late_read){
        .store = store, .deadline_ns = deadline_ns, .max_stale_ms = max_stale_ms, .read = read, .arg = arg};
    pthread_mutex_lock(&late.lock);
    job->next = late.reads;
    late.reads = job;
    pthread_cond_signal(&late.filled);
    pthread_mutex_unlock(&late.lock);
    if (turn % 4 == 1)
        sched_yield(); /* let the answer come first, sometimes */
}

static void *help(void *arg)
{
    pthread_mutex_lock(&late.lock);
    for (;;) {
        struct late_read *job = late.reads;

        if (job) {
            late.reads = job->next;
            pthread_mutex_unlock(&late.lock);
            store_lmdb_engine.read(job->store, job->deadline_ns, job->max_stale_ms, job->read, job->arg);
            free(job);
            pthread_mutex_lock(&late.lock);
        } else if (late.ended) {
            break;
        } else {
            pthread_cond_wait(&late.filled, &late.lock);
        }
    }
    pthread_mutex_unlock(&late.lock);
    return NULL;
}

static void make_late(struct store *store)
{
    static struct store_engine engine;

    engine = store_lmdb_engine;
    engine.read = read_late;
    store->engine = &engine;
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_create(&late.readers[i], NULL, help, NULL), 0);
}

static void end_late(void)
{
    pthread_mutex_lock(&late.lock);
    late.ended = true;
    pthread_cond_broadcast(&late.filled);
    pthread_mutex_unlock(&late.lock);
    for (int i = 0; i < READERS; i++)
        pthread_join(late.readers[i], NULL);
}

/* ---- a server and a client ---- */

struct system {
    struct fixture files;
    struct feature_store fs;
    struct rpc_server *server;
    struct rpc_client *client;
};

static void open_server(struct system *s)
{
    const struct rpc_server_def def = {
        .methods = feature_store_methods,
        .descriptors = routeguide_descriptors,
        .descriptors_len = routeguide_descriptors_len,
        .state = &s->fs,
        .threads = 2,
    };
    char target[64];
    int fd, port;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_assert_eq(rpc_server_open(fd, &def, &s->server), 0);
    rpc_server_start(s->server);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    cr_assert_eq(rpc_client_open(&(struct rpc_client_def){.name = "store", .target = target}, &s->client), 0);
}

static void open_system(struct system *s)
{
    struct feature_store *fs = &s->fs;

    *s = (struct system){.fs = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER}};
    fs->store = open_saves(&s->files);
    make_late(fs->store);
    fs->route.lookup = feature_store_lookup;
    fs->route.chat = chat_new(0, NULL);
    cr_assert_eq(idempotency_open(fs->store, TABLE_IDEMPOTENCY, 60000, NULL, &fs->idempotency), 0);
    cr_assert_eq(retention_open(fs->store, 2, 1000000, NULL, &fs->retention), 0);
    open_server(s);
}

static void close_system(struct system *s)
{
    s->client = rpc_client_free(s->client);
    s->server = rpc_server_close(s->server);
    feature_store_wait_idle(&s->fs);
    s->fs.retention = retention_free(s->fs.retention);
    s->fs.idempotency = idempotency_free(s->fs.idempotency);
    end_late();
    s->fs.store->engine = &store_lmdb_engine;
    s->fs.store = store_close(s->fs.store);
    s->fs.route.chat = chat_free(s->fs.route.chat);
    fixture_release(&s->files);
}

/* Places on a diagonal and beside it: the walk has to jump. */
static void save_places(struct system *s)
{
    for (int i = 0; i < 2 * PLACES;) {
        struct store_batch *batch = store_batch_new();

        for (int n = 0; n < STORE_MAX_BATCH && i < 2 * PLACES; n++, i++)
            add_save(batch, (struct geo_point){i / 2, i % 2 ? i / 2 : -5}, "place");
        commit_saves(s->fs.store, batch);
    }
}

/* ---- ListFeatures ---- */

struct list {
    struct rpc_stream *stream;
    size_t count, cancel_at;
    bool seen[PLACES];
    bool wrong;
    enum err_grpc code;
    sem_t done;
};

static void on_feature(void *arg, const ProtobufCMessage *message)
{
    const Routeguide__Point *at = ((const Routeguide__Feature *)message)->location;
    struct list *list = arg;

    if (at->longitude < 0 || at->latitude != at->longitude || list->seen[at->latitude])
        list->wrong = true;
    else
        list->seen[at->latitude] = true;
    if (++list->count == list->cancel_at)
        rpc_stream_cancel(list->stream);
}

static void on_list_done(void *arg, const struct rpc_status *status)
{
    struct list *list = arg;

    list->code = status->code;
    sem_post(&list->done);
}

static void run_list(struct system *s, struct list *list)
{
    static const struct rpc_stream_handlers handlers = {.on_message = on_feature, .on_done = on_list_done};
    Routeguide__Point lo = ROUTEGUIDE__POINT__INIT, hi = ROUTEGUIDE__POINT__INIT;
    Routeguide__Rectangle rectangle = ROUTEGUIDE__RECTANGLE__INIT;

    hi.latitude = hi.longitude = PLACES;
    rectangle.lo = &lo;
    rectangle.hi = &hi;
    sem_init(&list->done, 0, 0);
    cr_assert_eq(rpc_stream_open(s->client, &routeguide__route_guide__descriptor, "ListFeatures",
                                 &(struct rpc_call_options){.timeout_ms = 60000}, &handlers, list, &list->stream),
                 0);
    rpc_stream_send(list->stream, &rectangle.base);
    rpc_stream_half_close(list->stream);
    sem_wait(&list->done);
    rpc_stream_unref(list->stream);
}

Test(feature_store, lists_each_place_once_whoever_answers)
{
    static struct system s;

    open_system(&s);
    save_places(&s);
    for (int i = 0; i < 5; i++) {
        struct list list = {0};

        run_list(&s, &list);
        cr_assert_eq(list.code, ERR_GRPC_OK);
        cr_assert_eq(list.count, PLACES);
        cr_assert_not(list.wrong);
    }
    close_system(&s);
}

Test(feature_store, ends_lists_that_are_cancelled_at_any_time)
{
    static struct system s;
    uint64_t seed = 1;

    open_system(&s);
    save_places(&s);
    for (int i = 0; i < 200; i++) {
        struct list list = {.cancel_at = 1 + random_next(&seed) % (i % 2 ? 40 : PLACES)};

        run_list(&s, &list);
        cr_assert(list.code == ERR_GRPC_CANCELLED || list.code == ERR_GRPC_OK);
        cr_assert_not(list.wrong);
    }
    close_system(&s);
}

/* ---- all of them ---- */

Test(feature_store, answers_rightly_whoever_answers)
{
    static const enum calls_kind kinds[] = {CALLS_GET_FEATURE,  CALLS_GET_NOTHING, CALLS_LIST_FEATURES,
                                            CALLS_RECORD_ROUTE, CALLS_ROUTE_CHAT,  CALLS_SAVE_FEATURE};
    static struct load_result result;
    static struct system s;

    open_system(&s);
    save_one(s.fs.store, (struct geo_point){409146138, -746188906},
             "Berkshire Valley Management Area Trail, Jefferson, NJ, USA");
    cr_assert_eq(load_run(&(struct load_options){.calls = {.client = s.client, .timeout_ms = 60000},
                                                 .kinds = kinds,
                                                 .kind_count = 6,
                                                 .concurrency = 16,
                                                 .limit = 1200},
                          &result),
                 0);
    for (int kind = 0; kind < CALLS_KINDS; kind++)
        cr_assert_eq(result.by_kind[kind].failed, 0, "%s", result.first_failure.text);
    cr_assert_eq(result.by_kind[CALLS_SAVE_FEATURE].calls, 200);
    close_system(&s);
}
