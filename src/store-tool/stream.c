#include "stream.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

#define MAGIC       "SLIPWAYX"
#define VERSION     1
#define HEADER_LEN  16
#define FRAME_START 5 /* type and length */
#define RECORD_KEY  11
#define MAX_PAYLOAD (RECORD_KEY + STORE_MAX_KEY + STORE_MAX_VALUE)

enum frame { FRAME_TABLE = 'T', FRAME_RECORD = 'R', FRAME_END = 'E' };

bool stream_same(const struct stream_summary *a, const struct stream_summary *b)
{
    return memcmp(a->digest, b->digest, STREAM_DIGEST) == 0;
}

static void put_u32(uint8_t bytes[4], uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void make_header(uint8_t header[HEADER_LEN])
{
    memcpy(header, MAGIC, 8);
    store_put_u64(header + 8, VERSION);
}

/* ---- writing ---- */

struct stream_writer {
    FILE *file;
    EVP_MD_CTX *digest;
    struct stream_summary summary;
    int err;
};

static void write_bytes(struct stream_writer *writer, const void *bytes, size_t len)
{
    if (writer->err == 0 && len > 0 && writer->file != NULL && fwrite(bytes, 1, len, writer->file) != len)
        writer->err = -errno;
    if (writer->err == 0 && EVP_DigestUpdate(writer->digest, bytes, len) != 1)
        writer->err = -EIO;
}

/* A frame of a head and a body. */
static void write_frame(struct stream_writer *writer, enum frame type, const uint8_t *head, size_t head_len,
                        struct str key, struct str value)
{
    uint8_t start[FRAME_START], end[4];
    uLong crc;

    start[0] = (uint8_t)type;
    put_u32(start + 1, (uint32_t)(head_len + key.len + value.len));
    crc = crc32_z(crc32_z(0, start, sizeof(start)), head, head_len);
    crc = key.len > 0 ? crc32_z(crc, (const uint8_t *)key.s, key.len) : crc;
    crc = value.len > 0 ? crc32_z(crc, (const uint8_t *)value.s, value.len) : crc;
    put_u32(end, (uint32_t)crc);
    write_bytes(writer, start, sizeof(start));
    write_bytes(writer, head, head_len);
    write_bytes(writer, key.s, key.len);
    write_bytes(writer, value.s, value.len);
    write_bytes(writer, end, sizeof(end));
}

struct stream_writer *stream_begin(FILE *file, const struct store_table *tables, size_t table_count)
{
    struct stream_writer *writer = calloc(1, sizeof(*writer));
    uint8_t header[HEADER_LEN];

    if (writer == NULL)
        return NULL;
    writer->file = file;
    writer->digest = EVP_MD_CTX_new();
    if (writer->digest == NULL || EVP_DigestInit_ex(writer->digest, EVP_sha256(), NULL) != 1)
        writer->err = -ENOMEM;
    make_header(header);
    write_bytes(writer, header, sizeof(header));
    writer->summary.table_count = table_count;
    for (size_t i = 0; i < table_count; i++) {
        snprintf(writer->summary.tables[i], STREAM_NAME_SIZE, "%s", tables[i].name);
        write_frame(writer, FRAME_TABLE, (const uint8_t *)tables[i].name, strlen(tables[i].name), STR_NULL, STR_NULL);
    }
    return writer;
}

void stream_add(struct stream_writer *writer, unsigned table, const struct store_record *record)
{
    uint8_t head[RECORD_KEY];

    if (writer == NULL)
        return;
    head[0] = (uint8_t)table;
    head[1] = (uint8_t)(record->key.len >> 8);
    head[2] = (uint8_t)record->key.len;
    store_put_u64(head + 3, record->seq);
    write_frame(writer, FRAME_RECORD, head, sizeof(head), record->key, record->value);
    writer->summary.counts[table]++;
}

static void write_end(struct stream_writer *writer, uint64_t last_seq)
{
    uint8_t end[8 + 8 * STORE_MAX_TABLES + STREAM_DIGEST];
    struct stream_summary *summary = &writer->summary;
    size_t len = 8;

    summary->last_seq = last_seq;
    if (writer->err == 0 && EVP_DigestFinal_ex(writer->digest, summary->digest, NULL) != 1)
        writer->err = -EIO;
    store_put_u64(end, last_seq);
    for (size_t i = 0; i < summary->table_count; i++, len += 8)
        store_put_u64(end + len, summary->counts[i]);
    memcpy(end + len, summary->digest, STREAM_DIGEST);
    if (writer->err == 0 && EVP_DigestInit_ex(writer->digest, EVP_sha256(), NULL) != 1)
        writer->err = -EIO;
    write_frame(writer, FRAME_END, end, len + STREAM_DIGEST, STR_NULL, STR_NULL);
}

int stream_end(struct stream_writer *take_writer, uint64_t last_seq, struct stream_summary *ret_summary)
{
    int err;

    if (take_writer == NULL)
        return -ENOMEM;
    write_end(take_writer, last_seq);
    err = take_writer->err;
    if (err == 0)
        *ret_summary = take_writer->summary;
    EVP_MD_CTX_free(take_writer->digest);
    free(take_writer);
    return err;
}

/* ---- reading ---- */

struct reader {
    FILE *file;
    EVP_MD_CTX *digest;
    uint64_t offset; /* of the frame */
    enum frame type;
    uint32_t len;
    uint8_t payload[MAX_PAYLOAD];
    struct stream_summary summary;
    int last_table; /* of the last record */
    size_t last_key_len;
    char last_key[STORE_MAX_KEY];
    uint64_t max_seq;
    stream_record *on_record;
    void *arg;
    char *error;
    size_t error_size;
};

static int __attribute__((format(printf, 3, 4))) fail(struct reader *reader, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reader->error, reader->error_size, format, args);
    va_end(args);
    return err;
}

