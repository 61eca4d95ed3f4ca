/* Handlers without a server. */
#include "http_try.h"
#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>

static struct http_reply *greet(struct http_req *req)
{
    struct str name = STR_NULL;

    if (http_query(req, "name", &name) < 0)
        return http_problem(400, "name is badly encoded");
    return http_set_header(http_reply_text(200, "text/plain", name.len > 0 ? name : http_header(req, "x-name")), "x-id",
                           "%.*s", STR_ARG(req->params[0]));
}

static void *answer_later(void *deferred)
{
    http_answer(deferred, http_reply_new(204));
    return NULL;
}

static pthread_t answering;

static struct http_reply *defer(struct http_req *req)
{
    struct http_deferred *deferred = http_defer(req);

    cr_assert_eq(pthread_create(&answering, NULL, answer_later, deferred), 0);
    return NULL;
}

static struct http_reply *say_body(struct http_req *req)
{
    return http_reply_text(200, "text/plain", *(struct str *)req->state);
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2(); /* 0 where a sanitizer has its own heap */

    return info.uordblks + info.hblkhd;
}

static int ignore(void *arg, struct str name, struct str value)
{
    return 0;
}

/* How many bytes of memory a byte of the query takes while all of it is read, as the body's length. */
static struct http_reply *measure(struct http_req *req)
{
    static const char dots[64];
    size_t before = heap_bytes();
    struct str value;

    cr_expect_eq(http_each_query(req, ignore, NULL), 0);
    cr_expect_eq(http_query(req, "wanted", &value), 0);
    cr_expect_eq(http_query_check(req), 0);
    return http_reply_text(200, "text/plain", (struct str){dots, (heap_bytes() - before) / req->query.len % 64});
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/measure", .handler = measure},
    {.method = "GET", .path = "/greet/{id}", .handler = greet},
    {.method = "POST", .path = "/later", .handler = defer},
    {.method = "PUT", .path = "/state", .handler = say_body, .max_body = 3},
    {0},
};

static struct http_reply *try(const char *method, const char *target, struct str body)
{
    static struct str state = STR("of the service");
    static const struct http_try_header headers[] = {{"x-name", "Ada"}, {0}};

    return http_try(routes, &state,
                    &(struct http_try){.method = method, .target = target, .headers = headers, .body = body});
}

static void expect(const char *method, const char *target, struct str body, int status, const char *said)
{
    struct http_reply *reply = try(method, target, body);
    struct str got = http_reply_body(reply);

    cr_expect_eq(http_reply_status(reply), status, "%s %s: %d", method, target, http_reply_status(reply));
    cr_expect(said == NULL || memmem(got.s, got.len, said, strlen(said)) != NULL, "%s %s: %.*s", method, target,
              STR_ARG(got));
    http_reply_free(reply);
}

Test(http_try, a_handler_gets_what_a_server_would_give_it)
{
    struct http_reply *reply = try("GET", "/greet/a%20b?name=Bo+B", STR_NULL);

    cr_expect(str_eq(http_reply_body(reply), STR("Bo B")));
    cr_expect(str_eq(http_reply_header(reply, "x-id"), STR("a b")));
    cr_expect(str_eq(http_reply_header(reply, "content-type"), STR("text/plain")));
    cr_expect_null(http_reply_header(reply, "x-other").s);
    http_reply_free(reply);
    expect("GET", "http://host/greet/1", STR_NULL, 200, "Ada");
    expect("PUT", "/state", STR("abc"), 200, "of the service");
}

Test(http_try, a_deferred_answer_is_waited_for)
{
    expect("POST", "/later", STR_NULL, 204, NULL);
    pthread_join(answering, NULL);
}

Test(http_try, refuses_as_a_server_does)
{
    expect("GET", "/nowhere", STR_NULL, 404, "no such path");
    expect("DELETE", "/state", STR_NULL, 405, "the methods of this resource are");
    expect("OPTIONS", "/state", STR_NULL, 204, NULL);
    expect("PUT", "/state", STR("abcd"), 413, "longer than 3 bytes");
    expect("GET", "/greet/%zz", STR_NULL, 400, "badly encoded");
    expect("GET", "/greet/1?name=%00", STR_NULL, 400, "name is badly encoded");
    expect("HEAD", "/greet/1", STR_NULL, 200, "Ada"); /* the body is left out where it is sent */
}

Test(http_try, a_query_takes_memory_by_its_bytes_not_by_its_parameters)
{
    static char target[100001] = "/measure?";
    struct http_reply *reply;

    for (size_t at = strlen(target); at + 2 < sizeof(target); at += 2)
        memcpy(target + at, "a&", 2);
    reply = try("GET", target, STR_NULL);
    cr_expect_eq(http_reply_status(reply), 200);
    cr_expect_leq(http_reply_body(reply).len, 3u, "%zu bytes for each", http_reply_body(reply).len);
    http_reply_free(reply);
}
