/* The keys of the writer's lanes: PREFIX/writer-UUID, a UUID each time a lane is opened. */
#include "hex.h"
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>

#define TIMEOUT_MS    1000
#define CLEAN_LIMIT   1000
#define OLD_MS        (24 * 3600 * 1000ULL)
#define OLD_REVISIONS 100000

/* A transaction that compares a key's revision, and where it makes one, also that the store is the one that was opened.
 */
struct small_txn {
    struct buf key, format;
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare, same_store, *compares[2];
    Etcdserverpb__RequestOp then, otherwise, *thens[1], *otherwises[1];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest delete;
    Etcdserverpb__RangeRequest range;
};

static int begin(struct small_txn *txn, const struct etcd_keys *keys, const char *name, int64_t revision)
{
    txn->key = txn->format = (struct buf){0};
    etcd_key_name(keys, name, &txn->key);
    etcdserverpb__txn_request__init(&txn->txn);
    etcdserverpb__compare__init(&txn->compare);
    etcdserverpb__request_op__init(&txn->then);
    etcdserverpb__request_op__init(&txn->otherwise);
    txn->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    txn->compare.key = etcd_data(buf_str(&txn->key));
    txn->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    txn->compare.mod_revision = revision;
    txn->compares[0] = &txn->compare;
    txn->thens[0] = &txn->then;
    txn->otherwises[0] = &txn->otherwise;
    txn->txn.n_compare = txn->txn.n_success = 1;
    txn->txn.compare = txn->compares;
    txn->txn.success = txn->thens;
    return buf_error(&txn->key);
}

static void then_put(struct small_txn *txn, struct str value)
{
    etcdserverpb__put_request__init(&txn->put);
    txn->put.key = txn->compare.key;
    txn->put.value = etcd_data(value);
    txn->then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    txn->then.request_put = &txn->put;
}

static void then_delete(struct small_txn *txn)
{
    etcdserverpb__delete_range_request__init(&txn->delete);
    txn->delete.key = txn->compare.key;
    txn->then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    txn->then.request_delete_range = &txn->delete;
}

static int if_same_store(struct small_txn *txn, const struct etcd_keys *keys)
{
    etcd_key_name(keys, ETCD_FORMAT, &txn->format);
    etcdserverpb__compare__init(&txn->same_store);
    txn->same_store.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    txn->same_store.key = etcd_data(buf_str(&txn->format));
    txn->same_store.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    txn->same_store.create_revision = keys->format_created;
    txn->compares[txn->txn.n_compare++] = &txn->same_store;
    return buf_error(&txn->format);
}

static void otherwise_look(struct small_txn *txn)
{
    etcdserverpb__range_request__init(&txn->range);
    txn->range.key = txn->compare.key;
    txn->otherwise.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    txn->otherwise.request_range = &txn->range;
    txn->txn.n_failure = 1;
    txn->txn.failure = txn->otherwises;
}

static void call(struct etcd *etcd, struct small_txn *txn, etcd_called *called, void *arg)
{
    etcd_call(&etcd->client, &etcdserverpb__kv__descriptor, "Txn", &txn->txn.base, TIMEOUT_MS, called, arg);
    buf_release(&txn->key);
    buf_release(&txn->format);
}

/* ---- opening ---- */

static void on_opened(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;
    struct etcd_lane *lane = arg;

    if (err == 0 && !response->succeeded)
        err = -ESTALE;
    lane->opened(lane, err, err == 0 ? response->header->revision : 0);
}

static void make_name(struct etcd_lane *lane, const struct uuid *id)
{
    char *to = lane->name + snprintf(lane->name, sizeof(lane->name), "%s", ETCD_WRITER);

    *hex_encode(id->bytes, sizeof(id->bytes), to) = '\0';
}

void etcd_lane_key_open(struct etcd_lane *lane, etcd_lane_key_opened *opened)
{
    struct small_txn txn;
    struct uuid id;
    int err = lane->etcd->world->new_id(&id);

    make_name(lane, &id);
    if (err == 0)
        err = begin(&txn, &lane->etcd->keys, lane->name, 0);
    if (err == 0)
        err = if_same_store(&txn, &lane->etcd->keys);
    if (err < 0) {
        opened(lane, err, 0);
        return;
    }
    lane->opened = opened;
    then_put(&txn, (struct str){(const char *)&id, sizeof(id)});
    call(lane->etcd, &txn, on_opened, lane);
}