static int damaged(struct reader *reader, const char *what)
{
    return fail(reader, -EBADMSG, "damaged at byte %llu: %s", (unsigned long long)reader->offset, what);
}

static int read_bytes(struct reader *reader, void *bytes, size_t len)
{
    if (fread(bytes, 1, len, reader->file) == len)
        return 0;
    return ferror(reader->file) ? fail(reader, -EIO, "cannot be read: %s", strerror(errno))
                                : damaged(reader, "it is cut off");
}

static int read_header(struct reader *reader)
{
    uint8_t header[HEADER_LEN], wanted[HEADER_LEN];
    int err = read_bytes(reader, header, sizeof(header));

    make_header(wanted);
    if (err < 0)
        return err;
    if (memcmp(header, wanted, 8) != 0)
        return fail(reader, -EBADMSG, "not an export of a store");
    if (memcmp(header, wanted, sizeof(header)) != 0)
        return fail(reader, -EPROTO, "an export of format %llu; this version reads format %d",
                    (unsigned long long)store_get_u64(header + 8), VERSION);
    EVP_DigestUpdate(reader->digest, header, sizeof(header));
    return 0;
}

/* The digest covers all frames but the last. */
static int read_frame(struct reader *reader)
{
    uint8_t start[FRAME_START], end[4];
    uLong crc;
    int err;

    reader->offset = (uint64_t)ftello(reader->file);
    err = read_bytes(reader, start, sizeof(start));
    if (err < 0)
        return err;
    reader->type = start[0];
    reader->len = get_u32(start + 1);
    if (reader->len > MAX_PAYLOAD)
        return damaged(reader, "a record that is too long");
    err = read_bytes(reader, reader->payload, reader->len);
    if (err == 0)
        err = read_bytes(reader, end, sizeof(end));
    if (err < 0)
        return err;
    crc = crc32_z(crc32_z(0, start, sizeof(start)), reader->payload, reader->len);
    if (get_u32(end) != (uint32_t)crc)
        return damaged(reader, "a checksum does not match");
    if (reader->type != FRAME_END) {
        EVP_DigestUpdate(reader->digest, start, sizeof(start));
        EVP_DigestUpdate(reader->digest, reader->payload, reader->len);
        EVP_DigestUpdate(reader->digest, end, sizeof(end));
    }
    return 0;
}

