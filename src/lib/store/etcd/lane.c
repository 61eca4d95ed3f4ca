/* A lane: what becomes of the one batch that it has under way, and of each of its requests.
 *
 * A lane has a key in etcd that each of its transactions expects as the one before left it, and puts its own id into.
 * So a transaction takes effect once at most, whenever it arrives; and where an answer was lost, the key tells whether
 * it has: it holds the id, or else deleting it (the fence) makes sure that it never will.
 *
 *   CLOSED --open--> OPENING --opened--> IDLE --send--> SENT --committed--> COMMITTED --applied--> IDLE
 *
 *   and where something fails: see the table below.
 *
 * Which of a transaction's requests took effect is told by its answer, or, where that was lost, by the watch, whose
 * events of that revision are the effects. A request without any effect may be made again. So each request ends in one
 * of three ways (enum end): answered with the result that it has, put back to wait, or failed.
 *
 * Callers: the writer's thread (open, send, fence, expiry), threads of the client (answers), the follower (what the
 * watch has seen, what the view has). Lock: etcd.mutex, for all of a lane; answers are given after it. */
#include "store_etcd_writer.h"
#include <assert.h>
#include <errno.h>

#define RETRY_NS (50 * CLOCK_NS_PER_MS)

/* ---- states ---- */

_Static_assert(LANE_CLOSED == 0, "a zeroed lane is closed");

#define FROM(state_) (1u << (state_))

/* Each event leads to one state, from those in which it can come. */
static const struct {
    unsigned from;
    enum etcd_lane_state to;
} moves[LANE_EVENTS] = {
    [LANE_OPEN] = {FROM(LANE_CLOSED), LANE_OPENING},
    [LANE_OPENED] = {FROM(LANE_OPENING), LANE_IDLE},
    [LANE_NOT_OPENED] = {FROM(LANE_OPENING), LANE_CLOSED},
    [LANE_SEND] = {FROM(LANE_IDLE), LANE_SENT},
    [LANE_REFUSED] = {FROM(LANE_SENT), LANE_IDLE},
    [LANE_KEY_GONE] = {FROM(LANE_SENT), LANE_CLOSED},
    [LANE_LOST] = {FROM(LANE_SENT), LANE_UNKNOWN},
    [LANE_FENCE] = {FROM(LANE_UNKNOWN), LANE_FENCING},
    [LANE_NOT_FENCED] = {FROM(LANE_FENCING), LANE_UNKNOWN},
    [LANE_FENCED] = {FROM(LANE_FENCING), LANE_CLOSED},
    [LANE_COMMIT] = {FROM(LANE_SENT) | FROM(LANE_UNKNOWN) | FROM(LANE_FENCING), LANE_COMMITTED},
    [LANE_APPLIED] = {FROM(LANE_COMMITTED), LANE_IDLE},
};

void etcd_lane_move(struct etcd_lane *lane, enum etcd_lane_event event)
{
    assert(event < LANE_EVENTS && (moves[event].from & FROM(lane->state)) != 0);
    lane->state = moves[event].to;
    if (lane->state == LANE_CLOSED || lane->state == LANE_IDLE)
        lane->count = 0;
    if (lane->state == LANE_CLOSED || lane->state == LANE_IDLE || lane->state == LANE_UNKNOWN)
        etcd_writer_call(lane->etcd); /* it may have something to do */
}

/* ---- the ends of requests ---- */

void etcd_lane_end(struct etcd_lane *lane, unsigned i, struct etcd_end end, struct etcd_answers *answers)
{
    struct etcd_writer *writer = &lane->etcd->writer;
    struct store_batch *request = lane->requests[i];

    assert(i < lane->count);
    if (request == NULL) /* it has expired */
        return;
    lane->requests[i] = NULL;
    etcd_keys_mark(writer, request, -1);
    switch (end.kind) {
    case ETCD_END_AGAIN:
        etcd_wait_again(writer, request);
        break;
    case ETCD_END_ANSWER:
        etcd_answer_later(answers, request);
        break;
    case ETCD_END_FAIL:
        assert(end.err < 0);
        etcd_fail_later(answers, request, end.err);
        break;
    }
}

