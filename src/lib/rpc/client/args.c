/* What C-core is told of a channel: its arguments, and the service config (load balancing, retries). All channels of a
 * client have the same; the strings live as long as the client.
 *
 * Timers of C-core, and why: a name is resolved again at most every resolve_interval_ms, because replicas come and go;
 * one attempt to connect lasts connect_timeout_ms, because packets to a peer that has gone are dropped, not refused;
 * attempts come every 0.1 to 1 s; after keepalive_ms without a sign of the peer while calls wait it is pinged, and
 * given up after dead_after_ms more.
 */
#include "rpc_client_internal.h"
#include <errno.h>
#include <limits.h>

#define DEFAULT_MAX_MESSAGE        (4u * 1024 * 1024)
#define DEFAULT_RESOLVE_MS         1000
#define DEFAULT_CONNECT_TIMEOUT_MS 3000
#define DEFAULT_KEEPALIVE_MS       10000
#define DEFAULT_DEAD_AFTER_MS      2000
#define RECONNECT_MIN_MS           100
#define RECONNECT_MAX_MS           1000

static_assert(RECONNECT_MIN_MS < RECONNECT_MAX_MS, "pauses between attempts to connect grow");
static_assert(DEFAULT_DEAD_AFTER_MS < DEFAULT_KEEPALIVE_MS, "a ping is answered or given up before the next one");
static_assert(DEFAULT_MAX_MESSAGE <= INT_MAX, "an argument is an int");

/* ---- the service config ---- */

static void append_method(struct buf *json, const char *method, bool first)
{
    const char *slash = strchr(method, '/');
    size_t len = slash != NULL ? (size_t)(slash - method) : strlen(method);

    buf_append_cstr(json, first ? "{\"service\":" : ",{\"service\":");
    buf_append_json_string(json, (struct str){method, len});
    if (slash != NULL) {
        buf_append_cstr(json, ",\"method\":");
        buf_append_json_string(json, str_of(slash + 1));
    }
    buf_append_char(json, '}');
}

/* https://github.com/grpc/grpc/blob/master/doc/service_config.md */
static void write_service_config(const struct rpc_client_def *def, struct buf *json)
{
    buf_append_cstr(json, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]");
    if (def->retry_idempotent && def->idempotent_methods != NULL && def->idempotent_methods[0] != NULL) {
        buf_append_cstr(json, ",\"methodConfig\":[{\"name\":[");
        for (size_t i = 0; def->idempotent_methods[i] != NULL; i++)
            append_method(json, def->idempotent_methods[i], i == 0);
        buf_append_cstr(json,
                        "],\"retryPolicy\":{\"maxAttempts\":4,\"initialBackoff\":\"0.01s\",\"maxBackoff\":\"0.2s\","
                        "\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}],"
                        "\"retryThrottling\":{\"maxTokens\":1000,\"tokenRatio\":0.1}");
    }
    buf_append_char(json, '}');
    buf_append_char(json, '\0');
}

/* ---- arguments ---- */

static void add_integer(struct rpc_client *client, const char *key, size_t value)
{
    assert(client->arg_count < RPC_CHANNEL_ARGS);
    client->args[client->arg_count++] = (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value > INT_MAX ? INT_MAX : (int)value};
}

static void add_string(struct rpc_client *client, const char *key, char *value)
{
    assert(client->arg_count < RPC_CHANNEL_ARGS);
    client->args[client->arg_count++] = (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = value};
}

static size_t or_default(size_t value, size_t if_zero)
{
    return value != 0 ? value : if_zero;
}

/* C-core's defaults suit clients far away. Here peers are in the same cluster, come and go: names are resolved again
 * soon, connections tried again soon, and peers that have vanished are noticed. */
static void fill(struct rpc_client *client, const struct rpc_client_def *def)
{
    size_t reconnect_ms = or_default(def->reconnect_ms, RECONNECT_MIN_MS);

    add_string(client, GRPC_ARG_SERVICE_CONFIG, client->service_config);
    add_integer(client, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    add_integer(client, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                or_default(def->resolve_interval_ms, DEFAULT_RESOLVE_MS));
    add_integer(client, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, reconnect_ms);
    add_integer(client, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                reconnect_ms > RECONNECT_MAX_MS ? reconnect_ms : RECONNECT_MAX_MS);
    add_integer(client, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, /* whatever its name: it bounds a single attempt */
                or_default(def->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS));
    add_integer(client, GRPC_ARG_KEEPALIVE_TIME_MS, or_default(def->keepalive_ms, DEFAULT_KEEPALIVE_MS));
    add_integer(client, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, or_default(def->dead_after_ms, DEFAULT_DEAD_AFTER_MS));
    add_integer(client, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
    add_integer(client, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    add_integer(client, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, or_default(def->max_message, DEFAULT_MAX_MESSAGE));
    add_integer(client, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    add_integer(client, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); /* its connections end with the client */
    add_integer(client, GRPC_ARG_ENABLE_CHANNELZ, 0);           /* statistics of each call that nobody can ask for */
    /* Never: a filter that every call passes would only close connections of half an hour without a call, and servers
     * end theirs long before. */
    add_integer(client, GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX);
}

int rpc_args_fill(struct rpc_client *client, const struct rpc_client_def *def)
{
    struct buf service_config = {0};
    int err;

    assert(client->arg_count == 0 && client->service_config == NULL);
    write_service_config(def, &service_config);
    client->service_config = service_config.data; /* released with the client, also where an append has failed */
    err = buf_error(&service_config);
    if (err == 0)
        fill(client, def);
    return err;
}
