/* metrics -- counters, gauges and histograms in the Prometheus text format, version 0.0.4, and in OpenMetrics 1.0.0.
 *
 * A family has a name, a help text, label names and series; a series has one value a label. Families are made at
 * start; series are found or made at any time by any thread, up to the family's bound: beyond it all further ones
 * share a series whose label values are all "other", so that hostile input cannot grow memory or the scrape. So do
 * those with a value beyond 256 bytes, or that is not UTF-8 or holds a NUL: it would break the scrape.
 * Updating a series is a relaxed atomic operation: keep the pointer of a series that is used often.
 * Families and series live as long as the registry.
 */
#pragma once
#include "buf.h"
#include "names.h"
#include "trace.h"

#define METRICS_MAX_LABELS  6
#define METRICS_MAX_BUCKETS 24

struct metrics; /* the registry */
struct metrics_family;
struct metrics_series;

/* A counter's name ends in "_total", as OpenMetrics wants it. */
enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_def {
    const char *name, *help;
    enum metrics_type type;
    const char *labels[METRICS_MAX_LABELS]; /* names, ended by NULL where fewer */
    const double *buckets; /* histograms: upper bounds, ascending, without +Inf; NULL: metrics_seconds */
    size_t bucket_count;
    size_t max_series; /* 0: 1000 */
};

/* From 50 us to 10 s, in steps of 1, 2.5 and 5: a service here answers in 100 us. */
#define METRICS_SECONDS 17
extern const double metrics_seconds[METRICS_SECONDS];

struct metrics *metrics_new(void); /* NULL out of memory */
struct metrics *metrics_free(struct metrics *metrics);

/* Makes a family, or returns the one of the same name (whose type and labels must be the same, or it asserts). The
 * def's strings must outlive the registry. NULL out of memory. NULL registry: NULL. Everything below accepts NULL and
 * does nothing. */
struct metrics_family *metrics_family(struct metrics *metrics, const struct metrics_def *def);
/* The series with these label values (as many as the family has label names), copied. NULL out of memory. */
struct metrics_series *metrics_series(struct metrics_family *family, const struct str *values);
/* The series of a family without labels. */
struct metrics_series *metrics_single(struct metrics *metrics, const struct metrics_def *def);

void metrics_add(struct metrics_series *series, uint64_t n);       /* counter */
void metrics_set(struct metrics_series *series, double value);     /* gauge */
void metrics_change(struct metrics_series *series, double by);     /* gauge */
void metrics_observe(struct metrics_series *series, double value); /* histogram */
/* The same, and keeps what was observed as its bucket's exemplar where trace is sampled: the last one, but none within
 * a second of another. OpenMetrics shows it, so that a slow bucket leads to a trace. trace may be NULL. */
void metrics_observe_traced(struct metrics_series *series, double value, const struct trace *trace);
uint64_t metrics_counter_value(const struct metrics_series *series); /* counter; histogram: number of observations */

/* Called at every scrape before the values are read, to set gauges that are cheaper to read than to keep. */
void metrics_on_scrape(struct metrics *metrics, void (*callback)(void *arg), void *arg);
/* Stops calling it; returns after a running call has ended. */
void metrics_off_scrape(struct metrics *metrics, void (*callback)(void *arg), void *arg);

/* Appends the exposition of everything, families sorted by name. Any thread. */
void metrics_write(struct metrics *metrics, struct buf *out);
/* The same as OpenMetrics, with exemplars. */
void metrics_write_openmetrics(struct metrics *metrics, struct buf *out);

/* ---- reading, for exporters; any thread ---- */

struct metrics_exemplar {
    double value;
    uint64_t time_ns; /* since 1970 */
    uint8_t trace_id[sizeof((struct trace){0}.trace_id)], span_id[sizeof((struct trace){0}.span_id)];
};

/* What a series has now. */
struct metrics_point {
    const struct str *labels; /* values, one for each label name of the family; valid as long as the registry */
    uint64_t count;           /* of a counter; of a histogram's observations, the sum of the buckets below */
    double value;             /* of a gauge; the sum of a histogram's observations */
    uint64_t buckets[METRICS_MAX_BUCKETS + 1]; /* observations in each bucket alone, +Inf last */
    unsigned exemplar_count;
    struct metrics_exemplar exemplars[METRICS_MAX_BUCKETS + 1];
};

/* Calls what metrics_on_scrape was given. Afterwards no call runs that began before. */
void metrics_refresh(struct metrics *metrics);
/* The families in the order of their names, and a family's series in the order in which they were made: the first after
 * NULL. NULL: that was the last. */
struct metrics_family *metrics_next_family(struct metrics *metrics, const struct metrics_family *previous);
const struct metrics_series *metrics_next_series(const struct metrics_family *family,
                                                 const struct metrics_series *previous);
/* How the family was made; a histogram's bounds are there in any case. Valid as long as the registry. */
const struct metrics_def *metrics_def_of(const struct metrics_family *family);
/* Counters, and gauges that are counters by their meaning: process_cpu_seconds_total and the like. */
bool metrics_is_counter(const struct metrics_family *family);
void metrics_read(const struct metrics_series *series, struct metrics_point *ret_point);

/* ---- the process ---- */

/* process_* (CPU, memory, file descriptors, faults, start time), thread_cpu_seconds_total{thread} of the threads by
 * their names, and build_info{service,version,compiler,build_id}. */
void metrics_add_process(struct metrics *metrics, const char *service, const char *build_id);
