#include "traces.h"
#include "fnv.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define MIN_BYTES      (64 * 1024)
#define BYTES_A_BUCKET 2048         /* a trace of two spans takes about as much */
#define MIN_THRESHOLD  (1ULL << 44) /* one of a million */
#define DECIDE_MS      2000         /* between two decisions of how many traces are taken in */
#define MIN_FACTOR     0.1
#define MAX_CHECKED    500 /* spans of a trace whose parents are looked for: each is compared with all others */

int traces_open(struct traces *traces, size_t max)
{
    size_t buckets = 64;

    assert(max >= MIN_BYTES);
    *traces = (struct traces){.max = max, .threshold = TRACES_ALL, .slow_ns = UINT64_MAX};
    TAILQ_INIT(&traces->ordinary);
    TAILQ_INIT(&traces->important);
    while (buckets < max / BYTES_A_BUCKET)
        buckets *= 2;
    traces->bucket_count = buckets;
    traces->buckets = calloc(buckets, sizeof(*traces->buckets));
    if (traces->buckets == NULL)
        return -ENOMEM;
    traces->used = intern_heap_bytes(buckets * sizeof(*traces->buckets));
    return intern_open(&traces->strings, buckets, &traces->used);
}

/* ---- what is kept ---- */

static size_t span_bytes(const struct traces_span *span)
{
    return intern_heap_bytes(sizeof(*span) + kept_bytes(span->attributes.count));
}

static void free_span(struct traces *traces, struct traces_span *span)
{
    kept_put(&span->attributes, &traces->strings);
    intern_put(&traces->strings, span->service);
    intern_put(&traces->strings, span->instance);
    intern_put(&traces->strings, span->name);
    intern_put(&traces->strings, span->message);
    traces->used -= span_bytes(span);
    free(span);
}

static size_t trace_bytes(const struct traces_trace *trace)
{
    size_t bytes = intern_heap_bytes(sizeof(*trace));

    for (const struct traces_span *span = trace->first; span != NULL; span = span->next)
        bytes += span_bytes(span);
    return bytes;
}

static struct traces_list *list_of(struct traces *traces, const struct traces_trace *trace)
{
    return trace->important ? &traces->important : &traces->ordinary;
}

static void remove_trace(struct traces *traces, struct traces_trace *trace)
{
    struct traces_span *span;

    TAILQ_REMOVE(list_of(traces, trace), trace, entry);
    if (trace->important)
        traces->important_used -= trace_bytes(trace);
    *trace->link = trace->next_in_bucket;
    if (trace->next_in_bucket != NULL)
        trace->next_in_bucket->link = trace->link;
    while ((span = trace->first) != NULL) {
        trace->first = span->next;
        free_span(traces, span);
    }
    traces->used -= intern_heap_bytes(sizeof(*trace));
    free(trace);
}

void traces_release(struct traces *traces)
{
    for (size_t i = 0; traces->buckets != NULL && i < traces->bucket_count; i++)
        while (traces->buckets[i] != NULL)
            remove_trace(traces, traces->buckets[i]);
    free(traces->buckets);
    intern_release(&traces->strings);
    *traces = (struct traces){.max = 0};
}

/* Ordinary traces go first, unless the others have more than half. */
static struct traces_trace *next_to_go(const struct traces *traces)
{
    struct traces_trace *ordinary = TAILQ_FIRST(&traces->ordinary), *important = TAILQ_FIRST(&traces->important);

    if (ordinary == NULL || (important != NULL && traces->important_used > traces->max / 2))
        return important;
    return ordinary;
}

static void make_room(struct traces *traces, uint64_t now_ms)
{
    while (traces->used > traces->max) {
        struct traces_trace *trace = next_to_go(traces);

        if (trace == NULL)
            return;
        if (now_ms - trace->arrived_ms < TRACES_KEEP_MIN_MS)
            traces->sampled_out += trace->span_count;
        remove_trace(traces, trace);
    }
}

/* ---- lookup ---- */

static struct traces_trace **bucket_of(const struct traces *traces, const uint8_t id[16])
{
    uint64_t hash = fnv_str(traces->strings.seed, (struct str){(const char *)id, 16});

    return &traces->buckets[hash & (traces->bucket_count - 1)];
}

struct traces_trace *traces_find(const struct traces *traces, const uint8_t id[16])
{
    struct traces_trace *trace = *bucket_of(traces, id);

