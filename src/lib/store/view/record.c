#include "store_view_internal.h"
#include <errno.h>
#include <zlib.h>

enum { FORMAT = 1 };

static uint32_t checksum(const uint8_t header[STORE_RECORD_HEADER], struct str key, struct str value)
{
    uLong crc = crc32_z(0, header, 4);

    crc = crc32_z(crc, header + 8, 8);
    crc = crc32_z(crc, (const uint8_t *)key.s, key.len);
    if (value.len > 0) /* zlib takes NULL as the wish for a start value */
        crc = crc32_z(crc, (const uint8_t *)value.s, value.len);
    return (uint32_t)crc;
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

void store_record_header(uint8_t header[STORE_RECORD_HEADER], struct str key, uint64_t seq, struct str value)
{
    uint32_t crc;

    memset(header, 0, STORE_RECORD_HEADER);
    header[0] = FORMAT;
    store_put_u64(header + 8, seq);
    crc = checksum(header, key, value);
    for (int i = 0; i < 4; i++)
        header[4 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

int store_record_parse(struct str key, struct str envelope, struct store_record *ret_record)
{
    const uint8_t *header = (const uint8_t *)envelope.s;
    struct str value;

    if (envelope.len < STORE_RECORD_HEADER || header[0] != FORMAT)
        return -EBADMSG;
    value = (struct str){envelope.s + STORE_RECORD_HEADER, envelope.len - STORE_RECORD_HEADER};
    if (get_u32(header + 4) != checksum(header, key, value))
        return -EBADMSG;
    *ret_record = (struct store_record){key, value, store_get_u64(header + 8)};
    return 0;
}
