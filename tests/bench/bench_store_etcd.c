/* bench_store_etcd -- the store over an etcd of one member on this machine, beside its peers in the same run:
 *
 *   reads     linearizable gets by 256 readers at once, beside 256 threads over LMDB (goal: half of it), and what a
 *             bare client's question takes: before it is answered nobody may read, so 256 readers can have no more
 *             than 256 reads in that time
 *   writes    acknowledged puts by 64 writers at once, beside a bare client that keeps as many under way in the same
 *             transactions, but has no view to keep, no queue and no results to find (goal: 0.95 of it)
 *   replica   1,000,000 records: how soon a fresh replica has them all (goal: 20 s), what etcd sends for that, and its
 *             memory (goal: 1.2 times them); the same for a replica and a service over LMDB that are started again
 *
 *   bench_store_etcd [SECONDS [RECORDS]]
 *
 * Reads and writes take turns with their peers; what counts is the median of the rounds, and of the rounds' ratios. */
#include "../unit/etcd_cluster.h"
#include "bench.h"
#include "store_etcd_internal.h"
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>

enum { ROUNDS = 9, READERS = 256, WRITERS = 64, LANE_PUTS = WRITERS / ETCD_LANES, KEYS = 10000, VALUE_LEN = 100 };

static const struct store_table tables[] = {{"bench", NULL, 0}};

static void fail(const char *what)
{
    fprintf(stderr, "bench_store_etcd: %s\n", what);
    exit(1);
}

static void check(int err, const char *what)
{
    if (err != 0) {
        fprintf(stderr, "bench_store_etcd: %s: %s\n", what, strerror(-err));
        exit(1);
    }
}

/* metrics: as a service has them; NULL: none. */
static struct store *open_store(const char *url, struct metrics *metrics)
{
    struct store *store;
    char error[256];

    if (store_open(&(struct store_options){.url = url, .tables = tables, .table_count = 1, .metrics = metrics}, &store,
                   error, sizeof(error)) < 0)
        fail(error);
    return store;
}

/* Keys as random ones lie. */
static struct str make_key(uint64_t n, uint8_t key[16])
{
    store_put_u64(key, n * 0x9e3779b97f4a7c15u);
    store_put_u64(key + 8, n);
    return (struct str){(char *)key, 16};
}

static struct store_batch *put_batch(uint64_t first, uint64_t count)
{
    static const char value[VALUE_LEN] = "value";
    struct store_batch *batch = store_batch_new();
    uint8_t key[16];

    for (uint64_t n = first; n < first + count; n++)
        store_batch_put(batch, 0, make_key(n, key), (struct str){value, sizeof(value)}, STORE_ANY, 0);
    return batch;
}

/* ---- threads that do one thing until the time is over ---- */

struct crowd {
    pid_t etcd;
    struct store *store;
    struct etcd_client *client; /* of the bare client */
    const struct etcd_keys *keys;
    uint64_t until_ns, last; /* last: of the records to write */
    atomic_ulong next, done;
};

/* What a round of one of them gives: calls a second, and CPU time of this process and of etcd for a call. */
struct rate {
    double calls, cpu_us, etcd_us;
};

/* Before a round, from which rate_since then counts. */
struct since {
    uint64_t ns;
    double cpu, etcd_cpu;
};

static struct since since_now(pid_t etcd)
{
    return (struct since){clock_monotonic_ns(), bench_cpu_seconds(getpid()), bench_cpu_seconds(etcd)};
}

static struct rate rate_since(const struct crowd *crowd, const struct since *since)
{
    struct since now = since_now(crowd->etcd);
    double done = (double)crowd->done;

    return (struct rate){done / ((double)(now.ns - since->ns) / 1e9), (now.cpu - since->cpu) / done * 1e6,
                         (now.etcd_cpu - since->etcd_cpu) / done * 1e6};
}

static struct rate run_crowd(struct crowd *crowd, unsigned count, void *(*one)(void *arg), double seconds)
{
    struct since since = since_now(crowd->etcd);
    pthread_t threads[READERS];

