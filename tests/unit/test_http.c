/* Requests and replies: routes, parameters, bodies, problems, what is counted and logged. */
#include "http_fixture.h"
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>

/* ---- a server that says what it was asked ---- */

static int add_query(void *arg, struct str name, struct str value)
{
    buf_printf(arg, "%.*s=%.*s;", STR_ARG(name), STR_ARG(value));
    return 0;
}

static struct http_reply *echo(struct http_req *req)
{
    struct buf text = {0};
    int err;

    buf_printf(&text, "%s %s method=%.*s path=%.*s params=", req->route->method, req->route->path, STR_ARG(req->method),
               STR_ARG(req->path));
    for (int i = 0; i < HTTP_MAX_PARAMS; i++)
        buf_printf(&text, "%.*s|", STR_ARG(req->params[i]));
    buf_append_cstr(&text, " query=");
    if ((err = http_each_query(req, add_query, &text)) < 0) {
        buf_release(&text);
        return http_problem_errno(err, "query");
    }
    buf_printf(&text, " body=%.*s", STR_ARG(req->body));
    return http_reply_take(200, "text/plain", &text);
}

static struct http_reply *one_query(struct http_req *req)
{
    struct str value = STR("unset");
    int found = http_query(req, "q", &value);

    return http_set_header(http_reply_text(200, "text/plain", value), "x-found", "%d", found);
}

static int count_header(void *arg, struct str value)
{
    buf_printf(arg, "[%.*s]", STR_ARG(value));
    return 0;
}

static struct http_reply *headers(struct http_req *req)
{
    struct buf text = {0};
    struct str missing = http_header(req, "x-missing"), host = http_header(req, "host"),
               one = http_header(req, "x-one");

    http_each_header(req, "x-one", count_header, &text);
    buf_printf(&text, " host=%.*s first=%.*s missing=%d", STR_ARG(host), STR_ARG(one), missing.s == NULL);
    return http_reply_take(200, "text/plain", &text);
}

static struct http_reply *set_headers(struct http_req *req)
{
    struct http_reply *reply = http_reply_new(204);

    reply = http_set_header(reply, "x-good", "%s", "fine\tand well");
    reply = http_set_header(reply, "x-split", "%s", "a\r\nx-injected: yes");
    reply = http_set_header(reply, "x-newline", "%s", "a\n");
    reply = http_set_header(reply, "x-empty", "%s", "");
    return http_set_header(reply, "x-control", "a%cb", 1);
}

static struct http_reply *json(struct http_req *req)
{
    return http_reply_json(201, json_pack("{s:i,s:s}", "a", 1, "b", "\xc3\xa9"));
}

static struct http_reply *broken_json(struct http_req *req)
{
    return http_reply_json(200, NULL);
}

static struct http_reply *no_memory(struct http_req *req)
{
    struct buf full = {.failed = true};

    return http_set_header(http_reply_take(200, "text/plain", &full), "x-any", "%d", 1);
}

static struct http_reply *conflict(struct http_req *req)
{
    return http_problem(409, "the name \"%s\" is\ntaken", "J\xf6rg");
}

static struct http_reply *busy(struct http_req *req)
{
    return http_problem_errno(-ENOBUFS, "the store");
}

static struct http_reply *empty(struct http_req *req)
{
    struct buf nothing = {0};

    return http_reply_take(200, "text/plain", &nothing);
}

static void observe(void *state, const struct http_observed *observed)
{
    if (state != NULL && strcmp(observed->method, "GET") == 0)
        atomic_fetch_add((_Atomic int *)state, observed->status);
}

