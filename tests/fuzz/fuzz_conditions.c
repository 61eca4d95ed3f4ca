/* If-Match and If-None-Match: a line is the value of a header, which its first character says. */
#include "../../src/notes/conditions.h"
#include "fuzz.h"
#include "http_internal.h"
#include <jansson.h>

#define MAX_HEADERS 8

struct request {
    struct http_req req;
    unsigned count;
    struct str names[MAX_HEADERS], values[MAX_HEADERS];
};

static int each_header(const struct http_req *req, struct str name, int (*each)(void *arg, struct str value), void *arg)
{
    const struct request *request = (const struct request *)req;
    int result = 0;

    for (unsigned i = 0; i < request->count && result == 0; i++)
        if (str_eq(request->names[i], name))
            result = each(arg, request->values[i]);
    return result;
}

static const struct http_source source = {.each_header = each_header};

static void check_problem(struct http_reply *problem)
{
    struct trace trace = {.sampled = false};
    json_t *body;
    const char *detail;

    MUST(http_reply_status(problem) == 400);
    problem = http_reply_render(problem, &trace);
    body = json_loadb(http_reply_body(problem).s, http_reply_body(problem).len, 0, NULL);
    MUST((detail = json_string_value(json_object_get(body, "detail"))) != NULL);
    MUST(strncmp(detail, "if-match: ", 10) == 0 || strncmp(detail, "if-none-match: ", 15) == 0);
    json_decref(body);
    http_reply_free(problem);
}

/* Written anew it means the same. */
static void check_again(const struct condition *condition, const char *name)
{
    struct request request = {.req.source = &source, .count = 1, .names = {str_of(name)}};
    struct conditions again;
    struct condition *same = strcmp(name, "if-match") == 0 ? &again.match : &again.none_match;
    struct buf value = {0};

    for (unsigned i = 0; i < condition->count; i++)
        buf_printf(&value, "%s\"%llu\"", i > 0 ? ", " : "", (unsigned long long)condition->seqs[i]);
    request.values[0] = buf_str(&value);
    MUST(conditions_read(&request.req, &again) == NULL && same->count == condition->count);
    MUST(memcmp(same->seqs, condition->seqs, condition->count * sizeof(condition->seqs[0])) == 0);
    buf_release(&value);
}

static void check(const struct conditions *conditions)
{
    uint64_t seq = conditions->match.count > 0 ? conditions->match.seqs[conditions->match.count - 1] : 1;
    int status = conditions_check(conditions, seq, false), get = conditions_check(conditions, seq, true);

    MUST(conditions->match.count <= CONDITIONS_MAX_TAGS && conditions->none_match.count <= CONDITIONS_MAX_TAGS);
    MUST((status == 0 || status == 412) && (get == 0 || get == 304 || get == 412) && (status == 0) == (get == 0));
    if (conditions->match.given && !conditions->match.any && conditions->match.count == 0)
        MUST(status == 412);
    check_again(&conditions->match, "if-match");
    check_again(&conditions->none_match, "if-none-match");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    struct request request = {.req.source = &source};
    struct conditions conditions;
    struct http_reply *problem;

    while (input.left > 0 && request.count < MAX_HEADERS) {
        request.names[request.count] = fuzz_byte(&input) & 1 ? STR("if-match") : STR("if-none-match");
        request.values[request.count++] = fuzz_copy(&memory, fuzz_until(&input, '\n'));
    }
    problem = conditions_read(&request.req, &conditions);
    if (problem != NULL)
        check_problem(problem);
    else
        check(&conditions);
    fuzz_release(&memory);
    return 0;
}
