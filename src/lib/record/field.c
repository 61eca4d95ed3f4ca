#include "field.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const void *member(const struct field *field, const void *message)
{
    return (const char *)message + field->offset;
}

static struct str string_of(const struct field *field, const void *message)
{
    assert(field->kind == FIELD_KIND_STR || field->kind == FIELD_KIND_CSTR);
    return field->kind == FIELD_KIND_STR ? *(const struct str *)member(field, message)
                                         : str_of(*(char *const *)member(field, message));
}

static unsigned *count_of(const struct field *field, const void *message)
{
    return (unsigned *)((char *)message + field->count_offset);
}

/* ---- limits ---- */

/* "1 to 3 are allowed" */
static int fail_limit(const struct field *field, char error[FIELD_ERROR_SIZE], const char *is)
{
    if (field->min > 0 || field->kind == FIELD_KIND_INT)
        snprintf(error, FIELD_ERROR_SIZE, "%s, %" PRId64 " to %" PRId64 " are allowed", is, field->min, field->max);
    else
        snprintf(error, FIELD_ERROR_SIZE, "%s, at most %" PRId64 " are allowed", is, field->max);
    return -EINVAL;
}

static bool is_in(char c, const char *chars)
{
    for (; *chars != '\0'; chars += chars[1] == '-' && chars[2] != '\0' ? 3 : 1)
        if (chars[1] == '-' && chars[2] != '\0' ? c >= chars[0] && c <= chars[2] : c == chars[0])
            return true;
    return false;
}

/* name is the field's, or that of one of several strings. */
static int check_string(const struct field *field, const char *name, struct str value, char error[FIELD_ERROR_SIZE])
{
    size_t count;
    char is[128];

    if (str_utf8_length(value, &count) < 0) {
        snprintf(error, FIELD_ERROR_SIZE, "%s is not UTF-8", name);
        return -EINVAL;
    }
    if (field->in_bytes)
        count = value.len;
    if (count < (uint64_t)field->min || count > (uint64_t)field->max) {
        snprintf(is, sizeof(is), "%s has %zu %s", name, count, field->in_bytes ? "bytes of UTF-8" : "characters");
        return fail_limit(field, error, is);
    }
    for (size_t i = 0; field->chars != NULL && i < value.len; i++)
        if (!is_in(value.s[i], field->chars)) {
            snprintf(error, FIELD_ERROR_SIZE, "%s may only contain %s", name, field->chars);
            return -EINVAL;
        }
    return 0;
}

int field_check_string(const struct field *field, struct str value, char error[FIELD_ERROR_SIZE])
{
    return check_string(field, field->name, value, error);
}

static int check_strings(const struct field *field, const struct str *values, unsigned count,
                         char error[FIELD_ERROR_SIZE])
{
    char name[96];
    int err = 0;

    assert(count <= field->max_items);
    for (unsigned i = 0; i < count && err == 0; i++) {
        snprintf(name, sizeof(name), "%s[%u]", field->name, i);
        err = check_string(field, name, values[i], error);
        if (err == 0 && memchr(values[i].s, '\0', values[i].len) != NULL) {
            snprintf(error, FIELD_ERROR_SIZE, "%s must not contain U+0000", name);
            err = -EINVAL;
        }
        for (unsigned k = 0; k < i && err == 0; k++)
            if (str_eq(values[k], values[i])) {
                snprintf(error, FIELD_ERROR_SIZE, "%s[%u] and %s[%u] are the same", field->name, k, field->name, i);
                err = -EINVAL;
            }
    }
    return err;
}

static int check_int(const struct field *field, int64_t value, char error[FIELD_ERROR_SIZE])
{
    char is[128];

    if (value >= field->min && value <= field->max)
        return 0;
    snprintf(is, sizeof(is), "%s is %" PRId64, field->name, value);
    return fail_limit(field, error, is);
}

int fields_check(const struct fields *fields, const void *message, char error[FIELD_ERROR_SIZE])
{
    int err = 0;

    for (const struct field *field = fields->list; field->name != NULL && err == 0; field++)
        switch (field->kind) {
        case FIELD_KIND_INT:
            err = check_int(field, *(const int64_t *)member(field, message), error);
            break;
        case FIELD_KIND_STR:
        case FIELD_KIND_CSTR:
            err = field_check_string(field, string_of(field, message), error);
            break;
        case FIELD_KIND_STRS:
            err = check_strings(field, member(field, message), *count_of(field, message), error);
            break;
        case FIELD_KIND_READ_ONLY:
            break;
        }
    return err;
}

/* ---- names ---- */

const struct field *fields_find(const struct fields *fields, const char *name)
{
    for (const struct field *field = fields->list; field->name != NULL; field++)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

void fields_write_names(const struct fields *fields, struct buf *out)
{
    size_t count = 0, written = 0;

    for (const struct field *field = fields->list; field->name != NULL; field++)
        count += field->kind != FIELD_KIND_READ_ONLY;
    for (const struct field *field = fields->list; field->name != NULL; field++) {
        if (field->kind == FIELD_KIND_READ_ONLY)
            continue;
        if (written > 0)
            buf_append_cstr(out, written + 1 < count ? ", " : " and ");
        buf_append_cstr(out, field->name);
        written++;
    }
}

/* ---- values ---- */

static void write_strings(const struct str *values, unsigned count, struct buf *out)
{
    buf_append_char(out, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_append_json_string(out, values[i]);
    }
    buf_append_char(out, ']');
}

void fields_write_json(const struct fields *fields, const void *message, struct buf *out)
{
    bool first = true;

    for (const struct field *field = fields->list; field->name != NULL; field++) {
        if (field->kind == FIELD_KIND_READ_ONLY)
            continue;
        buf_printf(out, first ? "\"%s\":" : ",\"%s\":", field->name);
        first = false;
        if (field->kind == FIELD_KIND_INT)
            buf_printf(out, "%" PRId64, *(const int64_t *)member(field, message));
        else if (field->kind == FIELD_KIND_STRS)
            write_strings(member(field, message), *count_of(field, message), out);
        else
            buf_append_json_string(out, string_of(field, message));
    }
}

void field_clear(const struct field *field, void *message)
{
    void *at = (char *)message + field->offset;

    if (field->kind == FIELD_KIND_INT)
        *(int64_t *)at = 0;
    else if (field->kind == FIELD_KIND_STR)
        *(struct str *)at = STR("");
    else if (field->kind == FIELD_KIND_CSTR)
        *(const char **)at = "";
    else if (field->kind == FIELD_KIND_STRS)
        *count_of(field, message) = 0;
}
