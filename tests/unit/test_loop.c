#include "clock.h"
#include "loop.h"
#include "metrics.h"
#include "random.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct loop *open_loop(struct metrics *metrics)
{
    struct loop *loop = NULL;

    cr_assert_eq(loop_open(3, "test", metrics, &loop), 0);
    return loop;
}

static void nothing(void *arg)
{
}

/* ---- messages ---- */

#define POSTERS  4
#define MESSAGES 5000

struct numbered {
    struct loop_message message;
    struct poster *poster;
    unsigned number;
};

struct poster {
    struct loop *loop;
    struct numbered messages[MESSAGES];
    unsigned next; /* loop's thread */
    atomic_uint wrong;
};

static void check_order(struct loop_message *message)
{
    struct numbered *numbered = (struct numbered *)message;
    struct poster *poster = numbered->poster;

    if (!loop_is_current(poster->loop) || numbered->number != poster->next++)
        poster->wrong++;
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 0; i < MESSAGES; i++) {
        poster->messages[i] = (struct numbered){{.run = check_order}, poster, i};
        loop_post(poster->loop, &poster->messages[i].message);
    }
    return NULL;
}

Test(loop, messages_of_one_thread_keep_their_order_and_all_run_before_it_closes)
{
    struct poster *posters = calloc(POSTERS, sizeof(*posters));
    struct loop *loop = open_loop(NULL);
    pthread_t threads[POSTERS];

    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        cr_assert_eq(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    loop_close(loop);
    for (int i = 0; i < POSTERS; i++) {
        cr_expect_eq(posters[i].next, MESSAGES);
        cr_expect_eq(posters[i].wrong, 0);
    }
    free(posters);
}

struct chain {
    struct loop_message message;
    struct loop *loop;
    unsigned left;
};

static void post_again(struct loop_message *message)
{
    struct chain *chain = (struct chain *)message;

    if (--chain->left > 0)
        loop_post(chain->loop, message);
}

Test(loop, a_message_may_post_itself_again)
{
    struct loop *loop = open_loop(NULL);
    struct chain chain = {.message = {.run = post_again}, .loop = loop, .left = 1000};

    loop_post(loop, &chain.message);
    loop_close(loop);
    cr_expect_lt(chain.left, 1000);
}

static void set_current(void *arg)
{
    *(bool *)arg = true;
}

Test(loop, call_returns_when_it_has_run)
{
    struct loop *loop = open_loop(NULL);

    for (int i = 0; i < 1000; i++) {
        bool ran = false;
        loop_call(loop, set_current, &ran);
        cr_assert(ran);
    }
    cr_expect_not(loop_is_current(loop));
    cr_expect_eq(loop_index(loop), 3);
    loop_close(loop);
}

Test(loop, close_accepts_null)
{
    cr_expect_null(loop_close(NULL));
}

/* ---- the end ---- */

struct ending {
    struct loop *loop;
    struct loop_message first, second;
    char order[4];
};

static void first_ends(struct loop_message *message)
{
    strcat(((struct ending *)((char *)message - offsetof(struct ending, first)))->order, "1");
}

static void second_ends(struct loop_message *message)
{
    strcat(((struct ending *)((char *)message - offsetof(struct ending, second)))->order, "2");
}

static void add_closers(void *arg)
{
    struct ending *ending = arg;

    ending->first.run = first_ends;
    ending->second.run = second_ends;
    loop_at_close(ending->loop, &ending->first);
    loop_at_close(ending->loop, &ending->second);
}

Test(loop, closers_run_last_one_first)
{
    struct ending ending = {.loop = open_loop(NULL)};

    loop_call(ending.loop, add_closers, &ending);
    loop_close(ending.loop);
    cr_expect_str_eq(ending.order, "21");
}

/* ---- timers ---- */

#define TIMERS 1000

struct timed {
    struct loop_timer timer;
    struct timers *timers;
    uint64_t not_before_ns;
    unsigned runs;
    bool stopped;
};

struct timers {
    struct loop *loop;
    struct timed timed[TIMERS];
    uint64_t last_due_ms;
    unsigned early, disordered;
    atomic_uint left;
};

static void run_timed(struct loop_timer *timer)
{
    struct timed *timed = (struct timed *)timer;
    struct timers *timers = timed->timers;

    timed->runs++;
    timers->early += clock_monotonic_ns() < timed->not_before_ns;
    timers->disordered += timer->due_ms < timers->last_due_ms;
    timers->last_due_ms = timer->due_ms;
    timers->left--;
}

static void start_timed(struct timed *timed, uint64_t after_ms)
{
    timed->not_before_ns = clock_monotonic_ns() + after_ms * CLOCK_NS_PER_MS;
    cr_assert_eq(loop_timer_start(timed->timers->loop, &timed->timer, after_ms, run_timed), 0);
    cr_assert(loop_timer_running(&timed->timer));
}

/* Every third is moved, every fifth stopped. */
static void start_timers(void *arg)
{
    struct timers *timers = arg;
    uint64_t random = 42;

    for (unsigned i = 0; i < TIMERS; i++) {
        timers->timed[i].timers = timers;
        start_timed(&timers->timed[i], (uint64_t)random_between(&random, 0, 49));
    }
    for (unsigned i = 0; i < TIMERS; i += 3)
        start_timed(&timers->timed[i], (uint64_t)random_between(&random, 0, 49));
    for (unsigned i = 0; i < TIMERS; i += 5) {
        timers->timed[i].stopped = true;
        loop_timer_stop(timers->loop, &timers->timed[i].timer);
        loop_timer_stop(timers->loop, &timers->timed[i].timer);
        timers->left--;
    }
}

static void await_zero(atomic_uint *left)
{
    for (int i = 0; *left > 0; i++) {
        cr_assert_lt(i, 10000);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

Test(loop, timers_run_once_in_order_and_never_early)
{
    struct timers *timers = calloc(1, sizeof(*timers));

    timers->loop = open_loop(NULL);
    timers->left = TIMERS;
    loop_call(timers->loop, start_timers, timers);
    await_zero(&timers->left);
    loop_close(timers->loop);
    for (unsigned i = 0; i < TIMERS; i++)
        cr_expect_eq(timers->timed[i].runs, timers->timed[i].stopped ? 0 : 1, "timer %u: %u", i, timers->timed[i].runs);
    cr_expect_eq(timers->early, 0);
    cr_expect_eq(timers->disordered, 0);
    free(timers);
}

struct ticker {
    struct loop_timer timer;
    struct loop *loop;
    atomic_uint left;
};

static void tick(struct loop_timer *timer)
{
    struct ticker *ticker = (struct ticker *)timer;

    if (--ticker->left > 0)
        loop_timer_start(ticker->loop, timer, 0, tick);
}

static void start_ticker(void *arg)
{
    loop_timer_start(((struct ticker *)arg)->loop, arg, 0, tick);
}

Test(loop, a_timer_may_start_itself_again)
{
    struct ticker ticker = {.loop = open_loop(NULL), .left = 20};

    loop_call(ticker.loop, start_ticker, &ticker);
    await_zero(&ticker.left);
    loop_close(ticker.loop);
}

/* ---- reading ---- */

struct shares {
    struct loop_message message; /* of the turn after another one's */
    struct loop *loop;
    size_t shares[4];
    struct shares *next; /* of the next turn; NULL: nobody's */
};

/* Of connections, one after the other in a turn, that all have more to read. */
static void take_shares(void *arg)
{
    struct shares *shares = arg;

    for (int i = 0; i < 4; i++) {
        shares->shares[i] = loop_read_share(shares->loop);
        loop_has_read(shares->loop, shares->shares[i], shares->shares[i]);
    }
    if (shares->next != NULL)
        loop_post(shares->loop, &shares->next->message);
}

static void take_shares_of_message(struct loop_message *message)
{
    take_shares(message);
}

static void await_turn(struct loop *loop)
{
    uint64_t before_ns = loop_last_turn_ns(loop);

    for (int i = 0; loop_last_turn_ns(loop) == before_ns; i++) {
        cr_assert_lt(i, 100000);
        loop_call(loop, nothing, NULL);
    }
}

Test(loop, connections_share_what_a_turn_reads)
{
    const size_t most = LOOP_MAX_SHARE, least = 1024;
    struct loop *loop = open_loop(NULL);
    struct shares second = {.loop = loop, .message.run = take_shares_of_message};
    struct shares first = {.loop = loop, .next = &second}, later = {.loop = loop};

    loop_call(loop, take_shares, &first);
    loop_call(loop, nothing, NULL); /* perhaps in the turn of the second */
    loop_call(loop, nothing, NULL);
    loop_call(loop, take_shares, &later);
    loop_close(loop);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(first.shares[i], i < 2 ? most : least);
        cr_expect_eq(second.shares[i], most / 2); /* as the first had four */
        cr_expect_eq(later.shares[i], first.shares[i]);
    }
}

/* ---- what is known of it ---- */

Test(loop, turns_are_stamped_and_counted)
{
    struct metrics *metrics = metrics_new();
    struct loop *loop = open_loop(metrics);
    uint64_t before_ns = loop_last_turn_ns(loop);
    struct buf text = {0};

    await_turn(loop);
    cr_expect_gt(loop_last_turn_ns(loop), before_ns);
    loop_close(loop);
    metrics_write(metrics, &text);
    buf_append_char(&text, '\0');
    cr_expect_not_null(strstr(text.data, "event_loop_turn_seconds_count{worker=\"test-3\"} "));
    buf_release(&text);
    metrics_free(metrics);
}
