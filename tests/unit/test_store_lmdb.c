/* What is particular to the lmdb engine: group commit, its limits, a full store, a full disk, failing disks, damaged
 * and foreign data, crashes.
 *
 * The system calls that LMDB and the store write with go through this program's own, which let a test hold a sync, see
 * who is in it, and make calls fail. */
#include "failing_meta.h"

#include "store_fixture.h"
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- the disk ---- */

static struct {
    atomic_bool hold_sync, no_fallocate;
    atomic_int sync_error, syncs;
    sem_t in_sync, go_on;
} disk;

int fdatasync(int fd)
{
    disk.syncs++;
    if (disk.hold_sync) {
        sem_post(&disk.in_sync);
        while (sem_wait(&disk.go_on) != 0)
            continue;
    }
    if (disk.sync_error != 0) {
        errno = disk.sync_error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (disk.no_fallocate) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* ---- the store ---- */

static void index_value(struct store_index *index, const struct store_record *record)
{
    struct str key = record->value;

    if (key.len > 64)
        key.len = 64;
    if (key.len > 0)
        store_index_add(index, key, STR_NULL);
}

static const struct store_table tables[] = {{"things", index_value, 1}, {"others", NULL, 0}};
static struct fixture fixture;
static struct store *store;
static struct store_options options;

static void init(void)
{
    unsetenv("STORE_TEST_URL");
    fixture_init(&fixture);
    sem_init(&disk.in_sync, 0, 0);
    sem_init(&disk.go_on, 0, 0);
    options = (struct store_options){.url = fixture.url, .tables = tables, .table_count = 2};
}

static void fini(void)
{
    store = store_close(store);
    fixture_release(&fixture);
}

TestSuite(lmdb, .init = init, .fini = fini, .timeout = 100);

static const char *path(const char *name)
{
    static char text[PATH_MAX];

    snprintf(text, sizeof(text), "%s/data/%s", fixture.folder, name);
    return text;
}

static int open_error(char error[256])
{
    struct store *other = NULL;
    int err = store_open(&options, &other, error, 256);

    cr_assert_lt(err, 0);
    return err;
}

#define EXPECT_OPEN_ERROR(expected, text)                                                                              \
    do {                                                                                                               \
        char error_[256] = "";                                                                                         \
        cr_expect_eq(open_error(error_), expected);                                                                    \
        cr_expect_not_null(strstr(error_, text), "%s", error_);                                                        \
    } while (0)

/* ---- group commit ---- */

struct answers {
    atomic_uint done, timed_out, refused, full, failed;
    sem_t each;
};

static void note(void *arg, const struct store_result *result)
{
    struct answers *answers = arg;

    answers->done += result->err == 0;
    answers->timed_out += result->err == -ETIMEDOUT;
    answers->refused += result->err == -ENOBUFS;
    answers->full += result->err == -ENOSPC;
    answers->failed += result->err == -EIO;
    sem_post(&answers->each);
}

static void write_key(const char *key, struct str value, uint64_t deadline_ns, struct answers *answers)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, 1, str_of(key), value, STORE_ANY, 0);
    store_write(store, batch, deadline_ns, note, answers);
}

/* Has the writer wait in the sync of a first request. */
static void hold(struct answers *answers)
{
    disk.hold_sync = true;
    write_key("first", STR("1"), WITHIN_NS(60), answers);
    await(&disk.in_sync);
}

static void let_go(struct answers *answers, unsigned count)
{
    disk.hold_sync = false;
    sem_post(&disk.go_on);
    for (unsigned i = 0; i < count; i++)
        await(&answers->each);
}

Test(lmdb, what_waits_during_a_sync_shares_the_next)
{
    struct answers answers = {0};
    char key[16];
    int before;

    store = open_store(options);
    hold(&answers);
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "%d", i);
        write_key(key, STR("v"), WITHIN_NS(60), &answers);
    }
    cr_assert_eq(answers.done, 0, "nothing is acknowledged before it is synced");
    before = disk.syncs;
    let_go(&answers, 501);
    cr_assert_eq(answers.done, 501);
    cr_assert_eq(disk.syncs, before + 1);
}

