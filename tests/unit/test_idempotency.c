#include "idempotency.h"
#include "store_fixture.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum { THINGS, KEYS };

#define A_DAY_MS (24 * 3600 * 1000ULL)

/* Added to the time of day, as where the clock of a machine is wrong. */
static atomic_llong clock_seconds;

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int err = (int)syscall(SYS_clock_gettime, clock, ret_time);

    if (err == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += clock_seconds;
    return err;
}

static struct store_table tables[] = {{"things", NULL, 0}, {0}};
static struct fixture fixture;
static struct store *store;
static struct idempotency *idempotency;

static void open_all(uint64_t retention_ms)
{
    tables[KEYS] = idempotency_table;
    store = open_store((struct store_options){.url = fixture.url, .tables = tables, .table_count = 2});
    cr_assert_eq(idempotency_open(store, KEYS, retention_ms, NULL, &idempotency), 0);
}

static void close_all(void)
{
    idempotency = idempotency_free(idempotency);
    store = store_close(store);
}

static void init(void)
{
    fixture_init(&fixture);
    open_all(A_DAY_MS);
}

static void fini(void)
{
    close_all();
    fixture_release(&fixture);
}

TestSuite(idempotency, .init = init, .fini = fini, .timeout = 60);

struct known {
    sem_t told; /* where it is waited for */
    int err;
    uint64_t seq;
    struct buf answer;
};

static void note(void *arg, int err, struct str answer, uint64_t seq)
{
    struct known *known = arg;

    known->err = err;
    known->seq = seq;
    buf_append_str(&known->answer, answer);
    sem_post(&known->told);
}

static int await(struct known *known)
{
    while (sem_wait(&known->told) != 0)
        continue;
    sem_destroy(&known->told);
    return known->err;
}

static int begin(struct str key, struct str request, struct known *known)
{
    struct known unwanted = {.err = 1};

    if (known == NULL)
        known = &unwanted;
    sem_init(&known->told, 0, 0);
    idempotency_begin(idempotency, key, request, WITHIN_NS(30), note, known);
    await(known);
    buf_release(&unwanted.answer);
    return known->err;
}

/* By one who has the key reserved. */
static int begin_again(struct str key, struct str request, struct known *known)
{
    sem_init(&known->told, 0, 0);
    idempotency_begin_again(idempotency, key, request, WITHIN_NS(30), note, known);
    return await(known);
}

static int finish(struct str key, struct str request, struct str answer)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, THINGS, key, STR("made"), STORE_ANY, 0);
    idempotency_add(idempotency, batch, key, request, answer);
    return store_write_wait(store, batch, WITHIN_NS(30), NULL);
}

static int finish_and_release(struct str key, struct str request, struct str answer)
{
    int err = finish(key, request, answer);

    idempotency_release(idempotency, key);
    return err;
}

Test(idempotency, keys_are_visible_ascii)
{
    char long_key[IDEMPOTENCY_MAX_KEY + 1];

    memset(long_key, 'k', sizeof(long_key));
    cr_expect(idempotency_key_valid(STR("!~0aZ")));
    cr_expect(idempotency_key_valid((struct str){long_key, IDEMPOTENCY_MAX_KEY}));
    cr_expect_not(idempotency_key_valid((struct str){long_key, IDEMPOTENCY_MAX_KEY + 1}));
    cr_expect_not(idempotency_key_valid(STR("")));
    cr_expect_not(idempotency_key_valid(STR("a b")));
    cr_expect_not(idempotency_key_valid(STR("a\x7f")));
    cr_expect_not(idempotency_key_valid(STR("\xc3\xa4")));
    cr_expect_not(idempotency_key_valid((struct str){"a\0", 2}));
}

Test(idempotency, a_repeated_request_gets_its_answer)
{
    struct known known = {0};
    uint64_t seq = 0;

    cr_assert_eq(begin(STR("k"), STR("request"), NULL), 0);
    cr_assert_eq(finish_and_release(STR("k"), STR("request"), (struct str){"an\0swer", 7}), 0);
    close_all();
    open_all(A_DAY_MS);
    cr_assert_eq(begin(STR("k"), STR("request"), &known), -EEXIST);
    cr_assert(str_eq(buf_str(&known.answer), (struct str){"an\0swer", 7}));
    cr_assert_eq(get(store, THINGS, STR("k"), NULL, &seq), 0);
    cr_assert_eq(known.seq, seq + 1, "the seqs of a batch follow each other");
    cr_assert_eq(begin(STR("k"), STR("request"), NULL), -EEXIST, "as often as it is repeated");
    buf_release(&known.answer);
}