    crowd->until_ns = since.ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < count; i++)
        check(-pthread_create(&threads[i], NULL, one, crowd), "no thread");
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return rate_since(crowd, &since);
}

static void *fill(void *arg)
{
    struct crowd *crowd = arg;
    uint64_t first;

    while ((first = atomic_fetch_add(&crowd->next, STORE_MAX_BATCH)) < crowd->last)
        check(store_write_wait(crowd->store, put_batch(first, STORE_MAX_BATCH), UINT64_MAX, NULL), "a write failed");
    return NULL;
}

static void fill_store(struct store *store, uint64_t from, uint64_t to)
{
    struct crowd crowd = {.etcd = getpid(), .store = store, .next = from, .last = to};

    run_crowd(&crowd, WRITERS, fill, 0);
}

/* ---- readers and writers as services are: no thread waits, an answer brings the next request ---- */

struct client_of_store {
    struct crowd *crowd;
    void (*ask)(struct client_of_store *client);
    sem_t *ended;
    uint64_t n;
    atomic_int state;
};

enum { ASKED, ANSWERED, WAITING };

static void go_on(struct client_of_store *client)
{
    do {
        if (clock_monotonic_ns() >= client->crowd->until_ns) {
            sem_post(client->ended);
            return;
        }
        client->n = client->crowd->next++;
        client->state = ASKED;
        client->ask(client);
    } while (atomic_exchange(&client->state, WAITING) == ANSWERED);
}

static void answered(struct client_of_store *client)
{
    client->crowd->done++;
    if (atomic_exchange(&client->state, ANSWERED) == WAITING)
        go_on(client);
}

static struct rate run_clients(pid_t etcd, struct store *store, unsigned count,
                               void (*ask)(struct client_of_store *client), double seconds)
{
    struct crowd crowd = {.etcd = etcd, .store = store};
    struct client_of_store clients[READERS] = {0};
    struct since since = since_now(etcd);
    sem_t ended;

    sem_init(&ended, 0, 0);
    crowd.until_ns = since.ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < count; i++) {
        clients[i].crowd = &crowd;
        clients[i].ask = ask;
        clients[i].ended = &ended;
        go_on(&clients[i]);
    }
    for (unsigned i = 0; i < count; i++)
        sem_wait(&ended);
    sem_destroy(&ended);
    return rate_since(&crowd, &since);
}

/* ---- reads ---- */

static void read_one(void *arg, int err, struct store_snapshot *snapshot)
{
    struct store_record record;
    uint8_t key[16];

    check(err, "a read failed");
    check(store_get(snapshot, 0, make_key(*(uint64_t *)arg % KEYS, key), &record), "a record is missing");
}

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct client_of_store *client = arg;

    read_one(&client->n, err, snapshot);
    answered(client);
}

static void ask_for_read(struct client_of_store *client)
{
    store_read(client->crowd->store, UINT64_MAX, 0, on_read, client);
}

static void *read_blocked(void *arg)
{
    struct crowd *crowd = arg;

    while (clock_monotonic_ns() < crowd->until_ns) {
        uint64_t n = crowd->next++;

        store_read_wait(crowd->store, UINT64_MAX, 0, read_one, &n);
        crowd->done++;
    }
    return NULL;
}

/* ---- writes ---- */

static void on_write(void *arg, const struct store_result *result)
{
    check(result->err, "a write failed");
    answered(arg);
}

static void ask_for_write(struct client_of_store *client)
{
    store_write(client->crowd->store, put_batch(client->n % KEYS, 1), UINT64_MAX, on_write, client);
}

static void *write_blocked(void *arg)
{
    struct crowd *crowd = arg;

    while (clock_monotonic_ns() < crowd->until_ns) {
        check(store_write_wait(crowd->store, put_batch(crowd->next++ % KEYS, 1), UINT64_MAX, NULL), "a write failed");
        crowd->done++;
    }
    return NULL;
}

static void written_bare(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;

    check(err, "a bare transaction failed");
    if (!response->succeeded)
        fail("a bare transaction was refused");
    *(int64_t *)arg = response->header->revision;
}

