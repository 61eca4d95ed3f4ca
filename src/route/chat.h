/* chat -- the notes that RouteChat has seen, by location, in memory that is bounded.
 *
 * At most CHAT_MAX_LOCATIONS locations with CHAT_MAX_NOTES notes of CHAT_MAX_MESSAGE bytes, and over all no more than
 * max_bytes of memory for notes; lists that are held, by readers who are slow, may keep CHAT_MAX_NOTES each beyond
 * that, so their number has to be bounded by others. What does not fit any more goes: of a location its oldest note, of
 * the locations the one that was written longest ago; the metric route_chat_dropped_notes_total counts the notes. Notes
 * are not shared between processes and end with them.
 *
 * Any thread. A note is never changed, and lives as long as the table or a list that was returned holds it.
 */
#pragma once
#include "buf.h"
#include "geo.h"
#include "metrics.h"

#define CHAT_MAX_LOCATIONS 4096
#define CHAT_MAX_NOTES     128
#define CHAT_MAX_MESSAGE   1024 /* bytes */

struct chat;

struct chat_note {
    unsigned refs; /* private */
    struct geo_point location;
    size_t len;
    char message[]; /* terminated */
};

/* {0} is an empty list. */
struct chat_notes {
    size_t count;
    struct chat_note *notes[CHAT_MAX_NOTES]; /* oldest first */
};

/* max_bytes 0: no bound but those above. metrics may be NULL. NULL out of memory. */
struct chat *chat_new(size_t max_bytes, struct metrics *metrics);
struct chat *chat_free(struct chat *chat); /* returns NULL; lists may outlive it */

/* Appends a note at its point and returns all notes there, itself the last. -EMSGSIZE beyond CHAT_MAX_MESSAGE,
 * -EINVAL where the message is not UTF-8, -ENOMEM. */
int chat_append(struct chat *chat, struct geo_point point, struct str message, struct chat_notes *ret_notes);
void chat_notes_release(struct chat_notes *notes);
