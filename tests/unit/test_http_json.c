/* JSON requests: what a lack of memory does to them. What is wrong with a body is tested with the services. */
#include "failing_malloc.h"
#include "http_json.h"
#include "http_try.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

#ifdef SANITIZED
Test(http_json, is_tested_without_sanitizers)
{
    cr_skip("allocators are a sanitizer's own");
}
#else

struct thing {
    struct str name;
    int64_t size;
};
static const struct field list[] = {FIELD_STRING(struct thing, name, 1, 8), FIELD_INT(struct thing, size, 1, 9), {0}};
static const struct fields fields = {"a thing", list};

static struct http_reply *take(struct http_req *req)
{
    struct thing thing = {0};
    struct http_reply *problem = http_json_read(req, &fields, &thing);

    return problem != NULL ? problem : http_reply_new(204);
}

static const struct http_route routes[] = {{"POST", "/", take, .max_body = 100}, {0}};

static long countdown; /* of jansson's allocations until one fails; 0: none does */

static json_malloc_t library_allocate; /* the library's: it must see what fails */

static void *allocate(size_t size)
{
    if (countdown > 0 && --countdown == 0)
        fail_in = 1;
    return library_allocate(size);
}

static int status_of(struct str body)
{
    static const struct http_try_header headers[] = {{"content-type", "application/json"}, {0}};
    struct http_reply *reply =
        http_try(routes, NULL, &(struct http_try){.method = "POST", .target = "/", .headers = headers, .body = body});
    int status = http_reply_status(reply);

    http_reply_free(reply);
    return status;
}

Test(http_json, want_of_memory_is_not_the_clients_fault)
{
    static const struct str body = STR("{\"name\": \"a\\u00e9\", \"size\": 2}");
    long count = 0;

    json_get_alloc_funcs(&library_allocate, &(json_free_t){NULL});
    json_set_alloc_funcs(allocate, free);
    do {
        countdown = ++count;
        int status = status_of(body);

        cr_expect(countdown == 0 ? status == 500 : status == 204, "allocation %ld: %d", count, status);
    } while (countdown == 0);
    cr_expect_gt(count, 5);
    countdown = 0;
    cr_expect_eq(status_of(STR("{\"name\": ")), 400);
    cr_expect_eq(status_of(STR("")), 400);
}
#endif
