/* What PREFIX holds, besides records, for all processes to agree on:
 *
 *   - PREFIX/format: made by whoever comes first: the version of what is stored, the base of the seqs, the tables
 *   - PREFIX/restore: where the records were restored: from what, and whether that has ended
 *
 * They are read at once, and written if they are still as they were read. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>

#define MAGIC      "slipway"
#define VERSION    1
#define HEADER     24 /* of the format: the magic, the version, the base */
#define TIMEOUT_MS 5000
#define ATTEMPTS   20
#define RESTORE    "restore"

enum { AT_FORMAT, AT_RESTORE, AT_ALL, PLACES };

struct schema {
    struct buf keys[PLACES];
    struct buf format, restore;                /* values */
    int64_t format_revision, restore_revision; /* 0: there is none */
    int64_t format_created, written;           /* revisions */
    int64_t count;                             /* of all keys */
    bool complete;                             /* the reply had all of them */
    char *error;
    size_t error_size;
};

#define FAIL(schema, err, ...) store_fail((schema)->error, (schema)->error_size, err, __VA_ARGS__)

static void release(struct schema *schema)
{
    for (int i = 0; i < PLACES; i++)
        buf_release(&schema->keys[i]);
    buf_release(&schema->format);
    buf_release(&schema->restore);
}

/* ---- reading ---- */

static int64_t take_created(const Etcdserverpb__ResponseOp *op)
{
    return op->response_range->n_kvs > 0 ? op->response_range->kvs[0]->create_revision : 0;
}

static int64_t take_value(const Etcdserverpb__ResponseOp *op, struct buf *value)
{
    const Etcdserverpb__RangeResponse *range = op->response_range;

    if (range->n_kvs == 0)
        return 0;
    buf_append_str(value, etcd_str(range->kvs[0]->value));
    return range->kvs[0]->mod_revision;
}

static bool is_answer(const Etcdserverpb__TxnResponse *response)
{
    bool is = response->n_responses == PLACES;

    for (size_t i = 0; is && i < PLACES; i++)
        is = response->responses[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    return is;
}

static void on_read(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;
    struct schema *schema = arg;

    if (err < 0 || !is_answer(response))
        return;
    schema->complete = true;
    schema->format_revision = take_value(response->responses[AT_FORMAT], &schema->format);
    schema->format_created = take_created(response->responses[AT_FORMAT]);
    schema->restore_revision = take_value(response->responses[AT_RESTORE], &schema->restore);
    schema->count = response->responses[AT_ALL]->response_range->count;
}

static int read_schema(struct etcd *etcd, struct schema *schema)
{
    static const char *const names[PLACES] = {ETCD_FORMAT, RESTORE, ""};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RangeRequest ranges[PLACES];
    Etcdserverpb__RequestOp ops[PLACES], *pointers[PLACES];
    int err = 0;

    for (int i = 0; i < PLACES; i++) {
        etcd_key_name(&etcd->keys, names[i], &schema->keys[i]);
        etcdserverpb__range_request__init(&ranges[i]);
        etcdserverpb__request_op__init(&ops[i]);
        ranges[i].key = etcd_data(buf_str(&schema->keys[i]));
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        ops[i].request_range = &ranges[i];
        pointers[i] = &ops[i];
        err = err == 0 ? buf_error(&schema->keys[i]) : err;
    }
    ranges[AT_ALL].range_end = etcd_data(str_of(etcd->keys.end));
    ranges[AT_ALL].count_only = true;
    txn.n_success = PLACES;
    txn.success = pointers;
    if (err == 0)
        err =
            etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Txn", &txn.base, TIMEOUT_MS, on_read, schema);
    return err == 0 && !schema->complete ? -EPROTO : err;
}

/* ---- writing ---- */

static void on_written(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;

    if (err == 0 && response->succeeded)
        *(int64_t *)arg = response->header->revision;
}

/* -EAGAIN: it is not as it was read any more. */
static int write_schema(struct etcd *etcd, struct schema *schema, struct str format, struct str restore)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    const struct {
        struct str key, value;
        int64_t revision;
    } writes[] = {
        {buf_str(&schema->keys[AT_FORMAT]), format, schema->format_revision},
        {buf_str(&schema->keys[AT_RESTORE]), restore, schema->restore_revision},
    };
    Etcdserverpb__Compare compares[2], *compare_pointers[2];
    Etcdserverpb__PutRequest puts[2];
    Etcdserverpb__RequestOp ops[2], *op_pointers[2];
    int err;

    schema->written = 0;
    for (int i = 0; i < 2; i++) {
        etcdserverpb__compare__init(&compares[i]);
        etcdserverpb__put_request__init(&puts[i]);
        etcdserverpb__request_op__init(&ops[i]);
        compares[i].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        compares[i].key = puts[i].key = etcd_data(writes[i].key);
        compares[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compares[i].mod_revision = writes[i].revision;
        puts[i].value = etcd_data(writes[i].value);
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        compare_pointers[txn.n_compare++] = &compares[i];
        if (writes[i].value.len > 0)
            op_pointers[txn.n_success++] = &ops[i];
    }
    txn.compare = compare_pointers;
    txn.success = op_pointers;
    err = etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Txn", &txn.base, TIMEOUT_MS, on_written,
                         &schema->written);
    return err == 0 && schema->written == 0 ? -EAGAIN : err;
}

