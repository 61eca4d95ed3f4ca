/* bench_store -- durable puts a second through store_write_wait: one blocked writer, 64 blocked writers, and two loops
 * over plain LMDB as peers: a transaction a put, and a transaction of 64 puts.
 *
 *   bench_store [FOLDER [SECONDS]]    FOLDER: on the file system to be measured; . unless said otherwise
 *
 * The four take turns on the same file system; what counts is the median of the rounds. */
#include "bench.h"
#include "clock.h"
#include "store.h"
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 5, MAX_WRITERS = 64, BATCH = 64, SYNCS = 500, VALUE_LEN = 100, SYNC_BYTES = 4 << 20 };

struct bench {
    struct store *store;
    uint64_t until_ns;
    atomic_ulong next, done;
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

static void *write_blocked(void *arg)
{
    struct bench *bench = arg;
    char value[VALUE_LEN] = "value";
    uint8_t key[16];

    while (clock_monotonic_ns() < bench->until_ns) {
        struct store_batch *batch = store_batch_new();

        make_key(bench->next++, key);
        store_batch_put(batch, 0, (struct str){(char *)key, 16}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
        check(store_write_wait(bench->store, batch, UINT64_MAX, NULL), "a write failed");
        bench->done++;
    }
    return NULL;
}

static double run_store(const char *folder, unsigned writers, double seconds)
{
    static const struct store_table tables[] = {{"bench", NULL, 0}};
    struct bench bench = {0};
    pthread_t threads[MAX_WRITERS];
    char url[5000], error[256];
    uint64_t begun_ns;

    snprintf(url, sizeof(url), "lmdb://%s/store", folder);
    if (store_open(&(struct store_options){.url = url, .tables = tables, .table_count = 1}, &bench.store, error,
                   sizeof(error)) < 0)
        fail(error);
    begun_ns = clock_monotonic_ns();
    bench.until_ns = begun_ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < writers; i++)
        check(pthread_create(&threads[i], NULL, write_blocked, &bench), "no thread");
    for (unsigned i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
    seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    store_close(bench.store);
    return (double)bench.done / seconds;
}

static double run_store_1(const char *folder, double seconds)
{
    return run_store(folder, 1, seconds);
}

static double run_store_64(const char *folder, double seconds)
{
    return run_store(folder, MAX_WRITERS, seconds);
}

/* ---- the peers ---- */

static double run_lmdb(const char *folder, unsigned puts, double seconds)
{
    char path[5000], value[VALUE_LEN] = "value";
    uint64_t begun_ns, until_ns, n = 0;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    snprintf(path, sizeof(path), "%s/lmdb", folder);
    check(mdb_env_create(&env), "LMDB");
    mdb_env_set_mapsize(env, 1UL << 34);
    check(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NORDAHEAD, 0600), path);
    begun_ns = clock_monotonic_ns();
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
    mdb_env_close(env);
    return (double)n / seconds;
}

static double run_lmdb_1(const char *folder, double seconds)
{
    return run_lmdb(folder, 1, seconds);
}

static double run_lmdb_batch(const char *folder, double seconds)
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

static const struct {
    const char *name;
    double (*run)(const char *folder, double seconds);
} benches[] = {
    {"store, 1 writer", run_store_1},
    {"store, 64 writers", run_store_64},
    {"LMDB, a transaction a put", run_lmdb_1},
    {"LMDB, a transaction of 64 puts", run_lmdb_batch},
};
enum { BENCHES = sizeof(benches) / sizeof(*benches) };

int main(int argc, char **argv)
{
    double rates[BENCHES][ROUNDS], medians[BENCHES], seconds = argc > 2 ? atof(argv[2]) : 1;
    char folder[4096], *base = realpath(argc > 1 ? argv[1] : ".", NULL);

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
    printf("%-32s %12s  (median of %d rounds of %g s)\n", "durable puts", "puts/s", ROUNDS, seconds);
    for (int i = 0; i < BENCHES; i++) {
        medians[i] = bench_median(rates[i], ROUNDS);
        printf("%-32s %12.0f\n", benches[i].name, medians[i]);
    }
    printf("\n64 writers / 1 writer            %12.1f  (goal: 10)\n", medians[1] / medians[0]);
    printf("store / LMDB, 1 writer           %12.2f\n", medians[0] / medians[2]);
    printf("store / LMDB, 64 at once         %12.2f\n", medians[1] / medians[3]);
    free(base);
    return 0;
}
