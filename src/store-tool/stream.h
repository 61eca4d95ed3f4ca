/* stream -- a store's records in a file: what store-tool writes and reads. docs/store-format.md describes the bytes.
 *
 * The same records give the same bytes, wherever they were stored: tables in the order of the schema, records in that
 * of their keys. So the digest tells whether two stores hold the same. One thread.
 */
#pragma once
#include "store.h"
#include <stdio.h>

#define STREAM_DIGEST    32
#define STREAM_NAME_SIZE 17 /* of a table, with its zero byte */

struct stream_summary {
    size_t table_count;
    char tables[STORE_MAX_TABLES][STREAM_NAME_SIZE];
    uint64_t counts[STORE_MAX_TABLES];
    uint64_t last_seq;
    uint8_t digest[STREAM_DIGEST]; /* of tables and records */
};

bool stream_same(const struct stream_summary *a, const struct stream_summary *b); /* the same tables and records */

/* ---- writing ---- */

struct stream_writer;

/* file NULL: only the summary is wanted. NULL out of memory. Errors are kept, and reported by stream_end. */
struct stream_writer *stream_begin(FILE *file, const struct store_table *tables, size_t table_count);
void stream_add(struct stream_writer *writer, unsigned table, const struct store_record *record);
/* 0 and the summary, or -errno. Frees the writer (NULL: -ENOMEM); the file stays open. */
int stream_end(struct stream_writer *take_writer, uint64_t last_seq, struct stream_summary *ret_summary);

/* ---- reading ---- */

/* An error other than 0 ends the reading with it. What record points to is valid during the call. */
typedef int stream_record(void *arg, unsigned table, const struct store_record *record);

/* Reads a whole file and checks all there is to check; on_record may be NULL. error receives one line.
 * 0, -EBADMSG (it is damaged, cut off, or something else), -EPROTO (of a later version), other -errno. */
int stream_read(FILE *file, stream_record *on_record, void *arg, struct stream_summary *ret_summary, char *error,
                size_t error_size);
