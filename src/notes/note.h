/* note -- a note: its limits, its forms (stored, JSON) and its table. Values only; any thread. */
#pragma once
#include "field.h"
#include "store.h"
#include "uuid.h"

#define NOTE_MAX_TITLE 200   /* code points; at least 1 */
#define NOTE_MAX_BODY  65536 /* bytes of UTF-8 */
#define NOTE_MAX_TAGS  16
#define NOTE_MAX_TAG   64 /* code points; at least 1 */

enum { NOTES_TABLE, IDEMPOTENCY_TABLE, NOTES_TABLES };

/* Strings are borrowed: from a request's JSON or from a stored record. They may contain NUL. */
struct note {
    struct str title, body, tags[NOTE_MAX_TAGS];
    unsigned tag_count;
    uint64_t created_ms, updated_ms; /* since 1970 */
    uint64_t created_seq;            /* its place among all notes; 0: that of the record itself, which is the first */
};

/* What clients may send of a struct note, and its limits. */
extern const struct fields note_fields;

/* The record's value; docs/store-format.md. */
void note_encode(const struct note *note, struct buf *out);
int note_decode(struct str value, struct note *ret_note); /* 0 or -EBADMSG; borrows from value */

void note_write_json(const struct note *note, const struct uuid *id, struct buf *out);

/* The key of the records, and what a table of them is. */
static inline struct str note_key(const struct uuid *id)
{
    return (struct str){(const char *)id->bytes, sizeof(id->bytes)};
}
extern const struct store_table note_table;

/* The index: for all notes and for each tag (NULL: all) the notes from new to old; an entry's value is the note's id.
 * A list's entries begin with its prefix, which the note's place in the list follows, as 8 bytes. */
#define NOTE_MAX_PREFIX (1 + 2 + 4 * NOTE_MAX_TAG)
size_t note_list_prefix(const struct str *tag, char prefix[NOTE_MAX_PREFIX]);
void note_list_place(uint64_t created_seq, uint8_t place[8]);
uint64_t note_list_created_seq(const void *place);
