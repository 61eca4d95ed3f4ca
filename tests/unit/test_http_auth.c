#include "clock.h"
#include "http_auth.h"
#include "http_fixture.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* SHA-256 of "abc", a vector of FIPS 180-4, and of "". */
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static int open_bytes(const char *text, size_t len, struct http_auth **ret_auth, unsigned *ret_line)
{
    char path[] = "/tmp/test_http_auth.XXXXXX";
    int fd = mkstemp(path), r;

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, len), (ssize_t)len);
    close(fd);
    r = http_auth_open(path, ret_auth, ret_line);
    unlink(path);
    return r;
}

static struct http_auth *opened(const char *text)
{
    struct http_auth *auth = NULL;
    unsigned line;

    cr_assert_eq(open_bytes(text, strlen(text), &auth, &line), 0);
    return auth;
}

/* The status of what is answered; 0 where the request may go on. */
static int status(struct http_auth *auth, const char *authorization, uint64_t now_ns)
{
    struct str header = authorization == NULL ? STR_NULL : (struct str){authorization, strlen(authorization)};
    struct http_reply *reply = NULL;
    int answer = 0;

    if (!http_auth_admits(auth, header, now_ns, &reply)) {
        answer = http_reply_status(reply);
        http_reply_free(reply);
    }
    return answer;
}

Test(http_auth, knows_tokens_by_their_hash)
{
    struct http_auth *auth = opened("# clients\n\nsmoke " EMPTY " 1\na-client_1 " ABC " 1000000\n");

    cr_assert_eq(status(auth, "Bearer abc", 1), 0);
    cr_assert_eq(status(auth, "bearer abc", 1), 0, "the scheme's case does not matter");
    cr_assert_eq(status(auth, NULL, 1), 401);
    cr_assert_eq(status(auth, "", 1), 401);
    cr_assert_eq(status(auth, "Bearer ", 1), 401, "the empty token is none");
    cr_assert_eq(status(auth, "Bearer abd", 1), 401);
    cr_assert_eq(status(auth, "Bearer abc ", 1), 401);
    cr_assert_eq(status(auth, "Bearer " ABC, 1), 401, "what the file says is no token");
    cr_assert_eq(status(auth, "Basic abc", 1), 401);
    http_auth_free(auth);
}

Test(http_auth, lets_a_second_s_worth_through_at_once_and_then_the_rate)
{
    struct http_auth *auth = opened("one " ABC " 4\n");
    uint64_t now = 100 * CLOCK_NS_PER_S;

    for (int i = 0; i < 4; i++)
        cr_assert_eq(status(auth, "Bearer abc", now), 0, "request %d", i);
    cr_assert_eq(status(auth, "Bearer abc", now), 429);
    now += CLOCK_NS_PER_S / 4;
    cr_assert_eq(status(auth, "Bearer abc", now), 0);
    cr_assert_eq(status(auth, "Bearer abc", now), 429);
    now += 3600 * CLOCK_NS_PER_S; /* a long silence gives no more than that */
    for (int i = 0; i < 4; i++)
        cr_assert_eq(status(auth, "Bearer abc", now), 0, "request %d", i);
    cr_assert_eq(status(auth, "Bearer abc", now), 429);
    http_auth_free(auth);
}

Test(http_auth, says_which_line_is_wrong)
{
    static const char *const wrong[] = {
        "one",
        "one " ABC,
        "one " ABC " ",
        "one " ABC " 0",
        "one " ABC " 1000001",
        "one " ABC " -1",
        "one " ABC " 1 ",
        "one  " ABC " 1",
        " " ABC " 1",
        "o/e " ABC " 1",
        "one " ABC "0 1",
        "one ba7816BF 1",
        "two " ABC " 1",
        "one " ABC " 18446744073709551617",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct http_auth *auth = NULL;
        unsigned line = 0;
        char text[512];

        snprintf(text, sizeof(text), "#\nfirst " ABC " 1\n%s\n", wrong[i]);
        if (strncmp(wrong[i], "two", 3) != 0)
            snprintf(text, sizeof(text), "#\nfirst " EMPTY " 1\n%s\n", wrong[i]);
        cr_assert_eq(open_bytes(text, strlen(text), &auth, &line), -EINVAL, "%s", wrong[i]);
        cr_assert_eq(line, 3, "%s", wrong[i]);
        cr_assert_null(auth);
    }
}