static const struct http_route routes[] = {
    {"GET", "/", echo},
    {"GET", "/v1/notes/{id}", echo, .observe = observe},
    {"PUT", "/v1/notes/{id}", echo, .max_body = 100},
    {"GET", "/v1/notes/search", echo},
    {"GET", "/v1/{kind}/{id}/parts/{part}", echo},
    {"GET", "/v1/fixed/{id}/parts/{part}", echo},
    {"POST", "/v1/notes", echo, .max_body = 100},
    {"PATCH", "/v1/drafts/{id}", echo, .max_body = 100, .accepts = "application/merge-patch+json"},
    {"DELETE", "/v1/drafts/{id}", echo},
    {"GET", "/query", one_query},
    {"GET", "/headers", headers},
    {"HEAD", "/headers", empty},
    {"GET", "/set-headers", set_headers},
    {"GET", "/json", json},
    {"GET", "/broken-json", broken_json},
    {"GET", "/no-memory", no_memory},
    {"GET", "/conflict", conflict},
    {"GET", "/busy", busy},
    {"GET", "/empty", empty},
    {"GET", "/unrecorded", empty, .unrecorded = true},
    {0},
};

static struct net_answer ask(const struct fixture *fixture, const char *request)
{
    struct net_answer answer;
    int fd = fixture_connect(fixture);

    net_ask(fd, request, &answer);
    close(fd);
    return answer;
}

#define END " HTTP/1.1\r\nhost: test\r\n\r\n"

static void expect(const struct fixture *fixture, const char *request, int status, const char *body)
{
    struct net_answer answer = ask(fixture, request);

    cr_expect_eq(answer.status, status, "%s: %d", request, answer.status);
    if (body != NULL)
        cr_expect_str_eq(answer.body, body, "%s: %s", request, answer.body);
    net_answer_release(&answer);
}

/* ---- routes ---- */

Test(http, the_most_specific_route_is_taken_and_parameters_are_decoded)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /" END, 200, "GET / method=GET path=/ params=|||| query= body=");
    expect(&f, "GET /v1/notes/a%2Fb%20%c3%a9" END, 200,
           "GET /v1/notes/{id} method=GET path=/v1/notes/a%2Fb%20%c3%a9 params=a/b \xc3\xa9|||| query= body=");
    expect(&f, "GET /v1/notes/search" END, 200,
           "GET /v1/notes/search method=GET path=/v1/notes/search params=|||| query= body=");
    expect(&f, "GET /v1/x/2/parts/3" END, 200,
           "GET /v1/{kind}/{id}/parts/{part} method=GET path=/v1/x/2/parts/3 params=x|2|3|| query= body=");
    expect(&f, "GET /v1/fixed/2/parts/3" END, 200,
           "GET /v1/fixed/{id}/parts/{part} method=GET path=/v1/fixed/2/parts/3 params=2|3||| query= body=");
    fixture_close(&f);
}

Test(http, literal_segments_may_be_percent_encoded)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /%76%31/no%74es/sea%72ch" END, 200,
           "GET /v1/notes/search method=GET path=/%76%31/no%74es/sea%72ch params=|||| query= body=");
    expect(&f, "GET /v1/%6Eotes/%31" END, 200,
           "GET /v1/notes/{id} method=GET path=/v1/%6Eotes/%31 params=1|||| query= body=");
    expect(&f, "GET /v1%2Fnotes/1" END, 404, NULL);
    expect(&f, "GET /v1/note%7/1" END, 404, NULL);
    expect(&f, "GET /v1/note%/1" END, 404, NULL);
    expect(&f, "GET /v1/notes%00/1" END, 404, NULL);
    expect(&f, "GET /v1/%4eotes/1" END, 404, NULL);
    fixture_close(&f);
}

Test(http, unknown_and_malformed_paths)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /nothing" END, 404, NULL);
    expect(&f, "GET /V1/notes/1" END, 404, NULL);
    expect(&f, "GET /v1/notes/" END, 404, NULL);
    expect(&f, "GET /v1/notes/1/" END, 404, NULL);
    expect(&f, "GET //v1/notes/1" END, 404, NULL);
    expect(&f, "GET /v1/../v1/notes/1" END, 404, NULL);
    expect(&f, "GET *" END, 404, NULL);
    expect(&f, "GET nonsense" END, 404, NULL);
    expect(&f, "GET /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18" END, 404, NULL);
    expect(&f, "GET /v1/notes/%zz" END, 400, NULL);
    expect(&f, "GET /v1/notes/%4" END, 400, NULL);
    expect(&f, "GET /v1/notes/%" END, 400, NULL);
    expect(&f, "GET /v1/notes/a%00b" END, 400, NULL);
    expect(&f, "GET http://elsewhere:1/v1/notes/1?a=b" END, 200,
           "GET /v1/notes/{id} method=GET path=/v1/notes/1 params=1|||| query=a=b; body=");
    expect(&f, "GET http://elsewhere" END, 200, "GET / method=GET path=/ params=|||| query= body=");
    fixture_close(&f);
}

