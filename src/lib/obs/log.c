#include "log.h"
#include "clock.h"
#include "log_line.h"
#include "metrics.h"
#include "thread.h"
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of each of two: one is filled while the other is written. Only what is used is resident. */
#define QUEUE_SIZE    (4 * 1024 * 1024)
#define STACK_SIZE    4096 /* lines up to this need no memory but the caller's stack */
#define MAX_LINE      (64 * 1024)
#define GATHER_MS     5            /* how long the first line of a batch waits for others, at most */
#define BATCH_SIZE    (256 * 1024) /* bytes that are written at once where lines come fast */
#define POLL_MS       100          /* how often a writer that waits for room looks whether it has been given up */
#define MESSAGE_SIZE  512
#define EXIT_FLUSH_MS 2000

static_assert(STACK_SIZE < MAX_LINE && MAX_LINE < QUEUE_SIZE, "a line fits into the queue");
static_assert(MESSAGE_SIZE < STACK_SIZE, "a message fits into a line");

struct queue {
    size_t len;
    char data[QUEUE_SIZE];
};

struct log {
    int fd;
    _Atomic(enum log_severity) least;
    uint64_t kept; /* of the traces' 2^64, those whose successful requests are logged: see is_kept */
    struct metrics_series *dropped_total;
    struct log_line line;
    _Atomic(struct log_sink *) sink; /* NULL: none */
    pthread_rwlock_t sink_lock;      /* read while sink is used, written while it is changed */

    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t filled, ended;
    struct queue *front, *back; /* back is the thread's */
    uint64_t dropped;           /* lines, since the last line that said how many */
    bool closing, done;
    bool sleeping;         /* the thread waits for a first line, not for a batch */
    bool writing;          /* the thread is; then ended is signalled */
    atomic_bool abandoned; /* log_close has stopped waiting: the thread frees the log, and must not count any more */
    bool torn;             /* thread's: the last write ended within a line */
};

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
    if ((before == 0 && log->sleeping) || (before < BATCH_SIZE && queue->len >= BATCH_SIZE))
        pthread_cond_signal(&log->filled);
    return 0;
}

static void drop(struct log *log, uint64_t lines)
{
    log->dropped += lines;
    metrics_add(log->dropped_total, lines);
}

static void put_into_sink(struct log *log, const struct log_entry *entry)
{
    struct log_sink *sink;

    if (atomic_load_explicit(&log->sink, memory_order_relaxed) == NULL)
        return;
    pthread_rwlock_rdlock(&log->sink_lock);
    sink = atomic_load(&log->sink);
    if (sink != NULL)
        sink->put(sink, entry);
    pthread_rwlock_unlock(&log->sink_lock);
}

void log_set_sink(struct log *log, struct log_sink *sink)
{
    if (log == NULL)
        return;
    pthread_rwlock_wrlock(&log->sink_lock);
    atomic_store(&log->sink, sink);
    pthread_rwlock_unlock(&log->sink_lock);
}

/* Formats on the stack; what does not fit there, in memory; what is beyond a line's bound, again with shorter strings.
 */
static void emit(struct log *log, const struct log_entry *entry)
{
    static const size_t limits[] = {SIZE_MAX, SIZE_MAX, 8192, 1024, 64};
    char stack[STACK_SIZE];
    /* A buffer that has its whole bound as its capacity never asks for memory. */
    struct buf on_stack = {.data = stack, .capacity = sizeof(stack), .max = sizeof(stack)}, on_heap = {.max = MAX_LINE};
    struct buf *out = &on_stack;

    log_line_append(&log->line, entry, limits[0], out);
    for (size_t i = 1; out->failed && i < sizeof(limits) / sizeof(limits[0]); i++) {
        out = &on_heap;
        buf_release(out);
        log_line_append(&log->line, entry, limits[i], out);
    }
    pthread_mutex_lock(&log->lock);
    if (out->failed || put(log, buf_str(out)) != 0)
        drop(log, 1);
    pthread_mutex_unlock(&log->lock);
    buf_release(&on_heap);
    put_into_sink(log, entry);
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
    struct log_entry entry = {.severity = LOG_WARNING, .fields = &field, .field_count = 1};

    snprintf(message, sizeof(message), "%llu log lines were dropped", (unsigned long long)log->dropped);
    entry.message = str_of(message);
    log_line_append(&log->line, &entry, SIZE_MAX, &line);
    if (!line.failed && put(log, buf_str(&line)) == 0)
        log->dropped = 0;
}

/* With the lock held. */
static void await_batch(struct log *log)
{
    uint64_t until_ns = clock_monotonic_ns() + GATHER_MS * CLOCK_NS_PER_MS;

    while (log->front->len < BATCH_SIZE && !log->closing &&
           thread_wait_until(&log->filled, &log->lock, until_ns) != -ETIMEDOUT)
        ;
}

/* With the lock held: waits for a batch of lines. False: there are none and the log closes. While lines come, nobody
 * wakes the thread but by a full batch: each time costs the core that it shares with an event loop two switches. Larger
 * batches would push the loop's memory out of the cache. */
static bool gather(struct log *log)
{
    await_batch(log);
    if (log->front->len > 0 || log->closing)
        return log->front->len > 0;
    log->sleeping = true;
    while (log->front->len == 0 && !log->closing)
        pthread_cond_wait(&log->filled, &log->lock);
    log->sleeping = false;
    await_batch(log);
    return log->front->len > 0;
}