/* What a lane of the engine's writer sends, one after the other. */
static void *write_bare(void *arg)
{
    struct crowd *crowd = arg;
    struct etcd_txn *txn = etcd_txn_new(crowd->keys);
    struct etcd_lane lane = {.count = LANE_PUTS};

    snprintf(lane.name, sizeof(lane.name), "bare-%lu", atomic_fetch_add(&crowd->next, 1));
    while (clock_monotonic_ns() < crowd->until_ns) {
        check(uuid_new(&lane.batch), "no UUID");
        for (unsigned i = 0; i < LANE_PUTS; i++) {
            lane.requests[i] = put_batch(crowd->next++ % KEYS, 1);
            lane.first[i] = i;
        }
        check(etcd_call_wait(crowd->client, &etcdserverpb__kv__descriptor, "Txn", &etcd_txn_of_lane(txn, &lane)->base,
                             10000, written_bare, &lane.name_revision),
              "Txn");
        for (unsigned i = 0; i < LANE_PUTS; i++)
            store_batch_free(lane.requests[i]);
        crowd->done += LANE_PUTS;
    }
    etcd_txn_free(txn);
    return NULL;
}

static void answered_bare(void *arg, int err, const ProtobufCMessage *reply)
{
    check(err, "a bare question failed");
}

/* The question that the engine sends for reads, again and again. */
static void *ask_bare(void *arg)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct crowd *crowd = arg;

    request.key = etcd_data(STR("/bare/" ETCD_HEAD));
    request.keys_only = true;
    while (clock_monotonic_ns() < crowd->until_ns) {
        check(etcd_call_wait(crowd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, 10000, answered_bare,
                             NULL),
              "Range");
        crowd->done++;
    }
    return NULL;
}

/* Calls a second of so many threads with a client of their own. */
static struct rate run_bare(const struct etcd_cluster *cluster, unsigned count, void *(*one)(void *arg), double seconds)
{
    struct store_options options = {.tables = tables, .table_count = 1};
    struct etcd_client client = {.url = NULL};
    struct etcd_keys keys;
    struct etcd_url url;
    char text[64], error[256];
    const char *why;
    struct rate rate;

    snprintf(text, sizeof(text), "127.0.0.1:%d/bare", cluster->members[0].client_port);
    if (etcd_url_parse(text, &url, &why) < 0)
        fail(why);
    if (etcd_client_open(&client, &etcd_real_world, &url, NULL, error, sizeof(error)) < 0)
        fail(error);
    etcd_keys_init(&keys, url.prefix, &options);
    rate = run_crowd(
        &(struct crowd){
            .etcd = cluster->members[0].pid, .client = &client, .keys = &keys, .next = (unsigned)clock_monotonic_ns()},
        count, one, seconds);
    etcd_client_close(&client);
    etcd_url_release(&url);
    return rate;
}

/* ---- a replica that begins with nothing, and one that is started again ---- */

/* A line of /proc/self/status, in MB. */
static double status_mb(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    double mb = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            mb = strtod(line + strlen(name) + 1, NULL) / 1e3;
    fclose(file);
    return mb;
}

/* What etcd has sent to clients so far, in MB. */
static double sent_mb(const struct etcd_cluster *cluster)
{
    static const char name[] = "\netcd_network_client_grpc_sent_bytes_total ";
    char command[128], text[1 << 16];
    const char *found;
    size_t len;
    FILE *pipe;

    snprintf(command, sizeof(command), "curl -s http://127.0.0.1:%d/metrics | grep -A3 client_grpc_sent_bytes_total",
             cluster->members[0].client_port);
    pipe = popen(command, "re");
    len = pipe != NULL ? fread(text, 1, sizeof(text) - 1, pipe) : 0;
    text[len] = '\0';
    pclose(pipe);
    found = strstr(text, name);
    return found != NULL ? strtod(found + sizeof(name) - 1, NULL) / 1e6 : 0;
}

static void count_records(void *arg, int err, struct store_snapshot *snapshot)
{
    check(err, "a read failed");
    *(uint64_t *)arg = store_count(snapshot, 0);
}

