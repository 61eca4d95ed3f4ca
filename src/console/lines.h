/* lines -- the last log lines of all services, in bounded memory: the oldest goes first. One thread at a time. */
#pragma once
#include "kept.h"
#include <sys/queue.h>

/* In the order of how bad they are. */
enum lines_severity {
    LINES_DEBUG,
    LINES_INFO,
    LINES_NOTICE,
    LINES_WARNING,
    LINES_ERROR,
    LINES_CRITICAL,
    LINES_SEVERITIES,
};

struct lines_line {
    TAILQ_ENTRY(lines_line) entry;
    uint64_t sequence; /* counts lines as they come, from 1 */
    uint64_t time_ms;
    struct intern_string *service, *instance, *message;
    bool has_trace, has_span;
    uint8_t trace_id[16], span_id[8];
    uint8_t severity; /* enum lines_severity */
    struct kept_pairs fields;
};

TAILQ_HEAD(lines_list, lines_line);

struct lines {
    struct intern strings;
    struct lines_list list; /* the oldest first */
    size_t used, max;       /* bytes */
    uint64_t last;          /* sequence of the newest */
};

/* 0 or -ENOMEM. */
int lines_open(struct lines *lines, size_t max);
void lines_release(struct lines *lines); /* a zeroed one is fine */
/* NULL: out of memory. now_ms stands for the time of a record that has none. */
const struct lines_line *lines_add(struct lines *lines, const struct otlp_record_view *record, struct str service,
                                   struct str instance, uint64_t now_ms);

#define LINES_MAX_WORK (64ULL << 20) /* comparisons of characters in one search: about 0.1 s */

/* Which lines are wanted. Empty texts: all. */
struct lines_filter {
    struct str service, text;
    enum lines_severity least;
    bool has_trace;
    uint8_t trace_id[16];
    uint64_t before_ms; /* UINT64_MAX: all */
    uint64_t budget;    /* comparisons of characters that may still be made; with a text, 0 matches no line */
};
/* The text is looked for in the message and in string fields, without regard to the case of ASCII letters. */
bool lines_match(struct lines_filter *filter, const struct lines_line *line);

const char *lines_severity_name(enum lines_severity severity);
/* -EINVAL: there is none of that name. */
int lines_severity_parse(struct str name, enum lines_severity *ret_severity);
