#include "http_files.h"
#include "http_internal.h"
#include <errno.h>
#include <stdlib.h>

static int by_name(const void *key, const void *element)
{
    return str_cmp(*(const struct str *)key, str_of(((const struct http_file *)element)->name));
}

const struct http_file *http_files_find(const struct http_files *files, struct str name)
{
    return bsearch(&name, files->files, files->count, sizeof(*files->files), by_name);
}

/* ---- ranges ---- */

struct range {
    size_t first, len;
};

enum range_kind { NO_RANGE, A_RANGE, UNSATISFIABLE };

/* Digits at the front of rest, and no more than SIZE_MAX of them: what is beyond that is beyond every file. */
static bool take_number(struct str *rest, size_t *ret_value)
{
    size_t value = 0, len = 0;

    for (; len < rest->len && rest->s[len] >= '0' && rest->s[len] <= '9'; len++) {
        size_t digit = (size_t)(rest->s[len] - '0');

        value = value > (SIZE_MAX - digit) / 10 ? SIZE_MAX : value * 10 + digit;
    }
    *rest = (struct str){rest->s + len, rest->len - len};
    *ret_value = value;
    return len > 0;
}

/* "-n": the last n bytes. */
static enum range_kind suffix_range(struct str rest, size_t size, struct range *ret_range)
{
    size_t len;

    if (!take_number(&rest, &len) || rest.len > 0)
        return NO_RANGE;
    if (len == 0 || size == 0)
        return UNSATISFIABLE;
    len = len < size ? len : size;
    *ret_range = (struct range){size - len, len};
    return A_RANGE;
}

/* What is malformed, of another unit or several ranges counts as none (RFC 9110, 14.2). */
static enum range_kind parse_range(struct str text, size_t size, struct range *ret_range)
{
    static const struct str unit = STR("bytes=");
    size_t first, last = SIZE_MAX;

    if (text.len <= unit.len || !str_caseeq((struct str){text.s, unit.len}, unit))
        return NO_RANGE;
    text = str_trim((struct str){text.s + unit.len, text.len - unit.len});
    if (text.len > 0 && text.s[0] == '-')
        return suffix_range((struct str){text.s + 1, text.len - 1}, size, ret_range);
    if (!take_number(&text, &first) || text.len == 0 || text.s[0] != '-')
        return NO_RANGE;
    text = (struct str){text.s + 1, text.len - 1};
    if (text.len > 0 && (!take_number(&text, &last) || text.len > 0 || last < first))
        return NO_RANGE;
    if (first >= size)
        return UNSATISFIABLE;
    *ret_range = (struct range){first, (last < size - 1 ? last : size - 1) - first + 1};
    return A_RANGE;
}

/* ---- the reply ---- */

/* What is sent of a file: one of its codings. */
struct variant {
    const struct http_file *file;
    struct str bytes;
    bool coded;
};

static enum range_kind range_of(const struct http_req *req, const struct variant *variant, struct range *ret_range)
{
    struct str range = http_header(req, "range"), tag = str_of(variant->file->tag);

    if (range.s == NULL || !str_eq(req->method, STR("GET")))
        return NO_RANGE;
    if (http_header(req, "if-range").s != NULL &&
        !http_tag_is_listed(req, "if-range", tag, variant->coded, HTTP_TAG_ITSELF))
        return NO_RANGE;
    return parse_range(range, variant->bytes.len, ret_range);
}

static struct http_reply *whole(const struct variant *variant)
{
    return http_reply_static(200, variant->file->content_type, variant->bytes);
}

static struct http_reply *part(const struct http_req *req, const struct variant *variant)
{
    struct range range;

    switch (range_of(req, variant, &range)) {
    case NO_RANGE:
        break;
    case UNSATISFIABLE:
        return http_set_header(http_problem(416, "the file has %zu bytes", variant->bytes.len), "content-range",
                               "bytes */%zu", variant->bytes.len);
    case A_RANGE:
        return http_set_header(http_reply_static(206, variant->file->content_type,
                                                 (struct str){variant->bytes.s + range.first, range.len}),
                               "content-range", "bytes %zu-%zu/%zu", range.first, range.first + range.len - 1,
                               variant->bytes.len);
    }
    return whole(variant);
}

static bool is_given(const struct http_req *req, const char *name)
{
    return http_header(req, name).s != NULL;
}

/* In the order of RFC 9110, 13.2.2. */
static struct http_reply *reply_to(const struct http_req *req, const struct variant *variant)
{
    struct str tag = str_of(variant->file->tag);

    if (is_given(req, "if-match") && !http_tag_is_listed(req, "if-match", tag, variant->coded, HTTP_TAG_STRONGLY))
        return http_problem(412, "the file is another one");
    if (http_tag_is_listed(req, "if-none-match", tag, variant->coded, HTTP_TAG_WEAKLY))
        return http_reply_new(304);
    return part(req, variant);
}

struct http_reply *http_file_reply(const struct http_req *req, const struct http_file *file, const char *cache_control)
{
    struct http_codings codings = http_codings_of(req);
    struct variant variant = {file, file->bytes, false};
    struct http_reply *reply;

    if (codings.gzip && file->gzip.s != NULL)
        variant = (struct variant){file, file->gzip, true};
    else if (!codings.identity)
        return http_problem(406, "the file is there as it is%s", file->gzip.s != NULL ? ", or by gzip" : " only");
    reply = reply_to(req, &variant);
    if (http_reply_status(reply) >= 400)
        return reply;
    reply->is_coded = true;
    reply = http_set_header(reply, "etag", "\"%s%s", file->tag, variant.coded ? HTTP_TAG_SUFFIX : "\"");
    reply = http_set_header(reply, "cache-control", "%s", cache_control);
    if (file->gzip.s != NULL)
        reply = http_set_header(reply, "vary", "accept-encoding");
    if (http_reply_status(reply) == 304)
        return reply;
    if (variant.coded)
        reply = http_set_header(reply, "content-encoding", "gzip");
    reply = http_set_header(reply, "accept-ranges", "bytes");
    return http_set_header(reply, "x-content-type-options", "nosniff");
}

struct http_reply *http_files_reply(const struct http_req *req, const struct http_files *files, struct str name,
                                    const char *cache_control)
{
    const struct http_file *file = http_files_find(files, name);

    return file != NULL ? http_file_reply(req, file, cache_control) : http_problem(404, "no such file");
}
