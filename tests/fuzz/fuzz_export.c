/* An export of a store, as store-tool reads it. The first byte: with its lowest bit set, checksums and digest are made
 * right before the file is read, so that what they protect is reached. What is accepted is written anew as the same
 * bytes. */
#include "../../src/store-tool/stream.h"
#include "fuzz.h"
#include <openssl/sha.h>
#include <zlib.h>

#define HEADER 16
#define FRAME  9 /* of a frame without its payload */

static uint32_t get_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void make_right(uint8_t *bytes, size_t len)
{
    size_t at = HEADER, payload;

    for (; at + FRAME <= len; at += FRAME + payload) {
        payload = get_u32(bytes + at + 1);
        if (payload > len - at - FRAME)
            return;
        if (bytes[at] == 'E' && payload >= STREAM_DIGEST)
            SHA256(bytes, at, bytes + at + 5 + payload - STREAM_DIGEST);
        uLong crc = crc32_z(0, bytes + at, 5 + payload);
        for (int i = 0; i < 4; i++)
            bytes[at + 5 + payload + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

struct copy {
    struct stream_writer *writer;
    struct buf names;
    uint64_t count;
};

static int add(void *arg, unsigned table, const struct store_record *record)
{
    struct copy *copy = arg;

    MUST(table < STORE_MAX_TABLES && record->key.len >= 1 && record->key.len <= STORE_MAX_KEY);
    MUST(record->value.len <= STORE_MAX_VALUE);
    if (copy->writer != NULL)
        stream_add(copy->writer, table, record);
    copy->count++;
    return 0;
}

static void write_again(FILE *file, const struct stream_summary *summary, struct str bytes)
{
    struct store_table tables[STORE_MAX_TABLES] = {{0}};
    struct stream_summary same, read;
    struct copy copy = {0};
    char error[256], *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    for (size_t i = 0; i < summary->table_count; i++)
        tables[i].name = summary->tables[i];
    MUST(out != NULL && (copy.writer = stream_begin(out, tables, summary->table_count)) != NULL);
    MUST(stream_read(file, add, &copy, &read, error, sizeof(error)) == 0);
    MUST(stream_end(copy.writer, summary->last_seq, &same) == 0 && stream_same(&same, summary));
    fclose(out);
    MUST(str_eq((struct str){text, len}, bytes));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    bool right = fuzz_byte(&input) & 1;
    struct str bytes = fuzz_copy(&memory, fuzz_rest(&input));
    struct stream_summary summary;
    struct copy copy = {0};
    char error[256] = "";
    FILE *file;
    int err;

    if (right)
        make_right((uint8_t *)bytes.s, bytes.len);
    if (bytes.len == 0 || (file = fmemopen((char *)bytes.s, bytes.len, "r")) == NULL)
        goto out;
    err = stream_read(file, add, &copy, &summary, error, sizeof(error));
    MUST(err == 0 || err == -EBADMSG || err == -EPROTO);
    if (err == 0)
        write_again(file, &summary, bytes);
    else
        MUST(strlen(error) > 8);
    fclose(file);
out:
    fuzz_release(&memory);
    return 0;
}
