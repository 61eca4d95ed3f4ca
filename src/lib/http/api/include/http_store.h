/* http_store -- handlers whose answer depends on a store. They return what these functions return: a problem at once,
 * or NULL after the answer has been deferred.
 *
 * Reads accept data as old as the request's Cache-Control: max-stale allows, and set Age where the data may be old.
 * What is read or written sets ETag: "SEQ", the record's place in the order of commits, which is a strong validator.
 * Failures of the store are problem responses by err.h's table.
 *
 * Callbacks run in a thread of the store or in the caller's, and must not block. They get a copy of arg.
 */
#pragma once
#include "http.h"
#include "names.h"
#include "store.h"

/* Makes the reply from a snapshot; what the snapshot returns must be copied into it. */
typedef struct http_reply *http_store_reader(void *arg, struct store_snapshot *snapshot);
/* Answers what read returns. arg is copied: size bytes. */
struct http_reply *http_store_read(struct http_req *req, struct store *store, const void *arg, size_t size,
                                   http_store_reader *read);

/* Answers take_reply, with an ETag except to a DELETE, when the batch is durable. */
struct http_reply *http_store_write(struct http_req *req, struct store *store, struct store_batch *take_batch,
                                    struct http_reply *take_reply);

/* Reads and then writes what depends on it. change adds operations to the batch, which expect what it has read
 * (STORE_AT), and sets *ret_reply to the answer for when they are durable; or it returns the problem to answer instead.
 * Where the records have changed in between, it is called again with a new snapshot, until the request's deadline. arg
 * is copied; release (may be NULL) is called once with arg or its copy, when it is no longer needed, also on failure.
 */
typedef struct http_reply *http_store_change(void *arg, struct store_snapshot *snapshot, struct store_batch *batch,
                                             struct http_reply **ret_reply);
struct http_reply *http_store_update(struct http_req *req, struct store *store, const void *arg, size_t size,
                                     void (*release)(void *arg), http_store_change *change);

/* For handlers that do more. The problem of a failed read or write. */
struct http_reply *http_store_problem(int err);
struct http_reply *http_set_etag(struct http_reply *reply, uint64_t seq);