Test(http_auth, bounds_the_file)
{
    struct http_auth *auth = NULL;
    unsigned line = 7;
    char *large = malloc(300000);

    memset(large, '\n', 300000);
    cr_assert_eq(open_bytes(large, 300000, &auth, &line), -EFBIG);
    cr_assert_eq(open_bytes("#\0\n", 3, &auth, &line), -EINVAL);
    cr_assert_eq(http_auth_open("/nowhere/at/all", &auth, &line), -ENOENT);
    cr_assert_eq(line, 0);
    cr_assert_null(auth);
    free(large);
    http_auth_free(NULL);
}

static struct http_reply *hello(struct http_req *req)
{
    (void)req;
    return http_reply_new(204);
}

/* The first line of the answer to a request. */
static void first_line(const struct fixture *fixture, const char *request, char answer[13])
{
    int fd = fixture_connect(fixture);

    cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    for (size_t got = 0; got < 12;) {
        ssize_t n = read(fd, answer + got, 12 - got);
        cr_assert_gt(n, 0);
        got += (size_t)n;
    }
    answer[12] = '\0';
    close(fd);
}

static const uint8_t description[] = "{}";
enum { description_len = 2 };

Test(http_auth, guards_every_route_of_a_server_that_is_not_open)
{
    static const struct http_route routes[] = {{"GET", "/x", hello, 0, NULL}, HTTP_DESCRIPTION(description), {0}};
    struct http_auth *auth = opened("one " ABC " 1\n");
    struct fixture fixture = fixture_open((struct http_server_def){.routes = routes, .auth = auth});
    char answer[13];

    first_line(&fixture, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", answer);
    cr_assert_str_eq(answer, "HTTP/1.1 401");
    first_line(&fixture, "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n", answer);
    cr_assert_str_eq(answer, "HTTP/1.1 204");
    first_line(&fixture, "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n", answer);
    cr_assert_str_eq(answer, "HTTP/1.1 429");
    first_line(&fixture, "GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n", answer);
    cr_assert_str_eq(answer, "HTTP/1.1 200");
    fixture_close(&fixture);
    http_auth_free(auth);
}

/* ---- bodies of those whom nobody knows ---- */

static struct http_reply *take(struct http_req *req)
{
    return http_reply_text(200, "text/plain", STR("taken"));
}

static const struct http_route body_routes[] = {{"POST", "/take", take, .max_body = 100000}, {0}};

#define BODY      60000
#define STRANGERS 40

static void begin(int fd, const char *token, size_t len)
{
    static char body[BODY];
    char head[256];

    snprintf(head, sizeof(head),
             "POST /take HTTP/1.1\r\nhost: test\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n", token,
             BODY);
    net_send_text(fd, head);
    net_send(fd, body, len);
}

/* They hold 2.4 MB of 8, which is more than an eighth: some are closed, and the one with a token is not. */
Test(http_auth, half_sent_bodies_without_a_token_hold_little)
{
    struct http_auth *auth = opened("client " ABC " 1000\n");
    struct fixture f =
        fixture_open((struct http_server_def){.routes = body_routes, .auth = auth, .max_memory = 8 << 20});
    int known = fixture_connect(&f), strangers[STRANGERS];
    struct net_answer answer;

    begin(known, "abc", BODY - 1);
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = fixture_connect(&f);
        begin(strangers[i], "abd", BODY - 1);
    }
    NET_AWAIT(fixture_metric(&f, "http_memory_closed_total{server=\"test\"}") > 0);
    cr_expect_lt(fixture_metric(&f, "http_memory_bytes{server=\"test\"}"), 8 << 20);
    net_send(known, "x", 1);
    net_read_answer(known, false, &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    close(known);
    for (int i = 0; i < STRANGERS; i++)
        close(strangers[i]);
    fixture_close(&f);
    http_auth_free(auth);
}
