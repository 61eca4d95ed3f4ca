/* The heads of HTTP/2 requests, before h2o decodes them.
 *
 * One byte of a header block can stand for a field of 4 KiB. h2o 2.2.5 does not bound the number
 * of fields: a block of 400 KB becomes 40 MB. Neither version tells of fields that it decodes and drops (a second Host,
 * Expect, Content-Length). So each block is measured before it is decoded, and what it takes is charged to the budget
 * until its request ends.
 *
 * h2o has no hook for this. Its decoder is called through this file: where libh2o is shared (2.2.5), our definition of
 * the function takes the place of the library's; where it is an archive (2.3), the linker's --wrap does that (see
 * meson.build). A function that changes in a later version does not compile. */
#include "http_internal.h"

#if H2O_COMPAT_2_2
#include <dlfcn.h>
#include <h2o/cache_digests.h>
#else
#include <h2o/hpack.h>
#endif

#define MAX_FIELDS  1000 /* as in h2o 2.3, beyond which it closes the connection */
#define FIELD_BYTES 192  /* that h2o takes for a field beside its text: its place in arrays that double, references */
#define MIN_CHARGED 8192 /* less is counted with its request */
/* Up to this a head is decoded even if the budget is used up: its request gets 503. */
#define MAX_UNBOUNDED (16 * 1024)
/* A Cache-Digest is for pushing, which nothing here does. h2o would take 8 bytes of memory for each of its bits. */
#define NO_DIGESTS NULL

/* ---- measuring ---- */

struct block {
    const uint8_t *at, *end;
    size_t fields, bytes; /* bytes of memory, without those of the block */
    bool malformed;
};

/* An integer of HPACK (RFC 7541, 5.1) with a prefix of so many bits. False: malformed, or beyond what h2o takes. */
static bool read_int(struct block *block, unsigned bits, size_t *ret_value)
{
    size_t most = ((size_t)1 << bits) - 1, value = *block->at++ & most;

    for (unsigned shift = 0; value >= most; shift += 7) {
        if (block->at == block->end || shift > 21)
            return false;
        value += (size_t)(*block->at & 0x7f) << shift;
        if ((*block->at++ & 0x80) == 0)
            break;
    }
    *ret_value = value;
    return true;
}

/* h2o makes room for twice the length of a Huffman code. */
static bool read_string(struct block *block)
{
    bool is_huffman;
    size_t len;

    if (block->at == block->end)
        return false;
    is_huffman = (*block->at & 0x80) != 0;
    if (!read_int(block, 7, &len) || len > (size_t)(block->end - block->at))
        return false;
    block->at += len;
    block->bytes += is_huffman ? 2 * len : len;
    return true;
}

/* One representation (RFC 7541, 6). */
static bool read_field(struct block *block)
{
    uint8_t kind = *block->at;
    size_t index;

    if ((kind & 0xe0) == 0x20) /* a new size of the table */
        return read_int(block, 5, &index);
    block->fields++;
    if ((kind & 0x80) != 0)
        return read_int(block, 7, &index);
    return read_int(block, (kind & 0x40) != 0 ? 6 : 4, &index) && (index != 0 || read_string(block)) &&
           read_string(block);
}

static struct block measure(const uint8_t *bytes, size_t len)
{
    struct block block = {.at = bytes, .end = bytes + len};

    while (block.at < block.end && !block.malformed)
        block.malformed = !read_field(&block);
    block.bytes += block.fields * FIELD_BYTES;
    return block;
}

/* ---- charging ---- */

struct charge {
    struct http_conn *conn;
    size_t bytes;
};

static void give_back(void *memory)
{
    struct charge *charge = memory;

    charge->conn->heads -= charge->bytes;
    budget_give(&charge->conn->worker->server->memory, charge->bytes);
}

static void charge(h2o_req_t *req, struct http_conn *conn, size_t bytes)
{
    struct charge *charge = h2o_mem_alloc_shared(&req->pool, sizeof(*charge), give_back);

    *charge = (struct charge){conn, bytes};
    conn->heads += bytes;
}

/* Other h2o servers of the process have heads, too, which are not ours to judge: what is measured is marked by its
 * configuration's server_name, an empty one, for which h2o sends no Server header. */
static const char mark[] = "";

void http_heads_measure(h2o_globalconf_t *config)
{
    config->server_name = h2o_iovec_init(mark, 0);
}

static bool is_measured(const h2o_req_t *req)
{
    return req->conn->ctx->globalconf->server_name.base == mark;
}

