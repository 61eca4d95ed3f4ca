/* The writer: a thread that makes transactions of the requests that wait, several under way at a time, each on a lane
 * of its own (lane.c).
 *
 * Timers: every TICK_NS, while there is something to do, requests whose deadline has come are answered, and reads get
 * their turn (read.c), and members are asked how full they are (room.c); every IDLE_TICK_NS otherwise. A lane that
 * failed rests until its retry_ns. A batch that is small next to those under way is held back (waiting.c).
 * Lock: etcd.mutex; nothing is sent under it. */
#include "store_etcd_writer.h"
#include <errno.h>
#include <stdlib.h>

#define TICK_NS      (20 * CLOCK_NS_PER_MS)
#define IDLE_TICK_NS (200 * CLOCK_NS_PER_MS)

/* ---- what a lane is to do ---- */

/* Under the lock: a batch for an idle lane. */
static bool begin_batch(struct etcd_lane *lane)
{
    lane->begun_ns = lane->etcd->world->monotonic_ns();
    lane->seen_revision = 0;
    memset(lane->seen, 0, sizeof(lane->seen));
    if (lane->etcd->world->new_id(&lane->batch) < 0)
        return false;
    etcd_choose(lane);
    if (lane->count == 0)
        return false;
    etcd_lane_move(lane, LANE_SEND);
    return true;
}

/* What a lane is to do now: under the lock, which what is to be done is done without. */
enum act { REST, OPEN, SEND, FENCE };

static enum act next_act(struct etcd_lane *lane, uint64_t now_ns)
{
    struct etcd_writer *writer = &lane->etcd->writer;

    if (lane->retry_ns > now_ns || !atomic_load(&lane->etcd->attached))
        return REST;
    if (lane->state == LANE_UNKNOWN) {
        etcd_lane_move(lane, LANE_FENCE);
        return FENCE;
    }
    if (writer->first == NULL || (lane->state != LANE_IDLE && lane->state != LANE_CLOSED))
        return REST;
    if (lane->state == LANE_CLOSED) {
        etcd_lane_move(lane, LANE_OPEN);
        return OPEN;
    }
    return etcd_is_worth_a_batch(writer, now_ns) && begin_batch(lane) ? SEND : REST;
}

static void act(struct etcd_lane *lane, enum act act)
{
    switch (act) {
    case REST:
        break;
    case OPEN:
        etcd_lane_key_open(lane, etcd_lane_opened);
        break;
    case SEND:
        etcd_batch_send(lane);
        break;
    case FENCE:
        etcd_lane_key_fence(lane, etcd_lane_fenced);
        break;
    }
}

/* ---- what time brings ---- */

static bool has_requests(const struct etcd_lane *lane)
{
    for (unsigned i = 0; i < lane->count; i++)
        if (lane->requests[i] != NULL)
            return true;
    return false;
}

static void expire_waiting(struct etcd *etcd, uint64_t now_ns, struct etcd_answers *answers)
{
    struct etcd_writer *writer = &etcd->writer;
    bool away = etcd_is_away(&etcd->client, now_ns);
    struct store_batch **link = &writer->first;

    while (*link != NULL)
        if (away || (*link)->deadline_ns <= now_ns)
            etcd_fail_later(answers, etcd_take_waiting(writer, link), away ? -EHOSTUNREACH : -ETIMEDOUT);
        else
            link = &(*link)->next;
}

/* What is in etcd is answered, though the view may lack it: a read that comes later waits for that. Then the lane is
 * free: the view may never come to its revision, where etcd has lost that (it was restored). */
static void expire_sent(struct etcd_lane *lane, uint64_t now_ns, struct etcd_answers *answers)
{
    bool known = lane->state == LANE_COMMITTED && lane->known;

    for (unsigned i = 0; i < lane->count; i++)
        if (lane->requests[i] != NULL && lane->requests[i]->deadline_ns <= now_ns)
            etcd_lane_end(lane, i, known ? ETCD_ANSWER : ETCD_FAIL(-EINPROGRESS), answers);
    if (lane->state == LANE_COMMITTED && !has_requests(lane))
        etcd_lane_move(lane, LANE_APPLIED);
}

static void expire(struct etcd *etcd, uint64_t now_ns)
{
    struct etcd_answers answers = {0};

    pthread_mutex_lock(&etcd->mutex);
    expire_waiting(etcd, now_ns, &answers);
    for (unsigned i = 0; i < ETCD_LANES; i++)
        expire_sent(&etcd->writer.lanes[i], now_ns, &answers);
    pthread_mutex_unlock(&etcd->mutex);
    etcd_answers_give(etcd, &answers);
}

/* ---- the thread ---- */

static bool is_busy(const struct etcd_writer *writer)
{
    for (unsigned i = 0; i < ETCD_LANES; i++)
        if (has_requests(&writer->lanes[i]))
            return true;
    return writer->first != NULL || writer->doubts > 0;
}

static void turn(struct etcd *etcd)
{
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        struct etcd_lane *lane = &etcd->writer.lanes[i];
        enum act next;

        pthread_mutex_lock(&etcd->mutex);
        next = next_act(lane, etcd->world->monotonic_ns());
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
        uint64_t until_ns = etcd->world->monotonic_ns() + (busy || reading ? TICK_NS : IDLE_TICK_NS);

        etcd->writer.ticking = busy || reading;
        if (!etcd->writer.called)
            etcd->world->wait(&etcd->writable, &etcd->mutex, until_ns);
    }
    etcd->writer.called = false;
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
        uint64_t now_ns = etcd->world->monotonic_ns();

        turn(etcd);
        if (now_ns < tick_ns)
            continue;
        expire(etcd, now_ns);
        reading = etcd_reads_tick(etcd, now_ns);
        etcd_room_tick(etcd, now_ns);
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
    err = etcd->world->start_thread(&writer->thread, "store", run_writer, etcd);
    writer->running = err == 0;
    return err;
}

void etcd_writer_stop(struct etcd *etcd)
{
    struct etcd_writer *writer = &etcd->writer;

    if (!writer->running)
        return;
    pthread_mutex_lock(&etcd->mutex);
    writer->closed = true;
    etcd_writer_call(etcd);
    pthread_mutex_unlock(&etcd->mutex);
    etcd->world->join_thread(writer->thread);
}

void etcd_writer_release(struct etcd *etcd)
{
    etcd->writer.txn = etcd_txn_free(etcd->writer.txn);
    free(etcd->writer.keys);
}
