/* Files that are embedded into a program: tests/unit/www. */
#include "fixture_www.h"
#include "http2_client.h"
#include "http_files.h"
#include <zlib.h>

static struct http_reply *file(struct http_req *req)
{
    struct str name = {req->path.s + 1, req->path.len - 1};

    return http_files_reply(req, &fixture_www, name.len > 0 ? name : STR("index.html"), "no-cache");
}

static const struct http_route routes[] = {
    {"GET", "/", file}, {"GET", "/{file}", file}, {"GET", "/js/{file}", file}, {0}};

static struct fixture f;

static void open_server(void)
{
    f = fixture_open((struct http_server_def){.routes = routes, .compress = true, .max_memory = 4 << 20});
}

static void close_server(void)
{
    fixture_close(&f);
}

TestSuite(http_files, .init = open_server, .fini = close_server);

static void expect(const struct net_answer *answer, const char *name, const char *value)
{
    char got[512];

    cr_expect_str_eq(net_header(answer, name, got), value, "%s: %s", name, got);
}

static const struct http_file *index_file(void)
{
    return http_files_find(&fixture_www, STR("index.html"));
}

/* With a tag in place of each %s. */
static const char *with_tag(const char *format, const struct http_file *of)
{
    static char text[512];

    snprintf(text, sizeof(text), format, of->tag, of->tag);
    return text;
}

Test(http_files, a_file)
{
    struct net_answer answer = fixture_ask(&f, "GET", "/", "");
    const struct http_file *of = index_file();

    cr_expect_eq(answer.status, 200);
    expect(&answer, "content-type", "text/html; charset=utf-8");
    expect(&answer, "content-encoding", "");
    expect(&answer, "etag", with_tag("\"%s\"", of));
    expect(&answer, "cache-control", "no-cache");
    expect(&answer, "vary", "accept-encoding");
    expect(&answer, "accept-ranges", "bytes");
    expect(&answer, "x-content-type-options", "nosniff");
    cr_expect_eq(answer.body_len, of->bytes.len);
    cr_expect_eq(memcmp(answer.body, of->bytes.s, of->bytes.len), 0);
    net_answer_release(&answer);
    answer = fixture_ask(&f, "GET", "/js/app.js", "");
    expect(&answer, "content-type", "text/javascript; charset=utf-8");
    expect(&answer, "vary", ""); /* it is not smaller when compressed */
    net_answer_release(&answer);
    answer = fixture_ask(&f, "GET", "/empty.txt", "");
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(answer.body_len, 0);
    net_answer_release(&answer);
}

Test(http_files, no_file)
{
    static const char *const paths[] = {"/nothing",         "/index.html.gz",    "/index",     "/js/", "/js/app",
                                        "/..%2findex.html", "/js/..%2f..%2fetc", "/INDEX.HTML"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct net_answer answer = fixture_ask(&f, "GET", paths[i], "");

        cr_expect_eq(answer.status, 404, "%s", paths[i]);
        net_answer_release(&answer);
    }
}

Test(http_files, a_compressed_file)
{
    struct net_answer answer = fixture_ask(&f, "GET", "/index.html", "accept-encoding: gzip, br\r\n");
    const struct http_file *of = index_file();
    z_stream zlib = {.next_in = (Bytef *)answer.body, .avail_in = (uInt)answer.body_len};
    char got[4096];

    expect(&answer, "content-encoding", "gzip");
    expect(&answer, "etag", with_tag("\"%s-gzip\"", of));
    expect(&answer, "vary", "accept-encoding");
    cr_expect_lt(answer.body_len, of->bytes.len);
    zlib.next_out = (Bytef *)got;
    zlib.avail_out = sizeof(got);
    cr_assert_eq(inflateInit2(&zlib, 15 + 16), Z_OK);
    cr_assert_eq(inflate(&zlib, Z_FINISH), Z_STREAM_END);
    cr_expect_eq(zlib.total_out, of->bytes.len);
    cr_expect_eq(memcmp(got, of->bytes.s, of->bytes.len), 0);
    inflateEnd(&zlib);
    net_answer_release(&answer);
    answer = fixture_ask(&f, "GET", "/js/app.js", "accept-encoding: gzip\r\n");
    expect(&answer, "content-encoding", "");
    net_answer_release(&answer);
}

