/* The page: src/console/www, embedded. */
#include "console.h"
#include "console_www.h"
#include "http_files.h"

#define POLICY                                                                                                         \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "              \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* The name of a file in www, of the segments of the path; false where it is too long. */
static bool name_of(const struct http_req *req, struct buf *name)
{
    for (size_t i = 0; i < HTTP_MAX_PARAMS && req->params[i].len > 0; i++) {
        if (i > 0)
            buf_append_char(name, '/');
        buf_append_str(name, req->params[i]);
    }
    if (name->len == 0)
        buf_append_cstr(name, "index.html");
    return buf_error(name) == 0;
}

struct http_reply *files_get(struct http_req *req)
{
    struct buf name = {.max = 256};
    struct http_reply *reply = name_of(req, &name) ? http_files_reply(req, &console_www, buf_str(&name), "no-cache")
                                                   : http_problem(404, "no such file");

    buf_release(&name);
    reply = http_set_header(reply, "content-security-policy", POLICY);
    reply = http_set_header(reply, "cross-origin-opener-policy", "same-origin");
    return http_set_header(reply, "referrer-policy", "no-referrer");
}
