/* The framing of HTTP/1 requests: each case whole, and cut in two at every place: the result must be the same. */
#include "http_framing.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static int check(const char *text, size_t len, size_t cut)
{
    struct http_framing framing = {0};
    char *bytes = malloc(len + 1);

    memcpy(bytes, text, len);
    http_framing_check(&framing, bytes, 0, cut);
    http_framing_check(&framing, bytes, cut, len);
    free(bytes);
    return framing.status;
}

/* The status, 0 for a well-formed request. */
static int status_of(const char *text)
{
    size_t len = strlen(text);
    int status = check(text, len, len);

    for (size_t cut = 0; cut < len; cut++)
        cr_assert_eq(check(text, len, cut), status, "cut at %zu: %s", cut, text);
    return status;
}

#define ACCEPTED(text)        cr_expect_eq(status_of(text), 0, "%s", text)
#define REFUSED(status, text) cr_expect_eq(status_of(text), status, "%d: %s", status_of(text), text)

Test(http_framing, ordinary_requests)
{
    ACCEPTED(GET);
    ACCEPTED("GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\nX-Empty:\r\n\r\n");
    ACCEPTED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET);
    ACCEPTED("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n" GET);
    ACCEPTED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" GET);
    ACCEPTED("PRIX / HTTP/1.1\r\nHost: a\r\n\r\n");
    ACCEPTED("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    ACCEPTED("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    ACCEPTED("\r\n" GET "\r\n" GET);
}

