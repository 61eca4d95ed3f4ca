#include "store_engine.h"
#include <errno.h>

struct str store_mark_make(enum store_mark_state state, const uint8_t id[STORE_RESTORE_ID], char mark[STORE_MARK])
{
    mark[0] = (char)state;
    memcpy(mark + 1, id, STORE_RESTORE_ID);
    return (struct str){mark, STORE_MARK};
}

static bool is_in_state(struct str mark, enum store_mark_state state)
{
    return mark.len == STORE_MARK && mark.s[0] == (char)state;
}

int store_mark_check(struct str mark, enum store_mode mode, const uint8_t *id, bool *ret_same, const char **ret_why)
{
    bool restoring = is_in_state(mark, STORE_MARK_RESTORING);

    *ret_same = false;
    if (mode != STORE_RESTORE) {
        *ret_why = "holds a part of an import that was interrupted: repeat it";
        return restoring ? -EPROTO : 0;
    }
    if (mark.len == STORE_MARK && memcmp(mark.s + 1, id, STORE_RESTORE_ID) == 0) {
        *ret_same = true;
        *ret_why = "has been imported already";
        return restoring ? 0 : -EALREADY;
    }
    *ret_why = "holds a part of another import: take an empty place";
    return restoring ? -ENOTEMPTY : 0;
}
