/* A lane's batch as one transaction:
 *
 *   if   the lane's key is as the lane last put it (else this is a late attempt, fenced off, or the key was cleaned up)
 *   then put the lane's key: the batch's id; for each request a transaction of its own, with its expectations and
 *        operations; put the head: the batch's id
 *
 * Where a request's expectations fail, it does nothing and looks at the keys that it has expectations of. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdlib.h>

#define OPS ETCD_BATCH_OPERATIONS

struct etcd_txn {
    const struct etcd_keys *keys;
    struct buf bytes; /* keys and enveloped values */

    Etcdserverpb__TxnRequest outer;
    Etcdserverpb__Compare lane_compare, *lane_compares[1];
    Etcdserverpb__PutRequest lane_put, head_put;
    Etcdserverpb__RequestOp lane_op, head_op;
    Etcdserverpb__RequestOp *outer_ops[OPS + 2]; /* the lane, the requests, the head */

    Etcdserverpb__TxnRequest txns[OPS];
    Etcdserverpb__RequestOp txn_ops[OPS];

    /* By position; a request's are neighbours. */
    unsigned op_count, compare_count, look_count;
    Etcdserverpb__RequestOp ops[OPS], *op_pointers[OPS];
    Etcdserverpb__PutRequest puts[OPS];
    Etcdserverpb__DeleteRangeRequest deletes[OPS];
    Etcdserverpb__Compare compares[2 * OPS], *compare_pointers[2 * OPS];
    Etcdserverpb__RequestOp looks[OPS], *look_pointers[OPS];
    Etcdserverpb__RangeRequest ranges[OPS];
};

struct etcd_txn *etcd_txn_new(const struct etcd_keys *keys)
{
    struct etcd_txn *txn = calloc(1, sizeof(*txn));

    if (txn != NULL)
        txn->keys = keys;
    return txn;
}

struct etcd_txn *etcd_txn_free(struct etcd_txn *txn)
{
    if (txn != NULL)
        buf_release(&txn->bytes);
    free(txn);
    return NULL;
}

/* ---- making one ---- */

/* Room for all bytes of a batch, so that they stay where they are while they are pointed to. */
static int reserve(struct etcd_txn *txn, const struct etcd_lane *lane)
{
    size_t bytes = 2 * (sizeof(lane->name) + ETCD_MAX_NAME);

    for (unsigned i = 0; i < lane->count; i++)
        bytes += lane->requests[i]->bytes.len + lane->requests[i]->count * (ETCD_MAX_NAME + ETCD_MAX_ENVELOPE);
    txn->bytes.len = 0;
    return buf_reserve(&txn->bytes, bytes) != NULL ? 0 : -ENOMEM;
}

static struct str since(const struct etcd_txn *txn, size_t from)
{
    return (struct str){txn->bytes.data + from, txn->bytes.len - from};
}

static struct str add_name(struct etcd_txn *txn, const char *name)
{
    size_t from = txn->bytes.len;

    etcd_key_name(txn->keys, name, &txn->bytes);
    return since(txn, from);
}

/* seq: of a restored record, else 0. */
static struct str add_value(struct etcd_txn *txn, unsigned position, uint64_t seq, struct str key, struct str value)
{
    size_t from = txn->bytes.len;
    uint8_t header[ETCD_MAX_ENVELOPE];

    buf_append(&txn->bytes, header, etcd_envelope(header, position, seq, etcd_path(txn->keys, key), value));
    buf_append_str(&txn->bytes, value);
    return since(txn, from);
}

static void make_put(Etcdserverpb__PutRequest *put, Etcdserverpb__RequestOp *op, struct str key, struct str value)
{
    etcdserverpb__put_request__init(put);
    put->key = etcd_data(key);
    put->value = etcd_data(value);
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
}

