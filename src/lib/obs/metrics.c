#include "metrics.h"
#include "clock.h"
#include "fnv.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHAINS      64  /* of a family's hash table */
#define MAX_VALUE   256 /* bytes of a label's value; a longer one counts as "other" */
#define NUMBER_SIZE 32

#define EXEMPLAR_NS CLOCK_NS_PER_S /* a bucket's is kept for that long at least */

const double metrics_seconds[METRICS_SECONDS] = {.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025,
                                                 .05,    .1,    .25,    .5,    1,    2.5,   5,    10};

/* Of a series that has observed something of a sampled trace. */
struct exemplars {
    pthread_mutex_t lock;
    struct metrics_exemplar buckets[]; /* time_ns 0: there is none */
};

/* Never freed or moved before the registry, so that readers need no lock: they follow pointers that were published by a
 * release store. Each has cache lines of its own. */
struct metrics_series {
    struct metrics_family *family;
    _Atomic(struct metrics_series *) chain; /* of its hash */
    _Atomic(struct metrics_series *) next;  /* of the family, in the order of making */
    uint64_t hash;
    char *labels;       /* a="x",b="y": as written */
    struct str *values; /* they and labels are one piece of memory */
    _Atomic(struct exemplars *) exemplars;
    _Atomic uint64_t number;    /* a counter's value; the bits of a gauge's, or of a histogram's sum */
    _Atomic uint64_t buckets[]; /* histogram: observations in each bucket alone, +Inf last */
};

struct metrics_family {
    struct metrics_family *next; /* by name */
    struct metrics_def def;
    const char *type;
    size_t label_count;
    double bounds[METRICS_MAX_BUCKETS];
    char bound_texts[METRICS_MAX_BUCKETS + 1][NUMBER_SIZE];
    pthread_mutex_t lock; /* for making series */
    size_t series_count;
    _Atomic(struct metrics_series *) first, *end;
    _Atomic(struct metrics_series *) chains[CHAINS];
};

struct callback {
    void (*run)(void *arg);
    void *arg;
};

struct process {
    struct metrics_series *cpu, *resident, *virtual, *open_fds, *max_fds, *threads, *clock, *faults, *waits;
    struct metrics_family *thread_cpu;
};

struct metrics {
    pthread_mutex_t lock; /* of the list of families */
    struct metrics_family *families;
    pthread_mutex_t scrape_lock; /* held while callbacks run */
    struct callback *callbacks;
    size_t callback_count;
    struct process process;
};

