/* Compression of replies by gzip, where the server's def asks for it.
 *
 * A body is compressed as a whole, in the loop's thread, when its reply is sent: at level 1 and at most MAX_BODY bytes,
 * which bounds how long that keeps the loop from others (about 5 ms a megabyte). One state of zlib for each worker is
 * used again and again. It is made for the first reply that needs it, and counted towards the server's memory; where
 * there is no room, replies are sent as they are.
 *
 * What is never compressed: see http_server_def.compress. */
#include "http_internal.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MIN_BODY    1024 /* bytes: a smaller one fits into a packet or two anyway */
#define MAX_BODY    (1 << 20)
#define LEVEL       1
#define WINDOW_BITS 15
#define MEMORY      8 /* of zlib's levels */
#define AS_GZIP     16
/* By zlib's manual, and its state. */
#define STATE_BYTES ((1 << (WINDOW_BITS + 2)) + (1 << (MEMORY + 9)) + (8 << 10))
#define GZIP_BYTES  64 /* more than the gzip format adds to a body that does not become smaller */

struct http_compressor {
    z_stream zlib;
};

/* ---- the state ---- */

static struct http_compressor *new_compressor(void)
{
    struct http_compressor *compressor = calloc(1, sizeof(*compressor));

    if (compressor == NULL)
        return NULL;
    if (deflateInit2(&compressor->zlib, LEVEL, Z_DEFLATED, WINDOW_BITS + AS_GZIP, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(compressor);
        return NULL;
    }
    return compressor;
}

/* NULL: there is no room. */
static struct http_compressor *compressor_of(struct http_worker *worker)
{
    struct budget *memory = &worker->server->memory;

    if (worker->compressor != NULL)
        return worker->compressor;
    if (!budget_take(memory, STATE_BYTES))
        return NULL;
    worker->compressor = new_compressor();
    if (worker->compressor == NULL)
        budget_give(memory, STATE_BYTES);
    return worker->compressor;
}

void http_compress_end(struct http_worker *worker)
{
    if (worker->compressor == NULL)
        return;
    deflateEnd(&worker->compressor->zlib);
    free(worker->compressor);
    worker->compressor = NULL;
    budget_give(&worker->server->memory, STATE_BYTES);
}

/* Into room for len bytes. False: they do not suffice. */
static bool deflate_into(struct http_compressor *compressor, struct str body, char *to, size_t *len)
{
    z_stream *zlib = &compressor->zlib;

    if (deflateReset(zlib) != Z_OK)
        return false;
    zlib->next_in = (Bytef *)body.s;
    zlib->avail_in = (uInt)body.len;
    zlib->next_out = (Bytef *)to;
    zlib->avail_out = (uInt)*len;
    if (deflate(zlib, Z_FINISH) != Z_STREAM_END)
        return false;
    *len -= zlib->avail_out;
    return true;
}

/* ---- what is compressed ---- */

static bool ends_in(struct str text, struct str end)
{
    return text.len >= end.len && str_caseeq((struct str){text.s + text.len - end.len, end.len}, end);
}

static bool begins_with(struct str text, struct str begin)
{
    return text.len >= begin.len && str_caseeq((struct str){text.s, begin.len}, begin);
}

/* Text, in short; images and archives are compressed already. */
static bool is_text(const char *content_type)
{
    static const struct str types[] = {STR("application/json"), STR("application/javascript"), STR("application/xml"),
                                       STR("application/openmetrics-text"), STR("application/x-ndjson")};
    struct str rest = str_of(content_type), type;

    if (!str_next(&rest, ';', &type))
        return false;
    type = str_trim(type);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (str_caseeq(type, types[i]))
            return true;
    return begins_with(type, STR("text/")) || ends_in(type, STR("+json")) || ends_in(type, STR("+xml"));
}

static bool forbids(struct str cache_control)
{
    struct str directive;

    while (str_next(&cache_control, ',', &directive))
        if (str_caseeq(str_trim(directive), STR("no-transform")))
            return true;
    return false;
}

/* Whether this service compresses such replies, whoever asks. */
static bool is_open_to_it(const struct http_exchange *exchange, const struct http_reply *reply)
{
    const struct http_route *route = exchange->req.route;

    return reply->stream == NULL && !reply->is_coded && (route == NULL || !route->secret) &&
           http_reply_header(reply, "content-encoding").s == NULL && http_reply_header(reply, "set-cookie").s == NULL &&
           !forbids(http_reply_header(reply, "cache-control"));
}

static bool is_compressible(const struct http_reply *reply)
{
    return reply->body_len >= MIN_BODY && reply->body_len <= MAX_BODY && reply->status != 206 &&
           is_text(reply->content_type);
}

/* A browser adds its cookies to requests that other sites make: what these are answered is not compressed. */
static bool is_wanted(const struct http_exchange *exchange)
{
    return http_codings_of(&exchange->req).gzip && http_header(&exchange->req, "cookie").s == NULL;
}

/* ---- the reply ---- */

static void take_body(struct http_reply *reply, char *take_body, size_t len)
{
    if (reply->server != NULL) { /* of a static body, only a part was charged */
        budget_give(&reply->server->memory, reply->charged);
        budget_add(&reply->server->memory, len);
        reply->charged = len;
    }
    if (reply->body != reply->own && !reply->is_static)
        free(reply->body);
    reply->body = take_body;
    reply->body_len = len;
    reply->is_static = false;
}

static bool compress_body(struct http_worker *worker, struct http_reply *reply)
{
    struct http_compressor *compressor = compressor_of(worker);
    size_t len = reply->body_len - GZIP_BYTES; /* else it is not worth it */
    char *to = compressor != NULL ? malloc(len) : NULL, *shorter;

    if (to == NULL || !deflate_into(compressor, http_reply_body(reply), to, &len)) {
        free(to);
        return false;
    }
    shorter = realloc(to, len);
    take_body(reply, shorter != NULL ? shorter : to, len);
    return true;
}

/* "x" becomes "x-gzip". A weak tag says nothing of bytes, and remains. */
static void mark_tag(struct http_reply *reply)
{
    struct str tag = http_reply_header(reply, "etag");

    if (tag.len >= 2 && tag.s[0] == '"')
        http_reply_replace(reply, "etag", "%.*s" HTTP_TAG_SUFFIX, (int)(tag.len - 1), tag.s);
}

/* A 304 has the tag of what the client has. */
static void answer_condition(const struct http_exchange *exchange, struct http_reply *reply)
{
    struct str tag = http_reply_header(reply, "etag");

    if (tag.len < 2 || tag.s[0] != '"')
        return;
    tag = (struct str){tag.s + 1, tag.len - 2};
    if (http_tag_is_listed(&exchange->req, "if-none-match", tag, true, HTTP_TAG_WEAKLY))
        mark_tag(reply);
}

enum http_compressed http_compress(struct http_exchange *exchange, struct http_reply *reply)
{
    if (http_reply_failed(reply) || !is_open_to_it(exchange, reply))
        return HTTP_NEVER_COMPRESSED;
    if (reply->status == 304) {
        answer_condition(exchange, reply);
        return HTTP_NOT_COMPRESSED;
    }
    if (!is_compressible(reply))
        return HTTP_NEVER_COMPRESSED;
    if (!is_wanted(exchange) || !compress_body(exchange->worker, reply))
        return HTTP_NOT_COMPRESSED;
    mark_tag(reply);
    return HTTP_COMPRESSED;
}
