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
    BUG_NO_FENCE,
    BUG_ANY_FENCE_IS_OURS,
    BUG_NOT_FORGOTTEN,
    BUG_CUT_IS_COMMITTED,
    BUG_KEYS_NOT_MARKED,
    BUG_POSITION_AHEAD,
    BUG_HEAD_IGNORED,
    BUG_DELETES_NOT_SEEN,
    BUGS
};

extern const char *const bug_names[BUGS];
extern enum bug bug_planted;

bool bug_plant(const char *name); /* false: there is none of that name */
