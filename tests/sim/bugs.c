#include "bugs.h"
#include "scheduler.h"
#include "store_engine.h"
#include "store_etcd_writer.h"
#include <errno.h>

const char *const bug_names[BUGS] = {
    [BUG_NONE] = "none",
    [BUG_ACK_BEFORE_COMMIT] = "ack-before-commit",
    [BUG_LOST_MEMBER] = "lost-member",
    [BUG_STALE_READ] = "stale-read",
    [BUG_FULL_IS_DEFINITE] = "full-is-definite",
    [BUG_LOST_IS_DEFINITE] = "lost-is-definite",
    [BUG_LOST_IS_MADE_AGAIN] = "lost-is-made-again",
    [BUG_EXPIRED_IS_DEFINITE] = "expired-is-definite",
    [BUG_NO_FENCE] = "no-fence",
    [BUG_LANE_NOT_COMPARED] = "lane-not-compared",
    [BUG_NO_EXPECTATIONS] = "no-expectations",
    [BUG_NOT_FORGOTTEN] = "not-forgotten",
    [BUG_CUT_IS_COMMITTED] = "cut-is-committed",
    [BUG_DELETES_NOT_SEEN] = "deletes-not-seen",
    [BUG_WATCH_NOT_CHECKED] = "watch-not-checked",
    [BUG_HEAD_IGNORED] = "head-ignored",
    [BUG_EARLIER_HEADS_TRUSTED] = "earlier-heads-trusted",
    [BUG_RECORD_NOT_APPLIED] = "record-not-applied",
};

enum bug bug_planted;

bool bug_plant(const char *name)
{
    for (unsigned i = 1; i < BUGS; i++)
        if (strcmp(name, bug_names[i]) == 0)
            bug_planted = (enum bug)i;
    return bug_planted != BUG_NONE;
}

/* ---- by the store's hook ---- */

static void was_answered(void *arg, const struct store_result *result)
{
}

/* Answers a request before its time, and not when it has come. */
static void answer_early(const struct store_fault_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        commit->requests[i]->done(commit->requests[i]->arg, &commit->requests[i]->result);
        commit->requests[i]->done = was_answered;
    }
}

bool slipway_store_fault(enum store_fault_point point, void *arg)
{
    const struct store_fault_member *member = arg;

    if (bug_planted == BUG_ACK_BEFORE_COMMIT && point == STORE_FAULT_COMMIT)
        answer_early(arg);
    if (bug_planted == BUG_STALE_READ && point == STORE_FAULT_READ)
        ((struct store_fault_read *)arg)->max_stale_ms = UINT64_MAX;
    /* Leaves out the last of several requests of a commit, and answers it as if it were there. */
    return bug_planted == BUG_LOST_MEMBER && point == STORE_FAULT_MEMBER && member->index > 0 &&
           member->index == member->count - 1;
}

/* ---- by the linker ---- */

#define WRAPPED(type, name, ...)                                                                                       \
    type __real_slipway_##name(__VA_ARGS__);                                                                           \
    type __wrap_slipway_##name(__VA_ARGS__);                                                                           \
    type __wrap_slipway_##name(__VA_ARGS__)

WRAPPED(bool, etcd_is_definite, int err)
{
    if (bug_planted == BUG_FULL_IS_DEFINITE && err == -ENOSPC)
        return true;
    if (bug_planted == BUG_LOST_IS_DEFINITE && err == -EHOSTUNREACH)
        return true;
    return __real_slipway_etcd_is_definite(err);
}

/* Takes a batch whose answer was lost for one that was not made, without asking. */
WRAPPED(void, etcd_lane_key_fence, struct etcd_lane *lane, etcd_lane_key_fenced *fenced)
{
    static const struct etcd_fence nothing;

    if (bug_planted == BUG_NO_FENCE)
        fenced(lane, 0, &nothing);
    else
        __real_slipway_etcd_lane_key_fence(lane, fenced);
}

