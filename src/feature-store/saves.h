/* saves -- the records of feature-store: a save is a feature as it was at one time, under a key of its own, and never
 * changed. What is newest is decided by the order of commits.
 *
 * A record: key: a UUIDv7 (16 bytes). Value: format 1 (1 byte), latitude and longitude (4 bytes each, big-endian two's
 * complement), the name in UTF-8, a zero byte.
 * Index entries: "p" z-order(8) seq(8) -> key; "s" seq(8) -> key z-order(8). Numbers are big-endian.
 *
 * Functions that read take the cursor of the table's index. Errors: -EBADMSG for damaged or unknown records, and what
 * store.h says. What they return is the snapshot's.
 */
#pragma once
#include "geo.h"
#include "store.h"
#include "uuid.h"

enum { TABLE_SAVES, TABLE_IDEMPOTENCY, TABLES };

extern const struct store_table saves_table;

/* A record's value, for a new save. */
void saves_pack(struct buf *out, struct geo_point point, struct str name);

struct save {
    struct uuid id;
    uint64_t seq;
    struct geo_point point;
    const char *name; /* terminated */
};

int saves_cursor_open(struct store_snapshot *snapshot, struct store_cursor *ret_index);

/* The save before before_seq at a point that was committed last; UINT64_MAX: of all. -ENOENT where there is none. */
int saves_newest(struct store_cursor *index, struct geo_point point, uint64_t before_seq, struct save *ret_save);
/* Is there any? 0 or -ENOENT. */
int saves_exist(struct store_cursor *index, struct geo_point point);

/* A walk over the locations in a rectangle that have saves, in z-order. It may go on in another snapshot. */
struct saves_walk {
    struct geo_rect rect;
    uint64_t next; /* z-order; 0 at first */
};

/* One step, of bounded cost: 1: *ret_save is the newest save at the next location; 0: nothing yet, go on; -ENOENT: the
 * end. */
int saves_walk_step(struct saves_walk *walk, struct store_cursor *index, struct save *ret_save);

/* ---- for retention: index entries, without their records ---- */

struct save_ref {
    struct uuid id;
    uint64_t seq;
    uint64_t z;
};

/* Can its record be read? */
bool saves_ref_is_sound(struct store_cursor *index, const struct save_ref *ref);
/* The first committed after after_seq; -ENOENT. */
int saves_ref_after(struct store_cursor *index, uint64_t after_seq, struct save_ref *ret_ref);
/* As saves_newest; and the one before that at the same point, as long as the cursor has not been moved otherwise. */
int saves_ref_newest(struct store_cursor *index, uint64_t z, uint64_t before_seq, struct save_ref *ret_ref);
int saves_ref_older(struct store_cursor *index, uint64_t z, struct save_ref *ret_ref);
