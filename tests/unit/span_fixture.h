/* span_fixture -- a sink that keeps what matters of the spans that it gets. */
#pragma once
#include "span.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define SPAN_FIXTURE_MAX 64

struct kept_span {
    struct trace trace;
    enum span_kind kind;
    char name[128], attributes[1024]; /* "key=value;" each */
    bool failed;
};

struct span_fixture {
    struct span_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
    struct kept_span spans[SPAN_FIXTURE_MAX];
};

static inline void span_fixture_put(struct span_sink *sink, const struct span *span)
{
    struct span_fixture *fixture = (struct span_fixture *)sink;
    struct kept_span *kept;
    size_t len = 0;

    pthread_mutex_lock(&fixture->lock);
    cr_assert_lt(fixture->count, SPAN_FIXTURE_MAX);
    cr_assert_leq(span->attribute_count, SPAN_MAX_ATTRIBUTES);
    kept = &fixture->spans[fixture->count++];
    *kept = (struct kept_span){.trace = *span->trace, .kind = span->kind, .failed = span->failed};
    snprintf(kept->name, sizeof(kept->name), "%.*s", STR_ARG(span->name));
    for (size_t i = 0; i < span->attribute_count; i++) {
        const struct span_attribute *each = &span->attributes[i];

        if (each->kind == SPAN_INTEGER)
            len += (size_t)snprintf(kept->attributes + len, sizeof(kept->attributes) - len, "%s=%lld;", each->key,
                                    (long long)each->integer);
        else if (each->string.len > 0)
            len += (size_t)snprintf(kept->attributes + len, sizeof(kept->attributes) - len, "%s=%.*s;", each->key,
                                    STR_ARG(each->string));
    }
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static inline void span_fixture_init(struct span_fixture *fixture)
{
    *fixture = (struct span_fixture){.sink = {.sampler = {.below = SPAN_ALL}, .put = span_fixture_put}};
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
}

/* The span of that name, once it is there. */
static inline const struct kept_span *span_fixture_wait(struct span_fixture *fixture, const char *name)
{
    const struct kept_span *found = NULL;
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&fixture->lock);
    for (unsigned seen = 0; found == NULL; seen++) {
        while (seen == fixture->count)
            cr_assert_eq(pthread_cond_timedwait(&fixture->changed, &fixture->lock, &until), 0, "no span %s", name);
        if (strcmp(fixture->spans[seen].name, name) == 0)
            found = &fixture->spans[seen];
    }
    pthread_mutex_unlock(&fixture->lock);
    return found;
}
