#include "http_events.h"
#include "http_stream.h"
#include <errno.h>

struct http_reply *http_events_reply(struct http_stream *stream)
{
    struct http_reply *reply = http_reply_stream(200, "text/event-stream", stream);

    reply = http_set_header(reply, "cache-control", "no-store");
    return http_set_header(reply, "x-accel-buffering", "no");
}

struct str http_events_last_id(const struct http_req *req)
{
    return http_header(req, "last-event-id");
}

static bool has_any(struct str text, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (text.len > 0 && memchr(text.s, bytes.s[i], text.len) != NULL)
            return true;
    return false;
}

/* Takes the first line off a text: up to LF, CR or CRLF. False: nothing is left. An empty text is one empty line. */
static bool next_line(struct str *rest, struct str *ret_line)
{
    size_t len = 0;

    if (rest->s == NULL)
        return false;
    while (len < rest->len && rest->s[len] != '\n' && rest->s[len] != '\r')
        len++;
    *ret_line = (struct str){rest->s, len};
    if (len == rest->len) {
        *rest = STR_NULL;
        return true;
    }
    len += len + 1 < rest->len && rest->s[len] == '\r' && rest->s[len + 1] == '\n' ? 2 : 1;
    *rest = (struct str){rest->s + len, rest->len - len};
    return true;
}

static void append_field(struct buf *to, const char *name, struct str value)
{
    buf_append_cstr(to, name);
    buf_append_cstr(to, ": ");
    buf_append_str(to, value);
    buf_append_char(to, '\n');
}

static void append_lines(struct buf *to, const char *name, struct str text)
{
    struct str line;

    while (next_line(&text, &line))
        append_field(to, name, line);
}

int http_events_format(struct buf *to, const struct http_event *event)
{
    if (has_any(event->id, STR("\r\n\0")) || has_any(event->event, STR("\r\n")))
        return -EINVAL;
    if (event->id.s != NULL)
        append_field(to, "id", event->id);
    if (event->event.len > 0)
        append_field(to, "event", event->event);
    if (event->retry_ms > 0)
        buf_printf(to, "retry: %u\n", event->retry_ms);
    append_lines(to, "data", event->data);
    buf_append_char(to, '\n');
    return buf_error(to);
}

/* Steals the text. */
static int write_text(struct http_stream *stream, struct buf *text)
{
    int r = buf_error(text);

    if (r == 0)
        r = http_stream_write(stream, buf_str(text));
    buf_release(text);
    return r;
}

int http_events_send(struct http_stream *stream, const struct http_event *event)
{
    struct buf text = {0};
    int r = http_events_format(&text, event);

    if (r == -EINVAL)
        return r;
    return write_text(stream, &text);
}

int http_events_comment(struct http_stream *stream, struct str text)
{
    struct buf lines = {0};

    append_lines(&lines, "", text.s != NULL ? text : STR(""));
    buf_append_char(&lines, '\n');
    return write_text(stream, &lines);
}
