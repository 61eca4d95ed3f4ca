#include "input.h"
#include <errno.h>
#include <string.h>

/* ---- the request ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The media type without its parameters. */
static struct str media_type(struct str header)
{
    const char *end = header.len > 0 ? memchr(header.s, ';', header.len) : NULL;

    if (end != NULL)
        header.len = (size_t)(end - header.s);
    while (header.len > 0 && is_space(header.s[header.len - 1]))
        header.len--;
    while (header.len > 0 && is_space(header.s[0]))
        header = (struct str){header.s + 1, header.len - 1};
    return header;
}

struct http_reply *input_read(struct http_req *req, const char *content_type, json_t **ret_json)
{
    const char *accept = strcmp(req->route->method, "PATCH") == 0 ? "accept-patch" : "accept";
    json_error_t error;
    json_t *json;

    if (!str_caseeq(media_type(http_header(req, "content-type")), str_of(content_type)))
        return http_set_header(http_problem(415, "the content must be %s", content_type), accept, "%s", content_type);
    json = json_loadb(req->body.s != NULL ? req->body.s : "", req->body.len,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (json == NULL)
        return http_problem(400, "not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return http_problem(400, "the content must be a JSON object");
    }
    *ret_json = json;
    return NULL;
}

/* ---- form: members and their types ---- */

static struct str string_of(const json_t *json)
{
    return (struct str){json_string_value(json), json_string_length(json)};
}

static struct http_reply *take_string(const char *name, const json_t *value, struct str *ret_string)
{
    if (!json_is_string(value))
        return http_problem(400, "%s must be a string", name);
    *ret_string = string_of(value);
    return NULL;
}

static struct http_reply *take_tags(const json_t *value, struct note *note)
{
    size_t count = json_array_size(value);

    if (!json_is_array(value))
        return http_problem(400, "tags must be an array of strings");
    for (size_t i = 0; i < count; i++)
        if (!json_is_string(json_array_get(value, i)))
            return http_problem(400, "tags[%zu] must be a string", i);
    if (count > NOTE_MAX_TAGS)
        return http_problem(422, "tags has %zu elements, at most %d are allowed", count, NOTE_MAX_TAGS);
    note->tag_count = (unsigned)count;
    for (size_t i = 0; i < count; i++)
        note->tags[i] = string_of(json_array_get(value, i));
    return NULL;
}

static struct http_reply *take_member(const char *name, const json_t *value, struct note *note)
{
    if (strcmp(name, "title") == 0)
        return take_string(name, value, &note->title);
    if (strcmp(name, "body") == 0)
        return take_string(name, value, &note->body);
    if (strcmp(name, "tags") == 0)
        return take_tags(value, note);
    if (strcmp(name, "id") == 0 || strcmp(name, "created_at") == 0 || strcmp(name, "updated_at") == 0)
        return http_problem(400, "%s is set by the server", name);
    return http_problem(400, "unknown member \"%.64s\": a note has title, body and tags", name);
}

/* In a patch, null removes a member: it is as if a whole note had come without it. */
static struct http_reply *remove_member(const char *name, struct note *note)
{
    if (strcmp(name, "title") == 0)
        note->title = STR("");
    else if (strcmp(name, "body") == 0)
        note->body = STR("");
    else if (strcmp(name, "tags") == 0)
        note->tag_count = 0;
    else
        return take_member(name, json_null(), note);
    return NULL;
}

static struct http_reply *take_members(json_t *json, bool patch, struct note *note)
{
    struct http_reply *problem;
    const char *name;
    json_t *value;

    json_object_foreach(json, name, value)
    {
        problem = patch && json_is_null(value) ? remove_member(name, note) : take_member(name, value, note);
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

/* ---- limits ---- */

static size_t code_points(struct str s)
{
    size_t count = 0;

    str_utf8_length(s, &count); /* JSON has been checked to be UTF-8 */
    return count;
}

static struct http_reply *check_tag(const struct note *note, unsigned i)
{
    size_t count = code_points(note->tags[i]);

    if (count < 1 || count > NOTE_MAX_TAG)
        return http_problem(422, "tags[%u] has %zu characters, 1 to %d are allowed", i, count, NOTE_MAX_TAG);
    for (unsigned k = 0; k < i; k++)
        if (str_eq(note->tags[k], note->tags[i]))
            return http_problem(422, "tags[%u] and tags[%u] are the same", k, i);
    return NULL;
}

static struct http_reply *check_limits(const struct note *note)
{
    size_t count = code_points(note->title);

    if (count < 1 || count > NOTE_MAX_TITLE)
        return http_problem(422, "title has %zu characters, 1 to %d are allowed", count, NOTE_MAX_TITLE);
    if (note->body.len > NOTE_MAX_BODY)
        return http_problem(422, "body has %zu bytes of UTF-8, at most %d are allowed", note->body.len, NOTE_MAX_BODY);
    for (unsigned i = 0; i < note->tag_count; i++) {
        struct http_reply *problem = check_tag(note, i);

        if (problem != NULL)
            return problem;
    }
    return NULL;
}

/* ---- whole notes and patches ---- */

static struct http_reply *take_note(json_t *json, bool patch, struct note *note)
{
    struct http_reply *problem = take_members(json, patch, note);

    return problem != NULL ? problem : check_limits(note);
}

struct http_reply *input_note(json_t *json, struct note *ret_note)
{
    *ret_note = (struct note){.title = STR("")};
    return take_note(json, false, ret_note);
}

struct http_reply *input_patch(json_t *patch, struct note *note)
{
    return take_note(patch, true, note);
}
