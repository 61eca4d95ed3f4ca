#include "mvcc.h"
#include "err.h"
#include <assert.h>

#define OVERHEAD 256 /* bytes of a key beside its own and its value, as etcd's quota counts them */
#define MAX_OPS  128
#define MAX_PUTS 512

static const struct mvcc_status compacted_error = {ERR_GRPC_OUT_OF_RANGE,
                                                   "etcdserver: mvcc: required revision has been compacted"};
static const struct mvcc_status future_error = {ERR_GRPC_OUT_OF_RANGE,
                                                "etcdserver: mvcc: required revision is a future revision"};

static struct str str_of_data(ProtobufCBinaryData data)
{
    return (struct str){(const char *)data.data, data.len};
}

static ProtobufCBinaryData data_of_str(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.s};
}

static struct str copy_str(struct str s)
{
    return (struct str){sim_copy(s.s, s.len), s.len};
}

/* ---- keys ---- */

static size_t place_of(const struct mvcc *mvcc, struct str key)
{
    size_t low = 0, high = mvcc->key_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (str_cmp(mvcc->keys[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct mvcc_key *mvcc_find(const struct mvcc *mvcc, struct str key)
{
    size_t i = place_of(mvcc, key);

    return i < mvcc->key_count && str_eq(mvcc->keys[i]->key, key) ? mvcc->keys[i] : NULL;
}

static struct mvcc_key *find_or_add(struct mvcc *mvcc, struct str name)
{
    size_t i = place_of(mvcc, name);
    struct mvcc_key *key;

    if (i < mvcc->key_count && str_eq(mvcc->keys[i]->key, name))
        return mvcc->keys[i];
    key = sim_alloc(sizeof(*key));
    key->key = copy_str(name);
    mvcc->keys = sim_grown(mvcc->keys, &mvcc->key_size, mvcc->key_count, sizeof(*mvcc->keys));
    memmove(mvcc->keys + i + 1, mvcc->keys + i, (mvcc->key_count - i) * sizeof(*mvcc->keys));
    mvcc->keys[i] = key;
    mvcc->key_count++;
    return key;
}

const struct mvcc_version *mvcc_at(const struct mvcc_key *key, int64_t revision)
{
    if (key == NULL)
        return NULL;
    for (size_t i = key->count; i > 0; i--)
        if (key->versions[i - 1].mod <= revision)
            return key->versions[i - 1].version > 0 ? &key->versions[i - 1] : NULL;
    return NULL;
}

/* As etcd has it: no end: the key alone; end "\0": all from the key on. */
bool mvcc_in_range(struct str key, ProtobufCBinaryData from, ProtobufCBinaryData end)
{
    struct str first = str_of_data(from), last = str_of_data(end);

    if (last.len == 0)
        return str_eq(key, first);
    return str_cmp(key, first) >= 0 && ((last.len == 1 && last.s[0] == '\0') || str_cmp(key, last) < 0);
}

/* ---- the whole ---- */

struct mvcc *mvcc_new(void)
{
    struct mvcc *mvcc = sim_alloc(sizeof(*mvcc));

    mvcc->revision = 1;
    mvcc->used = mvcc->file = 20480;
    return mvcc;
}

struct mvcc *mvcc_copy(const struct mvcc *from)
{
    struct mvcc *mvcc = sim_copy(from, sizeof(*from));

    mvcc->keys = sim_alloc(from->key_count * sizeof(*mvcc->keys));
    mvcc->key_size = from->key_count;
    for (size_t i = 0; i < from->key_count; i++) {
        struct mvcc_key *key = sim_copy(from->keys[i], sizeof(*key));

        key->versions = sim_copy(key->versions, key->count * sizeof(*key->versions));
        key->size = key->count;
        mvcc->keys[i] = key;
    }
    mvcc->revisions = sim_copy(from->revisions, from->revision_count * sizeof(*mvcc->revisions));
    mvcc->revision_size = from->revision_count;
    return mvcc;
}

void mvcc_bump(struct mvcc *mvcc, int64_t by)
{
    mvcc->revision += by;
    if (by > 0)
        mvcc->compacted = mvcc->revision;
}

size_t mvcc_revision_from(const struct mvcc *mvcc, int64_t revision)
{
    size_t low = 0, high = mvcc->revision_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (mvcc->revisions[middle].revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct mvcc_revision *revision_of(struct mvcc *mvcc, int64_t revision)
{
    struct mvcc_revision *last = mvcc->revision_count > 0 ? &mvcc->revisions[mvcc->revision_count - 1] : NULL;

    if (last != NULL && last->revision == revision)
        return last;
    mvcc->revisions = sim_grown(mvcc->revisions, &mvcc->revision_size, mvcc->revision_count, sizeof(*last));
    last = &mvcc->revisions[mvcc->revision_count++];
    *last = (struct mvcc_revision){.revision = revision, .at_ns = sim_now_ns()};
    return last;
}

/* ---- changing ---- */

static uint64_t bytes_of(const struct mvcc_key *key, const struct mvcc_version *version)
{
    return OVERHEAD + key->key.len + version->value.len;
}

static void change(struct mvcc *mvcc, struct mvcc_key *key, struct mvcc_version version)
{
    struct mvcc_revision *revision = revision_of(mvcc, version.mod);

    key->versions = sim_grown(key->versions, &key->size, key->count, sizeof(*key->versions));
    key->versions[key->count++] = version;
    revision->changes = sim_grown(revision->changes, &revision->size, revision->count, sizeof(*revision->changes));
    revision->changes[revision->count++] = (struct mvcc_change){key, version};
    mvcc->used += bytes_of(key, &version);
    if (mvcc->used > mvcc->file)
        mvcc->file = mvcc->used;
}

static void put(struct mvcc *mvcc, int64_t revision, const Etcdserverpb__PutRequest *request)
{
    struct mvcc_key *key = find_or_add(mvcc, str_of_data(request->key));
    const struct mvcc_version *old = mvcc_at(key, revision);

    change(mvcc, key,
           (struct mvcc_version){.mod = revision,
                                 .create = old != NULL ? old->create : revision,
                                 .version = old != NULL ? old->version + 1 : 1,
                                 .value = copy_str(str_of_data(request->value))});
}

static int64_t delete_range(struct mvcc *mvcc, int64_t revision, const Etcdserverpb__DeleteRangeRequest *request)
{
    int64_t deleted = 0;

    for (size_t i = place_of(mvcc, str_of_data(request->key)); i < mvcc->key_count; i++) {
        struct mvcc_key *key = mvcc->keys[i];

        if (!mvcc_in_range(key->key, request->key, request->range_end))
            break;
        if (mvcc_at(key, revision) == NULL)
            continue;
        change(mvcc, key, (struct mvcc_version){.mod = revision});
        deleted++;
    }
    return deleted;
}

struct mvcc_status mvcc_compact(struct mvcc *mvcc, int64_t revision)
{
    if (revision <= mvcc->compacted)
        return compacted_error;
    if (revision > mvcc->revision)
        return future_error;
    for (size_t i = 0; i < mvcc->key_count; i++) {
        const struct mvcc_key *key = mvcc->keys[i];

        /* What this compaction makes superfluous, and the one before did not. */
        for (size_t v = 0; v < key->count; v++) {
            int64_t until = v + 1 < key->count              ? key->versions[v + 1].mod
                            : key->versions[v].version == 0 ? key->versions[v].mod
                                                            : INT64_MAX;

            if (until <= revision && until > mvcc->compacted)
                mvcc->used -= bytes_of(key, &key->versions[v]);
        }
    }
    mvcc->compacted = revision;
    return MVCC_OK;
}

void mvcc_defragment(struct mvcc *mvcc)
{
    mvcc->file = mvcc->used;
}

/* ---- reading ---- */

Etcdserverpb__KeyValue *mvcc_kv(const struct mvcc_key *key, const struct mvcc_version *version, bool keys_only)
{
    Etcdserverpb__KeyValue *kv = sim_alloc(sizeof(*kv));

    etcdserverpb__key_value__init(kv);
    kv->key = data_of_str(key->key);
    kv->mod_revision = version->mod;
    kv->create_revision = version->create;
    kv->version = version->version;
    if (!keys_only)
        kv->value = data_of_str(version->value);
    return kv;
}

struct mvcc_status mvcc_range(const struct mvcc *mvcc, const Etcdserverpb__RangeRequest *request, int64_t revision,
                              int64_t compacted, Etcdserverpb__RangeResponse **ret_response)
{
    int64_t at = request->revision > 0 ? request->revision : revision;
    Etcdserverpb__RangeResponse *response;

    if (request->key.len == 0)
        return (struct mvcc_status){ERR_GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided"};
    if (at > revision)
        return future_error;
    if (at < compacted)
        return compacted_error;
    response = sim_alloc(sizeof(*response));
    etcdserverpb__range_response__init(response);
    response->kvs = sim_alloc(mvcc->key_count * sizeof(*response->kvs));
    for (size_t i = place_of(mvcc, str_of_data(request->key)); i < mvcc->key_count; i++) {
        const struct mvcc_key *key = mvcc->keys[i];
        const struct mvcc_version *version = mvcc_at(key, at);

        if (!mvcc_in_range(key->key, request->key, request->range_end))
            break;
        if (version == NULL)
            continue;
        response->count++;
        if (request->count_only)
            continue;
        if (request->limit > 0 && response->n_kvs == (size_t)request->limit)
            response->more = true;
        else
            response->kvs[response->n_kvs++] = mvcc_kv(key, version, request->keys_only);
    }
    *ret_response = response;
    return MVCC_OK;
}

/* ---- transactions ---- */

static bool holds(int64_t found, Etcdserverpb__Compare__CompareResult result, int64_t wanted)
{
    switch (result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return found == wanted;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return found > wanted;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return found < wanted;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return found != wanted;
    default:
        return false;
    }
}

static bool compare_holds(const struct mvcc *mvcc, const Etcdserverpb__Compare *compare, int64_t revision)
{
    const struct mvcc_version *found = mvcc_at(mvcc_find(mvcc, str_of_data(compare->key)), revision);

    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return holds(found != NULL ? found->version : 0, compare->result, compare->version);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return holds(found != NULL ? found->create : 0, compare->result, compare->create_revision);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return holds(found != NULL ? found->mod : 0, compare->result, compare->mod_revision);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        return found != NULL && holds(str_cmp(found->value, str_of_data(compare->value)), compare->result, 0);
    default:
        return false;
    }
}

/* etcd decides all branches, those of nested transactions too, by the state before the transaction. */
struct path {
    bool succeeded;
    struct path *nested; /* one for each operation of the branch */
};

static size_t branch_of(const Etcdserverpb__TxnRequest *txn, bool succeeded, Etcdserverpb__RequestOp ***ret_ops)
{
    *ret_ops = succeeded ? txn->success : txn->failure;
    return succeeded ? txn->n_success : txn->n_failure;
}

static struct path choose_path(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn, int64_t revision)
{
    struct path path = {.succeeded = true};
    Etcdserverpb__RequestOp **ops;
    size_t count;

    for (size_t i = 0; i < txn->n_compare; i++)
        path.succeeded &= compare_holds(mvcc, txn->compare[i], revision);
    count = branch_of(txn, path.succeeded, &ops);
    path.nested = sim_alloc(count * sizeof(*path.nested));
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            path.nested[i] = choose_path(mvcc, ops[i]->request_txn, revision);
    return path;
}

static Etcdserverpb__TxnResponse *run_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                                          const struct path *path, int64_t revision);

static Etcdserverpb__ResponseOp *run_op(struct mvcc *mvcc, const Etcdserverpb__RequestOp *op, const struct path *path,
                                        int64_t revision)
{
    Etcdserverpb__ResponseOp *response = sim_alloc(sizeof(*response));

    etcdserverpb__response_op__init(response);
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        mvcc_range(mvcc, op->request_range, revision, 0, &response->response_range);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        response->response_put = sim_alloc(sizeof(*response->response_put));
        etcdserverpb__put_response__init(response->response_put);
        put(mvcc, revision, op->request_put);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        response->response_delete_range = sim_alloc(sizeof(*response->response_delete_range));
        etcdserverpb__delete_range_response__init(response->response_delete_range);
        response->response_delete_range->deleted = delete_range(mvcc, revision, op->request_delete_range);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
        response->response_txn = run_txn(mvcc, op->request_txn, path, revision);
        break;
    default:
        break;
    }
    return response;
}

static Etcdserverpb__TxnResponse *run_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                                          const struct path *path, int64_t revision)
{
    Etcdserverpb__TxnResponse *response = sim_alloc(sizeof(*response));
    Etcdserverpb__RequestOp **ops;

    etcdserverpb__txn_response__init(response);
    response->succeeded = path->succeeded;
    response->n_responses = branch_of(txn, path->succeeded, &ops);
    response->responses = sim_alloc(response->n_responses * sizeof(*response->responses));
    for (size_t i = 0; i < response->n_responses; i++)
        response->responses[i] = run_op(mvcc, ops[i], &path->nested[i], revision);
    return response;
}

Etcdserverpb__TxnResponse *mvcc_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request)
{
    struct path path = choose_path(mvcc, request, mvcc->revision);
    size_t before = mvcc->revision_count;
    Etcdserverpb__TxnResponse *response = run_txn(mvcc, request, &path, mvcc->revision + 1);

    if (mvcc->revision_count > before)
        mvcc->revision++;
    return response;
}

Etcdserverpb__TxnResponse *mvcc_read(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request, int64_t revision)
{
    struct path path = choose_path(mvcc, request, revision);

    assert(mvcc_reads_only(request));
    return run_txn(mvcc, request, &path, revision);
}

/* ---- what is wrong with one ---- */

struct puts {
    struct str keys[MAX_PUTS];
    size_t count;
};

static bool add_put(struct puts *puts, struct str key)
{
    for (size_t i = 0; i < puts->count; i++)
        if (str_eq(puts->keys[i], key))
            return false;
    assert(puts->count < MAX_PUTS);
    puts->keys[puts->count++] = key;
    return true;
}

static bool puts_are_unique(Etcdserverpb__RequestOp *const *ops, size_t count, struct puts *puts)
{
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__RequestOp *op = ops[i];

        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT &&
            !add_put(puts, str_of_data(op->request_put->key)))
            return false;
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN &&
            !puts_are_unique(op->request_txn->success, op->request_txn->n_success, puts))
            return false;
    }
    return true;
}