Test(http_framing, request_lines)
{
    REFUSED(400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET /\r\n\r\n");
    REFUSED(400, "GET / \r\n\r\n");
    REFUSED(400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    REFUSED(400, "GET / http/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.11\r\nHost: a\r\n\r\n");
    REFUSED(400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "G[T / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "\r\n\r\n" GET);
    REFUSED(400, "\n" GET);
    REFUSED(400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(http_framing, versions)
{
    ACCEPTED("GET / HTTP/1.0\r\n\r\n");
    ACCEPTED("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    ACCEPTED("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    REFUSED(505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n");
    REFUSED(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    REFUSED(505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n");
    REFUSED(505, "PRI * HTTP/2.0\r\nHost: a\r\n\r\n");
}

Test(http_framing, differing_content_lengths)
{
    ACCEPTED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\ncontent-length:  02 \r\n\r\nxx" GET);
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxxx");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nxx");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nxxx");
}

Test(http_framing, malformed_content_lengths)
{
    static const char *const values[] = {"",
                                         " ",
                                         "+1",
                                         "-1",
                                         "0x1",
                                         "1a",
                                         "1 1",
                                         "1\t1",
                                         "1.0",
                                         "\"1\"",
                                         "9223372036854775808",
                                         "18446744073709551617",
                                         "99999999999999999999999"};
    char text[256];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:%s\r\n\r\nx", values[i]);
        REFUSED(400, text);
    }
    ACCEPTED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nx");
}

Test(http_framing, content_length_with_transfer_encoding)
{
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 4\r\n\r\n0\r\n\r\n");
}

Test(http_framing, transfer_encodings)
{
    REFUSED(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun ked\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n");
    REFUSED(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
                 "chunked\r\n\r\n");
    REFUSED(501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    ACCEPTED("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t CHUNKED \t\r\n\r\n0\r\n\r\n");
}

Test(http_framing, header_lines)
{
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX(): 1\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n");
    ACCEPTED("GET / HTTP/1.1\r\nHost: a\r\nX:\t \xc3\xa9 \"(a)\" \t\r\n\r\n");
}

Test(http_framing, bare_LF)
{
    REFUSED(400, "GET / HTTP/1.1\nHost: a\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\n\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n");
}

Test(http_framing, NUL)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n";

    cr_expect_eq(check(text, sizeof(text) - 1, 0), 400);
}

Test(http_framing, hosts)
{
    static const char *const accepted[] = {"a",        "A-1._~!$&'()*+,;=", "a:",    "a:8080", "127.0.0.1:80", "[::1]",
                                           "[::1]:80", "[v1.a:b]",          "a%20b", "",       " \t a \t"};
    static const char *const refused[] = {"a b",  "a/b",    "a@b", "a?b",    "a#b",  "a:b",        "a:1:2",
                                          "[::1", "[]",     "[g]", "[::1]a", "::1",  "%",          "%2",
                                          "%2g",  "a%2:80", ":80", "\"a\"",  "a\\b", "a, \xc3\xa9"};
    char text[256];

    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost:%s\r\n\r\n", accepted[i]);
        ACCEPTED(text);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.0\r\nhost: %s\r\n\r\n", refused[i]);
        REFUSED(400, text);
    }
    REFUSED(400, "GET / HTTP/1.1\r\nX: y\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    REFUSED(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n");
}

#define CHUNKS "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

Test(http_framing, chunk_sizes)
{
    ACCEPTED(CHUNKS "00000000000000A\r\n0123456789\r\n0000\r\n\r\n" GET);
    REFUSED(400, CHUNKS "0x1\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "0xd\r\n{\"title\":\"t\"}\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "\r\n");
    REFUSED(400, CHUNKS "+1\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS " 1\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1 \r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1_0\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "g\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "00000000000000001\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "8000000000000000\r\nx");
    REFUSED(400, CHUNKS "ffffffffffffffff\r\nx");
    REFUSED(400, CHUNKS "10000000000000001\r\nx");
}

Test(http_framing, chunk_ends)
{
    REFUSED(400, CHUNKS "1\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1\r\nx\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1\r\nxy\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1\r\nx0\r\n\r\n");
    REFUSED(400, CHUNKS "2\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1\r\nx\r\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1\rx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "0\r\n\n");
}

Test(http_framing, chunk_extensions)
{
    ACCEPTED(CHUNKS "1;a\r\nx\r\n0;b=c ; d = \"e;\\\"\t\\\\\";f\r\n\r\n");
    REFUSED(400, CHUNKS "1;\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a=\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;=b\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a=b=c\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a b\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a \r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;\"a\"\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a=\"b\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a=\"b\"c\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1;a\n\r\nx\r\n0\r\n\r\n");
    REFUSED(400, CHUNKS "1,a\r\nx\r\n0\r\n\r\n");
}

Test(http_framing, trailers)
{
    ACCEPTED(CHUNKS "0\r\nX: y\r\nContent-Length: z\r\n\r\n" GET);
    REFUSED(400, CHUNKS "0\r\nX: y\n\r\n");
    REFUSED(400, CHUNKS "0\r\nX\r\n\r\n");
    REFUSED(400, CHUNKS "0\r\nX: y\r\n z\r\n\r\n");
    REFUSED(400, CHUNKS "0\r\nGET / HTTP/1.1\r\n\r\n");
}

/* len bytes of c between two texts. */
static int status_with(const char *before, char c, size_t len, const char *after)
{
    size_t head = strlen(before), tail = strlen(after);
    char *text = malloc(head + len + tail);
    int status;

    memcpy(text, before, head);
    memset(text + head, c, len);
    memcpy(text + head + len, after, tail);
    status = check(text, head + len + tail, head + len / 2);
    free(text);
    return status;
}

Test(http_framing, lengths_of_heads)
{
    static const char before[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ", after[] = "\r\n\r\n";
    size_t rest = HTTP_FRAMING_MAX_HEAD - strlen(before) - strlen(after);
    char fields[HTTP_FRAMING_MAX_FIELDS * 6 + 100] = "GET / HTTP/1.1\r\nHost: a\r\n";

    cr_expect_eq(status_with(before, 'x', rest, after), 0);
    cr_expect_eq(status_with(before, 'x', rest + 1, after), 431);
    cr_expect_eq(status_with("GET /", 'x', HTTP_FRAMING_MAX_HEAD, ""), 431);
    for (int i = 1; i < HTTP_FRAMING_MAX_FIELDS; i++)
        strcat(fields, "a: b\r\n");
    cr_expect_eq(check(fields, strlen(fields), 0), 0);
    strcat(fields, "a: b\r\n");
    cr_expect_eq(check(fields, strlen(fields), 0), 431);
}

Test(http_framing, lengths_of_extensions_and_trailers)
{
    cr_expect_eq(status_with(CHUNKS "1;", 'x', HTTP_FRAMING_MAX_EXTRA - 100, "\r\ny\r\n0\r\n\r\n"), 0);
    cr_expect_eq(status_with(CHUNKS "1;", 'x', HTTP_FRAMING_MAX_EXTRA + 1, ""), 400);
    cr_expect_eq(status_with(CHUNKS "0\r\nX:", 'x', HTTP_FRAMING_MAX_EXTRA + 1, ""), 400);
}

Test(http_framing, many_small_chunks)
{
    struct http_framing framing = {0};

    char head[] = CHUNKS, chunk[] = "1\r\nx\r\n", end[] = "0\r\n\r\n" GET;

    http_framing_check(&framing, head, 0, strlen(head));
    for (int i = 0; i < 100000; i++)
        http_framing_check(&framing, chunk, 0, strlen(chunk));
    http_framing_check(&framing, end, 0, strlen(end));
    cr_expect_eq(framing.status, 0);
}

/* What comes before a refused request is whole requests, which can be served. */
Test(http_framing, requests_before_a_refused_one)
{
    static char bad[] = GET CHUNKS "1\r\nx\r\n0\r\n\r\n" GET "GET / HTTP/1.1\r\nHost: a b\r\n\r\n";
    size_t len = sizeof(bad) - 1, before = len - strlen("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");

    for (size_t cut = 0; cut <= len; cut++) {
        struct http_framing framing = {0};
        size_t first = http_framing_check(&framing, bad, 0, cut);

        if (framing.status != 0) {
            cr_expect_eq(first, before);
        } else {
            cr_expect_eq(first, cut);
            cr_expect_eq(http_framing_check(&framing, bad, cut, len), cut < before ? before : cut);
        }
        cr_expect_eq(framing.status, 400);
    }
}

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static bool is_http2(const char *text)
{
    struct http_framing framing = {0};
    char bytes[256];

    strcpy(bytes, text);
    for (size_t i = 0; text[i] != '\0'; i++)
        http_framing_check(&framing, bytes, i, i + 1);
    return framing.status == 0 && http_framing_is_http2(&framing);
}

Test(http_framing, HTTP_2)
{
    cr_expect(is_http2(PREFACE "whatever\n\n follows"));
    cr_expect(is_http2("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket/13, H2C\r\n\r\n" PREFACE));
    cr_expect(!is_http2(GET PREFACE));
    cr_expect(!is_http2("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c-14\r\n\r\n" PREFACE));
    REFUSED(505, GET PREFACE);
    REFUSED(505, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n" GET PREFACE);
    REFUSED(505, "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n");
}

/* White space behind a value goes before it, wherever the bytes were cut. */
Test(http_framing, white_space_around_values)
{
    static const char text[] = "POST / HTTP/1.1\r\nHost: a \t\r\nContent-Length:1\t \r\nExpect:x y \r\nX:  \r\n\r\nx";
    static const char moved[] = "POST / HTTP/1.1\r\nHost:   a\r\nContent-Length:  1\r\nExpect: x y\r\nX:  \r\n\r\nx";
    char bytes[sizeof(text)];

    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct http_framing framing = {0};

        memcpy(bytes, text, sizeof(text));
        http_framing_check(&framing, bytes, 0, cut);
        cr_expect_eq(http_framing_check(&framing, bytes, cut, sizeof(text) - 1), sizeof(text) - 1);
        cr_expect_str_eq(bytes, moved, "cut at %zu", cut);
    }
}