static void make_format(const struct etcd_keys *keys, uint64_t base, struct buf *format)
{
    uint8_t header[HEADER] = MAGIC;

    store_put_u64(header + 8, VERSION);
    store_put_u64(header + 16, base);
    buf_append(format, header, sizeof(header));
    for (unsigned i = 0; i < keys->table_count; i++)
        buf_append(format, keys->tables[i].name, strlen(keys->tables[i].name) + 1);
}

/* ---- checking ---- */

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

static int check_tables(struct etcd *etcd, struct schema *schema, struct str names)
{
    const struct etcd_keys *keys = &etcd->keys;
    struct str name;

    for (unsigned i = 0; next_name(&names, &name); i++) {
        if (i == keys->table_count)
            return FAIL(schema, -EPROTO, "etcd: what is at %s is of a later version: it has a table %.*s", keys->prefix,
                        STR_ARG(name));
        if (!str_eq(name, str_of(keys->tables[i].name)))
            return FAIL(schema, -EPROTO, "etcd: what is at %s is another service's: it has a table %.*s instead of %s",
                        keys->prefix, STR_ARG(name), keys->tables[i].name);
    }
    return 0;
}

/* STORE_INSPECT: whatever there is. */
static int find_tables(struct etcd *etcd, struct schema *schema, struct str names)
{
    size_t count = 0;
    struct str name;

    for (; next_name(&names, &name); count++) {
        if (count == STORE_MAX_TABLES || name.len >= sizeof(etcd->found_names[0]))
            return FAIL(schema, -EPROTO, "etcd: the tables at %s are too many, or have long names", etcd->keys.prefix);
        snprintf(etcd->found_names[count], sizeof(etcd->found_names[0]), "%.*s", STR_ARG(name));
        etcd->found[count] = (struct store_table){.name = etcd->found_names[count]};
    }
    etcd->keys.tables = etcd->found;
    etcd->keys.table_count = count;
    return 0;
}

static int check_format(struct etcd *etcd, struct schema *schema)
{
    const char *prefix = etcd->keys.prefix;
    struct str found = buf_str(&schema->format), names;

    if (found.len < HEADER || memcmp(found.s, MAGIC, sizeof(MAGIC)) != 0)
        return FAIL(schema, -EPROTO, "etcd: what is at %s is another program's", prefix);
    if (store_get_u64(found.s + 8) != VERSION)
        return FAIL(schema, -EPROTO, "etcd: what is at %s has format %llu; this version reads format %d", prefix,
                    (unsigned long long)store_get_u64(found.s + 8), VERSION);
    etcd->keys.base = store_get_u64(found.s + 16);
    names = (struct str){found.s + HEADER, found.len - HEADER};
    return etcd->options.tables != NULL ? check_tables(etcd, schema, names) : find_tables(etcd, schema, names);
}

/* What holds a part of what it should is nothing to serve; what holds something is nothing to fill: a service that has
 * been started there may be running, and would go on with sequence numbers of before. */
static int check_restore(struct etcd *etcd, struct schema *schema)
{
    const char *prefix = etcd->keys.prefix;
    const char *why;
    bool same;
    int err = store_mark_check(buf_str(&schema->restore), etcd->options.mode, etcd->options.restore_id, &same, &why);

    etcd->keys.restored_revision = schema->restore_revision;
    if (err < 0)
        return FAIL(schema, err, "etcd: what is at %s %s", prefix, why);
    if (same || etcd->options.mode != STORE_RESTORE)
        return 0;
    if (schema->count > 0)
        return FAIL(
            schema, -ENOTEMPTY,
            "etcd: what is at %s is not empty: a service has been started there; end it, and delete all that begins "
            "with %s",
            prefix, prefix);
    return 0;
}

