/* bench_store -- durable puts a second through the store over LMDB: by one writer, by 64 at once, and two loops over
 * plain LMDB as peers: a transaction a put, and a transaction of 64 puts.
 *
 *   bench_store [FOLDER [SECONDS]]    FOLDER: on the file system to be measured; . unless said otherwise
 *
 * Writers are as services are: the store's answer is posted to an event loop, which makes the next request. They are
 * measured as threads that wait for each answer, too. The store has metrics, as in a service.
 *
 * All take turns on the same file system, in many short rounds: what a disk does for others changes from second to
 * second. What counts is the median of the rounds, and for ratios that of the rounds' ratios. */
#include "bench.h"
#include "buf.h"
#include "clock.h"
#include "loop.h"
#include "store.h"
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 25, MAX_WRITERS = 64, BATCH = 64, SYNCS = 500, VALUE_LEN = 100, SYNC_BYTES = 4 << 20 };

struct bench {
    struct store *store;
    uint64_t until_ns;
    atomic_ulong next, done;
    struct loop *loop;
    sem_t ended; /* a writer of the loop */
};

/* What a round of one of them gives. */
struct rate {
    double puts, cpu_us, batch; /* a second; of this process, a put; puts of a commit */
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_store: %s\n", what);
    exit(1);
}

static void check(int err, const char *what)
{
    if (err != 0)
        fail(what);
}

/* Keys as random ones lie, the same for all. */
static void make_key(uint64_t n, uint8_t key[16])
{
    store_put_u64(key, n * 0x9e3779b97f4a7c15u);
    store_put_u64(key + 8, n);
}

/* ---- the store ---- */

static struct store_batch *next_batch(struct bench *bench)
{
    struct store_batch *batch = store_batch_new();
    char value[VALUE_LEN] = "value";
    uint8_t key[16];