Test(lmdb, requests_in_one_commit_see_each_other)
{
    struct answers answers = {0};

    store = open_store(options);
    hold(&answers);
    for (int i = 0; i < 3; i++) { /* create; create again, which fails; delete what was created */
        struct store_batch *batch = store_batch_new();

        if (i < 2)
            store_batch_put(batch, 1, STR("k"), STR("v"), STORE_ABSENT, 0);
        else
            store_batch_delete(batch, 1, STR("k"), STORE_PRESENT, 0);
        store_write(store, batch, WITHIN_NS(60), note, &answers);
    }
    let_go(&answers, 4);
    cr_assert_eq(answers.done, 3);
    cr_assert_eq(get(store, 1, STR("k"), NULL, NULL), -ENOENT);
}

Test(lmdb, a_full_queue_refuses_at_once)
{
    static char big[STORE_MAX_VALUE];
    struct answers answers = {0};
    struct str value = {big, sizeof(big)};
    char key[16];

    options.max_queue = 10;
    store = open_store(options);
    hold(&answers);
    for (int i = 0; i < 13; i++) {
        snprintf(key, sizeof(key), "%d", i);
        write_key(key, STR("v"), WITHIN_NS(60), &answers);
    }
    cr_assert_eq(answers.refused, 3);
    let_go(&answers, 14);
    cr_assert_eq(answers.done, 11);
    store_close(store);

    options.max_queue = 0;
    options.max_queue_bytes = 4 * (sizeof(big) + 4096);
    store = open_store(options);
    answers = (struct answers){0};
    hold(&answers);
    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "%d", i);
        write_key(key, value, WITHIN_NS(60), &answers);
    }
    cr_assert_eq(answers.refused, 2);
    let_go(&answers, 7);
    cr_assert_eq(answers.done, 5);
}

Test(lmdb, a_request_that_waits_beyond_its_deadline_is_never_written)
{
    struct answers answers = {0};

    store = open_store(options);
    hold(&answers);
    write_key("late", STR("v"), clock_monotonic_ns(), &answers);
    write_key("in time", STR("v"), WITHIN_NS(60), &answers);
    let_go(&answers, 3);
    cr_assert_eq(answers.timed_out, 1);
    cr_assert_eq(answers.done, 2);
    cr_assert_eq(get(store, 1, STR("late"), NULL, NULL), -ENOENT);
    cr_assert(has(store, 1, STR("in time"), STR("v")));
}

/* ---- reading ---- */

/* Reading blocks here, which the interface forbids and this engine bears: the writer has to come in between. */
static void write_in_between(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_record record;
    uint64_t seq = store_last_seq(snapshot);

    cr_assert_eq(err, 0);
    put_any(store, 1, STR("k"), STR("new"));
    cr_assert_eq(store_get(snapshot, 1, STR("k"), &record), 0);
    cr_assert(str_eq(record.value, STR("old")));
    cr_assert_eq(record.seq, seq);
    cr_assert(has(store, 1, STR("k"), STR("new")));
}

Test(lmdb, a_snapshot_does_not_change)
{
    store = open_store(options);
    put_any(store, 1, STR("k"), STR("old"));
    store_read(store, WITHIN_NS(60), 0, write_in_between, NULL);
    cr_assert(has(store, 1, STR("k"), STR("new")));
}

static void read_deeper(void *arg, int err, struct store_snapshot *snapshot)
{
    unsigned *depth = arg;

    if (err == 0) {
        ++*depth;
        store_read(store, WITHIN_NS(60), 0, read_deeper, depth);
    } else {
        cr_expect_eq(err, -EAGAIN);
        cr_expect_null(snapshot);
    }
}

Test(lmdb, snapshots_are_bounded_and_used_again)
{
    unsigned depth = 0;

    store = open_store(options);
    for (unsigned i = 1; i <= 3; i++) {
        store_read(store, WITHIN_NS(60), 0, read_deeper, &depth);
        cr_assert_eq(depth, i * 256);
    }
}

