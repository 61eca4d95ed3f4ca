#include "http_cors.h"
#include "http_internal.h"
#include <errno.h>

#define MAX_ORIGIN    256  /* bytes */
#define MAX_REQUESTED 1024 /* bytes of the names of headers that a preflight asks for */
#define MAX_AGE_S     600  /* browsers ask again after that: a list that was shortened holds then */

/* ---- the list ---- */

static bool is_of(struct str text, const char *more)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.s[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && (c == '\0' || strchr(more, c) == NULL))
            return false;
    }
    return text.len > 0;
}

/* scheme://host or scheme://host:port; a host may be [IPv6]. */
static bool is_origin(struct str text)
{
    const char *at = text.len <= MAX_ORIGIN ? memmem(text.s, text.len, "://", 3) : NULL;
    struct str scheme, rest;

    if (at == NULL)
        return false;
    scheme = (struct str){text.s, (size_t)(at - text.s)};
    rest = (struct str){at + 3, text.len - scheme.len - 3};
    return is_of(scheme, "+-.") && is_of(rest, ".-_:[]") && rest.s[0] != ':' && rest.s[rest.len - 1] != ':';
}

int http_cors_parse(const char *text, struct http_cors *ret_cors)
{
    struct http_cors cors = {.count = 0};
    struct str list = str_trim(str_of(text)), item;

    if (list.len == 0 || str_eq(list, STR("*"))) {
        cors.any = list.len > 0;
        *ret_cors = cors;
        return 0;
    }
    while (str_next(&list, ',', &item)) {
        item = str_trim(item);
        if (cors.count == HTTP_CORS_MAX_ORIGINS || !is_origin(item))
            return -EINVAL;
        cors.origins[cors.count++] = item;
    }
    *ret_cors = cors;
    return 0;
}

const char *http_cors_check(const char *text)
{
    struct http_cors cors;

    return http_cors_parse(text, &cors) == 0
               ? NULL
               : "must be * or at most 64 origins (https://example.com, http://localhost:3000), separated by commas";
}

/* ---- requests ---- */

static bool is_allowed(const struct http_cors *cors, struct str origin)
{
    if (cors->any)
        return true;
    for (unsigned i = 0; i < cors->count; i++)
        if (str_eq(cors->origins[i], origin))
            return true;
    return false;
}

bool http_cors_is_preflight(const struct http_cors *cors, const struct http_req *req)
{
    struct str origin;

    if (!str_eq(req->method, STR("OPTIONS")))
        return false;
    origin = http_header(req, "origin");
    return origin.s != NULL && is_allowed(cors, origin) && http_header(req, "access-control-request-method").s != NULL;
}

/* Names of headers, with commas and spaces. */
static bool are_names(struct str text)
{
    static const char marks[] = "!#$%&'*+-.^_`|~, ";

    if (text.len == 0 || text.len > MAX_REQUESTED)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)(text.s[i] | 0x20);

        if ((c < 'a' || c > 'z') && (text.s[i] < '0' || text.s[i] > '9') &&
            (text.s[i] == '\0' || strchr(marks, text.s[i]) == NULL))
            return false;
    }
    return true;
}

struct http_reply *http_cors_preflight(const struct http_req *req, const char *methods)
{
    struct str names = http_header(req, "access-control-request-headers");
    struct http_reply *reply = http_set_header(http_reply_new(204), "access-control-allow-methods", "%s", methods);

    if (are_names(names))
        reply = http_set_header(reply, "access-control-allow-headers", "%.*s", STR_ARG(names));
    return http_set_header(reply, "access-control-max-age", "%d", MAX_AGE_S);
}

bool http_cors_allows(const struct http_cors *cors, const struct http_req *req, struct str *ret_origin)
{
    struct str origin = http_header(req, "origin");

    if (origin.s == NULL || !is_allowed(cors, origin))
        return false;
    /* With any, the answer is the same for all, and can be cached for all. */
    *ret_origin = cors->any ? STR("*") : origin;
    return true;
}
