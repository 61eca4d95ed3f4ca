/* The conformance suite: what every engine must do. It knows the interface only (see store_fixture.h). */
#include "span_fixture.h"
#include "store_fixture.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { PEOPLE, PLACES };

/* The index of people: by the first letter of the value, the second being what the entry carries. */
static void index_people(struct store_index *index, const struct store_record *record)
{
    char key[1 + STORE_MAX_KEY];

    if (record->value.len < 2)
        return;
    key[0] = record->value.s[0];
    memcpy(key + 1, record->key.s, record->key.len);
    store_index_add(index, (struct str){key, 1 + record->key.len}, (struct str){record->value.s + 1, 1});
}

static void index_people_twice(struct store_index *index, const struct store_record *record)
{
    char key[1 + STORE_MAX_KEY] = "~";

    index_people(index, record);
    memcpy(key + 1, record->key.s, record->key.len);
    store_index_add(index, (struct str){key, 1 + record->key.len}, STR_NULL);
}

static const struct store_table tables[] = {{"people", index_people, 1}, {"places", NULL, 0}};
static struct fixture fixture;
static struct store *store;

static struct store_options options(void)
{
    return (struct store_options){.url = fixture.url, .tables = tables, .table_count = 2};
}

static void init(void)
{
    fixture_init(&fixture);
    store = open_store(options());
}

static void fini(void)
{
    store = store_close(store);
    fixture_release(&fixture);
}

static void reopen(const struct store_table *with)
{
    struct store_options again = options();

    again.tables = with;
    store_close(store);
    store = open_store(again);
}

TestSuite(store, .init = init, .fini = fini, .timeout = 60);

/* ---- opening ---- */

static int open_error(struct store_options with, char error[256])
{
    struct store *other = NULL;
    int err = store_open(&with, &other, error, 256);

    cr_assert_lt(err, 0);
    cr_assert_null(other);
    cr_assert_null(strchr(error, '\n'));
    return err;
}

Test(store, refuses_urls_of_no_engine)
{
    static const char *const urls[] = {"", "/data", "lmdb:/data", "lmdb://data", "lmdb://", "lmdb:///", "file:///data"};
    char error[256];

    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
        struct store_options with = options();

        with.url = urls[i];
        cr_expect_eq(open_error(with, error), -EINVAL, "%s", urls[i]);
        cr_expect_not_null(strstr(error, urls[i]));
    }
}

Test(store, refuses_the_tables_of_another_service)
{
    static const struct store_table others[] = {{"people", index_people, 1}, {"things", NULL, 0}};
    static const struct store_table fewer[] = {{"people", index_people, 1}};
    static const struct store_table more[] = {{"people", index_people, 1}, {"places", NULL, 0}, {"things", NULL, 0}};
    struct store_options with = options();
    char error[256];

    store = store_close(store);
    with.tables = others;
    cr_expect_eq(open_error(with, error), -EPROTO);
    cr_expect(strstr(error, "places") != NULL && strstr(error, "things") != NULL, "%s", error);
    with.tables = fewer;
    with.table_count = 1;
    cr_expect_eq(open_error(with, error), -EPROTO);
    cr_expect_not_null(strstr(error, "places"));
    with.tables = more;
    with.table_count = 3;
    store = open_store(with);
    put_any(store, 2, STR("k"), STR("v"));
    cr_expect(has(store, 2, STR("k"), STR("v")));
}

/* ---- records ---- */

