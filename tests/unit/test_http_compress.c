/* Replies that are compressed by gzip, and the entity tags of these. */
#include "http2_client.h"
#include "http_stream.h"
#include <zlib.h>

#define LONG (64 * 1024)

static char text[2 << 20]; /* of words, which become much smaller */
static char random_bytes[LONG];

static void make_texts(void)
{
    unsigned seed = 1;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "{\"name\": \"value\"} "[i % 18];
    for (size_t i = 0; i < sizeof(random_bytes); i++)
        random_bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
}

static size_t length; /* of replies */
static const char *content_type = "application/json";
static const char *extra_name, *extra_value;

static struct http_reply *with_headers(struct http_reply *reply)
{
    return extra_name != NULL ? http_set_header(reply, extra_name, "%s", extra_value) : reply;
}

static struct http_reply *get(struct http_req *req)
{
    return with_headers(http_reply_text(200, content_type, (struct str){text, length}));
}

static struct http_reply *get_static(struct http_req *req)
{
    return with_headers(http_reply_static(200, content_type, (struct str){text, length}));
}

static struct http_reply *get_random(struct http_req *req)
{
    return http_reply_text(200, "text/plain", (struct str){random_bytes, sizeof(random_bytes)});
}

static struct http_reply *tell_conditions(struct http_req *req)
{
    struct buf told = {0};

    buf_append_str(&told, http_header(req, "if-match"));
    buf_append_char(&told, '|');
    buf_append_str(&told, http_header(req, "if-none-match"));
    return http_reply_take(200, "text/plain", &told);
}

static struct http_reply *not_modified(struct http_req *req)
{
    return http_set_header(http_reply_new(304), "etag", "\"5\"");
}

static struct http_reply *problem(struct http_req *req)
{
    return http_problem(400, "%s", text + sizeof(text) - 1000);
}

static struct http_reply *stream(struct http_req *req)
{
    struct http_stream *stream;
    struct http_reply *reply;

    cr_assert_eq(http_stream_open(req, &(struct http_stream_def){.max_bytes = LONG}, &stream), 0);
    http_stream_write(stream, (struct str){text, LONG});
    reply = http_reply_stream(200, content_type, stream);
    http_stream_end(stream);
    return reply;
}

static const struct http_route routes[] = {
    {"GET", "/", get},
    {"GET", "/static", get_static},
    {"GET", "/random", get_random},
    {"GET", "/secret", get, .secret = true},
    {"GET", "/conditions", tell_conditions},
    {"GET", "/not-modified", not_modified},
    {"GET", "/problem", problem},
    {"GET", "/stream", stream},
    {0},
};

static struct fixture open_server(struct http_server_def def)
{
    make_texts();
    length = LONG;
    def.routes = routes;
    def.compress = true;
    return fixture_open(def);
}

static const char *header(const struct net_answer *answer, const char *name)
{
    static char value[512];

    return net_header(answer, name, value);
}

