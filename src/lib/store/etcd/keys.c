#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>
#include <zlib.h>

enum { FORMAT = 1 };

void etcd_keys_init(struct etcd_keys *keys, const char *prefix, const struct store_options *options)
{
    snprintf(keys->prefix, sizeof(keys->prefix), "/%s/", prefix);
    snprintf(keys->end, sizeof(keys->end), "/%s0", prefix); /* '0' comes after '/' */
    keys->tables = options->tables;
    keys->table_count = options->table_count;
}

void etcd_key_name(const struct etcd_keys *keys, const char *name, struct buf *out)
{
    buf_append_cstr(out, keys->prefix);
    buf_append_cstr(out, name);
}

void etcd_key_record(const struct etcd_keys *keys, unsigned table, struct str key, struct buf *out)
{
    buf_append_cstr(out, keys->prefix);
    buf_append_cstr(out, keys->tables[table].name);
    buf_append_char(out, '/');
    buf_append_str(out, key);
}

int etcd_key_parse(const struct etcd_keys *keys, struct str etcd_key, unsigned *ret_table, struct str *ret_key)
{
    struct str path = etcd_path(keys, etcd_key), name;
    const char *slash = memchr(path.s, '/', path.len);

    if (slash == NULL) {
        *ret_key = path;
        return -ENOENT;
    }
    name = (struct str){path.s, (size_t)(slash - path.s)};
    for (unsigned i = 0; i < keys->table_count; i++) {
        if (!str_eq(name, str_of(keys->tables[i].name)))
            continue;
        *ret_table = i;
        *ret_key = (struct str){slash + 1, path.len - name.len - 1};
        return ret_key->len >= 1 && ret_key->len <= STORE_MAX_KEY ? 0 : -ESRCH;
    }
    return -ESRCH;
}

int etcd_head_parse(const Etcdserverpb__KeyValue *kv, struct etcd_head *ret_head)
{
    if (kv->value.len != sizeof(ret_head->id))
        return -EPROTO;
    ret_head->revision = kv->mod_revision;
    memcpy(&ret_head->id, kv->value.data, sizeof(ret_head->id));
    return 0;
}

/* Without its own four bytes. */
static uint32_t checksum(const uint8_t *header, size_t header_len, struct str path, struct str value)
{
    uLong crc = crc32_z(0, header, 4);

    crc = crc32_z(crc, header + ETCD_ENVELOPE, header_len - ETCD_ENVELOPE);
    crc = crc32_z(crc, (const uint8_t *)path.s, path.len);
    if (value.len > 0) /* zlib takes NULL as the wish for a start value */
        crc = crc32_z(crc, (const uint8_t *)value.s, value.len);
    return (uint32_t)crc;
}

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

size_t etcd_envelope(uint8_t header[ETCD_MAX_ENVELOPE], unsigned position, uint64_t seq, struct str path,
                     struct str value)
{
    size_t len = seq != 0 ? ETCD_MAX_ENVELOPE : ETCD_ENVELOPE;

    memset(header, 0, ETCD_MAX_ENVELOPE);
    header[0] = FORMAT;
    header[1] = (uint8_t)position;
    header[2] = seq != 0;
    store_put_u64(header + ETCD_ENVELOPE, seq);
    put_u32(header + 4, checksum(header, len, path, value));
    return len;
}

int etcd_envelope_parse(const struct etcd_keys *keys, const Etcdserverpb__KeyValue *kv, struct store_record *ret_record)
{
    struct str envelope = etcd_str(kv->value), value;
    const uint8_t *header = kv->value.data;
    size_t len = envelope.len > 2 && header[2] == 1 ? ETCD_MAX_ENVELOPE : ETCD_ENVELOPE;
    uint8_t crc[4];

    if (envelope.len < len || envelope.len > len + STORE_MAX_VALUE || header[0] != FORMAT)
        return -EBADMSG;
    value = (struct str){envelope.s + len, envelope.len - len};
    put_u32(crc, checksum(header, len, etcd_path(keys, etcd_str(kv->key)), value));
    if (memcmp(header + 4, crc, sizeof(crc)) != 0)
        return -EBADMSG;
    ret_record->seq =
        len == ETCD_MAX_ENVELOPE ? store_get_u64(header + ETCD_ENVELOPE) : etcd_seq(keys, kv->mod_revision, header[1]);
    ret_record->value = value;
    return 0;
}