/* ---- numbers ---- */

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void add_double(_Atomic uint64_t *bits, double by)
{
    uint64_t old = atomic_load_explicit(bits, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(bits, &old, bits_of(double_of(old) + by), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

/* The shortest text that reads back as value. */
static const char *format_double(double value, char text[NUMBER_SIZE])
{
    if (isnan(value))
        return "NaN";
    if (isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

/* ---- the registry ---- */

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));

    if (metrics == NULL)
        return NULL;
    pthread_mutex_init(&metrics->lock, NULL);
    pthread_mutex_init(&metrics->scrape_lock, NULL);
    return metrics;
}

static void family_free(struct metrics_family *family)
{
    struct metrics_series *next;

    for (struct metrics_series *series = atomic_load(&family->first); series != NULL; series = next) {
        next = atomic_load(&series->next);
        free(series->values);
        free(atomic_load(&series->exemplars));
        free(series);
    }
    pthread_mutex_destroy(&family->lock);
    free(family);
}

struct metrics *metrics_free(struct metrics *metrics)
{
    struct metrics_family *next;

    if (metrics == NULL)
        return NULL;
    for (struct metrics_family *family = metrics->families; family != NULL; family = next) {
        next = family->next;
        family_free(family);
    }
    free(metrics->callbacks);
    pthread_mutex_destroy(&metrics->scrape_lock);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
    return NULL;
}

/* ---- families ---- */

static void set_bounds(struct metrics_family *family, const struct metrics_def *def)
{
    const double *bounds = def->buckets != NULL ? def->buckets : metrics_seconds;
    size_t count = def->buckets != NULL ? def->bucket_count : METRICS_SECONDS;

    assert(count <= METRICS_MAX_BUCKETS);
    for (size_t i = 0; i < count; i++) {
        char text[NUMBER_SIZE];
        assert(i == 0 || bounds[i] > bounds[i - 1]);
        family->bounds[i] = bounds[i];
        snprintf(family->bound_texts[i], NUMBER_SIZE, "%s", format_double(bounds[i], text));
    }
    strcpy(family->bound_texts[count], "+Inf");
    family->def.bucket_count = count;
    family->def.buckets = family->bounds;
}

static struct metrics_family *family_new(const struct metrics_def *def)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct metrics_family *family = calloc(1, sizeof(*family));

    if (family == NULL)
        return NULL;
    family->def = *def;
    family->def.max_series = def->max_series != 0 ? def->max_series : 1000;
    family->type = types[def->type];
    family->end = &family->first;
    pthread_mutex_init(&family->lock, NULL);
    while (family->label_count < METRICS_MAX_LABELS && def->labels[family->label_count] != NULL)
        family->label_count++;
    if (def->type == METRICS_HISTOGRAM)
        set_bounds(family, def);
    return family;
}

/* Who asks for a family that is there means that one. */
static bool is_of(const struct metrics_family *family, const struct metrics_def *def)
{
    size_t count = 0;

    while (count < METRICS_MAX_LABELS && def->labels[count] != NULL) {
        if (count == family->label_count || strcmp(def->labels[count], family->def.labels[count]) != 0)
            return false;
        count++;
    }
    return count == family->label_count && family->def.type == def->type;
}

static bool is_total(const char *name)
{
    const size_t len = strlen(name), suffix = strlen("_total");

    return len > suffix && strcmp(name + len - suffix, "_total") == 0;
}

struct metrics_family *metrics_family(struct metrics *metrics, const struct metrics_def *def)
{
    struct metrics_family **at, *family;

    assert(def->type != METRICS_COUNTER || is_total(def->name));
    if (metrics == NULL)
        return NULL;
    pthread_mutex_lock(&metrics->lock);
    at = &metrics->families;
    while (*at != NULL && strcmp((*at)->def.name, def->name) < 0)
        at = &(*at)->next;
    family = *at;
    if (family == NULL || strcmp(family->def.name, def->name) != 0) {
        family = family_new(def);
        if (family != NULL) {
            family->next = *at;
            *at = family;
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    assert(family == NULL || is_of(family, def));
    return family;
}

/* ---- series ---- */

static uint64_t hash_values(const struct str *values, size_t count)
{
    uint64_t hash = FNV_BEGIN;

    for (size_t i = 0; i < count; i++)
        hash = fnv_byte(fnv_str(hash, values[i]), 0xff); /* 0xff: where a value ends */
    return hash ^ hash >> 32;
}

static struct metrics_series *series_find(struct metrics_family *family, uint64_t hash, const struct str *values)
{
    struct metrics_series *series = atomic_load_explicit(&family->chains[hash % CHAINS], memory_order_acquire);

    for (; series != NULL; series = atomic_load_explicit(&series->chain, memory_order_acquire)) {
        size_t i = 0;
        while (series->hash == hash && i < family->label_count && str_eq(series->values[i], values[i]))
            i++;
        if (series->hash == hash && i == family->label_count)
            return series;
    }
    return NULL;
}

static void append_escaped(struct buf *out, struct str text, bool quotes)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.s[i] == '\n')
            buf_append_cstr(out, "\\n");
        else if (text.s[i] == '\\' || (quotes && text.s[i] == '"'))
            buf_append(out, (char[]){'\\', text.s[i]}, 2);
        else
            buf_append_char(out, text.s[i]);
}

static void append_labels(struct buf *out, const struct metrics_family *family, const struct str *values)
{
    for (size_t i = 0; i < family->label_count; i++) {
        buf_printf(out, "%s%s=\"", i > 0 ? "," : "", family->def.labels[i]);
        append_escaped(out, values[i], true);
        buf_append_char(out, '"');
    }
    buf_append_char(out, '\0');
}

/* One piece of memory: the array of values, their bytes, the labels as written. */
static int copy_labels(struct metrics_series *series, const struct str *values)
{
    const struct metrics_family *family = series->family;
    struct buf piece = {0};
    size_t bytes_at = family->label_count * sizeof(struct str), labels_at;

    if (buf_reserve(&piece, bytes_at + 1) == NULL)
        return -1;
    piece.len = bytes_at;
    for (size_t i = 0; i < family->label_count; i++)
        buf_append_str(&piece, values[i]);
    labels_at = piece.len;
    append_labels(&piece, family, values);
    if (piece.failed) {
        buf_release(&piece);
        return -1;
    }
    series->values = (struct str *)(void *)piece.data;
    series->labels = piece.data + labels_at;
    for (size_t i = 0; i < family->label_count; bytes_at += values[i++].len)
        series->values[i] = (struct str){piece.data + bytes_at, values[i].len};
    return 0;
}

static struct metrics_series *series_new(struct metrics_family *family, uint64_t hash, const struct str *values)
{
    size_t bucket_count = family->def.type == METRICS_HISTOGRAM ? family->def.bucket_count + 1 : 0;
    size_t size = sizeof(struct metrics_series) + bucket_count * sizeof(uint64_t);
    struct metrics_series *series = aligned_alloc(64, (size + 63) / 64 * 64);

    if (series == NULL)
        return NULL;
    memset(series, 0, size);
    series->family = family;
    series->hash = hash;
    if (copy_labels(series, values) != 0) {
        free(series);
        return NULL;
    }
    atomic_store_explicit(&series->chain, atomic_load(&family->chains[hash % CHAINS]), memory_order_relaxed);
    atomic_store_explicit(&family->chains[hash % CHAINS], series, memory_order_release);
    atomic_store_explicit(family->end, series, memory_order_release);
    family->end = &series->next;
    family->series_count++;
    return series;
}

/* What the text format cannot carry would break the whole scrape. */
static bool value_allowed(struct str value)
{
    size_t code_points;

    return value.len <= MAX_VALUE && str_utf8_length(value, &code_points) == 0 &&
           (value.len == 0 || memchr(value.s, '\0', value.len) == NULL);
}

static bool values_allowed(const struct metrics_family *family, const struct str *values)
{
    for (size_t i = 0; i < family->label_count; i++)
        if (!value_allowed(values[i]))
            return false;
    return family->series_count < family->def.max_series;
}

/* With the family's lock held. */
static struct metrics_series *series_add(struct metrics_family *family, uint64_t hash, const struct str *values)
{
    struct metrics_series *series = series_find(family, hash, values); /* another thread may have made it since */
    struct str other[METRICS_MAX_LABELS];

    if (series != NULL)
        return series;
    if (values_allowed(family, values))
        return series_new(family, hash, values);
    for (size_t i = 0; i < METRICS_MAX_LABELS; i++)
        other[i] = STR("other");
    hash = hash_values(other, family->label_count);
    series = series_find(family, hash, other);
    return series != NULL ? series : series_new(family, hash, other);
}

struct metrics_series *metrics_series(struct metrics_family *family, const struct str *values)
{
    struct metrics_series *series;
    uint64_t hash;

    if (family == NULL)
        return NULL;
    hash = hash_values(values, family->label_count);
    series = series_find(family, hash, values);
    if (series != NULL)
        return series;
    pthread_mutex_lock(&family->lock);
    series = series_add(family, hash, values);
    pthread_mutex_unlock(&family->lock);
    return series;
}

struct metrics_series *metrics_single(struct metrics *metrics, const struct metrics_def *def)
{
    assert(def->labels[0] == NULL);
    return metrics_series(metrics_family(metrics, def), NULL);
}

/* ---- values ---- */

void metrics_add(struct metrics_series *series, uint64_t n)
{
    if (series == NULL)
        return;
    assert(series->family->def.type == METRICS_COUNTER);
    atomic_fetch_add_explicit(&series->number, n, memory_order_relaxed);
}

void metrics_set(struct metrics_series *series, double value)
{
    if (series == NULL)
        return;
    assert(series->family->def.type == METRICS_GAUGE);
    atomic_store_explicit(&series->number, bits_of(value), memory_order_relaxed);
}

void metrics_change(struct metrics_series *series, double by)
{
    if (series == NULL)
        return;
    assert(series->family->def.type == METRICS_GAUGE);
    add_double(&series->number, by);
}

static size_t observe(struct metrics_series *series, double value)
{
    const struct metrics_family *family = series->family;
    size_t bucket = 0;

    assert(family->def.type == METRICS_HISTOGRAM);
    while (bucket < family->def.bucket_count && !(value <= family->bounds[bucket]))
        bucket++;
    atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
    add_double(&series->number, value);
    return bucket;
}

void metrics_observe(struct metrics_series *series, double value)
{
    if (series != NULL)
        observe(series, value);
}

/* NULL out of memory. */
static struct exemplars *exemplars_of(struct metrics_series *series)
{
    size_t count = series->family->def.bucket_count + 1;
    struct exemplars *present = atomic_load_explicit(&series->exemplars, memory_order_acquire), *made;

    if (present != NULL || (made = calloc(1, sizeof(*made) + count * sizeof(made->buckets[0]))) == NULL)
        return present;
    pthread_mutex_init(&made->lock, NULL);
    if (atomic_compare_exchange_strong(&series->exemplars, &present, made))
        return made;
    free(made); /* another thread was first */
    return present;
}

/* Never waits: where another thread is at it, that one's will do. */
static void keep_exemplar(struct metrics_series *series, size_t bucket, double value, const struct trace *trace)
{
    struct exemplars *exemplars = exemplars_of(series);
    uint64_t now_ns = clock_realtime_ns();
    struct metrics_exemplar *exemplar;

    if (exemplars == NULL || pthread_mutex_trylock(&exemplars->lock) != 0)
        return;
    exemplar = &exemplars->buckets[bucket];
    if (now_ns - exemplar->time_ns >= EXEMPLAR_NS) { /* also where the clock was set back */
        exemplar->value = value;
        exemplar->time_ns = now_ns;
        memcpy(exemplar->trace_id, trace->trace_id, sizeof(exemplar->trace_id));
        memcpy(exemplar->span_id, trace->span_id, sizeof(exemplar->span_id));
    }
    pthread_mutex_unlock(&exemplars->lock);
}

void metrics_observe_traced(struct metrics_series *series, double value, const struct trace *trace)
{
    size_t bucket;

    if (series == NULL)
        return;
    bucket = observe(series, value);
    if (trace != NULL && trace->sampled)
        keep_exemplar(series, bucket, value, trace);
}

uint64_t metrics_counter_value(const struct metrics_series *series)
{
    uint64_t sum = 0;

    if (series == NULL)
        return 0;
    assert(series->family->def.type != METRICS_GAUGE);
    if (series->family->def.type == METRICS_COUNTER)
        return atomic_load_explicit(&series->number, memory_order_relaxed);
    for (size_t i = 0; i <= series->family->def.bucket_count; i++)
        sum += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
    return sum;
}

/* ---- scraping ---- */

void metrics_on_scrape(struct metrics *metrics, void (*callback)(void *arg), void *arg)
{
    struct callback *callbacks;

    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->scrape_lock);
    callbacks = realloc(metrics->callbacks, (metrics->callback_count + 1) * sizeof(callbacks[0]));
    if (callbacks != NULL) { /* out of memory its gauges stay as they are */
        callbacks[metrics->callback_count++] = (struct callback){callback, arg};
        metrics->callbacks = callbacks;
    }
    pthread_mutex_unlock(&metrics->scrape_lock);
}

