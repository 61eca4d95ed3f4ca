/* POST: a new note, once for each idempotency key. */
#include "clock.h"
#include "http_json.h"
#include "notes.h"
#include <errno.h>
#include <stdlib.h>

struct create {
    struct notes *notes;
    struct http_deferred *deferred;
    struct buf
        content; /* the note as it would be stored, without id and times: what a request is told from others by */
    char key[IDEMPOTENCY_MAX_KEY];
    size_t key_len; /* 0: none was given */
    struct http_reply *reply;
};

static struct create *create_free(struct create *create)
{
    if (create == NULL)
        return NULL;
    http_reply_free(create->reply);
    buf_release(&create->content);
    free(create);
    return NULL;
}

static void end(struct create *create, struct http_reply *take_reply)
{
    http_answer(create->deferred, take_reply);
    create_free(create);
}

static struct str key_of(const struct create *create)
{
    return (struct str){create->key, create->key_len};
}

static struct http_reply *created_reply(const struct note *note, const struct uuid *id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return http_set_header(notes_reply(201, note, id), "location", "/v1/notes/%s", text);
}

/* ---- a new one ---- */

static void on_found(void *arg, int err, struct str answer, uint64_t seq);

static void on_written(void *arg, const struct store_result *result)
{
    struct create *create = arg;
    struct http_reply *reply = create->reply;

    if (result->err == -EEXIST && result->failed_op == 1) { /* another replica was first */
        idempotency_begin_again(create->notes->idempotency, key_of(create), buf_str(&create->content),
                                http_deferred_deadline_ns(create->deferred), on_found, create);
        return;
    }
    if (create->key_len > 0)
        idempotency_release(create->notes->idempotency, key_of(create));
    if (result->err == 0) {
        create->reply = NULL;
        end(create, http_set_etag(reply, result->seq));
    } else {
        end(create, http_store_problem(result->err));
    }
}

/* What idempotency keeps to repeat the answer: the id, then the note. */
static void add_key(struct create *create, struct store_batch *batch, const struct uuid *id, struct str value)
{
    struct buf answer = {0};

    buf_append_str(&answer, note_key(id));
    buf_append_str(&answer, value);
    store_batch_fail(batch, buf_error(&answer));
    idempotency_add(create->notes->idempotency, batch, key_of(create), buf_str(&create->content), buf_str(&answer));
    buf_release(&answer);
}

static int make_batch(struct create *create, struct store_batch *batch)
{
    struct buf value = {0};
    struct note note;
    struct uuid id;
    int err;

    err = note_decode(buf_str(&create->content), &note);
    if (err == 0)
        err = uuid_new(&id);
    if (err < 0)
        return err;
    note.created_ms = note.updated_ms = clock_realtime_ns() / CLOCK_NS_PER_MS;
    http_reply_free(create->reply);
    create->reply = created_reply(&note, &id);
    note_encode(&note, &value);
    err = buf_error(&value);
    store_batch_put(batch, NOTES_TABLE, note_key(&id), buf_str(&value), STORE_ABSENT, 0);
    if (create->key_len > 0)
        add_key(create, batch, &id, buf_str(&value));
    buf_release(&value);
    return http_reply_failed(create->reply) ? -ENOMEM : err;
}

static void write_note(struct create *create)
{
    struct store_batch *batch = store_batch_new();

    store_batch_fail(batch, make_batch(create, batch));
    store_batch_set_trace(batch, http_deferred_trace(create->deferred));
    store_write(create->notes->store, batch, http_deferred_deadline_ns(create->deferred), on_written, create);
}

/* ---- one that may have been made before ---- */

static struct http_reply *repeated_reply(struct str answer, uint64_t seq)
{
    struct note note;
    struct uuid id;
    int err = -EBADMSG;

    if (answer.len >= sizeof(id)) {
        memcpy(&id, answer.s, sizeof(id));
        err = note_decode((struct str){answer.s + sizeof(id), answer.len - sizeof(id)}, &note);
    }
    /* The note was the operation before the key's. */
    return err < 0 ? http_store_problem(err) : http_set_etag(created_reply(&note, &id), seq - 1);
}

static void on_found(void *arg, int err, struct str answer, uint64_t seq)
{
    struct create *create = arg;

    switch (err) {
    case 0:
        write_note(create);
        break;
    case -EEXIST:
        end(create, repeated_reply(answer, seq));
        break;
    case -EINVAL:
        end(create, http_problem(422, "the Idempotency-Key was used for another request"));
        break;
    case -EBUSY:
        end(create, http_set_header(http_problem(409, "a request with this Idempotency-Key is still running"),
                                    "retry-after", "1"));
        break;
    default:
        end(create, http_store_problem(err));
    }
}

/* ---- the request ---- */

static int count_header(void *arg, struct str value)
{
    ++*(unsigned *)arg;
    return 0;
}

static struct http_reply *read_key(struct http_req *req, struct create *create)
{
    struct str key = http_header(req, "idempotency-key");
    unsigned count = 0;

    http_each_header(req, "idempotency-key", count_header, &count);
    if (count == 0)
        return NULL;
    if (count > 1 || !idempotency_key_valid(key))
        return http_problem(400, "Idempotency-Key must be given once, as 1 to %d visible ASCII characters",
                            IDEMPOTENCY_MAX_KEY);
    memcpy(create->key, key.s, key.len);
    create->key_len = key.len;
    return NULL;
}

static struct http_reply *read_request(struct http_req *req, struct create *create)
{
    struct http_reply *problem = read_key(req, create);
    struct note note = {.title = STR("")};

    if (problem == NULL)
        problem = http_json_read(req, &note_fields, &note);
    if (problem != NULL)
        return problem;
    note_encode(&note, &create->content);
    return create->content.failed ? http_problem_errno(-ENOMEM, NULL) : NULL;
}

struct http_reply *notes_create(struct http_req *req)
{
    struct create *create = calloc(1, sizeof(*create));
    struct http_reply *problem;

    if (create == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    create->notes = req->state;
    problem = read_request(req, create);
    if (problem == NULL) {
        create->deferred = http_defer(req);
        problem = create->deferred == NULL ? http_problem_errno(-ENOMEM, NULL) : NULL;
    }
    if (problem != NULL) {
        create_free(create);
        return problem;
    }
    if (create->key_len > 0)
        idempotency_begin(create->notes->idempotency, key_of(create), buf_str(&create->content),
                          http_deferred_deadline_ns(create->deferred), on_found, create);
    else
        write_note(create);
    return NULL;
}
