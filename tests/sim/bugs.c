#include "bugs.h"
#include "store_engine.h"
#include "store_etcd_internal.h"
#include <errno.h>

const char *const bug_names[BUGS] = {
    [BUG_NONE] = "none",
    [BUG_ACK_BEFORE_COMMIT] = "ack-before-commit",
    [BUG_LOST_MEMBER] = "lost-member",
    [BUG_STALE_READ] = "stale-read",
    [BUG_FULL_IS_DEFINITE] = "full-is-definite",
    [BUG_LOST_IS_DEFINITE] = "lost-is-definite",
    [BUG_NO_FENCE] = "no-fence",
    [BUG_ANY_FENCE_IS_OURS] = "any-fence-is-ours",
    [BUG_NOT_FORGOTTEN] = "not-forgotten",
    [BUG_CUT_IS_COMMITTED] = "cut-is-committed",
    [BUG_KEYS_NOT_MARKED] = "keys-not-marked",
    [BUG_POSITION_AHEAD] = "position-ahead",
    [BUG_HEAD_IGNORED] = "head-ignored",
    [BUG_DELETES_NOT_SEEN] = "deletes-not-seen",
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

/* Takes whatever transaction is at the lane's key for the one that is asked for. */
WRAPPED(void, etcd_lane_fenced, struct etcd_lane *lane, int err, const struct etcd_fence *fence)
{
    struct etcd_fence ours;

    if (bug_planted == BUG_ANY_FENCE_IS_OURS && err == 0) {
        ours = *fence;
        ours.batch = lane->batch;
        if (ours.revision == 0)
            ours.revision = lane->name_revision;
        fence = &ours;
    }
    __real_slipway_etcd_lane_fenced(lane, err, fence);
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

WRAPPED(bool, etcd_keys_are_marked, struct etcd_writer *writer, const struct store_batch *request)
{
    return bug_planted != BUG_KEYS_NOT_MARKED && __real_slipway_etcd_keys_are_marked(writer, request);
}

/* The last run's view is taken for newer than it is. */
WRAPPED(int, etcd_position_get, struct store_view *view, struct etcd_position *ret_position)
{
    int err = __real_slipway_etcd_position_get(view, ret_position);

    if (bug_planted == BUG_POSITION_AHEAD && err == 0)
        ret_position->revision++;
    return err;
}

/* A view of any history goes on: the head that etcd has at its revision is believed to be the view's. */
WRAPPED(int, etcd_call_wait, struct etcd_client *client, const ProtobufCServiceDescriptor *service, const char *method,
        const ProtobufCMessage *request, unsigned timeout_ms, etcd_called *called, void *arg)
{
    int err = __real_slipway_etcd_call_wait(client, service, method, request, timeout_ms, called, arg);
    const Etcdserverpb__RangeRequest *range = (const Etcdserverpb__RangeRequest *)request;

    if (bug_planted == BUG_HEAD_IGNORED && strcmp(method, "Range") == 0 && range->range_end.len == 0) {
        ((bool *)arg)[sizeof(void *)] = true; /* history.same, behind its one pointer */
        return 0;
    }
    return err;
}

WRAPPED(void, etcd_writer_saw_record, struct etcd_lane *lane, bool deleted, unsigned table, struct str key,
        unsigned position)
{
    if (bug_planted != BUG_DELETES_NOT_SEEN || !deleted)
        __real_slipway_etcd_writer_saw_record(lane, deleted, table, key, position);
}
