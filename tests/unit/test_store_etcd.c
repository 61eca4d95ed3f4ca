/* What is particular to the etcd engine: several replicas of a store, members and connections that fail, answers that
 * get lost, history that is gone, a full etcd, authentication, TLS. Each test has an etcd of its own. */
#include "failing_meta.h"

#include "certificate.h"
#include "etcd_cluster.h"
#include "idempotency.h"
#include "net_listen.h"
#include "rpc.h"
#include "store_etcd.h"
#include "store_etcd_internal.h"
#include "store_fixture.h"
#include "tcp_proxy.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { THINGS, OTHERS };

static void index_value(struct store_index *index, const struct store_record *record)
{
    char key[64 + STORE_MAX_KEY];
    size_t len = record->value.len < 64 ? record->value.len : 64;

    if (len == 0)
        return;
    memcpy(key, record->value.s, len);
    memcpy(key + len, record->key.s, record->key.len);
    store_index_add(index, (struct str){key, len + record->key.len}, STR_NULL);
}

static const struct store_table tables[] = {{"things", index_value, 1}, {"others", NULL, 0}};

static struct fixture fixture;
static struct etcd_cluster cluster;
static struct etcd_url raw_url;
static struct etcd_client raw; /* to look at etcd beside the store */

static void init(void)
{
    unsetenv("STORE_TEST_URL");
    fixture_init(&fixture);
    cluster = (struct etcd_cluster){.folder = fixture.folder};
    if (etcd_cluster_find("etcd", (char[PATH_MAX]){0}) == NULL) {
        cr_assert_null(getenv("CI"), "no etcd on PATH");
        cr_skip("no etcd on PATH: what is particular to that engine is left out");
    }
}

static void fini(void)
{
    if (raw.url != NULL)
        etcd_client_close(&raw);
    etcd_url_release(&raw_url);
    etcd_cluster_stop(&cluster);
    fixture_release(&fixture);
}

TestSuite(etcd, .init = init, .fini = fini, .timeout = 150);

/* ---- etcd ---- */

static void start_members(int count)
{
    char url[256], rest[300], error[256];
    const char *why;

    cr_assert_eq(etcd_cluster_start(&cluster, count), 0);
    etcd_cluster_url(&cluster, url);
    snprintf(rest, sizeof(rest), "%s/raw", url + strlen("etcd://"));
    cr_assert_eq(etcd_url_parse(rest, &raw_url, &why), 0);
    cr_assert_eq(etcd_client_open(&raw, &etcd_real_world, &raw_url, NULL, error, sizeof(error)), 0, "%s", error);
}

struct raw_answer {
    int64_t revision, count, mod_revision;
};

static void on_range(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct raw_answer *answer = arg;

    if (err != 0)
        return;
    *answer = (struct raw_answer){.revision = response->header->revision, .count = response->count};
    if (response->n_kvs > 0)
        answer->mod_revision = response->kvs[0]->mod_revision;
}

static int raw_try_range(const char *key, const char *end, struct raw_answer *ret_answer)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    request.key = etcd_data(str_of(key));
    request.range_end = etcd_data(str_of(end));
    return etcd_call_wait(&raw, &etcdserverpb__kv__descriptor, "Range", &request.base, 10000, on_range, ret_answer);
}

static struct raw_answer raw_range(const char *key, const char *end)
{
    struct raw_answer answer;

    cr_assert_eq(raw_try_range(key, end, &answer), 0);
    return answer;
}

static void raw_compact(void)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    request.revision = raw_range("x", NULL).revision;
    request.physical = true; /* answered when room has been made, not before */
    cr_assert_eq(etcd_call_wait(&raw, &etcdserverpb__kv__descriptor, "Compact", &request.base, 10000, NULL, NULL), 0);
}

static void raw_txn(Etcdserverpb__RequestOp *op)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    txn.n_success = 1;
    txn.success = &op;
    cr_assert_eq(etcd_call_wait(&raw, &etcdserverpb__kv__descriptor, "Txn", &txn.base, 10000, NULL, NULL), 0);
}

static void raw_put(const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;

    put.key = etcd_data(str_of(key));
    put.value = etcd_data(str_of(value));
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    raw_txn(&op);
}

static void raw_delete(const char *key, const char *end)
{
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;

    delete.key = etcd_data(str_of(key));
    delete.range_end = etcd_data(str_of(end));
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &delete;
    raw_txn(&op);
}

/* Runs etcdctl against the first member. */
static int etcdctl(const char *arguments)
{
    char path[PATH_MAX], command[2 * PATH_MAX];

    cr_assert_not_null(etcd_cluster_find("etcdctl", path));
    snprintf(command, sizeof(command), "%s --endpoints=http://127.0.0.1:%d %s >/dev/null 2>&1", path,
             cluster.members[0].client_port, arguments);
    return system(command);
}

/* ---- replicas ---- */

struct replica {
    char view[16]; /* its folder's name; "": temporary */
    char url[2 * PATH_MAX];
    struct metrics *metrics;
    struct store *store;
};

static uint64_t metric(const struct replica *replica, const char *name)
{
    return metrics_counter_value(store_metrics_single(replica->metrics, METRICS_COUNTER, name, ""));
}

static int open_replica_at(struct replica *replica, const char *endpoints, char error[256])
{
    char option[PATH_MAX] = "";

    if (replica->view[0] != '\0')
        snprintf(option, sizeof(option), "?view=%s/%s", fixture.folder, replica->view);
    snprintf(replica->url, sizeof(replica->url), "%s/test%s", endpoints, option);
    if (replica->metrics == NULL)
        replica->metrics = metrics_new();
    return store_open(
        &(struct store_options){.url = replica->url, .tables = tables, .table_count = 2, .metrics = replica->metrics},
        &replica->store, error, 256);
}

static void open_replica(struct replica *replica)
{
    char url[256], error[256] = "";

    etcd_cluster_url(&cluster, url);
    cr_assert_eq(open_replica_at(replica, url, error), 0, "%s", error);
}

/* Over the proxy alone, or over it and then the member itself. */
static void open_replica_behind(struct replica *replica, const struct tcp_proxy *proxy, bool or_direct)
{
    char url[256], error[256] = "";

    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", proxy->port);
    if (or_direct)
        snprintf(url + strlen(url), 32, ",127.0.0.1:%d", proxy->server_port);
    cr_assert_eq(open_replica_at(replica, url, error), 0, "%s", error);
}

static void close_replica(struct replica *replica)
{
    replica->store = store_close(replica->store);
    replica->metrics = metrics_free(replica->metrics);
}

/* ---- reading, with a choice ---- */

struct look {
    int err;
    bool found;
    uint64_t age_ms;
    struct str key;
};

static void on_look(void *arg, int err, struct store_snapshot *snapshot)
{
    struct look *look = arg;
    struct store_record record;

    look->err = err;
    if (err < 0)
        return;
    look->age_ms = store_age_ms(snapshot);
    look->found = store_get(snapshot, THINGS, look->key, &record) == 0;
}

static struct look look(struct store *store, struct str key, uint64_t within_ms, uint64_t max_stale_ms)
{
    struct look look = {.key = key};

    store_read_wait(store, clock_monotonic_ns() + within_ms * CLOCK_NS_PER_MS, max_stale_ms, on_look, &look);
    return look;
}

static int put_within(struct store *store, struct str key, enum store_expect expect, uint64_t within_ms)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, THINGS, key, STR("v"), expect, 0);
    return store_write_wait(store, batch, clock_monotonic_ns() + within_ms * CLOCK_NS_PER_MS, NULL);
}

static void wait_until(bool (*is_so)(void *), void *arg)
{
    uint64_t until_ns = WITHIN_NS(60);

    while (!is_so(arg)) {
        cr_assert_lt(clock_monotonic_ns(), until_ns, "what was waited for did not come");
        usleep(2000);
    }
}

/* ---- opening ---- */

Test(etcd, refuses_malformed_urls)
{
    static const char *const urls[] = {
        "etcd://",
        "etcd://h:1",
        "etcd://h:1/",
        "etcd://h/p",
        "etcd:///p",
        "etcd://h:1,/p",
        "etcd://h:1/p/q",
        "etcd://h:1/p?",
        "etcd://h:1/p?view",
        "etcd://h:1/p?view=",
        "etcd://h:1/p?view=relative",
        "etcd://h:1/p?colour=red",
        "etcd://h:1/p?view=/a&view=/b",
        "etcd://h:1/p?cert=/c",
        "etcd://h:1/p?cert=/c&key=/k",
        "etcd://h:1/p?user=u",
        "etcd://1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1,10:1/p",
    };

    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
        struct store_options options = {.url = urls[i], .tables = tables, .table_count = 2};
        char error[256] = "";
        struct store *store;

        cr_expect_eq(store_open(&options, &store, error, sizeof(error)), -EINVAL, "%s", urls[i]);
        cr_expect_not_null(strstr(error, urls[i]), "%s", error);
    }
}

static void answer_old(struct rpc_call *call, const ProtobufCMessage *message)
{
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;

    response.version = rpc_call_service_state(call);
    rpc_reply(call, &response.base);
}

Test(etcd, refuses_members_that_are_too_old)
{
    static const struct rpc_method methods[] = {RPC_UNARY(&etcdserverpb__maintenance__descriptor, "Status", answer_old),
                                                {0}};
    char version[] = "3.5.7", error[256] = "";
    struct replica replica = {.view = ""};
    struct rpc_server *server;
    char url[64];
    int fd, port;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_assert_eq(rpc_server_open(fd, &(struct rpc_server_def){.methods = methods, .state = version}, &server), 0);
    rpc_server_start(server);
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", port);
    cr_expect_eq(open_replica_at(&replica, url, error), -EPROTO);
    cr_expect(strstr(error, "3.5.7") != NULL && strstr(error, "3.5.8") != NULL, "%s", error);
    cr_expect_null(strchr(error, '\n'));
    metrics_free(replica.metrics);
    rpc_server_close(server);
}

struct said {
    enum err_grpc code;
    const char *message;
    int err;
    bool definite;
};

static _Atomic(const struct said *) said;

static void answer_said(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct said *now = atomic_load(&said);

    rpc_finish(call, now->code, now->message);
}

/* Every error of a transaction leaves its result unknown, unless it is known that etcd says it before it does anything.
 */
