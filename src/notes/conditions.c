#include "conditions.h"
#include <errno.h>

struct reading {
    struct condition *condition;
    bool weak_counts; /* If-None-Match compares weakly: W/"1" is as good as "1" */
};

static struct str skip(struct str s, const char *set)
{
    while (s.len > 0 && s.s[0] != '\0' && strchr(set, s.s[0]) != NULL)
        s = (struct str){s.s + 1, s.len - 1};
    return s;
}

/* The opaque part of an entity tag at the front of *rest. */
static int take_tag(struct str *rest, struct str *ret_opaque)
{
    const char *end;

    if (rest->len < 2 || rest->s[0] != '"')
        return -EINVAL;
    end = memchr(rest->s + 1, '"', rest->len - 1);
    if (end == NULL)
        return -EINVAL;
    *ret_opaque = (struct str){rest->s + 1, (size_t)(end - rest->s - 1)};
    for (size_t i = 0; i < ret_opaque->len; i++)
        if ((unsigned char)ret_opaque->s[i] < 0x21 || ret_opaque->s[i] == 0x7f)
            return -EINVAL;
    *rest = (struct str){end + 1, rest->len - ret_opaque->len - 2};
    return 0;
}

/* A tag that is not of our making matches nothing. */
static int add_tag(struct condition *condition, struct str opaque)
{
    uint64_t seq;

    if (str_to_u64(opaque, UINT64_MAX, &seq) < 0 || opaque.s[0] == '0')
        return 0;
    if (condition->count == CONDITIONS_MAX_TAGS)
        return -E2BIG;
    condition->seqs[condition->count++] = seq;
    return 0;
}

static int read_tags(struct reading *reading, struct str rest)
{
    for (rest = skip(rest, " \t,"); rest.len > 0; rest = skip(rest, " \t,")) {
        bool weak = rest.len > 2 && rest.s[0] == 'W' && rest.s[1] == '/';
        struct str opaque;
        int err;

        if (weak)
            rest = (struct str){rest.s + 2, rest.len - 2};
        err = take_tag(&rest, &opaque);
        if (err == 0 && (!weak || reading->weak_counts))
            err = add_tag(reading->condition, opaque);
        rest = skip(rest, " \t");
        if (err == 0 && rest.len > 0 && rest.s[0] != ',')
            err = -EINVAL;
        if (err < 0)
            return err;
    }
    return 0;
}

static int read_header(void *arg, struct str value)
{
    struct reading *reading = arg;

    reading->condition->given = true;
    if (str_eq(value, STR("*"))) {
        reading->condition->any = true;
        return 0;
    }
    return read_tags(reading, value);
}

static struct http_reply *read_condition(struct http_req *req, const char *name, bool weak_counts,
                                         struct condition *condition)
{
    struct reading reading = {condition, weak_counts};
    int err = http_each_header(req, name, read_header, &reading);

    if (err == -E2BIG)
        return http_problem(400, "%s: more than %d entity tags", name, CONDITIONS_MAX_TAGS);
    return err < 0 ? http_problem(400, "%s: must be * or a list of entity tags", name) : NULL;
}

struct http_reply *conditions_read(struct http_req *req, struct conditions *ret_conditions)
{
    struct http_reply *problem;

    *ret_conditions = (struct conditions){.match = {.given = false}};
    problem = read_condition(req, "if-match", false, &ret_conditions->match);
    return problem != NULL ? problem : read_condition(req, "if-none-match", true, &ret_conditions->none_match);
}

static bool names(const struct condition *condition, uint64_t seq)
{
    for (unsigned i = 0; i < condition->count; i++)
        if (condition->seqs[i] == seq)
            return true;
    return condition->any;
}

int conditions_check(const struct conditions *conditions, uint64_t seq, bool is_get)
{
    if (conditions->match.given && !names(&conditions->match, seq))
        return 412;
    if (conditions->none_match.given && names(&conditions->none_match, seq))
        return is_get ? 304 : 412;
    return 0;
}