/* In a process of its own, begun by itself: argv is REPLICA NAME URL RECORDS. */
static int replica_main(const char *name, const char *url, uint64_t records)
{
    double data_mb = (double)records * (16 + VALUE_LEN) / 1e6, anonymous_mb = status_mb("RssAnon"), seconds, cpu;
    double mapped_mb = status_mb("RssFile");
    uint64_t begun_ns = clock_monotonic_ns(), count = 0;
    struct store *store = open_store(url, NULL);

    store_read_wait(store, UINT64_MAX, 0, count_records, &count);
    seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    cpu = bench_cpu_seconds(getpid());
    if (count != records)
        fail("the replica has not all records");
    anonymous_mb = status_mb("RssAnon") - anonymous_mb;
    mapped_mb = status_mb("RssFile") - mapped_mb;
    printf("%s, %lu records: %.2f s; CPU %.2f s here\n", name, records, seconds, cpu);
    printf("  keys and values                %12.1f MB\n", data_mb);
    printf("  memory of its own              %12.1f MB\n", anonymous_mb);
    printf("  the view, in the page cache    %12.1f MB\n", mapped_mb);
    printf("  memory / data                  %12.2f\n", (anonymous_mb + mapped_mb) / data_mb);
    store_close(store);
    return 0;
}

static void run_replica(const char *name, const struct etcd_cluster *cluster, const char *url, uint64_t records)
{
    double sent = sent_mb(cluster), etcd_cpu = bench_cpu_seconds(cluster->members[0].pid);
    char count[32];
    pid_t pid;

    snprintf(count, sizeof(count), "%lu", records);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "bench_store_etcd", "REPLICA", name, url, count, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, NULL, 0) < 0)
        fail("no process for the replica");
    printf("  sent by etcd                   %12.1f MB\n", sent_mb(cluster) - sent);
    printf("  CPU of etcd                    %12.2f s\n\n", bench_cpu_seconds(cluster->members[0].pid) - etcd_cpu);
}

/* ---- all of it ---- */

enum {
    READS,
    LMDB_READS,
    BLOCKED_READS,
    QUESTIONS,
    WRITES,
    BARE_WRITES,
    BLOCKED_WRITES,
    KINDS
}; /* peers are neighbours */

static struct rate run_kind(int kind, const struct etcd_cluster *cluster, struct store *etcd, struct store *lmdb,
                            double seconds)
{
    pid_t pid = cluster->members[0].pid;

    switch (kind) {
    case READS:
        return run_clients(pid, etcd, READERS, ask_for_read, seconds);
    case BLOCKED_READS:
        return run_crowd(&(struct crowd){.etcd = pid, .store = etcd}, READERS, read_blocked, seconds);
    case LMDB_READS:
        return run_crowd(&(struct crowd){.etcd = pid, .store = lmdb}, READERS, read_blocked, seconds);
    case WRITES:
        return run_clients(pid, etcd, WRITERS, ask_for_write, seconds);
    case BLOCKED_WRITES:
        return run_crowd(&(struct crowd){.etcd = pid, .store = etcd}, WRITERS, write_blocked, seconds);
    case BARE_WRITES:
        return run_bare(cluster, ETCD_LANES, write_bare, seconds);
    default:
        return run_bare(cluster, 1, ask_bare, seconds);
    }
}

static struct rate median_of(struct rate rates[ROUNDS])
{
    double calls[ROUNDS], cpu[ROUNDS], etcd[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        calls[i] = rates[i].calls;
        cpu[i] = rates[i].cpu_us;
        etcd[i] = rates[i].etcd_us;
    }
    return (struct rate){bench_median(calls, ROUNDS), bench_median(cpu, ROUNDS), bench_median(etcd, ROUNDS)};
}

static void print_rate(const char *what, const struct rate *rate)
{
    printf("%-32s %12.0f /s %8.1f us %8.1f us\n", what, rate->calls, rate->cpu_us, rate->etcd_us);
}