static void end_all(struct etcd_lane *lane, struct etcd_end end, enum etcd_lane_event event,
                    struct etcd_answers *answers)
{
    for (unsigned i = lane->count; i-- > 0;) /* the first ends up at the front of what waits */
        etcd_lane_end(lane, i, end, answers);
    etcd_lane_move(lane, event);
}

static bool has_effect(const struct etcd_lane *lane, unsigned i)
{
    for (unsigned op = 0; op < lane->requests[i]->count; op++)
        if (lane->seen[lane->first[i] + op])
            return true;
    return false;
}

/* The transaction is in etcd: what became of a request? */
static struct etcd_end find_end(struct etcd_lane *lane, unsigned i)
{
    if (lane->known || lane->requests[i] == NULL)
        return ETCD_ANSWER;
    if (lane->seen_revision != lane->revision)
        return ETCD_FAIL(-EINPROGRESS); /* the view was loaded anew: the effects have not been seen */
    if (!has_effect(lane, i))
        return ETCD_AGAIN;
    lane->requests[i]->result =
        (struct store_result){.seq = etcd_seq(&lane->etcd->keys, lane->revision, lane->first[i])};
    return ETCD_ANSWER;
}

/* It is in etcd, and in the view. Those that are answered come first: those that wait again go to the front of the
 * others in their order. */
static void end_committed(struct etcd_lane *lane, struct etcd_answers *answers)
{
    assert(lane->state == LANE_COMMITTED && atomic_load(&lane->etcd->applied) >= lane->revision);
    for (unsigned i = 0; i < lane->count; i++) {
        struct etcd_end end = find_end(lane, i);

        if (end.kind != ETCD_END_AGAIN)
            etcd_lane_end(lane, i, end, answers);
    }
    end_all(lane, ETCD_AGAIN, LANE_APPLIED, answers);
}

static void commit(struct etcd_lane *lane, int64_t revision, bool known, struct etcd_answers *answers)
{
    const struct store_metrics *metrics = &lane->etcd->metrics;

    metrics_add(metrics->commits, 1);
    metrics_observe(metrics->commit_seconds, (double)(lane->etcd->world->monotonic_ns() - lane->begun_ns) / 1e9);
    metrics_observe(metrics->batch_requests, lane->count);
    etcd_lane_move(lane, LANE_COMMIT);
    lane->revision = lane->name_revision = revision;
    lane->known = known;
    if (atomic_load(&lane->etcd->applied) >= revision)
        end_committed(lane, answers);
}

static void retry_later(struct etcd_lane *lane)
{
    lane->retry_ns = lane->etcd->world->monotonic_ns() + RETRY_NS;
}

/* ---- what the watch has seen ---- */

struct etcd_lane *etcd_writer_saw(struct etcd *etcd, struct str name, struct str batch, int64_t revision)
{
    struct etcd_lane *found = NULL;

    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES && found == NULL; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];

        if (lane->state >= LANE_SENT && str_eq(name, str_of(lane->name)) &&
            str_eq(batch, (struct str){(const char *)&lane->batch, sizeof(lane->batch)}))
            found = lane;
    }
    if (found != NULL)
        found->seen_revision = revision;
    pthread_mutex_unlock(&etcd->mutex);
    return found;
}

static void saw_deleted(struct etcd_lane *lane, unsigned table, struct str key)
{
    for (unsigned i = 0; i < lane->count; i++)
        for (unsigned op = 0; lane->requests[i] != NULL && op < lane->requests[i]->count; op++)
            if (lane->requests[i]->ops[op].table == table && str_eq(store_op_key(lane->requests[i], op), key))
                lane->seen[lane->first[i] + op] = true;
}

void etcd_writer_saw_record(struct etcd_lane *lane, bool deleted, unsigned table, struct str key, unsigned position)
{
    pthread_mutex_lock(&lane->etcd->mutex);
    if (lane->seen_revision == 0)
        ; /* the lane has its next batch already, which the watch has not come to */
    else if (deleted)
        saw_deleted(lane, table, key);
    else if (position < ETCD_BATCH_OPERATIONS)
        lane->seen[position] = true;
    pthread_mutex_unlock(&lane->etcd->mutex);
}

