#include "calls.h"
#include "clock.h"
#include "geo.h"
#include "routeguide.pb-c.h"
#include "summary.h"
#include "uuid.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define SERVICE     &routeguide__route_guide__descriptor
#define KNOWN_NAME  "Berkshire Valley Management Area Trail, Jefferson, NJ, USA"
#define MIN_POINTS  2
#define MAX_POINTS  101
#define NOTES       6
#define LOCATIONS   3   /* of the notes */
#define MAX_GROUP   128 /* notes that a server keeps of a location */
#define SAVE_POINTS 1000

static const struct geo_point known_point = {409146138, -746188906}, no_point = {0, 0};
static const struct geo_rect known_rect = {{400000000, -750000000}, {420000000, -730000000}};

const char *const calls_methods[CALLS_KINDS] = {
    [CALLS_GET_FEATURE] = "GetFeature",   [CALLS_GET_NOTHING] = "GetFeature", [CALLS_LIST_FEATURES] = "ListFeatures",
    [CALLS_RECORD_ROUTE] = "RecordRoute", [CALLS_ROUTE_CHAT] = "RouteChat",   [CALLS_SAVE_FEATURE] = "SaveFeature",
};

const char *const calls_idempotent[] = {
    "routeguide.RouteGuide/GetFeature",
    "routeguide.RouteGuide/SaveFeature",
    "routeguide.RouteGuide/ListFeatures",
    "routeguide.RouteGuide/RecordRoute",
    NULL,
};

/* One call. Whoever starts a stream may still be sending when it has ended already: so both hold a reference. */
struct attempt {
    unsigned refs;
    enum calls_kind kind;
    calls_done *done;
    void *arg;
    struct calls_outcome outcome;
    struct rpc_stream *stream;
    char id[UUID_TEXT_LEN + 1]; /* marks what is this call's own */
    union {
        size_t listed;
        struct {
            struct geo_point points[MAX_POINTS];
            size_t count, sent;
            uint64_t begun_ns;
            bool answered;
        } route;
        struct {
            int current;      /* the note whose replies come: all at its location, itself the last */
            int group;        /* of them so far */
            bool seen[NOTES]; /* own notes among them */
            int replies;      /* in all */
        } chat;
    };
};