Test(store, keeps_records)
{
    struct buf value = {0};
    uint64_t seq = 0, first = put_any(store, PEOPLE, STR("ann"), STR("one")), second;

    cr_assert_gt(first, 0);
    second = put_any(store, PEOPLE, STR("ann"), STR("two"));
    cr_assert_gt(second, first);
    put_any(store, PLACES, STR("ann"), STR(""));
    cr_assert_eq(get(store, PEOPLE, STR("ann"), &value, &seq), 0);
    cr_assert(str_eq(buf_str(&value), STR("two")));
    cr_assert_eq(seq, second);
    cr_assert(has(store, PLACES, STR("ann"), STR("")));
    cr_assert_eq(get(store, PEOPLE, STR("an"), &value, NULL), -ENOENT);
    cr_assert_eq(get(store, PEOPLE, STR(""), &value, NULL), -ENOENT);
    cr_assert_eq(delete_any(store, PEOPLE, STR("ann")), 0);
    cr_assert_eq(delete_any(store, PEOPLE, STR("ann")), 0);
    cr_assert_eq(get(store, PEOPLE, STR("ann"), NULL, NULL), -ENOENT);
    cr_assert(has(store, PLACES, STR("ann"), STR("")));
    buf_release(&value);
}

Test(store, keeps_records_over_a_restart)
{
    uint64_t seq = put_any(store, PEOPLE, STR("ann"), STR("one")), again = 0;

    reopen(tables);
    cr_assert_eq(get(store, PEOPLE, STR("ann"), NULL, &again), 0);
    cr_assert_eq(again, seq);
    cr_assert_gt(put_any(store, PEOPLE, STR("bob"), STR("two")), seq);
}

Test(store, takes_any_bytes_up_to_the_limits)
{
    static char value[STORE_MAX_VALUE];
    char key[STORE_MAX_KEY];
    struct str k = {key, sizeof(key)}, v = {value, sizeof(value)};

    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (char)(i * i >> 3);
    memset(key, 0, sizeof(key));
    put_any(store, PLACES, k, v);
    put_any(store, PLACES, (struct str){"\0", 1}, v);
    put_any(store, PLACES, (struct str){"\xff\0\xff", 3}, STR_NULL);
    cr_assert(has(store, PLACES, k, v));
    cr_assert(has(store, PLACES, (struct str){"\0", 1}, v));
    cr_assert(has(store, PLACES, (struct str){"\xff\0\xff", 3}, STR("")));
}

Test(store, refuses_what_is_beyond_the_limits)
{
    static char big[STORE_MAX_VALUE + 1];
    struct store_batch *batch = store_batch_new();

    cr_expect_eq(put(store, PEOPLE, STR(""), STR("v"), STORE_ANY, 0, NULL), -EMSGSIZE);
    cr_expect_eq(put(store, PEOPLE, (struct str){big, STORE_MAX_KEY + 1}, STR("v"), STORE_ANY, 0, NULL), -EMSGSIZE);
    cr_expect_eq(put(store, PEOPLE, STR("k"), (struct str){big, sizeof(big)}, STORE_ANY, 0, NULL), -EMSGSIZE);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), -EINVAL, "an empty batch");
    batch = store_batch_new();
    for (uint8_t i = 0; i <= STORE_MAX_BATCH; i++)
        store_batch_put(batch, PEOPLE, (struct str){(const char *)&i, 1}, STR("v"), STORE_ANY, 0);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), -EINVAL, "too many operations");
    batch = store_batch_new();
    store_batch_put(batch, PEOPLE, STR("k"), STR("v"), STORE_ANY, 0);
    store_batch_check(batch, PEOPLE, STR("k"), STORE_ANY, 0);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), -EINVAL, "a key twice");
    cr_expect_eq(store_write_wait(store, NULL, WITHIN_NS(30), NULL), -ENOMEM, "no memory for a batch");
    cr_expect_eq(count_records(store), 0);
}

/* ---- expectations ---- */

Test(store, expectations_decide)
{
    struct store_result result;
    uint64_t seq;

    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("1"), STORE_PRESENT, 0, NULL), -ENOENT);
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("1"), STORE_AT, 1, NULL), -ENOENT);
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("1"), STORE_ABSENT, 0, &result), 0);
    seq = result.seq;
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("2"), STORE_ABSENT, 0, NULL), -EEXIST);
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("2"), STORE_AT, seq - 1, NULL), -ESTALE);
    cr_expect(has(store, PEOPLE, STR("a"), STR("1")));
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("2"), STORE_AT, seq, &result), 0);
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("3"), STORE_AT, seq, NULL), -ESTALE);
    cr_expect_eq(put(store, PEOPLE, STR("a"), STR("4"), STORE_PRESENT, 0, NULL), 0);
    cr_expect(has(store, PEOPLE, STR("a"), STR("4")));
}

