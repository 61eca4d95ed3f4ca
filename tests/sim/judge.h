/* judge -- what must hold at every step of the simulation. It knows what etcd has committed, which no client can know,
 * and compares it with each answer of the store:
 *
 *   - an acknowledged write is in etcd, at the revision and place that its sequence number says
 *   - its expectations were true at that revision; those that are said to have failed did so during the call
 *   - a write takes effect once at most, and so do all attempts with one idempotency key together
 *   - a write that is said not to have been made is not made, then or later
 *   - a linearizable read shows the records of one revision, none before what had been acknowledged, or read, when it
 *     began; a stale read one of its age; the index has an entry for each record
 *   - every request is answered once, and in time
 *
 * Writes and reads that were under way while a snapshot was restored are only bound to be done once.
 */
#pragma once
#include "mvcc.h"
#include "store.h"

enum { THINGS, KEYS, JUDGE_TABLES };

#define JUDGE_KEYS     8
#define JUDGE_OPS      4
#define JUDGE_PREFIX   "sim"
#define JUDGE_SLACK_NS (2 * CLOCK_NS_PER_S) /* an answer may be so late */

extern const struct store_table judge_tables[JUDGE_TABLES];

struct judge_op {
    unsigned table;
    char key[24];
    bool deletes;
    enum store_expect expect;
    uint64_t seq;
};

enum judge_state { JUDGE_PENDING, JUDGE_ACKNOWLEDGED, JUDGE_FAILED, JUDGE_UNKNOWN };

struct judge_request {
    uint64_t number, logical; /* requests with one idempotency key have one logical number */
    unsigned count;
    struct judge_op ops[JUDGE_OPS];
    enum judge_state state;
    unsigned epoch;
    int64_t begun_revision, committed; /* 0: not that we know */
    uint64_t done_by;                  /* of its logical number: the request that is committed; 0: none */
};

struct judge_read {
    uint64_t number;
    unsigned epoch;
    int64_t floor;
    uint64_t begun_ns, max_stale_ms;
    bool ended;
    int err;
};

void judge_start(void);
/* A record's sequence number as of a revision; 0: it was not there. */
uint64_t judge_seq(unsigned table, const char *key, int64_t revision);
/* The value that the request's operation puts. */
size_t judge_value(const struct judge_request *request, unsigned op, char *value, size_t size);
struct judge_request *judge_begin(uint64_t logical); /* 0: of its own */
void judge_begun(struct judge_request *request);     /* its operations are known */
void judge_end(struct judge_request *request, const struct store_result *result);
void judge_lost(struct judge_request *request); /* its replica has died */

struct judge_read *judge_read_begin(uint64_t max_stale_ms);
void judge_read_end(struct judge_read *read, int err, struct store_snapshot *snapshot);
/* The snapshot has all that etcd had at a revision. */
bool judge_is_complete(struct store_snapshot *snapshot, int64_t revision);

void judge_restored(int64_t snapshot_revision);
void judge_check_time(uint64_t deadline_ns, uint64_t pause_until, const char *what, uint64_t number);

struct judge_counts {
    uint64_t requests, acknowledged, reads;
};

struct judge_counts judge_counts(void);
