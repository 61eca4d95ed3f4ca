/* notes -- the service's handlers and what they share.
 *
 * A request runs in an event loop until it needs the store; from then on a struct of its own, on the heap, carries it
 * through the store's callbacks (whatever thread they come in) to its deferred answer. */
#pragma once
#include "http.h"
#include "idempotency.h"
#include "note.h"

/* Every legal note fits as JSON, with each character escaped: 200 and 16 * 64 code points of at most 12 bytes, 64 KiB
 * of at most 6, and room for the rest. */
#define NOTES_MAX_REQUEST (448 << 10)

/* All the state there is. */
struct notes {
    struct store_table tables[NOTES_TABLES];
    struct store *store;
    struct idempotency *idempotency;
    struct log *log;
};

struct http_reply *notes_create(struct http_req *req);
struct http_reply *notes_get(struct http_req *req);
struct http_reply *notes_replace(struct http_req *req);
struct http_reply *notes_patch(struct http_req *req);
struct http_reply *notes_delete(struct http_req *req);
struct http_reply *notes_list(struct http_req *req);
struct http_reply *notes_openapi(struct http_req *req);

/* A note as a response body; its ETag is set when its seq is known. NULL out of memory. */
struct http_reply *notes_reply(int status, const struct note *note, const struct uuid *id);
struct http_reply *notes_set_etag(struct http_reply *reply, uint64_t seq);
/* Age in seconds, rounded up, where the answer, whatever it says, comes from data that may be old. */
struct http_reply *notes_set_age(struct http_reply *reply, const struct store_snapshot *snapshot);
struct http_reply *notes_not_found(void);
/* What a failed read or write of the store means. */
struct http_reply *notes_store_problem(int err);

/* How stale the client lets its data be (Cache-Control: max-stale). 0 or -EINVAL. */
int notes_max_stale(struct http_req *req, uint64_t *ret_ms);