void metrics_off_scrape(struct metrics *metrics, void (*callback)(void *arg), void *arg)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->scrape_lock);
    for (size_t i = 0; i < metrics->callback_count; i++)
        if (metrics->callbacks[i].run == callback && metrics->callbacks[i].arg == arg) {
            metrics->callbacks[i] = metrics->callbacks[--metrics->callback_count];
            break;
        }
    pthread_mutex_unlock(&metrics->scrape_lock);
}

void metrics_refresh(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->scrape_lock);
    for (size_t i = 0; i < metrics->callback_count; i++)
        metrics->callbacks[i].run(metrics->callbacks[i].arg);
    pthread_mutex_unlock(&metrics->scrape_lock);
}

enum format { TEXT, OPENMETRICS };

static void write_simple(const struct metrics_series *series, struct buf *out)
{
    const char *name = series->family->def.name, *labels = series->labels;
    uint64_t number = atomic_load_explicit(&series->number, memory_order_relaxed);
    char text[NUMBER_SIZE];

    buf_append_cstr(out, name);
    if (labels[0] != '\0')
        buf_printf(out, "{%s}", labels);
    buf_append_char(out, ' ');
    if (series->family->def.type == METRICS_COUNTER)
        buf_append_u64(out, number);
    else
        buf_append_cstr(out, format_double(double_of(number), text));
    buf_append_char(out, '\n');
}

