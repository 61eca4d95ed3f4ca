#include "http_json.h"
#include "http_record.h"
#include "http_try.h"
#include "routeguide.pb-c.h"
#include "store_fixture.h"
#include <jansson.h>

enum { THINGS, TABLES };
static const struct store_table tables[TABLES] = {[THINGS] = {.name = "things"}};

static const struct field thing_fields[] = {FIELD_STRING(Routeguide__Feature, name, 1, 8), {0}};
static const struct records things = {
    .table = THINGS,
    .type = &routeguide__feature__descriptor,
    .fields = &(const struct fields){"a thing", thing_fields},
    .key = {.name = "id", .min = 1, .max = 4, .in_bytes = true, .chars = "a-z"},
};

struct size {
    int64_t width, depth;
};
static const struct field size_fields[] = {
    FIELD_INT(struct size, width, 1, 9),
    FIELD_INT(struct size, depth, 0, 9, .optional = true),
    {0},
};
static const struct fields sizes = {"a size", size_fields};

static struct http_reply *get_thing(struct http_req *req)
{
    return http_record_get(req, req->state, &things, req->params[0]);
}

static struct http_reply *put_thing(struct http_req *req)
{
    return http_record_put(req, req->state, &things, req->params[0]);
}

static struct http_reply *delete_thing(struct http_req *req)
{
    return http_record_delete(req, req->state, &things, req->params[0]);
}

static struct http_reply *list_things(struct http_req *req)
{
    return http_record_list(req, req->state, &things);
}

/* Stale when it is first called: what it expects to be there never was. */
static struct http_reply *change(void *arg, struct store_snapshot *snapshot, struct store_batch *batch,
                                 struct http_reply **ret_reply)
{
    int *calls = *(int **)arg;

    *ret_reply = http_reply_new(200);
    if (++*calls == 1)
        store_batch_put(batch, THINGS, STR("x"), STR(""), STORE_AT, 1000);
    else
        store_batch_put(batch, THINGS, STR("x"), STR(""), STORE_ANY, 0);
    return *calls == 3 ? http_problem(409, "no more") : NULL;
}

static int changes, releases;

static void count_release(void *arg)
{
    releases++;
}

static struct http_reply *post_change(struct http_req *req)
{
    int *calls = &changes;

    return http_store_update(req, req->state, &calls, sizeof(calls), count_release, change);
}

static void release_json(void *json)
{
    json_decref(json);
}

static struct http_reply *patch_size(struct http_req *req)
{
    struct size size = {.width = 3, .depth = 4};
    struct http_reply *problem;
    json_t *json;

    problem = http_json_parse(req, "application/merge-patch+json", &json);
    if (problem != NULL)
        return problem;
    http_keep(req, json, release_json);
    problem = http_json_take(json, &sizes, true, &size);
    return problem != NULL ? problem : http_json_reply(200, &sizes, &size);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/things", .handler = list_things},
    {.method = "GET", .path = "/things/{id}", .handler = get_thing},
    {.method = "PUT", .path = "/things/{id}", .handler = put_thing, .max_body = 100},
    {.method = "DELETE", .path = "/things/{id}", .handler = delete_thing},
    {.method = "POST", .path = "/change", .handler = post_change},
    {.method = "PATCH", .path = "/size", .handler = patch_size, .max_body = 100},
    {0},
};

static struct fixture fixture;
static struct store *store;

static void setup(void)
{
    fixture_init(&fixture);
    store = open_store((struct store_options){.url = fixture.url, .tables = tables, .table_count = TABLES});
}

static void teardown(void)
{
    store_close(store);
    fixture_release(&fixture);
}

TestSuite(http_record, .init = setup, .fini = teardown);