Test(etcd, errors_are_definite_only_where_etcd_says_them_in_its_words)
{
    static const struct said cases[] = {
        {ERR_GRPC_INVALID_ARGUMENT, "etcdserver: request is too large", -EMSGSIZE, true},
        {ERR_GRPC_PERMISSION_DENIED, "etcdserver: permission denied", -EACCES, true},
        {ERR_GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests", -EAGAIN, true},
        {ERR_GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token", -EAGAIN, true},
        {ERR_GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", -ENOSPC, false},
        {ERR_GRPC_RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)", -EFBIG, false},
        {ERR_GRPC_RESOURCE_EXHAUSTED, "too many requests, says a proxy", -EFBIG, false},
        {ERR_GRPC_INVALID_ARGUMENT, "a proxy: request is too large", -EHOSTUNREACH, false},
        {ERR_GRPC_PERMISSION_DENIED, "RBAC: access denied", -EHOSTUNREACH, false},
        {ERR_GRPC_UNAUTHENTICATED, "a proxy wants a token", -EHOSTUNREACH, false},
        {ERR_GRPC_UNAVAILABLE, "etcdserver: too many requests", -EHOSTUNREACH, false},
        {ERR_GRPC_UNKNOWN, "etcdserver: permission denied", -EHOSTUNREACH, false},
    };
    static const struct rpc_method methods[] = {RPC_UNARY(&etcdserverpb__maintenance__descriptor, "Status", answer_old),
                                                RPC_UNARY(&etcdserverpb__kv__descriptor, "Txn", answer_said),
                                                {0}};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    char version[] = "3.6.0", error[256] = "", rest[64];
    struct rpc_server *server;
    const char *why;
    int fd, port;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_assert_eq(rpc_server_open(fd, &(struct rpc_server_def){.methods = methods, .state = version}, &server), 0);
    rpc_server_start(server);
    snprintf(rest, sizeof(rest), "127.0.0.1:%d/raw", port);
    cr_assert_eq(etcd_url_parse(rest, &raw_url, &why), 0);
    cr_assert_eq(etcd_client_open(&raw, &etcd_real_world, &raw_url, NULL, error, sizeof(error)), 0, "%s", error);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int err;

        atomic_store(&said, &cases[i]);
        err = etcd_call_wait(&raw, &etcdserverpb__kv__descriptor, "Txn", &txn.base, 10000, NULL, NULL);
        cr_expect_eq(err, cases[i].err, "%s: %s", cases[i].message, strerror(-err));
        cr_expect_eq(etcd_is_definite(err), cases[i].definite, "%s", cases[i].message);
    }
    etcd_client_close(&raw);
    raw.url = NULL;
    rpc_server_close(server);
}

Test(etcd, refuses_what_is_not_a_stores)
{
    struct replica replica = {.view = ""};
    char url[256], error[256] = "";

    start_members(1);
    raw_put("/test/some", "thing");
    etcd_cluster_url(&cluster, url);
    cr_expect_eq(open_replica_at(&replica, url, error), -EPROTO);
    cr_expect_not_null(strstr(error, "another program"), "%s", error);
    raw_delete("/test/some", NULL);
    raw_put("/test/format", "slipway\0 of another kind");
    cr_expect_eq(open_replica_at(&replica, url, error), -EPROTO);
    metrics_free(replica.metrics);
}

/* ---- the view's folder ---- */

Test(etcd, goes_on_from_its_view_and_makes_it_anew_after_a_reboot)
{
    struct replica replica = {.view = "view"}, second = {.view = "view"};
    char path[PATH_MAX], url[256], error[256] = "";
    FILE *boot;

    start_members(1);
    open_replica(&replica);
    cr_expect_eq(metric(&replica, "store_view_loads_total"), 1);
    put_any(replica.store, THINGS, STR("a"), STR("1"));
    etcd_cluster_url(&cluster, url);
    cr_expect_eq(open_replica_at(&second, url, error), -EBUSY);
    close_replica(&replica);
    metrics_free(second.metrics);

    open_replica(&replica);
    cr_expect(has(replica.store, THINGS, STR("a"), STR("1")));
    cr_expect_eq(metric(&replica, "store_view_loads_total"), 0);
    close_replica(&replica);

    snprintf(path, sizeof(path), "%s/view/boot", fixture.folder);
    boot = fopen(path, "w");
    fputs("another boot", boot);
    fclose(boot);
    open_replica(&replica);
    cr_expect(has(replica.store, THINGS, STR("a"), STR("1")));
    cr_expect_eq(metric(&replica, "store_view_loads_total"), 1);
    close_replica(&replica);
}

Test(etcd, a_view_of_another_history_is_made_anew)
{
    struct replica replica = {.view = "view"};

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("old"), STR("1"));
    close_replica(&replica);

    /* As after a restoration from a backup: there is less, then other things. */
    etcd_member_kill(&cluster, 0);
    snprintf(replica.url, sizeof(replica.url), "%s/etcd-0", fixture.folder);
    nftw(replica.url, fixture_remove_file, 16, FTW_DEPTH | FTW_PHYS);
    etcd_member_start(&cluster, 0);
    cr_assert(etcd_member_wait(&cluster, 0));
    open_replica(&replica);
    cr_expect_eq(get(replica.store, THINGS, STR("old"), NULL, NULL), -ENOENT);
    for (int i = 0; i < 20; i++)
        put_any(replica.store, THINGS, STR("new"), STR("1"));
    cr_expect(has(replica.store, THINGS, STR("new"), STR("1")));
    EXPECT_ALL(replica.store, THINGS, true, "1new=");
    close_replica(&replica);
}

/* What an earlier version of a service, which knows fewer tables, leaves to the next one. */
Test(etcd, a_view_of_fewer_tables_is_made_anew)
{
    struct replica earlier = {.view = "view"}, later = {.view = ""};
    char endpoints[256], error[256] = "";

    start_members(1);
    etcd_cluster_url(&cluster, endpoints);
    snprintf(earlier.url, sizeof(earlier.url), "%s/test?view=%s/view", endpoints, fixture.folder);
    cr_assert_eq(store_open(&(struct store_options){.url = earlier.url, .tables = tables, .table_count = 1},
                            &earlier.store, error, sizeof(error)),
                 0, "%s", error);
    open_replica(&later);
    put_any(later.store, OTHERS, STR("k"), STR("1"));
    put_any(later.store, THINGS, STR("k"), STR("1"));
    cr_assert(has(earlier.store, THINGS, STR("k"), STR("1")));
    store_close(earlier.store);

    open_replica(&earlier);
    cr_expect(has(earlier.store, OTHERS, STR("k"), STR("1")));
    cr_expect_eq(metric(&earlier, "store_view_loads_total"), 1);
    close_replica(&earlier);
    close_replica(&later);
}

/* ---- several replicas ---- */

#define REPLICAS 3
#define ROUNDS   60

static struct replica replicas[REPLICAS];

static void *write_here_read_there(void *arg)
{
    size_t me = (size_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct store *other = replicas[(me + 1 + (size_t)i % (REPLICAS - 1)) % REPLICAS].store;
        uint64_t seq, there = 0;
        char key[32];

        snprintf(key, sizeof(key), "%zu/%d", me, i);
        seq = put_any(replicas[me].store, THINGS, str_of(key), str_of(key));
        cr_assert_eq(get(other, THINGS, str_of(key), NULL, &there), 0, "acknowledged at one, read at another");
        cr_assert_eq(there, seq);
    }
    return NULL;
}

static void *increment(void *arg)
{
    struct store *store = replicas[(size_t)arg].store;

    for (int done = 0; done < ROUNDS;) {
        struct buf value = {0};
        uint64_t seq = 0;
        char text[16];
        int err;

        cr_assert_eq(get(store, OTHERS, STR("counter"), &value, &seq), 0);
        buf_append_char(&value, '\0');
        snprintf(text, sizeof(text), "%d", atoi(value.data) + 1);
        err = put(store, OTHERS, STR("counter"), str_of(text), STORE_AT, seq, NULL);
        cr_assert(err == 0 || err == -ESTALE, "%s", strerror(-err));
        done += err == 0;
        buf_release(&value);
    }
    return NULL;
}

static void run_replicas(void *(*run)(void *))
{
    pthread_t threads[REPLICAS];

    for (size_t i = 0; i < REPLICAS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    for (size_t i = 0; i < REPLICAS; i++)
        pthread_join(threads[i], NULL);
}

Test(etcd, replicas_see_each_others_writes_at_once)
{
    char expected[16];

    start_members(3);
    for (int i = 0; i < REPLICAS; i++)
        open_replica(&replicas[i]);
    run_replicas(write_here_read_there);
    put_any(replicas[0].store, OTHERS, STR("counter"), STR("0"));
    run_replicas(increment);
    snprintf(expected, sizeof(expected), "%d", REPLICAS * ROUNDS);
    for (int i = 0; i < REPLICAS; i++) {
        cr_expect(has(replicas[i].store, OTHERS, STR("counter"), str_of(expected)));
        cr_expect_eq(count_records(replicas[i].store), REPLICAS * ROUNDS);
        close_replica(&replicas[i]);
    }
}

/* Of many that change one record at a time, all but one fail each time: that must cost no transaction of etcd. */
Test(etcd, an_expectation_that_fails_costs_no_commit)
{
    struct replica replica = {.view = ""};
    struct store_result result;
    uint64_t commits, old, new;

    start_members(1);
    open_replica(&replica);
    old = put_any(replica.store, OTHERS, STR("k"), STR("1"));
    new = put_any(replica.store, OTHERS, STR("k"), STR("2"));
    commits = metric(&replica, "store_commits_total");
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(put(replica.store, OTHERS, STR("k"), STR("3"), STORE_AT, old, &result), -ESTALE);
        cr_expect_eq(put(replica.store, OTHERS, STR("k"), STR("3"), STORE_AT, new + 1, &result), -ESTALE);
        cr_expect_eq(put(replica.store, OTHERS, STR("k"), STR("3"), STORE_ABSENT, 0, &result), -EEXIST);
        cr_expect_eq(put(replica.store, OTHERS, STR("none"), STR("3"), STORE_PRESENT, 0, &result), -ENOENT);
        cr_expect_eq(put(replica.store, OTHERS, STR("none"), STR("3"), STORE_AT, new, &result), -ENOENT);
    }
    cr_expect_eq(metric(&replica, "store_commits_total"), commits);
    cr_expect_eq(put(replica.store, OTHERS, STR("k"), STR("3"), STORE_AT, new, &result), 0);
    close_replica(&replica);
}

#define CONTENDERS 32

static void *add_one(void *arg)
{
    struct store *store = arg;

    for (int err = -ESTALE; err != 0;) {
        struct buf value = {0};
        uint64_t seq = 0;
        char text[16];

        cr_assert_eq(get(store, OTHERS, STR("counter"), &value, &seq), 0);
        buf_append_char(&value, '\0');
        snprintf(text, sizeof(text), "%d", atoi(value.data) + 1);
        err = put(store, OTHERS, STR("counter"), str_of(text), STORE_AT, seq, NULL);
        cr_assert(err == 0 || err == -ESTALE, "%s", strerror(-err));
        buf_release(&value);
    }
    return NULL;
}

Test(etcd, a_contended_record_costs_a_commit_for_each_change)
{
    struct replica replica = {.view = ""};
    pthread_t threads[CONTENDERS];
    char expected[16];
    uint64_t commits;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, OTHERS, STR("counter"), STR("0"));
    commits = metric(&replica, "store_commits_total");
    for (int i = 0; i < CONTENDERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add_one, replica.store), 0);
    for (int i = 0; i < CONTENDERS; i++)
        pthread_join(threads[i], NULL);
    snprintf(expected, sizeof(expected), "%d", CONTENDERS);
    cr_expect(has(replica.store, OTHERS, STR("counter"), str_of(expected)));
    cr_expect_leq(metric(&replica, "store_commits_total"), commits + CONTENDERS);
    close_replica(&replica);
}

