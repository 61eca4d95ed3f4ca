/* stream-server -- streaming replies, server-sent events and embedded files for clients of the integration tests.
 *
 *   GET /events            an event each few milliseconds, numbered on from Last-Event-ID; those for which there is no
 *                          room are dropped
 *   GET /numbers?count=N   the numbers from 0 on, a line and a write each, by a thread that waits for room
 *   GET /files/...         tests/unit/www
 *   GET /long, PUT /long   64 KiB of JSON, with an entity tag that a PUT changes
 */
#include "fixture_www.h"
#include "http_events.h"
#include "http_files.h"
#include "svc.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_STREAMS 4096
#define TICK_MS     5
#define LONG        65536

struct subscriber {
    struct http_stream *stream;
    uint64_t next_id;
};

struct state {
    pthread_t ticker;
    pthread_mutex_t lock; /* of subscribers */
    struct subscriber subscribers[MAX_STREAMS];
    unsigned count;
    atomic_bool stopping;
    atomic_uint writers; /* threads of /numbers */
    _Atomic uint64_t version;
};

/* ---- events ---- */

static bool still_there(struct subscriber *subscriber)
{
    char data[64], id[32];
    int r;

    snprintf(id, sizeof(id), "%llu", (unsigned long long)subscriber->next_id);
    snprintf(data, sizeof(data), "event\n%s", id);
    r = http_events_send(subscriber->stream, &(struct http_event){.id = str_of(id), .data = str_of(data)});
    subscriber->next_id++;
    return r != -EPIPE;
}

static void tick(struct state *state)
{
    pthread_mutex_lock(&state->lock);
    for (unsigned i = 0; i < state->count;) {
        if (still_there(&state->subscribers[i])) {
            i++;
        } else {
            http_stream_end(state->subscribers[i].stream);
            state->subscribers[i] = state->subscribers[--state->count];
        }
    }
    pthread_mutex_unlock(&state->lock);
}

static void *tick_always(void *arg)
{
    struct state *state = arg;

    while (!state->stopping) {
        tick(state);
        nanosleep(&(struct timespec){0, TICK_MS * 1000000}, NULL);
    }
    return NULL;
}

static bool subscribe(struct state *state, struct http_stream *stream, uint64_t next_id)
{
    bool room;

    pthread_mutex_lock(&state->lock);
    room = state->count < MAX_STREAMS;
    if (room)
        state->subscribers[state->count++] = (struct subscriber){stream, next_id};
    pthread_mutex_unlock(&state->lock);
    return room;
}

static struct http_reply *events(struct http_req *req)
{
    struct http_stream *stream;
    struct http_reply *reply;
    uint64_t last = 0;
    int r = http_stream_open(req, &(struct http_stream_def){HTTP_EVENTS_HEARTBEAT}, &stream);

    if (r < 0)
        return http_problem_errno(r, "events");
    str_to_u64(http_events_last_id(req), UINT64_MAX / 2, &last);
    reply = http_events_reply(stream);
    if (subscribe(req->state, stream, last + 1))
        return reply;
    http_stream_abort(stream);
    http_reply_free(reply);
    return http_problem_errno(-EAGAIN, "events");
}

/* ---- numbers ---- */

struct numbers {
    struct state *state;
    struct http_stream *stream;
    uint64_t count;
};

