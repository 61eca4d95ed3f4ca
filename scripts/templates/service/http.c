/* @NAME@ -- @SUMMARY@ over HTTP@USES@. */
#include "@ID@_openapi.h"
@if calls_grpc
#include "health.rpc_client.h"
@end
@if calls_http
#include "http_client.h"
@end
@if store
#include "http_store.h"
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
@if calls
#include <errno.h>
@end
@if json
#include <jansson.h>
@end
@if store
#include <string.h>
@end

#define WORD_MAX 64 /* bytes */
@if store
#define TEXT_MAX 4096
@end
@if calls
#define CALL_TIMEOUT_MS 1000
@end
@if state

struct app {
@if store
    struct store *store;
@end
@if calls
    struct @CLIENT@ *@CALLEE_ID@;
@end
};
@end
@if !store

static struct http_reply *get_word(struct http_req *req)
{
    struct str word = req->params[0];

    if (word.len > WORD_MAX)
        return http_problem(400, "a word has at most %d bytes", WORD_MAX);
    return http_reply_text(200, "text/plain; charset=utf-8", word);
}
@end
@if store

static struct http_reply *too_long(void)
{
    return http_problem(400, "a word has at most %d bytes", WORD_MAX);
}

/* ---- words and their texts, in the store ---- */

enum { WORDS, TABLES };

static const struct store_table tables[TABLES] = {[WORDS] = {.name = "words"}};

static struct http_reply *put_word(struct http_req *req)
{
    const struct app *app = req->state;
    struct store_batch *batch;

    if (req->params[0].len > WORD_MAX)
        return too_long();
    batch = store_batch_new();
    store_batch_put(batch, WORDS, req->params[0], req->body, STORE_ANY, 0);
    return http_store_write(req, app->store, batch, http_reply_new(204));
}

struct get {
    size_t len;
    char word[WORD_MAX];
};

static struct http_reply *read_word(void *arg, struct store_snapshot *snapshot)
{
    const struct get *get = arg;
    struct store_record record;
    int err = store_get(snapshot, WORDS, (struct str){get->word, get->len}, &record);

    if (err < 0)
        return http_problem_errno(err, "the word");
    return http_set_etag(http_reply_text(200, "text/plain; charset=utf-8", record.value), record.seq);
}

static struct http_reply *get_word(struct http_req *req)
{
    const struct app *app = req->state;
    struct str word = req->params[0];
    struct get get = {.len = word.len};

    if (word.len > WORD_MAX)
        return too_long();
    memcpy(get.word, word.s, word.len);
    return http_store_read(req, app->store, &get, sizeof(get), read_word);
}

static struct http_reply *read_count(void *arg, struct store_snapshot *snapshot)
{
    return http_reply_json(200, json_pack("{s:I}", "words", (json_int_t)store_count(snapshot, WORDS)));
}

static struct http_reply *get_count(struct http_req *req)
{
    const struct app *app = req->state;

    return http_store_read(req, app->store, NULL, 0, read_count);
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

static void on_health(void *arg, const struct rpc_status *status, const Grpc__Health__V1__HealthCheckResponse *health)
{
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
    r = grpc__health__v1__health__check__call(app->@CALLEE_ID@, &question, &options, on_health, deferred);
    if (r < 0)
        http_answer(deferred, http_problem_errno(r, "@CALLEE@"));
    return NULL;
}
@end
@if calls

/* ---- the service ---- */
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
    HTTP_DESCRIPTION(@ID@_openapi_json),
    {0},
};
@include life.c