static void log_destroy(struct log *log)
{
    if (log == NULL)
        return;
    pthread_cond_destroy(&log->ended);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->lock);
    pthread_rwlock_destroy(&log->sink_lock);
    free(log->front);
    free(log->back);
    log_line_release(&log->line);
    free(log);
}

static void *run(void *arg)
{
    struct log *log = arg;
    uint64_t lost = 0;
    bool abandoned;

    /* So that it does not interrupt an event loop of its core when it is woken. It is no loss where that is refused. */
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
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

int log_open(const struct log_def *def, struct log **ret_log)
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
    thread_cond_init(&log->filled);
    thread_cond_init(&log->ended);
    pthread_mutex_init(&log->lock, NULL);
    pthread_rwlock_init(&log->sink_lock, NULL);
    log->fd = def->fd;
    log->least = def->least;
    log->kept = def->skip_successes >= 100 ? 0 : UINT64_MAX / 100 * (100 - def->skip_successes);
    log->dropped_total = metrics_single(def->metrics, &dropped);
    log->front = malloc(sizeof(*log->front));
    log->back = malloc(sizeof(*log->back));
    if (log->front != NULL && log->back != NULL)
        r = log_line_init(&log->line, def->service, def->project, def->text);
    if (r == 0) {
        log->front->len = log->back->len = 0;
        r = thread_start(&log->thread, "log", run, log);
    }
    if (r != 0) {
        log_destroy(log);
        return r;
    }
    *ret_log = log;
    return 0;
}

static uint64_t deadline_ns(int timeout_ms)
{
    return clock_monotonic_ns() + (uint64_t)timeout_ms * CLOCK_NS_PER_MS;
}

void log_flush(struct log *log, int timeout_ms)
{
    uint64_t until_ns = deadline_ns(timeout_ms);

    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    while ((log->front->len > 0 || log->writing) && thread_wait_until(&log->ended, &log->lock, until_ns) != -ETIMEDOUT)
        ;
    pthread_mutex_unlock(&log->lock);
}

struct log *log_close(struct log *log, int timeout_ms)
{
    uint64_t until_ns = deadline_ns(timeout_ms);
    pthread_t thread;
    bool done;

    if (log == NULL)
        return NULL;
    thread = log->thread;
    pthread_mutex_lock(&log->lock);
    log->closing = true;
    pthread_cond_signal(&log->filled);
    while (!log->done && thread_wait_until(&log->ended, &log->lock, until_ns) != -ETIMEDOUT)
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
    return log != NULL && severity >= atomic_load_explicit(&log->least, memory_order_relaxed);
}

enum log_severity log_least(const struct log *log)
{
    return atomic_load(&log->least);
}

void log_set_least(struct log *log, enum log_severity least)
{
    atomic_store(&log->least, least);
}

static const char *const severity_names[] = {"debug", "info", "notice", "warning", "error", "critical"};

const char *log_severity_name(enum log_severity severity)
{
    return severity_names[severity];
}

int log_severity_parse(struct str name, enum log_severity *ret_severity)
{
    for (size_t i = 0; i < sizeof(severity_names) / sizeof(severity_names[0]); i++)
        if (str_eq(name, str_of(severity_names[i]))) {
            *ret_severity = (enum log_severity)i;
            return 0;
        }
    return -EINVAL;
}

void log_fields(struct log *log, enum log_severity severity, const struct trace *trace, const char *message,
                const struct log_field *fields, size_t count)
{
    if (log_enabled(log, severity))
        log_fields_always(log, severity, trace, message, fields, count);
}

void log_fields_always(struct log *log, enum log_severity severity, const struct trace *trace, const char *message,
                       const struct log_field *fields, size_t count)
{
    if (log != NULL)
        emit(log, &(struct log_entry){.severity = severity,
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

    buf_append_str(&message, log_cut(request->method, MESSAGE_SIZE / 4));
    buf_append_char(&message, ' ');
    buf_append_str(&message, log_cut(request->url, MESSAGE_SIZE / 2));
    buf_append_char(&message, ' ');
    buf_append_u64(&message, (uint64_t)request->status);
    return buf_str(&message);
}

/* A trace is logged by all services or by none: its id decides. Sampled traces always are. */
static bool is_kept(const struct log *log, const struct trace *trace)
{
    uint64_t number;

    if (trace == NULL || trace->sampled || log->kept >= UINT64_MAX / 100 * 100)
        return true;
    memcpy(&number, trace->trace_id + sizeof(trace->trace_id) - sizeof(number), sizeof(number));
    return be64toh(number) < log->kept;
}

void log_request(struct log *log, const struct trace *trace, const struct log_request *request)
{
    enum log_severity severity = request->status < 400 ? LOG_INFO : request->status < 500 ? LOG_WARNING : LOG_ERROR;
    struct log_entry entry = {.severity = severity, .trace = trace, .message = request->message, .request = request};
    char message[MESSAGE_SIZE];

    if (!log_enabled(log, severity) || (severity == LOG_INFO && !is_kept(log, trace)))
        return;
    if (request->message.len == 0)
        entry.message = request_message(request, message);
    emit(log, &entry);
}

_Noreturn void log_exit(struct log *log, int status, const char *message)
{
    log_fields(log, LOG_CRITICAL, NULL, message, NULL, 0);
    log_flush(log, EXIT_FLUSH_MS);
    _exit(status);
}
