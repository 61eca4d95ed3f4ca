/* PUT, PATCH and DELETE: read, check the conditions, write if the note is still the one that was read; if not, once
 * more from the beginning, until the request's deadline. */
#include "clock.h"
#include "conditions.h"
#include "http_json.h"
#include "notes.h"
#include <errno.h>
#include <jansson.h>

struct update {
    struct uuid id;
    struct conditions conditions;
    bool patch;
    json_t *json; /* NULL: the note is deleted */
};

static void release(void *arg)
{
    json_decref(((struct update *)arg)->json);
}

/* ---- what is to be written ---- */

static struct http_reply *apply(const struct update *update, struct note *note)
{
    if (!update->patch)
        *note = (struct note){.title = STR(""), .created_ms = note->created_ms, .created_seq = note->created_seq};
    return http_json_take(update->json, &note_fields, update->patch, note);
}

/* Adds the changed note to the batch and makes the reply; or returns a problem. */
static struct http_reply *change(const struct update *update, const struct store_record *record,
                                 struct store_batch *batch, struct http_reply **ret_reply)
{
    struct http_reply *problem;
    struct buf value = {0};
    struct note note;
    int err;

    err = note_decode(record->value, &note);
    if (err < 0)
        return http_store_problem(err);
    if (note.created_seq == 0)
        note.created_seq = record->seq;
    problem = apply(update, &note);
    if (problem != NULL)
        return problem;
    note.updated_ms = clock_realtime_ns() / CLOCK_NS_PER_MS;
    *ret_reply = notes_reply(200, &note, &update->id);
    note_encode(&note, &value);
    store_batch_fail(batch, buf_error(&value));
    store_batch_put(batch, NOTES_TABLE, note_key(&update->id), buf_str(&value), STORE_AT, record->seq);
    buf_release(&value);
    return NULL;
}

static struct http_reply *read_and_change(void *arg, struct store_snapshot *snapshot, struct store_batch *batch,
                                          struct http_reply **ret_reply)
{
    const struct update *update = arg;
    struct store_record record;
    int err;

    err = store_get(snapshot, NOTES_TABLE, note_key(&update->id), &record);
    if (err < 0)
        return err == -ENOENT ? notes_not_found() : http_store_problem(err);
    if (conditions_check(&update->conditions, record.seq, false) != 0)
        return http_problem(412, "the note has changed: its ETag is \"%llu\"", (unsigned long long)record.seq);
    if (update->json != NULL)
        return change(update, &record, batch, ret_reply);
    *ret_reply = http_reply_new(204);
    store_batch_delete(batch, NOTES_TABLE, note_key(&update->id), STORE_AT, record.seq);
    return NULL;
}

/* ---- the requests ---- */

static struct http_reply *update_note(struct http_req *req, const char *content_type, bool patch)
{
    const struct notes *notes = req->state;
    struct update update = {.patch = patch};
    struct http_reply *problem;

    if (uuid_parse(req->params[0], &update.id) < 0)
        return notes_not_found();
    problem = conditions_read(req, &update.conditions);
    if (problem == NULL && content_type != NULL)
        problem = http_json_parse(req, content_type, &update.json);
    return problem != NULL ? problem
                           : http_store_update(req, notes->store, &update, sizeof(update), release, read_and_change);
}

struct http_reply *notes_replace(struct http_req *req)
{
    return update_note(req, "application/json", false);
}

struct http_reply *notes_patch(struct http_req *req)
{
    return update_note(req, NOTES_PATCH_TYPE, true);
}

struct http_reply *notes_delete(struct http_req *req)
{
    return update_note(req, NULL, false);
}
