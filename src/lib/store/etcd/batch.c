/* Sending a lane's batch: what need not be sent is answered, the others become a transaction. The writer's thread.
 *
 * A request whose expectation fails in the view is not sent: of N clients that change one record at a time, N - 1 would
 * cost a transaction each, one after the other. The view may be behind, so it does not decide: the request leaves its
 * lane and waits for a linearizable read, which it shares with all that wait (read.c). It fails if the expectation does
 * so there, too; else it waits for a lane again. */
#include "store_etcd_writer.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define TXN_TIMEOUT_MS 2000

static bool has_put(const struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (request->ops[i].action == STORE_PUT || request->ops[i].action == STORE_PUT_SEQ)
            return true;
    return false;
}

/* 0, a failed expectation, or a damaged record, which etcd cannot judge. */
static int check_ops(struct store_snapshot *snapshot, struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        const struct store_op *op = &request->ops[i];
        struct store_record record;
        int err = store_get(snapshot, op->table, store_op_key(request, i), &record);

        if (err == 0 || err == -ENOENT)
            err = store_op_check(op, err == 0 ? &record : NULL);
        if (err < 0) {
            request->result.failed_op = i;
            return err;
        }
    }
    return 0;
}

/* ---- expectations that fail in the view ---- */

struct doubt {
    struct etcd *etcd;
    struct store_batch *request;
};

/* Not under the lock: its result, or, where that is 0, its place among those that wait for a lane. */
static void end_doubt(struct etcd *etcd, struct store_batch *request, int err)
{
    struct etcd_answers answers = {0};

    request->result.err = err;
    pthread_mutex_lock(&etcd->mutex);
    etcd_doubt_ended(&etcd->writer, request);
    if (err < 0)
        etcd_answer_later(&answers, request);
    else
        etcd_wait_again(&etcd->writer, request);
    etcd_writer_call(etcd);
    pthread_mutex_unlock(&etcd->mutex);
    etcd_answers_give(etcd, &answers);
}

/* The snapshot holds all that was acknowledged before the request was made. */
static void check_again(void *arg, int err, struct store_snapshot *snapshot)
{
    struct doubt doubt = *(struct doubt *)arg;

    free(arg);
    if (err == 0)
        err = check_ops(snapshot, doubt.request);
    end_doubt(doubt.etcd, doubt.request, err == -EAGAIN ? -ENOBUFS : err); /* too many reads */
}

static void resolve_doubts(struct etcd *etcd, struct etcd_answers *doubts)
{
    struct store_batch *request;

    while ((request = doubts->first) != NULL) {
        struct doubt *doubt = malloc(sizeof(*doubt));

        doubts->first = request->next;
        if (doubt == NULL) {
            end_doubt(etcd, request, -ENOMEM);
            continue;
        }
        *doubt = (struct doubt){etcd, request};
        etcd_read(etcd, request->deadline_ns, 0, check_again, doubt);
    }
}

/* ---- judging a batch ---- */

/* Whether a request is to be sent: 0, or its result. */
static int check_request(struct etcd *etcd, struct store_snapshot *snapshot, struct store_batch *request,
                         uint64_t now_ns)
{
    if (request->deadline_ns <= now_ns)
        return -ETIMEDOUT;
    if (has_put(request) &&
        (store_view_snapshot_bytes(snapshot) > etcd->options.max_bytes || etcd_room_is_crowded(etcd)))
        return -ENOSPC;
    return check_ops(snapshot, request);
}

static void judge_batch(struct etcd_lane *lane, int results[ETCD_BATCH_OPERATIONS])
{
    struct etcd *etcd = lane->etcd;
    struct etcd_view *view = etcd_view_ref(etcd);
    uint64_t now_ns = etcd->world->monotonic_ns();
    struct store_snapshot *snapshot;
    int err = store_view_snapshot_take(view->view, &snapshot);

    for (unsigned i = 0; i < lane->count; i++)
        results[i] = err < 0 ? err : check_request(etcd, snapshot, lane->requests[i], now_ns);
    if (err == 0)
        store_view_snapshot_give(snapshot);
    etcd_view_unref(etcd, view);
}

/* Takes out those that need not be sent, or not now; the others move up. False: none are left. */
static bool check_batch(struct etcd_lane *lane)
{
    int results[ETCD_BATCH_OPERATIONS];
    struct etcd_answers answers = {0}, doubts = {0};
    unsigned count = 0, ops = 0;

    judge_batch(lane, results);
    pthread_mutex_lock(&lane->etcd->mutex);
    for (unsigned i = 0; i < lane->count; i++) {
        struct store_batch *request = lane->requests[i];

        if (results[i] < 0) {
            request->result.err = results[i];
            if (store_is_conflict(results[i]))
                etcd_doubt_begun(&lane->etcd->writer, request);
            etcd_lane_end(lane, i, ETCD_ANSWER, store_is_conflict(results[i]) ? &doubts : &answers);
            continue;
        }
        lane->first[count] = ops;
        lane->requests[count++] = request;
        ops += request->count;
    }
    lane->count = count;
    if (count == 0)
        etcd_lane_move(lane, LANE_REFUSED);
    pthread_mutex_unlock(&lane->etcd->mutex);
    etcd_answers_give(lane->etcd, &answers);
    resolve_doubts(lane->etcd, &doubts);
    return count > 0;
}

/* About what etcd's file grows by. */
static uint64_t batch_bytes(const struct etcd_lane *lane)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < lane->count; i++)
        bytes += lane->requests[i]->bytes.len;
    return bytes;
}

void etcd_batch_send(struct etcd_lane *lane)
{
    const Etcdserverpb__TxnRequest *request;

    if (!check_batch(lane))
        return;
    request = etcd_txn_of_lane(lane->etcd->writer.txn, lane);
    store_fault(STORE_FAULT_COMMIT, &(struct store_fault_commit){lane->requests, lane->count});
    if (request == NULL)
        etcd_lane_written(lane, -ENOMEM, NULL);
    else {
        etcd_room_sent(lane->etcd, batch_bytes(lane));
        etcd_call(&lane->etcd->client, &etcdserverpb__kv__descriptor, "Txn", &request->base, TXN_TIMEOUT_MS,
                  etcd_lane_written, lane);
    }
}
