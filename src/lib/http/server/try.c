#include "clock.h"
#include "http_internal.h"
#include "http_try.h"
#include "thread.h"
#include <errno.h>
#include <stdlib.h>

#define TIMEOUT_MS 30000

struct memory {
    struct memory *next;
    void (*release)(void *p); /* for what is kept; NULL: nothing is */
    void *kept;
    _Alignas(max_align_t) char bytes[];
};

struct trial {
    struct http_req req;
    struct http_deferred deferred;
    const struct http_try *request;
    struct memory *memory; /* of the request */
    pthread_mutex_t lock;  /* of reply */
    pthread_cond_t answered;
    struct http_reply *reply;
    bool was_deferred;
};

static struct trial *trial_of(const struct http_req *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct trial, req, req);
}

static int each_header(const struct http_req *req, struct str name, int (*each)(void *arg, struct str value), void *arg)
{
    const struct http_try_header *header = trial_of(req)->request->headers;
    int result = 0;

    for (; header != NULL && header->name != NULL && result == 0; header++)
        if (str_eq(name, str_of(header->name)))
            result = each(arg, str_of(header->value));
    return result;
}

static void *alloc(struct http_req *req, size_t len)
{
    struct trial *trial = trial_of(req);
    struct memory *memory = malloc(sizeof(*memory) + len);

    assert(memory != NULL);
    memory->next = trial->memory;
    memory->release = NULL;
    trial->memory = memory;
    return memory->bytes;
}

static void keep(struct http_req *req, void *p, void (*release)(void *p))
{
    struct trial *trial = trial_of(req);

    alloc(req, 0);
    trial->memory->release = release;
    trial->memory->kept = p;
}

static void answer(struct http_deferred *deferred, struct http_reply *take_reply)
{
    struct trial *trial = H2O_STRUCT_FROM_MEMBER(struct trial, deferred, deferred);

    pthread_mutex_lock(&trial->lock);
    assert(trial->was_deferred && trial->reply == NULL);
    trial->reply = take_reply;
    pthread_cond_signal(&trial->answered);
    pthread_mutex_unlock(&trial->lock);
}

static struct http_deferred *defer(struct http_req *req)
{
    struct trial *trial = trial_of(req);

    assert(!trial->was_deferred);
    trial->was_deferred = true;
    trial->deferred = (struct http_deferred){
        .answer = answer,
        .loop = req->loop,
        .trace = req->trace,
        .deadline_ns = clock_monotonic_ns() + TIMEOUT_MS * CLOCK_NS_PER_MS,
    };
    return &trial->deferred;
}

static struct str peer(const struct http_req *req)
{
    return STR("127.0.0.1");
}

static int open_stream(struct http_req *req, const struct http_stream_def *def, struct http_stream **ret_stream)
{
    return -ENOSYS;
}

static const struct http_source source = {
    .each_header = each_header, .alloc = alloc, .keep = keep, .defer = defer, .peer = peer, .open_stream = open_stream};

static struct http_reply *run(struct trial *trial, const struct http_paths *paths)
{
    struct http_req *req = &trial->req;
    const struct http_path *path = http_paths_match(paths, req->path, req->params);
    struct http_reply *reply = http_route_find(path, http_method_of(req->method), &req->route);

    if (reply == NULL)
        reply = http_route_run(req, path->param_count);
    assert((reply == NULL) == trial->was_deferred); /* a handler replies, or defers */
    if (reply != NULL)
        return reply;
    pthread_mutex_lock(&trial->lock);
    while (trial->reply == NULL)
        pthread_cond_wait(&trial->answered, &trial->lock);
    pthread_mutex_unlock(&trial->lock);
    return trial->reply;
}

static void release(struct trial *trial)
{
    for (struct memory *memory; (memory = trial->memory) != NULL; free(memory)) {
        trial->memory = memory->next;
        if (memory->release != NULL)
            memory->release(memory->kept);
    }
    pthread_cond_destroy(&trial->answered);
    pthread_mutex_destroy(&trial->lock);
}

struct http_reply *http_try(const struct http_route *routes, void *state, const struct http_try *request)
{
    struct trial trial = {
        .req = {.source = &source, .state = state, .method = str_of(request->method), .body = request->body},
        .request = request,
    };
    struct http_paths paths = {0};
    struct http_reply *reply;
    int err = http_paths_open(routes, &paths);

    assert(err == 0); /* the routes are not as a table must be */
    pthread_mutex_init(&trial.lock, NULL);
    thread_cond_init(&trial.answered);
    http_target_split(str_of(request->target), &trial.req);
    http_accept_trace(&trial.req, NULL);
    reply = http_reply_render(run(&trial, &paths), &trial.req.trace);
    release(&trial);
    http_paths_release(&paths);
    return reply;
}