/* ---- readers of other processes ---- */

#if defined(__SANITIZE_THREAD__)
#define THREADS_AFTER_FORK false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_AFTER_FORK false
#endif
#endif
#ifndef THREADS_AFTER_FORK
#define THREADS_AFTER_FORK true
#endif

static void hold_snapshot(void *arg, int err, struct store_snapshot *snapshot)
{
    char byte = err == 0 ? 1 : 0;

    if (write(*(int *)arg, &byte, 1) == 1)
        for (;;)
            pause();
}

/* A backup tool that hangs while it reads. */
static pid_t start_reader(const char *url)
{
    struct store *inspected;
    char error[256], byte = 0;
    int ready[2];
    pid_t pid;

    cr_assert_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (store_open(&(struct store_options){.url = url, .mode = STORE_INSPECT}, &inspected, error, sizeof(error)) ==
            0)
            store_read(inspected, WITHIN_NS(60), 0, hold_snapshot, &ready[1]);
        _exit(1);
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 1);
    close(ready[0]);
    return pid;
}

static double oldest_reader_seconds(struct metrics *metrics)
{
    struct buf text = {0};
    const char *line;
    double seconds;

    metrics_write(metrics, &text);
    buf_append_char(&text, '\0');
    line = strstr(text.data, "\nstore_oldest_reader_seconds ");
    cr_assert_not_null(line);
    seconds = atof(line + strlen("\nstore_oldest_reader_seconds "));
    buf_release(&text);
    return seconds;
}

/* What it sees is not used again: rewriting one record fills the store. It is told, and there is room at once when the
 * reader has died. */
Test(lmdb, a_reader_that_hangs_is_told_and_costs_nothing_once_it_has_died)
{
    static char value[STORE_MAX_VALUE];
    struct metrics *metrics = metrics_new();
    struct str large = {value, sizeof(value)};
    int err = 0;
    pid_t pid;

    if (!THREADS_AFTER_FORK)
        cr_skip("ThreadSanitizer has no threads after fork");
    options.max_bytes = 1 << 20;
    store = open_store(options);
    put_any(store, 0, STR("k"), large);
    store = store_close(store);
    pid = start_reader(options.url);
    options.metrics = metrics;
    store = open_store(options);
    while (err == 0)
        err = put(store, 0, STR("k"), large, STORE_ANY, 0, NULL);
    cr_assert_eq(err, -ENOSPC, "%s", strerror(-err));
    while (oldest_reader_seconds(metrics) == 0)
        usleep(10000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_assert_eq(put(store, 0, STR("k"), large, STORE_ANY, 0, NULL), 0);
    store = store_close(store);
    metrics_free(metrics);
}

/* ---- no room ---- */

/* Values of many sizes, so that free pages do not lie together. */
static struct str value_of(unsigned i)
{
    static char bytes[STORE_MAX_VALUE];
    size_t len = 10 + (size_t)i * 7919 % 60000;

    memset(bytes, 'a' + (int)(i % 26), sizeof(bytes));
    snprintf(bytes, 10, "%09u", i % 1000000000); /* the index entry's key */
    return (struct str){bytes, len};
}

static struct str number_key(unsigned i)
{
    static char key[16];

    snprintf(key, sizeof(key), "%u", i);
    return str_of(key);
}

/* Puts from i on until the store is full, and returns the first that did not fit. */
static unsigned fill(unsigned i)
{
    int err;

    while ((err = put(store, 0, number_key(i), value_of(i), STORE_ABSENT, 0, NULL)) == 0)
        i++;
    cr_assert_eq(err, -ENOSPC, "%s", strerror(-err));
    return i;
}

/* Full, what was acknowledged is there; every second record deleted, there is room again; and so on. */
static void fill_and_empty(unsigned at_least)
{
    unsigned from = 0;

    for (int round = 0; round < 4; round++) {
        unsigned to = fill(from);

        cr_assert_geq(to, from + at_least);
        cr_assert_eq(store_health(store), 0);
        for (unsigned i = from; i < to; i++)
            cr_assert(has(store, 0, number_key(i), value_of(i)));
        for (unsigned i = from; i < to; i += 2)
            cr_assert_eq(delete_any(store, 0, number_key(i)), 0, "deleting works when full");
        store_close(store);
        store = open_store(options);
        for (unsigned i = from; i < to; i++)
            cr_assert_eq(get(store, 0, number_key(i), NULL, NULL), (i - from) % 2 == 0 ? -ENOENT : 0);
        for (unsigned i = from + 1; i < to; i += 2)
            cr_assert_eq(delete_any(store, 0, number_key(i)), 0);
        cr_assert_eq(count_records(store), 0);
        from = to;
    }
}

Test(lmdb, a_full_store_refuses_puts_and_recovers_by_deletes)
{
    struct stat file;

    options.max_bytes = 2 << 20;
    store = open_store(options);
    fill_and_empty(50);
    stat(path("data.mdb"), &file);
    cr_assert_lt(file.st_size, 8 << 20);
}

Test(lmdb, only_what_does_not_fit_is_refused)
{
    static char big[STORE_MAX_VALUE];
    struct answers answers = {0};

    options.max_bytes = 1 << 20;
    store = open_store(options);
    for (int i = 0; i < 2; i++)
        put_any(store, 1, number_key((unsigned)i), (struct str){big, sizeof(big)});
    hold(&answers);
    write_key("big 1", (struct str){big, sizeof(big)}, WITHIN_NS(60), &answers);
    write_key("big 2", (struct str){big, sizeof(big)}, WITHIN_NS(60), &answers);
    write_key("small", STR("v"), WITHIN_NS(60), &answers);
    let_go(&answers, 4);
    cr_assert_eq(answers.full, 1);
    cr_assert(has(store, 1, STR("small"), STR("v")));
}

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY);

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* A file system of its own for the data, which no other process sees. */
static bool mount_small(const char *size)
{
    char folder[128], map[32], how[64];
    unsigned uid = getuid();

    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return false;
        snprintf(map, sizeof(map), "0 %u 1", uid);
        write_file("/proc/self/uid_map", map);
    }
    snprintf(folder, sizeof(folder), "%s/data", fixture.folder);
    snprintf(how, sizeof(how), "size=%s,mode=0700", size);
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mkdir(folder, 0700) == 0 &&
           mount("tmpfs", folder, "tmpfs", 0, how) == 0;
}

