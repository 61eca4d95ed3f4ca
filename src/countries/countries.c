#include "countries.h"
#include "http_json.h"
#include "user_country.h"
#include "user_id.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* A question to users, which ends with the request. */
struct question {
    struct http_deferred *deferred;
    struct http_call *call;
    struct str id;
    char id_text[USER_ID_MAX];
};

static struct http_reply *failure(int err)
{
    switch (err) {
    case -ETIMEDOUT:
        return http_problem(504, "users did not answer in time");
    case -EMSGSIZE:
    case -EBADMSG:
        return http_problem(502, "users gave an answer that makes no sense");
    case -ENOMEM:
        return http_problem_errno(err, "users");
    default: /* refused, not resolved, broken, too many questions */
        return http_set_header(http_problem(503, "users cannot be reached"), "retry-after", "1");
    }
}

/* The reply to an answer of users, which must be about the id that was asked for. */
static struct http_reply *combine(struct str id, struct str answer)
{
    json_error_t error;
    json_t *user = NULL, *user_id, *name;
    struct http_reply *reply;
    int err = http_json_load(answer, JSON_REJECT_DUPLICATES, &user, &error);

    if (err < 0)
        return failure(err == -ENOMEM ? err : -EBADMSG);
    user_id = json_object_get(user, "user_id");
    name = json_object_get(user, "name");

    if (json_is_string(name) && json_is_string(user_id) &&
        str_eq(id, (struct str){json_string_value(user_id), json_string_length(user_id)}))
        reply = http_reply_json(
            200, json_pack("{s:O,s:O,s:s}", "user_id", user_id, "name", name, "country", user_country(id)));
    else
        reply = failure(-EBADMSG);
    json_decref(user);
    return reply;
}

static void on_answer(void *arg, int err, const struct http_client_response *response)
{
    struct question *question = arg;
    struct http_reply *reply;

    if (err != 0)
        reply = failure(err);
    else if (response->status != 200)
        reply = http_problem(502, "users answered with status %d", response->status);
    else
        reply = combine(question->id, response->body);
    http_answer(question->deferred, reply);
    free(question);
}

/* The client has gone. */
static void on_gone(void *arg)
{
    struct question *question = arg;

    http_call_cancel(question->call);
    on_answer(question, -ECANCELED, NULL);
}

static int ask(struct http_req *req, struct question *question)
{
    const struct countries *countries = req->state;
    char path[sizeof("/users/") + USER_ID_MAX];

    snprintf(path, sizeof(path), "/users/%.*s", STR_ARG(question->id));
    return http_client_call(
        countries->users, req->loop,
        &(struct http_client_request){.path = str_of(path), .trace = &req->trace, .timeout_ms = countries->timeout_ms},
        on_answer, question, &question->call);
}

static struct question *question_new(struct http_req *req, struct str id)
{
    struct question *question = malloc(sizeof(*question));

    if (question == NULL)
        return NULL;
    memcpy(question->id_text, id.s, id.len);
    question->id = (struct str){question->id_text, id.len};
    question->deferred = http_defer(req);
    if (question->deferred == NULL) {
        free(question);
        return NULL;
    }
    return question;
}

struct http_reply *countries_get(struct http_req *req)
{
    struct str id = STR_NULL;
    int r = http_query(req, "user_id", &id);
    struct question *question;

    if (r == 0)
        return http_problem(400, "user_id is missing");
    if (r < 0)
        return http_problem(400, "user_id is badly encoded or stands there twice");
    if (http_query_check(req) < 0)
        return http_problem(400, "the query is badly encoded");
    if (!user_id_valid(id))
        return http_problem(400, "user_id must be " USER_ID_ALLOWED);
    question = question_new(req, id);
    if (question == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    r = ask(req, question);
    if (r != 0)
        on_answer(question, r, NULL);
    else
        http_on_gone(question->deferred, on_gone, question);
    return NULL;
}