Test(http, methods)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer;
    char value[512];

    answer = ask(&f, "DELETE /v1/notes/1" END);
    cr_expect_eq(answer.status, 405);
    cr_expect_str_eq(net_header(&answer, "allow", value), "GET, HEAD, PUT, OPTIONS");
    net_answer_release(&answer);
    answer = ask(&f, "OPTIONS /v1/notes" END);
    cr_expect_eq(answer.status, 204);
    cr_expect_str_eq(net_header(&answer, "allow", value), "POST, OPTIONS");
    cr_expect_str_eq(net_header(&answer, "content-length", value), "");
    answer = ask(&f, "HEAD /v1/notes/1" END);
    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(net_header(&answer, "content-length", value), "73");
    answer = ask(&f, "HEAD /headers" END); /* has a handler of its own */
    cr_expect_str_eq(net_header(&answer, "content-length", value), "0");
    answer = ask(&f, "OPTIONS /v1/drafts/1" END);
    cr_expect_eq(answer.status, 204);
    cr_expect_str_eq(net_header(&answer, "allow", value), "PATCH, DELETE, OPTIONS");
    cr_expect_str_eq(net_header(&answer, "accept-patch", value), "application/merge-patch+json");
    answer = ask(&f, "OPTIONS *" END);
    cr_expect_eq(answer.status, 204);
    cr_expect_str_eq(net_header(&answer, "allow", value), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    expect(&f, "TRACE /v1/notes/1" END, 405, NULL);
    expect(&f, "FOO /v1/notes/1" END, 405, NULL);
    expect(&f, "FOO /nothing" END, 404, NULL);
    fixture_close(&f);
}

static int open_with(const struct http_route *table)
{
    struct http_server_def def = {.name = "test", .routes = table, .workers = 1};
    struct http_server *server = NULL;
    int fd, port, err;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    err = http_server_open(fd, &def, &server);
    http_server_close(server);
    return err;
}

Test(http, tables_that_cannot_be_are_refused)
{
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "/a", echo}, {0}}), 0);
    cr_expect_eq(open_with((const struct http_route[]){{0}}), 0);
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "/a", echo}, {"GET", "/a", echo}, {0}}), -EINVAL);
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "/{a}", echo}, {"PUT", "/{b}", echo}, {0}}), -EINVAL);
    cr_expect_eq(open_with((const struct http_route[]){{"TRACE", "/a", echo}, {0}}), -EINVAL);
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "a", echo}, {0}}), -EINVAL);
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "/a", NULL}, {0}}), -EINVAL);
    cr_expect_eq(open_with((const struct http_route[]){{"GET", "/{a}/{b}/{c}/{d}/{e}", echo}, {0}}), -EINVAL);
}

/* ---- query and headers ---- */

Test(http, queries)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /?a=1&&b=x+y%2bz&c&=d&a=2&" END, 200,
           "GET / method=GET path=/ params=|||| query=a=1;b=x y+z;c=;=d;a=2; body=");
    expect(&f, "GET /?a=%" END, 400, NULL);
    expect(&f, "GET /?%00=1" END, 400, NULL);
    expect(&f, "GET /query?x=1&q=a%26b" END, 200, "a&b");
    expect(&f, "GET /query?q" END, 200, "");
    expect(&f, "GET /query?Q=1" END, 200, "unset");
    expect(&f, "GET /query" END, 200, "unset");
    expect(&f, "GET /query?" END, 200, "unset");
    expect(&f, "GET /query?q=1&q=2" END, 200, "unset");
    expect(&f, "GET /query?q=%ff" END, 200, "\xff");
    expect(&f, "GET /query?x=%zz&%zz&q=1&y=%00" END, 200, "1");
    expect(&f, "GET /query?q=%zz" END, 200, "unset");
    fixture_close(&f);
}

