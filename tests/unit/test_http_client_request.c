/* What a call sends, what it makes of the response, and when it is sent again. */
#include "http_client_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct http_client_request root = {.path = {"/", 1}};

static struct http_client_request of_method(const char *method)
{
    struct http_client_request request = root;

    request.method = str_of(method);
    return request;
}

/* ---- what is sent, seen by a server of our own ---- */

#define BODY_MAX (2 * 1024 * 1024)

static struct http_reply *echo(struct http_req *req)
{
    struct buf text = {0};
    uint64_t sum = 0;

    for (size_t i = 0; i < req->body.len; i++)
        sum = sum * 31 + (unsigned char)req->body.s[i];
    buf_printf(&text, "%.*s %.*s type=%.*s key=%.*s accept=%.*s agent=%.*s x=%.*s %zu bytes %016llx",
               STR_ARG(req->method), STR_ARG(req->path), STR_ARG(http_header(req, "content-type")),
               STR_ARG(http_header(req, "idempotency-key")), STR_ARG(http_header(req, "accept")),
               STR_ARG(http_header(req, "user-agent")), STR_ARG(http_header(req, "x")), req->body.len,
               (unsigned long long)sum);
    return http_set_header(http_reply_take(201, "text/plain", &text), "x-method", "%.*s", STR_ARG(req->method));
}

static const struct http_route routes[] = {
    {"POST", "/echo", echo, BODY_MAX},   {"PUT", "/echo", echo, BODY_MAX}, {"PATCH", "/echo", echo, BODY_MAX},
    {"DELETE", "/echo", echo, BODY_MAX}, {"GET", "/echo", echo},           {0}};

Test(http_client_request, methods_headers_and_bodies)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    static const struct http_field headers[] = {{{"content-type", 12}, {"text/x", 6}},
                                                {{"X", 1}, {"a \xc3\xa9", 4}},
                                                {{"Accept", 6}, {"text/plain", 10}},
                                                {{"USER-AGENT", 10}, {"me", 2}}};
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct calls calls = calls_open_port(f.port);
    struct result *result;
    char expected[256];

    for (size_t i = 0; i < COUNT(methods); i++) {
        result = call(&calls, (struct http_client_request){.method = str_of(methods[i]),
                                                           .path = STR("/echo"),
                                                           .headers = headers,
                                                           .header_count = COUNT(headers),
                                                           .body = STR("ab"),
                                                           .idempotency_key = STR("k-1")});
        snprintf(expected, sizeof(expected),
                 "%s /echo type=text/x key=k-1 accept=text/plain agent=me x=a \xc3\xa9 2 bytes %016x", methods[i],
                 'a' * 31 + 'b');
        cr_expect_eq(result->status, 201);
        cr_expect_str_eq(result->body, expected, "%s", result->body);
        snprintf(expected, sizeof(expected), "x-method=%s;", methods[i]);
        cr_expect_not_null(strstr(result->headers, expected), "%s", result->headers);
        free(result);
    }
    result = call(&calls, (struct http_client_request){.method = STR("HEAD"), .path = STR("/echo")});
    cr_expect_eq(result->status, 201);
    cr_expect_eq(result->body_len, 0);
    free(result);
    cr_expect_eq(client_metric(&calls, "http_client_connections{peer=\"peer\"}"), 1);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"201\"}"), COUNT(methods) + 1);
    calls_close(&calls);
    fixture_close(&f);
}

