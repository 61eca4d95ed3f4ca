/* bugs -- mistakes that are planted in the store, one at a time, which the simulation must find. Some are made by the
 * store's own hook (store_engine.h), the others by the linker (-Wl,--wrap): a function of the store that another of its
 * files calls has another behaviour. The store itself is the one that services are linked with. */
#pragma once
#include <stdbool.h>

enum bug {
    BUG_NONE,
    BUG_ACK_BEFORE_COMMIT,
    BUG_LOST_MEMBER,
    BUG_STALE_READ,
    BUG_FULL_IS_DEFINITE,
    BUG_LOST_IS_DEFINITE,
    BUG_LOST_IS_MADE_AGAIN,
    BUG_EXPIRED_IS_DEFINITE,
    BUG_NO_FENCE,
    BUG_LANE_NOT_COMPARED,
    BUG_NO_EXPECTATIONS,
    BUG_CUT_IS_COMMITTED,
    BUG_HEAD_IGNORED,
    BUG_EARLIER_HEADS_TRUSTED,
    BUG_RECORD_NOT_APPLIED,
    BUG_RARE, /* from here on: found too seldom for --bugs */
    BUG_NOT_FORGOTTEN = BUG_RARE,
    BUG_DELETES_NOT_SEEN,
    BUG_WATCH_NOT_CHECKED,
    BUGS
};

extern const char *const bug_names[BUGS];
extern enum bug bug_planted;

bool bug_plant(const char *name); /* false: there is none of that name */