static int check(struct etcd *etcd, struct schema *schema)
{
    int err;

    if (schema->format_revision == 0 && etcd->options.mode == STORE_INSPECT)
        return FAIL(schema, -ENOENT, "etcd: there is nothing at %s", etcd->keys.prefix);
    if (schema->format_revision == 0 && schema->count > 0)
        return FAIL(schema, -EPROTO, "etcd: what is at %s is another program's", etcd->keys.prefix);
    etcd->keys.format_created = schema->format_created;
    err = schema->format_revision != 0 ? check_format(etcd, schema) : 0;
    return err == 0 ? check_restore(etcd, schema) : err;
}

/* Makes, or extends, what is there by our tables; marks a restoration. */
static int prepare(struct etcd *etcd, struct schema *schema)
{
    struct buf format = {0};
    char mark[STORE_MARK];
    struct str restore = etcd->options.mode == STORE_RESTORE
                             ? store_mark_make(STORE_MARK_RESTORING, etcd->options.restore_id, mark)
                             : STR_NULL;
    int err;

    make_format(&etcd->keys, etcd->keys.base, &format);
    err = buf_error(&format);
    if (err == 0 && !(str_eq(buf_str(&format), buf_str(&schema->format)) &&
                      (restore.len == 0 || str_eq(restore, buf_str(&schema->restore)))))
        err = write_schema(etcd, schema, buf_str(&format), restore);
    if (err == 0 && etcd->keys.format_created == 0)
        etcd->keys.format_created = schema->written;
    buf_release(&format);
    return err;
}

bool etcd_schema_is_ours(const struct etcd *etcd, const Etcdserverpb__KeyValue *format)
{
    return format->create_revision == etcd->keys.format_created &&
           (etcd->options.mode == STORE_RESTORE ||
            (format->value.len >= HEADER && store_get_u64(format->value.data + 16) == etcd->keys.base));
}

void etcd_replaced(struct etcd *etcd)
{
    atomic_store(&etcd->replaced, true);
}

static int agree(struct etcd *etcd, char *error, size_t error_size)
{
    struct schema schema = {.error = error, .error_size = error_size};
    int err;

    error[0] = '\0';
    err = read_schema(etcd, &schema);
    if (err == 0)
        err = check(etcd, &schema);
    if (err == 0 && etcd->options.mode != STORE_INSPECT)
        err = prepare(etcd, &schema);
    release(&schema);
    if (err < 0 && error[0] == '\0')
        store_fail(error, error_size, 0, "etcd: the schema at %s: %s", etcd->keys.prefix, strerror(-err));
    return err;
}

/* An unknown result is tried again like a failure: what has been written is found then. */
int etcd_schema_check(struct etcd *etcd, char *error, size_t error_size)
{
    int err = -EAGAIN;

    for (int i = 0; i < ATTEMPTS && (err == -EAGAIN || err == -EHOSTUNREACH); i++) {
        if (i > 0)
            etcd->world->sleep(100 * 1000 * 1000);
        err = agree(etcd, error, error_size);
    }
    return err == -EAGAIN ? -EHOSTUNREACH : err;
}

int etcd_attach(struct etcd *etcd, uint64_t within_ns, char *error, size_t error_size)
{
    int err = etcd_client_reach(&etcd->client, within_ns, error, error_size);

    if (err == 0)
        err = etcd_schema_check(etcd, error, error_size);
    if (err < 0)
        return err;
    atomic_store(&etcd->attached, true);
    if (etcd->options.mode == STORE_SERVE)
        etcd_lanes_clean(etcd);
    return 0;
}

/* ---- the end of a restoration ---- */

static int end_restoration(struct etcd *etcd, uint64_t last_seq)
{
    struct schema schema = {.error = NULL};
    struct buf format = {0};
    char mark[STORE_MARK];
    struct str restored = store_mark_make(STORE_MARK_RESTORED, etcd->options.restore_id, mark);
    int err;

    make_format(&etcd->keys, last_seq, &format);
    err = buf_error(&format);
    if (err == 0)
        err = read_schema(etcd, &schema);
    if (err == 0 && !str_eq(restored, buf_str(&schema.restore)))
        err = write_schema(etcd, &schema, buf_str(&format), restored);
    buf_release(&format);
    release(&schema);
    return err;
}

int etcd_schema_restored(struct etcd *etcd, uint64_t last_seq)
{
    int err = -EAGAIN;

    for (int i = 0; i < ATTEMPTS && (err == -EAGAIN || err == -EHOSTUNREACH); i++) {
        if (i > 0)
            etcd->world->sleep(100 * 1000 * 1000);
        err = end_restoration(etcd, last_seq);
    }
    return err;
}