/* The view of one replica does not know yet what another has done: it must not decide. */
Test(etcd, an_expectation_is_judged_by_what_is_there_and_not_by_the_view)
{
    struct replica writer = {.view = ""}, behind = {.view = ""};
    uint64_t seq;

    start_members(1);
    open_replica(&writer);
    open_replica(&behind);
    for (int i = 0; i < 20; i++) { /* the watch needs a moment, mostly longer than the first write behind takes */
        seq = put_any(writer.store, OTHERS, STR("k"), STR("1"));
        cr_assert_eq(put(behind.store, OTHERS, STR("k"), STR("2"), STORE_AT, seq, NULL), 0);
        cr_assert_eq(delete_any(writer.store, OTHERS, STR("k")), 0);
        cr_assert_eq(put(behind.store, OTHERS, STR("k"), STR("2"), STORE_AT, seq, NULL), -ENOENT);
        cr_assert_eq(put(behind.store, OTHERS, STR("k"), STR("2"), STORE_ABSENT, 0, NULL), 0);
        cr_assert_eq(delete_any(writer.store, OTHERS, STR("k")), 0);
    }
    close_replica(&behind);
    close_replica(&writer);
}

static atomic_uint winners, repeats;

static void on_key(void *arg, int err, struct str answer, uint64_t seq)
{
    cr_assert(err == 0 || err == -EEXIST, "%s", strerror(-err));
    atomic_store((atomic_int *)arg, err);
}

static void *do_once(void *arg)
{
    struct store *store = replicas[(size_t)arg].store;
    struct idempotency *idempotency;

    cr_assert_eq(idempotency_open(store, OTHERS, 3600 * 1000, NULL, &idempotency), 0);
    for (int i = 0; i < 20; i++) {
        struct store_batch *batch = store_batch_new();
        struct store_result result;
        atomic_int found = 1;
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        idempotency_begin(idempotency, str_of(key), STR("request"), WITHIN_NS(30), on_key, &found);
        while (found == 1)
            usleep(100);
        store_batch_put(batch, THINGS, (struct str){(char *)&i, sizeof(i)}, STR("done"), STORE_ABSENT, 0);
        idempotency_add(idempotency, batch, str_of(key), STR("request"), STR("answer"));
        if (found == -EEXIST) {
            store_batch_free(batch);
            repeats++;
            continue;
        }
        if (store_write_wait(store, batch, WITHIN_NS(30), &result) == 0)
            winners++;
        else
            cr_assert_eq(result.err, -EEXIST);
        idempotency_release(idempotency, str_of(key));
    }
    idempotency_free(idempotency);
    return NULL;
}

Test(etcd, a_request_that_reaches_all_replicas_is_done_once)
{
    static struct store_table with_keys[2];
    char url[256], error[256];

    start_members(1);
    etcd_cluster_url(&cluster, url);
    strcat(url, "/keys");
    with_keys[THINGS] = (struct store_table){"things", NULL, 0};
    with_keys[OTHERS] = idempotency_table;
    for (int i = 0; i < REPLICAS; i++)
        cr_assert_eq(store_open(&(struct store_options){.url = url, .tables = with_keys, .table_count = 2},
                                &replicas[i].store, error, sizeof(error)),
                     0, "%s", error);
    run_replicas(do_once);
    cr_expect_eq(winners, 20);
    for (int i = 0; i < REPLICAS; i++)
        store_close(replicas[i].store);
}

/* ---- history that is gone ---- */

struct compacting {
    struct replica *behind;
    struct str key;
};

static bool has_caught_up(void *arg)
{
    struct compacting *c = arg;

    return look(c->behind->store, c->key, 1000, 0).found;
}

Test(etcd, loads_anew_after_compaction_and_serves_meanwhile)
{
    struct replica writer = {.view = "a"}, behind = {.view = "b"};
    struct tcp_proxy proxy;
    struct look stale;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica(&writer);
    open_replica_behind(&behind, &proxy, false);
    put_any(writer.store, THINGS, STR("first"), STR("1"));
    put_any(writer.store, THINGS, STR("goes"), STR("1"));
    cr_assert(has(behind.store, THINGS, STR("first"), STR("1")));

    tcp_proxy_set(&proxy, TCP_PROXY_REFUSE);
    for (int i = 0; i < 300; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%d", i);
        put_any(writer.store, THINGS, str_of(key), str_of(key));
    }
    cr_assert_eq(delete_any(writer.store, THINGS, STR("goes")), 0);
    put_any(writer.store, THINGS, STR("last"), STR("1"));
    raw_compact();
    stale = look(behind.store, STR("first"), 1000, 3600 * 1000);
    cr_expect(stale.err == 0 && stale.found && stale.age_ms > 0);
    cr_expect(look(behind.store, STR("goes"), 1000, 3600 * 1000).found);

    tcp_proxy_set(&proxy, TCP_PROXY_PASS);
    wait_until(has_caught_up, &(struct compacting){&behind, STR("last")});
    cr_expect_eq(metric(&behind, "store_view_loads_total"), 2);
    cr_expect_eq(get(behind.store, THINGS, STR("goes"), NULL, NULL), -ENOENT);
    cr_expect_eq(count_records(behind.store), 302);
    put_any(writer.store, THINGS, STR("after"), STR("1"));
    cr_expect(has(behind.store, THINGS, STR("after"), STR("1")), "and follows on");

    /* The same at a start. */
    close_replica(&behind);
    put_any(writer.store, THINGS, STR("while it was away"), STR("1"));
    raw_compact();
    open_replica(&behind);
    cr_expect(has(behind.store, THINGS, STR("while it was away"), STR("1")));
    cr_expect_eq(metric(&behind, "store_view_loads_total"), 1);
    close_replica(&behind);
    close_replica(&writer);
    tcp_proxy_stop(&proxy);
}

Test(etcd, a_watch_that_was_cut_goes_on_where_it_was)
{
    struct replica writer = {.view = "a"}, behind = {.view = "b"};
    struct tcp_proxy proxy;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica(&writer);
    open_replica_behind(&behind, &proxy, false);
    for (int i = 0; i < 5; i++) {
        char key[32];

        tcp_proxy_set(&proxy, TCP_PROXY_REFUSE);
        for (int n = 0; n < 20; n++) {
            snprintf(key, sizeof(key), "%d/%d", i, n);
            put_any(writer.store, THINGS, str_of(key), STR("1"));
        }
        tcp_proxy_set(&proxy, TCP_PROXY_PASS);
        wait_until(has_caught_up, &(struct compacting){&behind, str_of(key)});
    }
    cr_expect_eq(count_records(behind.store), 100);
    cr_expect_eq(metric(&behind, "store_view_loads_total"), 1);
    cr_expect_geq(metric(&behind, "store_watches_total"), 2);
    close_replica(&behind);
    close_replica(&writer);
    tcp_proxy_stop(&proxy);
}

/* The follower's thread is held, so that the view stays as it is. */
static void hold_follower(struct etcd *etcd)
{
    pthread_mutex_lock(&etcd->mutex);
    etcd->follower.stopped = true;
    etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
    etcd->world->join_thread(etcd->follower.thread);
    etcd->follower.stopped = false;
}

static bool reaches_etcd(void *arg)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    request.key = etcd_data(STR("x"));
    return etcd_call_wait(&((struct etcd *)arg)->client, &etcdserverpb__kv__descriptor, "Range", &request.base, 1000,
                          NULL, NULL) == 0;
}

static void replace_etcd(void)
{
    char folder[PATH_MAX];

    etcd_member_kill(&cluster, 0);
    snprintf(folder, sizeof(folder), "%s/etcd-0", fixture.folder);
    nftw(folder, fixture_remove_file, 16, FTW_DEPTH | FTW_PHYS);
    etcd_member_start(&cluster, 0);
    cr_assert(etcd_member_wait(&cluster, 0));
}

/* etcd is replaced behind a running replica: by less than the replica has seen, or by more. Until its view is another
 * one, no read may be answered from it, though etcd's revision is one that the view has come to, or comes to. */
static void read_behind_another_history(int old_writes, int new_writes)
{
    struct replica replica = {.view = ""}, other = {.view = ""};
    struct etcd *etcd;
    int err;

    start_members(1);
    open_replica(&replica);
    etcd = (struct etcd *)replica.store;
    for (int i = 0; i < old_writes; i++)
        put_any(replica.store, THINGS, STR("old"), STR("1"));
    hold_follower(etcd);
    replace_etcd();
    open_replica(&other);
    for (int i = 0; i < new_writes; i++)
        put_any(other.store, THINGS, STR("new"), STR("1"));
    wait_until(reaches_etcd, etcd);
    err = look(replica.store, STR("new"), 500, 0).err;
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH, "%s", strerror(-err));
    cr_assert_eq(etcd_follower_start(etcd), 0);
    wait_until(has_caught_up, &(struct compacting){&replica, STR("new")});
    cr_expect_eq(get(replica.store, THINGS, STR("old"), NULL, NULL), -ENOENT);
    put_any(replica.store, THINGS, STR("newer"), STR("1"));
    EXPECT_ALL(other.store, THINGS, false, "new=1 newer=1");
    close_replica(&other);
    close_replica(&replica);
}

