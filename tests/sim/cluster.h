/* cluster -- an etcd of several members in memory: a replicated log, members that have applied a part of it, a leader
 * that needs a majority, watches, the quota and its alarm. What a client sees follows etcd 3.6 (conformance.c compares
 * the two). Faults are functions here; run.c decides when they come.
 *
 * An answer may be given after the member's death or never: the network (network.c) knows what has become of the
 * connection.
 */
#pragma once
#include "mvcc.h"

#define CLUSTER_MAX 3

struct cluster_options {
    unsigned members;
    uint64_t quota;          /* bytes of the file */
    bool tells_quota;        /* in its status, as etcd does from 3.6 on */
    size_t fragment_bytes;   /* of a message of a watch */
    uint64_t commit_ns;      /* up to: of a proposal */
    uint64_t apply_ns;       /* up to: until another member has applied */
    uint64_t slow_apply_ns;  /* now and then: up to */
    unsigned slow_per_mille; /* how often */
};

void cluster_start(const struct cluster_options *options);
const struct mvcc *cluster_state(void); /* what is committed */
unsigned cluster_epoch(void);           /* grows when a snapshot is restored */
/* Called with each revision that is committed. */
void cluster_on_commit(void (*committed)(const struct mvcc_revision *revision));

/* ---- calls ---- */

typedef void cluster_answer(void *arg, struct mvcc_status status, const ProtobufCMessage *reply);

void cluster_call(unsigned member, const char *method, const ProtobufCMessage *request, cluster_answer *answer,
                  void *arg);

/* ---- watches ---- */

struct cluster_stream;
typedef void cluster_sent(void *arg, const Etcdserverpb__WatchResponse *response);
typedef void cluster_ended(void *arg, struct mvcc_status status);

/* ended: by the member. */
struct cluster_stream *cluster_stream_open(unsigned member, cluster_sent *sent, cluster_ended *ended, void *arg);
void cluster_stream_take(struct cluster_stream *stream, const Etcdserverpb__WatchRequest *request);
void cluster_stream_close(struct cluster_stream *stream);

/* ---- faults ---- */

bool cluster_is_up(unsigned member);
void cluster_kill(unsigned member);
void cluster_revive(unsigned member);
void cluster_cut(unsigned one, unsigned other, bool cut);
void cluster_stall(unsigned member, uint64_t ns); /* it applies and answers nothing */
void cluster_hold_watches(unsigned member, uint64_t ns);
void cluster_elect(void); /* another leader, if there can be one */
void cluster_compact(int64_t revision);
void cluster_defragment(void);
void cluster_set_quota(uint64_t bytes);
void cluster_disarm(void);
void cluster_snapshot(void);
void cluster_restore(int64_t bump); /* the last snapshot; all members begin anew */