Test(store, a_batch_is_done_whole_or_not_at_all)
{
    struct store_batch *batch = store_batch_new();
    struct store_result result;
    uint64_t seq = put_any(store, PLACES, STR("there"), STR("1"));

    store_batch_put(batch, PEOPLE, STR("new"), STR("1"), STORE_ABSENT, 0);
    store_batch_delete(batch, PLACES, STR("there"), STORE_PRESENT, 0);
    store_batch_check(batch, PLACES, STR("missing"), STORE_PRESENT, 0);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), &result), -ENOENT);
    cr_expect_eq(result.failed_op, 2);
    cr_expect_eq(get(store, PEOPLE, STR("new"), NULL, NULL), -ENOENT);
    cr_expect(has(store, PLACES, STR("there"), STR("1")));

    batch = store_batch_new();
    store_batch_put(batch, PEOPLE, STR("new"), STR("1"), STORE_ABSENT, 0);
    store_batch_put(batch, PEOPLE, STR("newer"), STR("2"), STORE_ABSENT, 0);
    store_batch_delete(batch, PLACES, STR("there"), STORE_AT, seq);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), &result), 0);
    cr_expect_eq(get(store, PEOPLE, STR("new"), NULL, &seq), 0);
    cr_expect_eq(seq, result.seq);
    cr_expect_eq(get(store, PEOPLE, STR("newer"), NULL, &seq), 0);
    cr_expect_eq(seq, result.seq + 1);
    cr_expect_eq(get(store, PLACES, STR("there"), NULL, NULL), -ENOENT);
}

Test(store, a_check_alone_writes_nothing)
{
    struct store_batch *batch = store_batch_new();
    uint64_t seq = put_any(store, PEOPLE, STR("a"), STR("1")), after;

    store_batch_check(batch, PEOPLE, STR("a"), STORE_AT, seq);
    cr_expect_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
    cr_expect_eq(get(store, PEOPLE, STR("a"), NULL, &after), 0);
    cr_expect_eq(after, seq);
}

Test(store, gives_up_a_request_that_is_past_its_deadline)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, PEOPLE, STR("late"), STR("1"), STORE_ANY, 0);
    cr_expect_eq(store_write_wait(store, batch, 1, NULL), -ETIMEDOUT);
    put_any(store, PEOPLE, STR("next"), STR("1"));
    cr_expect_eq(get(store, PEOPLE, STR("late"), NULL, NULL), -ENOENT);
}

/* ---- cursors ---- */

