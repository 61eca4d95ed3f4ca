#include "log.h"
#include "clock.h"
#include "metrics.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of each of two: one is filled while the other is written. Only what is used is resident. */
#define QUEUE_SIZE   (4 * 1024 * 1024)
#define STACK_SIZE   4096 /* lines up to this need no memory but the caller's stack */
#define MAX_LINE     (64 * 1024)
#define GATHER_MS    5   /* how long the first line of a batch waits for others */
#define POLL_MS      100 /* how often a writer that waits for room looks whether it has been given up */
#define MESSAGE_SIZE 512

static_assert(STACK_SIZE < MAX_LINE && MAX_LINE < QUEUE_SIZE, "a line fits into the queue");
static_assert(MESSAGE_SIZE < STACK_SIZE, "a message fits into a line");

struct queue {
    size_t len;
    char data[QUEUE_SIZE];
};

struct log {
    int fd;
    enum log_severity least;
    struct metrics_series *dropped_total;
    char *trace_prefix, *tail; /* what every line holds: "projects/P/traces/", and all from the labels on */

    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t filled, ended;
    struct queue *front, *back; /* back is the thread's */
    uint64_t dropped;           /* lines, since the last line that said how many */
    bool closing, done;
    bool writing;          /* the thread is; then ended is signalled */
    atomic_bool abandoned; /* log_close has stopped waiting: the thread frees the log, and must not count any more */
    bool torn;             /* thread's: the last write ended within a line */
};

/* ---- a line ---- */

struct entry {
    enum log_severity severity;
    const struct trace *trace;
    struct str message;
    const struct log_field *fields;
    size_t field_count;
    const struct log_request *request; /* or NULL */
};

/* A line that is being made. limit: of every string's bytes. */
struct line {
    struct buf *out;
    size_t limit;
    bool truncated;
};

static struct str cut(struct str s, size_t limit)
{
    if (s.len <= limit)
        return s;
    while (limit > 0 && ((unsigned char)s.s[limit] & 0xc0) == 0x80)
        limit--; /* not within a character */
    return (struct str){s.s, limit};
}

static void add_string(struct line *line, const char *key, struct str value)
{
    struct str shown = cut(value, line->limit);

    line->truncated |= shown.len < value.len;
    buf_append_json_string(line->out, str_of(key));
    buf_append_char(line->out, ':');
    buf_append_json_string(line->out, shown);
    buf_append_char(line->out, ',');
}

static void add_optional(struct line *line, const char *key, struct str value)
{
    if (value.len > 0)
        add_string(line, key, value);
}

static void add_field(struct line *line, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_STRING:
        add_string(line, field->key, field->string);
        return;
    case LOG_INTEGER:
        buf_append_json_string(line->out, str_of(field->key));
        buf_printf(line->out, ":%lld,", (long long)field->integer);
        return;
    case LOG_BOOLEAN:
        buf_append_json_string(line->out, str_of(field->key));
        buf_append_cstr(line->out, field->integer != 0 ? ":true," : ":false,");
        return;
    }
}

static void add_number(struct line *line, const char *key, uint64_t number)
{
    buf_append_cstr(line->out, key);
    buf_append_u64(line->out, number);
}

static void add_latency(struct line *line, uint64_t latency_ns)
{
    uint64_t micros = latency_ns % CLOCK_NS_PER_S / 1000;

    add_number(line, "\",\"latency\":\"", latency_ns / CLOCK_NS_PER_S);
    buf_append_char(line->out, '.');
    for (uint64_t place = 100000; place > 0; place /= 10)
        buf_append_char(line->out, (char)('0' + micros / place % 10));
    buf_append_cstr(line->out, "s\"},");
}

/* Its 64 bit integers are strings, as in all of Google's JSON. No printf here or below: it would take most of a
 * request's line's time. */
static void add_request(struct line *line, const struct log_request *request)
{
    buf_append_cstr(line->out, "\"httpRequest\":{");
    add_optional(line, "requestMethod", request->method);
    add_optional(line, "requestUrl", request->url);
    add_optional(line, "userAgent", request->user_agent);
    add_optional(line, "remoteIp", request->remote_ip);
    add_optional(line, "referer", request->referer);
    add_optional(line, "protocol", request->protocol);
    add_number(line, "\"status\":", (uint64_t)request->status);
    add_number(line, ",\"requestSize\":\"", request->request_size);
    add_number(line, "\",\"responseSize\":\"", request->response_size);
    add_latency(line, request->latency_ns);
    add_optional(line, "detail", request->detail);
    add_optional(line, "grpc_code", request->grpc_code);
}

