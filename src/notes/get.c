#include "conditions.h"
#include "notes.h"
#include <errno.h>
#include <stdlib.h>

struct get {
    struct notes *notes;
    struct http_deferred *deferred;
    struct uuid id;
    struct conditions conditions;
};

static struct http_reply *reply_to(const struct get *get, struct store_snapshot *snapshot)
{
    struct store_record record;
    struct http_reply *reply;
    struct note note;
    int err, status;

    err = store_get(snapshot, NOTES_TABLE, note_key(&get->id), &record);
    if (err == 0)
        err = note_decode(record.value, &note);
    if (err < 0)
        return err == -ENOENT ? notes_not_found() : notes_store_problem(err);
    status = conditions_check(&get->conditions, record.seq, true);
    if (status == 412)
        return http_problem(412, "the note is not the one that If-Match names");
    reply = status == 304 ? http_reply_new(304) : notes_reply(200, &note, &get->id);
    return http_set_header(notes_set_etag(reply, record.seq), "cache-control", "private, no-cache");
}

static void read_note(void *arg, int err, struct store_snapshot *snapshot)
{
    struct get *get = arg;

    http_answer(get->deferred, err == 0 ? notes_set_age(reply_to(get, snapshot), snapshot) : notes_store_problem(err));
    free(get);
}

struct http_reply *notes_get(struct http_req *req)
{
    struct notes *notes = req->state;
    struct conditions conditions;
    struct http_reply *problem;
    uint64_t max_stale_ms;
    struct uuid id;
    struct get *get;

    if (uuid_parse(req->params[0], &id) < 0)
        return notes_not_found();
    if (notes_max_stale(req, &max_stale_ms) < 0)
        return http_problem(400, "cache-control: max-stale must be a number of seconds");
    problem = conditions_read(req, &conditions);
    if (problem != NULL)
        return problem;
    get = malloc(sizeof(*get));
    if (get == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    *get = (struct get){notes, http_defer(req), id, conditions};
    if (get->deferred == NULL) {
        free(get);
        return http_problem_errno(-ENOMEM, NULL);
    }
    store_read(notes->store, http_deferred_deadline_ns(get->deferred), max_stale_ms, read_note, get);
    return NULL;
}
