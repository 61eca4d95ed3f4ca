/* Handlers of notes without a server (http_try): a request is lines: the method and the target, headers as "name
 * value", an empty line; then the body. The answer is checked, and where it is a page with a next one, that is asked
 * for.
 */
#include "http_try.h"
#include "notes.h"

#define MAX_HEADERS 6

static struct notes *notes;

static struct http_reply *ask(const struct http_try *request)
{
    struct http_reply *reply = http_try(routes, notes, request);

    service_check_log(notes->log);
    return reply;
}

/* A problem says what is wrong, under the title of its status. */
static void check_problem(const json_t *body, int status)
{
    const char *detail = json_string_value(json_object_get(body, "detail"));

    MUST(json_integer_value(json_object_get(body, "status")) == status);
    MUST(detail != NULL && strlen(detail) > 5);
    MUST((status >= 400 && status <= 422) || status == 507);
}

static void ask_next(const char *cursor)
{
    char target[64];
    struct http_reply *reply;

    snprintf(target, sizeof(target), "/v1/notes?cursor=%s", cursor);
    reply = ask(&(struct http_try){.method = "GET", .target = target});
    MUST(http_reply_status(reply) == 200);
    http_reply_free(reply);
}

/* What a note says is accepted again, and makes the same note. */
static void put_again(const json_t *note)
{
    json_t *copy = json_pack("{s:O, s:O, s:O}", "title", json_object_get(note, "title"), "body",
                             json_object_get(note, "body"), "tags", json_object_get(note, "tags"));
    char *text = json_dumps(copy, JSON_COMPACT), target[64];
    const struct http_try_header type[] = {{"content-type", "application/json"}, {0}};
    struct http_reply *reply;
    json_t *same;

    snprintf(target, sizeof(target), "/v1/notes/%s", json_string_value(json_object_get(note, "id")));
    reply = ask(&(struct http_try){.method = "PUT", .target = target, .headers = type, .body = str_of(text)});
    MUST(http_reply_status(reply) == 200 || http_reply_status(reply) == 404); /* 404: DELETE of the same one */
    if (http_reply_status(reply) == 200) {
        same = json_loadb(http_reply_body(reply).s, http_reply_body(reply).len, JSON_ALLOW_NUL, NULL);
        MUST(json_equal(json_object_get(same, "title"), json_object_get(note, "title")));
        MUST(json_equal(json_object_get(same, "body"), json_object_get(note, "body")));
        MUST(json_equal(json_object_get(same, "tags"), json_object_get(note, "tags")));
        json_decref(same);
    }
    http_reply_free(reply);
    free(text);
    json_decref(copy);
}

static void check(struct http_reply *reply)
{
    struct str text = http_reply_body(reply);
    int status = http_reply_status(reply);
    json_t *body = text.len > 0 ? json_loadb(text.s, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL) : NULL;
    const char *cursor = json_string_value(json_object_get(body, "next_cursor"));

    MUST((text.len == 0) == (body == NULL) && (body != NULL || status < 400));
    if (status >= 400)
        check_problem(body, status);
    else if (cursor != NULL)
        ask_next(cursor);
    else if (json_is_string(json_object_get(body, "id")))
        put_again(body);
    json_decref(body);
}

static void read_line(struct fuzz_input *input, struct fuzz_memory *memory, const char **first, const char **second)
{
    struct str line = fuzz_until(input, '\n');
    const char *space = line.len > 0 ? memchr(line.s, ' ', line.len) : NULL;
    size_t len = space != NULL ? (size_t)(space - line.s) : line.len;

    *first = fuzz_cstr(memory, (struct str){line.s, len});
    *second = fuzz_cstr(memory, (struct str){line.s + len + (space != NULL), line.len - len - (space != NULL)});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    struct http_try_header headers[MAX_HEADERS + 1] = {0};
    struct http_try request = {.headers = headers};
    struct http_reply *reply;

    if (notes == NULL)
        notes = notes_open();
    read_line(&input, &memory, &request.method, &request.target);
    for (unsigned i = 0; i < MAX_HEADERS; i++) {
        read_line(&input, &memory, &headers[i].name, &headers[i].value);
        if (headers[i].name[0] == '\0')
            break;
    }
    request.body = fuzz_copy(&memory, fuzz_rest(&input));
    reply = ask(&request);
    check(reply);
    http_reply_free(reply);
    fuzz_release(&memory);
    return 0;
}
