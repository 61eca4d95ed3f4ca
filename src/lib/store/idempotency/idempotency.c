#include "idempotency_internal.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#define MAX_RUNNING 16384

/* A stored value: a time that earlier versions dropped it by (ms since 1970), the request's digest, the answer. */
#define DIGEST_LEN   32
#define VALUE_HEADER (8 + DIGEST_LEN)

struct running {
    size_t key_len;
    char key[];
};

bool idempotency_key_valid(struct str key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.s[i] < 0x21 || key.s[i] > 0x7e)
            return false;
    return key.len >= 1 && key.len <= IDEMPOTENCY_MAX_KEY;
}

static uint64_t now_ms(void)
{
    return clock_realtime_ns() / CLOCK_NS_PER_MS;
}

static int digest(const struct idempotency *idempotency, struct str data, uint8_t ret_digest[DIGEST_LEN])
{
    return EVP_Digest(data.s, data.len, ret_digest, NULL, idempotency->sha256, NULL) == 1 ? 0 : -ENOMEM;
}

/* ---- the table ---- */

static void index_by_seq(struct store_index *index, const struct store_record *record)
{
    uint8_t key[8 + STORE_MAX_KEY];

    if (record->value.len < VALUE_HEADER || str_eq(record->key, IDEMPOTENCY_TICKS_KEY))
        return;
    store_put_u64(key, record->seq);
    memcpy(key + 8, record->key.s, record->key.len);
    store_index_add(index, (struct str){(const char *)key, 8 + record->key.len}, STR_NULL);
}

const struct store_table idempotency_table = {"idempotency", index_by_seq, 2};

/* ---- what is running ---- */

static int compare_running(const void *a, const void *b)
{
    const struct running *x = a, *y = b;

    return str_cmp((struct str){x->key, x->key_len}, (struct str){y->key, y->key_len});
}

static struct running *running_new(struct str key)
{
    struct running *running = malloc(sizeof(*running) + key.len);

    if (running != NULL) {
        running->key_len = key.len;
        memcpy(running->key, key.s, key.len);
    }
    return running;
}

static int insert(struct idempotency *idempotency, struct running *running)
{
    struct running **node;

    if (idempotency->running_count == MAX_RUNNING)
        return -ENOBUFS;
    node = tsearch(running, &idempotency->running, compare_running);
    if (node == NULL)
        return -ENOMEM;
    if (*node != running)
        return -EBUSY;
    idempotency->running_count++;
    return 0;
}

static int reserve(struct idempotency *idempotency, struct str key)
{
    struct running *running = running_new(key);
    int err;

    if (running == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&idempotency->mutex);
    err = insert(idempotency, running);
    pthread_mutex_unlock(&idempotency->mutex);
    if (err < 0)
        free(running);
    return err;
}

void idempotency_release(struct idempotency *idempotency, struct str key)
{
    _Alignas(struct running) char space[sizeof(struct running) + STORE_MAX_KEY];
    struct running *wanted = (struct running *)space, **node, *gone;

    wanted->key_len = key.len;
    memcpy(wanted->key, key.s, key.len);
    pthread_mutex_lock(&idempotency->mutex);
    node = tfind(wanted, &idempotency->running, compare_running);
    assert(node != NULL);
    gone = *node;
    tdelete(gone, &idempotency->running, compare_running);
    idempotency->running_count--;
    if (idempotency->running_count == 0 && idempotency->stopping)
        pthread_cond_broadcast(&idempotency->changed);
    pthread_mutex_unlock(&idempotency->mutex);
    free(gone);
}

/* ---- a request ---- */

struct begin {
    struct idempotency *idempotency;
    uint8_t digest[DIGEST_LEN];
    size_t key_len;
    char key[STORE_MAX_KEY];
    idempotency_found *found;
    void *arg;
};

static int compare(const struct begin *begin, const struct store_record *record)
{
    if (record->value.len < VALUE_HEADER)
        return -EBADMSG;
    return memcmp(record->value.s + 8, begin->digest, DIGEST_LEN) == 0 ? -EEXIST : -EINVAL;
}

static void count(struct idempotency *idempotency, int err)
{
    switch (err) {
    case 0:
        metrics_add(idempotency->fresh, 1);
        break;
    case -EEXIST:
        metrics_add(idempotency->repeated, 1);
        break;
    case -EINVAL:
        metrics_add(idempotency->mismatched, 1);
        break;
    case -EBUSY:
        metrics_add(idempotency->running_already, 1);
        break;
    }
}

static void look_up(void *arg, int err, struct store_snapshot *snapshot)
{
    struct begin *begin = arg;
    struct idempotency *idempotency = begin->idempotency;
    struct str key = {begin->key, begin->key_len}, answer = STR_NULL;
    struct store_record record = {.seq = 0};

    if (err == 0)
        err = store_get(snapshot, idempotency->table, key, &record);
    if (err == 0)
        err = compare(begin, &record);
    else if (err == -ENOENT)
        err = 0;
    if (err == -EEXIST)
        answer = (struct str){record.value.s + VALUE_HEADER, record.value.len - VALUE_HEADER};
    count(idempotency, err);
    if (err != 0)
        idempotency_release(idempotency, key); /* the last one lets idempotency_free go on */
    begin->found(begin->arg, err, answer, record.seq);
    free(begin);
}