static void write_part(const struct metrics_series *series, const char *part, const char *value, struct buf *out)
{
    const char *labels = series->labels;

    buf_printf(out, "%s_%s", series->family->def.name, part);
    if (labels[0] != '\0')
        buf_printf(out, "{%s}", labels);
    buf_printf(out, " %s\n", value);
}

static bool read_exemplar(const struct metrics_series *series, size_t bucket, struct metrics_exemplar *ret_exemplar)
{
    struct exemplars *exemplars = atomic_load_explicit(&series->exemplars, memory_order_acquire);

    if (exemplars == NULL)
        return false;
    pthread_mutex_lock(&exemplars->lock);
    *ret_exemplar = exemplars->buckets[bucket];
    pthread_mutex_unlock(&exemplars->lock);
    return ret_exemplar->time_ns != 0;
}

/* " # {trace_id="...",span_id="..."} VALUE SECONDS", where the bucket has one. */
static void write_exemplar(const struct metrics_series *series, size_t bucket, struct buf *out)
{
    char trace_id[TRACE_ID_TEXT_SIZE], span_id[SPAN_ID_TEXT_SIZE], value[NUMBER_SIZE];
    struct trace trace = {.sampled = true};
    struct metrics_exemplar exemplar;

    if (!read_exemplar(series, bucket, &exemplar))
        return;
    memcpy(trace.trace_id, exemplar.trace_id, sizeof(trace.trace_id));
    trace_id_text(&trace, trace_id);
    trace_span_text(exemplar.span_id, span_id);
    buf_printf(out, " # {trace_id=\"%s\",span_id=\"%s\"} %s %llu.%03llu", trace_id, span_id,
               format_double(exemplar.value, value), (unsigned long long)(exemplar.time_ns / CLOCK_NS_PER_S),
               (unsigned long long)(exemplar.time_ns % CLOCK_NS_PER_S / CLOCK_NS_PER_MS));
}