static void fill_disk(void)
{
    if (!mount_small("8m"))
        cr_skip("no file system of its own can be mounted here");
    store = open_store(options);
    fill_and_empty(100);
    store = store_close(store);
    umount2(path("."), MNT_DETACH);
}

Test(lmdb, a_full_disk_refuses_puts_and_recovers_by_deletes)
{
    fill_disk();
}

Test(lmdb, a_full_disk_is_survived_where_blocks_cannot_be_reserved)
{
    struct answers answers = {0};

    disk.no_fallocate = true;
    if (!mount_small("8m"))
        cr_skip("no file system of its own can be mounted here");
    store = open_store(options);
    fill(0);
    cr_assert_eq(store_health(store), 0);
    put_any(store, 1, STR("small"), STR("fits into free pages"));
    hold(&answers);
    for (unsigned i = 0; i < 100; i++)
        write_key(number_key(i).s, value_of(i), WITHIN_NS(60), &answers);
    let_go(&answers, 101);
    cr_assert_gt(answers.full, 0);
    cr_assert_eq(answers.failed, 0);
    cr_assert_eq(answers.full + answers.done, 101);
    cr_assert(has(store, 0, number_key(0), value_of(0)));
    store = store_close(store);
    umount2(path("."), MNT_DETACH);
}

/* ---- a failing disk ---- */

Test(lmdb, a_failed_sync_acknowledges_nothing)
{
    store = open_store(options);
    put_any(store, 1, STR("a"), STR("1"));
    disk.sync_error = EIO;
    cr_assert_eq(put(store, 1, STR("a"), STR("2"), STORE_ANY, 0, NULL), -EIO);
    cr_assert(has(store, 1, STR("a"), STR("1")));
    disk.sync_error = 0;
    cr_assert_eq(store_health(store), 0);
    put_any(store, 1, STR("b"), STR("1"));
    store_close(store);
    store = open_store(options);
    cr_assert(has(store, 1, STR("a"), STR("1")));
    cr_assert(has(store, 1, STR("b"), STR("1")));
}

