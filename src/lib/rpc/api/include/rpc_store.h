/* rpc_store -- unary rpcs whose reply is read from a store.
 *
 * Reads accept data as old as the call's metadata x-max-stale (seconds, a year at most) allows, and tell in x-age, in
 * seconds, how old the data may be, where it may be.
 */
#pragma once
#include "names.h"
#include "rpc.h"
#include "store.h"

/* Replies from a snapshot and returns 0, or returns -errno, with which the call is then finished. Runs in a thread of
 * the store or in the caller's, and must not block. */
typedef int rpc_store_reader(void *arg, struct rpc_call *call, struct store_snapshot *snapshot);
/* Calls read once with a copy of arg, size bytes, unless the store cannot be read: then the call is finished with the
 * status of its error. */
void rpc_store_read(struct rpc_call *call, struct store *store, const void *arg, size_t size, rpc_store_reader *read);

/* ---- for handlers that do more ---- */

/* In ms: 0 where the call has no x-max-stale. -EINVAL where it is malformed, which rpc_store_error explains. Handlers'
 * thread only. */
int rpc_store_max_stale(const struct rpc_call *call, uint64_t *ret_ms);
void rpc_store_tell_age(struct rpc_call *call, const struct store_snapshot *snapshot); /* before anything is sent */
const char *rpc_store_error(int err); /* what to tell a client about a failed read */
