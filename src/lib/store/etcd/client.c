/* Calls to etcd: one member is preferred until it fails to answer, then the next. */
#include "store_etcd_internal.h"
#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 1000
#define KEEPALIVE_MS       6000 /* etcd takes more than one ping in 5 s as an offence */
#define AWAY_NS            (5 * CLOCK_NS_PER_S)
#define WATCH_TIMEOUT_MS   (24 * 3600 * 1000ULL)
#define MAX_MESSAGE        (64u << 20) /* of an answer: bounds what a page of records takes */
#define MAX_EVENTS         (16u << 20) /* of a message of the watch: see etcd_watch_open */
#define MAX_PASSWORD       1024
#define MAX_TOKEN          4096
#define MAX_VERSION        32

static const unsigned oldest_version[3] = {3, 5, 8}; /* whose progress notifications never overtake events */

/* ---- errors ---- */

/* etcd's errors by which a call has certainly changed nothing, and those that tell what else to do. etcd's own clients
 * tell them apart by these texts, too (api/v3rpc/rpctypes/error.go). It finds the definite ones before it proposes a
 * request to the other members, or, those about permissions, before it applies one. Any other error, of etcd, of a
 * proxy, or of this process's own client, may come after the request has been applied, or before it will be. */
static const struct {
    enum err_grpc code;
    const char *message;
    int err;
} errors[] = {
    {ERR_GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token", -EAGAIN},
    {ERR_GRPC_INVALID_ARGUMENT, "etcdserver: revision of auth store is old", -EAGAIN},
    {ERR_GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty", -EAGAIN},
    {ERR_GRPC_PERMISSION_DENIED, "etcdserver: permission denied", -EACCES},
    {ERR_GRPC_INVALID_ARGUMENT, "etcdserver: request is too large", -EMSGSIZE},
    {ERR_GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests", -EAGAIN},
    {ERR_GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", -ERANGE},
    {ERR_GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", -ERANGE},
    {ERR_GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", -ENOSPC},
};

static int error_of(const struct rpc_status *status)
{
    if (status->code == ERR_GRPC_OK)
        return 0;
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        if (status->code == errors[i].code && strcmp(status->message, errors[i].message) == 0)
            return errors[i].err;
    return status->code == ERR_GRPC_RESOURCE_EXHAUSTED ? -EFBIG : -EHOSTUNREACH; /* a bound of gRPC's, mostly */
}

/* The token is none, of another time, or of before a change of users. */
static bool is_about_token(const struct rpc_status *status)
{
    return error_of(status) == -EAGAIN && status->code != ERR_GRPC_RESOURCE_EXHAUSTED;
}

/* etcd says that its space is exceeded (-ENOSPC) before it has done anything, and also after it has applied a
 * transaction that reached the quota. -ENOMEM, -ENOBUFS: nothing was sent. */
bool etcd_is_definite(int err)
{
    return err == -EAGAIN || err == -EACCES || err == -EMSGSIZE || err == -ENOMEM || err == -ENOBUFS;
}

bool etcd_is_away(const struct etcd_client *client, uint64_t now_ns)
{
    uint64_t answered_ns = atomic_load(&client->answered_ns);

    return now_ns > answered_ns && now_ns - answered_ns > AWAY_NS;
}

/* ---- the token ---- */

static int read_password(const char *path, char password[MAX_PASSWORD])
{
    FILE *file = fopen(path, "re");
    size_t len;

    if (file == NULL)
        return -errno;
    len = fread(password, 1, MAX_PASSWORD - 1, file);
    fclose(file);
    password[len] = '\0';
    password[strcspn(password, "\r\n")] = '\0';
    return password[0] != '\0' ? 0 : -EINVAL;
}

static void keep_token(struct etcd_client *client, const char *token)
{
    char *copy = token != NULL ? strdup(token) : NULL;

    pthread_mutex_lock(&client->mutex);
    client->authenticating = false;
    if (copy != NULL) {
        free(client->token);
        client->token = copy;
        client->token_number++;
    }
    pthread_mutex_unlock(&client->mutex);
}

static void on_authenticated(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    const Etcdserverpb__AuthenticateResponse *response = (const Etcdserverpb__AuthenticateResponse *)reply;

    keep_token(arg, response != NULL && strlen(response->token) <= MAX_TOKEN ? response->token : NULL);
}

/* done ends by keep_token. The password is read each time: it may be renewed. */
static int authenticate(struct etcd_client *client, struct rpc_client *rpc, rpc_unary_done *done, void *arg)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    char password[MAX_PASSWORD];
    int err = read_password(client->url->password_file, password);

    if (err < 0)
        return err;
    request.name = (char *)client->url->user;
    request.password = password;
    err = client->world->unary(rpc, &etcdserverpb__auth__descriptor, "Authenticate", &request.base,
                               &(struct rpc_call_options){.timeout_ms = ETCD_STATUS_TIMEOUT_MS}, done, arg);
    explicit_bzero(password, sizeof(password));
    return err;
}

static void renew_token(struct etcd_client *client, struct rpc_client *rpc, unsigned token_number)
{
    bool renew;

    pthread_mutex_lock(&client->mutex);
    renew = client->url->user != NULL && !client->authenticating && token_number == client->token_number;
    client->authenticating |= renew;
    pthread_mutex_unlock(&client->mutex);
    if (renew && authenticate(client, rpc, on_authenticated, client) < 0)
        keep_token(client, NULL);
}

/* Copies the token into text; returns its number. */
static unsigned get_token(struct etcd_client *client, char text[MAX_TOKEN + 1])
{
    unsigned number;

    pthread_mutex_lock(&client->mutex);
    strcpy(text, client->token != NULL ? client->token : "");
    number = client->token_number;
    pthread_mutex_unlock(&client->mutex);
    return number;
}

/* What options_with_token's result points into. */
struct token {
    char text[MAX_TOKEN + 1];
    unsigned number;
    struct rpc_metadata metadata;
};

static struct rpc_call_options options_with_token(struct etcd_client *client, unsigned timeout_ms, struct token *token)
{
    token->number = get_token(client, token->text);
    token->metadata = (struct rpc_metadata){"token", str_of(token->text)};
    return (struct rpc_call_options){
        .timeout_ms = timeout_ms, .metadata = &token->metadata, .metadata_count = token->text[0] != '\0'};
}

/* ---- calls ---- */

struct call {
    struct etcd_client *client;
    unsigned endpoint, token_number;
    etcd_called *called;
    void *arg;
};

void etcd_client_avoid(struct etcd_client *client, unsigned endpoint)
{
    atomic_compare_exchange_strong(&client->preferred, &(unsigned){endpoint},
                                   (endpoint + 1) % client->url->endpoint_count);
}

/* Every reply of KV has one, with the revision that callers need. */
static bool has_header(const ProtobufCMessage *reply)
{
    const ProtobufCFieldDescriptor *header =
        protobuf_c_message_descriptor_get_field_by_name(reply->descriptor, "header");

    return header == NULL || *(void *const *)((const char *)reply + header->offset) != NULL;
}

static void on_answer(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct call *call = arg;
    struct etcd_client *client = call->client;
    int err = error_of(status);

    if (err == 0 && !has_header(reply))
        err = -EHOSTUNREACH; /* says nothing about what the call has done */
    if (err == -EHOSTUNREACH)
        etcd_client_avoid(client, call->endpoint);
    else
        atomic_store(&client->answered_ns, client->world->monotonic_ns());
    if (is_about_token(status))
        renew_token(client, client->endpoints[call->endpoint].rpc, call->token_number);
    call->called(call->arg, err, reply);
    free(call);
}

/* call: without the token's number. */
static void begin_call(const struct call *call, const ProtobufCServiceDescriptor *service, const char *method,
                       const ProtobufCMessage *request, unsigned timeout_ms, rpc_unary_done *done)
{
    struct etcd_client *client = call->client;
    struct call *kept = malloc(sizeof(*kept));
    struct rpc_call_options options;
    struct token token;
    int err = -ENOMEM;

    if (kept != NULL) {
        options = options_with_token(client, timeout_ms, &token);
        *kept = *call;
        kept->token_number = token.number;
        err =
            client->world->unary(client->endpoints[call->endpoint].rpc, service, method, request, &options, done, kept);
    }
    if (err == 0)
        return;
    free(kept);
    call->called(call->arg, err, NULL);
}

void etcd_call(struct etcd_client *client, const ProtobufCServiceDescriptor *service, const char *method,
               const ProtobufCMessage *request, unsigned timeout_ms, etcd_called *called, void *arg)
{
    const struct call call = {
        .client = client, .endpoint = atomic_load(&client->preferred), .called = called, .arg = arg};

    begin_call(&call, service, method, request, timeout_ms, on_answer);
}

struct waiter {
    struct etcd_client *client;
    sem_t done;
    etcd_called *called;
    void *arg;
    int err;
};

static void on_waited(void *arg, int err, const ProtobufCMessage *reply)
{
    struct waiter *waiter = arg;

    waiter->err = err;
    if (waiter->called != NULL)
        waiter->called(waiter->arg, err, reply);
    waiter->client->world->post(&waiter->done);
}

int etcd_call_wait(struct etcd_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                   const ProtobufCMessage *request, unsigned timeout_ms, etcd_called *called, void *arg)
{
    struct waiter waiter = {.client = client, .called = called, .arg = arg};

    sem_init(&waiter.done, 0, 0);
    etcd_call(client, service, method, request, timeout_ms, on_waited, &waiter);
    client->world->await(&waiter.done);
    sem_destroy(&waiter.done);
    return waiter.err;
}

static void on_asked(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct call *call = arg;

    call->called(call->arg, error_of(status), reply);
    free(call);
}

void etcd_member_ask(struct etcd_client *client, unsigned endpoint, const char *method, const ProtobufCMessage *request,
                     unsigned timeout_ms, etcd_called *called, void *arg)
{
    const struct call call = {.client = client, .endpoint = endpoint, .called = called, .arg = arg};

    begin_call(&call, &etcdserverpb__maintenance__descriptor, method, request, timeout_ms, on_asked);
}

struct member_call {
    struct etcd_client *client;
    sem_t done;
    etcd_answered *answered;
    void *arg;
    int err;
    char *error;
    size_t error_size;
};

static void on_member_answer(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct member_call *call = arg;

    call->err = error_of(status);
    if (call->err == 0 && call->answered != NULL)
        call->answered(call->arg, reply);
    if (call->err != 0) {
        snprintf(call->error, call->error_size, "%s", status->message);
        call->error[strcspn(call->error, "\r\n")] = '\0';
    }
    call->client->world->post(&call->done);
}

int etcd_member_call(struct etcd_client *client, unsigned endpoint, const char *method, const ProtobufCMessage *request,
                     unsigned timeout_ms, etcd_answered *answered, void *arg, char *error, size_t error_size)
{
    struct member_call call = {
        .client = client, .answered = answered, .arg = arg, .error = error, .error_size = error_size};
    struct token token;
    struct rpc_call_options options = options_with_token(client, timeout_ms, &token);
    int err;

    sem_init(&call.done, 0, 0);
    err = client->world->unary(client->endpoints[endpoint].rpc, &etcdserverpb__maintenance__descriptor, method, request,
                               &options, on_member_answer, &call);
    if (err == 0)
        client->world->await(&call.done);
    else
        store_fail(error, error_size, 0, "%s", strerror(-err));
    sem_destroy(&call.done);
    return err < 0 ? err : call.err;
}

/* ---- connections ---- */

static int open_rpc(struct etcd_client *client, const char *target, size_t max_message, struct rpc_client **ret_rpc)
{
    return client->world->client_open(&(struct rpc_client_def){.name = "etcd",
                                                               .target = target,
                                                               .tls = client->tls.ca != NULL ? &client->tls : NULL,
                                                               .metrics = client->metrics,
                                                               .threads = client->url->endpoint_count == 1 ? 2 : 1,
                                                               .max_message = max_message,
                                                               .max_memory = client->max_call_bytes,
                                                               .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                               .keepalive_ms = KEEPALIVE_MS},
                                      ret_rpc);
}

/* etcd cuts what it sends where it bounds requests, at 2 MiB by default; but not what it has had at hand before it said
 * that the watch exists, which is rare: where that is beyond our bound, the next watch comes through. */
int etcd_watch_open(struct etcd_client *client, const struct rpc_stream_handlers *handlers, void *arg,
                    struct rpc_client **ret_rpc, struct rpc_stream **ret_stream)
{
    const struct etcd_endpoint *endpoint = &client->endpoints[atomic_load(&client->preferred)];
    char token[MAX_TOKEN + 1];
    const struct rpc_metadata metadata[] = {{"hasleader", STR("true")}, {"token", {token, 0}}};
    struct rpc_metadata with_token[2] = {metadata[0], metadata[1]};
    struct rpc_client *rpc;
    int err;

    get_token(client, token);
    with_token[1].value = str_of(token);
    err = open_rpc(client, endpoint->target, MAX_EVENTS, &rpc);
    if (err < 0)
        return err;
    err = client->world->stream_open(rpc, &etcdserverpb__watch__descriptor, "Watch",
                                     &(struct rpc_call_options){.timeout_ms = WATCH_TIMEOUT_MS,
                                                                .metadata = with_token,
                                                                .metadata_count = token[0] != '\0' ? 2 : 1},
                                     handlers, arg, ret_stream);
    if (err < 0) {
        client->world->client_free(rpc);
        return err;
    }
    *ret_rpc = rpc;
    return 0;
}

/* ---- opening ---- */

struct status {
    struct etcd_client *client;
    sem_t done;
    enum err_grpc code;
    char text[200]; /* what went wrong */
};

static void on_first_token(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct status *result = arg;

    on_authenticated(result->client, status, reply);
    result->code = status->code;
    snprintf(result->text, sizeof(result->text), "%s", status->message);
    result->client->world->post(&result->done);
}

static bool is_old(const char *version)
{
    unsigned v[3] = {0, 0, 0};

    sscanf(version, "%u.%u.%u", &v[0], &v[1], &v[2]);
    for (int i = 0; i < 3; i++)
        if (v[i] != oldest_version[i])
            return v[i] < oldest_version[i];
    return false;
}

static void keep_version(void *arg, const ProtobufCMessage *reply)
{
    char *version = arg;

    snprintf(version, MAX_VERSION, "%s", ((const Etcdserverpb__StatusResponse *)reply)->version);
    version[strcspn(version, "\r\n")] = '\0';
}

/* 0: a member answered, and all that did are new enough. -EAGAIN: none did. */
static int check_members(struct etcd_client *client, char *error, size_t error_size)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    int err = -EAGAIN;

    for (unsigned i = 0; i < client->url->endpoint_count; i++) {
        const char *target = client->endpoints[i].target;
        char version[MAX_VERSION], why[200];
        int r = etcd_member_call(client, i, "Status", &request.base, ETCD_STATUS_TIMEOUT_MS, keep_version, version, why,
                                 sizeof(why));

        if (r < 0) {
            if (err != 0)
                store_fail(error, error_size, 0, "etcd at %s: %s", target, why);
            continue;
        }
        if (is_old(version))
            return store_fail(error, error_size, -EPROTO, "etcd at %s has version %s; 3.5.8 or newer is needed", target,
                              version);
        if (err != 0)
            atomic_store(&client->preferred, i);
        err = 0;
    }
    return err;
}

/* -EAGAIN: the member does not answer; another one is preferred then. */
static int get_first_token(struct etcd_client *client, struct status *status, char *error, size_t error_size)
{
    unsigned endpoint = atomic_load(&client->preferred);
    int err = authenticate(client, client->endpoints[endpoint].rpc, on_first_token, status);

    if (err < 0)
        return store_fail(error, error_size, err, "etcd: %s: %s", client->url->password_file, strerror(-err));
    client->world->await(&status->done);
    if (status->code == ERR_GRPC_OK)
        return 0;
    store_fail(error, error_size, 0, "etcd: user %s: %s", client->url->user, status->text);
    if (status->code != ERR_GRPC_UNAVAILABLE && status->code != ERR_GRPC_DEADLINE_EXCEEDED)
        return -EACCES;
    etcd_client_avoid(client, endpoint);
    return -EAGAIN;
}

int etcd_client_reach(struct etcd_client *client, uint64_t within_ns, char *error, size_t error_size)
{
    uint64_t until_ns = client->world->monotonic_ns() + within_ns;
    struct status status = {.client = client};
    int err;

    sem_init(&status.done, 0, 0);
    do {
        err = client->url->user != NULL ? get_first_token(client, &status, error, error_size) : 0;
        if (err == 0)
            err = check_members(client, error, error_size);
        if (err == -EAGAIN)
            client->world->sleep(200 * 1000 * 1000);
    } while (err == -EAGAIN && client->world->monotonic_ns() < until_ns);
    sem_destroy(&status.done);
    if (err == 0)
        atomic_store(&client->answered_ns, client->world->monotonic_ns());
    return err == -EAGAIN ? -EHOSTUNREACH : err;
}

int etcd_client_connect(struct etcd_client *client, const struct etcd_world *world, const struct etcd_url *url,
                        struct metrics *metrics, char *error, size_t error_size)
{
    int err = 0;

    pthread_mutex_init(&client->mutex, NULL);
    client->world = world;
    client->url = url;
    client->metrics = metrics;
    client->tls = (struct rpc_tls){url->ca, url->certificate, url->key};
    for (unsigned i = 0; i < url->endpoint_count && err == 0; i++) {
        client->endpoints[i].target = url->endpoints[i];
        err = open_rpc(client, url->endpoints[i], MAX_MESSAGE, &client->endpoints[i].rpc);
        if (err < 0)
            store_fail(error, error_size, err, "etcd at %s%s: %s", url->endpoints[i],
                       url->ca != NULL ? ", or a file of ca, cert, key" : "", strerror(-err));
    }
    return err;
}

int etcd_client_open(struct etcd_client *client, const struct etcd_world *world, const struct etcd_url *url,
                     struct metrics *metrics, char *error, size_t error_size)
{
    int err = etcd_client_connect(client, world, url, metrics, error, error_size);

    return err < 0 ? err : etcd_client_reach(client, ETCD_OPEN_NS, error, error_size);
}

void etcd_client_cancel(struct etcd_client *client)
{
    for (unsigned i = 0; i < client->url->endpoint_count; i++)
        client->world->client_cancel(client->endpoints[i].rpc);
}

void etcd_client_close(struct etcd_client *client)
{
    for (unsigned i = 0; client->url != NULL && i < client->url->endpoint_count; i++)
        client->endpoints[i].rpc = client->world->client_free(client->endpoints[i].rpc);
    if (client->url != NULL)
        pthread_mutex_destroy(&client->mutex);
    free(client->token);
    client->token = NULL;
}
