#include "../../src/feature-store/retention.h"
#include "random.h"
#include "saves_fixture.h"
#include "zorder.h"
#include <unistd.h>

#define MAX_SAVES 3000

/* A save as the test knows it: they are in the order of commits. */
struct known {
    struct geo_point point;
    uint64_t seq;
    bool dropped;
};

struct history {
    struct fixture files;
    struct store *store;
    struct metrics *metrics;
    struct retention *retention;
    size_t count;
    struct known saves[MAX_SAVES];
};

static void open_history(struct history *h)
{
    memset(h, 0, sizeof(*h));
    h->store = open_saves(&h->files);
    h->metrics = metrics_new();
}

static void close_history(struct history *h)
{
    h->retention = retention_free(h->retention);
    h->store = store_close(h->store);
    h->metrics = metrics_free(h->metrics);
    fixture_release(&h->files);
}

static void save_random(struct history *h, size_t count, int points, uint64_t seed)
{
    while (count > 0) {
        struct store_batch *batch = store_batch_new();
        size_t first = h->count;
        uint64_t seq;

        for (; count > 0 && h->count < first + STORE_MAX_BATCH; count--) {
            struct geo_point point = {random_between(&seed, 1, points), 0};

            add_save(batch, point, "x");
            h->saves[h->count++].point = point;
        }
        seq = commit_saves(h->store, batch);
        for (size_t i = first; i < h->count; i++)
            h->saves[i].seq = seq++;
    }
}

static uint64_t dropped(struct history *h)
{
    static const struct metrics_def def = {.name = "feature_store_dropped_saves_total", .type = METRICS_COUNTER};

    return metrics_counter_value(metrics_single(h->metrics, &def));
}

static void wait_for_drops(struct history *h, uint64_t count)
{
    uint64_t deadline_ns = WITHIN_NS(60);

    while (dropped(h) < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "only %llu of %llu", (unsigned long long)dropped(h),
                     (unsigned long long)count);
        usleep(1000);
    }
}

/* ---- what is there ---- */

static void check_saves(void *arg, int err, struct store_snapshot *snapshot)
{
    struct history *h = arg;
    struct store_cursor index;
    struct save_ref ref = {0};

    cr_assert_eq(err, 0);
    cr_assert_eq(saves_cursor_open(snapshot, &index), 0);
    for (size_t i = 0; i < h->count; i++) {
        if (h->saves[i].dropped)
            continue;
        cr_assert_eq(saves_ref_after(&index, ref.seq, &ref), 0);
        cr_assert_eq(ref.seq, h->saves[i].seq);
    }
    cr_assert_eq(saves_ref_after(&index, ref.seq, &ref), -ENOENT);
    store_cursor_close(&index);
}

/* Marks what must go: of each point what is not among the newest per_point, then the oldest that is not its point's
 * newest, while more than total are left. Returns how many. */
static size_t mark(struct history *h, uint64_t per_point, uint64_t total)
{
    size_t left = h->count, newer;
    bool newest[MAX_SAVES];

    for (size_t i = 0; i < h->count; i++) {
        newer = 0;
        for (size_t j = i + 1; j < h->count; j++)
            newer += geo_point_eq(h->saves[i].point, h->saves[j].point);
        newest[i] = newer == 0;
        h->saves[i].dropped = newer >= per_point;
        left -= h->saves[i].dropped;
    }
    for (size_t i = 0; i < h->count && left > total; i++)
        if (!h->saves[i].dropped && !newest[i]) {
            h->saves[i].dropped = true;
            left--;
        }
    return h->count - left;
}

static void check_bounds(uint64_t per_point, uint64_t total, size_t count, int points)
{
    static struct history h;
    size_t expected;

    open_history(&h);
    save_random(&h, count, points, per_point + total);
    expected = mark(&h, per_point, total);
    cr_assert_eq(retention_open(h.store, per_point, total, h.metrics, &h.retention), 0);
    wait_for_drops(&h, expected);
    h.retention = retention_free(h.retention);
    cr_assert_eq(dropped(&h), expected);
    store_read_wait(h.store, WITHIN_NS(30), 0, check_saves, &h);
    close_history(&h);
}