Test(etcd, no_read_is_answered_from_a_history_that_is_gone)
{
    read_behind_another_history(20, 1);
}

Test(etcd, no_read_is_answered_from_a_history_that_was_overtaken)
{
    read_behind_another_history(1, 20);
}

/* The same revision, and another head. */
Test(etcd, no_read_is_answered_from_another_history_of_the_same_length)
{
    read_behind_another_history(10, 10);
}

/* As after commits that etcd has lost, restored from a snapshot which has all that the view had seen: no lane would
 * ever be free again, since nothing else writes. */
Test(etcd, a_lane_does_not_wait_for_a_revision_that_is_gone)
{
    struct replica replica = {.view = ""};
    struct etcd *etcd;

    start_members(1);
    open_replica(&replica);
    etcd = (struct etcd *)replica.store;
    put_any(replica.store, THINGS, STR("a"), STR("1"));
    hold_follower(etcd);
    pthread_mutex_lock(&etcd->mutex);
    for (unsigned i = 0; i < ETCD_LANES; i++) {
        etcd->writer.lanes[i].state = LANE_COMMITTED;
        etcd->writer.lanes[i].revision = atomic_load(&etcd->applied) + 1000;
    }
    pthread_mutex_unlock(&etcd->mutex);
    cr_assert_eq(etcd_follower_start(etcd), 0);
    put_any(replica.store, THINGS, STR("b"), STR("2"));
    EXPECT_ALL(replica.store, THINGS, false, "a=1 b=2");
    close_replica(&replica);
}

/* ---- another store ---- */

static const uint8_t restore_id[STORE_RESTORE_ID] = {1};

static int open_to_restore(struct store **ret_store, char error[256])
{
    char url[256 + 8];

    etcd_cluster_url(&cluster, url);
    strcat(url, "/test");
    return store_open(
        &(struct store_options){
            .url = url, .tables = tables, .table_count = 2, .mode = STORE_RESTORE, .restore_id = restore_id},
        ret_store, error, 256);
}

#define LAST_SEQ (1ULL << 40)

static void restore_one(void)
{
    struct store_batch *batch = store_batch_new();
    char error[256] = "";
    struct store *store;

    cr_assert_eq(open_to_restore(&store, error), 0, "%s", error);
    store_batch_restore(batch, THINGS, STR("restored"), STR("1"), LAST_SEQ);
    cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
    cr_assert_eq(store_restored(store, LAST_SEQ), 0);
    store_close(store);
}

Test(etcd, an_import_below_a_running_replica_is_refused)
{
    struct replica replica = {.view = ""};
    char error[256] = "";
    struct store *store;

    start_members(1);
    open_replica(&replica); /* it has not written anything */
    cr_expect_eq(open_to_restore(&store, error), -ENOTEMPTY);
    cr_expect_not_null(strstr(error, "a service has been started there"), "%s", error);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    close_replica(&replica);
}

static bool has_noticed(void *arg)
{
    return store_ready(arg) == -EIO;
}

/* It would give records sequence numbers of the store that was there before. */
Test(etcd, a_replica_below_which_all_was_deleted_and_imported_does_nothing_more)
{
    struct replica replica = {.view = ""}, after = {.view = ""};
    uint64_t seq;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    raw_delete("/test/", "/test0");
    restore_one();
    cr_expect_eq(put_within(replica.store, STR("k"), STORE_ANY, 10000), -EIO);
    wait_until(has_noticed, replica.store);
    cr_expect_eq(store_health(replica.store), -EIO);
    cr_expect_eq(look(replica.store, STR("restored"), 10000, 0).err, -EIO);
    cr_expect_eq(look(replica.store, STR("restored"), 10000, 3600 * 1000).err, -EIO);
    close_replica(&replica);

    open_replica(&after);
    cr_expect_eq(get(after.store, THINGS, STR("restored"), NULL, &seq), 0);
    cr_expect_eq(seq, LAST_SEQ);
    cr_expect_eq(get(after.store, THINGS, STR("k"), NULL, NULL), -ENOENT);
    cr_expect_gt(put_any(after.store, THINGS, STR("k"), STR("1")), LAST_SEQ);
    close_replica(&after);
}

/* What is left of an etcd that was replaced by one into which records were imported. */
Test(etcd, a_replica_whose_etcd_was_replaced_by_an_import_does_nothing_more)
{
    struct replica replica = {.view = ""};

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    replace_etcd();
    restore_one();
    wait_until(has_noticed, replica.store);
    cr_expect_eq(put_within(replica.store, STR("k"), STORE_ANY, 10000), -EIO);
    cr_expect_eq(look(replica.store, STR("restored"), 10000, 0).err, -EIO);
    close_replica(&replica);
}

/* ---- a backlog ---- */

#define BACKLOG_REVISIONS 40 /* of three records of the greatest size: more bytes than the watch takes in a message */

static const char backlog_keys[] = "abc";

static void put_generation(struct store *store, uint8_t generation)
{
    static char value[STORE_MAX_VALUE];
    struct store_batch *batch = store_batch_new();

    memset(value, generation, sizeof(value));
    for (const char *key = backlog_keys; *key != '\0'; key++)
        store_batch_put(batch, OTHERS, (struct str){key, 1}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
    cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
}

/* The generation of all three, which are only ever written together. */
static void on_generation(void *arg, int err, struct store_snapshot *snapshot)
{
    uint8_t generation = 0, *ret_generation = arg;

    cr_assert_eq(err, 0, "%s", strerror(-err));
    for (const char *key = backlog_keys; *key != '\0'; key++) {
        struct store_record record;

        cr_assert_eq(store_get(snapshot, OTHERS, (struct str){key, 1}, &record), 0);
        cr_assert(key == backlog_keys || (uint8_t)record.value.s[0] == generation, "a part of a revision is there");
        generation = (uint8_t)record.value.s[0];
    }
    *ret_generation = generation;
}

static uint8_t generation_of(struct store *store, uint64_t max_stale_ms)
{
    uint8_t generation = UINT8_MAX;

    store_read_wait(store, WITHIN_NS(30), max_stale_ms, on_generation, &generation);
    return generation;
}

static bool has_last_generation(void *arg)
{
    return generation_of(arg, 3600 * 1000) == BACKLOG_REVISIONS;
}

/* etcd would send it as one message, and cuts it where that is asked for: in the middle of a revision, too. */
Test(etcd, a_backlog_comes_in_pieces_and_is_seen_a_revision_at_a_time)
{
    struct replica writer = {.view = ""}, behind = {.view = ""};
    struct tcp_proxy proxy;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica(&writer);
    put_generation(writer.store, 0);
    open_replica_behind(&behind, &proxy, false);
    cr_assert_eq(generation_of(behind.store, 0), 0); /* from now on it knows how stale it is */
    tcp_proxy_set(&proxy, TCP_PROXY_REFUSE);
    for (uint8_t i = 1; i <= BACKLOG_REVISIONS; i++)
        put_generation(writer.store, i);
    tcp_proxy_set(&proxy, TCP_PROXY_PASS);
    wait_until(has_last_generation, behind.store);
    cr_expect_eq(metric(&behind, "store_view_loads_total"), 1, "by the watch, not by a copy");
    put_any(writer.store, THINGS, STR("after"), STR("1"));
    cr_expect(has(behind.store, THINGS, STR("after"), STR("1")), "and follows on");
    close_replica(&behind);
    close_replica(&writer);
    tcp_proxy_stop(&proxy);
}

/* ---- a copy of all records ---- */

/* All keys and values of a table, one after the other. */
static void copy_table(void *arg, int err, struct store_snapshot *snapshot)
{
    struct listing *listing = arg;
    struct store_cursor cursor;
    struct store_record record;

    cr_assert_eq(err, 0, "%s", strerror(-err));
    cr_assert_eq(store_cursor_open(snapshot, listing->table, false, &cursor), 0);
    for (err = store_cursor_next(&cursor, &record); err == 0; err = store_cursor_next(&cursor, &record)) {
        buf_append(&listing->text, &record.key.len, sizeof(record.key.len));
        buf_append_str(&listing->text, record.key);
        buf_append(&listing->text, &record.value.len, sizeof(record.value.len));
        buf_append_str(&listing->text, record.value);
    }
    cr_assert_eq(err, -ENOENT);
    store_cursor_close(&cursor);
}

static void expect_same_table(struct store *store, struct store *other, unsigned table)
{
    struct listing one = {.table = table}, two = {.table = table};

    store_read_wait(store, WITHIN_NS(30), 0, copy_table, &one);
    store_read_wait(other, WITHIN_NS(30), 0, copy_table, &two);
    cr_expect_eq(buf_error(&one.text), 0);
    cr_expect(str_eq(buf_str(&one.text), buf_str(&two.text)), "%zu and %zu bytes", one.text.len, two.text.len);
    buf_release(&one.text);
    buf_release(&two.text);
}

/* Many short keys that begin alike, and some bytes of which are the first and the last there are. */
static void put_crowded_keys(struct store *store, unsigned table, unsigned batches)
{
    static const char bytes[] = {'\0', '\xff', 'a', 'b'};
    uint32_t random = 1;

    for (unsigned i = 0; i < batches; i++) {
        struct store_batch *batch = store_batch_new();

        for (unsigned n = 0; n < STORE_MAX_BATCH; n++) {
            char key[16] = {(char)n}; /* a key comes once in a batch */
            size_t len = 1;

            for (random = random * 1664525 + 1013904223; len < 1 + random / 0x20000000 * 2; len++)
                key[len] = bytes[(random >> (2 * len)) % sizeof(bytes)];
            store_batch_put(batch, table, (struct str){key, len}, (struct str){key, len}, STORE_ANY, 0);
        }
        cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
    }
}

/* The largest answer to a Range, as the member's log says with the options below. */
static uint64_t largest_answer(void)
{
    char path[PATH_MAX], *line = NULL;
    uint64_t largest = 0;
    size_t size = 0;
    FILE *log;

    snprintf(path, sizeof(path), "%s/etcd-0.log", fixture.folder);
    log = fopen(path, "r");
    cr_assert_not_null(log);
    while (getline(&line, &size, log) > 0) {
        const char *at = strstr(line, "KV/Range") != NULL ? strstr(line, "\"response size\":") : NULL;
        uint64_t bytes = at != NULL ? strtoull(strchr(at, ':') + 1, NULL, 10) : 0;

        largest = bytes > largest ? bytes : largest;
    }
    free(line);
    fclose(log);
    return largest;
}

static void put_large(struct store *store, unsigned count)
{
    static char value[STORE_MAX_VALUE];

    for (unsigned i = 0; i < count; i += 2) {
        struct store_batch *batch = store_batch_new();

        for (uint8_t key = (uint8_t)i; key < i + 2; key++)
            store_batch_put(batch, THINGS, (struct str){(char *)&key, 1}, (struct str){value, sizeof(value)}, STORE_ANY,
                            0);
        cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
    }
}

/* etcd builds an answer in memory: as many values as are asked for, however large they are. */
Test(etcd, a_page_of_a_copy_is_bounded_though_large_records_follow_small_ones)
{
    static const char *const options[] = {"--log-level=warn", "--warning-unary-request-duration=1ns", NULL};
    struct replica replica = {.view = ""};

    start_members(1);
    open_replica(&replica);
    put_crowded_keys(replica.store, OTHERS, 40);
    put_large(replica.store, 200);
    close_replica(&replica);
    etcd_member_kill(&cluster, 0);
    cluster.options = options; /* not before: of more than 100 lines a second etcd leaves some out */
    etcd_member_start(&cluster, 0);
    cr_assert(etcd_member_wait(&cluster, 0));
    open_replica(&replica);
    cr_expect_eq(count_records(replica.store), 200);
    cr_expect_gt(largest_answer(), STORE_MAX_VALUE);
    cr_expect_leq(largest_answer(), 32 << 20);
    close_replica(&replica);
}

Test(etcd, a_copy_is_complete_whatever_its_keys_are)
{
    struct replica writer = {.view = ""}, fresh = {.view = ""};

    start_members(1);
    open_replica(&writer);
    put_crowded_keys(writer.store, OTHERS, 2000);
    put_crowded_keys(writer.store, THINGS, 20);
    open_replica(&fresh);
    expect_same_table(writer.store, fresh.store, THINGS);
    expect_same_table(writer.store, fresh.store, OTHERS);
    close_replica(&fresh);
    close_replica(&writer);
}

/* ---- etcd is replaced while it is being looked at ---- */

#define HISTORY_BATCHES 20 /* of each history, at least: more records than a page of a copy has */

static const struct store_table early_tables[] = {{"early", NULL, 0}}; /* before the other keys of the prefix */

static void put_history(struct store *store, char letter, unsigned batches)
{
    for (unsigned i = 0; i < batches; i++) {
        struct store_batch *batch = store_batch_new();

        for (unsigned n = 0; n < STORE_MAX_BATCH; n++) {
            char key[3] = {letter, (char)i, (char)n};

            store_batch_put(batch, 0, (struct str){key, sizeof(key)}, STR("v"), STORE_ANY, 0);
        }
        cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), NULL), 0);
    }
}

