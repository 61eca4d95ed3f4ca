/* Mistakes made on purpose, for programs that tests/torture must convict: SEED names the one that is compiled in. */
#include "store_engine.h"
#include "store_view.h"

static void was_answered(void *arg, const struct store_result *result)
{
}

/* Answers a request before its time, and not when it has come. */
static bool ack_before_commit(enum store_fault_point point, void *arg)
{
    const struct store_fault_commit *commit = arg;

    for (size_t i = 0; point == STORE_FAULT_COMMIT && i < commit->count; i++) {
        commit->requests[i]->done(commit->requests[i]->arg, &commit->requests[i]->result);
        commit->requests[i]->done = was_answered;
    }
    return false;
}

/* Leaves out the last of several requests of a commit, and answers it as if it were there. */
static bool lost_member(enum store_fault_point point, void *arg)
{
    const struct store_fault_member *member = arg;

    return point == STORE_FAULT_MEMBER && member->index > 0 && member->index == member->count - 1;
}

/* Reads a snapshot that may be older than acknowledged writes. */
static bool stale_read(enum store_fault_point point, void *arg)
{
    static _Thread_local struct store_snapshot *old;
    static _Thread_local unsigned reads;
    struct store_fault_read *read = arg;

    if (point != STORE_FAULT_READ)
        return false;
    read->max_stale_ms = UINT64_MAX;
    if (read->view == NULL)
        return false;
    if (old == NULL || reads++ % 16 == 0) {
        if (old != NULL)
            store_view_snapshot_give(old);
        if (store_view_snapshot_take(read->view, &old) < 0)
            old = NULL;
    }
    read->read(read->arg, old != NULL ? 0 : -1, old);
    return true;
}

bool slipway_store_fault(enum store_fault_point point, void *arg)
{
    (void)ack_before_commit;
    (void)lost_member;
    (void)stale_read;
    return SEED(point, arg);
}