/* Asks, and expects that status and a body that has those words. */
static void asks(const char *method, const char *target, const char *body, int status, const char *words)
{
    const char *type = strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : "application/json";
    const struct http_try_header headers[] = {{"content-type", type}, {NULL, NULL}};
    struct http_reply *reply =
        http_try(routes, store,
                 &(struct http_try){.method = method, .target = target, .headers = headers, .body = str_of(body)});
    struct str got = http_reply_body(reply);

    cr_assert_eq(http_reply_status(reply), status, "%s %s: %d %.*s", method, target, http_reply_status(reply),
                 STR_ARG(got));
    cr_assert(words == NULL || memmem(got.s, got.len, words, strlen(words)) != NULL, "%s %s: %.*s", method, target,
              STR_ARG(got));
    http_reply_free(reply);
}

Test(http_record, is_put_got_and_deleted)
{
    asks("GET", "/things/a", "", 404, "id: there is none of this key");
    asks("PUT", "/things/a", "{\"name\": \"one\"}", 204, NULL);
    asks("PUT", "/things/a", "{\"name\": \"two\"}", 204, NULL);
    asks("GET", "/things/a", "", 200, "{\"name\":\"two\"}");
    asks("DELETE", "/things/a", "", 204, NULL);
    asks("DELETE", "/things/a", "", 204, NULL);
    asks("GET", "/things/a", "", 404, NULL);
}

Test(http_record, a_key_and_fields_have_limits)
{
    asks("PUT", "/things/abcde", "{\"name\": \"one\"}", 400, "id has 5 bytes of UTF-8, 1 to 4 are allowed");
    asks("GET", "/things/A", "", 400, "id may only contain a-z");
    asks("PUT", "/things/a", "{}", 422, "name has 0 characters, 1 to 8 are allowed");
    asks("PUT", "/things/a", "{\"name\": \"a\\u0000b\"}", 400, "name must not contain U+0000");
    asks("PUT", "/things/a", "[]", 400, "the content must be a JSON object");
}

Test(http_record, is_listed_by_pages)
{
    asks("GET", "/things", "", 200, "{\"records\":[],\"next\":null}");
    for (const char *const *key = (const char *const[]){"/things/c", "/things/a", "/things/b", NULL}; *key; key++)
        asks("PUT", *key, "{\"name\": \"n\"}", 204, NULL);
    asks("GET", "/things?limit=2", "", 200,
         "{\"records\":[{\"id\":\"a\",\"name\":\"n\"},{\"id\":\"b\",\"name\":\"n\"}],\"next\":\"b\"}");
    asks("GET", "/things?limit=2&after=b", "", 200, "{\"records\":[{\"id\":\"c\",\"name\":\"n\"}],\"next\":null}");
    asks("GET", "/things?limit=3", "", 200, "\"next\":null}");
    asks("GET", "/things?after=aa&limit=1", "", 200, "{\"records\":[{\"id\":\"b\"");
    asks("GET", "/things?limit=0", "", 400, "limit must be a number from 1 to 100");
    asks("GET", "/things?limit=101", "", 400, "limit must be");
    asks("GET", "/things?after=", "", 400, "after must be");
}

Test(http_record, what_has_changed_meanwhile_is_read_again)
{
    asks("POST", "/change", "", 200, NULL);
    cr_assert(changes == 2 && releases == 1);
    asks("POST", "/change", "", 409, "no more");
    cr_assert(changes == 3 && releases == 2);
}

Test(http_record, a_patch_changes_what_it_names)
{
    asks("PATCH", "/size", "{\"depth\": 5}", 200, "{\"width\":3,\"depth\":5}");
    asks("PATCH", "/size", "{\"depth\": null}", 200, "{\"width\":3,\"depth\":0}");
    asks("PATCH", "/size", "{\"width\": null}", 422, "width is required");
    asks("PATCH", "/size", "{\"width\": 10}", 422, "width is 10, 1 to 9 are allowed");
    asks("PATCH", "/size", "{\"height\": 1}", 400, "unknown member \\\"height\\\": a size has width and depth");
}