void etcd_writer_applied(struct etcd *etcd)
{
    struct etcd_answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];

        if (lane->state == LANE_UNKNOWN && lane->seen_revision != 0)
            commit(lane, lane->seen_revision, false, &answers);
        else if (lane->state == LANE_COMMITTED && lane->revision <= atomic_load(&etcd->applied))
            end_committed(lane, &answers);
    }
    pthread_mutex_unlock(&etcd->mutex);
    etcd_answers_give(etcd, &answers);
}

/* A fresh view has all that was committed before it was loaded. So a batch that was committed behind it is of a history
 * that etcd does not have any more (it was restored, or replaced): no view will ever come to it. */
void etcd_writer_forget(struct etcd *etcd)
{
    struct etcd_answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];

        lane->seen_revision = 0;
        if (lane->state == LANE_COMMITTED && lane->revision > atomic_load(&etcd->applied))
            end_all(lane, ETCD_FAIL(-EINPROGRESS), LANE_APPLIED, &answers);
    }
    pthread_mutex_unlock(&etcd->mutex);
    etcd_answers_give(etcd, &answers);
}

/* ---- a transaction's answer ---- */

static void on_failed(struct etcd_lane *lane, int err, struct etcd_answers *answers)
{
    if (!etcd_is_definite(err) && lane->seen_revision != 0) {
        commit(lane, lane->seen_revision, false, answers);
    } else if (!etcd_is_definite(err)) {
        lane->full = err == -ENOSPC;
        lane->retry_ns = 0;
        etcd_lane_move(lane, LANE_LOST);
    } else if (err == -EAGAIN || err == -ENOBUFS) { /* etcd, or our client, is overloaded; or a new token is needed */
        retry_later(lane);
        end_all(lane, ETCD_AGAIN, LANE_REFUSED, answers);
    } else {
        end_all(lane, ETCD_FAIL(err), LANE_REFUSED, answers);
    }
}

void etcd_lane_written(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;
    struct etcd_lane *lane = arg;
    struct etcd_answers answers = {0};

    pthread_mutex_lock(&lane->etcd->mutex);
    if (err < 0)
        on_failed(lane, err, &answers);
    else if (response->succeeded)
        commit(lane, response->header->revision, etcd_txn_results(lane, response) == 0, &answers);
    else /* the lane's key was cleaned up: nothing is done, and never will be */
        end_all(lane, ETCD_AGAIN, LANE_KEY_GONE, &answers);
    pthread_mutex_unlock(&lane->etcd->mutex);
    etcd_answers_give(lane->etcd, &answers);
}

void etcd_lane_fenced(struct etcd_lane *lane, int err, const struct etcd_fence *fence)
{
    struct etcd_answers answers = {0};

    pthread_mutex_lock(&lane->etcd->mutex);
    if (err < 0) {
        retry_later(lane);
        etcd_lane_move(lane, LANE_NOT_FENCED);
    } else if (fence->revision == 0) {
        end_all(lane, lane->full ? ETCD_FAIL(-ENOSPC) : ETCD_AGAIN, LANE_FENCED, &answers);
    } else if (memcmp(&fence->batch, &lane->batch, sizeof(lane->batch)) == 0) {
        commit(lane, fence->revision, false, &answers);
    } else {
        end_all(lane, ETCD_FAIL(-EINPROGRESS), LANE_FENCED, &answers);
    }
    pthread_mutex_unlock(&lane->etcd->mutex);
    etcd_answers_give(lane->etcd, &answers);
}

void etcd_lane_opened(struct etcd_lane *lane, int err, int64_t revision)
{
    struct etcd *etcd = lane->etcd;
    struct etcd_writer *writer = &etcd->writer;
    struct etcd_answers answers = {0};

    if (err == -ESTALE) {
        etcd_replaced(etcd);
        err = -EIO;
    }
    pthread_mutex_lock(&etcd->mutex);
    etcd_lane_move(lane, err == 0 ? LANE_OPENED : LANE_NOT_OPENED);
    lane->name_revision = revision;
    if (err < 0)
        retry_later(lane);
    while ((err == -ENOSPC || err == -EACCES || err == -EIO) && writer->first != NULL)
        etcd_fail_later(&answers, etcd_take_waiting(writer, &writer->first), err);
    pthread_mutex_unlock(&etcd->mutex);
    etcd_answers_give(etcd, &answers);
}