Test(http, headers)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /headers HTTP/1.1\r\nHost: h:1\r\nX-One: a\r\nx-two: b\r\nX-ONE: c\r\n\r\n", 200,
           "[a][c] host=h:1 first=a missing=1");
    fixture_close(&f);
}

/* ---- replies ---- */

Test(http, headers_that_would_split_the_response_are_not_set)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer = ask(&f, "GET /set-headers" END);
    char value[512];

    cr_expect_str_eq(net_header(&answer, "x-good", value), "fine\tand well");
    cr_expect_not_null(strstr(answer.head, "\r\nx-empty: \r\n"));
    cr_expect_null(strstr(answer.head, "x-split"));
    cr_expect_null(strstr(answer.head, "x-injected"));
    cr_expect_null(strstr(answer.head, "x-newline"));
    cr_expect_null(strstr(answer.head, "x-control"));
    cr_expect_null(strcasestr(answer.head, "\r\nserver:"));
    cr_expect_not_null(strcasestr(answer.head, "\r\ndate: "));
    fixture_close(&f);
}

Test(http, json_is_compact)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer = ask(&f, "GET /json" END);
    char value[512];

    cr_expect_eq(answer.status, 201);
    cr_expect_str_eq(net_header(&answer, "content-type", value), "application/json");
    cr_expect_str_eq(answer.body, "{\"a\":1,\"b\":\"\xc3\xa9\"}");
    net_answer_release(&answer);
    expect(&f, "GET /empty" END, 200, "");
    fixture_close(&f);
}

Test(http, want_of_memory_is_a_500)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});

    expect(&f, "GET /broken-json" END, 500,
           "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}");
    expect(&f, "GET /no-memory" END, 500,
           "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}");
    fixture_close(&f);
}

static void expect_problem(const struct net_answer *answer, int status, const char *title, const char *detail)
{
    json_t *problem = json_loads(answer->body, 0, NULL);
    char value[512];

    cr_assert_not_null(problem, "%s", answer->body);
    cr_expect_eq(answer->status, status);
    cr_expect_str_eq(net_header(answer, "content-type", value), "application/problem+json");
    cr_expect_str_eq(json_string_value(json_object_get(problem, "type")), "about:blank");
    cr_expect_str_eq(json_string_value(json_object_get(problem, "title")), title);
    cr_expect_eq(json_integer_value(json_object_get(problem, "status")), status);
    cr_expect_str_eq(json_string_value(json_object_get(problem, "detail")), detail);
    cr_expect_eq(json_string_length(json_object_get(problem, "trace_id")), 32);
    json_decref(problem);
}

Test(http, problems)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer = ask(&f, "GET /conflict" END);
    char value[512];

    expect_problem(&answer, 409, "Conflict", "the name \"J\xef\xbf\xbdrg\" is\ntaken");
    net_answer_release(&answer);
    answer = ask(&f, "GET /busy" END);
    cr_expect_eq(answer.status, 503);
    cr_expect_str_eq(net_header(&answer, "retry-after", value), "1");
    cr_expect_not_null(strstr(answer.body, "the store: "));
    net_answer_release(&answer);
    fixture_close(&f);
}

Test(http, a_problem_names_the_trace_of_its_request)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer = ask(&f, "GET /nothing HTTP/1.1\r\nhost: test\r\n"
                                       "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");

    cr_expect_not_null(strstr(answer.body, "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\""), "%s", answer.body);
    net_answer_release(&answer);
    fixture_close(&f);
}

/* ---- bodies ---- */

Test(http, bodies)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer;

    expect(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello", 200,
           "POST /v1/notes method=POST path=/v1/notes params=|||| query= body=hello");
    expect(&f,
           "PUT /v1/notes/1 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
           "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
           200, "PUT /v1/notes/{id} method=PUT path=/v1/notes/1 params=1|||| query= body=hello");
    answer = ask(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 101\r\n\r\n"
                     "01234567890123456789012345678901234567890123456789"
                     "012345678901234567890123456789012345678901234567890");
    expect_problem(&answer, 413, "Content Too Large", "the body is longer than 100 bytes");
    net_answer_release(&answer);
    fixture_close(&f);
}