Test(lmdb, a_failed_meta_page_is_the_end_until_a_restart)
{
    store = open_store(options);
    put_any(store, 1, STR("a"), STR("1"));
    failing_meta = true;
    cr_assert_eq(put(store, 1, STR("a"), STR("2"), STORE_ANY, 0, NULL), -EIO);
    cr_assert_eq(store_health(store), -EIO);
    failing_meta = false;
    cr_assert_eq(put(store, 1, STR("b"), STR("1"), STORE_ANY, 0, NULL), -EIO);
    store_close(store);
    store = open_store(options);
    cr_assert_eq(store_health(store), 0);
    cr_assert(has(store, 1, STR("a"), STR("1")));
    put_any(store, 1, STR("b"), STR("1"));
}

/* ---- opening ---- */

Test(lmdb, a_second_process_is_refused)
{
    char holder[64];
    int status;
    pid_t pid;

    store = open_store(options);
    snprintf(holder, sizeof(holder), "is in use by process %d", (int)getpid());
    EXPECT_OPEN_ERROR(-EBUSY, holder);
    pid = fork();
    if (pid == 0) {
        struct store *other;
        char error[256];

        _exit(store_open(&options, &other, error, sizeof(error)) == -EBUSY && strstr(error, holder) ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    store = store_close(store);
    store = open_store(options);
}

Test(lmdb, says_what_is_wrong_with_the_folder)
{
    char name[128];

    snprintf(fixture.url, sizeof(fixture.url), "lmdb://%s/missing/data", fixture.folder);
    EXPECT_OPEN_ERROR(-ENOENT, strerror(ENOENT));
    snprintf(fixture.url, sizeof(fixture.url), "lmdb:///proc/version/data");
    EXPECT_OPEN_ERROR(-ENOTDIR, "/proc/version/data");
    snprintf(fixture.url, sizeof(fixture.url), "lmdb://%s", fixture.folder);
    snprintf(name, sizeof(name), "data directory %s: cannot open lock: %s", fixture.folder, strerror(EACCES));
    cr_assert_eq(chmod(fixture.folder, 0500), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    EXPECT_OPEN_ERROR(-EACCES, getuid() == 0 ? strerror(EACCES) : name);
    cr_assert_eq(seteuid(getuid()), 0);
}

static void make_folder(void)
{
    char name[PATH_MAX];

    snprintf(name, sizeof(name), "%s/data", fixture.folder);
    cr_assert_eq(mkdir(name, 0700), 0);
}

Test(lmdb, refuses_a_file_that_is_no_database)
{
    FILE *file;

    make_folder();
    file = fopen(path("data.mdb"), "w");
    for (int i = 0; i < 4096; i++)
        fputs("no database ", file);
    fclose(file);
    EXPECT_OPEN_ERROR(-EPROTO, "is not an LMDB database");
}

static void change_database(void (*change)(MDB_txn *txn))
{
    MDB_env *env;
    MDB_txn *txn;

    cr_assert_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 10);
    cr_assert_eq(mdb_env_open(env, path("."), 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    change(txn);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void put_raw(MDB_txn *txn, const char *database, const char *name, const void *data, size_t len)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value = {len, (void *)(uintptr_t)data};
    MDB_dbi dbi;

    cr_assert_eq(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), 0);
    cr_assert_eq(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void write_foreign(MDB_txn *txn)
{
    put_raw(txn, "addresses", "ann", "1", 1);
}

static void write_plain(MDB_txn *txn)
{
    put_raw(txn, NULL, "meta", "1", 1);
}

static void write_format_2(MDB_txn *txn)
{
    put_raw(txn, "meta", "format", "slipway\0\0\0\0\0\0\0\0\2", 16);
}

Test(lmdb, refuses_the_database_of_another_program)
{
    make_folder();
    change_database(write_foreign);
    EXPECT_OPEN_ERROR(-EPROTO, "another program");
}

Test(lmdb, refuses_a_database_without_our_meta_data)
{
    make_folder();
    change_database(write_plain);
    EXPECT_OPEN_ERROR(-EPROTO, "another program");
}

Test(lmdb, refuses_a_later_format)
{
    store = open_store(options);
    store = store_close(store);
    change_database(write_format_2);
    EXPECT_OPEN_ERROR(-EPROTO, "has format 2; this version reads format 1");
}

Test(lmdb, refuses_a_file_that_is_cut_off)
{
    store = open_store(options);
    for (unsigned i = 0; i < 50; i++)
        put_any(store, 1, number_key(i), value_of(i));
    store = store_close(store);
    cr_assert_eq(truncate(path("data.mdb"), 128 << 10), 0);
    EXPECT_OPEN_ERROR(-EPROTO, "cut off");
}

/* ---- damage ---- */

/* Flips a bit of the file where text is. */
static void damage(const char *text)
{
    int fd = open(path("data.mdb"), O_RDWR);
    struct stat file;
    char *bytes, *at;

    cr_assert_eq(fstat(fd, &file), 0);
    bytes = malloc((size_t)file.st_size);
    cr_assert_eq(pread(fd, bytes, (size_t)file.st_size, 0), file.st_size);
    for (int found = 0;; found++) {
        at = memmem(bytes, (size_t)file.st_size, text, strlen(text));
        if (at == NULL) {
            cr_assert_gt(found, 0);
            break;
        }
        *at ^= 1;
        cr_assert_eq(pwrite(fd, at, 1, at - bytes), 1);
    }
    free(bytes);
    close(fd);
}

static void step_over_damage(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_cursor cursor;
    struct store_record record;

    cr_assert_eq(store_cursor_open(snapshot, 1, false, &cursor), 0);
    cr_expect_eq(store_cursor_next(&cursor, &record), 0);
    cr_expect_eq(store_cursor_next(&cursor, &record), -EBADMSG);
    cr_expect_eq(store_cursor_next(&cursor, &record), 0);
    cr_expect(str_eq(record.key, STR("c")));
    cr_expect_eq(store_cursor_next(&cursor, &record), -ENOENT);
    store_cursor_close(&cursor);
}

Test(lmdb, damage_is_found)
{
    store = open_store(options);
    put_any(store, 1, STR("a"), STR("first"));
    put_any(store, 1, STR("b"), STR("damaged-one"));
    put_any(store, 1, STR("c"), STR("third"));
    store = store_close(store);
    damage("damaged-one");
    store = open_store(options);
    cr_expect_eq(get(store, 1, STR("b"), NULL, NULL), -EBADMSG);
    cr_expect_eq(put(store, 1, STR("b"), STR("new"), STORE_ANY, 0, NULL), -EBADMSG);
    cr_expect(has(store, 1, STR("a"), STR("first")));
    store_read(store, WITHIN_NS(30), 0, step_over_damage, NULL);
}

Test(lmdb, an_index_is_built_over_damage)
{
    static const struct store_table again[] = {{"things", index_value, 2}, {"others", NULL, 0}};

    store = open_store(options);
    put_any(store, 0, STR("a"), STR("damaged-one"));
    put_any(store, 0, STR("b"), STR("second"));
    store = store_close(store);
    damage("damaged-one");
    options.tables = again;
    store = open_store(options);
    EXPECT_ALL(store, 0, true, "second=");
}

/* ---- crashes ---- */

enum { WRITERS = 8, KILLS = 20, PARTS = 3 };

struct writer {
    int pipe;
    uint32_t number; /* of the thread, in the upper 8 bits: unique values */
};

static void put_parts(struct store_batch *batch, uint32_t value)
{
    char key[16], text[16];

    snprintf(text, sizeof(text), "%u", value);
    for (unsigned part = 0; part < PARTS; part++) {
        snprintf(key, sizeof(key), "%u/%u", value, part);
        store_batch_put(batch, 0, str_of(key), str_of(text), STORE_ABSENT, 0);
    }
}

static void *write_for_ever(void *arg)
{
    struct writer *writer = arg;

    for (uint32_t value = writer->number;; value++) {
        struct store_batch *batch = store_batch_new();

        put_parts(batch, value);
        if (store_write_wait(store, batch, WITHIN_NS(30), NULL) < 0 ||
            write(writer->pipe, &value, sizeof(value)) != sizeof(value))
            abort();
    }
    return NULL;
}

static void run_writers(int pipe, uint32_t round)
{
    struct writer writers[WRITERS];
    pthread_t thread;

    store = open_store(options);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){pipe, (round * WRITERS + i) << 20};
        pthread_create(&thread, NULL, write_for_ever, &writers[i]);
    }
    pthread_join(thread, NULL);
}

struct moment {
    uint16_t acknowledged, delay_us; /* the delay, so that the phase of the commit is any */
};

static void kill_later(pid_t pid, unsigned delay_us)
{
    nanosleep(&(struct timespec){.tv_nsec = delay_us * 1000L}, NULL);
    kill(pid, SIGKILL);
}

/* Lets a process write and kills it in the midst of it; what it has acknowledged is appended to acknowledged. */
static void write_and_die(uint32_t round, struct buf *acknowledged)
{
    struct moment moment;
    uint32_t value;
    int ends[2];
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_writers(ends[1], round);
        _exit(1);
    }
    close(ends[1]);
    cr_assert_eq(getrandom(&moment, sizeof(moment), 0), sizeof(moment));
    for (unsigned n = 0; read(ends[0], &value, sizeof(value)) == sizeof(value); n++) {
        buf_append(acknowledged, &value, sizeof(value));
        if (n == moment.acknowledged % 200u)
            kill_later(pid, moment.delay_us % 4000u); /* and read what it still could write */
    }
    close(ends[0]);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

struct torn {
    uint64_t records, torn;
};

static void count_parts(void *arg, int err, struct store_snapshot *snapshot)
{
    struct torn *torn = arg;
    struct store_cursor cursor;
    struct store_record record, part;
    char key[16];

    cr_assert_eq(err, 0);
    cr_assert_eq(store_cursor_open(snapshot, 0, false, &cursor), 0);
    for (err = store_cursor_next(&cursor, &record); err == 0; err = store_cursor_next(&cursor, &record))
        for (unsigned i = 0; i < PARTS; i++) {
            snprintf(key, sizeof(key), "%.*s/%u", STR_ARG(record.value), i);
            torn->torn += store_get(snapshot, 0, str_of(key), &part) != 0 || !str_eq(part.value, record.value);
            torn->records++;
        }
    cr_assert_eq(err, -ENOENT);
    store_cursor_close(&cursor);
}

Test(lmdb, a_killed_writer_loses_nothing_acknowledged_and_tears_no_batch)
{
    struct buf acknowledged = {0};
    struct torn torn = {0};
    char key[16], text[16];

    if (!THREADS_AFTER_FORK)
        cr_skip("ThreadSanitizer has no threads after fork");
    for (uint32_t round = 0; round < KILLS; round++)
        write_and_die(round, &acknowledged);
    store = open_store(options);
    cr_assert_geq(acknowledged.len / sizeof(uint32_t), KILLS);
    for (size_t i = 0; i < acknowledged.len / sizeof(uint32_t); i++) {
        uint32_t value;

        memcpy(&value, acknowledged.data + i * sizeof(value), sizeof(value));
        snprintf(key, sizeof(key), "%u/0", value);
        snprintf(text, sizeof(text), "%u", value);
        cr_assert(has(store, 0, str_of(key), str_of(text)), "%s was acknowledged", key);
    }
    store_read(store, WITHIN_NS(60), 0, count_parts, &torn);
    cr_assert_geq(torn.records, PARTS * acknowledged.len / sizeof(uint32_t));
    cr_assert_eq(torn.torn, 0);
    buf_release(&acknowledged);
}
