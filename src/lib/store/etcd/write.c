/* The writer: a thread that makes transactions of the requests that wait, several under way at a time, each on a lane
 * of its own. A lane has a key in etcd that each of its transactions expects as the one before left it, and puts its
 * own id into. So a transaction takes effect once at most, whenever it arrives; and where an answer was lost, the key
 * tells whether it has: it holds the id, or else deleting it (the fence) makes sure that it never will.
 *
 * Which of a transaction's requests took effect is told by its answer, or, where that was lost, by the watch, whose
 * events of that revision are the effects. A request without any effect may be made again.
 *
 * Requests with a key in common are done in the order of their coming: the second waits until the first is answered. */
#include "fnv.h"
#include "store_etcd_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TXN_TIMEOUT_MS 2000
#define MAX_WAIT_NS    (60 * CLOCK_NS_PER_S)
#define RETRY_NS       (50 * CLOCK_NS_PER_MS)
#define TICK_NS        (20 * CLOCK_NS_PER_MS)
#define GATHER_NS      (10 * CLOCK_NS_PER_MS)
#define IDLE_TICK_NS   (200 * CLOCK_NS_PER_MS)
#define MAX_LOOKED_AT  1024 /* of the waiting requests, for a batch */

/* ---- answers are given without the lock ---- */

struct answers {
    struct store_batch *first, **last;
};

static void answer_later(struct answers *answers, struct store_batch *request)
{
    if (answers->last == NULL)
        answers->last = &answers->first;
    request->next = NULL;
    *answers->last = request;
    answers->last = &request->next;
}

static void fail_later(struct answers *answers, struct store_batch *request, int err)
{
    request->result = (struct store_result){.err = err};
    answer_later(answers, request);
}

static void give(struct etcd *etcd, struct answers *answers)
{
    struct store_batch *request;

    while ((request = answers->first) != NULL) {
        answers->first = request->next;
        store_answer(&etcd->store, request);
    }
}

/* ---- keys under way ---- */

static uint16_t *key_counter(struct etcd_writer *writer, const struct store_batch *request, unsigned op)
{
    uint64_t hash = fnv_str(fnv_byte(FNV_BEGIN, (uint8_t)request->ops[op].table), store_op_key(request, op));

    return &writer->keys[(hash ^ hash >> 32) % ETCD_KEY_COUNTERS];
}

static void mark(struct etcd_writer *writer, const struct store_batch *request, int by)
{
    for (unsigned i = 0; i < request->count; i++)
        *key_counter(writer, request, i) += (uint16_t)by;
}

static bool is_marked(struct etcd_writer *writer, const struct store_batch *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (*key_counter(writer, request, i) > 0)
            return true;
    return false;
}

/* ---- the waiting ---- */

static size_t request_bytes(const struct store_batch *request)
{
    return sizeof(*request) + request->bytes.len;
}

static void append_waiting(struct etcd_writer *writer, struct store_batch *request)
{
    request->next = NULL;
    *writer->last = request;
    writer->last = &request->next;
    writer->count++;
    writer->bytes += request_bytes(request);
}

/* They go to the front, in their order, since they came before what waits. */
static void wait_again(struct etcd_writer *writer, struct store_batch *request)
{
    request->next = writer->first;
    if (writer->first == NULL)
        writer->last = &request->next;
    writer->first = request;
    writer->count++;
    writer->bytes += request_bytes(request);
}

/* Takes *link's request out; link then points to the next. */
static struct store_batch *take_waiting(struct etcd_writer *writer, struct store_batch **link)
{
    struct store_batch *request = *link;

    *link = request->next;
    if (*link == NULL)
        writer->last = link;
    writer->count--;
    writer->bytes -= request_bytes(request);
    return request;
}

static int put_error(const struct etcd *etcd, const struct store_batch *request)
{
    const struct etcd_writer *writer = &etcd->writer;

    if (request->bytes.len > ETCD_BATCH_BYTES)
        return -EMSGSIZE;
    if (writer->closed)
        return -ECANCELED;
    if (writer->count >= etcd->options.max_queue ||
        writer->bytes + request_bytes(request) > etcd->options.max_queue_bytes)
        return -ENOBUFS;
    return 0;
}

