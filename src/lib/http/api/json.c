#include "http_json.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

/* ---- loading ---- */

/* jansson reports some failed allocations as errors of syntax: so they are noticed where they fail. */
static __thread bool out_of_memory;

static void *allocate(size_t size)
{
    void *p = malloc(size);

    out_of_memory = out_of_memory || p == NULL;
    return p;
}

/* Before there are threads. */
__attribute__((constructor)) static void set_allocator(void)
{
    json_set_alloc_funcs(allocate, free);
}

int http_json_load(struct str text, size_t flags, json_t **ret_json, json_error_t *ret_error)
{
    json_t *json;

    out_of_memory = false;
    json = json_loadb(text.s != NULL ? text.s : "", text.len, flags, ret_error);
    if (json == NULL)
        return out_of_memory ? -ENOMEM : -EINVAL;
    *ret_json = json;
    return 0;
}

/* ---- the body ---- */

/* The media type without its parameters. */
static struct str media_type(struct str header)
{
    const char *end = header.len > 0 ? memchr(header.s, ';', header.len) : NULL;

    if (end != NULL)
        header.len = (size_t)(end - header.s);
    return str_trim(header);
}

struct http_reply *http_json_parse(struct http_req *req, const char *content_type, json_t **ret_json)
{
    const char *accept = strcmp(req->route->method, "PATCH") == 0 ? "accept-patch" : "accept";
    json_error_t error;
    json_t *json;
    int err;

    if (!str_caseeq(media_type(http_header(req, "content-type")), str_of(content_type)))
        return http_set_header(http_problem(415, "the content must be %s", content_type), accept, "%s", content_type);
    err = http_json_load(req->body, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &json, &error);
    if (err == -ENOMEM)
        return http_problem_errno(err, NULL);
    if (err < 0)
        return http_problem(400, "not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return http_problem(400, "the content must be a JSON object");
    }
    *ret_json = json;
    return NULL;
}

/* ---- its fields ---- */

static void *member(const struct field *field, void *message)
{
    return (char *)message + field->offset;
}

static struct str string_of(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

static struct http_reply *take_int(const struct field *field, const json_t *value, void *message)
{
    if (!json_is_integer(value))
        return http_problem(400, "%s must be an integer", field->name);
    *(int64_t *)member(field, message) = json_integer_value(value);
    return NULL;
}

static struct http_reply *take_string(const struct field *field, const json_t *value, void *message)
{
    struct str string;

    if (!json_is_string(value))
        return http_problem(400, "%s must be a string", field->name);
    string = string_of(value);
    if (field->kind == FIELD_KIND_STR)
        *(struct str *)member(field, message) = string;
    else if (memchr(string.s, '\0', string.len) == NULL)
        *(const char **)member(field, message) = string.s;
    else
        return http_problem(400, "%s must not contain U+0000", field->name);
    return NULL;
}

static struct http_reply *take_strings(const struct field *field, const json_t *value, void *message)
{
    struct str *strings = member(field, message);
    size_t count = json_array_size(value);

    if (!json_is_array(value))
        return http_problem(400, "%s must be an array of strings", field->name);
    for (size_t i = 0; i < count; i++)
        if (!json_is_string(json_array_get(value, i)))
            return http_problem(400, "%s[%zu] must be a string", field->name, i);
    if (count > field->max_items)
        return http_problem(422, "%s has %zu elements, at most %u are allowed", field->name, count, field->max_items);
    *(unsigned *)((char *)message + field->count_offset) = (unsigned)count;
    for (size_t i = 0; i < count; i++)
        strings[i] = string_of(json_array_get(value, i));
    return NULL;
}

static struct http_reply *unknown_field(const struct fields *fields, const char *name)
{
    struct http_reply *problem;
    struct buf names = {0};

    fields_write_names(fields, &names);
    problem = names.failed ? http_problem_errno(-ENOMEM, NULL)
                           : http_problem(400, "unknown member \"%.64s\": %s has %.*s", name, fields->what,
                                          (int)names.len, names.data);
    buf_release(&names);
    return problem;
}

static struct http_reply *take_field(const struct field *field, const json_t *value, void *message)
{
    switch (field->kind) {
    case FIELD_KIND_INT:
        return take_int(field, value, message);
    case FIELD_KIND_STR:
    case FIELD_KIND_CSTR:
        return take_string(field, value, message);
    case FIELD_KIND_STRS:
        return take_strings(field, value, message);
    case FIELD_KIND_READ_ONLY:
        break;
    }
    return http_problem(400, "%s is set by the server", field->name);
}

/* In a patch, null removes a member: it is as if a whole message had come without it. */
static struct http_reply *take_fields(const json_t *json, const struct fields *fields, bool patch, void *message)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)json, name, value)
    {
        const struct field *field = fields_find(fields, name);
        struct http_reply *problem = NULL;

        if (field == NULL)
            return unknown_field(fields, name);
        if (patch && json_is_null(value) && field->kind != FIELD_KIND_READ_ONLY)
            field_clear(field, message);
        else if ((problem = take_field(field, value, message)) != NULL)
            return problem;
    }
    return NULL;
}

/* A number has no value that says that it is missing. */
static struct http_reply *check_required(const json_t *json, const struct fields *fields, bool patch)
{
    for (const struct field *field = fields->list; field->name != NULL; field++) {
        const json_t *value = json_object_get(json, field->name);

        if (field->kind == FIELD_KIND_INT && !field->optional && (patch ? json_is_null(value) : value == NULL))
            return http_problem(422, "%s is required", field->name);
    }
    return NULL;
}

struct http_reply *http_json_take(const json_t *json, const struct fields *fields, bool patch, void *message)
{
    struct http_reply *problem = take_fields(json, fields, patch, message);
    char error[FIELD_ERROR_SIZE];

    if (problem == NULL)
        problem = check_required(json, fields, patch);
    if (problem == NULL && fields_check(fields, message, error) < 0)
        problem = http_problem(422, "%s", error);
    return problem;
}

static void release_json(void *json)
{
    json_decref(json);
}

struct http_reply *http_json_read(struct http_req *req, const struct fields *fields, void *message)
{
    json_t *json;
    struct http_reply *problem = http_json_parse(req, "application/json", &json);

    if (problem != NULL)
        return problem;
    http_keep(req, json, release_json);
    return http_json_take(json, fields, false, message);
}

/* ---- replies ---- */

struct http_reply *http_json_reply(int status, const struct fields *fields, const void *message)
{
    struct buf body = {0};

    buf_append_char(&body, '{');
    fields_write_json(fields, message, &body);
    buf_append_char(&body, '}');
    return http_reply_take(status, "application/json", &body);
}