Test(http_client_request, a_body_that_does_not_fit_into_the_socket)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct http_client_request request = {.method = STR("PUT"), .path = STR("/echo")};
    char *body = malloc(BODY_MAX), expected[64];
    struct calls calls;
    struct result *result;
    uint64_t sum = 0;

    for (size_t i = 0; i < BODY_MAX; i++) {
        body[i] = (char)(i * 7 + i / 251);
        sum = sum * 31 + (unsigned char)body[i];
    }
    calls = calls_open_with(f.port, (struct http_client_def){.max_request_body = BODY_MAX});
    snprintf(expected, sizeof(expected), " %d bytes %016llx", BODY_MAX, (unsigned long long)sum);
    request.body = (struct str){body, BODY_MAX};
    for (int i = 0; i < 3; i++) {
        result = call(&calls, request);
        cr_expect_eq(result->status, 201, "%s %d", strerror(-result->err), result->status);
        cr_expect_not_null(strstr(result->body, expected), "%s", result->body);
        free(result);
    }
    calls_close(&calls);
    fixture_close(&f);
    free(body);
}

/* ---- what is sent, byte by byte ---- */

static void expect_sent(struct http_client_request request, const char *expected)
{
    struct script script = {.answers = (const char *const[]){"HTTP/1.1 204 No Content\r\n\r\n", NULL}};
    struct calls calls;
    char whole[512];

    script_open(&script);
    calls = calls_open_port(script.port);
    snprintf(whole, sizeof(whole), "%shost: 127.0.0.1:%d\r\n\r\n", expected, script.port);
    expect_of(&calls, request, 0, 204, "");
    calls_close(&calls);
    script_close(&script);
    cr_expect_str_eq(script.requests, whole, "%s", script.requests);
}

#define DEFAULTS "accept: application/json\r\nuser-agent: slipway/" SLIPWAY_VERSION "\r\n"

Test(http_client_request, a_length_is_sent_where_a_body_is_or_is_expected)
{
    struct http_client_request request = root;

    expect_sent(request, "GET / HTTP/1.1\r\n" DEFAULTS);
    expect_sent(of_method("DELETE"), "DELETE / HTTP/1.1\r\n" DEFAULTS);
    expect_sent(of_method("POST"), "POST / HTTP/1.1\r\n" DEFAULTS "content-length: 0\r\n");
    expect_sent(of_method("PUT"), "PUT / HTTP/1.1\r\n" DEFAULTS "content-length: 0\r\n");
    request.body = STR("abc");
    expect_sent(request, "GET / HTTP/1.1\r\n" DEFAULTS "content-length: 3\r\n");
}

/* ---- requests that are refused ---- */

static int header_refusal(struct calls *calls, const char *name, const char *value)
{
    struct http_field field = {str_of(name), str_of(value)};

    return refusal(calls, (struct http_client_request){.path = STR("/"), .headers = &field, .header_count = 1});
}

Test(http_client_request, methods_and_headers_that_would_change_the_request_are_refused)
{
    static const char *const methods[] = {"CONNECT", "GET /x HTTP/1.1\r\n", "a b", "P\xc3\xb6ST", "(", "GET\t"};
    static const char *const names[] = {
        "",           "a b",         "a:",   "a\r\nb",           "Host",           "content-length",
        "Connection", "keep-alive",  "TE",   "upgrade",          "expect",         "transfer-encoding",
        "trailer",    "traceparent", "\xe4", "proxy-connection", "Idempotency-Key"};
    static const char *const values[] = {"a\r\nb: c", "a\nb", "a\rb", "\x7f", "\1"};
    struct calls calls = calls_open_port(1);

    for (size_t i = 0; i < COUNT(methods); i++)
        cr_expect_eq(refusal(&calls, of_method(methods[i])), -EINVAL, "%s", methods[i]);
    for (size_t i = 0; i < COUNT(names); i++)
        cr_expect_eq(header_refusal(&calls, names[i], "x"), -EINVAL, "%s", names[i]);
    for (size_t i = 0; i < COUNT(values); i++)
        cr_expect_eq(header_refusal(&calls, "x", values[i]), -EINVAL, "%s", values[i]);
    cr_expect_eq(header_refusal(&calls, "x", "\ta \xc3\xa9"), 0);
    calls_close(&calls);
}

static int key_refusal(struct calls *calls, const char *key, size_t len)
{
    return refusal(calls, (struct http_client_request){.path = STR("/"), .idempotency_key = {key, len}});
}