    make_key(bench->next++, key);
    store_batch_put(batch, 0, (struct str){(char *)key, 16}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
    return batch;
}

static void *write_blocked(void *arg)
{
    struct bench *bench = arg;

    while (clock_monotonic_ns() < bench->until_ns) {
        check(store_write_wait(bench->store, next_batch(bench), UINT64_MAX, NULL), "a write failed");
        bench->done++;
    }
    return NULL;
}

static void run_threads(struct bench *bench, unsigned writers)
{
    pthread_t threads[MAX_WRITERS];

    for (unsigned i = 0; i < writers; i++)
        check(pthread_create(&threads[i], NULL, write_blocked, bench), "no thread");
    for (unsigned i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
}

/* A writer of the event loop. */
struct writer {
    struct loop_message message;
    struct bench *bench;
};

/* In the store's thread. */
static void on_written(void *arg, const struct store_result *result)
{
    struct writer *writer = arg;

    check(result->err, "a write failed");
    writer->bench->done++;
    loop_post(writer->bench->loop, &writer->message);
}

static void write_next(struct loop_message *message)
{
    struct writer *writer = (struct writer *)message;

    if (clock_monotonic_ns() < writer->bench->until_ns)
        store_write(writer->bench->store, next_batch(writer->bench), UINT64_MAX, on_written, writer);
    else
        sem_post(&writer->bench->ended);
}

static void run_loop(struct bench *bench, unsigned writers)
{
    struct writer all[MAX_WRITERS];

    check(loop_open(0, "bench", NULL, &bench->loop), "no event loop");
    sem_init(&bench->ended, 0, 0);
    for (unsigned i = 0; i < writers; i++) {
        all[i] = (struct writer){{.run = write_next}, bench};
        loop_post(bench->loop, &all[i].message);
    }
    for (unsigned i = 0; i < writers; i++)
        sem_wait(&bench->ended);
    loop_close(bench->loop);
    sem_destroy(&bench->ended);
}

static struct rate run_store(const char *folder, unsigned writers, void (*run)(struct bench *bench, unsigned writers),
                             double seconds)
{
    static const struct store_table tables[] = {{"bench", NULL, 0}};
    struct metrics *metrics = metrics_new();
    struct bench bench = {0};
    char url[5000], error[256];
    struct rate rate;
    uint64_t begun_ns;
    double cpu;

    snprintf(url, sizeof(url), "lmdb://%s/store", folder);
    if (store_open(&(struct store_options){.url = url, .tables = tables, .table_count = 1, .metrics = metrics},
                   &bench.store, error, sizeof(error)) < 0)
        fail(error);
    begun_ns = clock_monotonic_ns();
    cpu = bench_cpu_seconds(getpid());
    bench.until_ns = begun_ns + (uint64_t)(seconds * 1e9);
    run(&bench, writers);
    seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    cpu = bench_cpu_seconds(getpid()) - cpu;
    rate = (struct rate){(double)bench.done / seconds, cpu / (double)bench.done * 1e6,
                         (double)bench.done / bench_metric(metrics, "store_commits_total")};
    store_close(bench.store);
    metrics_free(metrics);
    return rate;
}

static struct rate run_store_1(const char *folder, double seconds)
{
    return run_store(folder, 1, run_loop, seconds);
}

static struct rate run_store_64(const char *folder, double seconds)
{
    return run_store(folder, MAX_WRITERS, run_loop, seconds);
}

static struct rate run_blocked_1(const char *folder, double seconds)
{
    return run_store(folder, 1, run_threads, seconds);
}

static struct rate run_blocked_64(const char *folder, double seconds)
{
    return run_store(folder, MAX_WRITERS, run_threads, seconds);
}

/* ---- the peers ---- */

static struct rate run_lmdb(const char *folder, unsigned puts, double seconds)
{
    char path[5000], value[VALUE_LEN] = "value";
    uint64_t begun_ns, until_ns, n = 0;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    double cpu;

    snprintf(path, sizeof(path), "%s/lmdb", folder);
    check(mdb_env_create(&env), "LMDB");
    mdb_env_set_mapsize(env, 1UL << 34);
    check(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NORDAHEAD, 0600), path);
    begun_ns = clock_monotonic_ns();
    cpu = bench_cpu_seconds(getpid());
    until_ns = begun_ns + (uint64_t)(seconds * 1e9);
    while (clock_monotonic_ns() < until_ns) {
        check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
        check(mdb_dbi_open(txn, NULL, 0, &dbi), "mdb_dbi_open");
        for (unsigned i = 0; i < puts; i++) {
            uint8_t key[16];
            MDB_val k = {sizeof(key), key}, v = {sizeof(value), value};

            make_key(n++, key);
            check(mdb_put(txn, dbi, &k, &v, 0), "mdb_put");
        }
        check(mdb_txn_commit(txn), "mdb_txn_commit");
    }
    seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    cpu = bench_cpu_seconds(getpid()) - cpu;
    mdb_env_close(env);
    return (struct rate){(double)n / seconds, cpu / (double)n * 1e6, puts};
}

static struct rate run_lmdb_1(const char *folder, double seconds)
{
    return run_lmdb(folder, 1, seconds);
}

static struct rate run_lmdb_batch(const char *folder, double seconds)
{
    return run_lmdb(folder, BATCH, seconds);
}

/* ---- the disk ---- */

static double sync_us(const char *folder)
{
    static char page[4096];
    double times[SYNCS];
    char path[5000];
    int fd;

    snprintf(path, sizeof(path), "%s/sync", folder);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    check(fd < 0 || posix_fallocate(fd, 0, SYNC_BYTES) != 0, path);
    for (int i = 0; i < SYNCS; i++) {
        uint64_t begun_ns = clock_monotonic_ns();

        page[0] = (char)i;
        check(pwrite(fd, page, sizeof(page), i % 64 * (off_t)sizeof(page)) != sizeof(page) || fdatasync(fd) != 0, path);
        times[i] = (double)(clock_monotonic_ns() - begun_ns) / 1e3;
    }
    close(fd);
    return bench_median(times, SYNCS);
}

static int remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

enum { BLOCKED_1, LMDB_1, STORE_1, BLOCKED_64, LMDB_64, STORE_64, BENCHES }; /* peers are neighbours */

static const struct {
    const char *name;
    struct rate (*run)(const char *folder, double seconds);
} benches[BENCHES] = {
    [STORE_1] = {"store, 1 writer", run_store_1},
    [STORE_64] = {"store, 64 writers", run_store_64},
    [BLOCKED_1] = {"store, 1 thread", run_blocked_1},
    [BLOCKED_64] = {"store, 64 threads", run_blocked_64},
    [LMDB_1] = {"LMDB, a transaction a put", run_lmdb_1},
    [LMDB_64] = {"LMDB, a transaction of 64 puts", run_lmdb_batch},
};

static double median_of(const double values[ROUNDS])
{
    double sorted[ROUNDS];

    memcpy(sorted, values, sizeof(sorted));
    return bench_median(sorted, ROUNDS);
}

static void print_rates(struct rate rates[BENCHES][ROUNDS], double seconds)
{
    printf("%-32s %12s %12s %12s  (medians of %d rounds of %g s)\n", "durable puts", "puts/s", "CPU us/put",
           "puts/commit", ROUNDS, seconds);
    for (int i = 0; i < BENCHES; i++) {
        double puts[ROUNDS], cpu[ROUNDS], batch[ROUNDS];

        for (int round = 0; round < ROUNDS; round++) {
            puts[round] = rates[i][round].puts;
            cpu[round] = rates[i][round].cpu_us;
            batch[round] = rates[i][round].batch;
        }
        printf("%-32s %12.0f %12.1f %12.1f\n", benches[i].name, median_of(puts), median_of(cpu), median_of(batch));
    }
    printf("\n");
}

static void print_ratio(const char *what, struct rate rates[BENCHES][ROUNDS], int of, int to, double goal)
{
    double ratios[ROUNDS];

    for (int round = 0; round < ROUNDS; round++)
        ratios[round] = rates[of][round].puts / rates[to][round].puts;
    printf("%-32s %12.2f  (goal: %g)\n", what, median_of(ratios), goal);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 0.2;
    char folder[4096], *base = realpath(argc > 1 ? argv[1] : ".", NULL);
    struct rate rates[BENCHES][ROUNDS];

    if (base == NULL)
        fail("no such folder");
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < BENCHES; i++) {
            snprintf(folder, sizeof(folder), "%s/bench-store-XXXXXX", base);
            if (mkdtemp(folder) == NULL)
                fail("the folder cannot be written");
            rates[i][round] = benches[i].run(folder, seconds);
            if (round == ROUNDS - 1 && i == BENCHES - 1)
                printf("fdatasync of 4 KiB, p50: %.0f us\n\n", sync_us(folder));
            nftw(folder, remove_file, 16, FTW_DEPTH | FTW_PHYS);
        }
    print_rates(rates, seconds);
    print_ratio("64 writers / 1 writer", rates, STORE_64, STORE_1, 10);
    print_ratio("store / LMDB, 1 writer", rates, STORE_1, LMDB_1, 0.95);
    print_ratio("  by a thread that waits", rates, BLOCKED_1, LMDB_1, 0.95);
    print_ratio("store / LMDB, 64 at once", rates, STORE_64, LMDB_64, 0.9);
    print_ratio("  by threads that wait", rates, BLOCKED_64, LMDB_64, 0.9);
    free(base);
    return 0;
}
