/* Whether lookups stay as fast when the data set grows: GetFeature of two sets by turns, as a function call and as an
 * rpc to route-guide's own handlers, with nothing at the point (no save) and with a feature there (saved to a real
 * feature-store, as always); ListFeatures' search for rectangles with as many results in both.
 *
 *   bench_features [SMALL [LARGE]]     numbers of features; 1000 and 10000000 where not given
 *
 * Prints medians of ROUNDS rounds and their ratios. Needs 80 bytes of disk in $TMPDIR and about 130 of memory a
 * feature.
 */
#include "../../src/feature-store/feature_store.h"
#include "../../src/route-guide/guide.h"
#include "bench.h"
#include "clock.h"
#include "net_listen.h"
#include "routeguide.descriptors.h"
#include <ftw.h>
#include <math.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS    7
#define LOOKUPS   1000000 /* a round */
#define CALLS     20000
#define SAVES     5000
#define IN_FLIGHT 32
#define QUERIES   200
#define RESULTS   100 /* of a query, about */

enum { SMALL, LARGE, SETS };
enum { LOOKUP, SEARCH, CALL_NOTHING, CALL_FEATURE, MEASURES };

struct place {
    size_t count;
    struct feature_set *set;
    struct geo_point *points; /* LOOKUPS of them, in random order */
    struct guide guide;
    struct rpc_server *server;
    struct rpc_client *client;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_features: %s\n", what);
    exit(1);
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static void random_skip(uint64_t *state, uint64_t count)
{
    *state += count * 0x9e3779b97f4a7c15ULL;
}

static int32_t random_coordinate(uint64_t *state, int32_t max)
{
    return (int32_t)((int64_t)(random_next(state) % (2 * (uint64_t)max + 1)) - max);
}

static struct geo_point random_point(uint64_t *state)
{
    struct geo_point point;

    point.latitude = random_coordinate(state, GEO_MAX_LATITUDE);
    point.longitude = random_coordinate(state, GEO_MAX_LONGITUDE);
    return point;
}

/* ---- the sets ---- */

static void write_set(const char *path, size_t count)
{
    FILE *file = fopen(path, "w");
    uint64_t seed = count;

    if (!file)
        die(path);
    for (size_t i = 0; i < count; i++) {
        struct geo_point point = random_point(&seed);

        fprintf(file, "%c\n{\"location\":{\"latitude\":%d,\"longitude\":%d},\"name\":\"Place %zu\"}", i ? ',' : '[',
                point.latitude, point.longitude, i);
    }
    fputs("\n]\n", file);
    if (ferror(file) || fclose(file) != 0)
        die(path);
}

static void load_set(struct place *place, const char *folder)
{
    uint64_t begun_ns, seed = 1;
    struct rusage usage;
    char path[256], error[512];

    snprintf(path, sizeof(path), "%s/%zu.json", folder, place->count);
    write_set(path, place->count);
    begun_ns = clock_monotonic_ns();
    if (feature_set_load(path, &place->set, error, sizeof(error)) < 0)
        die(error);
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu features loaded in %.2f s, resident at most %ld MiB\n", place->count,
           (double)(clock_monotonic_ns() - begun_ns) / CLOCK_NS_PER_S, usage.ru_maxrss / 1024);
    unlink(path);
    place->points = calloc(LOOKUPS, sizeof(*place->points));
    for (size_t i = 0; i < LOOKUPS; i++) {
        uint64_t point = place->count; /* the seed of the file */

        random_skip(&point, 2 * (random_next(&seed) % place->count));
        place->points[i] = random_point(&point);
    }
}

/* ---- function calls ---- */

static double measure_lookups(struct place *place)
{
    uint64_t begun_ns = clock_monotonic_ns();
    size_t bytes = 0;

    for (size_t i = 0; i < LOOKUPS; i++) {
        const struct feature *feature = feature_set_find(place->set, place->points[i]);

        if (!feature)
            die("a feature is not found");
        bytes += (unsigned char)feature->name[0];
    }
    if (bytes != LOOKUPS * (size_t)'P')
        die("a name is wrong");
    return (double)(clock_monotonic_ns() - begun_ns) / LOOKUPS;
}

