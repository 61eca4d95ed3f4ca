#include "chat.h"
#include "zorder.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct location {
    struct geo_point point;
    struct location *next_in_bucket;
    struct location *older, *newer; /* by their last note */
    size_t first, count;            /* of the ring */
    struct chat_note *notes[CHAT_MAX_NOTES];
};

struct chat {
    pthread_mutex_t lock;
    struct metrics_series *dropped;
    size_t max_bytes, bytes; /* of notes */
    size_t location_count;
    struct location *oldest, *newest;
    struct location *buckets[CHAT_MAX_LOCATIONS];
};

static size_t note_size(size_t len)
{
    return sizeof(struct chat_note) + len + 1;
}

static void note_unref(struct chat_note *note)
{
    if (__atomic_sub_fetch(&note->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(note);
}

void chat_notes_release(struct chat_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        note_unref(notes->notes[i]);
    notes->count = 0;
}

struct chat *chat_new(size_t max_bytes, struct metrics *metrics)
{
    static const struct metrics_def dropped = {
        .name = "route_chat_dropped_notes_total",
        .help = "Notes that RouteChat has forgotten to stay within its memory.",
        .type = METRICS_COUNTER,
    };
    struct chat *chat = calloc(1, sizeof(*chat));

    if (!chat)
        return NULL;
    pthread_mutex_init(&chat->lock, NULL);
    chat->max_bytes = max_bytes ? max_bytes : SIZE_MAX;
    chat->dropped = metrics_single(metrics, &dropped);
    return chat;
}

/* ---- locations ---- */

static struct location **bucket_of(struct chat *chat, struct geo_point point)
{
    /* Fibonacci hashing: the product's upper bits depend on all bits of the point. */
    uint64_t hash = zorder_of(point) * 0x9e3779b97f4a7c15ULL;

    return &chat->buckets[hash >> 52];
}
static_assert(CHAT_MAX_LOCATIONS == 1 << 12, "bucket_of takes the upper 12 bits");

static void list_append(struct chat *chat, struct location *location)
{
    location->older = chat->newest;
    location->newer = NULL;
    *(chat->newest ? &chat->newest->newer : &chat->oldest) = location;
    chat->newest = location;
}

static void list_remove(struct chat *chat, struct location *location)
{
    *(location->older ? &location->older->newer : &chat->oldest) = location->newer;
    *(location->newer ? &location->newer->older : &chat->newest) = location->older;
}

static void drop_oldest_note(struct chat *chat, struct location *location)
{
    struct chat_note *note = location->notes[location->first];

    location->first = (location->first + 1) % CHAT_MAX_NOTES;
    location->count--;
    chat->bytes -= note_size(note->len);
    note_unref(note);
}

static void location_free(struct chat *chat, struct location *location)
{
    struct location **at = bucket_of(chat, location->point);

    while (*at != location)
        at = &(*at)->next_in_bucket;
    *at = location->next_in_bucket;
    list_remove(chat, location);
    while (location->count > 0)
        drop_oldest_note(chat, location);
    chat->location_count--;
    free(location);
}

/* The location, made where it is new, as the newest of all; NULL out of memory. */
static struct location *location_touch(struct chat *chat, struct geo_point point)
{
    struct location **bucket = bucket_of(chat, point), *location = *bucket;

    while (location && !geo_point_eq(location->point, point))
        location = location->next_in_bucket;
    if (location) {
        list_remove(chat, location);
    } else {
        location = calloc(1, sizeof(*location));
        if (!location)
            return NULL;
        location->point = point;
        location->next_in_bucket = *bucket;
        *bucket = location;
        chat->location_count++;
    }
    list_append(chat, location);
    return location;
}

struct chat *chat_free(struct chat *chat)
{
    if (!chat)
        return NULL;
    while (chat->oldest)
        location_free(chat, chat->oldest);
    pthread_mutex_destroy(&chat->lock);
    free(chat);
    return NULL;
}

/* ---- notes ---- */

/* Makes room for a note of that size at location, the newest. */
static void make_room(struct chat *chat, struct location *location, size_t size)
{
    size_t dropped = 0;

    if (location->count == CHAT_MAX_NOTES) {
        drop_oldest_note(chat, location);
        dropped++;
    }
    if (chat->location_count > CHAT_MAX_LOCATIONS) {
        dropped += chat->oldest->count;
        location_free(chat, chat->oldest);
    }
    while (chat->bytes > 0 && chat->bytes + size > chat->max_bytes) {
        drop_oldest_note(chat, chat->oldest);
        dropped++;
        if (chat->oldest->count == 0 && chat->oldest != location)
            location_free(chat, chat->oldest);
    }
    metrics_add(chat->dropped, dropped);
}

static void list_notes(const struct location *location, struct chat_notes *ret_notes)
{
    ret_notes->count = location->count;
    for (size_t i = 0; i < location->count; i++) {
        ret_notes->notes[i] = location->notes[(location->first + i) % CHAT_MAX_NOTES];
        __atomic_add_fetch(&ret_notes->notes[i]->refs, 1, __ATOMIC_RELAXED);
    }
}

int chat_append(struct chat *chat, struct geo_point point, struct str message, struct chat_notes *ret_notes)
{
    struct location *location;
    struct chat_note *note;
    size_t code_points;

    if (message.len > CHAT_MAX_MESSAGE)
        return -EMSGSIZE;
    if (str_utf8_length(message, &code_points) < 0)
        return -EINVAL;
    note = malloc(note_size(message.len));
    if (!note)
        return -ENOMEM;
    note->refs = 1;
    note->location = point;
    note->len = message.len;
    memcpy(note->message, message.s, message.len);
    note->message[message.len] = '\0';

    pthread_mutex_lock(&chat->lock);
    location = location_touch(chat, point);
    if (location) {
        make_room(chat, location, note_size(message.len));
        location->notes[(location->first + location->count++) % CHAT_MAX_NOTES] = note;
        chat->bytes += note_size(message.len);
        list_notes(location, ret_notes);
    }
    pthread_mutex_unlock(&chat->lock);
    if (!location)
        note_unref(note);
    return location ? 0 : -ENOMEM;
}
