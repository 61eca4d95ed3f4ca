/* What etcd answers, well-formed messages with any contents, in a world without a network (store_etcd_world.h): each
 * call takes the next answer from the input. The first byte says what is asked for; an answer is a byte (0x80: a status
 * and no message), two bytes of length, and the message. */
#define store_etcd_engine fuzz_etcd_engine /* the file's functions are wanted */
#include "../../src/lib/store/etcd/etcd.c"
#include "fuzz.h"
#include "rpc_core.h"

static struct fuzz_input answers;
static uint64_t now_ns;

/* ---- the world ---- */

static uint64_t tell_ns(void)
{
    return now_ns += CLOCK_NS_PER_MS;
}

static void pass(uint64_t ns)
{
    now_ns += ns;
}

static int new_id(struct uuid *ret_uuid)
{
    memset(ret_uuid, 7, sizeof(*ret_uuid));
    return 0;
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_cond_init(cond, NULL);
}

static void wake(pthread_cond_t *cond)
{
}

static void await(sem_t *done)
{
    MUST(sem_trywait(done) == 0); /* every call is answered at once */
}

static void post(sem_t *done)
{
    sem_post(done);
}

static int client_open(const struct rpc_client_def *def, struct rpc_client **ret_client)
{
    *ret_client = NULL;
    return 0;
}

static struct rpc_client *client_free(struct rpc_client *client)
{
    return NULL;
}

static struct str take_message(void)
{
    size_t len = (size_t)fuzz_byte(&answers) << 8;
    struct str message;

    len |= fuzz_byte(&answers);
    message = (struct str){(const char *)answers.at, len < answers.left ? len : answers.left};
    answers.at += message.len;
    answers.left -= message.len;
    return message;
}

static int unary(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                 const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done,
                 void *arg)
{
    static const char *const said[] = {"", "request is too large", "space exceeded", "larger than max",
                                       "revision of auth store is old"};
    const ProtobufCMethodDescriptor *called = protobuf_c_service_descriptor_get_method_by_name(service, method);
    uint8_t kind = answers.left > 0 ? fuzz_byte(&answers) : 0x80 | ERR_GRPC_UNAVAILABLE;
    struct rpc_status status = {kind & 0x80 ? kind & 0x0f : ERR_GRPC_OK, said[(kind >> 4) % 5]};
    struct rpc_unpacked unpacked;
    bool there = false;

    MUST(protobuf_c_message_check(request));
    if (status.code == ERR_GRPC_OK) {
        there = rpc_unpack_bytes(take_message(), called->output, &unpacked) == 0;
        status.code = there ? ERR_GRPC_OK : ERR_GRPC_INTERNAL;
    }
    done(arg, &status, there ? unpacked.message : NULL);
    if (there)
        rpc_unpacked_release(&unpacked);
    return 0;
}

static const struct etcd_world world = {
    .monotonic_ns = tell_ns,
    .realtime_ns = tell_ns,
    .sleep = pass,
    .new_id = new_id,
    .cond_init = cond_init,
    .wake = wake,
    .await = await,
    .post = post,
    .client_open = client_open,
    .client_free = client_free,
    .unary = unary,
};

/* ---- what is asked for ---- */

static char error[256];

static void ask_schema(struct etcd *etcd)
{
    int err = etcd_schema_check(etcd, error, sizeof(error));

    MUST(err <= 0 && (err == 0 || strncmp(error, "etcd: ", 6) == 0));
    MUST(etcd->keys.table_count <= STORE_MAX_TABLES);
}

static void ask_member(struct etcd *etcd)
{
    int err = etcd_client_open(&etcd->client, &world, &etcd->url, NULL, error, sizeof(error));

    MUST(err <= 0 && (err == 0 || strncmp(error, "etcd", 4) == 0));
}

static void on_opened(struct etcd_lane *lane, int err, int64_t revision)
{
    MUST(err <= 0);
    lane->name_revision = revision;
}

static void on_fenced(struct etcd_lane *lane, int err, const struct etcd_fence *fence)
{
    MUST(err < 0 || fence != NULL);
}

static void ask_lane(struct etcd *etcd)
{
    struct etcd_lane lane = {.etcd = etcd};

    etcd_lane_key_open(&lane, on_opened);
    etcd_lane_key_fence(&lane, on_fenced);
    etcd_lanes_clean(etcd);
}

static void on_written(void *arg, const struct store_result *result)
{
}

static void check_results(struct etcd *etcd)
{
    struct store_batch *batch = store_batch_new();
    struct etcd_lane lane = {.etcd = etcd, .count = 1, .requests = {batch}};
    struct rpc_unpacked unpacked;

    MUST(batch != NULL);
    batch->done = on_written;
    store_batch_put(batch, 0, STR("a"), STR("b"), STORE_ABSENT, 0);
    store_batch_put(batch, 0, STR("c"), STR("d"), STORE_AT, 256);
    if (rpc_unpack_bytes(take_message(), &etcdserverpb__txn_response__descriptor, &unpacked) == 0) {
        const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)unpacked.message;

        if (response->header != NULL && etcd_txn_results(&lane, response) == 0)
            MUST(batch->result.err <= 0 && batch->result.failed_op < 2);
        rpc_unpacked_release(&unpacked);
    }
    store_batch_free(batch);
}

/* A view of what etcd says it holds, then what the watch says of it. */
static void load_and_follow(struct etcd *etcd)
{
    struct etcd_view *view;
    int err = etcd_load(etcd, &view, error, sizeof(error));

    MUST(err <= 0 && (err == 0 || strncmp(error, "etcd: ", 6) == 0));
    if (err < 0)
        return;
    etcd->follower.following = view;
    while (answers.left > 0 && err == 0) {
        struct rpc_unpacked unpacked;

        if (rpc_unpack_bytes(take_message(), &etcdserverpb__watch_response__descriptor, &unpacked) < 0)
            break;
        if (((const Etcdserverpb__WatchResponse *)unpacked.message)->header != NULL)
            err = etcd_apply(etcd, (const Etcdserverpb__WatchResponse *)unpacked.message);
        rpc_unpacked_release(&unpacked);
    }
    etcd_apply_abandon(etcd);
    etcd->follower.following = NULL;
    etcd_view_unref(etcd, view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct store_table tables[] = {{.name = "notes"}, {.name = "keys"}};
    static void (*const asked[])(struct etcd *) = {ask_schema, ask_member, ask_lane, check_results, load_and_follow};
    struct store_options options = {.tables = tables, .table_count = 2, .max_bytes = 16 << 20};
    struct etcd *etcd = etcd_new(&world, &options);
    const char *why;

    answers = (struct fuzz_input){data, size};
    now_ns = 0;
    MUST(etcd != NULL && etcd_url_parse("a:1,b:2/p", &etcd->url, &why) == 0);
    etcd_keys_init(&etcd->keys, etcd->url.prefix, &options);
    etcd->client.world = &world;
    etcd->client.url = &etcd->url;
    pthread_mutex_init(&etcd->client.mutex, NULL);
    error[0] = '\0';
    asked[fuzz_byte(&answers) % (sizeof(asked) / sizeof(asked[0]))](etcd);
    close_etcd(&etcd->store);
    return 0;
}
