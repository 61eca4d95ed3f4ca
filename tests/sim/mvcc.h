/* mvcc -- the key space of the etcd in memory: versions of keys by revision, as etcd's API describes them. It is the
 * state that the replicated log leads to: it knows nothing of members, time or the network.
 */
#pragma once
#include "etcd.pb-c.h"
#include "scheduler.h"

struct mvcc_version {
    int64_t mod, create, version; /* version 0: deleted */
    struct str value;
};

struct mvcc_key {
    struct str key;
    struct mvcc_version *versions;
    size_t count, size;
};

struct mvcc_change {
    struct mvcc_key *key;
    struct mvcc_version version;
};

struct mvcc_revision {
    int64_t revision;
    uint64_t at_ns;
    struct mvcc_change *changes; /* in their order in the transaction */
    size_t count, size;
};

struct mvcc {
    struct mvcc_key **keys; /* in order */
    size_t key_count, key_size;
    struct mvcc_revision *revisions; /* those that changed something, in order */
    size_t revision_count, revision_size;
    int64_t revision, compacted;
    uint64_t used, file; /* bytes: in use, and of the file, which defragmentation makes smaller */
};

/* How a request ends: code is gRPC's, message etcd's. */
struct mvcc_status {
    int code;
    const char *message;
};

#define MVCC_OK ((struct mvcc_status){0, ""})

struct mvcc *mvcc_new(void); /* at revision 1 */
struct mvcc *mvcc_copy(const struct mvcc *mvcc);
/* As etcdutl snapshot restore with --bump-revision and --mark-compacted; by 0: without both. */
void mvcc_bump(struct mvcc *mvcc, int64_t by);

/* What is wrong with a transaction whatever the state is. */
struct mvcc_status mvcc_check(const Etcdserverpb__TxnRequest *request);
/* Bytes that a transaction may put, as etcd estimates them for its quota. */
uint64_t mvcc_cost(const Etcdserverpb__TxnRequest *request);
bool mvcc_reads_only(const Etcdserverpb__TxnRequest *request);
Etcdserverpb__TxnResponse *mvcc_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request);
/* One that only reads, at a revision. */
Etcdserverpb__TxnResponse *mvcc_read(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request, int64_t revision);
/* As a member answers that has come to a revision, and knows of a compaction. */
struct mvcc_status mvcc_range(const struct mvcc *mvcc, const Etcdserverpb__RangeRequest *request, int64_t revision,
                              int64_t compacted, Etcdserverpb__RangeResponse **ret_response);
struct mvcc_status mvcc_compact(struct mvcc *mvcc, int64_t revision);
void mvcc_defragment(struct mvcc *mvcc);

bool mvcc_in_range(struct str key, ProtobufCBinaryData from, ProtobufCBinaryData end);
/* A key as it was at a revision; NULL: there was none. */
const struct mvcc_version *mvcc_at(const struct mvcc_key *key, int64_t revision);
const struct mvcc_key *mvcc_find(const struct mvcc *mvcc, struct str key); /* NULL: it has never been there */
/* The first that is at or behind a revision; revision_count: none. */
size_t mvcc_revision_from(const struct mvcc *mvcc, int64_t revision);
Etcdserverpb__KeyValue *mvcc_kv(const struct mvcc_key *key, const struct mvcc_version *version, bool keys_only);