    while (trace != NULL && memcmp(trace->id, id, sizeof(trace->id)) != 0)
        trace = trace->next_in_bucket;
    return trace;
}

struct traces_span *traces_find_span(const struct traces_trace *trace, const uint8_t id[8])
{
    struct traces_span *span = trace->first;

    while (span != NULL && memcmp(span->id, id, sizeof(span->id)) != 0)
        span = span->next;
    return span;
}

bool traces_is_complete(const struct traces_trace *trace)
{
    if (trace->left_out > 0 || trace->root == NULL || trace->span_count > MAX_CHECKED)
        return false;
    for (const struct traces_span *span = trace->first; span != NULL; span = span->next)
        if (span->has_parent && traces_find_span(trace, span->parent_id) == NULL)
            return false;
    return true;
}

/* Both lists are sorted by arrival, so that the newest of all is at the end of one of them. */
void traces_each(const struct traces *traces, bool (*each)(void *arg, const struct traces_trace *trace), void *arg)
{
    const struct traces_trace *ordinary = TAILQ_LAST(&traces->ordinary, traces_list);
    const struct traces_trace *important = TAILQ_LAST(&traces->important, traces_list), *next;

    while (ordinary != NULL || important != NULL) {
        bool from_ordinary = important == NULL || (ordinary != NULL && ordinary->arrived_ms >= important->arrived_ms);

        next = from_ordinary ? ordinary : important;
        if (!each(arg, next))
            return;
        if (from_ordinary)
            ordinary = TAILQ_PREV(ordinary, traces_list, entry);
        else
            important = TAILQ_PREV(important, traces_list, entry);
    }
}

/* ---- sampling ---- */

/* The end of an id is random (W3C Trace Context), and the same in all processes. */
static uint64_t sampled_part(const uint8_t id[16])
{
    uint64_t value = 0;

    for (size_t i = 8; i < 16; i++)
        value = value << 8 | id[i];
    return value;
}

double traces_weight(const struct traces *traces, const struct traces_trace *trace)
{
    return trace->important ? 1 : (double)UINT64_MAX / (double)traces->threshold;
}

static bool is_full(const struct traces *traces)
{
    return traces->used > traces->max - traces->max / 8;
}

/* By what came in since the last decision: how long a trace will stay. */
static double lifetime_ms(const struct traces *traces, uint64_t now_ms)
{
    double elapsed_ms = (double)(now_ms - traces->changed_ms);

    return traces->added > 0 ? (double)traces->max / (double)traces->added * elapsed_ms : INFINITY;
}

/* In one step to what is wanted, or nearly: an estimate may be wrong. */
static void take_fewer(struct traces *traces, double lifetime_ms)
{
    double factor = lifetime_ms / ((TRACES_KEEP_MIN_MS + TRACES_KEEP_MAX_MS) / 2.0);

    factor = factor < MIN_FACTOR ? MIN_FACTOR : factor;
    traces->threshold = (uint64_t)((double)traces->threshold * factor);
    if (traces->threshold < MIN_THRESHOLD)
        traces->threshold = MIN_THRESHOLD;
}

void traces_tick(struct traces *traces, uint64_t now_ms)
{
    double lifetime;

    if (now_ms - traces->changed_ms < DECIDE_MS)
        return;
    lifetime = lifetime_ms(traces, now_ms);
    if (is_full(traces) && lifetime < TRACES_KEEP_MIN_MS)
        take_fewer(traces, lifetime);
    else if (lifetime > TRACES_KEEP_MAX_MS)
        traces->threshold = traces->threshold > UINT64_MAX / 2 ? TRACES_ALL : traces->threshold * 2;
    traces->changed_ms = now_ms;
    traces->added = 0;
}

static void promote(struct traces *traces, struct traces_trace *trace, uint64_t now_ms)
{
    if (trace->important)
        return;
    TAILQ_REMOVE(&traces->ordinary, trace, entry);
    trace->important = true;
    trace->arrived_ms = now_ms; /* the list stays sorted */
    TAILQ_INSERT_TAIL(&traces->important, trace, entry);
    traces->important_used += trace_bytes(trace);
}

/* ---- adding ---- */

static bool is_id(struct str id, size_t len)
{
    for (size_t i = 0; id.len == len && i < len; i++)
        if (id.s[i] != 0)
            return true;
    return false;
}

