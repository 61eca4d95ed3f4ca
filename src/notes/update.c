/* PUT, PATCH and DELETE: read, check the conditions, write if the note is still the one that was read; if not, once
 * more from the beginning, until the request's deadline. */
#include "clock.h"
#include "conditions.h"
#include "input.h"
#include "notes.h"
#include <errno.h>
#include <stdlib.h>

struct update;
typedef struct http_reply *update_apply(const struct update *update, struct note *note);

struct update {
    struct notes *notes;
    struct http_deferred *deferred;
    struct uuid id;
    struct conditions conditions;
    update_apply *apply; /* changes the note, or says why not; NULL: it is deleted */
    json_t *json;
    struct http_reply *reply; /* for when it is written */
};

static struct update *update_free(struct update *update)
{
    if (update == NULL)
        return NULL;
    json_decref(update->json);
    http_reply_free(update->reply);
    free(update);
    return NULL;
}

static void end(struct update *update, struct http_reply *take_reply)
{
    http_answer(update->deferred, take_reply);
    update_free(update);
}

/* ---- what is to be written ---- */

static struct http_reply *apply_note(const struct update *update, struct note *note)
{
    struct note old = *note;
    struct http_reply *problem = input_note(update->json, note);

    note->created_ms = old.created_ms;
    note->created_seq = old.created_seq;
    return problem;
}

static struct http_reply *apply_patch(const struct update *update, struct note *note)
{
    return input_patch(update->json, note);
}

/* Adds the changed note to the batch and makes the reply; or returns a problem. */
static struct http_reply *change(struct update *update, struct store_batch *batch, const struct store_record *record)
{
    struct http_reply *problem;
    struct buf value = {0};
    struct note note;
    int err;

    err = note_decode(record->value, &note);
    if (err < 0)
        return notes_store_problem(err);
    if (note.created_seq == 0)
        note.created_seq = record->seq;
    problem = update->apply(update, &note);
    if (problem != NULL)
        return problem;
    note.updated_ms = clock_realtime_ns() / CLOCK_NS_PER_MS;
    update->reply = notes_reply(200, &note, &update->id);
    note_encode(&note, &value);
    store_batch_fail(batch, http_reply_failed(update->reply) ? -ENOMEM : buf_error(&value));
    store_batch_put(batch, NOTES_TABLE, note_key(&update->id), buf_str(&value), STORE_AT, record->seq);
    buf_release(&value);
    return NULL;
}

static struct http_reply *delete (struct update *update, struct store_batch *batch, const struct store_record *record)
{
    update->reply = http_reply_new(204);
    if (http_reply_failed(update->reply))
        store_batch_fail(batch, -ENOMEM);
    store_batch_delete(batch, NOTES_TABLE, note_key(&update->id), STORE_AT, record->seq);
    return NULL;
}

/* ---- reading and writing ---- */

static void begin(struct update *update);

static void on_written(void *arg, const struct store_result *result)
{
    struct update *update = arg;
    struct http_reply *reply = update->reply;

    update->reply = NULL;
    if (result->err == 0) {
        end(update, update->apply != NULL ? notes_set_etag(reply, result->seq) : reply);
        return;
    }
    http_reply_free(reply);
    if (result->err == -ESTALE || result->err == -ENOENT)
        begin(update);
    else
        end(update, notes_store_problem(result->err));
}

static struct http_reply *read_and_change(struct update *update, struct store_batch *batch,
                                          struct store_snapshot *snapshot)
{
    struct store_record record;
    int err;

    err = store_get(snapshot, NOTES_TABLE, note_key(&update->id), &record);
    if (err < 0)
        return err == -ENOENT ? notes_not_found() : notes_store_problem(err);
    if (conditions_check(&update->conditions, record.seq, false) != 0)
        return http_problem(412, "the note has changed: its ETag is \"%llu\"", (unsigned long long)record.seq);
    return update->apply != NULL ? change(update, batch, &record) : delete (update, batch, &record);
}

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct update *update = arg;
    struct store_batch *batch;
    struct http_reply *problem;

    if (err < 0) {
        end(update, notes_store_problem(err));
        return;
    }
    batch = store_batch_new();
    problem = read_and_change(update, batch, snapshot);
    if (problem != NULL) {
        store_batch_free(batch);
        end(update, problem);
        return;
    }
    store_write(update->notes->store, batch, http_deferred_deadline_ns(update->deferred), on_written, update);
}

static void begin(struct update *update)
{
    store_read(update->notes->store, http_deferred_deadline_ns(update->deferred), 0, on_read, update);
}

/* ---- the requests ---- */

static struct http_reply *read_request(struct http_req *req, const char *content_type, struct update *update)
{
    struct http_reply *problem;

    if (uuid_parse(req->params[0], &update->id) < 0)
        return notes_not_found();
    problem = conditions_read(req, &update->conditions);
    return problem == NULL && content_type != NULL ? input_read(req, content_type, &update->json) : problem;
}

static struct http_reply *update_note(struct http_req *req, const char *content_type, update_apply *apply)
{
    struct update *update = calloc(1, sizeof(*update));
    struct http_reply *problem;

    if (update == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    update->notes = req->state;
    update->apply = apply;
    problem = read_request(req, content_type, update);
    if (problem == NULL) {
        update->deferred = http_defer(req);
        problem = update->deferred == NULL ? http_problem_errno(-ENOMEM, NULL) : NULL;
    }
    if (problem != NULL) {
        update_free(update);
        return problem;
    }
    begin(update);
    return NULL;
}

struct http_reply *notes_replace(struct http_req *req)
{
    return update_note(req, "application/json", apply_note);
}

struct http_reply *notes_patch(struct http_req *req)
{
    return update_note(req, "application/merge-patch+json", apply_patch);
}

struct http_reply *notes_delete(struct http_req *req)
{
    return update_note(req, NULL, NULL);
}
