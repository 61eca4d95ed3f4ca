/* GET /api/events: a thread writes to all streams what is new, four times a second; it also does what is due by time.
 *
 * A client that reads too slowly misses lines, and is told how many; of the fleet it gets the next picture. Streams end
 * in a drain by themselves (http_stream.h); the thread gives back those that nobody reads any more.
 *
 * Locks: events' own is taken first, then console's. */
#include "clock.h"
#include "console.h"
#include "err.h"
#include "http_events.h"
#include "local.h"
#include "thread.h"
#include <errno.h>
#include <stdlib.h>

#define TURN_MS        250
#define TURNS_A_SECOND (1000 / TURN_MS)
#define LINES_A_TURN   50
#define MAX_QUEUE      (1280 * 1024) /* bytes that a client has not taken; write_fleet writes less */
#define MAX_EVENT      (384 * 1024)  /* bytes of lines in one event; the others come with the next */
#define MAX_FILTER     256           /* bytes of a text */
#define WORK_A_TURN    (2 << 20)     /* comparisons of characters for one client's text */

struct client {
    struct http_stream *stream; /* NULL: free */
    bool wants_lines;
    struct lines_filter filter; /* its texts are the ones below */
    char service[FLEET_NAME], text[MAX_FILTER];
    uint64_t line, event; /* the last that it has got */
    uint64_t missed;      /* lines that it has not got, and has not been told of */
};

struct events {
    struct console *console;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ends;
    unsigned turn;
    struct client clients[CONSOLE_MAX_STREAMS];
};

/* ---- one client ---- */

static int send(struct client *client, struct str type, struct buf *data)
{
    int r = buf_error(data);

    if (r == 0)
        r = http_events_send(client->stream, &(struct http_event){.event = type, .data = buf_str(data)});
    return r;
}

/* The first line that the client has not seen; NULL. */
static const struct lines_line *first_new(const struct lines *lines, uint64_t seen)
{
    const struct lines_line *line = TAILQ_LAST(&lines->list, lines_list), *first = NULL;

    for (; line != NULL && line->sequence > seen; line = TAILQ_PREV(line, lines_list, entry))
        first = line;
    return first;
}

/* Appends what matches; what is too much is counted, as are lines that could not be searched within WORK_A_TURN.
 * Returns how many there are. */
static unsigned write_lines(const struct console *console, struct client *client, struct buf *json)
{
    const struct lines_line *line = first_new(&console->lines, client->line);
    unsigned count = 0;

    client->filter.budget = WORK_A_TURN;
    for (; line != NULL; line = TAILQ_NEXT(line, entry)) {
        bool matches = lines_match(&client->filter, line);

        client->line = line->sequence;
        if (!matches && client->filter.budget > 0)
            continue;
        if (!matches || count == LINES_A_TURN || json->len > MAX_EVENT) {
            client->missed++;
            continue;
        }
        if (count++ > 0)
            buf_append_char(json, ',');
        write_line(line, json);
    }
    return count;
}

static int send_lines(struct events *events, struct client *client)
{
    struct buf json = {0};
    unsigned count;
    int r = 0;

    buf_append_cstr(&json, "{\"lines\":[");
    pthread_mutex_lock(&events->console->lock);
    count = write_lines(events->console, client, &json);
    pthread_mutex_unlock(&events->console->lock);
    buf_printf(&json, "],\"missed\":%llu}", (unsigned long long)client->missed);
    if (count > 0 || client->missed > 0) {
        r = send(client, STR("log"), &json);
        client->missed = r == 0 ? 0 : client->missed + count;
    }
    buf_release(&json);
    return r;
}

static int send_timeline(struct events *events, struct client *client)
{
    const struct fleet *fleet = &events->console->fleet;
    struct buf json = {0};
    bool more = true;
    int r = 0;

    while (r == 0 && more) {
        json.len = 0;
        pthread_mutex_lock(&events->console->lock);
        if (fleet->last_event > client->event + FLEET_MAX_EVENTS) /* older ones are no longer kept */
            client->event = fleet->last_event - FLEET_MAX_EVENTS;
        more = client->event < fleet->last_event;
        if (more)
            write_event(fleet_event(fleet, ++client->event), &json);
        pthread_mutex_unlock(&events->console->lock);
        if (more)
            r = send(client, STR("timeline"), &json);
        if (r == -EAGAIN) /* it comes with the next turn */
            client->event--;
    }
    buf_release(&json);
    return r;
}

/* 0, or -EPIPE: nobody reads. A queue that is full is no error. */
static int serve(struct events *events, struct client *client, struct buf *fleet)
{
    int r = fleet->len > 0 ? send(client, STR("fleet"), fleet) : 0;

    if (r != -EPIPE)
        r = send_timeline(events, client);
    if (r != -EPIPE && client->wants_lines)
        r = send_lines(events, client);
    return r == -EPIPE ? r : 0;
}

