/* The key PREFIX/format: the version of what is stored, and the tables' names. Made by whoever comes first; a process
 * whose tables are not those of the key, or those and more, is refused. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>

#define MAGIC      "slipway"
#define VERSION    1
#define TIMEOUT_MS 5000
#define ATTEMPTS   10

struct found {
    struct buf value;
    int64_t revision; /* of the key; 0: there is none */
    int64_t count;
    int64_t at; /* etcd's revision then */
};

static void on_found(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct found *found = arg;

    if (err < 0)
        return;
    found->count = response->count;
    found->at = response->header->revision;
    if (response->n_kvs == 0)
        return;
    found->revision = response->kvs[0]->mod_revision;
    buf_append_str(&found->value, etcd_str(response->kvs[0]->value));
}

/* at: etcd's revision; 0: the last. */
static int get(struct etcd *etcd, const char *key, const char *end, int64_t at, struct found *found)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    request.key = etcd_data(str_of(key));
    request.range_end = etcd_data(str_of(end));
    request.count_only = end != NULL;
    request.revision = at;
    return etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, TIMEOUT_MS, on_found,
                          found);
}

static void on_put(void *arg, int err, const ProtobufCMessage *reply)
{
    if (err == 0)
        *(bool *)arg = ((const Etcdserverpb__TxnResponse *)reply)->succeeded;
}

/* Where the key is still as it was found. */
static int put(struct etcd *etcd, const char *key, int64_t revision, struct str value, bool *ret_done)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;

    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = request.key = etcd_data(str_of(key));
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = revision;
    request.value = etcd_data(value);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &request;
    txn.n_compare = txn.n_success = 1;
    txn.compare = &(Etcdserverpb__Compare *){&compare};
    txn.success = &(Etcdserverpb__RequestOp *){&op};
    return etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Txn", &txn.base, TIMEOUT_MS, on_put, ret_done);
}

static void make_value(const struct etcd_keys *keys, struct buf *value)
{
    uint8_t header[16] = MAGIC;

    store_put_u64(header + 8, VERSION);
    buf_append(value, header, sizeof(header));
    for (unsigned i = 0; i < keys->table_count; i++)
        buf_append(value, keys->tables[i].name, strlen(keys->tables[i].name) + 1);
}

/* Takes the next of the names that each end with a zero byte. */
static bool next_name(struct str *names, struct str *ret_name)
{
    const char *end = names->len > 0 ? memchr(names->s, '\0', names->len) : NULL;

    if (end == NULL)
        return false;
    *ret_name = (struct str){names->s, (size_t)(end - names->s)};
    *names = (struct str){end + 1, names->len - ret_name->len - 1};
    return true;
}

static int check_tables(struct etcd *etcd, struct str names, char *error, size_t error_size)
{
    const struct etcd_keys *keys = &etcd->keys;
    struct str name;

    for (unsigned i = 0; next_name(&names, &name); i++) {
        if (i == keys->table_count)
            return store_fail(error, error_size, -EPROTO,
                              "etcd: what is at %s is of a later version: it has a table %.*s", keys->prefix,
                              STR_ARG(name));
        if (!str_eq(name, str_of(keys->tables[i].name)))
            return store_fail(error, error_size, -EPROTO,
                              "etcd: what is at %s is another service's: it has a table %.*s instead of %s",
                              keys->prefix, STR_ARG(name), keys->tables[i].name);
    }
    return 0;
}

static int check_value(struct etcd *etcd, struct str found, char *error, size_t error_size)
{
    const char *prefix = etcd->keys.prefix;

    if (found.len < 16 || memcmp(found.s, MAGIC, sizeof(MAGIC)) != 0)
        return store_fail(error, error_size, -EPROTO, "etcd: what is at %s is another program's", prefix);
    if (store_get_u64(found.s + 8) != VERSION)
        return store_fail(error, error_size, -EPROTO,
                          "etcd: what is at %s has format %llu; this version reads format %d", prefix,
                          (unsigned long long)store_get_u64(found.s + 8), VERSION);
    return check_tables(etcd, (struct str){found.s + 16, found.len - 16}, error, error_size);
}

/* 0: the schema is as it must be. -EAGAIN: look again. */
static int check_once(struct etcd *etcd, const char *key, struct str wanted, char *error, size_t error_size)
{
    struct found found = {0}, all = {0};
    bool done = false;
    int err;

    error[0] = '\0';
    err = get(etcd, key, NULL, 0, &found);
    if (err == 0 && found.revision != 0)
        err = check_value(etcd, buf_str(&found.value), error, error_size);
    if (err == 0 && found.revision == 0)
        err = get(etcd, etcd->keys.prefix, etcd->keys.end, found.at, &all);
    if (err == 0 && found.revision == 0 && all.count > 0)
        err = store_fail(error, error_size, -EPROTO, "etcd: what is at %s is another program's", etcd->keys.prefix);
    if (err == 0 && !str_eq(buf_str(&found.value), wanted)) {
        err = put(etcd, key, found.revision, wanted, &done);
        if (err == 0 && !done)
            err = -EAGAIN;
    }
    if (err < 0 && error[0] == '\0')
        store_fail(error, error_size, 0, "etcd: the schema at %s: %s", etcd->keys.prefix, strerror(-err));
    buf_release(&found.value);
    buf_release(&all.value);
    return err == -EHOSTUNREACH ? -EAGAIN : err;
}

int etcd_schema_check(struct etcd *etcd, char *error, size_t error_size)
{
    struct buf key = {0}, wanted = {0};
    int err;

    etcd_key_name(&etcd->keys, ETCD_FORMAT, &key);
    buf_append_char(&key, '\0');
    make_value(&etcd->keys, &wanted);
    err = buf_error(&key) < 0 ? -ENOMEM : buf_error(&wanted);
    for (int i = 0; i < ATTEMPTS && (err == 0 || err == -EAGAIN) && (i == 0 || err == -EAGAIN); i++) {
        err = check_once(etcd, key.data, buf_str(&wanted), error, error_size);
        if (err == -EAGAIN)
            nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
    }
    buf_release(&key);
    buf_release(&wanted);
    return err == -EAGAIN ? -EHOSTUNREACH : err;
}