/* The count is the sum of the very buckets that were written, so that a scrape never contradicts itself. */
static void write_histogram(const struct metrics_series *series, enum format format, struct buf *out)
{
    const struct metrics_family *family = series->family;
    const char *labels = series->labels;
    char text[NUMBER_SIZE];
    uint64_t count = 0;

    for (size_t i = 0; i <= family->def.bucket_count; i++) {
        count += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"%s\"} ", family->def.name, labels, labels[0] != '\0' ? "," : "",
                   family->bound_texts[i]);
        buf_append_u64(out, count);
        if (format == OPENMETRICS)
            write_exemplar(series, i, out);
        buf_append_char(out, '\n');
    }
    write_part(series, "sum", format_double(double_of(atomic_load(&series->number)), text), out);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    write_part(series, "count", text, out);
}

/* A counter of OpenMetrics has its family's name and "_total". */
static struct str name_of(const struct metrics_family *family, enum format format)
{
    struct str name = str_of(family->def.name);

    if (format == OPENMETRICS && metrics_is_counter(family))
        name.len -= strlen("_total");
    return name;
}

static void write_family(struct metrics_family *family, enum format format, struct buf *out)
{
    const struct metrics_series *series = atomic_load_explicit(&family->first, memory_order_acquire);
    struct str name = name_of(family, format);

    if (series == NULL)
        return;
    buf_printf(out, "# HELP %.*s ", STR_ARG(name));
    append_escaped(out, str_of(family->def.help), format == OPENMETRICS);
    buf_printf(out, "\n# TYPE %.*s %s\n", STR_ARG(name), family->type);
    for (; series != NULL; series = atomic_load_explicit(&series->next, memory_order_acquire))
        if (family->def.type == METRICS_HISTOGRAM)
            write_histogram(series, format, out);
        else
            write_simple(series, out);
}

