/* Query parameters: the first line is the name that is asked for, the rest the query. */
#include "fuzz.h"
#include "http_internal.h"

struct request {
    struct http_req req;
    struct fuzz_memory memory;
};

static void *alloc(struct http_req *req, size_t len)
{
    return fuzz_alloc(&((struct request *)req)->memory, len);
}

static const struct http_source source = {.alloc = alloc};

struct seen {
    struct str name, value;
    unsigned count, all;
};

static int look(void *arg, struct str name, struct str value)
{
    struct seen *seen = arg;

    MUST(memchr(name.s, '\0', name.len) == NULL && memchr(value.s, '\0', value.len) == NULL);
    seen->all++;
    if (str_eq(name, seen->name)) {
        seen->count++;
        seen->value = value;
    }
    return 0;
}

static int stop(void *arg, struct str name, struct str value)
{
    return 7;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct request request = {.req.source = &source};
    struct str line = fuzz_until(&input, '\n');
    const char *name = fuzz_cstr(&request.memory,
                                 (struct str){line.s, line.len < HTTP_MAX_QUERY_NAME ? line.len : HTTP_MAX_QUERY_NAME});
    struct seen seen = {.name = str_of(name)};
    struct str value = STR_NULL;
    size_t pairs = 1;
    int each, found;

    request.req.query = fuzz_copy(&request.memory, fuzz_rest(&input));
    for (size_t i = 0; i < request.req.query.len; i++)
        pairs += request.req.query.s[i] == '&';
    each = http_each_query(&request.req, look, &seen);
    found = http_query(&request.req, name, &value);
    MUST((each == 0 || each == -EINVAL) && seen.all <= pairs);
    MUST(found == 0 || found == 1 || found == -EINVAL);
    if (each == 0) {
        MUST(found == (seen.count > 1 ? -EINVAL : (int)seen.count));
        MUST(found != 1 || str_eq(value, seen.value));
        MUST(http_each_query(&request.req, stop, NULL) == (seen.all > 0 ? 7 : 0));
    }
    fuzz_release(&request.memory);
    return 0;
}