static void add_trace(struct line *line, const struct trace *trace, const char *prefix)
{
    char trace_id[TRACE_ID_TEXT_SIZE], span_id[SPAN_ID_TEXT_SIZE];

    trace_id_text(trace, trace_id);
    trace_span_text(trace->span_id, span_id);
    buf_append_cstr(line->out, "\"logging.googleapis.com/trace\":");
    buf_append_cstr(line->out, prefix);
    buf_append_cstr(line->out, trace_id);
    buf_append_cstr(line->out, "\",\"logging.googleapis.com/spanId\":\"");
    buf_append_cstr(line->out, span_id);
    buf_append_cstr(line->out, "\",\"logging.googleapis.com/trace_sampled\":");
    buf_append_cstr(line->out, trace->sampled ? "true," : "false,");
}

static void format(const struct log *log, const struct entry *entry, size_t limit, struct buf *out)
{
    static const char *const severities[] = {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"};
    struct line line = {out, limit, false};
    char time[CLOCK_RFC3339_SIZE];

    buf_append_cstr(out, "{\"severity\":\"");
    buf_append_cstr(out, severities[entry->severity]);
    buf_append_cstr(out, "\",\"time\":\"");
    buf_append_cstr(out, clock_rfc3339(clock_realtime_ns(), 9, time));
    buf_append_cstr(out, "\",");
    add_string(&line, "message", entry->message);
    for (size_t i = 0; i < entry->field_count; i++)
        add_field(&line, &entry->fields[i]);
    if (entry->request != NULL)
        add_request(&line, entry->request);
    if (entry->trace != NULL)
        add_trace(&line, entry->trace, log->trace_prefix);
    if (line.truncated)
        buf_append_cstr(out, "\"truncated\":true,");
    buf_append_cstr(out, log->tail);
}

/* ---- the queue ---- */

/* With the lock held. */
static int put(struct log *log, struct str line)
{
    struct queue *queue = log->front;
    size_t before = queue->len;

    if (line.len > QUEUE_SIZE - queue->len)
        return -ENOBUFS;
    memcpy(queue->data + queue->len, line.s, line.len);
    queue->len += line.len;
    if (before == 0 || (before < QUEUE_SIZE / 2 && queue->len >= QUEUE_SIZE / 2))
        pthread_cond_signal(&log->filled);
    return 0;
}

static void drop(struct log *log, uint64_t lines)
{
    log->dropped += lines;
    metrics_add(log->dropped_total, lines);
}

/* Formats on the stack; what does not fit there, in memory; what is beyond a line's bound, again with shorter strings.
 */
static void emit(struct log *log, const struct entry *entry)
{
    static const size_t limits[] = {SIZE_MAX, SIZE_MAX, 8192, 1024, 64};
    char stack[STACK_SIZE];
    /* A buffer that has its whole bound as its capacity never asks for memory. */
    struct buf on_stack = {.data = stack, .capacity = sizeof(stack), .max = sizeof(stack)}, on_heap = {.max = MAX_LINE};
    struct buf *out = &on_stack;

    format(log, entry, limits[0], out);
    for (size_t i = 1; out->failed && i < sizeof(limits) / sizeof(limits[0]); i++) {
        out = &on_heap;
        buf_release(out);
        format(log, entry, limits[i], out);
    }
    pthread_mutex_lock(&log->lock);
    if (out->failed || put(log, buf_str(out)) != 0)
        drop(log, 1);
    pthread_mutex_unlock(&log->lock);
    buf_release(&on_heap);
}

/* ---- the thread ---- */

static uint64_t count_lines(struct str text)
{
    uint64_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.s[i] == '\n';
    return count;
}

/* Writes all, unless the reader has gone or the log was given up. Returns what was left. */
static struct str write_all(struct log *log, struct str rest)
{
    while (rest.len > 0 && !atomic_load(&log->abandoned)) {
        ssize_t written = write(log->fd, rest.s, rest.len);

        if (written >= 0)
            rest = (struct str){rest.s + written, rest.len - (size_t)written};
        else if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = log->fd, .events = POLLOUT}, 1, POLL_MS);
        else if (errno != EINTR)
            break;
    }
    return rest;
}