static void attempt_unref(struct attempt *attempt)
{
    if (__atomic_sub_fetch(&attempt->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    rpc_stream_unref(attempt->stream);
    free(attempt);
}

__attribute__((format(printf, 2, 3))) static void describe(struct attempt *attempt, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(attempt->outcome.text, sizeof(attempt->outcome.text), format, args);
    va_end(args);
}

/* Only the first thing that is wrong counts. */
#define WRONG(attempt_, ...)                                                                                           \
    do {                                                                                                               \
        if (!(attempt_)->outcome.wrong)                                                                                \
            describe((attempt_), __VA_ARGS__);                                                                         \
        (attempt_)->outcome.wrong = true;                                                                              \
    } while (0)

/* The end of every call. The description of an answer stands already. */
static void finish(struct attempt *attempt, const struct rpc_status *status)
{
    attempt->outcome.code = status->code;
    if (status->code != ERR_GRPC_OK)
        describe(attempt, "%s: %s", err_grpc_name(status->code), status->message);
    attempt->done(attempt->arg, &attempt->outcome);
    attempt_unref(attempt);
}

static Routeguide__Point to_message(struct geo_point point)
{
    Routeguide__Point message = ROUTEGUIDE__POINT__INIT;

    message.latitude = point.latitude;
    message.longitude = point.longitude;
    return message;
}

static bool is_at(const Routeguide__Point *message, struct geo_point point)
{
    return message && message->latitude == point.latitude && message->longitude == point.longitude;
}

/* ---- unary calls ---- */

static int start_unary(struct attempt *attempt, const struct calls_options *options, const ProtobufCMessage *request,
                       const struct rpc_metadata *metadata, rpc_unary_done *done)
{
    const struct rpc_call_options call = {
        .timeout_ms = options->timeout_ms, .metadata = metadata, .metadata_count = metadata != NULL};

    return rpc_unary(options->client, SERVICE, calls_methods[attempt->kind], request, &call, done, attempt);
}

static void on_feature(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    const Routeguide__Feature *feature = (const Routeguide__Feature *)reply;
    struct attempt *attempt = arg;
    bool known = attempt->kind == CALLS_GET_FEATURE;
    struct geo_point asked = known ? known_point : no_point;
    const char *name = known ? KNOWN_NAME : "";

    if (!feature)
        ; /* finish says why */
    else if (!is_at(feature->location, asked))
        WRONG(attempt, "the feature's location is not what was asked for");
    else if (strcmp(feature->name, name) != 0)
        WRONG(attempt, "the feature's name is \"%.200s\", not \"%s\"", feature->name, name);
    else
        describe(attempt, "(%d, %d): %s", asked.latitude, asked.longitude, known ? name : "nothing there");
    finish(attempt, status);
}

static int start_get(struct attempt *attempt, const struct calls_options *options)
{
    Routeguide__Point request = to_message(attempt->kind == CALLS_GET_FEATURE ? known_point : no_point);

    return start_unary(attempt, options, &request.base, NULL, on_feature);
}

static void on_saved(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct attempt *attempt = arg;

    if (reply && !((const Routeguide__SavedResult *)reply)->ok)
        WRONG(attempt, "the answer is OK, but not that the feature is saved");
    else if (reply)
        describe(attempt, "saved %s", attempt->id);
    finish(attempt, status);
}

static int start_save(struct attempt *attempt, const struct calls_options *options)
{
    struct rpc_metadata key = {.name = "idempotency-key", .value = str_of(attempt->id)};
    Routeguide__Feature request = ROUTEGUIDE__FEATURE__INIT;
    /* Points near, but not at, the one where nothing must be; the id's last digits are random. */
    Routeguide__Point location = to_message(
        (struct geo_point){(int32_t)(strtol(attempt->id + UUID_TEXT_LEN - 6, NULL, 16) % SAVE_POINTS) + 1, 0});

    request.name = attempt->id;
    request.location = &location;
    return start_unary(attempt, options, &request.base, &key, on_saved);
}

/* ---- streams ---- */

static int open_stream(struct attempt *attempt, const struct calls_options *options,
                       const struct rpc_stream_handlers *handlers)
{
    const struct rpc_call_options call = {.timeout_ms = options->timeout_ms};

    return rpc_stream_open(options->client, SERVICE, calls_methods[attempt->kind], &call, handlers, attempt,
                           &attempt->stream);
}

static void on_listed(void *arg, const ProtobufCMessage *message)
{
    const Routeguide__Feature *feature = (const Routeguide__Feature *)message;
    struct attempt *attempt = arg;

    attempt->listed++;
    if (!feature->location)
        WRONG(attempt, "a feature has no location");
    else if (!geo_rect_contains(&known_rect,
                                (struct geo_point){feature->location->latitude, feature->location->longitude}))
        WRONG(attempt, "\"%.200s\" is outside the rectangle", feature->name);
}

static void on_list_done(void *arg, const struct rpc_status *status)
{
    struct attempt *attempt = arg;

    if (attempt->listed == 0)
        WRONG(attempt, "there are no features in the rectangle");
    if (!attempt->outcome.wrong)
        describe(attempt, "%zu features between (%d, %d) and (%d, %d)", attempt->listed, known_rect.lo.latitude,
                 known_rect.lo.longitude, known_rect.hi.latitude, known_rect.hi.longitude);
    finish(attempt, status);
}

static int start_list(struct attempt *attempt, const struct calls_options *options)
{
    static const struct rpc_stream_handlers handlers = {.on_message = on_listed, .on_done = on_list_done};
    Routeguide__Point lo = to_message(known_rect.lo), hi = to_message(known_rect.hi);
    Routeguide__Rectangle request = ROUTEGUIDE__RECTANGLE__INIT;
    int r = open_stream(attempt, options, &handlers);

    if (r < 0)
        return r;
    request.lo = &lo;
    request.hi = &hi;
    rpc_stream_send(attempt->stream, &request.base);
    rpc_stream_half_close(attempt->stream);
    return 0;
}

/* Sends until the queue is full: then on_writable goes on, perhaps before this has returned. */
static void send_points(void *arg)
{
    struct attempt *attempt = arg;
    bool last;

    do {
        Routeguide__Point point = to_message(attempt->route.points[attempt->route.sent++]);

        last = attempt->route.sent == attempt->route.count;
        if (rpc_stream_send(attempt->stream, &point.base) != 0 && !last)
            return;
    } while (!last);
    rpc_stream_half_close(attempt->stream);
}

/* The last point may be the one that fills the queue. */
static void on_record_writable(void *arg)
{
    struct attempt *attempt = arg;

    if (attempt->route.sent < attempt->route.count)
        send_points(attempt);
}

static void on_summary(void *arg, const ProtobufCMessage *message)
{
    const Routeguide__RouteSummary *summary = (const Routeguide__RouteSummary *)message;
    struct attempt *attempt = arg;
    uint64_t now = clock_monotonic_ns();
    Routeguide__RouteSummary expected;
    struct summary own;

    summary_begin(&own, attempt->route.begun_ns);
    for (size_t i = 0; i < attempt->route.count; i++)
        summary_add_point(&own, attempt->route.points[i]);
    summary_result(&own, now, &expected);
    attempt->route.answered = true;
    if (summary->point_count != expected.point_count)
        WRONG(attempt, "point_count is %d, not %d", summary->point_count, expected.point_count);
    else if (summary->distance != expected.distance)
        WRONG(attempt, "distance is %d, not %d", summary->distance, expected.distance);
    else if (summary->feature_count < 0 || summary->feature_count > expected.point_count)
        WRONG(attempt, "feature_count is %d of %d points", summary->feature_count, expected.point_count);
    else if (summary->elapsed_time < 0 || summary->elapsed_time > expected.elapsed_time)
        WRONG(attempt, "elapsed_time is %d, after %d s", summary->elapsed_time, expected.elapsed_time);
    else
        describe(attempt, "%d points, %d of them features, %d m, %d s", summary->point_count, summary->feature_count,
                 summary->distance, summary->elapsed_time);
}

static void on_record_done(void *arg, const struct rpc_status *status)
{
    struct attempt *attempt = arg;

    if (status->code == ERR_GRPC_OK && !attempt->route.answered)
        WRONG(attempt, "there is no summary");
    finish(attempt, status);
}

/* Anywhere between -max and max. */
static int32_t coordinate(uint32_t random, int32_t max)
{
    return (int32_t)((int64_t)(random % (2u * (uint32_t)max + 1)) - max);
}

static int make_route(struct attempt *attempt)
{
    uint32_t random[1 + 2 * MAX_POINTS];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    attempt->route.count = MIN_POINTS + random[0] % (MAX_POINTS - MIN_POINTS + 1);
    for (size_t i = 0; i < attempt->route.count; i++)
        attempt->route.points[i] = (struct geo_point){coordinate(random[1 + 2 * i], GEO_MAX_LATITUDE),
                                                      coordinate(random[2 + 2 * i], GEO_MAX_LONGITUDE)};
    return 0;
}

static int start_record(struct attempt *attempt, const struct calls_options *options)
{
    static const struct rpc_stream_handlers handlers = {
        .on_message = on_summary, .on_writable = on_record_writable, .on_done = on_record_done};
    int r = make_route(attempt);

    attempt->route.begun_ns = clock_monotonic_ns();
    if (r == 0)
        r = open_stream(attempt, options, &handlers);
    if (r == 0)
        send_points(attempt);
    return r;
}

/* ---- RouteChat ---- */

static struct geo_point note_location(int note)
{
    return (struct geo_point){0, 1 + note % LOCATIONS};
}

static void note_text(const struct attempt *attempt, int note, char text[UUID_TEXT_LEN + 24])
{
    snprintf(text, UUID_TEXT_LEN + 24, "note %d of %s", note + 1, attempt->id);
}

/* The own note that a reply is, or -1: notes of others may be there. */
static int own_note(const struct attempt *attempt, const Routeguide__RouteNote *reply)
{
    char text[UUID_TEXT_LEN + 24];

    for (int note = 0; note < NOTES; note++) {
        note_text(attempt, note, text);
        if (strcmp(text, reply->message) == 0)
            return note;
    }
    return -1;
}

/* The replies to a note end with itself, and before it come, oldest first, those that were there: so also the own ones,
 * unless the location is full. */
static void end_group(struct attempt *attempt)
{
    int current = attempt->chat.current;

    for (int note = current % LOCATIONS; note < current; note += LOCATIONS)
        if (!attempt->chat.seen[note] && attempt->chat.group < MAX_GROUP)
            WRONG(attempt, "note %d is missing in the replies to note %d", note + 1, current + 1);
    attempt->chat.current++;
    attempt->chat.group = 0;
    memset(attempt->chat.seen, 0, sizeof(attempt->chat.seen));
}

static void on_note(void *arg, const ProtobufCMessage *message)
{
    const Routeguide__RouteNote *reply = (const Routeguide__RouteNote *)message;
    struct attempt *attempt = arg;
    int current = attempt->chat.current, note = own_note(attempt, reply);

    attempt->chat.replies++;
    if (current == NOTES) {
        WRONG(attempt, "there are replies behind the last note");
        return;
    }
    if (!is_at(reply->location, note_location(current)))
        WRONG(attempt, "a reply to note %d is of another location", current + 1);
    if (++attempt->chat.group > MAX_GROUP)
        WRONG(attempt, "there are more than %d replies to note %d", MAX_GROUP, current + 1);
    for (int later = note; note >= 0 && later < NOTES; later++)
        if (attempt->chat.seen[later])
            WRONG(attempt, "the replies to note %d are not oldest first", current + 1);
    if (note > current)
        WRONG(attempt, "note %d is a reply to note %d", note + 1, current + 1);
    if (note >= 0)
        attempt->chat.seen[note] = true;
    if (note == current)
        end_group(attempt);
}

static void on_chat_done(void *arg, const struct rpc_status *status)
{
    struct attempt *attempt = arg;

    if (status->code == ERR_GRPC_OK && attempt->chat.current < NOTES)
        WRONG(attempt, "there are no replies to note %d", attempt->chat.current + 1);
    if (!attempt->outcome.wrong)
        describe(attempt, "%d notes at %d locations, %d replies", NOTES, LOCATIONS, attempt->chat.replies);
    finish(attempt, status);
}

static int start_chat(struct attempt *attempt, const struct calls_options *options)
{
    static const struct rpc_stream_handlers handlers = {.on_message = on_note, .on_done = on_chat_done};
    int r = open_stream(attempt, options, &handlers);

    if (r < 0)
        return r;
    for (int note = 0; note < NOTES; note++) { /* fewer than fill the queue */
        Routeguide__Point location = to_message(note_location(note));
        Routeguide__RouteNote message = ROUTEGUIDE__ROUTE_NOTE__INIT;
        char text[UUID_TEXT_LEN + 24];

        note_text(attempt, note, text);
        message.location = &location;
        message.message = text;
        rpc_stream_send(attempt->stream, &message.base);
    }
    rpc_stream_half_close(attempt->stream);
    return 0;
}

int calls_start(enum calls_kind kind, const struct calls_options *options, calls_done *done, void *arg)
{
    static int (*const starts[CALLS_KINDS])(struct attempt *, const struct calls_options *) = {
        [CALLS_GET_FEATURE] = start_get,     [CALLS_GET_NOTHING] = start_get, [CALLS_LIST_FEATURES] = start_list,
        [CALLS_RECORD_ROUTE] = start_record, [CALLS_ROUTE_CHAT] = start_chat, [CALLS_SAVE_FEATURE] = start_save,
    };
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    struct uuid id;
    int r;

    if (!attempt)
        return -ENOMEM;
    attempt->refs = 2;
    attempt->kind = kind;
    attempt->done = done;
    attempt->arg = arg;
    r = uuid_new(&id);
    if (r == 0) {
        uuid_format(&id, attempt->id);
        r = starts[kind](attempt, options);
    }
    if (r < 0)
        attempt_unref(attempt); /* nothing has been started: the other reference is nobody's */
    attempt_unref(attempt);
    return r;
}