/* A batch whose answer was lost is sent once more, as if etcd had refused it. */
WRAPPED(void, etcd_lane_written, void *arg, int err, const ProtobufCMessage *reply)
{
    __real_slipway_etcd_lane_written(arg, bug_planted == BUG_LOST_IS_MADE_AGAIN && err == -EHOSTUNREACH ? -EAGAIN : err,
                                     reply);
}

/* Where the result is not known at the deadline, the request is said not to have been made. */
WRAPPED(void, etcd_lane_end, struct etcd_lane *lane, unsigned i, struct etcd_end end, struct etcd_answers *answers)
{
    if (bug_planted == BUG_EXPIRED_IS_DEFINITE && end.kind == ETCD_END_FAIL && end.err == -EINPROGRESS)
        end.err = -ETIMEDOUT;
    __real_slipway_etcd_lane_end(lane, i, end, answers);
}

WRAPPED(const Etcdserverpb__TxnRequest *, etcd_txn_of_lane, struct etcd_txn *txn, const struct etcd_lane *lane)
{
    const Etcdserverpb__TxnRequest *request = __real_slipway_etcd_txn_of_lane(txn, lane);

    if (bug_planted == BUG_LANE_NOT_COMPARED)
        ((Etcdserverpb__TxnRequest *)(uintptr_t)request)->n_compare = 0;
    for (size_t i = 0; bug_planted == BUG_NO_EXPECTATIONS && i < request->n_success; i++)
        if (request->success[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            request->success[i]->request_txn->n_compare = 0;
    return request;
}

WRAPPED(void, etcd_writer_forget, struct etcd *etcd)
{
    if (bug_planted != BUG_NOT_FORGOTTEN)
        __real_slipway_etcd_writer_forget(etcd);
}

/* Commits to the view what etcd has cut in the middle of a revision. */
WRAPPED(int, etcd_apply, struct etcd *etcd, const Etcdserverpb__WatchResponse *response)
{
    Etcdserverpb__WatchResponse whole = *response;

    if (bug_planted == BUG_CUT_IS_COMMITTED)
        whole.fragment = false;
    return __real_slipway_etcd_apply(etcd, &whole);
}

/* Reads trust any head that the view has had: behind a restored etcd they show what is gone. */
WRAPPED(int64_t, etcd_heads_last, struct etcd_heads *heads)
{
    return bug_planted == BUG_EARLIER_HEADS_TRUSTED ? 0 : __real_slipway_etcd_heads_last(heads);
}

/* Now and then a record of the watch does not come into the view. */
WRAPPED(int, etcd_view_put, struct etcd *etcd, struct store_view_txn *txn, const Etcdserverpb__KeyValue *kv,
        bool beyond, uint64_t *last_seq)
{
    if (bug_planted == BUG_RECORD_NOT_APPLIED && !beyond && kv->mod_revision % 16 == 0)
        return 0;
    return __real_slipway_etcd_view_put(etcd, txn, kv, beyond, last_seq);
}

/* A view of any history goes on; or one whose history changes between the follower's check and the watch. */
WRAPPED(int, etcd_history_check, struct etcd *etcd, const struct etcd_position *position)
{
    int err;

    if (bug_planted == BUG_WATCH_NOT_CHECKED && sim_fiber() != (struct sim_fiber *)etcd->follower.thread)
        return 0;
    err = __real_slipway_etcd_history_check(etcd, position);
    return bug_planted == BUG_HEAD_IGNORED && err == -ERANGE ? 0 : err;
}

WRAPPED(void, etcd_writer_saw_record, struct etcd_lane *lane, bool deleted, unsigned table, struct str key,
        unsigned position)
{
    if (bug_planted != BUG_DELETES_NOT_SEEN || !deleted)
        __real_slipway_etcd_writer_saw_record(lane, deleted, table, key, position);
}
