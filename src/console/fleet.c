#include "fleet.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SILENT_MS        120000 /* a replica that sends no metrics is gone after so long without a word */
#define SILENT_INTERVALS 3      /* one that does, after so many times its interval, and SILENT_EXTRA_MS */
#define SILENT_EXTRA_MS  2500
#define STABLE_MS        2000          /* a number of replicas that lasts so long is announced */
#define MAX_RESTART_MS   1500          /* two start times of one process differ by less */
#define MAX_INTERVAL_MS  3600000       /* between two exports: a longer one is not believed */
#define MAX_LATE_NS      120000000000u /* a point that is later than that: the sender's clock was set back */

static const char *const state_names[] = {"starting", "ready", "draining", "gone"};
static const char *const event_names[] = {"started", "ready", "draining", "gone", "restarted", "version", "scaled"};

const char *fleet_state_name(enum fleet_state state)
{
    return state_names[state];
}

const char *fleet_event_name(enum fleet_event_kind kind)
{
    return event_names[kind];
}

int fleet_open(struct fleet *fleet)
{
    *fleet = (struct fleet){.events = calloc(FLEET_MAX_EVENTS, sizeof(struct fleet_event))};
    if (fleet->events == NULL)
        return -ENOMEM;
    fleet->used = sizeof(*fleet) + FLEET_MAX_EVENTS * sizeof(struct fleet_event);
    return 0;
}

void fleet_release(struct fleet *fleet)
{
    for (unsigned i = 0; i < fleet->replica_count; i++)
        free(fleet->replicas[i]);
    for (unsigned i = 0; i < fleet->service_count; i++)
        free(fleet->services[i]);
    for (unsigned i = 0; i < fleet->flow_count; i++)
        free(fleet->flows[i]);
    free(fleet->events);
    *fleet = (struct fleet){.events = NULL};
}