void etcd_write(struct etcd *etcd, struct store_batch *take_batch)
{
    uint64_t latest_ns = clock_monotonic_ns() + MAX_WAIT_NS;
    int err;

    if (take_batch->deadline_ns > latest_ns)
        take_batch->deadline_ns = latest_ns;
    pthread_mutex_lock(&etcd->mutex);
    err = put_error(etcd, take_batch);
    if (err == 0) {
        append_waiting(&etcd->writer, take_batch);
        pthread_cond_signal(&etcd->writable);
    }
    pthread_mutex_unlock(&etcd->mutex);
    if (err == 0)
        return;
    take_batch->result.err = err;
    store_answer(&etcd->store, take_batch);
}

/* ---- the end of a lane's requests: under the lock ---- */

enum outcome { ANSWER, AGAIN, FAIL };

static void end_request(struct etcd_lane *lane, unsigned i, enum outcome outcome, int err, struct answers *answers)
{
    struct etcd_writer *writer = &lane->etcd->writer;
    struct store_batch *request = lane->requests[i];

    if (request == NULL)
        return;
    lane->requests[i] = NULL;
    mark(writer, request, -1);
    if (outcome == AGAIN)
        wait_again(writer, request);
    else if (outcome == ANSWER)
        answer_later(answers, request);
    else
        fail_later(answers, request, err);
}

static void leave(struct etcd_lane *lane, enum etcd_lane_state state)
{
    lane->count = 0;
    lane->state = state;
    pthread_cond_signal(&lane->etcd->writable);
}

static void end_all(struct etcd_lane *lane, enum etcd_lane_state state, enum outcome outcome, int err,
                    struct answers *answers)
{
    for (unsigned i = lane->count; i-- > 0;) /* the first ends up at the front of what waits */
        end_request(lane, i, outcome, err, answers);
    leave(lane, state);
}

static bool has_effect(const struct etcd_lane *lane, unsigned i)
{
    for (unsigned op = 0; op < lane->requests[i]->count; op++)
        if (lane->seen[lane->first[i] + op])
            return true;
    return false;
}

/* The answer was lost, but the transaction is in etcd: what became of a request? */
static enum outcome find_outcome(struct etcd_lane *lane, unsigned i)
{
    if (lane->seen_revision != lane->revision)
        return FAIL; /* the view was loaded anew: the effects have not been seen */
    if (!has_effect(lane, i))
        return AGAIN;
    lane->requests[i]->result =
        (struct store_result){.seq = etcd_seq(&lane->etcd->keys, lane->revision, lane->first[i])};
    return ANSWER;
}

/* It is in etcd, and in the view. */
static void end_committed(struct etcd_lane *lane, struct answers *answers)
{
    enum outcome outcomes[ETCD_BATCH_OPERATIONS];

    for (unsigned i = 0; i < lane->count; i++) {
        outcomes[i] = lane->known || lane->requests[i] == NULL ? ANSWER : find_outcome(lane, i);
        if (outcomes[i] != AGAIN)
            end_request(lane, i, outcomes[i], -EINPROGRESS, answers);
    }
    end_all(lane, LANE_IDLE, AGAIN, 0, answers);
}

static void commit(struct etcd_lane *lane, int64_t revision, bool known, struct answers *answers)
{
    const struct store_metrics *metrics = &lane->etcd->metrics;

    metrics_add(metrics->commits, 1);
    metrics_observe(metrics->commit_seconds, (double)(clock_monotonic_ns() - lane->begun_ns) / 1e9);
    metrics_observe(metrics->batch_requests, lane->count);
    lane->state = LANE_COMMITTED;
    lane->revision = lane->name_revision = revision;
    lane->known = known;
    if (atomic_load(&lane->etcd->applied) >= revision)
        end_committed(lane, answers);
}

static void retry_later(struct etcd_lane *lane)
{
    lane->retry_ns = clock_monotonic_ns() + RETRY_NS;
}

/* ---- what the watch has seen ---- */

struct etcd_lane *etcd_writer_saw(struct etcd *etcd, struct str name, struct str batch, int64_t revision)
{
    struct etcd_lane *found = NULL;

    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES && found == NULL; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];

        if (lane->state >= LANE_SENT && str_eq(name, str_of(lane->name)) &&
            str_eq(batch, (struct str){(const char *)&lane->batch, sizeof(lane->batch)}))
            found = lane;
    }
    if (found != NULL)
        found->seen_revision = revision;
    pthread_mutex_unlock(&etcd->mutex);
    return found;
}

static void saw_deleted(struct etcd_lane *lane, unsigned table, struct str key)
{
    for (unsigned i = 0; i < lane->count; i++)
        for (unsigned op = 0; lane->requests[i] != NULL && op < lane->requests[i]->count; op++)
            if (lane->requests[i]->ops[op].table == table && str_eq(store_op_key(lane->requests[i], op), key))
                lane->seen[lane->first[i] + op] = true;
}