static struct store *open_early(const struct etcd_world *world)
{
    struct store_options options = {
        .tables = early_tables, .table_count = 1, .max_bytes = 64 << 20, .max_queue = 64, .max_queue_bytes = 4 << 20};
    char url[256], rest[300], error[256] = "";
    struct store *store;

    etcd_cluster_url(&cluster, url);
    snprintf(rest, sizeof(rest), "%s/early", url + strlen("etcd://"));
    options.url = url;
    cr_assert_eq(store_etcd_open(world, &options, rest, &store, error, sizeof(error)), 0, "%s", error);
    store_opened(store, &store_etcd_engine, &options);
    return store;
}

/* It comes to more revisions than the first history, and has other records. */
static void become_another_history(void)
{
    struct store *other;

    replace_etcd();
    other = open_early(&etcd_real_world);
    put_history(other, 'n', 2 * HISTORY_BATCHES);
    store_close(other);
}

static atomic_bool armed;

static int stream_open_late(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                            const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers,
                            void *arg, struct rpc_stream **ret_stream)
{
    if (atomic_exchange(&armed, false))
        become_another_history();
    return etcd_real_world.stream_open(client, service, method, options, handlers, arg, ret_stream);
}

/* A page of a copy, but the first. */
static bool is_later_page(const ProtobufCMessage *request)
{
    const Etcdserverpb__RangeRequest *range = (const Etcdserverpb__RangeRequest *)request;

    return request->descriptor == &etcdserverpb__range_request__descriptor && range->revision > 0 &&
           range->range_end.len > 0 && range->key.len > strlen("/early/");
}

static int unary_late(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                      const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done,
                      void *arg)
{
    if (is_later_page(request) && atomic_exchange(&armed, false))
        become_another_history();
    return etcd_real_world.unary(client, service, method, request, options, done, arg);
}

static void expect_other_history_alone(struct store *store)
{
    const char last[3] = {'n', 2 * HISTORY_BATCHES - 1, 0};
    struct store *other = open_early(&etcd_real_world);
    uint64_t until_ns = WITHIN_NS(60);

    cr_expect_not(armed, "etcd was not replaced");
    while (get(store, 0, (struct str){last, sizeof(last)}, NULL, NULL) != 0)
        cr_assert_lt(clock_monotonic_ns(), until_ns);
    expect_same_table(store, other, 0);
    store_close(other);
}

/* The watch would go on from the view's revision in the new history, and the view would keep the old one's records. */
Test(etcd, a_watch_does_not_put_another_history_on_top_of_the_view)
{
    struct etcd_world world = etcd_real_world;
    struct store *store;

    world.stream_open = stream_open_late;
    start_members(1);
    store = open_early(&world);
    put_history(store, 'o', HISTORY_BATCHES);
    hold_follower((struct etcd *)store);
    armed = true;
    cr_assert_eq(etcd_follower_start((struct etcd *)store), 0);
    expect_other_history_alone(store);
    store_close(store);
}

static atomic_bool other_followed;

static int stream_open_checked(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                               const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers,
                               void *arg, struct rpc_stream **ret_stream)
{
    struct etcd *etcd = arg;

    if (etcd_history_check(etcd, &etcd->follower.following->position) == -ERANGE)
        other_followed = true;
    return etcd_real_world.stream_open(client, service, method, options, handlers, arg, ret_stream);
}

/* The first page is of the old history, and the others, of the same revision, are of the new one. */
Test(etcd, a_copy_is_of_one_history)
{
    struct etcd_world world = etcd_real_world;
    struct store *store;

    world.unary = unary_late;
    world.stream_open = stream_open_checked;
    start_members(1);
    store = open_early(&etcd_real_world);
    put_history(store, 'o', HISTORY_BATCHES);
    store_close(store);
    armed = true;
    store = open_early(&world);
    expect_other_history_alone(store);
    cr_expect_not(other_followed, "a copy of two histories was served");
    store_close(store);
}

static atomic_uint first_pages;

/* Loses the answer to the first question for the head at a revision, which is the last one of a copy. */
static int unary_lossy(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                       const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done,
                       void *arg)
{
    const Etcdserverpb__RangeRequest *range = (const Etcdserverpb__RangeRequest *)request;

    if (request->descriptor == &etcdserverpb__range_request__descriptor && range->revision > 0) {
        if (range->range_end.len == 0 && atomic_exchange(&armed, false)) {
            done(arg, &(struct rpc_status){.code = ERR_GRPC_UNAVAILABLE, .message = ""}, NULL);
            return 0;
        }
        first_pages += range->range_end.len > 0 && !is_later_page(request);
    }
    return etcd_real_world.unary(client, service, method, request, options, done, arg);
}

Test(etcd, a_copy_is_not_made_again_for_one_lost_answer)
{
    struct etcd_world world = etcd_real_world;
    struct store *store;

    world.unary = unary_lossy;
    start_members(1);
    armed = true;
    store = open_early(&world);
    cr_expect_not(armed, "no answer was lost");
    cr_expect_eq(first_pages, 1);
    store_close(store);
}

/* ---- answers that get lost ---- */

struct pending {
    sem_t done;
    struct store_result result;
    atomic_uint calls;
};

static void on_written(void *arg, const struct store_result *result)
{
    struct pending *pending = arg;

    pending->result = *result;
    pending->calls++;
    sem_post(&pending->done);
}

static void begin_put(struct pending *pending, struct store *store, const char *key, enum store_expect expect,
                      uint64_t within_ms)
{
    struct store_batch *batch = store_batch_new();

    *pending = (struct pending){.calls = 0};
    sem_init(&pending->done, 0, 0);
    store_batch_put(batch, THINGS, str_of(key), STR("v"), expect, 0);
    store_write(store, batch, clock_monotonic_ns() + within_ms * CLOCK_NS_PER_MS, on_written, pending);
}

static int end_put(struct pending *pending)
{
    while (sem_wait(&pending->done) != 0)
        continue;
    return pending->result.err;
}

static bool is_committed(void *arg)
{
    return raw_range(arg, NULL).mod_revision > 0;
}

/* The transaction reaches etcd, its answer does not come, nor does the watch: the lane's key tells. */
Test(etcd, a_commit_whose_answer_is_lost_is_found_to_be_done)
{
    struct replica replica = {.view = ""};
    struct tcp_proxy proxy;
    struct pending pending;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica_behind(&replica, &proxy, false);
    put_any(replica.store, THINGS, STR("first"), STR("1"));
    for (int i = 0; i < 5; i++) {
        char key[32], etcd_key[64];

        snprintf(key, sizeof(key), "lost %d", i);
        snprintf(etcd_key, sizeof(etcd_key), "/test/things/%s", key);
        tcp_proxy_set(&proxy, TCP_PROXY_DROP_ANSWERS);
        begin_put(&pending, replica.store, key, STORE_ABSENT, 30000);
        wait_until(is_committed, etcd_key);
        tcp_proxy_cut(&proxy);
        cr_expect_eq(end_put(&pending), 0, "%s: %s", key, strerror(-pending.result.err));
        cr_expect(has(replica.store, THINGS, str_of(key), STR("v")));
    }
    cr_expect_geq(metric(&replica, "store_fences_total"), 1);
    close_replica(&replica);
    tcp_proxy_stop(&proxy);
}

