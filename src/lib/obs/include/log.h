/* log -- lines to standard output, without ever blocking the caller on it: one JSON object each in Cloud Logging's
 * format, or text: time, severity, message, and KEY=VALUE for each member.
 *
 * Lines (of 64 KiB at most: a longer one has its strings cut and says "truncated":true) are put into a bounded queue in
 * memory (4 MiB) and written by a thread of the log's own; when the reader of standard output is slower than that for
 * long, lines are dropped and counted, and the next line that fits says how many.
 * Any thread may log. Library code logs nothing above DEBUG.
 */
#pragma once
#include "buf.h"
#include "names.h"
#include "trace.h"

enum log_severity {
    LOG_DEBUG,
    LOG_INFO,
    LOG_NOTICE,
    LOG_WARNING,
    LOG_ERROR,
    LOG_CRITICAL,
};

struct log;
struct metrics;

struct log_def {
    int fd;
    enum log_severity least;
    bool text;               /* for people; else JSON */
    const char *service;     /* goes into every JSON line's logging.googleapis.com/labels and serviceContext */
    const char *project;     /* GOOGLE_CLOUD_PROJECT; NULL or "": traces are written without "projects/..." */
    unsigned skip_successes; /* percent of the traces that are not sampled: their requests below 400 are not logged */
    struct metrics *metrics; /* or NULL */
};

/* def is read during the call only. 0 or -errno. */
int log_open(const struct log_def *def, struct log **ret_log);
/* Waits until what is queued has been written, for timeout_ms at most. One thread at a time. log may be NULL. */
void log_flush(struct log *log, int timeout_ms);
/* Writes what is queued, for timeout_ms at most, and ends the thread. Returns NULL. */
struct log *log_close(struct log *log, int timeout_ms);

/* From now on, what is written to the stream stderr (h2o, C-core and others report there what clients do) becomes a log
 * line: its text is a string of it, so that it cannot forge a line, and nobody waits for a reader. Of the messages of a
 * second the first is logged; the next line says how many were left out. File descriptor 2 stays as it is: what the C
 * library and sanitizers write there by themselves arrives, and so do the last words before an abort, such as those of
 * an assertion. log must be there until log_return_stderr, and that is called once, before log_close. 0 or -ENOMEM. */
int log_take_stderr(struct log *log);
void log_return_stderr(void);

/* For a process that cannot end in order, because a thread does not end: logs the message, waits until the lines are
 * written (2 s at most), and exits without running anything else. log may be NULL. Any thread. */
_Noreturn void log_exit(struct log *log, int status, const char *message);

bool log_enabled(const struct log *log, enum log_severity severity);
/* The least severity that is logged; any thread. */
enum log_severity log_least(const struct log *log);
void log_set_least(struct log *log, enum log_severity least);
/* "debug" and so on. -EINVAL: there is none of that name. */
const char *log_severity_name(enum log_severity severity);
int log_severity_parse(struct str name, enum log_severity *ret_severity);

/* A further member of the line: a key and a value, valid during the call only. */
struct log_field {
    const char *key;
    enum { LOG_STRING, LOG_INTEGER, LOG_BOOLEAN } kind;
    struct str string;
    int64_t integer;
};
#define LOG_STR(key_, str_)     ((struct log_field){.key = (key_), .kind = LOG_STRING, .string = (str_)})
#define LOG_CSTR(key_, cstr_)   ((struct log_field){.key = (key_), .kind = LOG_STRING, .string = str_of(cstr_)})
#define LOG_INT(key_, integer_) ((struct log_field){.key = (key_), .kind = LOG_INTEGER, .integer = (integer_)})

/* A message with members. trace may be NULL. log may be NULL (nothing happens). */
void log_fields(struct log *log, enum log_severity severity, const struct trace *trace, const char *message,
                const struct log_field *fields, size_t count);
/* The same whatever the least severity is: for what nobody can do without, such as the port. */
void log_fields_always(struct log *log, enum log_severity severity, const struct trace *trace, const char *message,
                       const struct log_field *fields, size_t count);
void log_printf(struct log *log, enum log_severity severity, const struct trace *trace, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Bytes that a line may take of what a client has sent: see log_cut. */
#define LOG_MAX_URL    2048
#define LOG_MAX_HEADER 512
#define LOG_MAX_HOST   256

/* The beginning of s, of limit bytes at most, not within a character. */
struct str log_cut(struct str s, size_t limit);

/* The line of a request, HTTP or gRPC, at its end. Empty strings are left out. */
struct log_request {
    struct str method, url, user_agent, referer, protocol;
    struct str scheme, host;              /* the URL begins with both, where both are known and url is a path */
    struct str remote_ip, server_ip;      /* of the client, and the server's own */
    struct str message;                   /* the line's message; "METHOD URL STATUS" where empty */
    struct str detail;                    /* why it failed, for people; left out where empty */
    int status;                           /* HTTP status (of a gRPC call: what its status maps to) */
    struct str grpc_code;                 /* "OK", ...: gRPC only */
    uint64_t request_size, response_size; /* bytes of body */
    uint64_t latency_ns;
};
/* INFO below 400, WARNING below 500, ERROR from 500 on. */
void log_request(struct log *log, const struct trace *trace, const struct log_request *request);

/* A line before it is written: what log_fields or log_request was given. */
struct log_entry {
    enum log_severity severity;
    const struct trace *trace; /* or NULL */
    struct str message;
    const struct log_field *fields;
    size_t field_count;
    const struct log_request *request; /* or NULL */
};

/* Where lines go beside standard output: to a collector of logs (otlp.h). */
struct log_sink {
    /* Copies the entry and returns; never waits and logs nothing. */
    void (*put)(struct log_sink *sink, const struct log_entry *entry);
};
/* From now on, every line that is logged is put there, too. NULL: nowhere; returns after the last put has ended. */
void log_set_sink(struct log *log, struct log_sink *sink);
/* "DEBUG" and so on, as in lines. */
const char *log_severity_text(enum log_severity severity);