static void make_delete(Etcdserverpb__DeleteRangeRequest *delete, Etcdserverpb__RequestOp *op, struct str key)
{
    etcdserverpb__delete_range_request__init(delete);
    delete->key = etcd_data(key);
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = delete;
}

static void make_look(Etcdserverpb__RangeRequest *range, Etcdserverpb__RequestOp *op, struct str key)
{
    etcdserverpb__range_request__init(range);
    range->key = etcd_data(key);
    range->keys_only = true;
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
}

static void expect(Etcdserverpb__Compare *compare, struct str key, Etcdserverpb__Compare__CompareResult result,
                   int64_t revision)
{
    etcdserverpb__compare__init(compare);
    compare->key = etcd_data(key);
    compare->result = result;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->mod_revision = revision;
}

static void add_compare(struct etcd_txn *txn, Etcdserverpb__TxnRequest *to, struct str key,
                        Etcdserverpb__Compare__CompareResult result, int64_t revision)
{
    unsigned i = txn->compare_count++;

    expect(&txn->compares[i], key, result, revision);
    txn->compare_pointers[i] = &txn->compares[i];
    to->n_compare++;
}

#define EQUAL   ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
#define GREATER ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER
#define LESS    ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS

/* A key that is not there has revision 0. */
static void add_compares(struct etcd_txn *txn, Etcdserverpb__TxnRequest *to, const struct store_op *op, struct str key)
{
    int64_t revision = etcd_revision_of(txn->keys, op->seq);

    if (op->expect == STORE_ABSENT) {
        add_compare(txn, to, key, EQUAL, 0);
    } else if (op->expect == STORE_AT && revision > 0) {
        add_compare(txn, to, key, EQUAL, revision);
    } else {
        add_compare(txn, to, key, GREATER, 0);
        if (op->expect == STORE_AT) /* it was restored, and not written since */
            add_compare(txn, to, key, LESS, txn->keys->restored_revision + 1);
    }
}

static void add_look(struct etcd_txn *txn, Etcdserverpb__TxnRequest *to, struct str key)
{
    unsigned i = txn->look_count++;

    make_look(&txn->ranges[i], &txn->looks[i], key);
    txn->look_pointers[i] = &txn->looks[i];
    to->n_failure++;
}

static void add_op(struct etcd_txn *txn, Etcdserverpb__TxnRequest *to, const struct store_batch *request, unsigned op,
                   unsigned position, struct str key)
{
    const struct store_op *from = &request->ops[op];
    uint64_t seq = from->action == STORE_PUT_SEQ ? from->seq : 0;
    unsigned i = txn->op_count;

    if (from->action == STORE_CHECK)
        return;
    if (from->action == STORE_DELETE)
        make_delete(&txn->deletes[i], &txn->ops[i], key);
    else
        make_put(&txn->puts[i], &txn->ops[i], key, add_value(txn, position, seq, key, store_op_value(request, op)));
    txn->op_pointers[txn->op_count++] = &txn->ops[i];
    to->n_success++;
}

static void add_request(struct etcd_txn *txn, const struct store_batch *request, unsigned number, unsigned first)
{
    Etcdserverpb__TxnRequest *to = &txn->txns[number];

    etcdserverpb__txn_request__init(to);
    to->compare = &txn->compare_pointers[txn->compare_count];
    to->failure = &txn->look_pointers[txn->look_count];
    to->success = &txn->op_pointers[txn->op_count];
    for (unsigned i = 0; i < request->count; i++) {
        const struct store_op *op = &request->ops[i];
        size_t from = txn->bytes.len;
        struct str key;

        etcd_key_record(txn->keys, op->table, store_op_key(request, i), &txn->bytes);
        key = since(txn, from);
        if (op->expect != STORE_ANY) {
            add_compares(txn, to, op, key);
            add_look(txn, to, key);
        }
        add_op(txn, to, request, i, first + i, key);
    }
    etcdserverpb__request_op__init(&txn->txn_ops[number]);
    txn->txn_ops[number].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    txn->txn_ops[number].request_txn = to;
}