/* The transaction arrives long after it was given up, fenced off and made again another way. */
Test(etcd, a_commit_that_arrives_late_does_nothing)
{
    struct replica replica = {.view = ""};
    struct tcp_proxy proxy;
    struct pending pending;
    struct raw_answer answer;
    uint64_t seq = 0;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica_behind(&replica, &proxy, true);
    put_any(replica.store, THINGS, STR("first"), STR("1"));
    tcp_proxy_set(&proxy, TCP_PROXY_HOLD_REQUESTS);
    begin_put(&pending, replica.store, "late", STORE_ANY, 30000);
    cr_assert_eq(end_put(&pending), 0);
    seq = pending.result.seq;
    tcp_proxy_set(&proxy, TCP_PROXY_PASS);
    for (int i = 0; i < 20; i++)
        put_any(replica.store, THINGS, STR("more"), STR("1"));
    answer = raw_range("/test/things/late", NULL);
    cr_expect_eq(etcd_seq(&(struct etcd_keys){.base = 0}, answer.mod_revision, 0), seq,
                 "it has not been written again");
    cr_expect_geq(metric(&replica, "store_fences_total"), 1);
    close_replica(&replica);
    tcp_proxy_stop(&proxy);
}

/* Nothing can be found out before the deadline. */
Test(etcd, an_unknown_result_is_said_to_be_unknown_and_never_changed)
{
    struct replica replica = {.view = ""};
    struct tcp_proxy proxy;
    struct pending sent, queued;
    char etcd_key[] = "/test/things/sent";
    int err;

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica_behind(&replica, &proxy, false);
    put_any(replica.store, THINGS, STR("first"), STR("1"));
    tcp_proxy_set(&proxy, TCP_PROXY_DROP_ANSWERS);
    begin_put(&sent, replica.store, "sent", STORE_ABSENT, 3000);
    wait_until(is_committed, etcd_key);
    begin_put(&queued, replica.store, "sent", STORE_ANY, 3000); /* waits for the first: it is never sent */
    cr_expect_eq(end_put(&sent), -EINPROGRESS);
    err = end_put(&queued);
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH || err == -EINPROGRESS, "%s", strerror(-err));
    tcp_proxy_cut(&proxy);
    cr_expect_eq(put_within(replica.store, STR("after"), STORE_ABSENT, 30000), 0);
    cr_expect(look(replica.store, STR("sent"), 10000, 0).found);
    close_replica(&replica);
    cr_expect(sent.calls == 1 && queued.calls == 1);
    tcp_proxy_stop(&proxy);
}

Test(etcd, writes_go_on_when_lanes_are_cleaned_up)
{
    struct replica replica = {.view = ""};

    start_members(1);
    open_replica(&replica);
    for (int i = 0; i < 10; i++) {
        put_any(replica.store, THINGS, STR("k"), STR("1"));
        raw_delete("/test/writer-", "/test/writer.");
    }
    cr_expect_eq(raw_range("/test/writer-", "/test/writer.").count, 0);
    cr_expect(has(replica.store, THINGS, STR("k"), STR("1")));
    close_replica(&replica);
}

/* Lets etcd go on from a snapshot at a much later revision. */
static void restore_later(unsigned revisions)
{
    char program[PATH_MAX], arguments[PATH_MAX + 64], command[4 * PATH_MAX];
    const char *folder = fixture.folder;

    snprintf(arguments, sizeof(arguments), "snapshot save %s/snapshot", folder);
    cr_assert_eq(etcdctl(arguments), 0);
    etcd_member_kill(&cluster, 0);
    cr_assert_not_null(etcd_cluster_find("etcdutl", program));
    snprintf(command, sizeof(command),
             "rm -rf %s/etcd-0 && %s snapshot restore %s/snapshot --name=m0 --data-dir=%s/etcd-0 "
             "--initial-cluster=m0=http://127.0.0.1:%d --initial-advertise-peer-urls=http://127.0.0.1:%d "
             "--bump-revision=%u --mark-compacted >/dev/null 2>&1",
             folder, program, folder, folder, cluster.members[0].peer_port, cluster.members[0].peer_port, revisions);
    cr_assert_eq(system(command), 0);
}

static bool has_bytes(void *arg)
{
    struct stat file;

    return stat(arg, &file) == 0 && file.st_size == 8;
}

static bool is_cleaned(void *arg)
{
    struct raw_answer answer;

    /* An etcd that has just started may not answer yet. */
    return raw_try_range(arg, NULL, &answer) == 0 && answer.count == 0;
}

/* Also by a process that found no etcd when it started. */
Test(etcd, keys_of_lanes_of_long_ago_are_removed)
{
    static const char old[] = "/test/writer-old", id[] = "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"; /* of 2005 */
    struct replica replica = {.view = "view"};
    char fresh[PATH_MAX];

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    snprintf(fresh, sizeof(fresh), "%s/view/fresh", fixture.folder);
    wait_until(has_bytes, fresh);
    close_replica(&replica);
    raw_put(old, id);
    restore_later(200000);
    open_replica(&replica);
    etcd_member_start(&cluster, 0);
    cr_assert(etcd_member_wait(&cluster, 0));
    wait_until(is_cleaned, (void *)(uintptr_t)old);
    cr_expect(has(replica.store, THINGS, STR("k"), STR("1")));
    close_replica(&replica);
}

/* ---- a view that fails ---- */

static bool has_failed(void *arg)
{
    return store_health(arg) == -EIO;
}

static bool is_well(void *arg)
{
    return store_health(arg) == 0;
}

Test(etcd, a_view_that_cannot_be_written_is_reported_and_made_anew)
{
    struct replica replica = {.view = "view"};
    struct pending pending;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("first"), STR("1"));
    failing_meta = true;
    begin_put(&pending, replica.store, "k", STORE_ABSENT, 30000);
    wait_until(has_failed, replica.store);
    cr_expect_geq(metric(&replica, "store_view_errors_total"), 3);
    failing_meta = false;
    cr_expect_eq(end_put(&pending), 0, "%s", strerror(-pending.result.err));
    wait_until(is_well, replica.store);
    cr_expect_eq(metric(&replica, "store_view_loads_total"), 2);
    EXPECT_ALL(replica.store, THINGS, false, "first=1 k=v");
    put_any(replica.store, THINGS, STR("last"), STR("1"));
    EXPECT_ALL(replica.store, THINGS, false, "first=1 k=v last=1");
    close_replica(&replica);
    open_replica(&replica);
    cr_expect_eq(metric(&replica, "store_view_loads_total"), 0, "and a restart goes on from it");
    close_replica(&replica);
}

static bool has_view_errors(void *arg)
{
    return metric(arg, "store_view_errors_total") > 0;
}

static bool is_there(void *arg)
{
    return access(arg, F_OK) == 0;
}

Test(etcd, a_load_that_gets_no_answer_can_be_stopped)
{
    struct replica replica = {.view = "view"};
    struct tcp_proxy proxy;
    char fresh[PATH_MAX];

    start_members(1);
    tcp_proxy_start(&proxy, cluster.members[0].client_port);
    open_replica_behind(&replica, &proxy, false);
    failing_meta = true;
    raw_put("/test/things/k", "v");
    wait_until(has_view_errors, &replica);
    tcp_proxy_set(&proxy, TCP_PROXY_HOLD_REQUESTS);
    failing_meta = false;
    snprintf(fresh, sizeof(fresh), "%s/view/view-2/data.mdb", fixture.folder);
    wait_until(is_there, fresh);
    close_replica(&replica);
    tcp_proxy_stop(&proxy);
}

/* ---- members that fail ---- */

struct load {
    struct store *store;
    atomic_bool stopped;
    atomic_uint next, written, unknown, failed;
    uint8_t state[1 << 20]; /* of each key: more than are written while members start. 1: acknowledged, 2: unknown, 3:
                               certainly not written */
};

static void *write_on(void *arg)
{
    struct load *load = arg;

    while (!load->stopped) {
        unsigned n = load->next++;
        uint8_t key[8];
        int err;

        cr_assert_lt(n, sizeof(load->state));
        store_put_u64(key, n);
        err = put_within(load->store, (struct str){(char *)key, 8}, STORE_ABSENT, 20000);
        cr_assert(err == 0 || err == -EINPROGRESS || err == -ETIMEDOUT || err == -EHOSTUNREACH, "%s", strerror(-err));
        load->state[n] = err == 0 ? 1 : err == -EINPROGRESS ? 2 : 3;
        atomic_fetch_add(err == 0 ? &load->written : err == -EINPROGRESS ? &load->unknown : &load->failed, 1);
    }
    return NULL;
}

static void check_load(void *arg, int err, struct store_snapshot *snapshot)
{
    struct load *load = arg;
    unsigned there = 0;

    cr_assert_eq(err, 0);
    for (unsigned n = 0; n < load->next; n++) {
        struct store_record record;
        uint8_t key[8];
        bool found;

        store_put_u64(key, n);
        found = store_get(snapshot, THINGS, (struct str){(char *)key, 8}, &record) == 0;
        cr_assert(load->state[n] != 1 || found, "an acknowledged write is lost");
        cr_assert(load->state[n] != 3 || !found, "what was said not to be written is there");
        there += found;
    }
    cr_assert_eq(there, store_count(snapshot, THINGS));
}

struct growth {
    struct load *load;
    unsigned wanted;
};

static bool has_grown(void *arg)
{
    struct growth *growth = arg;

    return growth->load->written >= growth->wanted;
}

static void wait_for_writes(struct load *load, unsigned more)
{
    wait_until(has_grown, &(struct growth){load, load->written + more});
}

Test(etcd, members_that_are_killed_cost_nothing_acknowledged)
{
    static struct load load;
    struct replica replica = {.view = ""}, other = {.view = ""};
    pthread_t threads[4];

    start_members(3);
    open_replica(&replica);
    open_replica(&other);
    load.store = replica.store;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_on, &load), 0);
    for (int round = 0; round < 3; round++) { /* whoever leads is among them */
        wait_for_writes(&load, 20);
        etcd_member_kill(&cluster, round);
        wait_for_writes(&load, 20);
        etcd_member_start(&cluster, round);
        cr_assert(etcd_member_wait(&cluster, round));
    }
    load.stopped = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    store_read_wait(replica.store, WITHIN_NS(30), 0, check_load, &load);
    store_read_wait(other.store, WITHIN_NS(30), 0, check_load, &load);
    close_replica(&other);
    close_replica(&replica);
}

static bool can_write(void *arg)
{
    return put_within(arg, STR("again"), STORE_ANY, 1000) == 0;
}