static void write_all(struct metrics *metrics, enum format format, struct buf *out)
{
    if (metrics == NULL)
        return;
    metrics_refresh(metrics);
    pthread_mutex_lock(&metrics->lock);
    for (struct metrics_family *family = metrics->families; family != NULL; family = family->next)
        write_family(family, format, out);
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_write(struct metrics *metrics, struct buf *out)
{
    write_all(metrics, TEXT, out);
}

void metrics_write_openmetrics(struct metrics *metrics, struct buf *out)
{
    write_all(metrics, OPENMETRICS, out);
    buf_append_cstr(out, "# EOF\n");
}

/* ---- reading ---- */

struct metrics_family *metrics_next_family(struct metrics *metrics, const struct metrics_family *previous)
{
    struct metrics_family *next;

    if (metrics == NULL)
        return NULL;
    pthread_mutex_lock(&metrics->lock);
    next = previous != NULL ? previous->next : metrics->families;
    pthread_mutex_unlock(&metrics->lock);
    return next;
}

const struct metrics_series *metrics_next_series(const struct metrics_family *family,
                                                 const struct metrics_series *previous)
{
    return atomic_load_explicit(previous != NULL ? &previous->next : &family->first, memory_order_acquire);
}

const struct metrics_def *metrics_def_of(const struct metrics_family *family)
{
    return &family->def;
}

bool metrics_is_counter(const struct metrics_family *family)
{
    return strcmp(family->type, "counter") == 0;
}

static void read_histogram(const struct metrics_series *series, struct metrics_point *ret_point)
{
    ret_point->count = 0;
    for (size_t i = 0; i <= series->family->def.bucket_count; i++) {
        ret_point->buckets[i] = atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        ret_point->count += ret_point->buckets[i];
        if (read_exemplar(series, i, &ret_point->exemplars[ret_point->exemplar_count]))
            ret_point->exemplar_count++;
    }
}

void metrics_read(const struct metrics_series *series, struct metrics_point *ret_point)
{
    uint64_t number = atomic_load_explicit(&series->number, memory_order_relaxed);

    ret_point->labels = series->values;
    ret_point->count = number;
    ret_point->value = double_of(number);
    ret_point->exemplar_count = 0;
    if (series->family->def.type == METRICS_HISTOGRAM)
        read_histogram(series, ret_point);
}

/* ---- the process ---- */

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -2; /* "." and ".." */

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void read_memory(double *ret_virtual, double *ret_resident)
{
    unsigned long long pages, resident;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f == NULL)
        return;
    if (fscanf(f, "%llu %llu", &pages, &resident) == 2) {
        *ret_virtual = (double)pages * (double)sysconf(_SC_PAGESIZE);
        *ret_resident = (double)resident * (double)sysconf(_SC_PAGESIZE);
    }
    fclose(f);
}

#define MAX_THREAD_NAMES 64

struct thread_time {
    char name[16]; /* as the kernel allows */
    double seconds;
};

/* "TID (NAME) STATE ...": NAME may hold whatever, so what follows begins after the last parenthesis. */
static int read_thread(const char *tid, struct thread_time *ret_time)
{
    char path[64], line[512], *begin, *end;
    unsigned long long user, system;
    FILE *f;

    if (snprintf(path, sizeof(path), "/proc/self/task/%.16s/stat", tid) >= (int)sizeof(path) ||
        (f = fopen(path, "re")) == NULL)
        return -ENOENT;
    begin = fgets(line, sizeof(line), f) != NULL ? strchr(line, '(') : NULL;
    fclose(f);
    end = begin != NULL ? strrchr(begin, ')') : NULL;
    if (end == NULL || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return -EINVAL;
    *end = '\0';
    snprintf(ret_time->name, sizeof(ret_time->name), "%s", begin + 1);
    ret_time->seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return 0;
}

/* Threads of one name count together. */
static size_t add_thread(struct thread_time *times, size_t count, const struct thread_time *one)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(times[i].name, one->name) == 0) {
            times[i].seconds += one->seconds;
            return count;
        }
    if (count < MAX_THREAD_NAMES)
        times[count++] = *one;
    return count;
}

