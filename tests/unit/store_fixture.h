/* store_fixture -- what the tests of the store share: a place of its own for each test, and short forms of writing and
 * reading. $STORE_TEST_URL chooses the engine: "etcd://HOST:PORT,..." of an etcd that is running; each test has a
 * prefix of its own there. Without it the engine is lmdb. */
#pragma once
#include "clock.h"
#include "store.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WITHIN_NS(seconds) (clock_monotonic_ns() + (seconds)*CLOCK_NS_PER_S)

struct fixture {
    char folder[64], url[PATH_MAX];
};

static inline void fixture_init(struct fixture *fixture)
{
    const char *base = getenv("STORE_TEST_URL");

    strcpy(fixture->folder, "/tmp/slipway-store-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->folder));
    if (base != NULL)
        snprintf(fixture->url, sizeof(fixture->url), "%s%s?view=%s/view", base, strrchr(fixture->folder, '/'),
                 fixture->folder);
    else
        snprintf(fixture->url, sizeof(fixture->url), "lmdb://%s/data", fixture->folder);
}

static inline int fixture_remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static inline void fixture_release(struct fixture *fixture)
{
    nftw(fixture->folder, fixture_remove_file, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct store *open_store(struct store_options options)
{
    struct store *store;
    char error[256] = "";
    int err = store_open(&options, &store, error, sizeof(error));

    cr_assert_eq(err, 0, "%s", error);
    return store;
}

/* ---- writing ---- */

static inline int put(struct store *store, unsigned table, struct str key, struct str value, enum store_expect expect,
                      uint64_t seq, struct store_result *ret_result)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, table, key, value, expect, seq);
    return store_write_wait(store, batch, WITHIN_NS(30), ret_result);
}

static inline uint64_t put_any(struct store *store, unsigned table, struct str key, struct str value)
{
    struct store_result result;

    cr_assert_eq(put(store, table, key, value, STORE_ANY, 0, &result), 0, "%s", strerror(-result.err));
    return result.seq;
}

static inline int delete_any(struct store *store, unsigned table, struct str key)
{
    struct store_batch *batch = store_batch_new();

    store_batch_delete(batch, table, key, STORE_ANY, 0);
    return store_write_wait(store, batch, WITHIN_NS(30), NULL);
}

/* ---- reading: copies, for the asserts ---- */

struct read_copy {
    unsigned table;
    struct str key;
    int err;
    uint64_t seq;
    struct buf value;
};

static inline void read_one(void *arg, int err, struct store_snapshot *snapshot)
{
    struct read_copy *copy = arg;
    struct store_record record;

    copy->err = err < 0 ? err : store_get(snapshot, copy->table, copy->key, &record);
    if (copy->err == 0) {
        copy->seq = record.seq;
        buf_append_str(&copy->value, record.value);
    }
}

/* 0 and the value, or what store_get says. value may be NULL. */
static inline int get(struct store *store, unsigned table, struct str key, struct buf *value, uint64_t *ret_seq)
{
    struct read_copy copy = {.table = table, .key = key};

    store_read_wait(store, WITHIN_NS(30), 0, read_one, &copy);
    if (copy.err == 0 && ret_seq != NULL)
        *ret_seq = copy.seq;
    if (value != NULL) {
        buf_release(value);
        *value = copy.value;
    } else {
        buf_release(&copy.value);
    }
    return copy.err;
}

static inline bool has(struct store *store, unsigned table, struct str key, struct str value)
{
    struct buf there = {0};
    bool same = get(store, table, key, &there, NULL) == 0 && str_eq(buf_str(&there), value);

    buf_release(&there);
    return same;
}

/* A table's records, or its index entries, as "key=value key=value"; on the heap. */
struct listing {
    unsigned table;
    bool index;
    struct buf text;
};

static inline void read_all(void *arg, int err, struct store_snapshot *snapshot)
{
    struct listing *listing = arg;
    struct store_cursor cursor;
    struct store_record record;

    cr_assert_eq(err, 0);
    cr_assert_eq(store_cursor_open(snapshot, listing->table, listing->index, &cursor), 0);
    for (err = store_cursor_next(&cursor, &record); err == 0; err = store_cursor_next(&cursor, &record))
        buf_printf(&listing->text, "%s%.*s=%.*s", listing->text.len > 0 ? " " : "", STR_ARG(record.key),
                   STR_ARG(record.value));
    cr_assert_eq(err, -ENOENT);
    store_cursor_close(&cursor);
    buf_append_char(&listing->text, '\0');
}

#define EXPECT_ALL(store, table_, index_, expected)                                                                    \
    do {                                                                                                               \
        struct listing listing_ = {.table = (table_), .index = (index_)};                                              \
        store_read_wait(store, WITHIN_NS(30), 0, read_all, &listing_);                                                 \
        cr_expect_str_eq(listing_.text.data, expected);                                                                \
        buf_release(&listing_.text);                                                                                   \
    } while (0)

static inline void read_count(void *arg, int err, struct store_snapshot *snapshot)
{
    uint64_t *count = arg;

    cr_assert_eq(err, 0);
    *count = store_count(snapshot, 0);
}

static inline uint64_t count_records(struct store *store)
{
    uint64_t count;

    store_read_wait(store, WITHIN_NS(30), 0, read_count, &count);
    return count;
}