static struct traces_trace *add_trace(struct traces *traces, const uint8_t id[16], uint64_t now_ms)
{
    struct traces_trace **link = bucket_of(traces, id), *trace = calloc(1, sizeof(*trace));

    if (trace == NULL)
        return NULL;
    memcpy(trace->id, id, sizeof(trace->id));
    trace->arrived_ms = now_ms;
    trace->start_ns = UINT64_MAX;
    trace->next_in_bucket = *link;
    trace->link = link;
    if (*link != NULL)
        (*link)->link = &trace->next_in_bucket;
    *link = trace;
    TAILQ_INSERT_TAIL(&traces->ordinary, trace, entry);
    traces->used += intern_heap_bytes(sizeof(*trace));
    return trace;
}

static struct traces_span *new_span(struct traces *traces, const struct otlp_span_view *view, struct str service,
                                    struct str instance)
{
    struct traces_span *span = calloc(1, sizeof(*span) + kept_bytes(kept_count(&view->attributes)));

    if (span == NULL)
        return NULL;
    memcpy(span->id, view->span_id.s, sizeof(span->id));
    span->has_parent = is_id(view->parent_id, sizeof(span->parent_id));
    if (span->has_parent)
        memcpy(span->parent_id, view->parent_id.s, sizeof(span->parent_id));
    span->failed = view->failed;
    span->kind = view->kind >= 1 && view->kind <= 5 ? (uint8_t)view->kind : 1;
    span->start_ns = view->start_ns;
    span->duration_ns = view->end_ns > view->start_ns ? view->end_ns - view->start_ns : 0;
    span->service = intern_get(&traces->strings, service);
    span->instance = intern_get(&traces->strings, instance);
    span->name = intern_get(&traces->strings, view->name);
    span->message = intern_get(&traces->strings, view->message);
    kept_fill(&span->attributes, &view->attributes, &traces->strings);
    traces->used += span_bytes(span);
    return span;
}

static void append(struct traces *traces, struct traces_trace *trace, struct traces_span *span)
{
    uint64_t end_ns = span->start_ns + span->duration_ns;

    if (trace->last != NULL)
        trace->last->next = span;
    else
        trace->first = span;
    trace->last = span;
    trace->span_count++;
    trace->failed = trace->failed || span->failed;
    trace->start_ns = span->start_ns < trace->start_ns ? span->start_ns : trace->start_ns;
    trace->end_ns = end_ns > trace->end_ns ? end_ns : trace->end_ns;
    if (!span->has_parent && trace->root == NULL)
        trace->root = span;
    if (trace->important)
        traces->important_used += span_bytes(span);
}

/* The trace that takes the span; NULL where it is not taken. */
static struct traces_trace *trace_for(struct traces *traces, const uint8_t id[16], bool important, uint64_t now_ms)
{
    struct traces_trace *trace = traces_find(traces, id);

    if (trace == NULL && (important || sampled_part(id) <= traces->threshold))
        trace = add_trace(traces, id, now_ms);
    else if (trace == NULL)
        traces->sampled_out++;
    if (trace != NULL && trace->span_count >= TRACES_MAX_SPANS) {
        trace->left_out++;
        traces->sampled_out++;
        return NULL;
    }
    return trace;
}

int traces_add(struct traces *traces, const struct otlp_span_view *view, struct str service, struct str instance,
               uint64_t now_ms, struct traces_trace **ret_trace, struct traces_span **ret_span)
{
    bool important =
        view->failed || (view->end_ns > view->start_ns && view->end_ns - view->start_ns >= traces->slow_ns);
    struct traces_trace *trace;
    struct traces_span *span;
    size_t before;

    *ret_trace = NULL;
    *ret_span = NULL;
    if (!is_id(view->trace_id, 16) || !is_id(view->span_id, 8))
        return -EINVAL;
    make_room(traces, now_ms);
    before = traces->used;
    trace = trace_for(traces, (const uint8_t *)view->trace_id.s, important, now_ms);
    span = trace != NULL ? new_span(traces, view, service, instance) : NULL;
    if (span == NULL) {
        if (trace != NULL && trace->first == NULL)
            remove_trace(traces, trace);
        return 0;
    }
    append(traces, trace, span);
    traces->added += traces->used - before;
    if (important)
        promote(traces, trace, now_ms);
    *ret_trace = trace;
    *ret_span = span;
    return 0;
}
