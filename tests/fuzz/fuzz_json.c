/* Bodies that become messages by a table of fields (http_json.h), whole or as a merge patch: what is accepted is within
 * the limits and is accepted again as it is written; what is not is a problem that says why. The first byte: with its
 * lowest bit set a patch. */
#include "fuzz.h"
#include "http_internal.h"
#include "http_json.h"
#include <jansson.h>

struct thing {
    int64_t number, maybe;
    struct str text;
    char *name;
    struct str list[3];
    unsigned list_count;
};

static const struct field list[] = {
    FIELD_INT(struct thing, number, -5, 100),
    FIELD_INT(struct thing, maybe, INT64_MIN, INT64_MAX, .optional = true),
    FIELD_STRING(struct thing, text, 0, 10),
    FIELD_STRING(struct thing, name, 1, 8, .in_bytes = true, .chars = "a-z0-9_-"),
    FIELD_STRINGS(struct thing, list, list_count, 3, 1, 4),
    FIELD_READ_ONLY("id"),
    {0},
};
static const struct fields fields = {"a thing", list};

static int each_header(const struct http_req *req, struct str name, int (*each)(void *arg, struct str value), void *arg)
{
    return str_eq(name, STR("content-type")) ? each(arg, STR("application/json; charset=utf-8")) : 0;
}

static const struct http_source source = {.each_header = each_header};
static const struct http_route route = {.method = "PUT", .path = "/"};

static struct http_reply *parse(struct str body, json_t **ret_json)
{
    struct http_req req = {.source = &source, .route = &route, .body = body};

    return http_json_parse(&req, "application/json", ret_json);
}

static void check_problem(struct http_reply *problem)
{
    struct trace trace = {.sampled = false};
    struct str body;
    const char *detail;
    json_t *json;

    MUST(http_reply_status(problem) == 400 || http_reply_status(problem) == 422);
    problem = http_reply_render(problem, &trace);
    body = http_reply_body(problem);
    json = json_loadb(body.s, body.len, 0, NULL);
    MUST((detail = json_string_value(json_object_get(json, "detail"))) != NULL && strlen(detail) > 5);
    json_decref(json);
    http_reply_free(problem);
}

static void check_accepted(const struct thing *thing)
{
    char none[] = "";
    struct thing same = {.name = none};
    struct http_reply *reply = http_json_reply(200, &fields, thing);
    json_t *json = NULL;

    MUST(thing->number >= -5 && thing->number <= 100 && thing->text.len <= 40 && thing->list_count <= 3);
    MUST(strlen(thing->name) >= 1 && strspn(thing->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") <= 8);
    MUST(parse(http_reply_body(reply), &json) == NULL && http_json_take(json, &fields, false, &same) == NULL);
    MUST(same.number == thing->number && same.maybe == thing->maybe && str_eq(same.text, thing->text));
    MUST(strcmp(same.name, thing->name) == 0 && same.list_count == thing->list_count);
    for (unsigned i = 0; i < same.list_count; i++)
        MUST(str_eq(same.list[i], thing->list[i]));
    json_decref(json);
    http_reply_free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[] = "a";
    struct fuzz_input input = {data, size};
    bool patch = fuzz_byte(&input) & 1;
    struct thing thing = {.number = 1, .text = STR("b"), .name = name, .list = {STR("c")}, .list_count = 1};
    json_t *json = NULL;
    struct http_reply *problem = parse(fuzz_rest(&input), &json);

    if (problem == NULL)
        problem = http_json_take(json, &fields, patch, &thing);
    if (problem != NULL)
        check_problem(problem);
    else
        check_accepted(&thing);
    json_decref(json);
    return 0;
}
