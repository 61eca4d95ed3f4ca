/* log_line -- what a line of the log looks like: JSON for Cloud Logging, or text for people. */
#pragma once
#include "include/names.h"
#include "log.h"

/* What every line holds. */
struct log_line {
    bool text;
    struct buf trace_begin, tail; /* of JSON: the trace's member up to its id, and all from the labels on */
};

/* 0 or -ENOMEM; then too, log_line_release frees it. */
int log_line_init(struct log_line *line, const char *service, const char *project, bool text);
void log_line_release(struct log_line *line);

/* Of each string limit bytes at most, not within a character. */
void log_line_append(const struct log_line *line, const struct log_entry *entry, size_t limit, struct buf *out);
/* The members that name the service and its version, up to the line's end. */
void log_line_append_service(struct buf *out, const char *service);
