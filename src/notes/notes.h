/* notes -- the service's handlers and what they share.
 *
 * A request runs in an event loop until it needs the store; from then on http_store.h carries it through the store's
 * callbacks, in whatever thread they come, to its deferred answer. */
#pragma once
#include "http_store.h"
#include "idempotency.h"
#include "note.h"

/* Every legal note fits as JSON, with each character escaped: 200 and 16 * 64 code points of at most 12 bytes, 64 KiB
 * of at most 6, and room for the rest. */
#define NOTES_MAX_REQUEST (448 << 10)

#define NOTES_PATCH_TYPE "application/merge-patch+json" /* RFC 7396 */

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

/* A note as a response body; its ETag is set when its seq is known. NULL out of memory. */
struct http_reply *notes_reply(int status, const struct note *note, const struct uuid *id);
struct http_reply *notes_not_found(void);