/* Returns how many lines were lost. */
static uint64_t write_queue(struct log *log)
{
    struct str rest = {log->back->data, log->back->len};

    if (log->torn && write_all(log, STR("\n")).len > 0)
        return count_lines(rest);
    rest = write_all(log, rest);
    log->torn = rest.len > 0 && rest.len < log->back->len && rest.s[-1] != '\n';
    return count_lines(rest);
}

/* With the lock held, into the empty front. */
static void report_dropped(struct log *log)
{
    char message[64], text[STACK_SIZE];
    struct buf line = {.data = text, .capacity = sizeof(text), .max = sizeof(text)};
    const struct log_field field = LOG_INT("dropped", (int64_t)log->dropped);
    struct entry entry = {.severity = LOG_WARNING, .fields = &field, .field_count = 1};

    snprintf(message, sizeof(message), "%llu log lines were dropped", (unsigned long long)log->dropped);
    entry.message = str_of(message);
    format(log, &entry, SIZE_MAX, &line);
    if (!line.failed && put(log, buf_str(&line)) == 0)
        log->dropped = 0;
}

/* With the lock held: waits until there are lines, and a little for more. False: there are none and the log closes. */
static bool gather(struct log *log)
{
    struct timespec until;

    while (log->front->len == 0 && !log->closing)
        pthread_cond_wait(&log->filled, &log->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_MS * (long)CLOCK_NS_PER_MS;
    until.tv_sec += until.tv_nsec / (long)CLOCK_NS_PER_S;
    until.tv_nsec %= (long)CLOCK_NS_PER_S;
    while (log->front->len < QUEUE_SIZE / 2 && !log->closing &&
           pthread_cond_timedwait(&log->filled, &log->lock, &until) != ETIMEDOUT)
        ;
    return log->front->len > 0;
}

static void log_destroy(struct log *log)
{
    if (log == NULL)
        return;
    pthread_cond_destroy(&log->ended);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->lock);
    free(log->front);
    free(log->back);
    free(log->trace_prefix);
    free(log->tail);
    free(log);
}

static void *run(void *arg)
{
    struct log *log = arg;
    uint64_t lost = 0;
    bool abandoned;

    pthread_mutex_lock(&log->lock);
    while (!atomic_load(&log->abandoned) && gather(log)) {
        struct queue *full = log->front;
        log->front = log->back;
        log->back = full;
        log->front->len = 0;
        /* Not while writing fails: its own loss would have to be reported again, for ever. */
        if (log->dropped > 0 && lost == 0)
            report_dropped(log);
        log->writing = true;
        pthread_mutex_unlock(&log->lock);
        lost = write_queue(log);
        pthread_mutex_lock(&log->lock);
        log->writing = false;
        pthread_cond_signal(&log->ended);
        if (lost > 0 && !atomic_load(&log->abandoned))
            drop(log, lost);
    }
    log->done = true;
    abandoned = atomic_load(&log->abandoned);
    pthread_cond_signal(&log->ended);
    pthread_mutex_unlock(&log->lock);
    if (abandoned)
        log_destroy(log);
    return NULL;
}

/* ---- opening and closing ---- */

static int set_constants(struct log *log, const char *service, const char *project)
{
    struct buf prefix = {0}, tail = {0};

    buf_append_char(&prefix, '"');
    if (project != NULL && project[0] != '\0')
        buf_printf(&prefix, "projects/%s/traces/", project);
    buf_append_char(&prefix, '\0');
    log->trace_prefix = prefix.data;
    buf_append_cstr(&tail, "\"logging.googleapis.com/labels\":{\"service\":");
    buf_append_json_string(&tail, str_of(service));
    buf_append_cstr(&tail, "},\"serviceContext\":{\"service\":");
    buf_append_json_string(&tail, str_of(service));
    buf_append_cstr(&tail, ",\"version\":\"" SLIPWAY_VERSION "\"}}\n");
    buf_append_char(&tail, '\0');
    log->tail = tail.data;
    return prefix.failed || tail.failed ? -ENOMEM : 0;
}

static void init_locks(struct log *log)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&log->filled, &monotonic);
    pthread_cond_init(&log->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&log->lock, NULL);
}

