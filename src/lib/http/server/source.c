/* What handlers ask of a request that came over a connection. */
#include "http_internal.h"

static struct http_exchange *exchange_of(const struct http_req *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_exchange, req, req);
}

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){v.base, v.len};
}

/* h2o 2.2.5 leaves the white space behind a value. */
static int call(int (*each)(void *arg, struct str value), void *arg, h2o_iovec_t value)
{
    return each(arg, str_trim(str_of_iovec(value)));
}

static int each_header(const struct http_req *req, struct str name, int (*each)(void *arg, struct str value), void *arg)
{
    const h2o_req_t *h2o = exchange_of(req)->h2o;
    int result = 0;

    if (str_eq(name, STR("host"))) /* h2o keeps it apart */
        return h2o->input.authority.base != NULL ? call(each, arg, h2o->input.authority) : 0;
    for (size_t i = 0; i < h2o->headers.size && result == 0; i++)
        if (str_eq(name, str_of_iovec(*h2o->headers.entries[i].name)))
            result = call(each, arg, h2o->headers.entries[i].value);
    return result;
}

static void *alloc(struct http_req *req, size_t len)
{
    http_exchange_take(exchange_of(req), len);
    return h2o_compat_alloc(&exchange_of(req)->h2o->pool, len);
}

struct kept {
    void *p;
    void (*release)(void *p);
};

static void release_kept(void *p)
{
    struct kept *kept = p;

    kept->release(kept->p);
}

static void keep(struct http_req *req, void *p, void (*release)(void *p))
{
    struct kept *kept = h2o_mem_alloc_shared(&exchange_of(req)->h2o->pool, sizeof(*kept), release_kept);

    *kept = (struct kept){p, release};
}

static struct http_deferred *defer(struct http_req *req)
{
    return http_deferral_new(exchange_of(req));
}

static struct str peer(const struct http_req *req)
{
    return str_of(http_conn_of(exchange_of(req)->h2o)->remote_ip);
}

static int open_stream(struct http_req *req, const struct http_stream_def *def, struct http_stream **ret_stream)
{
    return http_stream_new(exchange_of(req), def, ret_stream);
}

const struct http_source http_exchange_source = {
    .each_header = each_header, .alloc = alloc, .keep = keep, .defer = defer, .peer = peer, .open_stream = open_stream};