static void print_pair(const char *what, struct rate rates[ROUNDS], const char *peer, struct rate others[ROUNDS],
                       double goal)
{
    struct rate rate = median_of(rates), other = median_of(others);
    double ratios[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        ratios[i] = rates[i].calls / others[i].calls;
    print_rate(what, &rate);
    print_rate(peer, &other);
    printf("%-32s %12.2f  (goal: %g)\n\n", "  ratio", bench_median(ratios, ROUNDS), goal);
}

static void run_rates(const struct etcd_cluster *cluster, struct store *etcd, struct store *lmdb,
                      struct metrics *metrics, double seconds)
{
    struct rate rates[KINDS][ROUNDS];
    double commits = 0, puts = 0, questions;

    for (int round = 0; round < ROUNDS; round++)
        for (int kind = 0; kind < KINDS; kind++) {
            double before = bench_metric(metrics, "store_commits_total");

            rates[kind][round] = run_kind(kind, cluster, etcd, lmdb, seconds);
            if (kind == WRITES) {
                commits += bench_metric(metrics, "store_commits_total") - before;
                puts += rates[kind][round].calls * seconds;
            }
        }
    questions = median_of(rates[QUESTIONS]).calls;
    printf("one etcd, medians of %d rounds of %g s; CPU time of a call, here and of etcd\n\n", ROUNDS, seconds);
    print_pair("linearizable reads, 256 at once", rates[READS], "over LMDB", rates[LMDB_READS], 0.5);
    print_pair("  by blocked threads", rates[BLOCKED_READS], "over LMDB", rates[LMDB_READS], 0.5);
    printf("%-32s %12.0f us\n", "a question to etcd", 1e6 / questions);
    printf("%-32s %12.0f /s\n\n", "  at most, then, for 256 readers", READERS * questions);
    print_pair("acknowledged puts, 64 at once", rates[WRITES], "a bare client of etcd", rates[BARE_WRITES], 0.95);
    print_pair("  by blocked threads", rates[BLOCKED_WRITES], "a bare client of etcd", rates[BARE_WRITES], 0.95);
    printf("%-32s %12.1f  (a bare client: %d)\n\n", "puts of a transaction", puts / commits, LANE_PUTS);
}

static int remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static void run(struct etcd_cluster *cluster, double seconds, uint64_t records)
{
    char etcd_url[128], lmdb_url[PATH_MAX + 32], view_url[PATH_MAX + 160];
    struct metrics *metrics = metrics_new();
    struct store *etcd, *lmdb;

    if (etcd_cluster_start(cluster, 1) != 0)
        fail("no etcd (on PATH or in ~/.local/bin)");
    snprintf(etcd_url, sizeof(etcd_url), "etcd://127.0.0.1:%d/bench", cluster->members[0].client_port);
    snprintf(lmdb_url, sizeof(lmdb_url), "lmdb://%s/lmdb", cluster->folder);
    etcd = open_store(etcd_url, metrics);
    lmdb = open_store(lmdb_url, NULL);
    fill_store(etcd, 0, KEYS);
    fill_store(lmdb, 0, KEYS);
    run_rates(cluster, etcd, lmdb, metrics, seconds);
    fill_store(etcd, KEYS, records);
    fill_store(lmdb, KEYS, records);
    store_close(lmdb);
    store_close(etcd);
    metrics_free(metrics);
    snprintf(view_url, sizeof(view_url), "%s?view=%s/view", etcd_url, cluster->folder);
    run_replica("a fresh replica", cluster, view_url, records);
    run_replica("a restart with the view of the last run", cluster, view_url, records);
    run_replica("a restart over LMDB", cluster, lmdb_url, records);
}

int main(int argc, char **argv)
{
    static const char *const quota[] = {"--quota-backend-bytes=8589934592", NULL};
    char folder[] = "./bench-store-XXXXXX";
    struct etcd_cluster cluster = {.folder = folder, .options = quota};
    char path[PATH_MAX];

    if (argc == 5 && strcmp(argv[1], "REPLICA") == 0)
        return replica_main(argv[2], argv[3], strtoul(argv[4], NULL, 10));
    if (mkdtemp(folder) == NULL || realpath(folder, path) == NULL)
        fail("the folder cannot be written");
    cluster.folder = path;
    run(&cluster, argc > 1 ? atof(argv[1]) : 2, argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000);
    etcd_cluster_stop(&cluster);
    nftw(path, remove_file, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