static void expect_cursor(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_cursor cursor;
    struct store_record r;

    cr_assert_eq(store_cursor_open(snapshot, PEOPLE, false, &cursor), 0);
    cr_expect_eq(store_cursor_seek(&cursor, STR_NULL, &r), 0);
    cr_expect(str_eq(r.key, STR("b")));
    cr_expect_eq(store_cursor_next(&cursor, &r), 0);
    cr_expect(str_eq(r.key, STR("b\x01")));
    cr_expect_eq(store_cursor_previous(&cursor, &r), 0);
    cr_expect(str_eq(r.key, STR("b")) && str_eq(r.value, STR("1")) && r.seq > 0);
    cr_expect_eq(store_cursor_previous(&cursor, &r), -ENOENT);
    cr_expect_eq(store_cursor_seek(&cursor, STR("c"), &r), 0);
    cr_expect(str_eq(r.key, STR("d")));
    cr_expect_eq(store_cursor_seek(&cursor, STR("d"), &r), 0);
    cr_expect(str_eq(r.key, STR("d")));
    cr_expect_eq(store_cursor_next(&cursor, &r), -ENOENT);
    cr_expect_eq(store_cursor_seek(&cursor, STR("e"), &r), -ENOENT);
    cr_expect_eq(store_cursor_seek_before(&cursor, STR("d"), &r), 0);
    cr_expect(str_eq(r.key, STR("b\x01")));
    cr_expect_eq(store_cursor_seek_before(&cursor, STR("zzz"), &r), 0);
    cr_expect(str_eq(r.key, STR("d")));
    cr_expect_eq(store_cursor_seek_before(&cursor, STR_NULL, &r), 0);
    cr_expect(str_eq(r.key, STR("d")));
    cr_expect_eq(store_cursor_seek_before(&cursor, STR("b"), &r), -ENOENT);
    cr_expect_eq(store_cursor_seek_before(&cursor, STR("a"), &r), -ENOENT);
    store_cursor_close(&cursor);
    cr_assert_eq(store_cursor_open(snapshot, PLACES, false, &cursor), 0);
    cr_expect_eq(store_cursor_next(&cursor, &r), -ENOENT);
    cr_expect_eq(store_cursor_seek(&cursor, STR_NULL, &r), -ENOENT);
    cr_expect_eq(store_cursor_seek_before(&cursor, STR_NULL, &r), -ENOENT);
    store_cursor_close(&cursor);
    cr_expect_eq(store_count(snapshot, PEOPLE), 3);
    cr_expect_eq(store_count(snapshot, PLACES), 0);
    cr_expect_eq(store_last_seq(snapshot), *(uint64_t *)arg);
    cr_expect_eq(store_age_ms(snapshot), 0);
}

Test(store, cursors_go_in_the_order_of_keys)
{
    uint64_t last;

    put_any(store, PEOPLE, STR("d"), STR("3"));
    put_any(store, PEOPLE, STR("b"), STR("1"));
    last = put_any(store, PEOPLE, STR("b\x01"), STR("2"));
    store_read_wait(store, WITHIN_NS(30), 0, expect_cursor, &last);
}

struct page {
    uint32_t from, seen[16];
    size_t count;
};

static void read_page(void *arg, int err, struct store_snapshot *snapshot)
{
    struct page *page = arg;
    struct store_cursor cursor;
    struct store_record record;
    uint8_t from[8];

    cr_assert_eq(err, 0);
    store_put_u64(from, page->from);
    cr_assert_eq(store_cursor_open(snapshot, PEOPLE, false, &cursor), 0);
    page->count = 0;
    for (err = store_cursor_seek(&cursor, (struct str){(char *)from, 8}, &record); err == 0 && page->count < 16;
         err = store_cursor_next(&cursor, &record))
        page->seen[page->count++] = (uint32_t)store_get_u64(record.key.s);
    store_cursor_close(&cursor);
}

static void put_number(uint64_t number)
{
    uint8_t key[8];

    store_put_u64(key, number);
    put_any(store, PEOPLE, (struct str){(char *)key, 8}, STR("v"));
}

Test(store, pages_by_key_miss_and_repeat_nothing_while_data_changes)
{
    struct page page = {.from = 0};
    uint32_t expected = 0;

    for (uint32_t i = 0; i < 100; i++)
        put_number(2 * i + 1); /* these stay */
    for (;;) {
        store_read_wait(store, WITHIN_NS(30), 0, read_page, &page);
        for (size_t i = 0; i < page.count; i++)
            if (page.seen[i] % 2 == 1) {
                cr_assert_eq(page.seen[i], 2 * expected + 1);
                expected++;
            }
        if (page.count == 0)
            break;
        page.from = page.seen[page.count - 1] + 1;
        put_number(page.from / 2 & ~1U); /* before and after the place where we are */
        if (page.from < 200)
            put_number((page.from + 7) & ~1U);
    }
    cr_assert_eq(expected, 100);
}

/* ---- the index ---- */