static int status_of_get(const char *path, const char *headers)
{
    struct net_answer answer = fixture_ask(&f, "GET", path, headers);

    net_answer_release(&answer);
    return answer.status;
}

Test(http_files, what_is_not_accepted)
{
    cr_expect_eq(status_of_get("/", "accept-encoding: identity;q=0\r\n"), 406);
    cr_expect_eq(status_of_get("/", "accept-encoding: *;q=0\r\n"), 406);
    cr_expect_eq(status_of_get("/", "accept-encoding: gzip, identity;q=0\r\n"), 200);
    cr_expect_eq(status_of_get("/js/app.js", "accept-encoding: gzip, identity;q=0\r\n"), 406);
    cr_expect_eq(status_of_get("/", "accept-encoding: br\r\n"), 200);
}

Test(http_files, conditions)
{
    const struct http_file *of = index_file();
    struct net_answer answer;

    answer = fixture_ask(&f, "GET", "/", with_tag("if-none-match: \"%s\"\r\n", of));
    cr_expect_eq(answer.status, 304);
    cr_expect_eq(answer.body_len, 0);
    expect(&answer, "etag", with_tag("\"%s\"", of));
    expect(&answer, "cache-control", "no-cache");
    expect(&answer, "vary", "accept-encoding");
    expect(&answer, "content-type", "");
    net_answer_release(&answer);
    cr_expect_eq(status_of_get("/", with_tag("if-none-match: \"x\", W/\"%s\"\r\n", of)), 304);
    cr_expect_eq(status_of_get("/", "if-none-match: *\r\n"), 304);
    cr_expect_eq(status_of_get("/", "if-none-match: \"x\"\r\n"), 200);
    cr_expect_eq(status_of_get("/", with_tag("if-none-match: %s\r\n", of)), 200);
    cr_expect_eq(status_of_get("/", with_tag("if-none-match: \"%s-gzip\"\r\n", of)), 200); /* other bytes */
    cr_expect_eq(status_of_get("/", with_tag("if-none-match: \"%s\"\r\naccept-encoding: gzip\r\n", of)), 200);
    answer = fixture_ask(&f, "GET", "/", with_tag("if-none-match: \"%s-gzip\"\r\naccept-encoding: gzip\r\n", of));
    cr_expect_eq(answer.status, 304);
    expect(&answer, "etag", with_tag("\"%s-gzip\"", of));
    net_answer_release(&answer);
    cr_expect_eq(status_of_get("/", "if-match: \"x\"\r\n"), 412);
    cr_expect_eq(status_of_get("/", with_tag("if-match: W/\"%s\"\r\n", of)), 412);
    cr_expect_eq(status_of_get("/", with_tag("if-match: \"%s\"\r\n", of)), 200);
    cr_expect_eq(status_of_get("/", "if-match: *\r\n"), 200);
}

/* first < 0: the whole file; len 0: 416. */
static void expect_range(const char *header, long first, size_t len)
{
    struct net_answer answer = fixture_ask(&f, "GET", "/", header);
    const struct http_file *of = index_file();
    char text[128];

    if (first < 0) {
        cr_expect_eq(answer.status, 200, "%s", header);
        cr_expect_eq(answer.body_len, of->bytes.len);
        expect(&answer, "content-range", "");
    } else if (len == 0) {
        cr_expect_eq(answer.status, 416, "%s", header);
        snprintf(text, sizeof(text), "bytes */%zu", of->bytes.len);
        expect(&answer, "content-range", text);
    } else {
        cr_expect_eq(answer.status, 206, "%s", header);
        snprintf(text, sizeof(text), "bytes %ld-%zu/%zu", first, (size_t)first + len - 1, of->bytes.len);
        expect(&answer, "content-range", text);
        cr_assert_eq(answer.body_len, len, "%s", header);
        cr_expect_eq(memcmp(answer.body, of->bytes.s + first, len), 0);
    }
    net_answer_release(&answer);
}

#define HUGE_NUMBER "99999999999999999999999999999999999999"