void etcd_writer_saw_record(struct etcd_lane *lane, bool deleted, unsigned table, struct str key, unsigned position)
{
    pthread_mutex_lock(&lane->etcd->mutex);
    if (deleted)
        saw_deleted(lane, table, key);
    else if (position < ETCD_BATCH_OPERATIONS)
        lane->seen[position] = true;
    pthread_mutex_unlock(&lane->etcd->mutex);
}

void etcd_writer_applied(struct etcd *etcd)
{
    struct answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];

        if (lane->state == LANE_UNKNOWN && lane->seen_revision != 0)
            commit(lane, lane->seen_revision, false, &answers);
        else if (lane->state == LANE_COMMITTED && lane->revision <= atomic_load(&etcd->applied))
            end_committed(lane, &answers);
    }
    pthread_mutex_unlock(&etcd->mutex);
    give(etcd, &answers);
}

void etcd_writer_forget(struct etcd *etcd)
{
    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES; i++)
        etcd->writer.lanes[i].seen_revision = 0;
    pthread_mutex_unlock(&etcd->mutex);
}

/* ---- a transaction's answer ---- */

static void on_failed(struct etcd_lane *lane, int err, struct answers *answers)
{
    if (!etcd_is_definite(err) && lane->seen_revision != 0) {
        commit(lane, lane->seen_revision, false, answers);
    } else if (!etcd_is_definite(err)) {
        lane->state = LANE_UNKNOWN;
        lane->full = err == -ENOSPC;
        lane->retry_ns = 0;
        pthread_cond_signal(&lane->etcd->writable);
    } else if (err == -EAGAIN || err == -ENOBUFS) { /* etcd, or our client, is overloaded; or a new token is needed */
        retry_later(lane);
        end_all(lane, LANE_IDLE, AGAIN, 0, answers);
    } else {
        end_all(lane, LANE_IDLE, FAIL, err, answers);
    }
}

static void on_written(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;
    struct etcd_lane *lane = arg;
    struct answers answers = {0};

    pthread_mutex_lock(&lane->etcd->mutex);
    if (err < 0)
        on_failed(lane, err, &answers);
    else if (response->succeeded)
        commit(lane, response->header->revision, etcd_txn_results(lane, response) == 0, &answers);
    else /* the lane's key was cleaned up: nothing is done, and never will be */
        end_all(lane, LANE_CLOSED, AGAIN, 0, &answers);
    pthread_mutex_unlock(&lane->etcd->mutex);
    give(lane->etcd, &answers);
}

void etcd_lane_fenced(struct etcd_lane *lane, int err, const struct etcd_fence *fence)
{
    struct answers answers = {0};

    pthread_mutex_lock(&lane->etcd->mutex);
    if (err < 0) {
        retry_later(lane);
        lane->state = LANE_UNKNOWN;
    } else if (fence->revision == 0) {
        end_all(lane, LANE_CLOSED, lane->full ? FAIL : AGAIN, -ENOSPC, &answers);
    } else if (memcmp(&fence->batch, &lane->batch, sizeof(lane->batch)) == 0) {
        commit(lane, fence->revision, false, &answers);
    } else {
        end_all(lane, LANE_CLOSED, FAIL, -EINPROGRESS, &answers);
    }
    pthread_mutex_unlock(&lane->etcd->mutex);
    give(lane->etcd, &answers);
}

void etcd_lane_opened(struct etcd_lane *lane, int err, int64_t revision)
{
    struct etcd *etcd = lane->etcd;
    struct etcd_writer *writer = &etcd->writer;
    struct answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    lane->state = err == 0 ? LANE_IDLE : LANE_CLOSED;
    lane->name_revision = revision;
    if (err < 0)
        retry_later(lane);
    while ((err == -ENOSPC || err == -EACCES) && writer->first != NULL)
        fail_later(&answers, take_waiting(writer, &writer->first), err);
    pthread_cond_signal(&etcd->writable);
    pthread_mutex_unlock(&etcd->mutex);
    give(etcd, &answers);
}

/* ---- making batches: the writer's thread ---- */

/* Under the lock. Requests that must wait for others mark their keys while we look, so that those behind them wait
 * too. */