Test(store, the_index_follows_its_records)
{
    put_any(store, PEOPLE, STR("ann"), STR("xq"));
    put_any(store, PEOPLE, STR("bob"), STR("w1"));
    put_any(store, PEOPLE, STR("malformed"), STR("-"));
    EXPECT_ALL(store, PEOPLE, true, "wbob=1 xann=q");
    put_any(store, PEOPLE, STR("ann"), STR("a2")); /* another key */
    put_any(store, PEOPLE, STR("bob"), STR("w9")); /* another value */
    put_any(store, PEOPLE, STR("malformed"), STR("m3"));
    EXPECT_ALL(store, PEOPLE, true, "aann=2 mmalformed=3 wbob=9");
    put_any(store, PEOPLE, STR("malformed"), STR(""));
    cr_assert_eq(delete_any(store, PEOPLE, STR("bob")), 0);
    EXPECT_ALL(store, PEOPLE, true, "aann=2");
    reopen(tables);
    EXPECT_ALL(store, PEOPLE, true, "aann=2");
    EXPECT_ALL(store, PLACES, true, "");
}

Test(store, a_new_version_of_an_index_is_built_at_opening)
{
    static const struct store_table second[] = {{"people", index_people_twice, 2}, {"places", NULL, 0}};
    static const struct store_table none[] = {{"people", NULL, 0}, {"places", NULL, 0}};

    put_any(store, PEOPLE, STR("ann"), STR("b1"));
    put_any(store, PEOPLE, STR("bob"), STR("a1"));
    reopen(second);
    EXPECT_ALL(store, PEOPLE, true, "abob=1 bann=1 ~ann= ~bob=");
    reopen(none);
    EXPECT_ALL(store, PEOPLE, true, "");
    put_any(store, PEOPLE, STR("ann"), STR("c1"));
    reopen(tables); /* also back to an earlier one */
    EXPECT_ALL(store, PEOPLE, true, "abob=1 cann=1");
}

static void count_written(void *arg, const struct store_result *result)
{
    cr_assert_eq(result->err, 0, "%s", strerror(-result->err));
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void read_index(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_cursor cursor;
    struct store_record entry;
    uint64_t expected = 0;

    cr_assert_eq(store_cursor_open(snapshot, PEOPLE, true, &cursor), 0);
    for (err = store_cursor_next(&cursor, &entry); err == 0 && entry.key.s[0] == 'x'; expected++) {
        cr_assert_eq(store_get_u64(entry.key.s + 1), expected);
        err = store_cursor_next(&cursor, &entry);
    }
    store_cursor_close(&cursor);
    *(uint64_t *)arg = expected;
}

Test(store, an_index_is_built_in_steps)
{
    static const struct store_table again[] = {{"people", index_people, 7}, {"places", NULL, 0}};
    enum { RECORDS = 20000 }; /* exactly two steps */
    atomic_uint written = 0;
    uint64_t entries = 0;

    for (uint64_t i = 0; i < RECORDS;) {
        struct store_batch *batch = store_batch_new();

        for (unsigned n = 0; n < STORE_MAX_BATCH; n++, i++) {
            uint8_t key[8];

            store_put_u64(key, i);
            store_batch_put(batch, PEOPLE, (struct str){(char *)key, 8}, STR("xy"), STORE_ABSENT, 0);
        }
        store_write(store, batch, WITHIN_NS(60), count_written, &written);
    }
    reopen(again); /* commits what is queued */
    cr_assert_eq(written, RECORDS / STORE_MAX_BATCH);
    store_read_wait(store, WITHIN_NS(30), 0, read_index, &entries);
    cr_assert_eq(entries, RECORDS);
}

/* ---- many at once ---- */

enum { THREADS = 8, ROUNDS = 50 };

static void run_threads(void *(*run)(void *))
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void *increment(void *arg)
{
    for (int done = 0; done < ROUNDS;) {
        struct buf value = {0};
        uint64_t seq = 0;
        char text[16];
        int err;

        cr_assert_eq(get(store, PEOPLE, STR("counter"), &value, &seq), 0);
        buf_append_char(&value, '\0');
        snprintf(text, sizeof(text), "%d", atoi(value.data) + 1);
        err = put(store, PEOPLE, STR("counter"), str_of(text), STORE_AT, seq, NULL);
        cr_assert(err == 0 || err == -ESTALE);
        done += err == 0;
        buf_release(&value);
    }
    return NULL;
}

Test(store, compare_and_set_loses_no_update)
{
    char expected[16];

    put_any(store, PEOPLE, STR("counter"), STR("0"));
    run_threads(increment);
    snprintf(expected, sizeof(expected), "%d", THREADS * ROUNDS);
    cr_assert(has(store, PEOPLE, STR("counter"), str_of(expected)));
}

static atomic_uint created;

static void *create(void *arg)
{
    for (uint8_t i = 0; i < ROUNDS; i++) {
        int err = put(store, PEOPLE, (struct str){(char *)&i, 1}, STR("v"), STORE_ABSENT, 0, NULL);

        cr_assert(err == 0 || err == -EEXIST);
        created += err == 0;
    }
    return NULL;
}

Test(store, one_of_many_creates_a_record)
{
    run_threads(create);
    cr_assert_eq(created, ROUNDS);
}

static void *write_and_read(void *arg)
{
    char key[32];

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t seq, read = 0;

        snprintf(key, sizeof(key), "%zu/%d", (size_t)arg, i);
        seq = put_any(store, PEOPLE, str_of(key), str_of(key));
        cr_assert_eq(get(store, PEOPLE, str_of(key), NULL, &read), 0, "a read sees what has been acknowledged");
        cr_assert_eq(read, seq);
    }
    return NULL;
}

