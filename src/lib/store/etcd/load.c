/* A fresh view: all records of one revision, a page at a time, each page in a transaction. The last one puts the
 * position, without which a view is not complete.
 *
 * etcd builds the whole answer in memory, and a request can bound the number of its keys but not its bytes. How large
 * the next values are is not known, however small the last ones were. So each page takes only as many keys as fit into
 * PAGE_BYTES with values of the maximum size.
 *
 * For each page etcd also counts all keys of the requested range, also those beyond the limit. With so many pages the
 * range must be small, too: the keys that share their first bits with the first one. A range with too many keys is
 * narrowed by as many bits as its count asks for; where few are found, the next range is widened.
 *
 * The head comes first. If etcd is restored while pages are loaded, and comes to the same revision again, later pages
 * are of another history; then it has another head at that revision, which the last question finds. */
#include "store_etcd_internal.h"
#include <errno.h>

#define PAGE_TIMEOUT_MS 15000
#define PAGE_BYTES      (32u << 20) /* at most: in etcd, on the way, and here */
#define RECORD_BYTES    (ETCD_MAX_NAME + STORE_MAX_KEY + ETCD_MAX_ENVELOPE + STORE_MAX_VALUE) /* at most */
#define PAGE_KEYS       (PAGE_BYTES / RECORD_BYTES)
#define RANGE_KEYS      (4 * PAGE_KEYS) /* of a range that is not narrowed */
#define FEW_KEYS        (PAGE_KEYS / 2) /* of a range: the next one is wider */
#define ATTEMPTS        20              /* at one question */

struct load {
    struct etcd *etcd;
    struct etcd_view *view;
    struct etcd_position *position;
    struct buf from, end; /* the range of the next page: from the first key, up to the first behind it */
    size_t shared;        /* the first bits of from, which the keys of the range share; zeros follow from */
    size_t found;         /* keys of the range so far */
    int64_t limit;        /* keys of a page */
    uint64_t last_seq;
    bool more;
    bool same_store; /* its format is the one that was opened */
    int err;         /* of the view, not of etcd */
    int reply_err;   /* of etcd's answer */
};

/* ---- ranges ---- */

static bool is_last_range(const struct load *load)
{
    return str_eq(buf_str(&load->end), str_of(load->etcd->keys.end));
}

/* The end of the range: the shared bits as a number, plus one. At most the end of all keys, which is behind those that
 * share the store's prefix. */
static int set_end(struct load *load)
{
    struct str last = str_of(load->etcd->keys.end);
    unsigned step = 1u << (7 - (load->shared - 1) % 8);
    size_t len = (load->shared + 7) / 8;

    load->end.len = 0;
    buf_append(&load->end, load->from.data, load->from.len < len ? load->from.len : len);
    while (load->end.len < len && buf_error(&load->end) == 0)
        buf_append_char(&load->end, '\0');
    if (buf_error(&load->end) < 0 || buf_error(&load->from) < 0)
        return -ENOMEM;
    for (size_t i = len; i-- > 0 && step != 0; step = step > UINT8_MAX) {
        step += (uint8_t)load->end.data[i] & ~(step - 1);
        load->end.data[i] = (char)step;
    }
    if (str_cmp(buf_str(&load->end), last) > 0) {
        load->end.len = 0;
        buf_append_str(&load->end, last);
    }
    return buf_error(&load->end);
}

static int first_range(struct load *load)
{
    buf_append_cstr(&load->from, load->etcd->keys.prefix);
    load->shared = 8 * load->from.len;
    return set_end(load);
}

static void narrow(struct load *load, uint64_t keys)
{
    for (; keys > RANGE_KEYS && load->shared < 8 * load->from.len; keys /= 2)
        load->shared++;
}

static void widen(struct load *load)
{
    size_t most = 8 * strlen(load->etcd->keys.prefix), bits = 8;

    while (bits > 0 && load->found << (bits - 1) >= FEW_KEYS)
        bits--;
    load->shared = load->shared > most + bits ? load->shared - bits : most;
}

static int next_range(struct load *load, const Etcdserverpb__RangeResponse *page)
{
    load->from.len = 0;
    load->found += page->n_kvs;
    if (page->more && page->n_kvs > 0) {
        buf_append_str(&load->from, etcd_str(page->kvs[page->n_kvs - 1]->key));
        buf_append_char(&load->from, '\0');
        narrow(load, (uint64_t)page->count - page->n_kvs);
    } else {
        buf_append_str(&load->from, buf_str(&load->end));
        widen(load);
        load->found = 0;
    }
    return set_end(load);
}

