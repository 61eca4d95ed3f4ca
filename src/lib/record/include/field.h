/* field -- tables that say which fields a message has, of which type and within which limits. One table serves to check
 * a struct that was filled from JSON (http_json.h) or came by gRPC (rpc_record.h), and to write the struct as JSON.
 *
 *     static const struct field list[] = {
 *         FIELD_INT(Quote__Price, cents, 1, 100000000),
 *         FIELD_STRING(Quote__Price, currency, 3, 3, .chars = "A-Z"),
 *         {0},
 *     };
 *     static const struct fields price = {"a price", list};
 *
 * The struct may be one of protobuf-c or any other. A member of another C type than the field's does not compile. Any
 * thread.
 */
#pragma once
#include "buf.h"
#include "names.h"

enum field_kind {
    FIELD_KIND_INT,      /* int64_t */
    FIELD_KIND_STR,      /* struct str; may contain NUL */
    FIELD_KIND_CSTR,     /* char *, terminated: one with NUL in it is refused */
    FIELD_KIND_STRS,     /* struct str [], with an unsigned count; none has NUL in it, no two are the same */
    FIELD_KIND_READ_ONLY /* not in the struct: whoever sends it is told that the server sets it */
};

struct field {
    const char *name; /* as in JSON; NULL ends a table */
    enum field_kind kind;
    size_t offset, count_offset;
    int64_t min, max;   /* of the number, or of the length of the string, of each of the strings */
    unsigned max_items; /* of the strings */
    bool in_bytes;      /* lengths are in bytes of UTF-8, not in code points */
    bool optional;      /* FIELD_KIND_INT: may be missing, and is then what it was before */
    const char *chars;  /* of a string: characters and ranges of ASCII, "A-Z0-9._-": - stands last; NULL: all */
};

struct fields {
    const char *what; /* "a price": for messages */
    const struct field *list;
};

/* clang-format off */
#define FIELD_INT(type, member, min_, max_, ...)                                                                       \
    {.name = #member, .kind = _Generic(((type *)0)->member, int64_t: FIELD_KIND_INT),                                  \
     .offset = offsetof(type, member), .min = (min_), .max = (max_), __VA_ARGS__}
#define FIELD_STRING(type, member, min_, max_, ...)                                                                    \
    {.name = #member, .kind = _Generic(((type *)0)->member, struct str: FIELD_KIND_STR, char *: FIELD_KIND_CSTR),      \
     .offset = offsetof(type, member), .min = (min_), .max = (max_), __VA_ARGS__}
#define FIELD_STRINGS(type, member, count_, max_items_, min_, max_, ...)                                               \
    {.name = #member, .kind = _Generic(&((type *)0)->member[0], struct str *: FIELD_KIND_STRS),                        \
     .offset = offsetof(type, member), .max_items = (max_items_) + _Generic(((type *)0)->count_, unsigned: 0u),        \
     .count_offset = offsetof(type, count_), .min = (min_), .max = (max_), __VA_ARGS__}
#define FIELD_READ_ONLY(name_) {.name = (name_), .kind = FIELD_KIND_READ_ONLY}
/* clang-format on */

#define FIELD_ERROR_SIZE 256

/* One string against a field's limits. 0, or -EINVAL and a sentence that begins with the field's name. */
int field_check_string(const struct field *field, struct str value, char error[FIELD_ERROR_SIZE]);
/* A whole struct against its table: the first field that breaks a limit. Strings must be valid UTF-8, else they break
 * it. */
int fields_check(const struct fields *fields, const void *message, char error[FIELD_ERROR_SIZE]);
const struct field *fields_find(const struct fields *fields, const char *name); /* NULL where there is none */
/* "title, body and tags": the fields that may be sent. */
void fields_write_names(const struct fields *fields, struct buf *out);
/* "name":value,... of all fields but read-only ones, without braces. */
void fields_write_json(const struct fields *fields, const void *message, struct buf *out);
/* Empties a field: 0, no characters, no strings. */
void field_clear(const struct field *field, void *message);
