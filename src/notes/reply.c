/* Parts of answers that several handlers give, and of requests that several read. */
#include "notes.h"
#include <errno.h>

#define MAX_STALE_S (365 * 24 * 3600) /* also what max-stale without a number means */

struct http_reply *notes_reply(int status, const struct note *note, const struct uuid *id)
{
    struct buf body = {0};

    note_write_json(note, id, &body);
    return http_reply_take(status, "application/json", &body);
}

struct http_reply *notes_set_etag(struct http_reply *reply, uint64_t seq)
{
    return http_set_header(reply, "etag", "\"%llu\"", (unsigned long long)seq);
}

struct http_reply *notes_set_age(struct http_reply *reply, const struct store_snapshot *snapshot)
{
    uint64_t age_s = (store_age_ms(snapshot) + 999) / 1000;

    return age_s > 0 ? http_set_header(reply, "age", "%llu", (unsigned long long)age_s) : reply;
}

struct http_reply *notes_not_found(void)
{
    return http_problem(404, "there is no such note");
}

struct http_reply *notes_store_problem(int err)
{
    return http_problem_errno(err, err == -ENOSPC ? "the data has reached its limit" : "the store");
}

static struct str trim(struct str s)
{
    while (s.len > 0 && (s.s[0] == ' ' || s.s[0] == '\t'))
        s = (struct str){s.s + 1, s.len - 1};
    while (s.len > 0 && (s.s[s.len - 1] == ' ' || s.s[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static int read_directive(struct str directive, uint64_t *ms)
{
    static const struct str name = {"max-stale", 9};
    uint64_t seconds = MAX_STALE_S;
    int err;

    if (directive.len < name.len || !str_caseeq((struct str){directive.s, name.len}, name))
        return 0;
    directive = (struct str){directive.s + name.len, directive.len - name.len};
    if (directive.len > 0 && directive.s[0] != '=')
        return 0; /* another one */
    if (directive.len > 0) {
        err = str_to_u64((struct str){directive.s + 1, directive.len - 1}, MAX_STALE_S, &seconds);
        if (err == -EINVAL)
            return err;
    }
    *ms = seconds * 1000;
    return 0;
}

static int read_directives(void *arg, struct str value)
{
    int err = 0;

    while (value.len > 0 && err == 0) {
        const char *comma = memchr(value.s, ',', value.len);
        size_t len = comma != NULL ? (size_t)(comma - value.s) : value.len;

        err = read_directive(trim((struct str){value.s, len}), arg);
        value = comma != NULL ? (struct str){comma + 1, value.len - len - 1} : (struct str){NULL, 0};
    }
    return err;
}

int notes_max_stale(struct http_req *req, uint64_t *ret_ms)
{
    uint64_t ms = 0;
    int err = http_each_header(req, "cache-control", read_directives, &ms);

    if (err == 0)
        *ret_ms = ms;
    return err;
}