Test(http_client_request, idempotency_keys_that_are_refused)
{
    struct calls calls = calls_open_port(1);
    char key[256];

    memset(key, 'k', sizeof(key));
    cr_expect_eq(key_refusal(&calls, key, 255), 0);
    cr_expect_eq(key_refusal(&calls, key, 256), -EINVAL);
    cr_expect_eq(key_refusal(&calls, "a b", 3), -EINVAL);
    cr_expect_eq(key_refusal(&calls, "a\r\nb: c", 7), -EINVAL);
    cr_expect_eq(key_refusal(&calls, "\xc3\xa9", 2), -EINVAL);
    cr_expect_eq(key_refusal(&calls, "\x7f", 1), -EINVAL);
    calls_close(&calls);
}

Test(http_client_request, heads_and_bodies_that_are_too_large)
{
    struct calls calls = calls_open((struct http_client_def){.target = "127.0.0.1:1", .max_request_body = 100});
    struct http_client_request request = {.method = STR("POST"), .path = STR("/")};
    char *text = malloc(17000);

    memset(text, 'x', 17000);
    cr_expect_eq(header_refusal(&calls, "x", strndupa(text, 16300)), 0);
    cr_expect_eq(header_refusal(&calls, "x", strndupa(text, 16400)), -EMSGSIZE);
    request.body = (struct str){text, 100};
    cr_expect_eq(refusal(&calls, request), 0);
    request.body = (struct str){text, 101};
    cr_expect_eq(refusal(&calls, request), -EMSGSIZE);
    calls_close(&calls);
    free(text);
}

/* ---- responses ---- */

Test(http_client_request, headers_of_the_response)
{
    struct script script = {.answers = (const char *const[]){"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" OK
                                                             "Set-Cookie: a\r\nX-Empty:\r\nset-cookie:  b \r\n"
                                                             "content-length: 2\r\n\r\nok",
                                                             NULL}};
    struct result *result;
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    result = call(&calls, root);
    cr_expect_str_eq(result->headers, "Set-Cookie=a;X-Empty=;set-cookie=b;content-length=2;", "%s", result->headers);
    cr_expect_str_eq(result->body, "ok");
    free(result);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client_request, a_header_by_name)
{
    const struct http_client_response response = {.head = STR("HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\na: 3\r\nc:\r\n\r\n")};

    cr_expect(str_eq(http_client_header(&response, STR("a")), STR("1")));
    cr_expect(str_eq(http_client_header(&response, STR("B")), STR("2")));
    cr_expect_not_null(http_client_header(&response, STR("c")).s);
    cr_expect_eq(http_client_header(&response, STR("c")).len, 0);
    cr_expect_null(http_client_header(&response, STR("d")).s);
}

