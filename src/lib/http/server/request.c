#include "http_internal.h"
#include <assert.h>
#include <errno.h>

/* What handlers ask of a request, wherever it comes from: its source answers. */

struct uncoding {
    const struct http_req *req;
    int (*each)(void *arg, struct str value);
    void *arg;
};

static int uncode(void *arg, struct str value)
{
    const struct uncoding *uncoding = arg;

    return uncoding->each(uncoding->arg, http_tags_uncoded(uncoding->req, value));
}

int http_each_header(const struct http_req *req, const char *name, int (*each)(void *arg, struct str value), void *arg)
{
    if (req->coded_tags && http_is_condition(name))
        return req->source->each_header(req, str_of(name), uncode, &(struct uncoding){req, each, arg});
    return req->source->each_header(req, str_of(name), each, arg);
}

struct str http_peer(const struct http_req *req)
{
    return req->source->peer(req);
}

static int take_first(void *arg, struct str value)
{
    *(struct str *)arg = value;
    return 1;
}

struct str http_header(const struct http_req *req, const char *name)
{
    struct str value = STR_NULL;

    http_each_header(req, name, take_first, &value);
    return value;
}

/* ---- the trace ---- */

struct nth {
    size_t left;
    struct str value;
};

static int take_nth(void *arg, struct str value)
{
    struct nth *nth = arg;

    if (nth->left-- > 0)
        return 0;
    nth->value = value;
    return 1;
}

static struct str nth_value(void *request, const char *name, size_t index)
{
    struct nth nth = {.left = index};

    http_each_header(request, name, take_nth, &nth);
    return nth.value;
}

static void *allocate(void *request, size_t len)
{
    struct http_req *req = request;

    return req->source->alloc(req, len);
}

void http_accept_trace(struct http_req *req, const struct span_sink *spans)
{
    static const struct span_carrier carrier = {.value = nth_value, .alloc = allocate};

    span_accept(spans, &carrier, req, &req->trace);
}

/* ---- the target ---- */

/* A target may also be a whole URL ("GET http://host/path"): what counts is its path. */
static struct str strip_origin(struct str target)
{
    static const struct str schemes[] = {STR("http://"), STR("https://")};
    const char *slash;

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = schemes[i].len;
        if (target.len < len || !str_caseeq((struct str){target.s, len}, schemes[i]))
            continue;
        slash = memchr(target.s + len, '/', target.len - len);
        return slash != NULL ? (struct str){slash, target.len - (size_t)(slash - target.s)} : STR("/");
    }
    return target;
}

void http_target_split(struct str target, struct http_req *req)
{
    const char *mark;

    target = strip_origin(target);
    mark = target.len > 0 ? memchr(target.s, '?', target.len) : NULL;
    req->path = mark != NULL ? (struct str){target.s, (size_t)(mark - target.s)} : target;
    req->query = mark != NULL ? (struct str){mark + 1, target.len - req->path.len - 1} : STR("");
}

/* ---- query ---- */

/* To the front of to, of which it takes what it has used. */
static int decode(struct str text, char **to, struct str *ret_decoded)
{
    int err = http_percent_decode(text, true, *to, &ret_decoded->len);

    ret_decoded->s = *to;
    *to += err == 0 ? ret_decoded->len : 0;
    return err;
}

/* Cuts text at its first c; what follows goes to ret_rest. */
static struct str cut(struct str text, char c, struct str *ret_rest)
{
    const char *at = text.len > 0 ? memchr(text.s, c, text.len) : NULL;
    size_t len = at != NULL ? (size_t)(at - text.s) : text.len;

    *ret_rest = at != NULL ? (struct str){at + 1, text.len - len - 1} : (struct str){text.s + len, 0};
    return (struct str){text.s, len};
}

/* Takes the next pair, as sent, off the front of rest; false at the end. */
static bool next_pair(struct str *rest, struct str *ret_name, struct str *ret_value)
{
    struct str pair = STR_NULL;

    while (pair.len == 0 && rest->len > 0)
        pair = cut(*rest, '&', rest);
    *ret_name = pair.len > 0 ? cut(pair, '=', ret_value) : pair;
    return pair.len > 0;
}

/* One allocation for all: a client can send a pair in two bytes. */
int http_each_query(struct http_req *req, int (*each)(void *arg, struct str name, struct str value), void *arg)
{
    struct str rest = req->query, name, value;
    char *to = rest.len > 0 ? req->source->alloc(req, rest.len) : NULL; /* decoding makes nothing longer */
    int result = 0;

    while (result == 0 && next_pair(&rest, &name, &value)) {
        if (decode(name, &to, &name) < 0 || decode(value, &to, &value) < 0)
            return -EINVAL;
        result = each(arg, name, value);
    }
    return result;
}

static int ignore(void *arg, struct str name, struct str value)
{
    return 0;
}

int http_query_check(struct http_req *req)
{
    return http_each_query(req, ignore, NULL);
}

static bool is_name(struct str sent, struct str wanted)
{
    char bytes[3 * HTTP_MAX_QUERY_NAME]; /* each byte may be an escape */
    struct str name = {bytes, 0};

    return sent.len <= sizeof(bytes) && http_percent_decode(sent, true, bytes, &name.len) == 0 && str_eq(name, wanted);
}

int http_query(struct http_req *req, const char *wanted, struct str *ret_value)
{
    struct str rest = req->query, name, value, found = STR_NULL;
    char *to;
    int count = 0;

    assert(strlen(wanted) <= HTTP_MAX_QUERY_NAME);
    while (next_pair(&rest, &name, &value))
        if (is_name(name, str_of(wanted))) {
            found = value;
            count++;
        }
    if (count != 1)
        return count == 0 ? 0 : -EINVAL;
    to = req->source->alloc(req, found.len + 1);
    if (decode(found, &to, &found) < 0)
        return -EINVAL;
    *ret_value = found;
    return 1;
}

/* ---- memory ---- */

void http_keep(struct http_req *req, void *p, void (*release)(void *p))
{
    req->source->keep(req, p, release);
}

/* ---- answering over time ---- */

int http_stream_open(struct http_req *req, const struct http_stream_def *def, struct http_stream **ret_stream)
{
    return req->source->open_stream(req, def, ret_stream);
}

/* ---- answering later ---- */

struct http_deferred *http_defer(struct http_req *req)
{
    return req->source->defer(req);
}

void http_answer(struct http_deferred *take_deferred, struct http_reply *take_reply)
{
    assert(take_reply != NULL);
    take_deferred->answer(take_deferred, take_reply);
}

void http_on_gone(struct http_deferred *deferred, void (*gone)(void *arg), void *arg)
{
    assert(deferred->gone == NULL);
    deferred->gone = gone;
    deferred->arg = arg;
}

const struct trace *http_deferred_trace(const struct http_deferred *deferred)
{
    return &deferred->trace;
}

uint64_t http_deferred_deadline_ns(const struct http_deferred *deferred)
{
    return deferred->deadline_ns;
}

struct loop *http_deferred_loop(const struct http_deferred *deferred)
{
    return deferred->loop;
}