int log_open(int fd, enum log_severity least, const char *service, const char *project, struct metrics *metrics,
             struct log **ret_log)
{
    static const struct metrics_def dropped = {
        .name = "log_lines_dropped_total",
        .help = "Log lines that were lost because standard output did not take them.",
        .type = METRICS_COUNTER,
    };
    struct log *log = calloc(1, sizeof(*log));
    int r = -ENOMEM;

    if (log == NULL)
        return -ENOMEM;
    init_locks(log);
    log->fd = fd;
    log->least = least;
    log->dropped_total = metrics_single(metrics, &dropped);
    log->front = malloc(sizeof(*log->front));
    log->back = malloc(sizeof(*log->back));
    if (log->front != NULL && log->back != NULL)
        r = set_constants(log, service, project);
    if (r == 0) {
        log->front->len = log->back->len = 0;
        r = -pthread_create(&log->thread, NULL, run, log);
    }
    if (r != 0) {
        log_destroy(log);
        return r;
    }
    pthread_setname_np(log->thread, "log");
    *ret_log = log;
    return 0;
}

static struct timespec deadline(int timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * (long)CLOCK_NS_PER_MS;
    until.tv_sec += until.tv_nsec / (long)CLOCK_NS_PER_S;
    until.tv_nsec %= (long)CLOCK_NS_PER_S;
    return until;
}

void log_flush(struct log *log, int timeout_ms)
{
    struct timespec until = deadline(timeout_ms);

    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    while ((log->front->len > 0 || log->writing) &&
           pthread_cond_timedwait(&log->ended, &log->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&log->lock);
}

struct log *log_close(struct log *log, int timeout_ms)
{
    struct timespec until = deadline(timeout_ms);
    pthread_t thread;
    bool done;

    if (log == NULL)
        return NULL;
    thread = log->thread;
    pthread_mutex_lock(&log->lock);
    log->closing = true;
    pthread_cond_signal(&log->filled);
    while (!log->done && pthread_cond_timedwait(&log->ended, &log->lock, &until) != ETIMEDOUT)
        ;
    done = log->done;
    atomic_store(&log->abandoned, !done);
    pthread_mutex_unlock(&log->lock);
    if (done) {
        pthread_join(thread, NULL);
        log_destroy(log);
    } else {
        pthread_detach(thread); /* it may be within a write that never returns; it frees the log if it does */
    }
    return NULL;
}

/* ---- logging ---- */

bool log_enabled(const struct log *log, enum log_severity severity)
{
    return log != NULL && severity >= log->least;
}

void log_fields(struct log *log, enum log_severity severity, const struct trace *trace, const char *message,
                const struct log_field *fields, size_t count)
{
    if (log_enabled(log, severity))
        emit(log, &(struct entry){.severity = severity,
                                  .trace = trace,
                                  .message = str_of(message),
                                  .fields = fields,
                                  .field_count = count});
}

void log_printf(struct log *log, enum log_severity severity, const struct trace *trace, const char *format, ...)
{
    char *message = NULL;
    va_list args;
    int len;

    if (!log_enabled(log, severity))
        return;
    va_start(args, format);
    len = vasprintf(&message, format, args);
    va_end(args);
    if (len < 0)
        message = NULL;
    log_fields(log, severity, trace, message != NULL ? message : format, NULL, 0);
    free(message);
}

/* "METHOD URL STATUS", as much as fits. */
static struct str request_message(const struct log_request *request, char text[MESSAGE_SIZE])
{
    struct buf message = {.data = text, .capacity = MESSAGE_SIZE, .max = MESSAGE_SIZE};

    buf_append_str(&message, cut(request->method, MESSAGE_SIZE / 4));
    buf_append_char(&message, ' ');
    buf_append_str(&message, cut(request->url, MESSAGE_SIZE / 2));
    buf_append_char(&message, ' ');
    buf_append_u64(&message, (uint64_t)request->status);
    return buf_str(&message);
}

void log_request(struct log *log, const struct trace *trace, const struct log_request *request)
{
    enum log_severity severity = request->status < 400 ? LOG_INFO : request->status < 500 ? LOG_WARNING : LOG_ERROR;
    struct entry entry = {.severity = severity, .trace = trace, .message = request->message, .request = request};
    char message[MESSAGE_SIZE];

    if (!log_enabled(log, severity))
        return;
    if (request->message.len == 0)
        entry.message = request_message(request, message);
    emit(log, &entry);
}
