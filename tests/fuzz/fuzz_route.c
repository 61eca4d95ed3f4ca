/* Routes: lines are templates, the last one is a target. Without templates: those of a table that has all kinds. */
#include "fuzz.h"
#include "http_internal.h"

#define MAX_ROUTES 8

static struct http_reply *handler(struct http_req *req)
{
    return http_reply_new(204);
}

static const struct http_route usual[] = {
    {"GET", "/", handler},
    {"GET", "/v1/notes", handler},
    {"POST", "/v1/notes", handler},
    {"GET", "/v1/notes/{id}", handler},
    {"GET", "/v1/notes/own", handler},
    {"GET", "/v1/{kind}/{id}/x", handler},
    {"GET", "/v1/notes/{id}/{part}", handler},
    {"GET", "/{a}/{b}/{c}/{d}", handler},
    {0},
};

static struct str next_segment(struct str *rest)
{
    const char *slash = rest->len > 0 ? memchr(rest->s + 1, '/', rest->len - 1) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - rest->s) : rest->len;
    struct str segment = {rest->s + 1, len - 1};

    *rest = (struct str){rest->s + len, rest->len - len};
    return segment;
}

/* What is not a parameter may be percent-encoded. */
static bool is_literal(struct str wanted, struct str segment)
{
    char decoded[4096];
    size_t len;

    if (str_eq(wanted, segment))
        return true;
    return segment.len <= sizeof(decoded) && http_percent_decode(segment, false, decoded, &len) == 0 &&
           str_eq(wanted, (struct str){decoded, len});
}

/* The definition: segment by segment. */
static bool fits(struct str template, struct str path, struct str params[HTTP_MAX_PARAMS])
{
    unsigned count = 0;

    if (path.len == 0 || path.s[0] != '/')
        return false;
    while (template.len > 0 && path.len > 0) {
        struct str wanted = next_segment(&template), segment = next_segment(&path);
        bool is_param = wanted.len > 2 && wanted.s[0] == '{' && wanted.s[wanted.len - 1] == '}';

        if (is_param ? segment.len == 0 : !is_literal(wanted, segment))
            return false;
        if (is_param)
            params[count++] = segment;
    }
    return template.len == 0 && path.len == 0;
}

static void match(const struct http_paths *paths, struct str path)
{
    struct str params[HTTP_MAX_PARAMS], expected[HTTP_MAX_PARAMS];
    const struct http_path *found = http_paths_match(paths, path, params);

    for (unsigned i = 0; i < paths->count; i++)
        if (fits(str_of(paths->paths[i].template), path, expected)) {
            MUST(found == &paths->paths[i]);
            for (unsigned k = 0; k < found->param_count; k++)
                MUST(params[k].s == expected[k].s && params[k].len == expected[k].len);
            return;
        }
    MUST(found == NULL);
}

static void decode(struct str text, bool plus_is_space)
{
    char *decoded = malloc(text.len + 1), *encoded = malloc(3 * text.len + 1);
    size_t len, again;

    MUST(decoded != NULL && encoded != NULL);
    if (http_percent_decode(text, plus_is_space, decoded, &len) == 0) {
        MUST(len <= text.len && memchr(decoded, '\0', len) == NULL);
        for (size_t i = 0; i < len; i++)
            snprintf(encoded + 3 * i, 4, "%%%02x", (unsigned char)decoded[i]);
        MUST(http_percent_decode((struct str){encoded, 3 * len}, false, encoded, &again) == 0 && again == len &&
             memcmp(encoded, decoded, len) == 0);
    }
    free(decoded);
    free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    struct http_route routes[MAX_ROUTES + 1] = {0};
    struct http_req req = {0};
    struct http_paths paths = {0};
    struct str line = fuzz_until(&input, '\n');
    unsigned count = 0;

    for (; input.left > 0 && count < MAX_ROUTES; line = fuzz_until(&input, '\n'))
        routes[count++] = (struct http_route){"GET", fuzz_cstr(&memory, line), handler};
    http_target_split(fuzz_copy(&memory, line), &req);
    MUST(req.path.len + req.query.len <= line.len + 1 && memchr(req.path.s, '?', req.path.len) == NULL);
    decode(req.path, false);
    decode(req.query, true);
    if (http_paths_open(count > 0 ? routes : usual, &paths) == 0)
        match(&paths, req.path);
    http_paths_release(&paths);
    fuzz_release(&memory);
    return 0;
}
