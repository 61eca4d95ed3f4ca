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

static uint32_t checksum(const uint8_t header[ETCD_ENVELOPE], struct str path, struct str value)
{
    uLong crc = crc32_z(0, header, 4);

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

void etcd_envelope(uint8_t header[ETCD_ENVELOPE], unsigned position, struct str path, struct str value)
{
    memset(header, 0, ETCD_ENVELOPE);
    header[0] = FORMAT;
    header[1] = (uint8_t)position;
    put_u32(header + 4, checksum(header, path, value));
}

int etcd_envelope_parse(struct str path, struct str envelope, unsigned *ret_position, struct str *ret_value)
{
    const uint8_t *header = (const uint8_t *)envelope.s;
    struct str value;
    uint8_t crc[4];

    if (envelope.len < ETCD_ENVELOPE || envelope.len > ETCD_ENVELOPE + STORE_MAX_VALUE || header[0] != FORMAT)
        return -EBADMSG;
    value = (struct str){envelope.s + ETCD_ENVELOPE, envelope.len - ETCD_ENVELOPE};
    put_u32(crc, checksum(header, path, value));
    if (memcmp(header + 4, crc, sizeof(crc)) != 0)
        return -EBADMSG;
    *ret_position = header[1];
    *ret_value = value;
    return 0;
}
