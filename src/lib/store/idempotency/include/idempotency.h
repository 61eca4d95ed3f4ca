/* idempotency -- a request that is sent twice is done once: keys kept with the write, in its transaction.
 *
 * A service gives it a table of its schema. A record: a client's key (namespaced by the caller, e.g. route or user) ->
 * a digest of the request and the answer to repeat, kept for retention_ms and then dropped by a thread of its own. Age
 * is counted in ticks that the replicas make in common, each by its monotonic clock: a wrong time of day drops nothing.
 * A key may stay for some 2 % longer, and for as long as no replica runs for a 64th of the retention. Where replicas
 * have different retentions, the shortest holds for all keys.
 * A key whose first request is still running in this process is refused (-EBUSY: 409); between replicas the store's
 * expectation decides, and the loser repeats the winner's answer. Any thread.
 */
#pragma once
#include "names.h"
#include "store.h"

#define IDEMPOTENCY_MAX_KEY    255 /* bytes of a client's key, visible ASCII (0x21..0x7e) */
#define IDEMPOTENCY_MAX_ANSWER (128 * 1024)

struct idempotency;

/* The table's definition, to be put into the schema: its index orders the records by their seq. */
extern const struct store_table idempotency_table; /* named "idempotency" */

int idempotency_open(struct store *store, unsigned table, uint64_t retention_ms, struct metrics *metrics,
                     struct idempotency **ret_idempotency);
/* Waits until what is running has been released; before store_close. Returns NULL. */
struct idempotency *idempotency_free(struct idempotency *idempotency);

bool idempotency_key_valid(struct str key); /* a client's key; with a namespace it may be STORE_MAX_KEY long */

/* What is known of a key. found is called once with
 *   0        new, and now reserved for the caller, who must end it by idempotency_release (whatever comes of it)
 *   -EEXIST  done before by the same request: answer is what idempotency_add kept, seq that of its record (the
 *            operations of one batch have consecutive seqs)
 *   -EINVAL  the key was used for another request
 *   -EBUSY   one with this key is running
 *   -ENOBUFS too many are running; or what store_read says.
 * Called in this thread with lmdb; see store_read for the thread. answer is valid during the call. */
typedef void idempotency_found(void *arg, int err, struct str answer, uint64_t seq);
void idempotency_begin(struct idempotency *idempotency, struct str key, struct str request, uint64_t deadline_ns,
                       idempotency_found *found, void *arg);
/* Looks again, for a caller that has the key reserved: found is called as above, and the reservation is kept if it says
 * 0. */
void idempotency_begin_again(struct idempotency *idempotency, struct str key, struct str request, uint64_t deadline_ns,
                             idempotency_found *found, void *arg);
/* Adds the key's record to the batch that does the work, as one operation (expecting STORE_ABSENT: -EEXIST at that
 * operation means that another replica was first: begin again). Too long an answer fails the batch with -EMSGSIZE. */
void idempotency_add(struct idempotency *idempotency, struct store_batch *batch, struct str key, struct str request,
                     struct str answer);
void idempotency_release(struct idempotency *idempotency, struct str key);