static struct mvcc_status check_ops(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__RequestOp *op = ops[i];
        bool without =
            (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT && op->request_put->key.len == 0) ||
            (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE && op->request_range->key.len == 0);

        if (without)
            return (struct mvcc_status){ERR_GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided"};
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            struct mvcc_status status = mvcc_check(op->request_txn);

            if (status.code != 0)
                return status;
        }
    }
    return MVCC_OK;
}

struct mvcc_status mvcc_check(const Etcdserverpb__TxnRequest *request)
{
    struct puts puts = {.count = 0};
    struct mvcc_status status;

    if (request->n_compare > MAX_OPS || request->n_success > MAX_OPS || request->n_failure > MAX_OPS)
        return (struct mvcc_status){ERR_GRPC_INVALID_ARGUMENT, "etcdserver: too many operations in txn request"};
    status = check_ops(request->success, request->n_success);
    if (status.code == 0)
        status = check_ops(request->failure, request->n_failure);
    if (status.code == 0 && !puts_are_unique(request->success, request->n_success, &puts))
        status = (struct mvcc_status){ERR_GRPC_INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"};
    return status;
}

static uint64_t cost_of(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    uint64_t cost = 0;

    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            cost += OVERHEAD + ops[i]->request_put->key.len + ops[i]->request_put->value.len;
        else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            cost += mvcc_cost(ops[i]->request_txn);
    return cost;
}

uint64_t mvcc_cost(const Etcdserverpb__TxnRequest *request)
{
    uint64_t success = cost_of(request->success, request->n_success);
    uint64_t failure = cost_of(request->failure, request->n_failure);

    return success > failure ? success : failure;
}

static bool ops_read_only(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
    return true;
}

bool mvcc_reads_only(const Etcdserverpb__TxnRequest *request)
{
    return ops_read_only(request->success, request->n_success) && ops_read_only(request->failure, request->n_failure);
}
