/* traces -- the spans of the last minutes, by trace, in bounded memory.
 *
 * Spans are found by the id of their trace. When max bytes are used, whole traces go, the oldest first, but ordinary
 * ones before those with an error or a slow request, as long as these have no more than half of the memory (their
 * strings are not counted). When traces would not stay for TRACES_KEEP_MIN_MS that way, fewer ordinary ones are taken
 * in from then on: those whose id is below a threshold, so that a trace is taken in whole or not at all.
 *
 * Times are given by the caller, in ms of one clock. One thread at a time.
 */
#pragma once
#include "kept.h"
#include <sys/queue.h>

#define TRACES_MAX_SPANS   2000 /* of a trace; further ones are left out, and the trace is not complete */
#define TRACES_KEEP_MIN_MS 60000
#define TRACES_KEEP_MAX_MS 180000 /* from here on more is taken in again */

struct traces_span {
    struct traces_span *next; /* of the trace, as they came */
    uint8_t id[8], parent_id[8];
    bool has_parent, failed;
    uint8_t kind;
    uint64_t start_ns, duration_ns;
    struct intern_string *service, *instance, *name, *message;
    struct kept_pairs attributes;
};

struct traces_trace {
    TAILQ_ENTRY(traces_trace) entry;
    struct traces_trace *next_in_bucket, **link;
    uint8_t id[16];
    struct traces_span *first, *last;
    struct traces_span *root; /* without a parent; NULL: has not come */
    unsigned span_count, left_out;
    bool important, failed;
    uint64_t start_ns, end_ns; /* of all spans */
    uint64_t arrived_ms;
};

TAILQ_HEAD(traces_list, traces_trace);

struct traces {
    struct intern strings;
    struct traces_trace **buckets;
    size_t bucket_count;
    struct traces_list ordinary, important; /* the oldest first */
    size_t used, important_used, max;       /* bytes */
    uint64_t threshold;                     /* of the sampled part of an id, TRACES_ALL: every trace is taken */
    uint64_t changed_ms, added;             /* the last decision, and bytes that have come since */
    uint64_t sampled_out;                   /* spans that were not taken, or went before TRACES_KEEP_MIN_MS */
    uint64_t slow_ns;                       /* a span of this length makes its trace important; UINT64_MAX: none does */
};
#define TRACES_ALL UINT64_MAX

/* 0 or -ENOMEM. max: bytes of all that is kept, at least 64 KiB. */
int traces_open(struct traces *traces, size_t max);
void traces_release(struct traces *traces); /* a zeroed one is fine */

/* Adds a span. *ret_trace is its trace, *ret_span the span in it; both NULL where it was not taken. -EINVAL: its ids
 * are not 16 and 8 bytes that are not all zero. */
int traces_add(struct traces *traces, const struct otlp_span_view *view, struct str service, struct str instance,
               uint64_t now_ms, struct traces_trace **ret_trace, struct traces_span **ret_span);
/* Once a second: decides how many ordinary traces are taken in. */
void traces_tick(struct traces *traces, uint64_t now_ms);
struct traces_trace *traces_find(const struct traces *traces, const uint8_t id[16]);
/* For how many traces one that is taken in now stands; 1 or more. */
double traces_weight(const struct traces *traces, const struct traces_trace *trace);
/* A span of a trace; NULL: it has not come. */
struct traces_span *traces_find_span(const struct traces_trace *trace, const uint8_t id[8]);
/* All parents of its spans are there. False for one of more than 500 spans. */
bool traces_is_complete(const struct traces_trace *trace);
/* Calls each for all traces, the newest first, until it returns false. */
void traces_each(const struct traces *traces, bool (*each)(void *arg, const struct traces_trace *trace), void *arg);
