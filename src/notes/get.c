#include "conditions.h"
#include "notes.h"
#include <errno.h>

struct get {
    struct uuid id;
    struct conditions conditions;
};

static struct http_reply *read_note(void *arg, struct store_snapshot *snapshot)
{
    const struct get *get = arg;
    struct store_record record;
    struct http_reply *reply;
    struct note note;
    int err, status;

    err = store_get(snapshot, NOTES_TABLE, note_key(&get->id), &record);
    if (err == 0)
        err = note_decode(record.value, &note);
    if (err < 0)
        return err == -ENOENT ? notes_not_found() : http_store_problem(err);
    status = conditions_check(&get->conditions, record.seq, true);
    if (status == 412)
        return http_problem(412, "the note is not the one that If-Match names");
    reply = status == 304 ? http_reply_new(304) : notes_reply(200, &note, &get->id);
    return http_set_header(http_set_etag(reply, record.seq), "cache-control", "private, no-cache");
}

struct http_reply *notes_get(struct http_req *req)
{
    const struct notes *notes = req->state;
    struct http_reply *problem;
    struct get get;

    if (uuid_parse(req->params[0], &get.id) < 0)
        return notes_not_found();
    problem = conditions_read(req, &get.conditions);
    return problem != NULL ? problem : http_store_read(req, notes->store, &get, sizeof(get), read_note);
}