Test(http, a_body_of_a_get_or_delete_is_ignored)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_bodies = 100});
    int fd = fixture_connect(&f);

    for (int i = 0; i < 200; i++) { /* and is counted out again */
        struct net_answer answer;

        net_ask(fd, "GET / HTTP/1.1\r\nhost: test\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx", &answer);
        cr_assert_eq(answer.status, 200);
        cr_expect_str_eq(answer.body, "GET / method=GET path=/ params=|||| query= body=");
        net_answer_release(&answer);
    }
    close(fd);
    expect(&f, "DELETE /v1/drafts/1 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
           200, "DELETE /v1/drafts/{id} method=DELETE path=/v1/drafts/1 params=1|||| query= body=");
    fixture_close(&f);
}

Test(http, encoded_bodies_are_refused)
{
    static const char *const encodings[] = {"gzip", "identity, gzip", "identity\r\ncontent-encoding: br", "x"};
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    char request[512], value[512];

    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        struct net_answer answer;

        snprintf(request, sizeof(request),
                 "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-encoding: %s\r\ncontent-length: 1\r\n\r\nx",
                 encodings[i]);
        answer = ask(&f, request);
        expect_problem(&answer, 415, "Unsupported Media Type", "a body with a Content-Encoding is not accepted");
        cr_expect_str_eq(net_header(&answer, "accept-encoding", value), "identity");
        net_answer_release(&answer);
    }
    expect(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-encoding: Identity\r\ncontent-length: 1\r\n\r\nx", 200,
           "POST /v1/notes method=POST path=/v1/notes params=|||| query= body=x");
    fixture_close(&f);
}

Test(http, a_body_too_large_leaves_the_connection_usable)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);
    struct net_answer answer;

    net_ask(fd,
            "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 101\r\n\r\n"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
            &answer);
    expect_problem(&answer, 413, "Content Too Large", "the body is longer than 100 bytes");
    net_answer_release(&answer);
    net_ask(fd, "GET /empty" END, &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    close(fd);
    fixture_close(&f);
}

/* ---- what h2o answers by itself ---- */

Test(http, errors_of_the_protocol)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct net_answer answer;

    answer = ask(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 99999999\r\n\r\n");
    expect_problem(&answer, 413, "Content Too Large", "Request Entity Too Large");
    net_answer_release(&answer);
    answer = ask(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    expect_problem(&answer, 400, "Bad Request", "the size of a chunk is malformed");
    net_answer_release(&answer);
    answer = ask(&f, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\nexpect: wonders\r\n\r\n");
    expect_problem(&answer, 417, "Expectation Failed", "Expectation Failed");
    net_answer_release(&answer);
    answer = ask(&f, "no HTTP at all\r\n\r\n");
    cr_expect_eq(answer.status, 400);
    net_answer_release(&answer);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"POST\",path=\"/v1/notes\",status=\"413\"}") == 1);
    fixture_close(&f);
}

Test(http, expect_100_continue)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);
    struct net_answer answer;

    net_ask(fd, "POST /v1/notes HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n", &answer);
    cr_expect_eq(answer.status, 100);
    net_ask(fd, "ok", &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    close(fd);
    fixture_close(&f);
}

Test(http, pipelined_requests_are_answered_in_order)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);
    struct net_answer answer;

    net_send_text(fd, "GET /v1/notes/1" END "GET /v1/notes/2" END "GET /nothing" END);
    for (int i = 1; i <= 3; i++) {
        char path[32];
        net_read_answer(fd, false, &answer);
        snprintf(path, sizeof(path), "path=/v1/notes/%d ", i);
        cr_expect(i == 3 ? answer.status == 404 : strstr(answer.body, path) != NULL);
        net_answer_release(&answer);
    }
    close(fd);
    fixture_close(&f);
}

