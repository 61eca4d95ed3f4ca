/* Parts of answers that several handlers give. */
#include "notes.h"

struct http_reply *notes_reply(int status, const struct note *note, const struct uuid *id)
{
    struct buf body = {0};

    note_write_json(note, id, &body);
    return http_reply_take(status, "application/json", &body);
}

struct http_reply *notes_not_found(void)
{
    return http_problem(404, "there is no such note");
}