Test(store, a_read_sees_every_acknowledged_write)
{
    run_threads(write_and_read);
    cr_assert_eq(count_records(store), THREADS * ROUNDS);
}

static void note_seq(void *arg, const struct store_result *result)
{
    cr_assert_eq(result->err, 0);
    *(uint64_t *)arg = result->seq;
}

Test(store, requests_of_one_thread_are_done_in_order_and_all_answered_before_closing_ends)
{
    uint64_t seqs[2000] = {0}; /* answers may come in several threads */
    char value[16];

    for (int i = 0; i < 2000; i++) {
        struct store_batch *batch = store_batch_new();

        snprintf(value, sizeof(value), "%d", i);
        store_batch_put(batch, PEOPLE, STR("k"), str_of(value), i == 0 ? STORE_ABSENT : STORE_PRESENT, 0);
        store_write(store, batch, WITHIN_NS(30), note_seq, &seqs[i]);
    }
    reopen(tables);
    cr_assert_gt(seqs[0], 0);
    for (int i = 1; i < 2000; i++)
        cr_assert_gt(seqs[i], seqs[i - 1]);
    cr_assert(has(store, PEOPLE, STR("k"), STR("1999")));
}

struct chain {
    unsigned done;
    int last_err;
};

static void write_again(void *arg, const struct store_result *result)
{
    struct chain *chain = arg;
    struct store_batch *batch = store_batch_new();

    chain->last_err = result->err;
    if (result->err == 0) {
        chain->done++;
        store_batch_put(batch, PEOPLE, STR("k"), STR("v"), STORE_ANY, 0);
        store_write(store, batch, WITHIN_NS(30), write_again, chain);
    } else {
        store_batch_free(batch);
    }
}

Test(store, closing_ends_callbacks_that_write_again)
{
    struct chain chain = {0};

    write_again(&chain, &(struct store_result){0});
    store = store_close(store);
    cr_assert_eq(chain.last_err, -ECANCELED);
    cr_assert_geq(chain.done, 1);
}

static double value_of(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    return at != NULL ? strtod(at + strlen(line), NULL) : -1;
}