static void *write_numbers(void *arg)
{
    struct numbers *numbers = arg;
    char line[32];
    int r = 0;

    for (uint64_t i = 0; i < numbers->count && r == 0; i++) {
        snprintf(line, sizeof(line), "%llu\n", (unsigned long long)i);
        while ((r = http_stream_write(numbers->stream, str_of(line))) == -EAGAIN)
            nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    http_stream_end(numbers->stream);
    atomic_fetch_sub(&numbers->state->writers, 1);
    free(numbers);
    return NULL;
}

static int begin_numbers(struct state *state, struct http_stream *stream, uint64_t count)
{
    struct numbers *numbers = malloc(sizeof(*numbers));
    pthread_t thread;
    int r = -ENOMEM;

    if (numbers == NULL)
        return r;
    *numbers = (struct numbers){state, stream, count};
    atomic_fetch_add(&state->writers, 1);
    if ((r = thread_start(&thread, "numbers", write_numbers, numbers)) == 0) {
        pthread_detach(thread);
        return 0;
    }
    atomic_fetch_sub(&state->writers, 1);
    free(numbers);
    return r;
}

static struct http_reply *get_numbers(struct http_req *req)
{
    struct http_stream *stream;
    struct http_reply *reply;
    struct str text = STR("10");
    uint64_t count;
    int r;

    if (http_query(req, "count", &text) < 0 || str_to_u64(text, UINT64_MAX, &count) < 0)
        return http_problem(400, "count must be a number");
    if ((r = http_stream_open(req, &(struct http_stream_def){.max_bytes = 16384}, &stream)) < 0)
        return http_problem_errno(r, "numbers");
    reply = http_reply_stream(200, "text/plain", stream);
    if ((r = begin_numbers(req->state, stream, count)) == 0)
        return reply;
    http_stream_abort(stream);
    http_reply_free(reply);
    return http_problem_errno(r, "numbers");
}

/* ---- replies that are not streams ---- */

static struct http_reply *get_file(struct http_req *req)
{
    static const struct str prefix = STR("/files/");
    struct str name = {req->path.s + prefix.len, req->path.len - prefix.len};

    return http_files_reply(req, &fixture_www, name, "no-cache");
}

static struct http_reply *with_version(struct http_reply *reply, uint64_t version)
{
    return http_set_header(reply, "etag", "\"%llu\"", (unsigned long long)version);
}

static struct http_reply *get_long(struct http_req *req)
{
    struct state *state = req->state;
    struct buf body = {0};

    buf_append_char(&body, '[');
    while (body.len < LONG)
        buf_printf(&body, "{\"version\": %llu},", (unsigned long long)state->version);
    buf_append_cstr(&body, "{}]");
    return with_version(http_reply_take(200, "application/json", &body), state->version);
}

static struct http_reply *put_long(struct http_req *req)
{
    struct state *state = req->state;
    char tag[32];

    snprintf(tag, sizeof(tag), "\"%llu\"", (unsigned long long)state->version);
    if (!str_eq(http_header(req, "if-match"), str_of(tag)))
        return http_problem(412, "it is %s", tag);
    return with_version(http_reply_new(204), ++state->version);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/events", .handler = events},
    {.method = "GET", .path = "/numbers", .handler = get_numbers},
    {.method = "GET", .path = "/files/{name}", .handler = get_file},
    {.method = "GET", .path = "/files/{folder}/{name}", .handler = get_file},
    {.method = "GET", .path = "/long", .handler = get_long},
    {.method = "PUT", .path = "/long", .handler = put_long, .max_body = 64},
    {0},
};

/* ---- life ---- */

static int start(struct svc *svc, void *arg)
{
    struct state *state = arg;

    pthread_mutex_init(&state->lock, NULL);
    return thread_start(&state->ticker, "ticker", tick_always, state) == 0 ? 0 : svc_fail(svc, "no thread");
}

/* Every stream is gone by now. */
static void stop(void *arg)
{
    struct state *state = arg;

    state->stopping = true;
    pthread_join(state->ticker, NULL);
    for (unsigned i = 0; i < state->count; i++)
        http_stream_end(state->subscribers[i].stream);
    while (state->writers > 0)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    pthread_mutex_destroy(&state->lock);
}

int main(int argc, char **argv)
{
    static struct state state = {.version = 1};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "stream-server",
                                      .summary = "streams for tests",
                                      .state = &state,
                                      .routes = routes,
                                      .start = start,
                                      .stop = stop});
}
