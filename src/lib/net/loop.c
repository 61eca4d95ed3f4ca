#include "loop.h"
#include "clock.h"
#include "h2o_compat.h"
#include "metrics.h"
#include "thread.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define LONGEST_WAIT_MS 1000
#define READ_A_TURN     (128 * 1024) /* bytes, of all connections */
#define LEAST_SHARE     1024

static_assert(LEAST_SHARE < LOOP_MAX_SHARE && LOOP_MAX_SHARE <= READ_A_TURN, "one connection has the largest share");

struct loop {
    unsigned index;
    char name[16]; /* as the kernel allows for a thread's */
    pthread_t thread;

    /* The loop's thread alone. */
    h2o_evloop_t *h2o;
    h2o_socket_t *wake;
    struct loop_timer **heap; /* by due time; timer->slot - 1 is its place */
    size_t heap_count, heap_capacity;
    bool stopping;
    struct loop_message *closers;
    struct metrics_series *turns;
    struct loop_hook *hooks;
    size_t read;                    /* bytes, in this turn */
    unsigned readers, last_readers; /* connections that have used up their shares, in this turn and the last one */

    _Atomic uint64_t last_turn_ns;

    pthread_mutex_t lock;
    int wake_fd; /* readable while the list is not empty or was not a moment ago */
    struct loop_message *first, **last;
};

/* ---- messages ---- */

void loop_post(struct loop *loop, struct loop_message *message)
{
    static const uint64_t one = 1;
    bool was_empty;

    assert(message->run != NULL);
    message->next = NULL;
    pthread_mutex_lock(&loop->lock);
    was_empty = loop->first == NULL;
    *loop->last = message;
    loop->last = &message->next;
    /* Under the lock, so that a loop that has run its last message is no more in use by the one who posted it. The
     * write cannot fail: only an overflow of the counter or a signal could make it. */
    if (was_empty)
        while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    pthread_mutex_unlock(&loop->lock);
}

static void run_messages(struct loop *loop)
{
    struct loop_message *message, *next;

    pthread_mutex_lock(&loop->lock);
    message = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    for (; message != NULL; message = next) {
        next = message->next;
        message->run(message);
    }
}

/* Messages run here, within h2o's turn: what they write to sockets then completes within the same turn. */
static void on_wake(h2o_socket_t *socket, const char *err)
{
    struct loop *loop = socket->data;
    uint64_t count;

    if (read(loop->wake_fd, &count, sizeof(count)) > 0)
        run_messages(loop);
}

