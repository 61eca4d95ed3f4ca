#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#define PREFIX sizeof(((struct rpc_in *)0)->prefix)

static int read_prefix(struct rpc_in *in, struct str *bytes)
{
    size_t some = PREFIX - in->prefix_len < bytes->len ? PREFIX - in->prefix_len : bytes->len;
    uint32_t big_endian;

    memcpy(in->prefix + in->prefix_len, bytes->s, some);
    in->prefix_len = (uint8_t)(in->prefix_len + some);
    bytes->s += some;
    bytes->len -= some;
    if (in->prefix_len < PREFIX)
        return 0;
    memcpy(&big_endian, in->prefix + 1, sizeof(big_endian));
    in->wanted = ntohl(big_endian);
    in->compressed = in->prefix[0] == 1;
    in->len = 0;
    if (in->prefix[0] > 1)
        return -EPROTO;
    return in->wanted > in->max ? -EMSGSIZE : 0;
}

/* Room grows with what comes, not with what was announced. */
static int reserve(struct rpc_in *in, size_t len)
{
    size_t capacity = in->bytes != NULL ? in->capacity : RPC_IN_FIRST,
           wanted = 2 * len < in->wanted ? 2 * len : in->wanted;
    uint8_t *bytes;

    if (len <= capacity)
        return 0;
    if ((bytes = rpc_account_realloc(in->account, in->bytes, in->capacity, wanted)) == NULL)
        return -ENOBUFS;
    in->bytes = bytes;
    in->capacity = wanted;
    return 0;
}

static int append(struct rpc_in *in, uint8_t first[RPC_IN_FIRST], struct str *bytes)
{
    size_t some = in->wanted - in->len < bytes->len ? in->wanted - in->len : bytes->len;
    bool was_small = in->bytes == NULL;
    int err = reserve(in, in->len + some);

    if (err != 0)
        return err;
    if (was_small && in->bytes != NULL)
        memcpy(in->bytes, first, in->len);
    if (some > 0)
        memcpy((in->bytes != NULL ? in->bytes : first) + in->len, bytes->s, some);
    in->len += some;
    bytes->s += some;
    bytes->len -= some;
    return 0;
}

static int whole(struct rpc_in *in, struct str message, struct str *ret_message)
{
    in->prefix_len = 0;
    *ret_message = message;
    return 1;
}

int rpc_in_take(struct rpc_in *in, uint8_t first[RPC_IN_FIRST], struct str *bytes, bool keep, struct str *ret_message)
{
    int err = in->prefix_len < PREFIX ? read_prefix(in, bytes) : 0;

    if (err != 0 || in->prefix_len < PREFIX)
        return err;
    if (!keep && in->len == 0 && bytes->len >= in->wanted) {
        struct str message = {bytes->s, in->wanted};

        bytes->s += in->wanted;
        bytes->len -= in->wanted;
        return whole(in, message, ret_message);
    }
    err = append(in, first, bytes);
    if (err != 0 || in->len < in->wanted)
        return err;
    return whole(in, (struct str){(const char *)(in->bytes != NULL ? in->bytes : first), in->len}, ret_message);
}

bool rpc_in_is_between(const struct rpc_in *in)
{
    return in->prefix_len == 0;
}

void rpc_in_release(struct rpc_in *in)
{
    free(in->bytes);
    rpc_account_give(in->account, in->capacity);
    in->bytes = NULL;
    in->capacity = 0;
}

/* ---- gzip ---- */

#define GZIP_WINDOW   (15 + 16) /* zlib's number for gzip with the largest window */
#define INFLATE_STATE (48 * 1024)

/* Grows the output: at most max + 1 bytes, so that one byte too many is seen. */
static int grow(struct buf *out, size_t max, struct rpc_account *account)
{
    size_t more = out->capacity > 0 ? out->capacity : 4096, most = max + 1;
    size_t capacity = out->capacity + more < most ? out->capacity + more : most;
    char *data;

    if (out->capacity >= most)
        return -EMSGSIZE;
    if ((data = rpc_account_realloc(account, out->data, out->capacity, capacity)) == NULL)
        return -ENOBUFS;
    out->data = data;
    out->capacity = capacity;
    return 0;
}

static int inflate_all(z_stream *stream, size_t max, struct rpc_account *account, struct buf *out)
{
    int result = Z_OK, err = 0;

    while (result == Z_OK && err == 0) {
        if (out->len == out->capacity && (err = grow(out, max, account)) != 0)
            break;
        stream->next_out = (uint8_t *)out->data + out->len;
        stream->avail_out = (uInt)(out->capacity - out->len);
        result = inflate(stream, Z_NO_FLUSH);
        out->len = out->capacity - stream->avail_out;
    }
    if (err == 0 && (result != Z_STREAM_END || stream->avail_in > 0))
        err = result == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
    return err == 0 && out->len > max ? -EMSGSIZE : err;
}

int rpc_inflate(struct str bytes, size_t max, struct rpc_account *account, struct str *ret_bytes)
{
    z_stream stream = {.next_in = (uint8_t *)bytes.s, .avail_in = (uInt)bytes.len};
    struct buf out = {0};
    int err;

    if (!rpc_account_take(account, INFLATE_STATE))
        return -ENOBUFS;
    err = inflateInit2(&stream, GZIP_WINDOW) == Z_OK ? inflate_all(&stream, max, account, &out) : -ENOMEM;
    inflateEnd(&stream);
    rpc_account_give(account, INFLATE_STATE + out.capacity);
    if (err != 0) {
        free(out.data);
        return err;
    }
    rpc_account_add(account, out.len);
    *ret_bytes = (struct str){out.data, out.len};
    return 0;
}

void rpc_inflated_free(struct str bytes, struct rpc_account *account)
{
    rpc_account_give(account, bytes.len);
    free((char *)bytes.s);
}
