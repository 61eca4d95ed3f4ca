/* GET /api/...: what is asked for. */
#include "console.h"
#include "hex.h"
#include <errno.h>

#define DEFAULT_TRACES 100
#define DEFAULT_LINES  200
#define MAX_LIMIT      1000
#define MAX_BYTES      (2 << 20) /* of a list; it is cut then */
#define MAX_REPLY      (8 << 20)

/* ---- queries ---- */

/* A text: empty where it is not given. */
static struct http_reply *take_text(struct http_req *req, const char *name, struct str *ret_text)
{
    *ret_text = (struct str){"", 0};
    return http_query(req, name, ret_text) < 0 ? http_problem(400, "%s: badly encoded, or given twice", name) : NULL;
}

static struct http_reply *take_number(struct http_req *req, const char *name, uint64_t max, uint64_t *value)
{
    struct str text;
    int found = http_query(req, name, &text);

    if (found < 0 || (found == 1 && str_to_u64(text, max, value) != 0))
        return http_problem(400, "%s must be a whole number of at most %llu", name, (unsigned long long)max);
    return NULL;
}

static struct http_reply *take_trace_id(struct str text, uint8_t id[16])
{
    size_t i = 0;
    int byte = 0;

    while (text.len == 32 && i < 16 && (byte = hex_byte(text.s + 2 * i)) >= 0)
        id[i++] = (uint8_t)byte;
    return i == 16 ? NULL : http_problem(400, "a trace's id is 32 hexadecimal digits");
}

struct http_reply *api_lines_filter(struct http_req *req, struct lines_filter *ret_filter)
{
    struct str severity, trace;
    struct http_reply *problem;

    *ret_filter = (struct lines_filter){.before_ms = UINT64_MAX, .budget = LINES_MAX_WORK};
    if ((problem = take_text(req, "service", &ret_filter->service)) != NULL ||
        (problem = take_text(req, "text", &ret_filter->text)) != NULL ||
        (problem = take_text(req, "severity", &severity)) != NULL ||
        (problem = take_text(req, "trace", &trace)) != NULL ||
        (problem = take_number(req, "before_ms", UINT64_MAX, &ret_filter->before_ms)) != NULL)
        return problem;
    if (severity.len > 0 && lines_severity_parse(severity, &ret_filter->least) < 0)
        return http_problem(400, "severity is DEBUG, INFO, NOTICE, WARNING, ERROR or CRITICAL");
    ret_filter->has_trace = trace.len > 0;
    return trace.len > 0 ? take_trace_id(trace, ret_filter->trace_id) : NULL;
}

/* ---- replies ---- */

static struct http_reply *reply(struct buf *take_json)
{
    return http_set_header(http_reply_take(200, "application/json", take_json), "cache-control", "no-store");
}

struct http_reply *api_fleet(struct http_req *req)
{
    struct console *console = req->state;
    struct http_reply *problem = guard_host(req);
    struct buf json = {.max = MAX_REPLY};

    if (problem != NULL)
        return problem;
    pthread_mutex_lock(&console->lock);
    write_fleet(console, console_now_ms(), &json);
    pthread_mutex_unlock(&console->lock);
    return reply(&json);
}

struct http_reply *api_stores(struct http_req *req)
{
    struct console *console = req->state;
    struct http_reply *problem = guard_host(req);
    struct buf json = {.max = MAX_REPLY};

    if (problem != NULL)
        return problem;
    pthread_mutex_lock(&console->lock);
    write_stores(console, &json);
    pthread_mutex_unlock(&console->lock);
    return reply(&json);
}

struct http_reply *api_timeline(struct http_req *req)
{
    struct console *console = req->state;
    const struct fleet *fleet = &console->fleet;
    struct http_reply *problem = guard_host(req);
    struct buf json = {.max = MAX_REPLY};

    if (problem != NULL)
        return problem;
    buf_append_cstr(&json, "{\"events\":[");
    pthread_mutex_lock(&console->lock);
    for (uint64_t at = fleet->last_event; fleet_event(fleet, at) != NULL; at--) {
        if (at < fleet->last_event)
            buf_append_char(&json, ',');
        write_event(fleet_event(fleet, at), &json);
    }
    buf_append_cstr(&json, fleet->last_event > FLEET_MAX_EVENTS ? "],\"cut\":true}" : "],\"cut\":false}");
    pthread_mutex_unlock(&console->lock);
    return reply(&json);
}

struct http_reply *api_logs(struct http_req *req)
{
    struct console *console = req->state;
    struct buf json = {.max = MAX_REPLY};
    uint64_t limit = DEFAULT_LINES, count = 0;
    struct lines_filter filter;
    const struct lines_line *line;
    struct http_reply *problem = guard_host(req);