static int read_table(struct reader *reader)
{
    struct stream_summary *summary = &reader->summary;
    char *name = summary->tables[summary->table_count];

    if (summary->table_count == STORE_MAX_TABLES || reader->len < 1 || reader->len >= STREAM_NAME_SIZE ||
        reader->last_table >= 0)
        return damaged(reader, "a table that cannot be");
    memcpy(name, reader->payload, reader->len);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz_") != reader->len)
        return damaged(reader, "a table's name");
    summary->table_count++;
    return 0;
}

static bool in_order(const struct reader *reader, unsigned table, struct str key)
{
    if ((int)table != reader->last_table)
        return (int)table > reader->last_table;
    return str_cmp((struct str){reader->last_key, reader->last_key_len}, key) < 0;
}

static int read_record(struct reader *reader)
{
    struct store_record record;
    const char *payload = (const char *)reader->payload;
    unsigned table = reader->payload[0];
    size_t key_len;

    if (reader->len < RECORD_KEY || table >= reader->summary.table_count)
        return damaged(reader, "a record that cannot be");
    key_len = (size_t)reader->payload[1] << 8 | reader->payload[2];
    if (key_len < 1 || key_len > STORE_MAX_KEY || key_len > reader->len - RECORD_KEY ||
        reader->len - RECORD_KEY - key_len > STORE_MAX_VALUE)
        return damaged(reader, "a record's lengths");
    record.key = (struct str){payload + RECORD_KEY, key_len};
    record.value = (struct str){payload + RECORD_KEY + key_len, reader->len - RECORD_KEY - key_len};
    record.seq = store_get_u64(reader->payload + 3);
    if (!in_order(reader, table, record.key))
        return damaged(reader, "a record out of order");
    reader->last_table = (int)table;
    reader->last_key_len = key_len;
    memcpy(reader->last_key, record.key.s, key_len);
    reader->max_seq = record.seq > reader->max_seq ? record.seq : reader->max_seq;
    reader->summary.counts[table]++;
    return reader->on_record != NULL ? reader->on_record(reader->arg, table, &record) : 0;
}

static int read_end(struct reader *reader)
{
    struct stream_summary *summary = &reader->summary;
    size_t digest_at = 8 + 8 * summary->table_count;

    if (reader->len != digest_at + STREAM_DIGEST || summary->table_count == 0)
        return damaged(reader, "the end's length");
    summary->last_seq = store_get_u64(reader->payload);
    for (size_t i = 0; i < summary->table_count; i++)
        if (store_get_u64(reader->payload + 8 + 8 * i) != summary->counts[i])
            return damaged(reader, "the number of records");
    if (EVP_DigestFinal_ex(reader->digest, summary->digest, NULL) != 1)
        return fail(reader, -EIO, "no digest");
    if (memcmp(summary->digest, reader->payload + digest_at, STREAM_DIGEST) != 0)
        return damaged(reader, "the digest does not match");
    if (reader->max_seq > summary->last_seq)
        return damaged(reader, "a sequence number beyond the last");
    return fgetc(reader->file) == EOF ? 0 : damaged(reader, "something behind the end");
}

static int read_all(struct reader *reader)
{
    int err = read_header(reader);

    while (err == 0) {
        err = read_frame(reader);
        if (err < 0)
            return err;
        switch (reader->type) {
        case FRAME_TABLE:
            err = read_table(reader);
            break;
        case FRAME_RECORD:
            err = read_record(reader);
            break;
        case FRAME_END:
            return read_end(reader);
        default:
            err = damaged(reader, "a frame of an unknown type");
        }
    }
    return err;
}

int stream_read(FILE *file, stream_record *on_record, void *arg, struct stream_summary *ret_summary, char *error,
                size_t error_size)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    int err = -ENOMEM;

    snprintf(error, error_size, "%s", strerror(ENOMEM));
    if (reader == NULL)
        return err;
    *reader = (struct reader){.file = file, .last_table = -1, .on_record = on_record, .arg = arg};
    reader->error = error;
    reader->error_size = error_size;
    reader->digest = EVP_MD_CTX_new();
    if (reader->digest != NULL && EVP_DigestInit_ex(reader->digest, EVP_sha256(), NULL) == 1) {
        rewind(file);
        err = read_all(reader);
    }
    if (err == 0)
        *ret_summary = reader->summary;
    EVP_MD_CTX_free(reader->digest);
    free(reader);
    return err;
}