/* ---- fencing ---- */

static int read_fence(const Etcdserverpb__TxnResponse *response, struct etcd_fence *ret_fence)
{
    const Etcdserverpb__ResponseOp *op = response->n_responses == 1 ? response->responses[0] : NULL;
    const Etcdserverpb__KeyValue *kv;

    *ret_fence = (struct etcd_fence){0};
    if (response->succeeded)
        return 0;
    if (op == NULL || op->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        return -EIO;
    if (op->response_range->n_kvs == 0)
        return 0;
    kv = op->response_range->kvs[0];
    ret_fence->revision = kv->mod_revision;
    if (kv->value.len == sizeof(ret_fence->batch))
        memcpy(&ret_fence->batch, kv->value.data, sizeof(ret_fence->batch));
    return 0;
}

static void on_fenced(void *arg, int err, const ProtobufCMessage *reply)
{
    struct etcd_lane *lane = arg;
    struct etcd_fence fence;

    if (err == 0)
        err = read_fence((const Etcdserverpb__TxnResponse *)reply, &fence);
    lane->fenced(lane, err, &fence);
}

void etcd_lane_key_fence(struct etcd_lane *lane, etcd_lane_key_fenced *fenced)
{
    struct small_txn txn;
    int err = begin(&txn, &lane->etcd->keys, lane->name, lane->name_revision);

    if (err < 0) {
        fenced(lane, err, NULL);
        return;
    }
    lane->fenced = fenced;
    metrics_add(lane->etcd->fences, 1);
    then_delete(&txn);
    otherwise_look(&txn);
    call(lane->etcd, &txn, on_fenced, lane);
}

/* ---- cleaning ---- */

/* Even a lane that is still in use survives it: its next transaction is refused, and it opens another key. Only a lost
 * answer of a moment ago would be misread; so a key must be old by its time and by the revisions since. */
static bool is_old(const Etcdserverpb__KeyValue *kv, int64_t revision, uint64_t now_ms)
{
    uint64_t ms = 0;

    if (kv->value.len != sizeof(struct uuid))
        return false;
    for (int i = 0; i < 6; i++) /* UUID version 7 */
        ms = ms << 8 | kv->value.data[i];
    return ms + OLD_MS < now_ms && (uint64_t)kv->mod_revision + OLD_REVISIONS < (uint64_t)revision;
}

static void on_cleaned(void *arg, int err, const ProtobufCMessage *reply)
{
}

static void on_listed(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct etcd *etcd = arg;
    uint64_t now_ms = etcd->world->realtime_ns() / CLOCK_NS_PER_MS;

    for (size_t i = 0; err == 0 && i < response->n_kvs; i++) {
        const Etcdserverpb__KeyValue *kv = response->kvs[i];
        struct str name = etcd_path(&etcd->keys, etcd_str(kv->key));
        struct buf terminated = {0};
        struct small_txn txn;

        if (!is_old(kv, response->header->revision, now_ms))
            continue;
        buf_append_str(&terminated, name);
        buf_append_char(&terminated, '\0');
        if (buf_error(&terminated) == 0 && begin(&txn, &etcd->keys, terminated.data, kv->mod_revision) == 0) {
            then_delete(&txn);
            call(etcd, &txn, on_cleaned, NULL);
        }
        buf_release(&terminated);
    }
}

/* What goes wrong is left to the next start. */
void etcd_lanes_clean(struct etcd *etcd)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct buf from = {0}, end = {0};

    etcd_key_name(&etcd->keys, ETCD_WRITER, &from);
    etcd_key_name(&etcd->keys, ETCD_WRITER "~", &end);
    request.key = etcd_data(buf_str(&from));
    request.range_end = etcd_data(buf_str(&end));
    request.limit = CLEAN_LIMIT;
    if (buf_error(&from) == 0 && buf_error(&end) == 0)
        etcd_call(&etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, TIMEOUT_MS, on_listed, etcd);
    buf_release(&from);
    buf_release(&end);
}