Test(idempotency, a_key_is_for_one_request)
{
    cr_assert_eq(begin(STR("k"), STR("request"), NULL), 0);
    cr_assert_eq(finish_and_release(STR("k"), STR("request"), STR("")), 0);
    cr_assert_eq(begin(STR("k"), STR("another"), NULL), -EINVAL);
    cr_assert_eq(begin(STR("K"), STR("another"), NULL), 0);
    idempotency_release(idempotency, STR("K"));
}

Test(idempotency, what_failed_may_be_tried_again)
{
    cr_assert_eq(begin(STR("k"), STR("request"), NULL), 0);
    cr_assert_eq(begin(STR("k"), STR("request"), NULL), -EBUSY);
    cr_assert_eq(begin(STR("k"), STR("another"), NULL), -EBUSY);
    idempotency_release(idempotency, STR("k"));
    cr_assert_eq(begin(STR("k"), STR("another"), NULL), 0);
    idempotency_release(idempotency, STR("k"));
}

Test(idempotency, the_loser_between_replicas_learns_it_from_the_store)
{
    struct known known = {0};
    struct store_batch *batch;
    struct store_result result;

    cr_assert_eq(begin(STR("k"), STR("request"), NULL), 0);
    cr_assert_eq(begin_again(STR("k"), STR("request"), &known), 0);
    cr_assert_eq(finish(STR("k"), STR("request"), STR("first")), 0); /* the other replica */
    batch = store_batch_new();
    store_batch_put(batch, THINGS, STR("second"), STR("made"), STORE_ANY, 0);
    idempotency_add(idempotency, batch, STR("k"), STR("request"), STR("second"));
    cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), &result), -EEXIST);
    cr_assert_eq(result.failed_op, 1);
    cr_assert_eq(begin_again(STR("k"), STR("request"), &known), -EEXIST);
    cr_assert(str_eq(buf_str(&known.answer), STR("first")));
    buf_release(&known.answer);
    cr_assert_eq(get(store, THINGS, STR("second"), NULL, NULL), -ENOENT);
}

Test(idempotency, answers_are_bounded)
{
    static char answer[IDEMPOTENCY_MAX_ANSWER + 1];
    char key[STORE_MAX_KEY];
    struct str longest = {key, sizeof(key)};

    memset(key, 'k', sizeof(key));
    cr_assert_eq(begin(longest, STR("request"), NULL), 0);
    cr_assert_eq(finish(longest, STR("request"), (struct str){answer, sizeof(answer)}), -EMSGSIZE);
    cr_assert_eq(finish(longest, STR("request"), (struct str){answer, sizeof(answer) - 1}), 0);
    idempotency_release(idempotency, longest);
    cr_assert_eq(begin(longest, STR("request"), NULL), -EEXIST);
}

Test(idempotency, running_requests_are_bounded)
{
    enum { MAX_RUNNING = 16384 };
    char key[16];

    for (int i = 0; i < MAX_RUNNING; i++) {
        snprintf(key, sizeof(key), "%d", i);
        cr_assert_eq(begin(str_of(key), STR(""), NULL), 0);
    }
    cr_assert_eq(begin(STR("one more"), STR(""), NULL), -ENOBUFS);
    for (int i = 0; i < MAX_RUNNING; i++) {
        snprintf(key, sizeof(key), "%d", i);
        idempotency_release(idempotency, str_of(key));
    }
    cr_assert_eq(begin(STR("one more"), STR(""), NULL), 0);
    idempotency_release(idempotency, STR("one more"));
}

static void release_when_written(void *arg, const struct store_result *result)
{
    cr_assert_eq(result->err, 0);
    idempotency_release(idempotency, STR("k"));
}

Test(idempotency, freeing_waits_for_what_is_running)
{
    struct store_batch *batch = store_batch_new();

    cr_assert_eq(begin(STR("k"), STR("request"), NULL), 0);
    idempotency_add(idempotency, batch, STR("k"), STR("request"), STR("answer"));
    store_write(store, batch, WITHIN_NS(30), release_when_written, NULL);
    close_all();
    open_all(A_DAY_MS);
    cr_assert_eq(begin(STR("k"), STR("request"), NULL), -EEXIST);
}

static atomic_uint winners, repeats;

static void *race(void *arg)
{
    int err;

    while ((err = begin(STR("k"), STR("request"), NULL)) == -EBUSY)
        sched_yield();
    if (err == 0) {
        cr_assert_eq(finish_and_release(STR("k"), STR("request"), STR("answer")), 0);
        winners++;
    } else {
        cr_assert_eq(err, -EEXIST);
        repeats++;
    }
    return NULL;
}