/* ---- the thread ---- */

static bool is_served(const struct events *events)
{
    for (size_t i = 0; i < CONSOLE_MAX_STREAMS; i++)
        if (events->clients[i].stream != NULL)
            return true;
    return false;
}

static void take_turn(struct events *events)
{
    struct buf fleet = {0};
    bool second = events->turn++ % TURNS_A_SECOND == 0;

    pthread_mutex_lock(&events->console->lock);
    if (second)
        console_tick(events->console, console_now_ms());
    if (second && is_served(events))
        write_fleet(events->console, console_now_ms(), &fleet);
    pthread_mutex_unlock(&events->console->lock);
    for (size_t i = 0; i < CONSOLE_MAX_STREAMS; i++)
        if (events->clients[i].stream != NULL && serve(events, &events->clients[i], &fleet) < 0)
            events->clients[i].stream = http_stream_abort(events->clients[i].stream);
    buf_release(&fleet);
}

static void *run(void *arg)
{
    struct events *events = arg;
    uint64_t due_ns = clock_monotonic_ns();

    pthread_mutex_lock(&events->lock);
    while (!events->ends) {
        if (events->turn % TURNS_A_SECOND == 0) { /* it may wait for the disk, and loops wait for the lock */
            pthread_mutex_unlock(&events->lock);
            local_refresh(events->console->local);
            pthread_mutex_lock(&events->lock);
        }
        take_turn(events);
        due_ns += TURN_MS * CLOCK_NS_PER_MS;
        if (due_ns < clock_monotonic_ns())
            due_ns = clock_monotonic_ns(); /* it was held up; turns are not made up for */
        while (!events->ends && thread_wait_until(&events->changed, &events->lock, due_ns) == 0)
            ;
    }
    pthread_mutex_unlock(&events->lock);
    return NULL;
}

int events_open(struct console *console, struct events **ret_events)
{
    struct events *events = calloc(1, sizeof(*events));
    int r;

    if (events == NULL)
        return -ENOMEM;
    events->console = console;
    pthread_mutex_init(&events->lock, NULL);
    thread_cond_init(&events->changed);
    r = thread_start(&events->thread, "console-events", run, events);
    if (r == 0) {
        *ret_events = events;
        return 0;
    }
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    free(events);
    return r;
}

struct events *events_close(struct events *events)
{
    if (events == NULL)
        return NULL;
    pthread_mutex_lock(&events->lock);
    events->ends = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
    pthread_join(events->thread, NULL);
    for (size_t i = 0; i < CONSOLE_MAX_STREAMS; i++)
        if (events->clients[i].stream != NULL)
            http_stream_end(events->clients[i].stream);
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    free(events);
    return NULL;
}

/* ---- a new client ---- */

static bool keep_text(struct str *text, char *room, size_t size)
{
    if (text->len >= size)
        return false;
    memcpy(room, text->s, text->len);
    text->s = room;
    return true;
}

/* -EAGAIN: there are too many. */
static int join(struct events *events, struct http_req *req, const struct client *wanted,
                struct http_stream **ret_stream)
{
    struct client *client = events->clients;
    int r;

    while (client < events->clients + CONSOLE_MAX_STREAMS && client->stream != NULL)
        client++;
    if (client == events->clients + CONSOLE_MAX_STREAMS)
        return -EAGAIN;
    *client = *wanted;
    if (!keep_text(&client->filter.service, client->service, sizeof(client->service)) ||
        !keep_text(&client->filter.text, client->text, sizeof(client->text)))
        return -EMSGSIZE;
    r = http_stream_open(req, &(struct http_stream_def){HTTP_EVENTS_HEARTBEAT, .max_bytes = MAX_QUEUE}, ret_stream);
    if (r < 0)
        return r;
    pthread_mutex_lock(&events->console->lock);
    client->line = events->console->lines.last;
    client->event = events->console->fleet.last_event;
    pthread_mutex_unlock(&events->console->lock);
    client->stream = *ret_stream;
    return 0;
}

struct http_reply *events_get(struct http_req *req)
{
    struct console *console = req->state;
    struct client wanted = {.stream = NULL};
    struct http_stream *stream = NULL;
    struct str logs;
    struct http_reply *problem = guard_host(req);
    int r;

    if (problem != NULL || (problem = api_lines_filter(req, &wanted.filter)) != NULL)
        return problem;
    wanted.wants_lines = http_query(req, "logs", &logs) == 1 && str_eq(logs, STR("1"));
    pthread_mutex_lock(&console->events->lock);
    r = join(console->events, req, &wanted, &stream);
    pthread_mutex_unlock(&console->events->lock);
    if (r == -EMSGSIZE)
        return http_problem(400, "service or text is too long");
    return r == 0 ? http_events_reply(stream) : http_problem_errno(r, "events");
}
