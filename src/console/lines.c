#include "lines.h"
#include <errno.h>
#include <stdlib.h>

#define BUCKETS 4096

static const char *const names[LINES_SEVERITIES] = {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"};

int lines_open(struct lines *lines, size_t max)
{
    *lines = (struct lines){.max = max};
    TAILQ_INIT(&lines->list);
    return intern_open(&lines->strings, BUCKETS, &lines->used);
}

static size_t line_bytes(const struct lines_line *line)
{
    return intern_heap_bytes(sizeof(*line) + kept_bytes(line->fields.count));
}

static void remove_line(struct lines *lines, struct lines_line *line)
{
    TAILQ_REMOVE(&lines->list, line, entry);
    kept_put(&line->fields, &lines->strings);
    intern_put(&lines->strings, line->service);
    intern_put(&lines->strings, line->instance);
    intern_put(&lines->strings, line->message);
    lines->used -= line_bytes(line);
    free(line);
}

void lines_release(struct lines *lines)
{
    while (lines->max > 0 && !TAILQ_EMPTY(&lines->list))
        remove_line(lines, TAILQ_FIRST(&lines->list));
    intern_release(&lines->strings);
    *lines = (struct lines){.max = 0};
}

/* ---- adding ---- */

/* OpenTelemetry's numbers: four for each of TRACE, DEBUG, INFO, WARN, ERROR, FATAL; NOTICE is the second of INFO. */
static enum lines_severity severity_of(uint64_t number)
{
    if (number == 0 || number == 9)
        return LINES_INFO;
    return number <= 8    ? LINES_DEBUG
           : number <= 12 ? LINES_NOTICE
           : number <= 16 ? LINES_WARNING
           : number <= 20 ? LINES_ERROR
                          : LINES_CRITICAL;
}

static void fill_trace(struct lines_line *line, const struct otlp_record_view *record)
{
    line->has_trace = record->trace_id.len == sizeof(line->trace_id);
    line->has_span = record->span_id.len == sizeof(line->span_id);
    if (line->has_trace)
        memcpy(line->trace_id, record->trace_id.s, sizeof(line->trace_id));
    if (line->has_span)
        memcpy(line->span_id, record->span_id.s, sizeof(line->span_id));
}

const struct lines_line *lines_add(struct lines *lines, const struct otlp_record_view *record, struct str service,
                                   struct str instance, uint64_t now_ms)
{
    struct lines_line *line = calloc(1, sizeof(*line) + kept_bytes(kept_count(&record->attributes)));

    if (line == NULL)
        return NULL;
    line->sequence = ++lines->last;
    line->time_ms = record->time_ns != 0 ? record->time_ns / 1000000 : now_ms;
    line->severity = (uint8_t)severity_of(record->severity);
    line->service = intern_get(&lines->strings, service);
    line->instance = intern_get(&lines->strings, instance);
    line->message = intern_get(&lines->strings, record->body);
    fill_trace(line, record);
    kept_fill(&line->fields, &record->attributes, &lines->strings);
    lines->used += line_bytes(line);
    TAILQ_INSERT_TAIL(&lines->list, line, entry);
    while (lines->used > lines->max && TAILQ_FIRST(&lines->list) != line)
        remove_line(lines, TAILQ_FIRST(&lines->list));
    return line;
}

/* ---- what is wanted ---- */

bool lines_match(struct lines_filter *filter, const struct lines_line *line)
{
    if (line->severity < filter->least || line->time_ms >= filter->before_ms)
        return false;
    if (filter->service.len > 0 && !str_eq(filter->service, intern_str(line->service)))
        return false;
    if (filter->has_trace &&
        (!line->has_trace || memcmp(filter->trace_id, line->trace_id, sizeof(line->trace_id)) != 0))
        return false;
    return filter->text.len == 0 || kept_text_has(intern_str(line->message), filter->text, &filter->budget) ||
           kept_have_text(&line->fields, filter->text, &filter->budget);
}

const char *lines_severity_name(enum lines_severity severity)
{
    return names[severity];
}

int lines_severity_parse(struct str name, enum lines_severity *ret_severity)
{
    for (unsigned i = 0; i < LINES_SEVERITIES; i++)
        if (str_caseeq(name, str_of(names[i]))) {
            *ret_severity = (enum lines_severity)i;
            return 0;
        }
    return -EINVAL;
}
