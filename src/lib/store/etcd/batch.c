/* Sending a lane's batch: what need not be sent is answered, the others become a transaction. The writer's thread. */
#include "store_etcd_writer.h"
#include <assert.h>
#include <errno.h>

#define TXN_TIMEOUT_MS 2000

static bool has_put(const struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (request->ops[i].action == STORE_PUT || request->ops[i].action == STORE_PUT_SEQ)
            return true;
    return false;
}

/* What etcd cannot judge: damaged records, and an expected seq that the record's revision never had. */
static int check_ops(const struct etcd_keys *keys, struct store_snapshot *snapshot, struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        const struct store_op *op = &request->ops[i];
        struct store_record record;
        int err = store_get(snapshot, op->table, store_op_key(request, i), &record);

        request->result.failed_op = i;
        if (err < 0 && err != -ENOENT)
            return err;
        if (err == 0 && op->expect == STORE_AT && record.seq != op->seq &&
            etcd_revision_of(keys, record.seq) == etcd_revision_of(keys, op->seq))
            return -ESTALE;
    }
    return 0;
}

/* Whether a request is to be sent: 0, or its result. */
static int check_request(struct etcd *etcd, struct store_snapshot *snapshot, struct store_batch *request,
                         uint64_t now_ns)
{
    if (request->deadline_ns <= now_ns)
        return -ETIMEDOUT;
    if (has_put(request) && store_view_snapshot_bytes(snapshot) > etcd->options.max_bytes)
        return -ENOSPC;
    return check_ops(&etcd->keys, snapshot, request);
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

/* Answers those that need not be sent; the others move up. False: none are left. */
static bool check_batch(struct etcd_lane *lane)
{
    int results[ETCD_BATCH_OPERATIONS];
    struct etcd_answers answers = {0};
    unsigned count = 0, ops = 0;

    judge_batch(lane, results);
    pthread_mutex_lock(&lane->etcd->mutex);
    for (unsigned i = 0; i < lane->count; i++) {
        struct store_batch *request = lane->requests[i];

        if (results[i] < 0) {
            request->result.err = results[i];
            etcd_lane_end(lane, i, ETCD_ANSWER, &answers);
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
    return count > 0;
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
    else
        etcd_call(&lane->etcd->client, &etcdserverpb__kv__descriptor, "Txn", &request->base, TXN_TIMEOUT_MS,
                  etcd_lane_written, lane);
}