struct call {
    struct loop_message message;
    void (*run)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void run_call(struct loop_message *message)
{
    struct call *call = (struct call *)message;

    call->run(call->arg);
    pthread_mutex_lock(&call->lock);
    call->done = true;
    pthread_cond_signal(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

void loop_call(struct loop *loop, void (*run)(void *arg), void *arg)
{
    struct call call = {.message = {.run = run_call},
                        .run = run,
                        .arg = arg,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER};

    assert(!loop_is_current(loop));
    loop_post(loop, &call.message);
    pthread_mutex_lock(&call.lock);
    while (!call.done)
        pthread_cond_wait(&call.changed, &call.lock);
    pthread_mutex_unlock(&call.lock);
    pthread_cond_destroy(&call.changed);
    pthread_mutex_destroy(&call.lock);
}

void loop_at_close(struct loop *loop, struct loop_message *message)
{
    assert(loop_is_current(loop) && message->run != NULL);
    message->next = loop->closers;
    loop->closers = message;
}

void loop_each_turn(struct loop *loop, struct loop_hook *hook)
{
    assert(loop_is_current(loop));
    hook->next = loop->hooks;
    loop->hooks = hook;
}

void loop_each_turn_remove(struct loop *loop, struct loop_hook *hook)
{
    struct loop_hook **at = &loop->hooks;

    assert(loop_is_current(loop));
    while (*at != NULL && *at != hook)
        at = &(*at)->next;
    if (*at != NULL)
        *at = hook->next;
}

/* ---- timers: a binary heap, least due time first ---- */

static void heap_put(struct loop *loop, size_t at, struct loop_timer *timer)
{
    loop->heap[at] = timer;
    timer->slot = at + 1;
}

static void sift_up(struct loop *loop, size_t at, struct loop_timer *timer)
{
    while (at > 0 && loop->heap[(at - 1) / 2]->due_ms > timer->due_ms) {
        heap_put(loop, at, loop->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(loop, at, timer);
}

static void sift_down(struct loop *loop, size_t at, struct loop_timer *timer)
{
    size_t child;

    while ((child = 2 * at + 1) < loop->heap_count) {
        if (child + 1 < loop->heap_count && loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
            child++;
        if (loop->heap[child]->due_ms >= timer->due_ms)
            break;
        heap_put(loop, at, loop->heap[child]);
        at = child;
    }
    heap_put(loop, at, timer);
}

static int grow_heap(struct loop *loop)
{
    size_t capacity = loop->heap_capacity > 0 ? 2 * loop->heap_capacity : 64;
    struct loop_timer **heap = realloc(loop->heap, capacity * sizeof(*heap));

    if (heap == NULL)
        return -ENOMEM;
    loop->heap = heap;
    loop->heap_capacity = capacity;
    return 0;
}

int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms, void (*run)(struct loop_timer *))
{
    assert(loop_is_current(loop));
    loop_timer_stop(loop, timer);
    if (loop->heap_count == loop->heap_capacity && grow_heap(loop) < 0)
        return -ENOMEM;
    /* Rounded up: never early, and never again within the run_timers that it was started from. */
    timer->due_ms = clock_monotonic_ns() / CLOCK_NS_PER_MS + 1 + after_ms;
    timer->run = run;
    sift_up(loop, loop->heap_count++, timer);
    return 0;
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    struct loop_timer *last;
    size_t at;

    assert(loop_is_current(loop));
    if (!loop_timer_running(timer))
        return;
    at = timer->slot - 1;
    assert(at < loop->heap_count && loop->heap[at] == timer);
    timer->slot = 0;
    last = loop->heap[--loop->heap_count];
    if (last == timer)
        return;
    if (at > 0 && loop->heap[(at - 1) / 2]->due_ms > last->due_ms)
        sift_up(loop, at, last);
    else
        sift_down(loop, at, last);
}

/* Returns whether any ran. */
static bool run_timers(struct loop *loop, uint64_t now_ms)
{
    bool any = false;

    while (loop->heap_count > 0 && loop->heap[0]->due_ms <= now_ms) {
        struct loop_timer *timer = loop->heap[0];
        loop_timer_stop(loop, timer);
        timer->run(timer);
        any = true;
    }
    return any;
}

/* ---- reading ---- */

/* How many connections have more to read is not known before the end of the turn: it is as many as in the last one.
 * Where they are more, the last of them read little. */
size_t loop_read_share(const struct loop *loop)
{
    size_t share = READ_A_TURN / (loop->last_readers > 0 ? loop->last_readers : 1);
    size_t left = loop->read < READ_A_TURN ? READ_A_TURN - loop->read : 0;

    assert(loop_is_current(loop));
    share = share < left ? share : left;
    return share > LOOP_MAX_SHARE ? LOOP_MAX_SHARE : share < LEAST_SHARE ? LEAST_SHARE : share;
}

void loop_has_read(struct loop *loop, size_t share, size_t len)
{
    loop->read += len;
    loop->readers += len == share;
}

/* ---- the thread ---- */

/* How long a turn took since the loop woke up. Where that is known to a millisecond only, so is a turn, but the sum of
 * many has no bias. */
static void count_turn(struct loop *loop)
{
    uint64_t now_us = clock_realtime_ns() / 1000, woke_us = h2o_compat_woke_us(loop->h2o);

    if (woke_us % 1000 == 0)
        now_us -= now_us % 1000;
    metrics_observe(loop->turns, now_us > woke_us ? (double)(now_us - woke_us) / 1e6 : 0);
}

static int32_t next_wait_ms(const struct loop *loop, uint64_t now_ms)
{
    if (loop->heap_count == 0 || loop->heap[0]->due_ms >= now_ms + LONGEST_WAIT_MS)
        return LONGEST_WAIT_MS;
    return loop->heap[0]->due_ms > now_ms ? (int32_t)(loop->heap[0]->due_ms - now_ms) : 0;
}

static void turn(struct loop *loop)
{
    uint64_t now_ns = clock_monotonic_ns(), now_ms = now_ns / CLOCK_NS_PER_MS;
    int32_t wait_ms;

    atomic_store_explicit(&loop->last_turn_ns, now_ns, memory_order_relaxed);
    loop->last_readers = loop->readers;
    loop->readers = 0;
    loop->read = 0;
    /* What timers have written completes in h2o's next turn, which therefore must not wait. */
    wait_ms = run_timers(loop, now_ms) ? 0 : next_wait_ms(loop, now_ms);
    h2o_evloop_run(loop->h2o, wait_ms);
    for (struct loop_hook *hook = loop->hooks; hook != NULL; hook = hook->next)
        hook->run(hook);
    h2o_compat_collect(loop->h2o);
    count_turn(loop);
}

struct stop_message {
    struct loop_message message;
    struct loop *loop;
};

static void stop(struct loop_message *message)
{
    ((struct stop_message *)message)->loop->stopping = true;
}

static void close_loop(struct loop *loop)
{
    struct loop_message *closer;

    while ((closer = loop->closers) != NULL) {
        loop->closers = closer->next;
        closer->run(closer);
    }
    run_messages(loop); /* what the last ones posted */
    h2o_socket_close(loop->wake);
    h2o_evloop_run(loop->h2o, 0); /* frees the sockets that were closed just now */
    h2o_evloop_destroy(loop->h2o);
    h2o_compat_collect_all();
}

static void *loop_main(void *arg)
{
    struct loop *loop = arg;

    /* Here, not in loop_open: h2o's buffers come from allocators of the thread. */
    loop->h2o = h2o_evloop_create();
    loop->wake = h2o_evloop_socket_create(loop->h2o, loop->wake_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->wake->data = loop;
    h2o_socket_read_start(loop->wake, on_wake);
    while (!loop->stopping)
        turn(loop);
    close_loop(loop);
    return NULL;
}

static struct metrics_series *turn_series(struct metrics *metrics, const char *name)
{
    static const struct metrics_def def = {.name = "event_loop_turn_seconds",
                                           .help = "Time from an event loop's waking up to its going to sleep again.",
                                           .type = METRICS_HISTOGRAM,
                                           .labels = {"worker"}};

    return metrics_series(metrics_family(metrics, &def), (const struct str[]){str_of(name)});
}

static struct loop *free_loop(struct loop *loop)
{
    pthread_mutex_destroy(&loop->lock);
    free(loop->heap);
    free(loop);
    return NULL;
}

static void nothing(void *arg)
{
}

int loop_open(unsigned index, const char *name, struct metrics *metrics, struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int err;

    if (loop == NULL)
        return -ENOMEM;
    loop->index = index;
    snprintf(loop->name, sizeof(loop->name), "%s-%u", name, index);
    pthread_mutex_init(&loop->lock, NULL);
    loop->last = &loop->first;
    loop->last_turn_ns = clock_monotonic_ns();
    loop->turns = turn_series(metrics, loop->name);
    if ((loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        err = -errno;
        free_loop(loop);
        return err;
    }
    /* h2o writes to sockets without MSG_NOSIGNAL: it is well that SIGPIPE is blocked in threads. */
    if ((err = thread_start(&loop->thread, loop->name, loop_main, loop)) < 0) {
        close(loop->wake_fd);
        free_loop(loop);
        return err;
    }
    loop_call(loop, nothing, NULL); /* loop_h2o is set from here on */
    *ret_loop = loop;
    return 0;
}

struct loop *loop_close(struct loop *loop)
{
    struct stop_message message = {{.run = stop}, loop};

    if (loop == NULL)
        return NULL;
    loop_post(loop, &message.message);
    pthread_join(loop->thread, NULL);
    return free_loop(loop);
}

/* ---- what is known of it ---- */

unsigned loop_index(const struct loop *loop)
{
    return loop->index;
}

struct st_h2o_evloop_t *loop_h2o(struct loop *loop)
{
    return loop->h2o;
}

bool loop_is_current(const struct loop *loop)
{
    return pthread_equal(pthread_self(), loop->thread);
}

uint64_t loop_last_turn_ns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->last_turn_ns, memory_order_relaxed);
}
