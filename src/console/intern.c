#include "intern.h"
#include "fnv.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define MAX_CHAIN 32 /* strings of one bucket that are looked at: beyond it a string may be kept twice */
#define ELLIPSIS  "\xe2\x80\xa6"

int intern_open(struct intern *intern, size_t bucket_count, size_t *used)
{
    assert((bucket_count & (bucket_count - 1)) == 0);
    *intern = (struct intern){.bucket_count = bucket_count, .used = used, .seed = FNV_BEGIN};
    intern->buckets = calloc(bucket_count, sizeof(*intern->buckets));
    if (intern->buckets == NULL)
        return -ENOMEM;
    if (getrandom(&intern->seed, sizeof(intern->seed), GRND_NONBLOCK) != sizeof(intern->seed))
        intern->seed = FNV_BEGIN;
    *used += intern_heap_bytes(bucket_count * sizeof(*intern->buckets));
    return 0;
}

void intern_release(struct intern *intern)
{
    for (size_t i = 0; intern->buckets != NULL && i < intern->bucket_count; i++)
        assert(intern->buckets[i] == NULL);
    free(intern->buckets);
    intern->buckets = NULL;
}

static struct intern_string *find(struct intern_string *string, uint64_t hash, struct str text)
{
    for (unsigned seen = 0; string != NULL && seen < MAX_CHAIN; string = string->next, seen++)
        if (string->hash == hash && string->len == text.len && memcmp(string->s, text.s, text.len) == 0)
            return string;
    return NULL;
}

static size_t size_of(size_t len)
{
    return intern_heap_bytes(sizeof(struct intern_string) + len);
}

static struct intern_string *add(struct intern *intern, uint64_t hash, struct str text)
{
    struct intern_string **link = &intern->buckets[hash & (intern->bucket_count - 1)];
    struct intern_string *string = malloc(sizeof(*string) + text.len);

    if (string == NULL)
        return NULL;
    *string = (struct intern_string){.next = *link, .link = link, .hash = hash, .len = (uint32_t)text.len};
    memcpy(string->s, text.s, text.len);
    if (*link != NULL)
        (*link)->link = &string->next;
    *link = string;
    *intern->used += size_of(text.len);
    return string;
}

/* text, or its beginning in to. */
static struct str cut(struct str text, char to[INTERN_MAX])
{
    size_t len = INTERN_MAX - strlen(ELLIPSIS);

    if (text.len <= INTERN_MAX)
        return text;
    while (len > 0 && ((unsigned char)text.s[len] & 0xc0) == 0x80)
        len--;
    memcpy(to, text.s, len);
    memcpy(to + len, ELLIPSIS, strlen(ELLIPSIS));
    return (struct str){to, len + strlen(ELLIPSIS)};
}

struct intern_string *intern_get(struct intern *intern, struct str text)
{
    char room[INTERN_MAX];
    struct intern_string *string;
    uint64_t hash;

    if (text.len == 0)
        return NULL;
    text = cut(text, room);
    hash = fnv_str(intern->seed, text);
    string = find(intern->buckets[hash & (intern->bucket_count - 1)], hash, text);
    if (string == NULL)
        string = add(intern, hash, text);
    if (string != NULL)
        string->references++;
    return string;
}

void intern_put(struct intern *intern, struct intern_string *string)
{
    if (string == NULL || --string->references > 0)
        return;
    *string->link = string->next;
    if (string->next != NULL)
        string->next->link = string->link;
    *intern->used -= size_of(string->len);
    free(string);
}