static void expect_inflates(const struct net_answer *answer, const char *bytes, size_t len)
{
    z_stream zlib = {.next_in = (Bytef *)answer->body, .avail_in = (uInt)answer->body_len};
    char *got = malloc(len + 1);

    zlib.next_out = (Bytef *)got;
    zlib.avail_out = (uInt)len + 1;
    cr_assert_eq(inflateInit2(&zlib, 15 + 16), Z_OK);
    cr_assert_eq(inflate(&zlib, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(zlib.total_out, len);
    cr_assert_eq(memcmp(got, bytes, len), 0);
    inflateEnd(&zlib);
    free(got);
}

static void expect_compressed(const struct fixture *f, const char *path, const char *headers, bool compressed)
{
    struct net_answer answer = fixture_ask(f, "GET", path, headers);

    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(header(&answer, "content-encoding"), compressed ? "gzip" : "", "%s %s", path, headers);
    if (compressed)
        expect_inflates(&answer, text, length);
    else
        cr_expect_eq(answer.body_len, length);
    net_answer_release(&answer);
}

#define GZIP "accept-encoding: gzip\r\n"

Test(http_compress, clients_get_what_they_accept)
{
    static const struct {
        const char *headers;
        bool compressed;
    } cases[] = {
        {"", false},
        {GZIP, true},
        {"accept-encoding: GZip\r\n", true},
        {"accept-encoding: x-gzip\r\n", true},
        {"accept-encoding: br, gzip;q=0.5, deflate\r\n", true},
        {"accept-encoding: deflate\r\naccept-encoding: gzip\r\n", true},
        {"accept-encoding: *\r\n", true},
        {"accept-encoding: gzip ; q=0.001\r\n", true},
        {"accept-encoding: gzip;q=1.000, identity;q=0\r\n", true},
        {"accept-encoding: identity;q=0, *;q=0.1\r\n", true},
        {"accept-encoding:\r\n", false},
        {"accept-encoding: gzip;q=0\r\n", false},
        {"accept-encoding: gzip;q=0.000\r\n", false},
        {"accept-encoding: gzip;q=0, *\r\n", false},
        {"accept-encoding: gzip;q=0.5, identity\r\n", false},
        {"accept-encoding: gzip;q=2\r\n", false},
        {"accept-encoding: gzip;q=1.5\r\n", false},
        {"accept-encoding: gzip;q=\r\n", false},
        {"accept-encoding: gzip;q=0.0001\r\n", false},
        {"accept-encoding: gzip;q=-1\r\n", false},
        {"accept-encoding: gzipped, , ;, =\r\n", false},
        {"accept-encoding: br, identity\r\n", false},
    };
    struct fixture f = open_server((struct http_server_def){0});

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_compressed(&f, "/", cases[i].headers, cases[i].compressed);
        expect_compressed(&f, "/static", cases[i].headers, cases[i].compressed);
    }
    fixture_close(&f);
}

static void expect_vary(const struct fixture *f, const char *path, const char *headers, const char *vary)
{
    struct net_answer answer = fixture_ask(f, "GET", path, headers);

    cr_expect_str_eq(header(&answer, "vary"), vary, "%s", path);
    net_answer_release(&answer);
}

Test(http_compress, what_depends_on_the_request_says_so)
{
    struct fixture f = open_server((struct http_server_def){0});

    expect_vary(&f, "/", GZIP, "accept-encoding");
    expect_vary(&f, "/", "", "accept-encoding");
    expect_vary(&f, "/not-modified", "", "accept-encoding");
    expect_vary(&f, "/secret", GZIP, "");
    length = 1023;
    expect_vary(&f, "/", GZIP, "");
    fixture_close(&f);
}

Test(http_compress, what_is_left_as_it_is)
{
    struct fixture f = open_server((struct http_server_def){0});
    struct net_answer answer;

    expect_compressed(&f, "/secret", GZIP, false);
    expect_compressed(&f, "/", GZIP "cookie: session=1\r\n", false);
    length = 1023;
    expect_compressed(&f, "/", GZIP, false);
    length = 1024;
    expect_compressed(&f, "/", GZIP, true);
    length = 1 << 20;
    expect_compressed(&f, "/", GZIP, true);
    length++;
    expect_compressed(&f, "/", GZIP, false);
    length = LONG;
    extra_name = "cache-control";
    extra_value = "private, No-Transform";
    expect_compressed(&f, "/", GZIP, false);
    extra_value = "no-transformation";
    expect_compressed(&f, "/", GZIP, true);
    extra_name = "set-cookie";
    extra_value = "session=1";
    expect_compressed(&f, "/", GZIP, false);
    extra_name = NULL;
    answer = fixture_ask(&f, "GET", "/random", GZIP);
    cr_expect_str_eq(header(&answer, "content-encoding"), "");
    cr_expect_str_eq(header(&answer, "vary"), "accept-encoding");
    cr_expect_eq(answer.body_len, sizeof(random_bytes));
    cr_expect_eq(memcmp(answer.body, random_bytes, sizeof(random_bytes)), 0);
    net_answer_release(&answer);
    fixture_close(&f);
}

Test(http_compress, text_is_compressed_and_nothing_else)
{
    static const char *const texts[] = {"text/plain; charset=utf-8",
                                        "TEXT/HTML",
                                        "application/problem+json",
                                        "image/svg+xml",
                                        "application/openmetrics-text; version=1.0.0",
                                        "application/json;charset=utf-8"};
    static const char *const others[] = {"image/png", "application/octet-stream", "application/jsonx", "font/woff2",
                                         ""};
    struct fixture f = open_server((struct http_server_def){0});

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        content_type = texts[i];
        expect_compressed(&f, "/", GZIP, true);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        content_type = others[i];
        expect_compressed(&f, "/", GZIP, false);
    }
    fixture_close(&f);
}

Test(http_compress, a_stream_is_sent_as_it_is)
{
    struct fixture f = open_server((struct http_server_def){0});
    struct net_answer answer = {0};
    int fd = fixture_connect(&f);

    net_send_text(fd, "GET /stream HTTP/1.1\r\nhost: test\r\n" GZIP "\r\n");
    net_read_head(fd, &answer);
    cr_expect_str_eq(header(&answer, "content-encoding"), "");
    close(fd);
    fixture_close(&f);
}