/* 0, or the error with which h2o closes the connection. */
static int admit(h2o_req_t *req, const uint8_t *bytes, size_t len)
{
    struct http_conn *conn = http_conn_of(req);
    struct http_server *server = conn->worker->server;
    struct block block = measure(bytes, len);

    if (block.malformed || block.fields > MAX_FIELDS) {
        http_refusals_count(server, "GOAWAY", -H2O_HTTP2_ERROR_COMPRESSION, 1);
        return H2O_HTTP2_ERROR_COMPRESSION;
    }
    if (server->memory.max == 0 || block.bytes < MIN_CHARGED)
        return 0;
    if (block.bytes <= MAX_UNBOUNDED) {
        budget_add(&server->memory, block.bytes);
    } else if (!budget_take(&server->memory, block.bytes)) {
        http_watch_refuse_head(server);
        http_refusals_count(server, "GOAWAY", -H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM, 1);
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    charge(req, conn, block.bytes);
    return 0;
}

/* ---- bodies that are too large ---- */

/* With REFUSED_STREAM, which h2o sends for them, clients may send the request again, and some do so without end. Where
 * the head says how long the body is, the request is refused as one whose head h2o has found invalid: own_answers.c
 * makes a 413 of that. A trailer has no pseudo_header_exists_map. */
static int refuse_large(h2o_req_t *req, const int *pseudo_header_exists_map, const size_t *content_length,
                        const char **err_desc)
{
    if (pseudo_header_exists_map == NULL || *content_length == SIZE_MAX ||
        *content_length <= req->conn->ctx->globalconf->max_request_entity_size)
        return 0;
    http_conn_of(req)->too_large = req;
    *err_desc = "the body is too large";
    return H2O_HTTP2_ERROR_INVALID_HEADER_CHAR;
}

/* ---- between h2o's connections and its decoder ---- */

#if H2O_COMPAT_2_2

/* As in h2o's http2_internal.h, which includes a header that is not installed. */
struct st_h2o_hpack_header_table_t;
typedef int parse_headers(h2o_req_t *req, struct st_h2o_hpack_header_table_t *table, const uint8_t *src, size_t len,
                          int *pseudo_header_exists_map, size_t *content_length, h2o_cache_digests_t **digests,
                          const char **err_desc);
parse_headers h2o_hpack_parse_headers;

static parse_headers *decoder;

static void find_decoder(void)
{
    *(void **)&decoder = dlsym(RTLD_NEXT, "h2o_hpack_parse_headers");
    assert(decoder != NULL && decoder != h2o_hpack_parse_headers);
}

int h2o_hpack_parse_headers(h2o_req_t *req, struct st_h2o_hpack_header_table_t *table, const uint8_t *src, size_t len,
                            int *pseudo_header_exists_map, size_t *content_length, h2o_cache_digests_t **digests,
                            const char **err_desc)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int err;

    pthread_once(&once, find_decoder);
    if (!is_measured(req))
        return decoder(req, table, src, len, pseudo_header_exists_map, content_length, digests, err_desc);
    err = admit(req, src, len);
    if (err == 0)
        err = decoder(req, table, src, len, pseudo_header_exists_map, content_length, NO_DIGESTS, err_desc);
    if (err == 0 && req->headers.size > H2O_MAX_HEADERS) {
        *err_desc = "too many header fields";
        return H2O_HTTP2_ERROR_INVALID_HEADER_CHAR; /* 400 */
    }
    return err == 0 ? refuse_large(req, pseudo_header_exists_map, content_length, err_desc) : err;
}

#else

__typeof__(h2o_hpack_parse_request) __real_h2o_hpack_parse_request, __wrap_h2o_hpack_parse_request;

int __wrap_h2o_hpack_parse_request(h2o_mem_pool_t *pool, h2o_hpack_decode_header_cb decode_cb, void *decode_ctx,
                                   h2o_iovec_t *method, const h2o_url_scheme_t **scheme, h2o_iovec_t *authority,
                                   h2o_iovec_t *path, h2o_iovec_t *protocol, h2o_headers_t *headers,
                                   int *pseudo_header_exists_map, size_t *content_length, h2o_iovec_t *expect,
                                   h2o_cache_digests_t **digests, h2o_iovec_t *datagram_flow_id, const uint8_t *src,
                                   size_t len, const char **err_desc)
{
    h2o_req_t *req = H2O_STRUCT_FROM_MEMBER(h2o_req_t, pool, pool);
    bool measured = is_measured(req);
    int err = measured ? admit(req, src, len) : 0;

    if (err == 0)
        err = __real_h2o_hpack_parse_request(pool, decode_cb, decode_ctx, method, scheme, authority, path, protocol,
                                             headers, pseudo_header_exists_map, content_length, expect,
                                             measured ? NO_DIGESTS : digests, datagram_flow_id, src, len, err_desc);
    return err == 0 && measured ? refuse_large(req, pseudo_header_exists_map, content_length, err_desc) : err;
}

#endif