/* A square around a feature with about RESULTS features in it, in the middle latitudes of longitude and latitude. */
static struct geo_rect square_around(const struct place *place, struct geo_point center)
{
    double share = (double)RESULTS / (double)place->count < 1 ? (double)RESULTS / (double)place->count : 1;
    int32_t lat = (int32_t)(GEO_MAX_LATITUDE * sqrt(share)), lon = (int32_t)(GEO_MAX_LONGITUDE * sqrt(share));

    return (struct geo_rect){.lo = {center.latitude / 2 - lat, center.longitude / 2 - lon},
                             .hi = {center.latitude / 2 + lat, center.longitude / 2 + lon}};
}

/* ns a result */
static double measure_searches(struct place *place)
{
    uint64_t begun_ns = clock_monotonic_ns();
    size_t results = 0;

    for (int i = 0; i < QUERIES; i++) {
        struct geo_rect rect = square_around(place, place->points[i]);
        struct feature_set_query query;

        if (feature_set_query_open(place->set, &rect, &query) < 0)
            die("out of memory");
        while (feature_set_query_next(&query))
            results++;
        feature_set_query_close(&query);
    }
    return (double)(clock_monotonic_ns() - begun_ns) / (double)results;
}

/* ---- rpcs ---- */

struct round {
    struct place *place;
    bool features; /* else points where nothing is */
    size_t started, ended, count;
    pthread_mutex_t lock;
    sem_t done;
};

static void start_call(struct round *round);

static void on_feature(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct round *round = arg;
    bool done;

    if (status->code != ERR_GRPC_OK)
        die(status->message);
    if ((((const Routeguide__Feature *)reply)->name[0] != '\0') != round->features)
        die("an answer is wrong");
    pthread_mutex_lock(&round->lock);
    done = ++round->ended == round->count;
    pthread_mutex_unlock(&round->lock);
    if (done)
        sem_post(&round->done);
    else
        start_call(round);
}

static void start_call(struct round *round)
{
    Routeguide__Point request = ROUTEGUIDE__POINT__INIT;
    size_t i;

    pthread_mutex_lock(&round->lock);
    i = round->started < round->count ? round->started++ : SIZE_MAX;
    pthread_mutex_unlock(&round->lock);
    if (i == SIZE_MAX)
        return;
    request.latitude = round->place->points[i].latitude;
    request.longitude = round->place->points[i].longitude;
    if (!round->features) /* beside a feature, as far as one can know */
        request.longitude ^= 1;
    if (rpc_unary(round->place->client, &routeguide__route_guide__descriptor, "GetFeature", &request.base,
                  &(struct rpc_call_options){.timeout_ms = 60000}, on_feature, round) < 0)
        die("a call cannot be made");
}

/* ns a call, IN_FLIGHT at the same time */
static double measure_calls(struct place *place, bool features)
{
    struct round round = {.place = place, .features = features, .count = features ? SAVES : CALLS};
    uint64_t begun_ns = clock_monotonic_ns();

    pthread_mutex_init(&round.lock, NULL);
    sem_init(&round.done, 0, 0);
    for (int i = 0; i < IN_FLIGHT; i++)
        start_call(&round);
    sem_wait(&round.done);
    pthread_mutex_lock(&round.lock); /* the last one may still hold it */
    pthread_mutex_unlock(&round.lock);
    return (double)(clock_monotonic_ns() - begun_ns) / (double)round.count;
}

static struct rpc_client *serve(const struct rpc_method *methods, void *state, struct rpc_server **ret_server)
{
    const struct rpc_server_def def = {
        .methods = methods,
        .descriptors = routeguide_descriptors,
        .descriptors_len = routeguide_descriptors_len,
        .state = state,
        .max_connection_age_ms = 3600000,
    };
    struct rpc_client *client;
    char target[64];
    int fd, port;

