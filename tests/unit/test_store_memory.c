/* The Nth allocation fails, for every N: an error comes back, nothing leaks or is half done, and it works again after.
 */
#include "failing_malloc.h"
#include "store_fixture.h"

#ifdef SANITIZED
Test(memory, is_tested_without_sanitizers)
{
    cr_skip("allocators are a sanitizer's own");
}
#else

static void index_value(struct store_index *index, const struct store_record *record)
{
    store_index_add(index, record->key, STR_NULL);
}

static const struct store_table tables[] = {{"things", index_value, 1}};
static struct fixture fixture;
static struct store_options options;

static void init(void)
{
    unsetenv("STORE_TEST_URL");
    fixture_init(&fixture);
    options = (struct store_options){.url = fixture.url, .tables = tables, .table_count = 1};
}

static void fini(void)
{
    fixture_release(&fixture);
}

TestSuite(memory, .init = init, .fini = fini, .timeout = 60);

Test(memory, opening_fails_whole_or_not_at_all)
{
    struct store *store;
    char error[256];

    for (long n = 1;; n++) {
        long before = failed;
        int err;

        fail_in = n;
        err = store_open(&options, &store, error, sizeof(error));
        fail_in = 0;
        if (err == 0)
            store = store_close(store);
        else
            cr_assert(err == -ENOMEM || err == -EIO || err == -EAGAIN, "%ld: %s", n, error);
        store = open_store(options); /* no lock and no half-made database stay behind */
        store_close(store);
        if (failed == before)
            break;
        cr_assert_lt(n, 10000);
    }
    cr_assert_gt(failed, 5);
}

/* A batch of three, one of which needs much memory. */
static int write_three(struct store *store, const char *key)
{
    static char value[100000];
    struct store_batch *batch = store_batch_new();
    char name[32];

    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s/%d", key, i);
        store_batch_put(batch, 0, str_of(name), (struct str){value, i == 1 ? sizeof(value) : 10}, STORE_ABSENT, 0);
    }
    return store_write_wait(store, batch, WITHIN_NS(30), NULL);
}

Test(memory, a_batch_is_written_whole_or_not_at_all)
{
    struct store *store = open_store(options);
    uint64_t written = 0;
    char key[16];

    for (long n = 1;; n++) {
        long before = failed;
        int err;

        snprintf(key, sizeof(key), "%ld", n);
        fail_in = n;
        err = write_three(store, key);
        fail_in = 0;
        cr_assert(err == 0 || err == -ENOMEM || err == -EIO, "%ld: %s", n, strerror(-err));
        written += err == 0 ? 3 : 0;
        cr_assert_eq(count_records(store), written);
        cr_assert_eq(store_health(store), 0);
        if (failed == before)
            break;
        cr_assert_lt(n, 10000);
    }
    cr_assert_gt(failed, 2);
    store_close(store);
}
#endif