Test(http_compress, a_head_tells_what_a_get_would)
{
    struct fixture f = open_server((struct http_server_def){0});
    struct net_answer whole = fixture_ask(&f, "GET", "/", GZIP), head = fixture_ask(&f, "HEAD", "/", GZIP);

    cr_expect_str_eq(header(&head, "content-encoding"), "gzip");
    cr_expect_eq(strtoul(header(&head, "content-length"), NULL, 10), whole.body_len);
    net_answer_release(&whole);
    fixture_close(&f);
}

Test(http_compress, over_HTTP_2)
{
    struct fixture f = open_server((struct http_server_def){0});
    int fd = connect_h2(&f);
    struct buf request = {0};
    struct net_answer answer = {0};
    static char body[LONG];
    struct frame frame;

    add_request(&request, "GET", "/");
    add_literal(&request, "accept-encoding", "gzip");
    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, 1, request.data, request.len);
    do {
        await_frame(fd, DATA, &frame);
        memcpy(body + answer.body_len, frame.payload, frame.len);
        answer.body_len += frame.len;
    } while ((frame.flags & END_STREAM) == 0);
    answer.body = body;
    expect_inflates(&answer, text, length);
    buf_release(&request);
    close(fd);
    fixture_close(&f);
}

/* ---- entity tags ---- */

static void expect_tag(const struct fixture *f, const char *path, const char *headers, int status, const char *tag)
{
    struct net_answer answer = fixture_ask(f, "GET", path, headers);

    cr_expect_eq(answer.status, status);
    cr_expect_str_eq(header(&answer, "etag"), tag, "%s: %s", headers, header(&answer, "etag"));
    net_answer_release(&answer);
}

Test(http_compress, what_is_compressed_has_a_tag_of_its_own)
{
    struct fixture f = open_server((struct http_server_def){0});

    extra_name = "etag";
    extra_value = "\"5\"";
    expect_tag(&f, "/", "", 200, "\"5\"");
    expect_tag(&f, "/", GZIP, 200, "\"5-gzip\"");
    extra_value = "W/\"5\""; /* says nothing of bytes */
    expect_tag(&f, "/", GZIP, 200, "W/\"5\"");
    fixture_close(&f);
}

static void expect_conditions(const struct fixture *f, const char *headers, const char *told)
{
    struct net_answer answer = fixture_ask(f, "GET", "/conditions", headers);

    cr_expect_str_eq(answer.body, told);
    net_answer_release(&answer);
}

Test(http_compress, handlers_see_their_own_tags_in_conditions)
{
    struct fixture f = open_server((struct http_server_def){0});

    expect_conditions(&f, "if-match: \"5-gzip\"\r\n", "\"5\"|");
    expect_conditions(&f, "if-match: \"5\"\r\n", "\"5\"|");
    expect_conditions(&f, "if-none-match: \"4-gzip\", W/\"5-gzip\",\"6\" , \"-gzip\"\r\n",
                      "|\"4\", W/\"5\",\"6\" , \"\"");
    expect_conditions(&f, "if-none-match: *\r\n", "|*");
    expect_conditions(&f, "if-match: \"5-gzip\r\n", "\"5-gzip|");
    fixture_close(&f);
}

Test(http_compress, a_304_has_the_tag_of_what_the_client_has)
{
    struct fixture f = open_server((struct http_server_def){0});

    expect_tag(&f, "/not-modified", "", 304, "\"5\"");
    expect_tag(&f, "/not-modified", "if-none-match: \"5\"\r\n" GZIP, 304, "\"5\"");
    expect_tag(&f, "/not-modified", "if-none-match: \"4\", \"5-gzip\"\r\n" GZIP, 304, "\"5-gzip\"");
    fixture_close(&f);
}

/* ---- memory ---- */

Test(http_compress, the_state_is_counted_and_without_room_nothing_is_compressed)
{
    struct fixture f = open_server((struct http_server_def){.max_memory = 4 << 20});
    struct fixture small =
        fixture_open((struct http_server_def){.routes = routes, .compress = true, .max_memory = 256 << 10});

    for (int i = 0; i < 3; i++)
        expect_compressed(&f, "/", GZIP, true);
    NET_AWAIT(fixture_metric(&f, "http_memory_bytes{server=\"test\"}") == (1 << 18) + (8 << 10)); /* of one state */
    length = 4096;
    expect_compressed(&small, "/", GZIP, false);
    fixture_close(&small);
    fixture_close(&f);
}

Test(http_compress, it_is_off_by_default)
{
    struct fixture f;

    make_texts();
    length = LONG;
    f = fixture_open((struct http_server_def){.routes = routes});
    expect_compressed(&f, "/", GZIP, false);
    expect_vary(&f, "/", GZIP, "");
    expect_conditions(&f, "if-match: \"5-gzip\"\r\n", "\"5-gzip\"|");
    fixture_close(&f);
}
