/* @NAME@ -- @SUMMARY@: HTTP in, @BEHIND@. */
@if calls_grpc
#include "health.pb-c.h"
@end
@if calls_http
#include "http_client.h"
@end
@if calls_grpc
#include "rpc_client.h"
@end
@if !store
#include "svc.h"
@end
@if store
#include "svc_store.h"
@end
@if state
#include <errno.h>
@end
@if json
#include <jansson.h>
@end
@if store
#include <stdlib.h>
#include <string.h>
@end

@if !state
#define WORD_MAX 64 /* bytes */

static struct http_reply *get_word(struct http_req *req)
{
    struct str word = req->params[0];

    if (word.len > WORD_MAX)
        return http_problem(400, "a word has at most %d bytes", WORD_MAX);
    return http_reply_text(200, "text/plain; charset=utf-8", word);
}
@end
@if state
#define WORD_MAX 64 /* bytes */
@if store
#define TEXT_MAX 4096
@end
@if calls
#define CALL_TIMEOUT_MS 1000
@end

struct app {
@if store
    struct store *store;
@end
@if calls_http
    struct http_client *@CALLEE_ID@;
@end
@if calls_grpc
    struct rpc_client *@CALLEE_ID@;
@end
};

static struct http_reply *too_long(void)
{
    return http_problem(400, "a word has at most %d bytes", WORD_MAX);
}
@end
@if state !store

static struct http_reply *get_word(struct http_req *req)
{
    struct str word = req->params[0];

    return word.len > WORD_MAX ? too_long() : http_reply_text(200, "text/plain; charset=utf-8", word);
}
@end
@if store

/* ---- words and their texts, in the store ---- */

enum { WORDS, TABLES };

static const struct store_table tables[TABLES] = {[WORDS] = {.name = "words"}};

static void on_written(void *arg, const struct store_result *result)
{
    http_answer(arg, result->err == 0 ? http_reply_new(204) : http_problem_errno(result->err, "the text"));
}

static struct http_reply *put_word(struct http_req *req)
{
    const struct app *app = req->state;
    struct http_deferred *deferred;
    struct store_batch *batch;

    if (req->params[0].len > WORD_MAX)
        return too_long();
    deferred = http_defer(req);
    if (deferred == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    batch = store_batch_new();
    store_batch_put(batch, WORDS, req->params[0], req->body, STORE_ANY, 0);
    store_write(app->store, batch, http_deferred_deadline_ns(deferred), on_written, deferred);
    return NULL;
}

struct get {
    struct http_deferred *deferred;
    size_t len;
    char word[WORD_MAX];
};

static void read_word(void *arg, int err, struct store_snapshot *snapshot)
{
    struct get *get = arg;
    struct store_record record;

    if (err == 0)
        err = store_get(snapshot, WORDS, (struct str){get->word, get->len}, &record);
    http_answer(get->deferred, err == 0 ? http_reply_text(200, "text/plain; charset=utf-8", record.value)
                                        : http_problem_errno(err, "the word"));
    free(get);
}

static struct http_reply *get_word(struct http_req *req)
{
    const struct app *app = req->state;
    struct str word = req->params[0];
    struct get *get;

    if (word.len > WORD_MAX)
        return too_long();
    get = malloc(sizeof(*get));
    if (get == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    get->deferred = http_defer(req);
    if (get->deferred == NULL) {
        free(get);
        return http_problem_errno(-ENOMEM, NULL);
    }
    memcpy(get->word, word.s, word.len);
    get->len = word.len;
    store_read(app->store, http_deferred_deadline_ns(get->deferred), 0, read_word, get);
    return NULL;
}

static void read_count(void *arg, int err, struct store_snapshot *snapshot)
{
    if (err == 0)
        http_answer(arg, http_reply_json(200, json_pack("{s:I}", "words", (json_int_t)store_count(snapshot, WORDS))));
    else
        http_answer(arg, http_problem_errno(err, "the words"));
}

static struct http_reply *get_count(struct http_req *req)
{
    const struct app *app = req->state;
    struct http_deferred *deferred = http_defer(req);

    if (deferred == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    store_read(app->store, http_deferred_deadline_ns(deferred), 0, read_count, deferred);
    return NULL;
}
@end
@if calls_http

/* ---- a call of @CALLEE@ ---- */

static void on_answer(void *arg, int err, const struct http_client_response *response)
{
    if (err == 0)
        http_answer(arg, http_reply_json(200, json_pack("{s:i}", "status", response->status)));
    else
        http_answer(arg, http_problem_errno(err, "@CALLEE@"));
}

static struct http_reply *get_@CALLEE_ID@(struct http_req *req)
{
    const struct app *app = req->state;
    struct http_deferred *deferred = http_defer(req);
    struct http_call *call;
    int r;

    if (deferred == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    r = http_client_call(app->@CALLEE_ID@, req->loop,
                         &(struct http_client_request){
                             .path = STR("@CALLEE_PATH@"), .trace = &req->trace, .timeout_ms = CALL_TIMEOUT_MS},
                         on_answer, deferred, &call);
    if (r < 0)
        http_answer(deferred, http_problem_errno(r, "@CALLEE@"));
    return NULL;
}
@end
@if calls_grpc

/* ---- a call of @CALLEE@ ---- */

static void on_health(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    const Grpc__Health__V1__HealthCheckResponse *health = (const Grpc__Health__V1__HealthCheckResponse *)reply;

    if (status->code == ERR_GRPC_OK)
        http_answer(arg, http_reply_json(200, json_pack("{s:i}", "health", health->status)));
    else
        http_answer(arg, http_problem(503, "@CALLEE@: %s", status->message));
}

static struct http_reply *get_@CALLEE_ID@(struct http_req *req)
{
    Grpc__Health__V1__HealthCheckRequest question = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = CALL_TIMEOUT_MS, .trace = &req->trace};
    const struct app *app = req->state;
    struct http_deferred *deferred = http_defer(req);
    int r;

    if (deferred == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    r = rpc_unary(app->@CALLEE_ID@, &grpc__health__v1__health__descriptor, "Check", &question.base, &options, on_health,
                  deferred);
    if (r < 0)
        http_answer(deferred, http_problem_errno(r, "@CALLEE@"));
    return NULL;
}
@end
@if state

/* ---- the service ---- */

static const struct config_option options[] = {
@if store
    SVC_STORE_OPTIONS,
@end
@if calls
    {.name = "@CALLEE_VARIABLE@", .value = CONFIG_REQUIRED, .help = "host:port of @CALLEE@", .check = @CLIENT@_check_target},
@end
    {0},
};
@end

static const struct http_route routes[] = {
@if store
    {.method = "GET", .path = "/@NAME@", .handler = get_count},
@end
    {.method = "GET", .path = "/@NAME@/{word}", .handler = get_word},
@if store
    {.method = "PUT", .path = "/@NAME@/{word}", .handler = put_word, .max_body = TEXT_MAX},
@end
@if calls
    {.method = "GET", .path = "/@NAME@/calls/@CALLEE@", .handler = get_@CALLEE_ID@},
@end
    {0},
};
@include state.c

int main(int argc, char **argv)
{
@if state
    struct app app = {0};
@end
    const struct svc_def def = {
        .name = "@NAME@",
        .summary = "@SUMMARY@",
@if state
        .state = &app,
        .options = options,
@end
        .routes = routes,
@if state
        .start = start,
        .stop = stop,
@end
@if store
        .ready = ready,
        .healthy = healthy,
@end
    };

    return svc_main(argc, argv, &def);
}
