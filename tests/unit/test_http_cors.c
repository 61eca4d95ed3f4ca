/* Pages of other origins. */
#include "http_auth.h"
#include "http_cors.h"
#include "http_fixture.h"

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain", STR("hello"));
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello},
    {"PUT", "/hello", hello, .max_body = 10},
    {0},
};

static struct http_cors cors;

static struct fixture open_server(const char *origins)
{
    cr_assert_eq(http_cors_parse(origins, &cors), 0);
    return fixture_open((struct http_server_def){.routes = routes, .cors = &cors});
}

/* The answer's head is kept. */
static struct net_answer ask_for(const struct fixture *f, const char *method, const char *path, const char *headers)
{
    struct net_answer answer = fixture_ask(f, method, path, headers);

    net_answer_release(&answer);
    return answer;
}

static void expect(const struct net_answer *answer, const char *name, const char *value)
{
    char got[512];

    cr_expect_str_eq(net_header(answer, name, got), value, "%s: %s", name, got);
}

#define ORIGIN    "origin: https://shop.example\r\n"
#define PREFLIGHT "access-control-request-method: PUT\r\n"

Test(http_cors, a_page_of_a_listed_origin_may_read)
{
    struct fixture f = open_server("http://localhost:3000, https://shop.example");
    struct net_answer answer = ask_for(&f, "GET", "/hello", ORIGIN);

    cr_expect_eq(answer.status, 200);
    expect(&answer, "access-control-allow-origin", "https://shop.example");
    expect(&answer, "access-control-expose-headers", "*");
    expect(&answer, "access-control-allow-credentials", "");
    expect(&answer, "vary", "origin");
    answer = ask_for(&f, "GET", "/nowhere", ORIGIN); /* it may read errors, too */
    cr_expect_eq(answer.status, 404);
    expect(&answer, "access-control-allow-origin", "https://shop.example");
    fixture_close(&f);
}

Test(http_cors, others_may_not_and_are_answered_all_the_same)
{
    static const char *const origins[] = {"origin: https://evil.example\r\n",
                                          "origin: null\r\n",
                                          "origin:\r\n",
                                          "origin: http://shop.example\r\n",
                                          "origin: https://shop.example:8443\r\n",
                                          "origin: https://shop.example.evil.example\r\n",
                                          "origin: https://sub.shop.example\r\n",
                                          "origin: https://SHOP.example\r\n",
                                          "origin: https://shop.example/\r\n",
                                          "origin: *\r\n",
                                          ""};
    struct fixture f = open_server("https://shop.example");

    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        struct net_answer answer = ask_for(&f, "GET", "/hello", origins[i]);

        cr_expect_eq(answer.status, 200);
        expect(&answer, "access-control-allow-origin", "");
        expect(&answer, "access-control-expose-headers", "");
        expect(&answer, "vary", "origin");
    }
    fixture_close(&f);
}

Test(http_cors, preflights)
{
    struct fixture f = open_server("https://shop.example");
    struct net_answer answer =
        ask_for(&f, "OPTIONS", "/hello", ORIGIN PREFLIGHT "access-control-request-headers: if-match, x-own\r\n");

    cr_expect_eq(answer.status, 204);
    expect(&answer, "access-control-allow-origin", "https://shop.example");
    expect(&answer, "access-control-allow-methods", "GET, HEAD, PUT, OPTIONS");
    expect(&answer, "access-control-allow-headers", "if-match, x-own");
    expect(&answer, "access-control-max-age", "600");
    expect(&answer, "allow", "");
    answer = ask_for(&f, "OPTIONS", "/hello", "origin: https://evil.example\r\n" PREFLIGHT);
    cr_expect_eq(answer.status, 204);
    expect(&answer, "access-control-allow-methods", "");
    expect(&answer, "access-control-allow-origin", "");
    expect(&answer, "allow", "GET, HEAD, PUT, OPTIONS"); /* as any OPTIONS */
    answer = ask_for(&f, "OPTIONS", "/hello", ORIGIN);
    expect(&answer, "access-control-allow-methods", "");
    answer = ask_for(&f, "OPTIONS", "/nowhere", ORIGIN PREFLIGHT);
    cr_expect_eq(answer.status, 404);
    answer = ask_for(&f, "OPTIONS", "/hello", ORIGIN PREFLIGHT "access-control-request-headers: a/b\r\n");
    expect(&answer, "access-control-allow-headers", "");
    fixture_close(&f);
}

Test(http_cors, names_of_headers_that_are_too_long_are_not_repeated)
{
    struct fixture f = open_server("https://shop.example");
    struct net_answer answer;
    char headers[2048];

    snprintf(headers, sizeof(headers), ORIGIN PREFLIGHT "access-control-request-headers: %01025d\r\n", 0);
    answer = ask_for(&f, "OPTIONS", "/hello", headers);
    cr_expect_eq(answer.status, 204);
    expect(&answer, "access-control-allow-headers", "");
    fixture_close(&f);
}

Test(http_cors, all_origins)
{
    struct fixture f = open_server(" * ");
    struct net_answer answer = ask_for(&f, "GET", "/hello", ORIGIN);

    expect(&answer, "access-control-allow-origin", "*");
    expect(&answer, "vary", "");
    fixture_close(&f);
}

Test(http_cors, credentials)
{
    struct fixture f;
    struct net_answer answer;

    f = open_server("https://shop.example");
    cors.credentials = true;
    answer = ask_for(&f, "GET", "/hello", ORIGIN);
    expect(&answer, "access-control-allow-credentials", "true");
    cr_expect_not_null(strstr(answer.head, "access-control-expose-headers: age, "));
    answer = ask_for(&f, "GET", "/hello", "origin: https://evil.example\r\n");
    expect(&answer, "access-control-allow-credentials", "");
    fixture_close(&f);
}

Test(http_cors, without_a_list_nothing_is_said)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer = ask_for(&f, "OPTIONS", "/hello", ORIGIN PREFLIGHT);

    expect(&answer, "access-control-allow-origin", "");
    expect(&answer, "vary", "");
    fixture_close(&f);
}

Test(http_cors, lists)
{
    static const char *const good[] = {"",
                                       " ",
                                       "*",
                                       "https://a",
                                       "http://localhost:8080,https://[::1]:3",
                                       "https://a.example , https://b.example",
                                       "chrome-extension://abcdef"};
    static const char *const bad[] = {
        "null", "https://a.example/", "a.example",   "https://",   "https://A.example", "://a",       "https://a,",
        ",",    "*, https://a",       "https://a b", "https://a:", "https://:80",       "https://u@a"};
    char many[4096] = "https://a";

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect_null(http_cors_check(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not_null(http_cors_check(bad[i]), "%s", bad[i]);
    for (int i = 1; i < HTTP_CORS_MAX_ORIGINS; i++)
        strcat(many, ",https://a");
    cr_expect_null(http_cors_check(many));
    cr_expect_not_null(http_cors_check(strcat(many, ",https://a")));
}