Test(store, counts_what_it_answers)
{
    struct store_options with = options();
    struct buf text = {0};

    with.metrics = metrics_new();
    store_close(store);
    store = open_store(with);
    put_any(store, PEOPLE, STR("k"), STR("v"));
    put(store, PEOPLE, STR("k"), STR("v"), STORE_ABSENT, 0, NULL);
    metrics_write(with.metrics, &text);
    buf_append_char(&text, '\0');
    cr_expect_not_null(strstr(text.data, "store_write_results_total{result=\"ok\"} 1\n"));
    cr_expect_not_null(strstr(text.data, "store_write_results_total{result=\"conflict\"} 1\n"));
    cr_expect_gt(value_of(text.data, "\nstore_disk_bytes "), 1e6);
    cr_expect_gt(value_of(text.data, "\nstore_disk_free_bytes "), 0);
    cr_expect_leq(value_of(text.data, "\nstore_disk_free_bytes "), value_of(text.data, "\nstore_disk_bytes "));
    cr_expect_eq(value_of(text.data, "\nstore_queue_requests_max "), 8192);
    buf_release(&text);
    store = store_close(store);
    metrics_free(with.metrics);
}

static void ignore_read(void *arg, int err, struct store_snapshot *snapshot)
{
    sem_post(arg);
}

static void write_on_behalf(const struct trace *trace, enum store_expect expect, int result)
{
    struct store_batch *batch = store_batch_new();

    store_batch_set_trace(batch, trace);
    store_batch_put(batch, 0, STR("a"), STR("1"), expect, 0);
    store_batch_put(batch, 1, STR("a"), STR("1"), STORE_ANY, 0);
    cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), result);
}

static void expect_span(const struct kept_span *span, const struct trace *trace, const char *attributes)
{
    cr_assert_arr_eq(span->trace.trace_id, trace->trace_id, 16);
    cr_assert_arr_eq(span->trace.parent_id, trace->span_id, 8);
    cr_assert_not_null(strstr(span->attributes, attributes), "%s", span->attributes);
    cr_assert_not(span->failed);
}

Test(store, writes_and_reads_on_behalf_of_a_trace_are_spans)
{
    struct store_options traced = options();
    struct span_fixture spans;
    struct trace trace, unsampled = {.trace_id = {1}, .span_id = {1}};
    char name[64], scheme[16];
    sem_t done;

    snprintf(scheme, sizeof(scheme), "%.*s", (int)strcspn(fixture.url, ":"), fixture.url);
    span_fixture_init(&spans);
    span_begin(&spans.sink, STR_NULL, &trace);
    traced.spans = &spans.sink;
    store_close(store);
    store = open_store(traced);
    write_on_behalf(&unsampled, STORE_ANY, 0);
    put_any(store, 0, STR("b"), STR("on behalf of nobody"));
    cr_assert_eq(spans.count, 0);
    write_on_behalf(&trace, STORE_ABSENT, -EEXIST);
    snprintf(name, sizeof(name), "write %s", scheme);
    expect_span(span_fixture_wait(&spans, name), &trace, "db.operation.name=write;db.operation.batch.size=2;");
    sem_init(&done, 0, 0);
    store_read_traced(store, &trace, WITHIN_NS(30), 0, ignore_read, &done);
    cr_assert_eq(sem_wait(&done), 0);
    snprintf(name, sizeof(name), "read %s", scheme);
    expect_span(span_fixture_wait(&spans, name), &trace, "db.operation.name=read;");
    cr_assert_eq(spans.count, 2);
}

Test(store, numbers_as_keys_sort_as_numbers)
{
    uint8_t small[8], large[8];

    store_put_u64(small, 255);
    store_put_u64(large, 1ULL << 40);
    cr_assert_lt(memcmp(small, large, 8), 0);
    cr_assert_eq(store_get_u64(small), 255);
    cr_assert_eq(store_get_u64(large), 1ULL << 40);
}
