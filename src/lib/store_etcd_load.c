/* A fresh view: all records of one revision, a page at a time, each page in a transaction. The last one puts the
 * position, without which a view is not complete. */
#include "store_etcd_internal.h"
#include <errno.h>

#define PAGE_TIMEOUT_MS 15000
#define PAGE_BYTES      (8u << 20) /* that a page aims at */
#define FIRST_LIMIT     128
#define MAX_LIMIT       65536 /* etcd counts all keys behind a page, for every page: few pages */
#define ATTEMPTS        20    /* at one page */

struct load {
    struct etcd *etcd;
    struct etcd_view *view;
    struct etcd_position *position;
    struct buf from; /* the first key of the next page */
    int64_t limit;   /* keys of a page */
    uint64_t last_seq;
    bool more;
    int err; /* of the view, not of etcd */
};

static int add_ours(struct load *load, struct str name, const Etcdserverpb__KeyValue *kv)
{
    if (!str_eq(name, STR(ETCD_HEAD)))
        return 0;
    if (kv->value.len != sizeof(load->position->head))
        return -EPROTO;
    load->position->head_revision = kv->mod_revision;
    memcpy(&load->position->head, kv->value.data, sizeof(load->position->head));
    return 0;
}

static int add(struct load *load, struct store_view_txn *txn, const Etcdserverpb__KeyValue *kv)
{
    unsigned table;
    struct str key;

    if (etcd_key_parse(&load->etcd->keys, etcd_str(kv->key), &table, &key) == -ENOENT)
        return add_ours(load, key, kv);
    return etcd_view_put(load->etcd, txn, kv, true, &load->last_seq);
}

static int end(struct load *load, struct store_view_txn *txn)
{
    int err = store_view_set_last_seq(txn, load->last_seq);

    return err == 0 ? etcd_position_put(txn, load->position) : err;
}

static int add_page(struct load *load, const Etcdserverpb__RangeResponse *page)
{
    struct store_view_txn txn;
    int err;

    err = store_view_begin(load->view->view, &txn);
    if (err < 0)
        return err;
    for (size_t i = 0; i < page->n_kvs && err == 0; i++)
        err = add(load, &txn, page->kvs[i]);
    if (err == 0 && !page->more)
        err = end(load, &txn);
    if (err == 0)
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    return err;
}

/* As many keys as will make a page of the size aimed at, if the next ones are like those of this page. */
static void adapt(struct load *load, const Etcdserverpb__RangeResponse *page)
{
    size_t bytes = 1;

    for (size_t i = 0; i < page->n_kvs; i++)
        bytes += page->kvs[i]->key.len + page->kvs[i]->value.len;
    load->limit = (int64_t)(page->n_kvs * PAGE_BYTES / bytes) + 1;
    if (load->limit > MAX_LIMIT)
        load->limit = MAX_LIMIT;
}

static void on_page(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)reply;
    struct load *load = arg;

    if (err < 0)
        return;
    if (load->position->revision == 0)
        load->position->revision = page->header->revision;
    load->more = page->more && page->n_kvs > 0;
    load->err = add_page(load, page);
    if (!load->more || load->err < 0)
        return;
    adapt(load, page);
    load->from.len = 0;
    buf_append_str(&load->from, etcd_str(page->kvs[page->n_kvs - 1]->key));
    buf_append_char(&load->from, '\0');
    load->err = buf_error(&load->from);
}

static int get_page(struct load *load)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    int err;

    request.key = etcd_data(buf_str(&load->from));
    request.range_end = etcd_data(str_of(load->etcd->keys.end));
    request.limit = load->limit;
    request.revision = load->position->revision;
    err = etcd_call_wait(&load->etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, PAGE_TIMEOUT_MS,
                         on_page, load);
    return err < 0 ? err : load->err;
}

/* -ECANCELED: it is to be stopped. */
static int note_page(struct load *load, int err)
{
    struct etcd_follower *follower = &load->etcd->follower;
    bool stopped;

    pthread_mutex_lock(&load->etcd->mutex);
    if (err == 0)
        follower->moved_ns = clock_monotonic_ns();
    stopped = follower->stopped;
    pthread_mutex_unlock(&load->etcd->mutex);
    return stopped ? -ECANCELED : err;
}

static int get_all(struct load *load)
{
    int err = 0, failures = 0;

    while (err == 0 && load->more) {
        err = note_page(load, get_page(load));
        if (err == -EMSGSIZE && load->limit > 1) { /* an answer beyond what we take */
            load->limit /= 2;
            err = 0;
        } else if ((err == -EHOSTUNREACH || err == -EAGAIN) && ++failures < ATTEMPTS) {
            nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
            err = 0;
        } else if (err == 0) {
            failures = 0;
        }
    }
    return err;
}

int etcd_load(struct etcd *etcd, struct etcd_view **ret_view, char *error, size_t error_size)
{
    struct load load = {.etcd = etcd, .limit = FIRST_LIMIT, .last_seq = etcd->keys.base, .more = true};
    int err;

    err = etcd_view_new(etcd, &load.view, error, error_size);
    if (err < 0) {
        etcd_view_wrote(etcd, err);
        return err;
    }
    load.position = &load.view->position;
    buf_append_cstr(&load.from, etcd->keys.prefix);
    err = buf_error(&load.from);
    if (err == 0)
        err = get_all(&load);
    buf_release(&load.from);
    if (err == 0 || load.err < 0)
        etcd_view_wrote(etcd, load.err);
    if (err < 0) {
        etcd_view_unref(etcd, load.view);
        return store_fail(error, error_size, err, "etcd: the records below %s cannot be loaded: %s", etcd->keys.prefix,
                          strerror(-err));
    }
    *ret_view = load.view;
    return 0;
}