    if (net_listen("127.0.0.1", 0, &fd, &port) < 0 || rpc_server_open(fd, &def, ret_server) < 0)
        die("cannot serve");
    rpc_server_start(*ret_server);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    if (rpc_client_open(&(struct rpc_client_def){.name = "bench", .target = target}, &client) < 0)
        die("cannot connect");
    return client;
}

static struct rpc_client *serve_store(struct feature_store *fs, const char *folder, struct rpc_server **ret_server)
{
    char url[256], error[512];

    *fs = (struct feature_store){.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};
    snprintf(url, sizeof(url), "lmdb://%s/data", folder);
    fs->tables[TABLE_SAVES] = saves_table;
    fs->tables[TABLE_IDEMPOTENCY] = idempotency_table;
    if (store_open(&(struct store_options){.url = url, .tables = fs->tables, .table_count = TABLES}, &fs->store, error,
                   sizeof(error)) < 0)
        die(error);
    if (idempotency_open(fs->store, TABLE_IDEMPOTENCY, 3600000, NULL, &fs->idempotency) < 0 ||
        retention_open(fs->store, 100, 1000000, NULL, &fs->retention) < 0)
        die("cannot open the store");
    return serve(feature_store_methods, fs, ret_server);
}

static void close_store(struct feature_store *fs)
{
    feature_store_wait_idle(fs);
    retention_free(fs->retention);
    idempotency_free(fs->idempotency);
    store_close(fs->store);
}

/* ---- all of it ---- */

static double measure(struct place *place, int what)
{
    switch (what) {
    case LOOKUP:
        return measure_lookups(place);
    case SEARCH:
        return measure_searches(place);
    default:
        return measure_calls(place, what == CALL_FEATURE);
    }
}

static void compare_sets(struct place places[SETS])
{
    static const char *const names[MEASURES] = {"lookup (function)", "rectangle, a result", "GetFeature, nothing",
                                                "GetFeature, saved"};

    printf("%-20s %12zu %12zu  ratio\n", "ns", places[SMALL].count, places[LARGE].count);
    for (int what = 0; what < MEASURES; what++) {
        double ns[SETS][ROUNDS];

        for (int round = -1; round < ROUNDS; round++) /* the first warms up */
            for (int set = 0; set < SETS; set++) {
                double one = measure(&places[set], what);

                ns[set][round < 0 ? 0 : round] = one;
            }
        double small = bench_median(ns[SMALL], ROUNDS), large = bench_median(ns[LARGE], ROUNDS);

        printf("%-20s %12.1f %12.1f  %5.2f\n", names[what], small, large, large / small);
    }
}

static int remove_file(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

int main(int argc, char **argv)
{
    struct place places[SETS] = {{.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000},
                                 {.count = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000000}};
    const char *tmp = getenv("TMPDIR");
    struct rpc_server *store_server;
    struct rpc_client *store_client;
    struct feature_store fs;
    char folder[200];

    snprintf(folder, sizeof(folder), "%s/bench_features.XXXXXX", tmp ? tmp : "/tmp");
    if (places[SMALL].count == 0 || places[LARGE].count == 0 || !mkdtemp(folder))
        die("usage: bench_features [SMALL [LARGE]]");
    store_client = serve_store(&fs, folder, &store_server);
    for (int set = 0; set < SETS; set++) {
        load_set(&places[set], folder);
        places[set].guide =
            (struct guide){.features = places[set].set, .store = store_client, .store_timeout_ms = 60000};
        places[set].client = serve(guide_methods, &places[set].guide, &places[set].server);
    }
    compare_sets(places);
    for (int set = 0; set < SETS; set++) {
        rpc_client_free(places[set].client);
        rpc_server_close(places[set].server);
        feature_set_free(places[set].set);
        free(places[set].points);
    }
    rpc_client_free(store_client);
    rpc_server_close(store_server);
    close_store(&fs);
    nftw(folder, remove_file, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