static void choose(struct etcd_lane *lane)
{
    struct etcd_writer *writer = &lane->etcd->writer;
    struct store_batch *held[MAX_LOOKED_AT], **link = &writer->first;
    unsigned held_count = 0, ops = 0;
    size_t bytes = 0;

    lane->count = 0;
    for (unsigned i = 0; i < MAX_LOOKED_AT && *link != NULL && ops < ETCD_BATCH_OPERATIONS; i++) {
        struct store_batch *request = *link;
        bool fits = ops + request->count <= ETCD_BATCH_OPERATIONS && bytes + request->bytes.len <= ETCD_BATCH_BYTES;

        if (!fits && !is_marked(writer, request))
            break;
        if (is_marked(writer, request)) {
            mark(writer, request, 1);
            held[held_count++] = request;
            link = &request->next;
            continue;
        }
        mark(writer, request, 1);
        lane->first[lane->count] = ops;
        lane->requests[lane->count++] = take_waiting(writer, link);
        ops += request->count;
        bytes += request->bytes.len;
    }
    while (held_count > 0)
        mark(writer, held[--held_count], -1);
}

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
    uint64_t now_ns = clock_monotonic_ns();
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
    struct answers answers = {0};
    unsigned count = 0, ops = 0;

    judge_batch(lane, results);
    pthread_mutex_lock(&lane->etcd->mutex);
    for (unsigned i = 0; i < lane->count; i++) {
        struct store_batch *request = lane->requests[i];

        if (results[i] < 0) {
            request->result.err = results[i];
            end_request(lane, i, ANSWER, 0, &answers);
            continue;
        }
        lane->first[count] = ops;
        lane->requests[count++] = request;
        ops += request->count;
    }
    lane->count = count;
    if (count == 0)
        leave(lane, LANE_IDLE);
    pthread_mutex_unlock(&lane->etcd->mutex);
    give(lane->etcd, &answers);
    return count > 0;
}

static void send(struct etcd_lane *lane)
{
    const Etcdserverpb__TxnRequest *request;

    if (!check_batch(lane))
        return;
    request = etcd_txn_of_lane(lane->etcd->writer.txn, lane);
#ifdef STORE_SEED_ACK_BEFORE_COMMIT
    for (unsigned i = 0; i < lane->count; i++)
        store_seed_answer(lane->requests[i]);
#endif
    if (request == NULL)
        on_written(lane, -ENOMEM, NULL);
    else
        etcd_call(&lane->etcd->client, &etcdserverpb__kv__descriptor, "Txn", &request->base, TXN_TIMEOUT_MS, on_written,
                  lane);
}

/* Under the lock: a batch for an idle lane. */
static bool begin_batch(struct etcd_lane *lane)
{
    lane->begun_ns = clock_monotonic_ns();
    lane->seen_revision = 0;
    memset(lane->seen, 0, sizeof(lane->seen));
    if (uuid_new(&lane->batch) < 0)
        return false;
    choose(lane);
    if (lane->count > 0)
        lane->state = LANE_SENT;
    return lane->count > 0;
}

/* Under the lock. Few requests are rather sent a moment later, with those that come meanwhile: a transaction costs
 * etcd, the network and every replica's view as much as many requests do. So they wait until they are half as many as
 * those under way, or these are answered, or have taken unusually long. */
static bool is_worth_a_batch(const struct etcd_writer *writer, uint64_t now_ns)
{
    size_t under_way = 0;

    for (unsigned i = 0; i < ETCD_LANES; i++) {
        const struct etcd_lane *lane = &writer->lanes[i];

        if ((lane->state == LANE_SENT || lane->state == LANE_COMMITTED) && lane->begun_ns + GATHER_NS > now_ns)
            under_way += lane->count;
    }
    return writer->count * 2 >= under_way;
}

/* What a lane is to do now: under the lock, which what is to be done is done without. */
enum act { REST, OPEN, SEND, FENCE };

static enum act next_act(struct etcd_lane *lane, uint64_t now_ns)
{
    struct etcd_writer *writer = &lane->etcd->writer;

    if (lane->retry_ns > now_ns)
        return REST;
    if (lane->state == LANE_UNKNOWN) {
        lane->state = LANE_FENCING;
        return FENCE;
    }
    if (writer->first == NULL || (lane->state != LANE_IDLE && lane->state != LANE_CLOSED))
        return REST;
    if (lane->state == LANE_CLOSED) {
        lane->state = LANE_OPENING;
        return OPEN;
    }
    return is_worth_a_batch(writer, now_ns) && begin_batch(lane) ? SEND : REST;
}

static void act(struct etcd_lane *lane, enum act act)
{
    switch (act) {
    case REST:
        break;
    case OPEN:
        etcd_lane_open(lane);
        break;
    case SEND:
        send(lane);
        break;
    case FENCE:
        etcd_lane_fence(lane);
        break;
    }
}