Test(retention, drops_nothing_within_the_bounds)
{
    check_bounds(100, 1000, 1000, 30);
}

Test(retention, bounds_each_point)
{
    check_bounds(3, 1000000, 2000, 50);
    check_bounds(1, 1000000, 1000, 1);
    check_bounds(100, 1000000, 1000, 1);
}

Test(retention, bounds_all_saves)
{
    check_bounds(1000, 500, 1500, 50);
    check_bounds(1000, 1, 1500, 300);
    check_bounds(1000, 700, 1500, 1000);
}

Test(retention, bounds_both)
{
    check_bounds(5, 300, 2000, 100);
    check_bounds(2, 150, 2000, 100);
}

static void damage(const struct history *h, const char *text)
{
    char path[sizeof(h->files.folder) + 16], *data, *found;
    size_t len;
    FILE *file;

    snprintf(path, sizeof(path), "%s/data/data.mdb", h->files.folder);
    file = fopen(path, "r+");
    cr_assert_not_null(file);
    fseek(file, 0, SEEK_END);
    len = (size_t)ftell(file);
    data = malloc(len);
    rewind(file);
    cr_assert_eq(fread(data, 1, len, file), len);
    found = memmem(data, len, text, strlen(text));
    cr_assert_not_null(found);
    while (found) { /* freed pages may hold it too */
        fseek(file, found - data, SEEK_SET);
        fputc('X', file);
        found = memmem(found + 1, len - (size_t)(found + 1 - data), text, strlen(text));
    }
    fclose(file);
    free(data);
}

Test(retention, steps_over_damage)
{
    static const struct geo_point here = {1, 1};
    static struct history h;

    unsetenv("STORE_TEST_URL"); /* the damage is done to LMDB's file */
    open_history(&h);
    save_one(h.store, here, "old");
    save_one(h.store, here, "damaged");
    save_one(h.store, here, "newer");
    save_one(h.store, here, "newest");
    h.store = store_close(h.store);
    damage(&h, "damaged");
    h.store = reopen_saves(&h.files);
    cr_assert_eq(retention_open(h.store, 1, 1, h.metrics, &h.retention), 0);
    wait_for_drops(&h, 2);
    save_one(h.store, here, "last");
    retention_wake(h.retention);
    wait_for_drops(&h, 3);
    close_history(&h);
}

/* While saves go on: what is dropped depends on when, but not how much is left. */
static void check_left(void *arg, int err, struct store_snapshot *snapshot)
{
    struct history *h = arg;
    struct store_cursor index;

    cr_assert_eq(err, 0);
    cr_assert_eq(saves_cursor_open(snapshot, &index), 0);
    for (size_t i = 0; i < h->count; i++) {
        struct save_ref ref;
        uint64_t newest = 0;

        for (size_t j = i; j < h->count; j++)
            if (geo_point_eq(h->saves[i].point, h->saves[j].point))
                newest = h->saves[j].seq;
        cr_assert_eq(saves_ref_newest(&index, zorder_of(h->saves[i].point), UINT64_MAX, &ref), 0);
        cr_assert_eq(ref.seq, newest, "the newest at a point is there");
    }
    cr_assert_eq(store_count(snapshot, TABLE_SAVES), 200);
    store_cursor_close(&index);
}

Test(retention, follows_saves)
{
    static struct history h;

    open_history(&h);
    cr_assert_eq(retention_open(h.store, 10, 200, h.metrics, &h.retention), 0);
    for (int i = 0; i < 30; i++) {
        save_random(&h, 100, 150, (uint64_t)i);
        retention_wake(h.retention);
    }
    wait_for_drops(&h, 2800);
    store_read_wait(h.store, WITHIN_NS(30), 0, check_left, &h);
    close_history(&h);
}