const Etcdserverpb__TxnRequest *etcd_txn_of_lane(struct etcd_txn *txn, const struct etcd_lane *lane)
{
    struct str id = {(const char *)&lane->batch, sizeof(lane->batch)}, name;
    unsigned n = 0;

    if (reserve(txn, lane) < 0)
        return NULL;
    txn->op_count = txn->compare_count = txn->look_count = 0;
    name = add_name(txn, lane->name);
    expect(&txn->lane_compare, name, EQUAL, lane->name_revision);
    make_put(&txn->lane_put, &txn->lane_op, name, id);
    txn->outer_ops[n++] = &txn->lane_op;
    for (unsigned i = 0; i < lane->count; i++) {
        add_request(txn, lane->requests[i], i, lane->first[i]);
        txn->outer_ops[n++] = &txn->txn_ops[i];
        if (store_fault(STORE_FAULT_MEMBER, &(struct store_fault_member){i, lane->count}))
            txn->txns[i].n_success = 0;
    }
    make_put(&txn->head_put, &txn->head_op, add_name(txn, ETCD_HEAD), id);
    txn->outer_ops[n++] = &txn->head_op;

    etcdserverpb__txn_request__init(&txn->outer);
    txn->lane_compares[0] = &txn->lane_compare;
    txn->outer.n_compare = 1;
    txn->outer.compare = txn->lane_compares;
    txn->outer.n_success = n;
    txn->outer.success = txn->outer_ops;
    return &txn->outer;
}

/* ---- what the answer says ---- */

static bool is_at(const struct etcd_keys *keys, int64_t found, uint64_t seq)
{
    int64_t revision = etcd_revision_of(keys, seq);

    return revision > 0 ? found == revision : found <= keys->restored_revision;
}

static int look_result(const struct etcd_keys *keys, const struct store_op *op, const Etcdserverpb__ResponseOp *look)
{
    const Etcdserverpb__RangeResponse *range =
        look->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ? look->response_range : NULL;
    bool there = range != NULL && range->n_kvs > 0;

    if (range == NULL)
        return -EIO;
    switch (op->expect) {
    case STORE_ABSENT:
        return there ? -EEXIST : 0;
    case STORE_PRESENT:
        return there ? 0 : -ENOENT;
    case STORE_AT:
        return !there ? -ENOENT : is_at(keys, range->kvs[0]->mod_revision, op->seq) ? 0 : -ESTALE;
    case STORE_ANY:
        break;
    }
    return 0;
}

/* Which of its expectations failed? */
static struct store_result failure_of(const struct etcd_keys *keys, const struct store_batch *request,
                                      const Etcdserverpb__TxnResponse *response)
{
    for (unsigned i = 0, look = 0; i < request->count; i++) {
        int err;

        if (request->ops[i].expect == STORE_ANY)
            continue;
        err = look < response->n_responses ? look_result(keys, &request->ops[i], response->responses[look++]) : -EIO;
        if (err < 0)
            return (struct store_result){.err = err, .failed_op = i};
    }
    return (struct store_result){.err = -EIO};
}

int etcd_txn_results(const struct etcd_lane *lane, const Etcdserverpb__TxnResponse *response)
{
    const struct etcd_keys *keys = &lane->etcd->keys;

    if (response->n_responses != lane->count + 2)
        return -EIO;
    for (unsigned i = 0; i < lane->count; i++) {
        const Etcdserverpb__ResponseOp *one = response->responses[1 + i];
        struct store_batch *request = lane->requests[i];

        if (one->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            return -EIO;
        if (request == NULL)
            continue;
        if (one->response_txn->succeeded)
            request->result = (struct store_result){.seq = etcd_seq(keys, response->header->revision, lane->first[i])};
        else
            request->result = failure_of(keys, request, one->response_txn);
    }
    return 0;
}
