/* Requests that wait for a lane, in the order of their coming, and the keys of those that are under way.
 *
 * Requests with a key in common are done in the order of their coming: the second waits until the first is answered, or
 * until an expectation of the first is found to fail in the view (batch.c).
 * Each key under way is counted in a table by its hash; two keys of one hash only wait for each other without need.
 *
 * The writer is woken for a request only where it would send it. Else a lane that becomes free wakes it, or its tick.
 *
 * All under etcd.mutex, but for answers, which are given without it. */
#include "fnv.h"
#include "store_etcd_writer.h"
#include <assert.h>
#include <errno.h>

#define MAX_WAIT_NS   (60 * CLOCK_NS_PER_S)
#define MAX_LOOKED_AT 1024 /* of the waiting requests, for a batch */
#define GATHER_NS     (10 * CLOCK_NS_PER_MS)

void etcd_writer_call(struct etcd *etcd)
{
    etcd->writer.called = true;
    etcd->world->wake(&etcd->writable);
}

/* ---- answers are given without the lock ---- */

void etcd_answer_later(struct etcd_answers *answers, struct store_batch *request)
{
    if (answers->last == NULL)
        answers->last = &answers->first;
    request->next = NULL;
    *answers->last = request;
    answers->last = &request->next;
}

void etcd_fail_later(struct etcd_answers *answers, struct store_batch *request, int err)
{
    request->result = (struct store_result){.err = err};
    etcd_answer_later(answers, request);
}

void etcd_answers_give(struct etcd *etcd, struct etcd_answers *answers)
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

void etcd_keys_mark(struct etcd_writer *writer, const struct store_batch *request, int by)
{
    for (unsigned i = 0; i < request->count; i++) {
        uint16_t *count = key_counter(writer, request, i);

        assert(by > 0 ? *count < UINT16_MAX : *count > 0);
        *count += (uint16_t)by;
    }
}

bool etcd_keys_are_marked(struct etcd_writer *writer, const struct store_batch *request)
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

void etcd_wait_again(struct etcd_writer *writer, struct store_batch *request)
{
    request->next = writer->first;
    if (writer->first == NULL)
        writer->last = &request->next;
    writer->first = request;
    writer->count++;
    writer->bytes += request_bytes(request);
}

struct store_batch *etcd_take_waiting(struct etcd_writer *writer, struct store_batch **link)
{
    struct store_batch *request = *link;

    *link = request->next;
    if (*link == NULL)
        writer->last = link;
    writer->count--;
    writer->bytes -= request_bytes(request);
    return request;
}

void etcd_doubt_begun(struct etcd_writer *writer, const struct store_batch *request)
{
    writer->doubts++;
    writer->doubt_bytes += request_bytes(request);
}

void etcd_doubt_ended(struct etcd_writer *writer, const struct store_batch *request)
{
    assert(writer->doubts > 0);
    writer->doubts--;
    writer->doubt_bytes -= request_bytes(request);
}

static int put_error(const struct etcd *etcd, const struct store_batch *request)
{
    const struct etcd_writer *writer = &etcd->writer;

    if (request->bytes.len > ETCD_BATCH_BYTES)
        return -EMSGSIZE;
    if (writer->closed)
        return -ECANCELED;
    if (atomic_load(&etcd->replaced))
        return -EIO;
    if (writer->count + writer->doubts >= etcd->options.max_queue ||
        writer->bytes + writer->doubt_bytes + request_bytes(request) > etcd->options.max_queue_bytes)
        return -ENOBUFS;
    return 0;
}

/* Few requests are rather sent a moment later, with those that come meanwhile: a transaction costs etcd, the network
 * and every replica's view as much as many requests do. So they wait until they are half as many as those under way, or
 * these are answered, or have taken longer than GATHER_NS. */
bool etcd_is_worth_a_batch(const struct etcd_writer *writer, uint64_t now_ns)
{
    size_t under_way = 0;

    for (unsigned i = 0; i < ETCD_LANES; i++) {
        const struct etcd_lane *lane = &writer->lanes[i];

        if ((lane->state == LANE_SENT || lane->state == LANE_COMMITTED) && lane->begun_ns + GATHER_NS > now_ns)
            under_way += lane->count;
    }
    return writer->count * 2 >= under_way;
}

static bool would_send(const struct etcd_writer *writer, uint64_t now_ns)
{
    bool can = false;

    for (unsigned i = 0; i < ETCD_LANES; i++)
        can |= writer->lanes[i].state == LANE_IDLE || writer->lanes[i].state == LANE_CLOSED;
    return can && etcd_is_worth_a_batch(writer, now_ns);
}

void etcd_write(struct etcd *etcd, struct store_batch *take_batch)
{
    uint64_t now_ns = etcd->world->monotonic_ns(), latest_ns = now_ns + MAX_WAIT_NS;
    int err;

    if (take_batch->deadline_ns > latest_ns)
        take_batch->deadline_ns = latest_ns;
    pthread_mutex_lock(&etcd->mutex);
    err = put_error(etcd, take_batch);
    if (err == 0) {
        append_waiting(&etcd->writer, take_batch);
        if (!etcd->writer.ticking || would_send(&etcd->writer, now_ns))
            etcd_writer_call(etcd);
    }
    pthread_mutex_unlock(&etcd->mutex);
    if (err == 0)
        return;
    take_batch->result.err = err;
    store_answer(&etcd->store, take_batch);
}

/* ---- a batch of those that wait ---- */

/* Requests that must wait for others mark their keys while we look, so that those behind them wait too. */
void etcd_choose(struct etcd_lane *lane)
{
    struct etcd_writer *writer = &lane->etcd->writer;
    struct store_batch *held[MAX_LOOKED_AT], **link = &writer->first;
    unsigned held_count = 0, ops = 0;
    size_t bytes = 0;

    lane->count = 0;
    for (unsigned i = 0; i < MAX_LOOKED_AT && *link != NULL && ops < ETCD_BATCH_OPERATIONS; i++) {
        struct store_batch *request = *link;
        bool fits = ops + request->count <= ETCD_BATCH_OPERATIONS && bytes + request->bytes.len <= ETCD_BATCH_BYTES;

        if (!fits && !etcd_keys_are_marked(writer, request))
            break;
        if (etcd_keys_are_marked(writer, request)) {
            etcd_keys_mark(writer, request, 1);
            held[held_count++] = request;
            link = &request->next;
            continue;
        }
        etcd_keys_mark(writer, request, 1);
        lane->first[lane->count] = ops;
        lane->requests[lane->count++] = etcd_take_waiting(writer, link);
        ops += request->count;
        bytes += request->bytes.len;
    }
    while (held_count > 0)
        etcd_keys_mark(writer, held[--held_count], -1);
}