/* Returns how many there are; 0: not known. */
static int read_threads(struct metrics_family *family)
{
    struct thread_time times[MAX_THREAD_NAMES], one;
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    size_t count = 0;
    int threads = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        threads++;
        if (read_thread(entry->d_name, &one) == 0)
            count = add_thread(times, count, &one);
    }
    closedir(dir);
    for (size_t i = 0; i < count; i++)
        metrics_set(metrics_series(family, (const struct str[]){str_of(times[i].name)}), times[i].seconds);
    return threads;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void read_process(void *arg)
{
    const struct process *process = arg;
    struct rusage usage;
    struct rlimit fds;
    double virtual = 0, resident = 0;
    int fds_open = count_fds(), threads = read_threads(process->thread_cpu);

    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics_set(process->cpu, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
        metrics_set(process->faults, (double)usage.ru_majflt);
        metrics_set(process->waits, (double)usage.ru_nivcsw);
    }
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
        metrics_set(process->max_fds, (double)fds.rlim_cur);
    read_memory(&virtual, &resident);
    metrics_set(process->virtual, virtual);
    metrics_set(process->resident, resident);
    if (fds_open > 0)                                 /* else no descriptor is free: the last value stays */
        metrics_set(process->open_fds, fds_open - 1); /* without the one that counts */
    if (threads > 0)
        metrics_set(process->threads, threads);
    metrics_set(process->clock, (double)clock_realtime_ns() / (double)CLOCK_NS_PER_S);
}

static struct metrics_series *gauge(struct metrics *metrics, const char *name, const char *help)
{
    return metrics_single(metrics, &(struct metrics_def){.name = name, .help = help, .type = METRICS_GAUGE});
}

/* A counter by its meaning, whose value is the kernel's, or is no integer, as our counters' are. */
static void call_counter(struct metrics_family *family)
{
    if (family != NULL)
        family->type = "counter";
}

static struct metrics_series *counter(struct metrics *metrics, const char *name, const char *help)
{
    struct metrics_series *series = gauge(metrics, name, help);

    call_counter(series != NULL ? series->family : NULL);
    return series;
}

static struct metrics_family *thread_cpu(struct metrics *metrics)
{
    static const struct metrics_def def = {
        .name = "thread_cpu_seconds_total",
        .help = "User and system time of the running threads of this name, in seconds.",
        .type = METRICS_GAUGE,
        .labels = {"thread"},
    };
    struct metrics_family *family = metrics_family(metrics, &def);

    call_counter(family);
    return family;
}

void metrics_add_process(struct metrics *metrics, const char *service, const char *build_id)
{
    static const struct metrics_def build = {
        .name = "build_info",
        .help = "What this is; always 1.",
        .type = METRICS_GAUGE,
        .labels = {"service", "version", "compiler", "build_id"},
    };
    const struct str labels[] = {str_of(service), STR(SLIPWAY_VERSION), STR(COMPILER), str_of(build_id)};

    if (metrics == NULL)
        return;
    metrics->process = (struct process){
        .cpu = counter(metrics, "process_cpu_seconds_total", "User and system time used, in seconds."),
        .resident = gauge(metrics, "process_resident_memory_bytes", "Resident memory, in bytes."),
        .virtual = gauge(metrics, "process_virtual_memory_bytes", "Virtual memory, in bytes."),
        .open_fds = gauge(metrics, "process_open_fds", "Open file descriptors."),
        .max_fds = gauge(metrics, "process_max_fds", "File descriptors that may be open."),
        .threads = gauge(metrics, "process_threads", "Threads."),
        .clock = gauge(metrics, "process_clock_seconds", "What its clock said at the scrape, in seconds since 1970."),
        .faults = counter(metrics, "process_major_page_faults_total", "Page faults that waited for a disk."),
        .waits = counter(metrics, "process_involuntary_context_switches_total",
                         "How often a thread had to leave a CPU: its time was up, or its cgroup's."),
        .thread_cpu = thread_cpu(metrics),
    };
    metrics_set(gauge(metrics, "process_start_time_seconds", "When the process started, in seconds since 1970."),
                (double)clock_realtime_ns() / (double)CLOCK_NS_PER_S);
    metrics_set(metrics_series(metrics_family(metrics, &build), labels), 1);
    metrics_on_scrape(metrics, read_process, &metrics->process);
}