static int begin_new(struct idempotency *idempotency, struct str key, struct str request, struct begin **ret_begin)
{
    struct begin *begin = calloc(1, sizeof(*begin));
    int err;

    err = begin == NULL ? -ENOMEM : digest(idempotency, request, begin->digest);
    if (err < 0) {
        free(begin);
        return err;
    }
    begin->idempotency = idempotency;
    begin->key_len = key.len;
    memcpy(begin->key, key.s, key.len);
    *ret_begin = begin;
    return 0;
}

void idempotency_begin_again(struct idempotency *idempotency, struct str key, struct str request, uint64_t deadline_ns,
                             idempotency_found *found, void *arg)
{
    struct begin *begin;
    int err;

    err = begin_new(idempotency, key, request, &begin);
    if (err < 0) {
        idempotency_release(idempotency, key);
        found(arg, err, STR_NULL, 0);
        return;
    }
    begin->found = found;
    begin->arg = arg;
    store_read(idempotency->store, deadline_ns, 0, look_up, begin);
}

void idempotency_begin(struct idempotency *idempotency, struct str key, struct str request, uint64_t deadline_ns,
                       idempotency_found *found, void *arg)
{
    int err;

    assert(key.len >= 1 && key.len <= STORE_MAX_KEY);
    err = reserve(idempotency, key);
    if (err == 0) {
        idempotency_begin_again(idempotency, key, request, deadline_ns, found, arg);
        return;
    }
    count(idempotency, err);
    found(arg, err, STR_NULL, 0);
}

void idempotency_add(struct idempotency *idempotency, struct store_batch *batch, struct str key, struct str request,
                     struct str answer)
{
    struct buf value = {.max = VALUE_HEADER + IDEMPOTENCY_MAX_ANSWER};
    uint8_t header[VALUE_HEADER];

    if (answer.len > IDEMPOTENCY_MAX_ANSWER)
        store_batch_fail(batch, -EMSGSIZE);
    store_put_u64(header, now_ms() + idempotency->retention_ms);
    store_batch_fail(batch, digest(idempotency, request, header + 8));
    buf_append(&value, header, sizeof(header));
    buf_append_str(&value, answer);
    store_batch_fail(batch, buf_error(&value));
    store_batch_put(batch, idempotency->table, key, buf_str(&value), STORE_ABSENT, 0);
    buf_release(&value);
}

/* ---- opening ---- */

static void open_metrics(struct idempotency *idempotency, struct metrics *metrics)
{
    static const struct metrics_def requests = {"idempotency_requests_total", "Requests with an idempotency key",
                                                METRICS_COUNTER, .labels = {"result"}};
    static const struct metrics_def swept = {.name = "idempotency_swept_total",
                                             .help = "Idempotency keys dropped after their time",
                                             .type = METRICS_COUNTER};
    struct metrics_family *family = metrics_family(metrics, &requests);

    idempotency->fresh = metrics_series(family, &STR("new"));
    idempotency->repeated = metrics_series(family, &STR("repeated"));
    idempotency->mismatched = metrics_series(family, &STR("other_request"));
    idempotency->running_already = metrics_series(family, &STR("running"));
    idempotency->swept = metrics_single(metrics, &swept);
}

int idempotency_open(struct store *store, unsigned table, uint64_t retention_ms, struct metrics *metrics,
                     struct idempotency **ret_idempotency)
{
    struct idempotency *idempotency = calloc(1, sizeof(*idempotency));
    int err;

    if (idempotency == NULL)
        return -ENOMEM;
    idempotency->store = store;
    idempotency->table = table;
    idempotency->retention_ms = retention_ms;
    idempotency->tick_ns = clock_monotonic_ns();
    pthread_mutex_init(&idempotency->mutex, NULL);
    thread_cond_init(&idempotency->changed);
    open_metrics(idempotency, metrics);
    idempotency->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    err = idempotency->sha256 == NULL ? -ENOMEM
                                      : thread_start(&idempotency->sweeper, "sweeper", idempotency_sweep, idempotency);
    if (err < 0) {
        idempotency_free(idempotency);
        return err;
    }
    idempotency->sweeping = true;
    *ret_idempotency = idempotency;
    return 0;
}

static void stop(struct idempotency *idempotency)
{
    pthread_mutex_lock(&idempotency->mutex);
    idempotency->stopping = true;
    while (idempotency->running_count > 0)
        pthread_cond_wait(&idempotency->changed, &idempotency->mutex);
    idempotency->stopped = true;
    pthread_cond_broadcast(&idempotency->changed);
    pthread_mutex_unlock(&idempotency->mutex);
    if (idempotency->sweeping)
        pthread_join(idempotency->sweeper, NULL);
}

struct idempotency *idempotency_free(struct idempotency *idempotency)
{
    if (idempotency == NULL)
        return NULL;
    stop(idempotency);
    pthread_cond_destroy(&idempotency->changed);
    pthread_mutex_destroy(&idempotency->mutex);
    EVP_MD_free(idempotency->sha256);
    free(idempotency);
    return NULL;
}
