#include "http_internal.h"
#include <errno.h>

static struct http_exchange *exchange_of(const struct http_req *req)
{
    return (struct http_exchange *)req;
}

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){v.base, v.len};
}

int http_each_header(const struct http_req *req, const char *name, int (*each)(void *arg, struct str value), void *arg)
{
    const h2o_req_t *h2o = exchange_of(req)->h2o;
    struct str wanted = str_of(name);
    int result = 0;

    if (str_eq(wanted, STR("host"))) /* h2o keeps it apart */
        return h2o->input.authority.base != NULL ? each(arg, str_of_iovec(h2o->input.authority)) : 0;
    for (size_t i = 0; i < h2o->headers.size && result == 0; i++)
        if (str_eq(wanted, str_of_iovec(*h2o->headers.entries[i].name)))
            result = each(arg, str_of_iovec(h2o->headers.entries[i].value));
    return result;
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

/* ---- query ---- */

static int decode(struct http_req *req, struct str text, struct str *ret_decoded)
{
    char *to = h2o_compat_alloc(&exchange_of(req)->h2o->pool, text.len + 1);
    int err = http_percent_decode(text, true, to, &ret_decoded->len);

    ret_decoded->s = to;
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

int http_each_query(struct http_req *req, int (*each)(void *arg, struct str name, struct str value), void *arg)
{
    struct str rest = req->query, name, value;
    int result = 0;

    while (rest.len > 0 && result == 0) {
        struct str pair = cut(rest, '&', &rest);
        if (pair.len == 0)
            continue;
        name = cut(pair, '=', &value);
        if (decode(req, name, &name) < 0 || decode(req, value, &value) < 0)
            return -EINVAL;
        result = each(arg, name, value);
    }
    return result;
}

struct wanted {
    struct str name, value;
    int found;
};

static int take_once(void *arg, struct str name, struct str value)
{
    struct wanted *wanted = arg;

    if (!str_eq(name, wanted->name))
        return 0;
    if (wanted->found)
        return -EINVAL;
    wanted->found = 1;
    wanted->value = value;
    return 0;
}

int http_query(struct http_req *req, const char *name, struct str *ret_value)
{
    struct wanted wanted = {.name = str_of(name)};
    int err = http_each_query(req, take_once, &wanted);

    if (err < 0)
        return err;
    if (wanted.found)
        *ret_value = wanted.value;
    return wanted.found;
}

/* ---- memory ---- */

struct kept {
    void *p;
    void (*release)(void *p);
};

static void release_kept(void *p)
{
    struct kept *kept = p;

    kept->release(kept->p);
}

void http_keep(struct http_req *req, void *p, void (*release)(void *p))
{
    struct kept *kept = h2o_mem_alloc_shared(&exchange_of(req)->h2o->pool, sizeof(*kept), release_kept);

    *kept = (struct kept){p, release};
}
