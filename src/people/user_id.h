/* user_id -- whom users and countries talk about, and how both make up facts about them: from the id alone, so that
 * every replica and every version says the same. Pure functions; any thread. */
#pragma once
#include "buf.h"

#define USER_ID_MAX     64
#define USER_ID_ALLOWED "1 to 64 of A-Z, a-z, 0-9, _ and -"

bool user_id_valid(struct str id);
/* A number below bound (> 0) for this id, evenly spread; topics are independent of each other. */
uint64_t user_id_pick(struct str id, struct str topic, uint64_t bound);