    if (problem != NULL || (problem = api_lines_filter(req, &filter)) != NULL ||
        (problem = take_number(req, "limit", MAX_LIMIT, &limit)) != NULL)
        return problem;
    buf_append_cstr(&json, "{\"lines\":[");
    pthread_mutex_lock(&console->lock);
    TAILQ_FOREACH_REVERSE(line, &console->lines.list, lines_list, entry)
    {
        bool matches = lines_match(&filter, line);

        if (filter.budget == 0 || (matches && (count == limit || json.len > MAX_BYTES)))
            break;
        if (!matches)
            continue;
        if (count++ > 0)
            buf_append_char(&json, ',');
        write_line(line, &json);
    }
    pthread_mutex_unlock(&console->lock);
    buf_append_cstr(&json, line != NULL ? "],\"cut\":true}" : "],\"cut\":false}");
    return reply(&json);
}

/* ---- traces ---- */

struct wanted {
    struct str service, text;
    uint64_t min_ms, errors, limit, count;
    uint64_t budget; /* as a lines_filter's */
    bool cut;
    struct buf *json;
};

static bool has_service(const struct traces_trace *trace, struct str service)
{
    for (const struct traces_span *span = trace->first; span != NULL; span = span->next)
        if (str_eq(intern_str(span->service), service))
            return true;
    return false;
}

/* In a span's name, its status, or an attribute; or the beginning of the trace's id. */
static bool span_has(const struct traces_span *span, struct str text, uint64_t *budget)
{
    return kept_text_has(intern_str(span->name), text, budget) ||
           kept_text_has(intern_str(span->message), text, budget) || kept_have_text(&span->attributes, text, budget);
}

static bool has_text(const struct traces_trace *trace, struct str text, uint64_t *budget)
{
    char id[2 * sizeof(trace->id) + 1];

    hex_encode(trace->id, sizeof(trace->id), id);
    if (kept_text_has((struct str){id, 2 * sizeof(trace->id)}, text, budget))
        return true;
    for (const struct traces_span *span = trace->first; span != NULL; span = span->next)
        if (span_has(span, text, budget))
            return true;
    return false;
}

static bool is_wanted(struct wanted *wanted, const struct traces_trace *trace)
{
    return (wanted->errors == 0 || trace->failed) && trace->end_ns - trace->start_ns >= wanted->min_ms * 1000000 &&
           (wanted->service.len == 0 || has_service(trace, wanted->service)) &&
           (wanted->text.len == 0 || has_text(trace, wanted->text, &wanted->budget));
}

static bool list_trace(void *arg, const struct traces_trace *trace)
{
    struct wanted *wanted = arg;

    bool matches = is_wanted(wanted, trace);

    if (wanted->budget == 0) {
        wanted->cut = true;
        return false;
    }
    if (!matches)
        return true;
    if (wanted->count == wanted->limit || wanted->json->len > MAX_BYTES) {
        wanted->cut = true;
        return false;
    }
    if (wanted->count++ > 0)
        buf_append_char(wanted->json, ',');
    write_trace_summary(trace, wanted->json);
    return true;
}

struct http_reply *api_traces(struct http_req *req)
{
    struct console *console = req->state;
    struct buf json = {.max = MAX_REPLY};
    struct wanted wanted = {.limit = DEFAULT_TRACES, .budget = LINES_MAX_WORK, .json = &json};
    struct http_reply *problem = guard_host(req);

    if (problem != NULL || (problem = take_text(req, "service", &wanted.service)) != NULL ||
        (problem = take_text(req, "text", &wanted.text)) != NULL ||
        (problem = take_number(req, "min_ms", 3600000, &wanted.min_ms)) != NULL ||
        (problem = take_number(req, "errors", 1, &wanted.errors)) != NULL ||
        (problem = take_number(req, "limit", MAX_LIMIT, &wanted.limit)) != NULL)
        return problem;
    buf_append_cstr(&json, "{\"traces\":[");
    pthread_mutex_lock(&console->lock);
    traces_each(&console->traces, list_trace, &wanted);
    pthread_mutex_unlock(&console->lock);
    buf_append_cstr(&json, wanted.cut ? "],\"cut\":true}" : "],\"cut\":false}");
    return reply(&json);
}

struct http_reply *api_trace(struct http_req *req)
{
    struct console *console = req->state;
    const struct traces_trace *trace;
    struct buf json = {.max = MAX_REPLY};
    uint8_t id[16];
    struct http_reply *problem = guard_host(req);

    if (problem != NULL || (problem = take_trace_id(req->params[0], id)) != NULL)
        return problem;
    pthread_mutex_lock(&console->lock);
    trace = traces_find(&console->traces, id);
    if (trace != NULL)
        write_trace(console, trace, &json);
    pthread_mutex_unlock(&console->lock);
    return trace != NULL ? reply(&json) : http_problem(404, "this trace is not kept, or not any more");
}