/* Not within a character. */
static void copy(char *to, size_t size, struct str text)
{
    size_t len = text.len < size ? text.len : size - 1;

    while (len > 0 && len < text.len && ((unsigned char)text.s[len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        memcpy(to, text.s, len);
    to[len] = '\0';
}

static bool is_named(const char *name, size_t size, struct str text)
{
    char cut[FLEET_INSTANCE];

    assert(size <= sizeof(cut));
    if (text.len == 0)
        return name[0] == '\0';
    if (text.len < size)
        return strncmp(name, text.s, text.len) == 0 && name[text.len] == '\0';
    copy(cut, size, text);
    return strcmp(name, cut) == 0;
}

/* ---- the time line ---- */

static void happened(struct fleet *fleet, enum fleet_event_kind kind, const struct fleet_service *service,
                     const struct fleet_replica *replica, uint64_t now_ms, const char *text)
{
    struct fleet_event *event = &fleet->events[++fleet->last_event % FLEET_MAX_EVENTS];

    *event = (struct fleet_event){.sequence = fleet->last_event, .time_ms = now_ms, .kind = kind};
    snprintf(event->service, sizeof(event->service), "%s", service->name);
    if (replica != NULL) {
        snprintf(event->instance, sizeof(event->instance), "%s", replica->instance);
        snprintf(event->version, sizeof(event->version), "%s", replica->version);
    }
    snprintf(event->text, sizeof(event->text), "%s", text);
}

const struct fleet_event *fleet_event(const struct fleet *fleet, uint64_t sequence)
{
    const struct fleet_event *event = &fleet->events[sequence % FLEET_MAX_EVENTS];

    return sequence > 0 && event->sequence == sequence ? event : NULL;
}

/* ---- states ---- */

static void set_state(struct fleet *fleet, struct fleet_replica *replica, enum fleet_state state, uint64_t now_ms)
{
    static const enum fleet_event_kind kinds[] = {
        [FLEET_STARTING] = FLEET_RESTARTED,
        [FLEET_READY] = FLEET_BECAME_READY,
        [FLEET_DRAINING] = FLEET_BEGAN_DRAINING,
        [FLEET_GONE] = FLEET_WENT,
    };
    enum fleet_state before = replica->state;

    if (before == state)
        return;
    replica->state = state;
    replica->since_ms = now_ms;
    if (state == FLEET_STARTING && before == FLEET_READY) /* it still runs: what it needs is away */
        return;
    happened(fleet, kinds[state], replica->service, replica, now_ms, state_names[state]);
}

static void note_start(struct fleet *fleet, struct fleet_replica *replica, uint64_t started_ms, uint64_t now_ms)
{
    bool again = replica->started_ms != 0 && started_ms > replica->started_ms + MAX_RESTART_MS;

    replica->started_ms = started_ms;
    if (!again)
        return;
    replica->metrics = (struct fleet_metrics){.time_ns = 0};
    if (replica->state == FLEET_GONE)
        set_state(fleet, replica, FLEET_STARTING, now_ms);
    else
        happened(fleet, FLEET_RESTARTED, replica->service, replica, now_ms, "restarted");
}

void fleet_message(struct fleet *fleet, struct fleet_replica *replica, struct str message, uint64_t now_ms)
{
    if (replica->has_phase)
        return;
    if (str_eq(message, STR("ready")))
        set_state(fleet, replica, FLEET_READY, now_ms);
    else if (str_eq(message, STR("draining")))
        set_state(fleet, replica, FLEET_DRAINING, now_ms);
    else if (str_eq(message, STR("stopped")))
        set_state(fleet, replica, FLEET_GONE, now_ms);
}

/* ---- services and replicas ---- */

static struct fleet_service *find_service(const struct fleet *fleet, struct str name)
{
    for (unsigned i = 0; i < fleet->service_count; i++)
        if (is_named(fleet->services[i]->name, FLEET_NAME, name))
            return fleet->services[i];
    return NULL;
}

static struct fleet_service *add_service(struct fleet *fleet, struct str name)
{
    struct fleet_service *service;

    if (fleet->service_count == FLEET_MAX_SERVICES)
        return NULL;
    service = calloc(1, sizeof(*service));
    if (service == NULL)
        return NULL;
    copy(service->name, sizeof(service->name), name);
    for (size_t i = 0; i < FLEET_STEPS; i++)
        service->p99_ms[i] = NAN;
    fleet->services[fleet->service_count++] = service;
    fleet->used += sizeof(*service);
    return service;
}

static void remove_service(struct fleet *fleet, struct fleet_service *service)
{
    unsigned at = 0;

    while (fleet->services[at] != service)
        at++;
    memmove(&fleet->services[at], &fleet->services[at + 1], (--fleet->service_count - at) * sizeof(fleet->services[0]));
    fleet->used -= sizeof(*service);
    free(service);
}

static void remove_replica(struct fleet *fleet, unsigned at)
{
    struct fleet_replica *replica = fleet->replicas[at];
    struct fleet_service *service = replica->service;

    memmove(&fleet->replicas[at], &fleet->replicas[at + 1], (--fleet->replica_count - at) * sizeof(fleet->replicas[0]));
    fleet->used -= sizeof(*replica);
    free(replica);
    if (--service->replicas == 0)
        remove_service(fleet, service);
}

static bool has_place(const struct fleet *fleet, struct str name)
{
    return fleet->replica_count < FLEET_MAX_REPLICAS &&
           (fleet->service_count < FLEET_MAX_SERVICES || find_service(fleet, name) != NULL);
}

/* The one that has been gone for longest; replica_count: none is gone. */
static unsigned longest_gone(const struct fleet *fleet)
{
    unsigned oldest = fleet->replica_count;

    for (unsigned i = 0; i < fleet->replica_count; i++)
        if (fleet->replicas[i]->state == FLEET_GONE &&
            (oldest == fleet->replica_count || fleet->replicas[i]->since_ms < fleet->replicas[oldest]->since_ms))
            oldest = i;
    return oldest;
}

/* True where there is a place for one more replica of the service. */
static bool make_place(struct fleet *fleet, struct str name)
{
    while (!has_place(fleet, name)) {
        unsigned oldest = longest_gone(fleet);

        if (oldest == fleet->replica_count)
            return false;
        remove_replica(fleet, oldest);
    }
    return true;
}

/* The first version of a service is nothing new. */
static void note_version(struct fleet *fleet, struct fleet_replica *replica, uint64_t now_ms)
{
    struct fleet_service *service = replica->service;
    size_t kept = sizeof(service->versions) / sizeof(service->versions[0]);

    if (replica->version[0] == '\0')
        return;
    for (size_t i = 0; i < kept && i < service->version_count; i++)
        if (strcmp(service->versions[i], replica->version) == 0)
            return;
    memcpy(service->versions[service->version_count % kept], replica->version, sizeof(replica->version));
    if (service->version_count++ > 0)
        happened(fleet, FLEET_NEW_VERSION, service, replica, now_ms, replica->version);
}

static struct fleet_replica *add_replica(struct fleet *fleet, struct str name, struct str instance, struct str version,
                                         uint64_t now_ms)
{
    struct fleet_service *service;
    struct fleet_replica *replica;

    if (!make_place(fleet, name))
        return NULL;
    service = find_service(fleet, name);
    if (service == NULL)
        service = add_service(fleet, name);
    replica = service != NULL ? calloc(1, sizeof(*replica)) : NULL;
    if (replica == NULL)
        return NULL;
    replica->service = service;
    replica->first_seen_ms = replica->since_ms = now_ms;
    replica->p50_ms = replica->p99_ms = NAN;
    replica->loop_utilization = replica->memory_used = replica->memory_limit = replica->connections = NAN;
    copy(replica->instance, sizeof(replica->instance), instance);
    copy(replica->version, sizeof(replica->version), version);
    service->replicas++;
    fleet->replicas[fleet->replica_count++] = replica;
    fleet->used += sizeof(*replica);
    happened(fleet, FLEET_STARTED, service, replica, now_ms, "started");
    note_version(fleet, replica, now_ms);
    return replica;
}

static struct fleet_replica *find_replica(const struct fleet *fleet, struct str name, struct str instance)
{
    for (unsigned i = 0; i < fleet->replica_count; i++)
        if (is_named(fleet->replicas[i]->instance, FLEET_INSTANCE, instance) &&
            is_named(fleet->replicas[i]->service->name, FLEET_NAME, name))
            return fleet->replicas[i];
    return NULL;
}

struct fleet_replica *fleet_seen(struct fleet *fleet, const struct otlp_pairs *resource, uint64_t now_ms)
{
    struct str name = otlp_pair_string(resource, STR("service.name"));
    struct str instance = otlp_pair_string(resource, STR("service.instance.id"));
    struct str version = otlp_pair_string(resource, STR("service.version"));
    struct fleet_replica *replica;

    if (name.len == 0)
        return NULL;
    replica = find_replica(fleet, name, instance);
    if (replica == NULL)
        replica = add_replica(fleet, name, instance, version, now_ms);
    if (replica == NULL)
        return NULL;
    replica->last_seen_ms = now_ms;
    if (version.len > 0 && !is_named(replica->version, sizeof(replica->version), version)) {
        copy(replica->version, sizeof(replica->version), version);
        note_version(fleet, replica, now_ms);
    }
    return replica;
}

/* ---- windows ---- */

static void advance(struct fleet_window *window, uint64_t from, uint64_t to)
{
    uint64_t first = to > from + FLEET_WINDOW ? to - FLEET_WINDOW : from + 1;

    for (uint64_t second = first; second <= to; second++)
        window->requests[second % (FLEET_WINDOW + 1)] = window->errors[second % (FLEET_WINDOW + 1)] = 0;
    if (from / FLEET_WINDOW == to / FLEET_WINDOW)
        return;
    window->before = from / FLEET_WINDOW + 1 == to / FLEET_WINDOW ? window->now : (struct latency){{0}};
    window->now = (struct latency){{0}};
}

static void count(struct fleet_window *window, uint64_t second, double weight, bool failed, uint64_t duration_ns)
{
    size_t at = second % (FLEET_WINDOW + 1);

    window->requests[at] += (float)weight;
    window->errors[at] += failed ? (float)weight : 0;
    latency_add(&window->now, duration_ns, (uint32_t)weight);
}

static double sum_but_present(const float *counts, uint64_t second)
{
    double sum = 0;

    for (size_t i = 0; i <= FLEET_WINDOW; i++)
        if (i != second % (FLEET_WINDOW + 1))
            sum += (double)counts[i];
    return sum / FLEET_WINDOW;
}

double fleet_window_requests(const struct fleet_window *window, uint64_t second)
{
    return sum_but_present(window->requests, second);
}

double fleet_window_errors(const struct fleet_window *window, uint64_t second)
{
    return sum_but_present(window->errors, second);
}

struct latency fleet_window_latency(const struct fleet_window *window)
{
    struct latency both = window->now;

    latency_merge(&both, &window->before);
    return both;
}

/* ---- spans ---- */

enum { KIND_SERVER = 2 };

void fleet_span(struct fleet *fleet, struct fleet_replica *replica, const struct otlp_span_view *span, uint64_t now_ms)
{
    uint64_t duration_ns = span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;

    if (!replica->has_phase && (replica->state == FLEET_STARTING || replica->state == FLEET_GONE))
        set_state(fleet, replica, FLEET_READY, now_ms);
    if (span->kind == KIND_SERVER)
        count(&replica->window, fleet->second, 1, span->failed, duration_ns);
}

static struct fleet_flow *find_flow(struct fleet *fleet, struct str from, struct str to)
{
    for (unsigned i = 0; i < fleet->flow_count; i++)
        if (is_named(fleet->flows[i]->from, FLEET_NAME, from) && is_named(fleet->flows[i]->to, FLEET_NAME, to))
            return fleet->flows[i];
    return NULL;
}

static struct fleet_flow *add_flow(struct fleet *fleet, struct str from, struct str to)
{
    struct fleet_flow *flow = fleet->flow_count < FLEET_MAX_FLOWS ? calloc(1, sizeof(*flow)) : NULL;

    if (flow == NULL)
        return NULL;
    copy(flow->from, sizeof(flow->from), from);
    copy(flow->to, sizeof(flow->to), to);
    fleet->flows[fleet->flow_count++] = flow;
    fleet->used += sizeof(*flow);
    return flow;
}

static void count_flow(struct fleet *fleet, struct str from, const struct traces_span *span, double weight,
                       uint64_t now_ms)
{
    struct str to = intern_str(span->service);
    struct fleet_flow *flow = find_flow(fleet, from, to);

    if (flow == NULL)
        flow = add_flow(fleet, from, to);
    if (flow == NULL)
        return;
    flow->last_ms = now_ms;
    count(&flow->window, fleet->second, weight, span->failed, span->duration_ns);
}

/* Both ends of a call come on their own, in any order: whichever comes last counts it. */
void fleet_trace(struct fleet *fleet, const struct traces_trace *trace, const struct traces_span *span, double weight,
                 uint64_t now_ms)
{
    if (span->kind == KIND_SERVER && !span->has_parent) {
        count_flow(fleet, STR("clients"), span, weight, now_ms);
        return;
    }
    if (span->kind == KIND_SERVER) {
        const struct traces_span *parent = traces_find_span(trace, span->parent_id);

        if (parent != NULL && parent->service != span->service)
            count_flow(fleet, intern_str(parent->service), span, weight, now_ms);
        return;
    }
    for (const struct traces_span *child = trace->first; child != NULL; child = child->next)
        if (child->kind == KIND_SERVER && child->has_parent && child->service != span->service &&
            memcmp(child->parent_id, span->id, sizeof(span->id)) == 0)
            count_flow(fleet, intern_str(span->service), child, weight, now_ms);
}

/* ---- metrics ---- */

static const struct {
    const char *phase;
    enum fleet_state state;
} phases[] = {
    {"starting", FLEET_STARTING}, {"not_ready", FLEET_STARTING}, {"ready", FLEET_READY},
    {"draining", FLEET_DRAINING}, {"stopped", FLEET_GONE},
};

static void take_phase(struct fleet *fleet, struct fleet_replica *replica, const struct otlp_point_view *point,
                       uint64_t now_ms)
{
    struct str phase = otlp_pair_string(&point->attributes, STR("phase"));

    for (size_t i = 0; point->value == 1 && i < sizeof(phases) / sizeof(phases[0]); i++)
        if (str_eq(phase, str_of(phases[i].phase))) {
            if (phases[i].state == FLEET_STARTING && replica->state == FLEET_READY && !replica->has_phase)
                return; /* a span or a line has overtaken it */
            replica->has_phase = true;
            set_state(fleet, replica, phases[i].state, now_ms);
        }
}

static bool is_failed_code(struct str code)
{
    static const char *const failed[] = {"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"};

    for (size_t i = 0; i < sizeof(failed) / sizeof(failed[0]); i++)
        if (str_eq(code, str_of(failed[i])))
            return true;
    return false;
}

static void take_requests(struct fleet_sums *sums, const struct otlp_point_view *point)
{
    struct str status = otlp_pair_string(&point->attributes, STR("status"));
    struct str code = otlp_pair_string(&point->attributes, STR("grpc_code"));

    sums->requests += point->value;
    if ((status.len == 3 && status.s[0] == '5') || is_failed_code(code))
        sums->errors += point->value;
}

/* Where in a bucket the values are is not known: they count as its upper bound, the last as its lower. */
static void take_histogram(double counts[LATENCY_BUCKETS], const struct otlp_point_view *point)
{
    for (size_t i = 0; i <= point->bound_count && point->bound_count > 0; i++) {
        double seconds = point->bounds[i < point->bound_count ? i : point->bound_count - 1];
        double below = i > 0 && i < point->bound_count ? point->bounds[i - 1] : seconds / 2;
        double middle = sqrt(below * seconds);

        if (point->buckets[i] > 0 && middle >= 0 && middle < 1e6)
            counts[latency_bucket((uint64_t)(middle * 1e9))] += (double)point->buckets[i];
    }
}

/* Of a worker and of its thread: the time of its turns, which is counted in ms, and its CPU time, of which the larger
 * counts. */
static void take_loop(struct fleet_metrics *metrics, const struct otlp_point_view *point, struct str name)
{
    bool is_worker = name.len > 5 && (memcmp(name.s, "http-", 5) == 0 || memcmp(name.s, "rpc-", 4) == 0);

    for (size_t i = 0; is_worker && i < FLEET_MAX_WORKERS; i++) {
        if (metrics->workers[i][0] == '\0')
            copy(metrics->workers[i], sizeof(metrics->workers[i]), name);
        if (is_named(metrics->workers[i], sizeof(metrics->workers[i]), name)) {
            metrics->sums.loops[i] = fmax(metrics->sums.loops[i], point->value);
            return;
        }
    }
}

static bool is_label(const struct otlp_point_view *point, struct str key, struct str value)
{
    return str_eq(otlp_pair_string(&point->attributes, key), value);
}

static bool take_store(struct fleet_replica *replica, struct str metric, const struct otlp_point_view *point)
{
    struct fleet_store *store = &replica->store;
    const struct {
        struct str name;
        double *to, factor;
    } gauges[] = {
        {STR("store_revision"), &store->revision, 1},     {STR("store_view_age_seconds"), &store->lag_ms, 1000},
        {STR("store_records"), &store->records, 1},       {STR("store_bytes_used"), &store->bytes, 1},
        {STR("store_bytes_max"), &store->limit_bytes, 1},
    };

    if (str_eq(metric, STR("store_info"))) {
        if (point->value == 1)
            copy(store->engine, sizeof(store->engine), otlp_pair_string(&point->attributes, STR("engine")));
        return true;
    }
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
        if (str_eq(metric, gauges[i].name)) {
            *gauges[i].to = point->value * gauges[i].factor;
            return true;
        }
    return false;
}

static void open_store(struct fleet_store *store)
{
    if (store->is_there)
        return;
    *store = (struct fleet_store){true, "", NAN, NAN, NAN, NAN, NAN, NAN, NAN};
}

static double per_second(double now, double before, double seconds)
{
    double delta = now >= before ? now - before : now; /* the process has been started again */

    return seconds > 0 ? delta / seconds : 0;
}

static struct latency difference(const double now[LATENCY_BUCKETS], const double before[LATENCY_BUCKETS])
{
    struct latency latency;

    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        double delta = now[i] >= before[i] ? now[i] - before[i] : now[i];

        latency.counts[i] = delta < UINT32_MAX ? (uint32_t)delta : UINT32_MAX;
    }
    return latency;
}

static void compare(struct fleet_replica *replica, double seconds)
{
    const struct fleet_sums *now = &replica->metrics.sums, *before = &replica->metrics.last;
    struct latency commits = difference(now->commit_latency, before->commit_latency);

    replica->requests_per_s = per_second(now->requests, before->requests, seconds);
    replica->errors_per_s = per_second(now->errors, before->errors, seconds);
    replica->latency = difference(now->latency, before->latency);
    replica->p50_ms = latency_quantile_ms(&replica->latency, 0.5);
    replica->p99_ms = latency_quantile_ms(&replica->latency, 0.99);
    replica->loop_utilization = 0;
    for (size_t i = 0; i < FLEET_MAX_WORKERS; i++)
        replica->loop_utilization =
            fmax(replica->loop_utilization, fmin(per_second(now->loops[i], before->loops[i], seconds), 1));
    replica->store.commits_per_s = per_second(now->commits, before->commits, seconds);
    replica->store.commit_p99_ms = latency_quantile_ms(&commits, 0.99);
}

/* All points of an export have come, as far as can be known: the next one begins, or a while is over. */
static void end_export(struct fleet_replica *replica)
{
    struct fleet_metrics *metrics = &replica->metrics;

    if (metrics->done_ns >= metrics->time_ns)
        return;
    replica->connections = metrics->sums.connections;
    replica->memory_used = metrics->sums.memory_used;
    replica->memory_limit = metrics->sums.memory_limit;
    if (metrics->done_ns > 0) {
        metrics->interval_ms = (metrics->time_ns - metrics->done_ns) / 1000000;
        if (metrics->interval_ms > MAX_INTERVAL_MS)
            metrics->interval_ms = MAX_INTERVAL_MS;
        compare(replica, (double)(metrics->time_ns - metrics->done_ns) / 1e9);
    }
    metrics->last = metrics->sums;
    metrics->done_ns = metrics->time_ns;
    memset(&metrics->sums, 0, sizeof(metrics->sums));
}

static bool begin_point(struct fleet_replica *replica, const struct otlp_point_view *point, uint64_t now_ms)
{
    struct fleet_metrics *metrics = &replica->metrics;

    if (point->time_ns == 0)
        return false;
    if (metrics->done_ns > MAX_LATE_NS && point->time_ns < metrics->done_ns - MAX_LATE_NS)
        *metrics = (struct fleet_metrics){.time_ns = 0};
    if (point->time_ns <= metrics->done_ns)
        return false; /* late */
    if (point->time_ns > metrics->time_ns) {
        end_export(replica);
        metrics->time_ns = point->time_ns;
    }
    metrics->arrived_ms = now_ms;
    return true;
}

static void take_sum(struct fleet_replica *replica, struct str metric, const struct otlp_point_view *point)
{
    struct fleet_sums *sums = &replica->metrics.sums;

    if (str_eq(metric, STR("http_requests_total")) || str_eq(metric, STR("grpc_server_handled_total")))
        take_requests(sums, point);
    else if (str_eq(metric, STR("http_request_duration_seconds")) ||
             str_eq(metric, STR("grpc_server_handling_seconds")))
        take_histogram(sums->latency, point);
    else if (str_eq(metric, STR("event_loop_turn_seconds")))
        take_loop(&replica->metrics, point, otlp_pair_string(&point->attributes, STR("worker")));
    else if (str_eq(metric, STR("thread_cpu_seconds_total")))
        take_loop(&replica->metrics, point, otlp_pair_string(&point->attributes, STR("thread")));
    else if (str_eq(metric, STR("clients_memory_bytes")))
        sums->memory_used += point->value;
    else if (str_eq(metric, STR("memory_part_max_bytes")) && is_label(point, STR("part"), STR("clients")))
        sums->memory_limit += point->value;
    else if ((str_eq(metric, STR("http_connections")) && !is_label(point, STR("server"), STR("admin"))) ||
             str_eq(metric, STR("grpc_server_connections")))
        sums->connections += point->value;
    else if (str_eq(metric, STR("store_commits_total")))
        sums->commits += point->value;
    else if (str_eq(metric, STR("store_commit_seconds")))
        take_histogram(sums->commit_latency, point);
}

void fleet_point(struct fleet *fleet, struct fleet_replica *replica, struct str metric,
                 const struct otlp_point_view *point, uint64_t now_ms)
{
    if (!begin_point(replica, point, now_ms) || !isfinite(point->value))
        return;
    if (metric.len > 6 && memcmp(metric.s, "store_", 6) == 0) {
        open_store(&replica->store);
        if (take_store(replica, metric, point))
            return;
    }
    if (str_eq(metric, STR("process_phase")))
        take_phase(fleet, replica, point, now_ms);
    else if (str_eq(metric, STR("process_start_time_seconds")) && point->value > 0 && point->value < 1e12)
        note_start(fleet, replica, (uint64_t)(point->value * 1000), now_ms);
    else
        take_sum(replica, metric, point);
}

/* ---- once a second ---- */

static bool is_silent(const struct fleet_replica *replica, uint64_t now_ms)
{
    uint64_t limit_ms = replica->metrics.interval_ms > 0
                            ? SILENT_INTERVALS * replica->metrics.interval_ms + SILENT_EXTRA_MS
                            : SILENT_MS;

    return now_ms > replica->last_seen_ms + limit_ms;
}

static void show_spans(struct fleet_replica *replica, uint64_t second)
{
    replica->latency = fleet_window_latency(&replica->window);
    replica->requests_per_s = fleet_window_requests(&replica->window, second);
    replica->errors_per_s = fleet_window_errors(&replica->window, second);
    replica->p50_ms = latency_quantile_ms(&replica->latency, 0.5);
    replica->p99_ms = latency_quantile_ms(&replica->latency, 0.99);
}

static void tick_replica(struct fleet *fleet, struct fleet_replica *replica, uint64_t second, uint64_t now_ms)
{
    advance(&replica->window, fleet->second, second);
    if (replica->metrics.time_ns > replica->metrics.done_ns && now_ms >= replica->metrics.arrived_ms + 300)
        end_export(replica);
    if (replica->state != FLEET_GONE && is_silent(replica, now_ms))
        set_state(fleet, replica, FLEET_GONE, now_ms);
    if (replica->state == FLEET_GONE) {
        replica->requests_per_s = replica->errors_per_s = 0;
        replica->p50_ms = replica->p99_ms = NAN;
        replica->latency = (struct latency){{0}};
    } else if (replica->metrics.done_ns == 0) {
        show_spans(replica, second);
    }
}

static void tick_service(struct fleet *fleet, struct fleet_service *service, uint64_t now_ms)
{
    unsigned there = 0;
    char text[64];

    for (unsigned i = 0; i < fleet->replica_count; i++)
        there += fleet->replicas[i]->service == service && fleet->replicas[i]->state != FLEET_GONE;
    if (there != service->seen) {
        service->seen = there;
        service->seen_ms = now_ms;
    }
    if (service->announced == service->seen || now_ms < service->seen_ms + STABLE_MS)
        return;
    snprintf(text, sizeof(text), "%u -> %u", service->announced, service->seen);
    if (service->is_announced) /* how many there were at first is no change */
        happened(fleet, FLEET_SCALED, service, NULL, now_ms, text);
    service->announced = service->seen;
    service->is_announced = true;
}

static void write_step(struct fleet *fleet, struct fleet_service *service)
{
    struct latency all = {{0}};
    double requests = 0, errors = 0;

    for (unsigned i = 0; i < fleet->replica_count; i++) {
        const struct fleet_replica *replica = fleet->replicas[i];

        if (replica->service != service)
            continue;
        requests += replica->requests_per_s;
        errors += replica->errors_per_s;
        latency_merge(&all, &replica->latency);
    }
    service->requests[fleet->step] = (float)requests;
    service->errors[fleet->step] = (float)errors;
    service->p99_ms[fleet->step] = (float)latency_quantile_ms(&all, 0.99);
}

static void tick_flows(struct fleet *fleet, uint64_t second, uint64_t now_ms)
{
    for (unsigned i = 0; i < fleet->flow_count;) {
        struct fleet_flow *flow = fleet->flows[i];

        advance(&flow->window, fleet->second, second);
        if (now_ms < flow->last_ms + FLEET_FORGET_MS) {
            i++;
            continue;
        }
        fleet->flows[i] = fleet->flows[--fleet->flow_count];
        fleet->used -= sizeof(*flow);
        free(flow);
    }
}

void fleet_tick(struct fleet *fleet, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;

    for (unsigned i = 0; i < fleet->replica_count; i++)
        tick_replica(fleet, fleet->replicas[i], second, now_ms);
    tick_flows(fleet, second, now_ms);
    for (unsigned i = 0; i < fleet->service_count; i++)
        tick_service(fleet, fleet->services[i], now_ms);
    if (now_ms >= fleet->step_ms + FLEET_STEP_MS) {
        for (unsigned i = 0; i < fleet->service_count; i++)
            write_step(fleet, fleet->services[i]);
        fleet->step = (fleet->step + 1) % FLEET_STEPS;
        fleet->step_ms = now_ms;
    }
    for (unsigned i = fleet->replica_count; i-- > 0;)
        if (fleet->replicas[i]->state == FLEET_GONE && now_ms >= fleet->replicas[i]->since_ms + FLEET_FORGET_MS)
            remove_replica(fleet, i);
    fleet->second = second;
}
