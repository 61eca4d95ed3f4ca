/* Entity tags of compressed replies (RFC 9110, 8.8.3).
 *
 * A representation that is compressed has other bytes than one that is not, and so another strong entity tag: the
 * handler's "x" is sent as "x-gzip". Its state is the same. So a client may name either in If-Match and If-None-Match:
 * handlers see "x". A weak tag would be simpler, but If-Match does not accept weak tags, so that clients could not
 * change what they have read compressed. */
#include "http_internal.h"
#include <string.h>

#define SUFFIX_LEN (sizeof(HTTP_TAG_SUFFIX) - 1)

bool http_is_condition(const char *name)
{
    return strcmp(name, "if-match") == 0 || strcmp(name, "if-none-match") == 0;
}

static bool ends_coded(struct str text, size_t at)
{
    return text.len - at >= SUFFIX_LEN && memcmp(text.s + at, HTTP_TAG_SUFFIX, SUFFIX_LEN) == 0;
}

struct str http_tags_uncoded(const struct http_req *req, struct str tags)
{
    char *to;
    size_t len = 0;

    if (tags.len == 0 || memmem(tags.s, tags.len, HTTP_TAG_SUFFIX, SUFFIX_LEN) == NULL)
        return tags;
    to = req->source->alloc((struct http_req *)req, tags.len);
    for (size_t i = 0; i < tags.len; i++) {
        if (ends_coded(tags, i))
            i += SUFFIX_LEN - 1; /* up to its quote */
        to[len++] = tags.s[i];
    }
    return (struct str){to, len};
}

/* Takes an entity tag off the front of a list, without quotes. False: no more. */
static bool next_tag(struct str *rest, struct str *ret_tag, bool *ret_weak)
{
    const char *begin = rest->len > 0 ? memchr(rest->s, '"', rest->len) : NULL;
    const char *end, *past = rest->s + rest->len;

    if (begin == NULL || (end = memchr(begin + 1, '"', (size_t)(past - begin - 1))) == NULL)
        return false;
    *ret_weak = begin - rest->s >= 2 && begin[-1] == '/' && begin[-2] == 'W';
    *ret_tag = (struct str){begin + 1, (size_t)(end - begin - 1)};
    *rest = (struct str){end + 1, (size_t)(past - end - 1)};
    return true;
}

struct wanted {
    const char *tag;
    size_t len;
    bool coded, weak_counts, any_counts;
};

static bool is_wanted(const struct wanted *wanted, struct str tag)
{
    size_t suffix = wanted->coded ? SUFFIX_LEN - 1 : 0;

    return tag.len == wanted->len + suffix && memcmp(tag.s, wanted->tag, wanted->len) == 0 &&
           memcmp(tag.s + wanted->len, HTTP_TAG_SUFFIX, suffix) == 0;
}

static int find_tag(void *arg, struct str list)
{
    const struct wanted *wanted = arg;
    struct str tag;
    bool weak;

    if (wanted->any_counts && str_eq(list, STR("*")))
        return 1;
    while (next_tag(&list, &tag, &weak))
        if ((!weak || wanted->weak_counts) && is_wanted(wanted, tag))
            return 1;
    return 0;
}

bool http_tag_is_listed(const struct http_req *req, const char *name, struct str tag, bool coded, enum http_tag_how how)
{
    struct wanted wanted = {tag.s, tag.len, coded, how == HTTP_TAG_WEAKLY, how != HTTP_TAG_ITSELF};

    return req->source->each_header(req, str_of(name), find_tag, &wanted) != 0;
}