/* The same fields, but for one that is malformed: none is taken for another. */
Test(http_client_request, heads_that_are_malformed)
{
    static const char *const lines[] = {
        "content-length : 2", " content-length: 2",  "x: y\r\n z",      "x: a\rb",     "x: \x7f", "x", ": x", "x y: z",
        "content-length: +2", "content-length: 2,2", "content-length:", "x\xc3\xa9: y"};
    char answer[128];

    for (size_t i = 0; i < COUNT(lines); i++) {
        snprintf(answer, sizeof(answer), OK "%s\r\nconnection: close\r\n\r\nok", lines[i]);
        expect_answer(answer, -EBADMSG, 0, NULL);
    }
    expect_answer("HTTP/1.1 200\r\ncontent-length:\t2 \r\n\r\nok", 0, 200, "ok");
    expect_answer("HTTP/1.1 200 \nX!#$%&'*+-.^_`|~: y\ncontent-length: 2\n\nok", 0, 200, "ok"); /* RFC 9112, 2.2 */
    expect_answer("HTTP/1.1  200 OK\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer("HTTP/2.0 200 OK\r\n\r\n", -EBADMSG, 0, NULL);
}

Test(http_client_request, a_head_has_at_most_64_fields)
{
    char answer[1024];

    for (int fields = 64; fields <= 65; fields++) {
        strcpy(answer, OK "content-length: 2\r\n");
        for (int i = 1; i < fields; i++)
            strcat(answer, "x: y\r\n");
        strcat(answer, "\r\nok");
        expect_answer(answer, fields > 64 ? -EBADMSG : 0, fields > 64 ? 0 : 200, NULL);
    }
}

/* Responses without a body, whatever their fields say: the next one on the connection begins behind the head. */
Test(http_client_request, responses_without_a_body)
{
    static const char *const answers[] = {OK "content-length: 5\r\n\r\n",
                                          OK "transfer-encoding: chunked\r\n\r\n",
                                          OK "\r\n",
                                          "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
                                          "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
                                          OK "content-length: 2\r\n\r\nok",
                                          NULL};
    struct script script = {.answers = answers, .reuse = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    for (int i = 0; i < 3; i++)
        expect_of(&calls, of_method("HEAD"), 0, 200, "");
    expect_of(&calls, root, 0, 204, "");
    expect_of(&calls, root, 0, 304, "");
    expect_of(&calls, root, 0, 200, "ok");
    cr_expect_eq(script.connections, 1);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client_request, a_body_that_must_not_be_ends_the_connection)
{
    static const char *const answers[] = {OK "content-length: 5\r\n\r\nhello", NULL};
    struct script script = {.answers = answers, .hold = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect_of(&calls, of_method("HEAD"), 0, 200, "");
    NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client_request, interim_responses_are_bounded)
{
    struct buf answer = {0};

    while (answer.len < 17000)
        buf_append_cstr(&answer, "HTTP/1.1 102 Processing\r\n\r\n");
    buf_append_cstr(&answer, OK "content-length: 0\r\n\r\n");
    buf_append_char(&answer, '\0');
    expect_answer(answer.data, -EBADMSG, 0, NULL);
    buf_release(&answer);
}

Test(http_client_request, close_goes_before_keep_alive)
{
    static const char *const heads[] = {"connection: close\r\nconnection: keep-alive\r\n",
                                        "connection: keep-alive\r\nconnection: close\r\n",
                                        "connection: keep-alive, close\r\n"};

    for (size_t i = 0; i < COUNT(heads); i++) {
        char answer[256];
        struct script script = {.answers = (const char *const[]){answer, NULL}, .hold = true};
        struct calls calls;
        snprintf(answer, sizeof(answer), OK "%scontent-length: 0\r\n\r\n", heads[i]);
        script_open(&script);
        calls = calls_open_port(script.port);
        expect_of(&calls, root, 0, 200, "");
        NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
        calls_close(&calls);
        script_close(&script);
    }
}

Test(http_client_request, the_bound_of_a_body_is_the_calls)
{
    static const char *const answers[] = {OK "content-length: 11\r\n\r\nhello world",
                                          OK "content-length: 11\r\n\r\nhello world",
                                          OK "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
                                          OK "\r\nhello world",
                                          OK "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
                                          NULL};
    struct script script = {.answers = answers};
    struct http_client_request request = root;
    struct calls calls;

    script_open(&script);
    calls = calls_open_with(script.port, (struct http_client_def){.max_body = 10});
    expect_of(&calls, request, -EMSGSIZE, 0, NULL);
    request.max_body = 11;
    for (int i = 0; i < 3; i++)
        expect_of(&calls, request, 0, 200, "hello world");
    request.max_body = 9;
    expect_of(&calls, request, -EMSGSIZE, 0, NULL);
    calls_close(&calls);
    script_close(&script);
}

static char *filled(size_t len, const char *head)
{
    char *answer = malloc(strlen(head) + len + 1);

    strcpy(answer, head);
    memset(answer + strlen(head), 'x', len);
    answer[strlen(head) + len] = '\0';
    return answer;
}

/* Extensions and trailers, which the caller does not see. */
Test(http_client_request, the_framing_of_chunks_is_bounded)
{
    static const char *const forms[] = {"1;%s\r\nx\r\n0\r\n\r\n", "1\r\nx\r\n0\r\nt: %s\r\n\r\n"};
    char *text = filled(70000, ""), *answer;
    struct http_client_request request = root;
    struct script script;
    struct calls calls;

    request.max_body = 100;
    for (size_t i = 0; i < 2 * COUNT(forms); i++) {
        text[i < COUNT(forms) ? 70000 : 60000] = '\0';
        answer = malloc(71000);
        strcpy(answer, OK "transfer-encoding: chunked\r\n\r\n");
        snprintf(answer + strlen(answer), 70900, forms[i % COUNT(forms)], text);
        script = (struct script){.answers = (const char *const[]){answer, NULL}};
        script_open(&script);
        calls = calls_open_port(script.port);
        if (i < COUNT(forms))
            expect_of(&calls, request, -EMSGSIZE, 0, NULL);
        else
            expect_of(&calls, request, 0, 200, "x");
        calls_close(&calls);
        script_close(&script);
        free(answer);
    }
    free(text);
}

/* ---- memory ---- */

#define MEMORY (200 * 1024)

static struct calls calls_open_memory(int port)
{
    return calls_open_with(port, (struct http_client_def){.max_memory = MEMORY});
}

Test(http_client_request, memory_is_bounded_and_given_back)
{
    char *large = filled(300 * 1024, OK "content-length: 307200\r\n\r\n"), *endless = filled(300 * 1024, OK "\r\n");
    char *fits = filled(60000, OK "\r\n");
    struct script script = {.answers = (const char *const[]){large, endless, fits, fits, fits, fits, fits, NULL}};
    struct http_client_request request = {.method = STR("POST"), .path = STR("/")};
    struct calls calls;

    script_open(&script);
    calls = calls_open_memory(script.port);
    request.body = (struct str){large, 300 * 1024};
    cr_expect_eq(refusal(&calls, request), -ENOBUFS);
    expect_of(&calls, root, -ENOBUFS, 0, NULL);
    expect_of(&calls, root, -ENOBUFS, 0, NULL);
    for (int i = 0; i < 5; i++)
        expect_of(&calls, root, 0, 200, NULL);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"ENOBUFS\"}"), 2);
    calls_close(&calls);
    script_close(&script);
    free(large);
    free(endless);
    free(fits);
}

Test(http_client_request, memory_is_charged_before_a_body_of_known_length_comes)
{
    struct script script = {.answers = (const char *const[]){OK "content-length: 307200\r\n\r\n", NULL}, .hold = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_memory(script.port);
    expect_of(&calls, root, -ENOBUFS, 0, NULL);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client_request, idle_connections_hold_no_memory)
{
    char *fits = filled(60000, OK "content-length: 60000\r\n\r\n"), *body = filled(190 * 1024, "");
    struct script script = {.answers = (const char *const[]){fits, OK "content-length: 2\r\n\r\nok", NULL},
                            .reuse = true};
    struct http_client_request request = {.method = STR("PUT"), .path = STR("/"), .body = {body, 190 * 1024}};
    struct calls calls;

    script_open(&script);
    calls = calls_open_memory(script.port);
    expect_of(&calls, root, 0, 200, NULL);
    expect_of(&calls, request, 0, 200, "ok");
    cr_expect_eq(script.connections, 1);
    calls_close(&calls);
    script_close(&script);
    free(fits);
    free(body);
}

/* ---- retries ---- */

/* The peer reads each request, says answer, and closes. */
static void expect_attempts(struct http_client_request request, const char *answer, unsigned attempts)
{
    struct script script = {.answers = (const char *const[]){answer, answer, answer, NULL}};
    struct calls calls;
    size_t half;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect_of(&calls, request, -ECONNRESET, 0, NULL);
    calls_close(&calls);
    cr_expect_eq(script.connections, attempts, "%.*s: %u", STR_ARG(request.method), script.connections);
    script_close(&script);
    half = strlen(script.requests) / 2;
    if (attempts == 2) /* the same bytes, the trace and the key among them */
        cr_expect(strlen(script.requests) == 2 * half && memcmp(script.requests, script.requests + half, half) == 0,
                  "%s", script.requests);
}

Test(http_client_request, idempotent_methods_are_repeated_and_others_are_not)
{
    static const char *const idempotent[] = {"", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    static const char *const others[] = {"POST", "PATCH", "get", "LOCK"};
    struct trace trace;

    trace_begin(STR_NULL, true, &trace);
    for (size_t i = 0; i < COUNT(idempotent); i++) {
        struct http_client_request request = of_method(idempotent[i]);
        request.trace = &trace;
        expect_attempts(request, "", 2);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        expect_attempts(of_method(others[i]), "", 1);
}

Test(http_client_request, a_call_with_an_idempotency_key_is_repeated)
{
    struct http_client_request request = of_method("POST");

    request.idempotency_key = STR("0001");
    expect_attempts(request, "", 2);
}

Test(http_client_request, a_call_that_has_been_answered_in_part_is_not_repeated)
{
    expect_attempts(root, "H", 1);
    expect_attempts(root, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    expect_attempts(root, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", 1);
    expect_attempts(root, OK "content-length: 5\r\n\r\nhell", 1);
}

Test(http_client_request, what_is_not_idempotent_is_not_repeated_on_a_kept_connection)
{
    static const char *const answers[] = {OK "content-length: 2\r\n\r\nok", "", NULL};
    struct script script = {.answers = answers, .reuse = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect_of(&calls, of_method("POST"), 0, 200, "ok");
    expect_of(&calls, of_method("POST"), -ECONNRESET, 0, NULL);
    calls_close(&calls);
    cr_expect_eq(script.connections, 1);
    script_close(&script);
}

Test(http_client_request, what_is_not_idempotent_goes_on_to_an_address_that_can_be_connected_to)
{
    struct script script = {
        .answers = (const char *const[]){OK "content-length: 2\r\n\r\nok", OK "content-length: 2\r\n\r\nok", NULL}};
    char target[64];
    struct calls calls;

    script_open(&script);
    snprintf(target, sizeof(target), "127.0.0.2:%d,127.0.0.1:%d", script.port, script.port);
    calls = calls_open((struct http_client_def){.target = target});
    for (int i = 0; i < 2; i++) /* whichever address is first */
        expect_of(&calls, of_method("POST"), 0, 200, "ok");
    calls_close(&calls);
    script_close(&script);
}

/* ---- peers that do not read the body ---- */

static struct http_client_request with_body(const char *method, size_t len, char **ret_body)
{
    struct http_client_request request = of_method(method);

    *ret_body = filled(len, "");
    request.body = (struct str){*ret_body, len};
    return request;
}

#define UNREAD (16 * 1024 * 1024)

static void expect_unread(const char *answer, bool hold, uint64_t timeout_ms, int err, int status)
{
    struct script script = {.answers = (const char *const[]){answer, NULL}, .hold = hold};
    struct http_client_request request;
    struct calls calls;
    char *body;

    script_open(&script);
    calls = calls_open_with(script.port, (struct http_client_def){.max_request_body = UNREAD});
    request = with_body("POST", UNREAD, &body);
    request.timeout_ms = timeout_ms;
    expect_of(&calls, request, err, status, NULL);
    NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
    calls_close(&calls);
    script_close(&script);
    free(body);
}

Test(http_client_request, the_deadline_bounds_sending)
{
    expect_unread("", true, 50, -ETIMEDOUT, 0);
}

Test(http_client_request, an_answer_that_comes_before_the_body_is_sent)
{
    static const char too_large[] = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";

    expect_unread(too_large, true, 0, 0, 413);
    expect_unread(too_large, false, 0, 0, 413); /* and closes, which resets the connection */
}