/* ---- pages ---- */

static int add(struct load *load, struct store_view_txn *txn, const Etcdserverpb__KeyValue *kv)
{
    unsigned table;
    struct str key;

    if (etcd_key_parse(&load->etcd->keys, etcd_str(kv->key), &table, &key) != -ENOENT)
        return etcd_view_put(load->etcd, txn, kv, true, &load->last_seq);
    if (str_eq(key, STR(ETCD_FORMAT)))
        load->same_store = etcd_schema_is_ours(load->etcd, kv);
    return 0;
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
    if (err == 0 && !load->more)
        err = end(load, &txn);
    if (err == 0)
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    return err;
}

/* Only keys of the range, in order: from the last one the next range begins. */
static bool is_answer(const struct load *load, const Etcdserverpb__RangeResponse *page)
{
    struct str last = buf_str(&load->from);

    for (size_t i = 0; i < page->n_kvs; i++) {
        struct str key = etcd_str(page->kvs[i]->key);

        if (str_cmp(key, last) < 0 || str_cmp(key, buf_str(&load->end)) >= 0)
            return false;
        last = key;
    }
    return true;
}

static void on_page(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)reply;
    struct load *load = arg;

    load->reply_err = err == 0 && !is_answer(load, page) ? -EPROTO : 0;
    if (err < 0 || load->reply_err < 0)
        return;
    load->more = (page->more && page->n_kvs > 0) || !is_last_range(load);
    load->err = add_page(load, page);
    if (load->more && load->err == 0)
        load->err = next_range(load, page);
}

static int get_page(struct load *load)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    int err;

    request.key = etcd_data(buf_str(&load->from));
    request.range_end = etcd_data(buf_str(&load->end));
    request.limit = load->limit;
    request.revision = load->position->revision;
    err = etcd_call_wait(&load->etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, PAGE_TIMEOUT_MS,
                         on_page, load);
    return err < 0 ? err : load->reply_err < 0 ? load->reply_err : load->err;
}

/* -ECANCELED: it is to be stopped. */
static int note_answer(struct load *load, int err)
{
    struct etcd_follower *follower = &load->etcd->follower;
    bool stopped;

    pthread_mutex_lock(&load->etcd->mutex);
    if (err == 0)
        follower->moved_ns = load->etcd->world->monotonic_ns();
    stopped = follower->stopped;
    pthread_mutex_unlock(&load->etcd->mutex);
    return stopped ? -ECANCELED : err;
}

static int get_head(struct load *load)
{
    return etcd_head_ask(load->etcd, 0, load->position);
}

/* -ERANGE: etcd was restored while pages were on their way. */
static int check_head(struct load *load)
{
    return etcd_history_check(load->etcd, load->position);
}

static int try(struct load *load, int (*ask)(struct load *load))
{
    int err = note_answer(load, ask(load));

    for (int i = 1; i < ATTEMPTS && (err == -EHOSTUNREACH || err == -EAGAIN); i++) {
        load->etcd->world->sleep(100 * 1000 * 1000);
        err = note_answer(load, ask(load));
    }
    return err;
}

static int get_all(struct load *load)
{
    int err = try(load, get_head);

    while (err == 0 && load->more) {
        err = try(load, get_page);
        if (err == -EFBIG && load->limit > 1) { /* an answer beyond what we take */
            load->limit /= 2;
            err = 0;
        }
    }
    return err == 0 ? try(load, check_head) : err;
}

int etcd_load(struct etcd *etcd, struct etcd_view **ret_view, char *error, size_t error_size)
{
    struct load load = {.etcd = etcd, .limit = PAGE_KEYS, .last_seq = etcd->keys.base, .more = true};
    int err;

    err = etcd_view_new(etcd, &load.view, error, error_size);
    if (err < 0) {
        etcd_view_wrote(etcd, err);
        return err;
    }
    load.position = &load.view->position;
    err = first_range(&load);
    if (err == 0)
        err = get_all(&load);
    buf_release(&load.from);
    buf_release(&load.end);
    if (err == 0 || load.err < 0)
        etcd_view_wrote(etcd, load.err);
    if (err < 0) {
        etcd_view_unref(etcd, load.view);
        return store_fail(error, error_size, err, "etcd: the records below %s cannot be loaded: %s", etcd->keys.prefix,
                          strerror(-err));
    }
    if (!load.same_store)
        etcd_replaced(etcd);
    *ret_view = load.view;
    return 0;
}