/* ---- what time brings ---- */

static void expire_waiting(struct etcd *etcd, uint64_t now_ns, struct answers *answers)
{
    struct etcd_writer *writer = &etcd->writer;
    bool away = etcd_is_away(&etcd->client, now_ns);
    struct store_batch **link = &writer->first;

    while (*link != NULL)
        if (away || (*link)->deadline_ns <= now_ns)
            fail_later(answers, take_waiting(writer, link), away ? -EHOSTUNREACH : -ETIMEDOUT);
        else
            link = &(*link)->next;
}

/* What is in etcd is answered, though the view may lack it: a read that comes later waits for that. */
static void expire_sent(struct etcd_lane *lane, uint64_t now_ns, struct answers *answers)
{
    bool known = lane->state == LANE_COMMITTED && lane->known;

    for (unsigned i = 0; i < lane->count; i++)
        if (lane->requests[i] != NULL && lane->requests[i]->deadline_ns <= now_ns)
            end_request(lane, i, known ? ANSWER : FAIL, -EINPROGRESS, answers);
}

static void expire(struct etcd *etcd, uint64_t now_ns)
{
    struct answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    expire_waiting(etcd, now_ns, &answers);
    for (unsigned i = 0; i < ETCD_LANES; i++)
        expire_sent(&etcd->writer.lanes[i], now_ns, &answers);
    pthread_mutex_unlock(&etcd->mutex);
    give(etcd, &answers);
}

/* ---- the thread ---- */

static bool is_busy(const struct etcd_writer *writer)
{
    for (unsigned i = 0; i < ETCD_LANES; i++)
        for (unsigned n = 0; n < writer->lanes[i].count; n++)
            if (writer->lanes[i].requests[n] != NULL)
                return true;
    return writer->first != NULL;
}

static void turn(struct etcd *etcd)
{
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];
        enum act next;

        pthread_mutex_lock(&etcd->mutex);
        next = next_act(lane, clock_monotonic_ns());
        pthread_mutex_unlock(&etcd->mutex);
        act(lane, next);
    }
}

/* Until there may be something to do. False: all is done, and the writer is closed. */
static bool await(struct etcd *etcd, bool reading)
{
    bool busy;

    pthread_mutex_lock(&etcd->mutex);
    busy = is_busy(&etcd->writer);
    if (busy || !etcd->writer.closed) {
        struct timespec until = etcd_timespec(clock_monotonic_ns() + (busy || reading ? TICK_NS : IDLE_TICK_NS));

        pthread_cond_timedwait(&etcd->writable, &etcd->mutex, &until);
    }
    busy = is_busy(&etcd->writer) || !etcd->writer.closed;
    pthread_mutex_unlock(&etcd->mutex);
    return busy;
}

static void *run_writer(void *arg)
{
    struct etcd *etcd = arg;
    uint64_t tick_ns = 0;
    bool reading = false;

    do {
        uint64_t now_ns = clock_monotonic_ns();

        turn(etcd);
        if (now_ns < tick_ns)
            continue;
        expire(etcd, now_ns);
        reading = etcd_reads_tick(etcd, now_ns);
        tick_ns = now_ns + TICK_NS;
    } while (await(etcd, reading));
    return NULL;
}

int etcd_writer_start(struct etcd *etcd)
{
    struct etcd_writer *writer = &etcd->writer;
    int err;

    writer->txn = etcd_txn_new(&etcd->keys);
    writer->keys = calloc(ETCD_KEY_COUNTERS, sizeof(*writer->keys));
    if (writer->txn == NULL || writer->keys == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < ETCD_LANES; i++)
        writer->lanes[i].etcd = etcd;
    err = pthread_create(&writer->thread, NULL, run_writer, etcd);
    if (err != 0)
        return -err;
    writer->running = true;
    pthread_setname_np(writer->thread, "store");
    return 0;
}

void etcd_writer_stop(struct etcd *etcd)
{
    struct etcd_writer *writer = &etcd->writer;

    if (!writer->running)
        return;
    pthread_mutex_lock(&etcd->mutex);
    writer->closed = true;
    pthread_cond_signal(&etcd->writable);
    pthread_mutex_unlock(&etcd->mutex);
    pthread_join(writer->thread, NULL);
}

void etcd_writer_release(struct etcd *etcd)
{
    etcd->writer.txn = etcd_txn_free(etcd->writer.txn);
    free(etcd->writer.keys);
}
