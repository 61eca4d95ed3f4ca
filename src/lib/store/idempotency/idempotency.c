#include "idempotency.h"
#include "clock.h"
#include "thread.h"
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#define MAX_RUNNING 16384

#define MAX_WAIT_MS      60000 /* between sweeps: the clock may step */
#define RETRY_MS         1000
#define SPREAD_MS        200 /* replicas that met over the same keys wait for different times */
#define SWEEP_TIMEOUT_MS 10000
#define SWEEP_BATCHES    16 /* that are written at once, so that they share commits */

/* A stored value: when it may be dropped (ms since 1970), the request's digest, the answer. */
#define DIGEST_LEN   32
#define VALUE_HEADER (8 + DIGEST_LEN)

struct running {
    size_t key_len;
    char key[];
};

struct idempotency {
    struct store *store;
    unsigned table;
    uint64_t retention_ms;
    EVP_MD *sha256; /* kept: to look it up takes as long as to digest a small request */

    pthread_mutex_t mutex;
    void *running; /* a tree of tsearch(3) */
    size_t running_count;

    pthread_t sweeper;
    bool sweeping; /* there is a sweeper */
    bool stopping; /* somebody waits until nothing is running any more */
    bool stopped;
    pthread_cond_t changed; /* stopped, nothing is running any more where that is waited for, or a batch was swept */

    struct metrics_series *fresh, *repeated, *mismatched, *running_already, *swept;
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

static void index_by_expiry(struct store_index *index, const struct store_record *record)
{
    char key[8 + STORE_MAX_KEY];

    if (record->value.len < VALUE_HEADER)
        return;
    memcpy(key, record->value.s, 8);
    memcpy(key + 8, record->key.s, record->key.len);
    store_index_add(index, (struct str){key, 8 + record->key.len}, STR_NULL);
}

const struct store_table idempotency_table = {"idempotency", index_by_expiry, 1};

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

/* ---- the sweeper: a thread that drops what has expired, some batches at a time ---- */

struct sweep_batch {
    struct sweep *sweep;
    struct store_batch *deletes; /* of what has expired */
    size_t count;
};

struct sweep {
    struct idempotency *idempotency;
    struct sweep_batch batches[SWEEP_BATCHES];
    size_t batch_count;
    uint64_t wait_ms; /* until the next one expires */

    /* under the mutex, while there are any pending */
    size_t pending;
    int err; /* of a batch that failed */
};

/* False: there is no room for more. The seq makes sure that what is deleted is what has been seen: another replica may
 * have swept the record, and a client may have used its key again. A damaged record stays, and does not keep the
 * others.
 */
static bool add_expired(struct sweep *sweep, struct store_snapshot *snapshot, struct str key)
{
    unsigned table = sweep->idempotency->table;
    struct sweep_batch *batch = sweep->batch_count > 0 ? &sweep->batches[sweep->batch_count - 1] : NULL;
    struct store_record record;

    if (store_get(snapshot, table, key, &record) < 0)
        return true;
    if (batch == NULL || batch->count == STORE_MAX_BATCH) {
        if (sweep->batch_count == SWEEP_BATCHES)
            return false;
        batch = &sweep->batches[sweep->batch_count++];
        *batch = (struct sweep_batch){sweep, store_batch_new(), 0};
    }
    store_batch_delete(batch->deletes, table, key, STORE_AT, record.seq);
    batch->count++;
    return true;
}

static void collect(struct sweep *sweep, struct store_snapshot *snapshot, struct store_cursor *cursor)
{
    uint64_t now = now_ms();
    struct store_record entry;

    while (store_cursor_next(cursor, &entry) == 0) {
        uint64_t expires_ms = store_get_u64(entry.key.s);

        if (expires_ms > now) {
            sweep->wait_ms = expires_ms - now < sweep->wait_ms ? expires_ms - now : sweep->wait_ms;
            return;
        }
        if (!add_expired(sweep, snapshot, (struct str){entry.key.s + 8, entry.key.len - 8}))
            return;
    }
}

static void find_expired(void *arg, int err, struct store_snapshot *snapshot)
{
    struct sweep *sweep = arg;
    struct store_cursor cursor;

    if (err < 0 || store_cursor_open(snapshot, sweep->idempotency->table, true, &cursor) < 0)
        return; /* the next sweep will find it */
    collect(sweep, snapshot, &cursor);
    store_cursor_close(&cursor);
}

static void on_swept(void *arg, const struct store_result *result)
{
    struct sweep_batch *batch = arg;
    struct sweep *sweep = batch->sweep;
    struct idempotency *idempotency = sweep->idempotency;

    pthread_mutex_lock(&idempotency->mutex);
    if (result->err == 0)
        metrics_add(idempotency->swept, batch->count);
    else
        sweep->err = result->err;
    sweep->pending--;
    pthread_cond_broadcast(&idempotency->changed);
    pthread_mutex_unlock(&idempotency->mutex);
}

static int write_all(struct sweep *sweep, uint64_t deadline_ns)
{
    struct idempotency *idempotency = sweep->idempotency;

    sweep->pending = sweep->batch_count;
    for (size_t i = 0; i < sweep->batch_count; i++)
        store_write(idempotency->store, sweep->batches[i].deletes, deadline_ns, on_swept, &sweep->batches[i]);
    pthread_mutex_lock(&idempotency->mutex);
    while (sweep->pending > 0)
        pthread_cond_wait(&idempotency->changed, &idempotency->mutex);
    pthread_mutex_unlock(&idempotency->mutex);
    return sweep->err;
}

/* Returns how long to wait before the next, in milliseconds. */
static uint64_t sweep_once(struct idempotency *idempotency)
{
    uint64_t deadline_ns = clock_monotonic_ns() + SWEEP_TIMEOUT_MS * CLOCK_NS_PER_MS;
    uint64_t wait_ms = idempotency->retention_ms < MAX_WAIT_MS ? idempotency->retention_ms : MAX_WAIT_MS;
    struct sweep sweep = {.idempotency = idempotency, .wait_ms = wait_ms};

    store_read_wait(idempotency->store, deadline_ns, MAX_WAIT_MS, find_expired, &sweep);
    if (sweep.batch_count == 0)
        return sweep.wait_ms;
    switch (write_all(&sweep, deadline_ns)) {
    case 0:
        return 0;
    case -ENOENT:
    case -ESTALE:                                       /* another replica was first */
        return clock_monotonic_ns() / 1000 % SPREAD_MS; /* random enough */
    default:
        return RETRY_MS;
    }
}

static void *run_sweeper(void *arg)
{
    struct idempotency *idempotency = arg;
    uint64_t until_ns = 0;

    pthread_mutex_lock(&idempotency->mutex);
    while (!idempotency->stopped) {
        if (thread_wait_until(&idempotency->changed, &idempotency->mutex, until_ns) != -ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&idempotency->mutex);
        until_ns = sweep_once(idempotency) * CLOCK_NS_PER_MS + clock_monotonic_ns();
        pthread_mutex_lock(&idempotency->mutex);
    }
    pthread_mutex_unlock(&idempotency->mutex);
    return NULL;
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
    pthread_mutex_init(&idempotency->mutex, NULL);
    thread_cond_init(&idempotency->changed);
    open_metrics(idempotency, metrics);
    idempotency->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    err = idempotency->sha256 == NULL ? -ENOMEM
                                      : thread_start(&idempotency->sweeper, "sweeper", run_sweeper, idempotency);
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