Test(etcd, without_etcd_stale_reads_go_on_and_writes_fail_in_time)
{
    struct replica replica = {.view = ""};
    struct look first, second;
    struct pending pending;
    uint64_t begun_ns;
    int err;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    cr_assert(has(replica.store, THINGS, STR("k"), STR("1")));
    etcd_member_kill(&cluster, 0);

    first = look(replica.store, STR("k"), 1000, 3600 * 1000);
    cr_expect(first.err == 0 && first.found);
    begin_put(&pending, replica.store, "lost", STORE_ABSENT, 2000);
    begun_ns = clock_monotonic_ns();
    err = end_put(&pending);
    cr_expect(err == -EINPROGRESS || err == -EHOSTUNREACH || err == -ETIMEDOUT, "%s", strerror(-err));
    cr_expect_lt(clock_monotonic_ns() - begun_ns, 20 * CLOCK_NS_PER_S);
    second = look(replica.store, STR("k"), 1000, 3600 * 1000);
    cr_expect(second.err == 0 && second.found);
    cr_expect_gt(second.age_ms, first.age_ms + 1000);
    err = look(replica.store, STR("k"), 500, 0).err;
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH, "%s", strerror(-err));
    err = look(replica.store, STR("k"), 500, 1).err;
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH, "older than is accepted: %s", strerror(-err));
    cr_expect_eq(store_health(replica.store), 0);

    etcd_member_start(&cluster, 0);
    wait_until(can_write, replica.store);
    cr_expect(has(replica.store, THINGS, STR("k"), STR("1")));
    cr_expect_eq(look(replica.store, STR("k"), 10000, 0).age_ms, 0);
    close_replica(&replica);
    cr_expect_eq(pending.calls, 1);
}

static bool is_found_stale(void *arg)
{
    struct look found = look(arg, STR("k"), 1000, 3600 * 1000);

    return found.err == 0 && found.found && found.age_ms > 0;
}

/* A view that was kept is of use at once: where etcd is away, too, and it is known how old it is. */
Test(etcd, after_a_restart_without_etcd_stale_reads_go_on)
{
    struct replica replica = {.view = "view"};
    char fresh[PATH_MAX];
    int err;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    cr_assert(has(replica.store, THINGS, STR("k"), STR("1")));
    snprintf(fresh, sizeof(fresh), "%s/view/fresh", fixture.folder);
    wait_until(has_bytes, fresh);
    close_replica(&replica);
    etcd_member_kill(&cluster, 0);

    open_replica(&replica);
    cr_expect(is_found_stale(replica.store));
    err = look(replica.store, STR("k"), 500, 0).err;
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH, "%s", strerror(-err));
    err = put_within(replica.store, STR("k"), STORE_ANY, 500);
    cr_expect(err == -ETIMEDOUT || err == -EHOSTUNREACH, "%s", strerror(-err));
    cr_expect_eq(store_health(replica.store), 0);
    etcd_member_start(&cluster, 0);
    wait_until(can_write, replica.store);
    cr_expect(has(replica.store, THINGS, STR("k"), STR("1")));
    close_replica(&replica);
}

/* ---- the memory of etcd ---- */

#define REWRITERS    8
#define REWRITES     80        /* of each: 640 MiB in all */
#define NOTE_BYTES   65000     /* as notes may have */
#define MEMBER_BYTES (1 << 30) /* the memory limit of a member in k8s/components/store-etcd */