Test(idempotency, of_many_at_once_one_is_done)
{
    pthread_t threads[16];

    for (size_t i = 0; i < 16; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, race, NULL), 0);
    for (size_t i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(winners, 1);
    cr_assert_eq(repeats, 15);
}

static void read_key_count(void *arg, int err, struct store_snapshot *snapshot)
{
    *(uint64_t *)arg = store_count(snapshot, KEYS);
}

static uint64_t count_keys(void)
{
    uint64_t count = 0;

    store_read_wait(store, WITHIN_NS(30), 0, read_key_count, &count);
    return count;
}

static void add_keys(int from, int to)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof(key), "%d", i);
        cr_assert_eq(begin(str_of(key), STR(""), NULL), 0);
        cr_assert_eq(finish_and_release(str_of(key), STR(""), STR("")), 0);
    }
}

/* The record of the ticks: see docs/store-format.md. */
#define TICKS     64
#define TICKS_KEY ((struct str){"\0ticks", 6})

/* That the record keeps, besides its own. */
static size_t count_ticks(void)
{
    struct buf value = {0};
    size_t count = get(store, KEYS, TICKS_KEY, &value, NULL) == 0 ? value.len / 8 - 1 : 0;

    buf_release(&value);
    return count;
}

Test(idempotency, keys_are_dropped_after_their_time)
{
    enum { RETENTION_MS = 640 };
    uint64_t last_ns;

    close_all();
    open_all(RETENTION_MS);
    add_keys(0, 149);
    last_ns = clock_monotonic_ns();
    add_keys(149, 150);
    while (count_keys() != 1)
        sched_yield();
    cr_assert_geq(clock_monotonic_ns() - last_ns, RETENTION_MS * CLOCK_NS_PER_MS);
    cr_assert_eq(count_ticks(), TICKS);
    cr_assert_eq(begin(STR("149"), STR(""), NULL), 0, "a dropped key is new again");
    idempotency_release(idempotency, STR("149"));
}

static bool have_keys_changed(uint64_t count)
{
    return count_keys() != count;
}

/* A replica whose clock is wrong by more than the retention, beside one that has written keys. */
Test(idempotency, a_wrong_clock_drops_no_keys)
{
    struct known known = {0};
    uint64_t count;

    close_all();
    clock_seconds = -365 * 24 * 3600LL;
    open_all(A_DAY_MS);
    add_keys(0, 50);
    close_all();
    clock_seconds = 25 * 3600;
    store = open_store((struct store_options){.url = fixture.url, .tables = tables, .table_count = 2});
    delete_any(store, KEYS, TICKS_KEY); /* so that a look of the sweeper can be seen */
    count = count_keys();
    cr_assert_eq(count, 50);
    cr_assert_eq(idempotency_open(store, KEYS, A_DAY_MS, NULL, &idempotency), 0);
    while (!have_keys_changed(count))
        sched_yield();
    cr_assert_eq(count_keys(), 51);
    cr_assert_eq(begin(STR("0"), STR(""), &known), -EEXIST);
    buf_release(&known.answer);
}

static void put_ticks(unsigned count, uint64_t seq)
{
    uint8_t value[8 * (1 + TICKS)];

    store_put_u64(value, UINT64_MAX);
    for (unsigned i = 1; i <= count; i++)
        store_put_u64(value + 8 * (size_t)i, seq - i + 1);
    put_any(store, KEYS, TICKS_KEY, (struct str){(const char *)value, 8 * (1 + (size_t)count)});
}

/* Keys before the tick that is as old as the retention go, those after it stay; with less ticks nothing goes. */
Test(idempotency, keys_before_the_oldest_tick_are_dropped_and_no_others)
{
    uint64_t seq = 0;

    add_keys(0, 50);
    cr_assert_eq(get(store, KEYS, STR("29"), NULL, &seq), 0);
    put_ticks(TICKS - 1, seq);
    close_all();
    open_all(A_DAY_MS);
    add_keys(50, 51);
    cr_assert_eq(count_keys(), 52);
    put_ticks(TICKS, seq + TICKS - 1); /* the oldest is of the last key's time that goes not */
    close_all();
    open_all(A_DAY_MS);
    while (count_keys() > 52 - 29)
        sched_yield();
    cr_assert_eq(get(store, KEYS, STR("28"), NULL, NULL), -ENOENT);
    cr_assert_eq(get(store, KEYS, STR("29"), NULL, NULL), 0);
    cr_assert_eq(count_keys(), 52 - 29);
}