/* ---- what is counted, observed and logged ---- */

Test(http, requests_are_counted_by_route)
{
    _Atomic int statuses = 0;
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = &statuses});

    expect(&f, "GET /v1/notes/1" END, 200, NULL);
    expect(&f, "GET /v1/notes/2" END, 200, NULL);
    expect(&f, "HEAD /v1/notes/2" END, 200, NULL);
    expect(&f, "GET /unrecorded" END, 200, NULL);
    expect(&f, "GET /v1/notes/%zz" END, 400, NULL);
    expect(&f, "GET /nothing" END, 404, NULL);
    expect(&f, "GET /nowhere" END, 404, NULL);
    expect(&f, "BREW /v1/notes/1" END, 405, NULL);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"other\",path=\"/v1/notes/{id}\",status=\"405\"}") == 1);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/v1/notes/{id}\",status=\"200\"}") == 2);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"other\",status=\"404\"}") == 2);
    cr_expect_eq(fixture_metric(&f, "http_requests_total{method=\"HEAD\",path=\"/v1/notes/{id}\",status=\"200\"}"), 1);
    cr_expect_eq(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/unrecorded\",status=\"200\"}"), -1);
    cr_expect_eq(fixture_metric(&f, "http_requests_total{method=\"PUT\",path=\"/v1/notes/{id}\",status=\"503\"}"), 0);
    cr_expect_eq(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/v1/notes/{id}\",status=\"400\"}"), 1);
    cr_expect_eq(fixture_metric(&f, "http_request_duration_seconds_count{method=\"GET\",path=\"/v1/notes/{id}\"}"), 3);
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 0);
    cr_expect_eq(fixture_metric(&f, "http_requests_in_flight{server=\"test\"}"), 0);
    cr_expect_eq(statuses, 800);
    fixture_close(&f);
}

static json_t *read_line(int fd)
{
    char line[65536];
    size_t len = 0;

    while (len < sizeof(line) && read(fd, line + len, 1) == 1 && line[len] != '\n')
        len++;
    return json_loadb(line, len, 0, NULL);
}

static const char *member(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "";
}

Test(http, requests_are_logged)
{
    int pipes[2];
    struct log *log;
    struct fixture f;
    json_t *line, *request;

    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(log_open(&(struct log_def){.fd = pipes[1], .least = LOG_INFO, .service = "test"}, &log), 0);
    f = fixture_open((struct http_server_def){.routes = routes, .log = log});
    expect(&f, "GET /conflict?a=b HTTP/1.1\r\nhost: test\r\nuser-agent: tester\r\nreferer: there\r\n\r\n", 409, NULL);
    cr_assert_not_null(line = read_line(pipes[0]));
    request = json_object_get(line, "httpRequest");
    cr_expect_str_eq(member(line, "severity"), "WARNING");
    cr_expect_str_eq(member(request, "requestMethod"), "GET");
    cr_expect_str_eq(member(request, "requestUrl"), "http://test/conflict?a=b");
    cr_expect_str_eq(member(request, "userAgent"), "tester");
    cr_expect_str_eq(member(request, "referer"), "there");
    cr_expect_str_eq(member(request, "remoteIp"), "127.0.0.1");
    cr_expect_str_eq(member(request, "serverIp"), "127.0.0.1");
    cr_expect_str_eq(member(request, "protocol"), "HTTP/1.1");
    cr_expect_eq(json_integer_value(json_object_get(request, "status")), 409);
    json_decref(line);
    fixture_close(&f);
    log_close(log, 1000);
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- listening ---- */

Test(http, a_port_in_use_is_refused)
{
    int fd, other, port, port2;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_expect_eq(net_listen("127.0.0.1", port, &other, &port2), -EADDRINUSE);
    cr_expect_eq(net_listen("localhost", 0, &other, &port2), -EINVAL);
    cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
}

Test(http, the_unspecified_address_is_both_families)
{
    int fd, client, port;

    cr_assert_eq(net_listen("::", 0, &fd, &port), 0);
    client = net_connect("127.0.0.1", port);
    close(client);
    close(fd);
}