Test(http_files, ranges)
{
    size_t size = index_file()->bytes.len;
    char header[128];

    expect_range("range: bytes=0-0\r\n", 0, 1);
    expect_range("range: bytes=10-19\r\n", 10, 10);
    expect_range("range: Bytes=10-19\r\n", 10, 10);
    expect_range("range: bytes=10-\r\n", 10, size - 10);
    expect_range("range: bytes=-5\r\n", (long)size - 5, 5);
    expect_range("range: bytes=-" HUGE_NUMBER "\r\n", 0, size);
    expect_range("range: bytes=1-" HUGE_NUMBER "\r\n", 1, size - 1);
    expect_range("range: bytes=1-18446744073709551615\r\n", 1, size - 1);
    expect_range("range: bytes=1-18446744073709551616\r\n", 1, size - 1);
    snprintf(header, sizeof(header), "range: bytes=%zu-\r\n", size - 1);
    expect_range(header, (long)size - 1, 1);
    snprintf(header, sizeof(header), "range: bytes=%zu-\r\n", size);
    expect_range(header, 0, 0);
    expect_range("range: bytes=" HUGE_NUMBER "-\r\n", 0, 0);
    expect_range("range: bytes=18446744073709551615-18446744073709551615\r\n", 0, 0);
    expect_range("range: bytes=" HUGE_NUMBER "-" HUGE_NUMBER "\r\n", 0, 0);
    expect_range("range: bytes=-0\r\n", 0, 0);
}

Test(http_files, ranges_that_are_none)
{
    static const char *const headers[] = {"bytes=5-4",   "bytes=",        "bytes=-",   "bytes=a-b",  "bytes=1",
                                          "bytes=1-2-3", "bytes=1-2,4-5", "bytes=--1", "bytes=-1-",  "bytes=+1-2",
                                          "bytes=0x1-2", "lines=1-2",     "bytes 1-2", "bytes=1 -2", ""};
    char header[128];

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        snprintf(header, sizeof(header), "range: %s\r\n", headers[i]);
        expect_range(header, -1, 0);
    }
}

Test(http_files, ranges_of_one_version)
{
    const struct http_file *of = index_file();
    struct net_answer answer;

    expect_range(with_tag("range: bytes=1-2\r\nif-range: \"%s\"\r\n", of), 1, 2);
    expect_range(with_tag("range: bytes=1-2\r\nif-range: W/\"%s\"\r\n", of), -1, 0);
    expect_range("range: bytes=1-2\r\nif-range: \"x\"\r\n", -1, 0);
    expect_range("range: bytes=1-2\r\nif-range: *\r\n", -1, 0);
    expect_range("range: bytes=1-2\r\nif-range: Sat, 29 Oct 2022 19:43:31 GMT\r\n", -1, 0);
    expect_range("range: bytes=9999-\r\nif-range: \"x\"\r\n", -1, 0);
    expect_range("range: bytes=1-2\r\nif-match: *\r\n", 1, 2);
    cr_expect_eq(status_of_get("/", with_tag("range: bytes=1-2\r\nif-none-match: \"%s\"\r\n", of)), 304);
    answer = fixture_ask(&f, "GET", "/", "range: bytes=1-2\r\naccept-encoding: gzip\r\n"); /* of what is sent */
    cr_expect_eq(answer.status, 206);
    expect(&answer, "content-encoding", "gzip");
    cr_expect_eq(memcmp(answer.body, of->gzip.s + 1, 2), 0);
    net_answer_release(&answer);
    answer = fixture_ask(&f, "HEAD", "/", "range: bytes=1-2\r\n"); /* a range is one of GET */
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(status_of_get("/empty.txt", "range: bytes=0-\r\n"), 416);
    cr_expect_eq(status_of_get("/empty.txt", "range: bytes=-1\r\n"), 416);
}

Test(http_files, a_head)
{
    struct net_answer answer = fixture_ask(&f, "HEAD", "/", "");
    char length[32];

    cr_expect_eq(answer.status, 200);
    snprintf(length, sizeof(length), "%zu", index_file()->bytes.len);
    expect(&answer, "content-length", length);
}

Test(http_files, over_HTTP_2)
{
    int fd = connect_h2(&f);
    char body[4096];

    ask(fd, 1, "GET", "/", false);
    cr_expect_eq(read_answer(fd, body, sizeof(body)), 200);
    cr_expect_eq(memcmp(body, index_file()->bytes.s, index_file()->bytes.len), 0);
    close(fd);
}