static void *rewrite(void *arg)
{
    static char value[NOTE_BYTES];

    for (int i = 0; i < REWRITES; i++) {
        struct store_batch *batch = store_batch_new();

        for (unsigned n = 0; n < STORE_MAX_BATCH; n++) {
            char key[2] = {(char)(size_t)arg, (char)n};

            store_batch_put(batch, OTHERS, (struct str){key, 2}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
        }
        cr_assert_eq(store_write_wait(replicas[0].store, batch, WITHIN_NS(60), NULL), 0);
    }
    return NULL;
}

/* A line of a process's status: "VmHWM" is the most memory that it has had, "RssAnon" what it has without files. */
static uint64_t memory_bytes(pid_t pid, const char *name)
{
    unsigned long long kb = 0;
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtoull(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return kb << 10;
}

/* It keeps the last transactions in memory, and reads those since its last snapshot when it starts. */
Test(etcd, large_records_that_are_rewritten_do_not_fill_its_memory)
{
    pthread_t threads[REWRITERS];

    start_members(1);
    open_replica(&replicas[0]);
    for (size_t i = 0; i < REWRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, rewrite, (void *)i), 0);
    for (size_t i = 0; i < REWRITERS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_lt(memory_bytes(cluster.members[0].pid, "VmHWM"), MEMBER_BYTES);
    close_replica(&replicas[0]);
    etcd_member_kill(&cluster, 0);
    etcd_member_start(&cluster, 0);
    cr_assert(etcd_member_wait(&cluster, 0));
    cr_expect_lt(memory_bytes(cluster.members[0].pid, "RssAnon"), MEMBER_BYTES);
}

/* ---- a full etcd ---- */

static bool is_full_of_data(void *arg)
{
    static char value[32768];
    static uint64_t n;
    struct store_batch *batch = store_batch_new();
    uint8_t key[8];

    for (unsigned i = 0; i < 8; i++) {
        store_put_u64(key, n++);
        store_batch_put(batch, OTHERS, (struct str){(char *)key, 8}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
    }
    return store_write_wait(arg, batch, WITHIN_NS(30), NULL) == -ENOSPC;
}

/* By another program, which knows no bound of the store's. */
static void fill_etcd(void)
{
    static char value[STORE_MAX_VALUE];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops = &op;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    int err = 0;

    put.key = etcd_data(STR("/other"));
    put.value = etcd_data((struct str){value, sizeof(value)});
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    txn.n_success = 1;
    txn.success = &ops;
    while (err == 0)
        err = etcd_call_wait(&raw, &etcdserverpb__kv__descriptor, "Txn", &txn.base, 10000, NULL, NULL);
    cr_assert_eq(err, -ENOSPC, "%s", strerror(-err));
}

Test(etcd, a_full_etcd_refuses_writes_and_recovers)
{
    static const char *const options[] = {"--quota-backend-bytes=4194304", NULL};
    struct replica replica = {.view = ""}, other = {.view = ""};

    cluster.options = options;
    start_members(1);
    open_replica(&replica);
    open_replica(&other);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    fill_etcd();
    cr_expect_eq(put_within(replica.store, STR("k"), STORE_ANY, 10000), -ENOSPC);
    cr_expect_eq(put_within(other.store, STR("k"), STORE_ANY, 10000), -ENOSPC);
    cr_expect(has(replica.store, THINGS, STR("k"), STR("1")), "reads go on");

    /* As docs/runbook.md says. */
    raw_compact();
    cr_expect_eq(etcdctl("defrag"), 0);
    cr_expect_eq(etcdctl("alarm disarm"), 0);
    wait_until(can_write, replica.store); /* once they have seen that there is room */
    wait_until(can_write, other.store);
    close_replica(&other);
    close_replica(&replica);
}

static int alarms(void)
{
    char path[PATH_MAX], command[2 * PATH_MAX], line[256];
    FILE *output;
    int count = 0;

    cr_assert_not_null(etcd_cluster_find("etcdctl", path));
    snprintf(command, sizeof(command), "%s --endpoints=http://127.0.0.1:%d alarm list", path,
             cluster.members[0].client_port);
    output = popen(command, "re");
    cr_assert_not_null(output);
    while (fgets(line, sizeof(line), output) != NULL)
        count++;
    cr_assert_eq(pclose(output), 0);
    return count;
}

static bool knows_all_quotas(void *arg)
{
    struct etcd *etcd = arg;

    return atomic_load(&etcd->rooms[0].quota) > 0 && atomic_load(&etcd->rooms[1].quota) > 0 &&
           atomic_load(&etcd->rooms[2].quota) > 0;
}

static bool has_room(void *arg)
{
    return !etcd_room_is_crowded(arg);
}

/* What is sent to the others does not fill the file of a member that is away, and puts are not refused for it. */
Test(etcd, a_member_that_is_away_is_not_full)
{
    struct replica replica = {.view = ""};
    struct etcd *etcd;

    start_members(3);
    open_replica(&replica);
    etcd = (struct etcd *)replica.store;
    wait_until(knows_all_quotas, etcd);
    etcd_member_kill(&cluster, 2);
    atomic_fetch_add(&etcd->rooms[2].sent, atomic_load(&etcd->rooms[2].quota));
    wait_until(has_room, etcd);
    put_any(replica.store, THINGS, STR("a"), STR("1"));
    close_replica(&replica);
}

/* It takes no write at its quota, before somebody disarms it: so it does not get there, and deletes go on. */
Test(etcd, puts_are_refused_before_the_quota_and_deletes_go_on)
{
    static const char *const options[] = {"--quota-backend-bytes=67108864", NULL};
    static char value[STORE_MAX_VALUE];
    struct replica replica = {.view = ""};
    uint8_t key[8];
    uint64_t n = 0;
    int err = 0;

    cluster.options = options;
    start_members(1);
    open_replica(&replica);
    for (; err == 0; n++) {
        store_put_u64(key, n);
        err = put(replica.store, OTHERS, (struct str){(char *)key, 8}, (struct str){value, sizeof(value)}, STORE_ANY, 0,
                  NULL);
    }
    cr_expect_eq(err, -ENOSPC, "%s", strerror(-err));
    cr_expect_eq(alarms(), 0);
    for (uint64_t i = 0; i + 1 < n; i++) {
        store_put_u64(key, i);
        cr_assert_eq(delete_any(replica.store, OTHERS, (struct str){(char *)key, 8}), 0);
    }
    cr_expect_eq(alarms(), 0);
    raw_compact();
    cr_expect_eq(etcdctl("defrag"), 0);
    wait_until(can_write, replica.store); /* nothing is disarmed by hand */
    close_replica(&replica);
}

#define FILLERS    8
#define FILL_COUNT 64 /* records of each, more than fit */

struct filler {
    struct store *store;
    unsigned number;
    int results[FILL_COUNT];
};

static struct str fill_key(uint8_t key[2], unsigned filler, unsigned n)
{
    key[0] = (uint8_t)filler;
    key[1] = (uint8_t)n;
    return (struct str){(char *)key, 2};
}

static void *fill(void *arg)
{
    static char value[STORE_MAX_VALUE];
    struct filler *filler = arg;
    uint8_t key[2];

    for (unsigned n = 0; n < FILL_COUNT; n++)
        filler->results[n] = put(filler->store, OTHERS, fill_key(key, filler->number, n),
                                 (struct str){value, sizeof(value)}, STORE_ANY, 0, NULL);
    return NULL;
}

static bool knows_quota(void *arg)
{
    const struct etcd_room *room = arg;

    return atomic_load(&room->quota) > 0 && !atomic_load(&room->asked);
}

/* As with an etcd that does not tell its quota. */
static void forget_quota(struct store *store)
{
    struct etcd_room *room = &((struct etcd *)store)->rooms[0];

    do {
        wait_until(knows_quota, room);
        atomic_store(&room->next_ns, UINT64_MAX);
        wait_until(knows_quota, room);
    } while (atomic_load(&room->next_ns) != UINT64_MAX);
    atomic_store(&room->quota, 0);
}

/* etcd says so, too, of transactions that it has applied: those that were under way when the quota was reached. */
Test(etcd, what_is_refused_by_a_full_etcd_has_had_no_effect)
{
    static const char *const options[] = {"--quota-backend-bytes=16777216", "--backend-batch-limit=1", NULL};
    static struct filler fillers[FILLERS];
    struct replica replica = {.view = ""};
    pthread_t threads[FILLERS];
    unsigned refused = 0;

    cluster.options = options;
    start_members(1);
    open_replica(&replica);
    forget_quota(replica.store);
    for (unsigned i = 0; i < FILLERS; i++) {
        fillers[i] = (struct filler){.store = replica.store, .number = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, fill, &fillers[i]), 0);
    }
    for (unsigned i = 0; i < FILLERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < FILLERS; i++)
        for (unsigned n = 0; n < FILL_COUNT; n++) {
            uint8_t key[2];
            int err = fillers[i].results[n];
            int there = get(replica.store, OTHERS, fill_key(key, i, n), NULL, NULL);

            cr_expect(err == 0 || err == -ENOSPC, "%s", strerror(-err));
            cr_expect_eq(there, err == 0 ? 0 : -ENOENT, "record %u of writer %u: %s", n, i, strerror(-err));
            refused += err == -ENOSPC;
        }
    cr_expect_gt(refused, 0);
    close_replica(&replica);
}

Test(etcd, the_bound_of_the_data_is_kept)
{
    struct store_options options = {.tables = tables, .table_count = 2, .max_bytes = 1 << 20};
    char url[256], error[256];
    struct store *store;

    start_members(1);
    etcd_cluster_url(&cluster, url);
    strcat(url, "/test");
    options.url = url;
    cr_assert_eq(store_open(&options, &store, error, sizeof(error)), 0, "%s", error);
    put_any(store, THINGS, STR("k"), STR("1"));
    wait_until(is_full_of_data, store);
    cr_expect_eq(delete_any(store, THINGS, STR("k")), 0, "deletes make room");
    store_close(store);
}

/* ---- limits, damage ---- */

Test(etcd, refuses_batches_that_etcd_would)
{
    static char value[STORE_MAX_VALUE];
    struct replica replica = {.view = ""};
    struct store_batch *batch = store_batch_new();

    start_members(1);
    open_replica(&replica);
    for (uint8_t i = 0; i < 5; i++)
        store_batch_put(batch, THINGS, (struct str){(char *)&i, 1}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
    cr_expect_eq(store_write_wait(replica.store, batch, WITHIN_NS(30), NULL), -EMSGSIZE);
    batch = store_batch_new();
    for (uint8_t i = 0; i < 3; i++)
        store_batch_put(batch, THINGS, (struct str){(char *)&i, 1}, (struct str){value, sizeof(value)}, STORE_ANY, 0);
    cr_expect_eq(store_write_wait(replica.store, batch, WITHIN_NS(30), NULL), 0);
    close_replica(&replica);
}

Test(etcd, a_damaged_record_is_reported_and_kept)
{
    struct replica replica = {.view = "view"};
    struct store_result result;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, THINGS, STR("k"), STR("1"));
    put_any(replica.store, THINGS, STR("sound"), STR("1"));
    raw_put("/test/things/k", "not an envelope");
    raw_put("/test/unknown/k", "of a table that this version does not know");
    cr_assert_eq(put(replica.store, THINGS, STR("next"), STR("2"), STORE_ANY, 0, NULL), 0);
    cr_expect_eq(get(replica.store, THINGS, STR("k"), NULL, NULL), -EBADMSG);
    cr_expect_eq(put(replica.store, THINGS, STR("k"), STR("2"), STORE_ANY, 0, &result), -EBADMSG);
    cr_expect(has(replica.store, THINGS, STR("sound"), STR("1")));
    EXPECT_ALL(replica.store, THINGS, true, "1sound= 2next=");
    close_replica(&replica);
    replica.view[0] = 'w'; /* loaded, not watched */
    open_replica(&replica);
    cr_expect_eq(get(replica.store, THINGS, STR("k"), NULL, NULL), -EBADMSG);
    EXPECT_ALL(replica.store, THINGS, true, "1sound= 2next=");
    close_replica(&replica);
}

/* ---- who may ---- */

static void write_file(const char *name, const char *text, char path[PATH_MAX])
{
    FILE *file;

    snprintf(path, PATH_MAX, "%s/%s", fixture.folder, name);
    file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

/* Repeated, for etcdctl's own token may be over before it is used where the machine is slow. */
static bool has_another_role(void *arg)
{
    char add[64], get[64];

    snprintf(add, sizeof(add), "--user root:secret role add another%d", *(int *)arg);
    snprintf(get, sizeof(get), "--user root:secret role get another%d", *(int *)arg);
    return etcdctl(add) == 0 || etcdctl(get) == 0;
}

Test(etcd, authenticates_and_renews_its_token)
{
    static const char *const options[] = {"--auth-token-ttl=2", NULL};
    char url[256], with_user[2 * PATH_MAX], password[PATH_MAX], error[256];
    struct store_options store_options = {.url = with_user, .tables = tables, .table_count = 2};
    struct store *store;

    cluster.options = options;
    start_members(1);
    cr_assert_eq(etcdctl("user add root:secret"), 0);
    cr_assert_eq(etcdctl("user add app:hidden"), 0);
    cr_assert_eq(etcdctl("role add app"), 0);
    cr_assert_eq(etcdctl("role grant-permission app readwrite --prefix=true /test/"), 0);
    cr_assert_eq(etcdctl("user grant-role app app"), 0);
    cr_assert_eq(etcdctl("user grant-role root root"), 0);
    cr_assert_eq(etcdctl("auth enable"), 0);
    etcd_cluster_url(&cluster, url);

    write_file("password", "wrong\n", password);
    snprintf(with_user, sizeof(with_user), "%s/test?user=app&password_file=%s", url, password);
    cr_expect_eq(store_open(&store_options, &store, error, sizeof(error)), -EACCES);
    write_file("password", "hidden\n", password);
    cr_assert_eq(store_open(&store_options, &store, error, sizeof(error)), 0, "%s", error);
    for (int i = 0; i < 4; i++) { /* longer than a token lives */
        put_any(store, THINGS, STR("k"), STR("1"));
        cr_expect(has(store, THINGS, STR("k"), STR("1")));
        wait_until(has_another_role, &i); /* a new revision of users */
        usleep(1200 * 1000);
    }
    put_any(store, THINGS, STR("last"), STR("1"));
    cr_expect(has(store, THINGS, STR("last"), STR("1")));
    store_close(store);
    snprintf(with_user, sizeof(with_user), "%s/other?user=app&password_file=%s", url, password);
    cr_expect_eq(store_open(&store_options, &store, error, sizeof(error)), -EACCES, "not its prefix");
}

Test(etcd, speaks_tls_with_a_certificate_of_its_own)
{
    char ca[PATH_MAX], key[PATH_MAX], url[256], tls_url[4 * PATH_MAX], error[256];
    char cert_option[2 * PATH_MAX], key_option[2 * PATH_MAX], ca_option[2 * PATH_MAX];
    const char *const options[] = {cert_option, key_option, ca_option, "--client-cert-auth", NULL};
    struct store_options store_options = {.url = tls_url, .tables = tables, .table_count = 2};
    struct store *store;

    snprintf(ca, sizeof(ca), "%s/cert.pem", fixture.folder);
    snprintf(key, sizeof(key), "%s/key.pem", fixture.folder);
    certificate_write(ca, key);
    snprintf(cert_option, sizeof(cert_option), "--cert-file=%s", ca);
    snprintf(key_option, sizeof(key_option), "--key-file=%s", key);
    snprintf(ca_option, sizeof(ca_option), "--trusted-ca-file=%s", ca);
    cluster.scheme = "https";
    cluster.options = options;
    cr_assert_eq(etcd_cluster_start(&cluster, 1), 0);
    etcd_cluster_url(&cluster, url);
    snprintf(tls_url, sizeof(tls_url), "%s/test?ca=%s&cert=%s&key=%s", url, ca, ca, key);
    cr_assert_eq(store_open(&store_options, &store, error, sizeof(error)), 0, "%s", error);
    put_any(store, THINGS, STR("k"), STR("1"));
    cr_expect(has(store, THINGS, STR("k"), STR("1")));
    store_close(store);
    snprintf(tls_url, sizeof(tls_url), "%s/test?ca=%s/none.pem", url, fixture.folder);
    cr_expect_eq(store_open(&store_options, &store, error, sizeof(error)), -ENOENT);
}

static double value_of(struct metrics_series *series)
{
    struct metrics_point point;

    metrics_read(series, &point);
    return point.value;
}

Test(etcd, metrics_tell_what_the_view_holds)
{
    static const struct metrics_def info = {.name = "store_info", .type = METRICS_GAUGE, .labels = {"engine"}};
    struct replica replica = {.view = ""};
    uint64_t seq;

    start_members(1);
    open_replica(&replica);
    put_any(replica.store, OTHERS, STR("a"), STR("1"));
    put_any(replica.store, OTHERS, STR("b"), STR("1"));
    seq = put_any(replica.store, OTHERS, STR("b"), STR("2"));
    metrics_refresh(replica.metrics);
    cr_expect_eq(value_of(metrics_series(metrics_family(replica.metrics, &info), &STR("etcd"))), 1);
    cr_expect_eq(value_of(store_metrics_single(replica.metrics, METRICS_GAUGE, "store_records", "")), 2);
    cr_expect_eq(value_of(store_metrics_single(replica.metrics, METRICS_GAUGE, "store_revision", "")), (double)seq);
    close_replica(&replica);
}
