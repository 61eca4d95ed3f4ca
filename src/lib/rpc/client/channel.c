#include "clock.h"
#include "rpc_client_internal.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MAX_MESSAGE        (4u * 1024 * 1024)
#define DEFAULT_RESOLVE_MS         1000
#define DEFAULT_CONNECT_TIMEOUT_MS 3000
#define DEFAULT_KEEPALIVE_MS       10000
#define DEFAULT_DEAD_AFTER_MS      2000
#define RENEW_NS                   (5 * CLOCK_NS_PER_S)

/* ---- the target ---- */

static bool is_port(struct str text)
{
    uint64_t port;

    return str_to_u64(text, 65535, &port) == 0 && port > 0;
}

/* "1.2.3.4:5" or "[::1]:5" */
static bool is_numeric(struct str address, int family)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = memrchr(address.s, ':', address.len);
    size_t len = colon != NULL ? (size_t)(colon - address.s) : 0;
    unsigned char bytes[16];

    if (len == 0 || len >= sizeof(host) || !is_port((struct str){colon + 1, address.len - len - 1}))
        return false;
    memcpy(host, address.s, len);
    host[len] = '\0';
    if (family == AF_INET)
        return inet_pton(AF_INET, host, bytes) == 1;
    if (host[0] != '[' || host[len - 1] != ']')
        return false;
    host[len - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, bytes) == 1;
}

static bool all_numeric(const char *list, int family)
{
    const char *comma;

    for (; (comma = strchr(list, ',')) != NULL; list = comma + 1)
        if (!is_numeric((struct str){list, (size_t)(comma - list)}, family))
            return false;
    return is_numeric(str_of(list), family);
}

/* "name:port" */
static bool is_name_and_port(const char *target)
{
    const char *colon = strchr(target, ':');

    return colon != NULL && colon != target && strpbrk(target, ",/ ") == NULL && is_port(str_of(colon + 1));
}

static int make_uri(const char *target, char **ret_uri)
{
    const char *scheme;
    char *uri;

    if (strstr(target, "://") != NULL || strncmp(target, "unix:", 5) == 0)
        scheme = "";
    else if (all_numeric(target, AF_INET))
        scheme = "ipv4:";
    else if (all_numeric(target, AF_INET6))
        scheme = "ipv6:";
    else if (is_name_and_port(target))
        scheme = "dns:///";
    else
        return -EINVAL;
    if (asprintf(&uri, "%s%s", scheme, target) < 0)
        return -ENOMEM;
    *ret_uri = uri;
    return 0;
}

const char *rpc_client_check_target(const char *target)
{
    char *uri = NULL;
    int r = make_uri(target, &uri);

    free(uri);
    return r == 0 ? NULL : r == -EINVAL ? "must be host:port" : strerror(-r);
}

/* ---- arguments ---- */

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
static void fill_args(struct rpc_client *client, const struct rpc_client_def *def)
{
    add_string(client, GRPC_ARG_SERVICE_CONFIG, client->service_config);
    add_integer(client, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    add_integer(client, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                or_default(def->resolve_interval_ms, DEFAULT_RESOLVE_MS));
    add_integer(client, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    add_integer(client, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
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

/* ---- channels ---- */

/* Reads the certificates again: they may have been renewed since the last channel was made. */
static int channel_new(struct rpc_client *client, struct rpc_channel **ret_channel)
{
    const grpc_channel_args args = {.num_args = client->arg_count, .args = client->args};
    grpc_channel_credentials *credentials;
    struct rpc_channel *channel;
    int err = rpc_credentials_create(client->tls.ca != NULL ? &client->tls : NULL, &credentials);

    if (err != 0)
        return err;
    channel = calloc(1, sizeof(*channel));
    if (channel != NULL) {
        channel->grpc = grpc_channel_create(client->uri, credentials, &args);
        channel->users = 1;
        channel->tried_ns = clock_monotonic_ns();
        *ret_channel = channel;
    }
    grpc_channel_credentials_release(credentials);
    return channel != NULL ? 0 : -ENOMEM;
}

int rpc_channel_open(struct rpc_client *client, const struct rpc_client_def *def)
{
    struct buf service_config = {0};
    int err;

    err = make_uri(def->target, &client->uri);
    if (err != 0)
        return err;
    write_service_config(def, &service_config);
    client->service_config = service_config.data; /* released with the client, also where an append has failed */
    err = buf_error(&service_config);
    if (err != 0)
        return err;
    fill_args(client, def);
    if (def->tls != NULL)
        client->tls = *def->tls;
    return channel_new(client, &client->channel);
}

void rpc_channel_close(struct rpc_client *client)
{
    if (client->channel != NULL)
        rpc_channel_done(client, client->channel);
    free(client->service_config);
    free(client->uri);
}

struct rpc_channel *rpc_channel_use(struct rpc_client *client)
{
    client->channel->users++;
    return client->channel;
}

void rpc_channel_done(struct rpc_client *client, struct rpc_channel *channel)
{
    bool last;

    pthread_mutex_lock(&client->lock);
    last = --channel->users == 0;
    pthread_mutex_unlock(&client->lock);
    if (!last)
        return;
    grpc_channel_destroy(channel->grpc);
    free(channel);
}

/* The channel, once in a while; else NULL. */
static struct rpc_channel *use_to_look_at(struct rpc_client *client)
{
    struct rpc_channel *channel = NULL;
    uint64_t now = clock_monotonic_ns();

    pthread_mutex_lock(&client->lock);
    if (now - client->channel->tried_ns >= RENEW_NS) {
        client->channel->tried_ns = now;
        channel = rpc_channel_use(client);
    }
    pthread_mutex_unlock(&client->lock);
    return channel;
}

static bool replace(struct rpc_client *client, struct rpc_channel *old, struct rpc_channel *made)
{
    bool replaced;

    pthread_mutex_lock(&client->lock);
    replaced = client->channel == old;
    if (replaced) {
        client->channel = made;
        old->users--; /* the client's use; the caller has another */
    }
    pthread_mutex_unlock(&client->lock);
    return replaced;
}

/* C-core's resolver asks for a name that does not exist after ever longer pauses, up to two minutes, and nothing can
 * tell it that there is someone who waits; but a new channel asks at once. A new channel also has the certificates that
 * are in the files now: where the old ones have expired, no handshake of the old channel succeeds any more. */
void rpc_channel_failed(struct rpc_client *client)
{
    struct rpc_channel *old = use_to_look_at(client), *made = NULL;

    if (old == NULL)
        return;
    if (grpc_channel_check_connectivity_state(old->grpc, 0) == GRPC_CHANNEL_TRANSIENT_FAILURE)
        channel_new(client, &made); /* on failure the old one goes on trying */
    if (made != NULL && !replace(client, old, made))
        rpc_channel_done(client, made);
    rpc_channel_done(client, old);
}
