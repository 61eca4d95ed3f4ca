#include "rpc_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MAX_MESSAGE (4u * 1024 * 1024)
#define ARGS_MAX            16

/* ---- the target ---- */

/* "1.2.3.4:5" or "[::1]:5" */
static bool is_numeric(struct str address, int family)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = memrchr(address.s, ':', address.len);
    size_t len = colon != NULL ? (size_t)(colon - address.s) : 0;
    unsigned char bytes[16];

    if (len == 0 || len >= sizeof(host))
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
    else if (strchr(target, ':') != NULL && strpbrk(target, ",/ ") == NULL)
        scheme = "dns:///";
    else
        return -EINVAL;
    if (asprintf(&uri, "%s%s", scheme, target) < 0)
        return -ENOMEM;
    *ret_uri = uri;
    return 0;
}

/* ---- the channel ---- */

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
                        "\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]");
    }
    buf_append_char(json, '}');
    buf_append_char(json, '\0');
}

static void add_integer(grpc_channel_args *args, const char *key, int value)
{
    args->args[args->num_args++] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static void add_string(grpc_channel_args *args, const char *key, char *value)
{
    args->args[args->num_args++] = (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = value};
}

static int receive_limit(size_t max_message)
{
    if (max_message == SIZE_MAX)
        return -1;
    if (max_message == 0)
        max_message = DEFAULT_MAX_MESSAGE;
    return max_message < INT_MAX ? (int)max_message : INT_MAX;
}

/* C-core's defaults suit clients far away. Here peers are in the same cluster, come and go: names are resolved again
 * soon, connections tried again soon, and peers that have vanished are noticed. */
static void fill_args(grpc_channel_args *args, const struct rpc_client_def *def, char *service_config)
{
    add_string(args, GRPC_ARG_SERVICE_CONFIG, service_config);
    add_integer(args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    add_integer(args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                def->resolve_interval_ms != 0 ? (int)def->resolve_interval_ms : 1000);
    add_integer(args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    add_integer(args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3000); /* this one bounds a single attempt */
    add_integer(args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    add_integer(args, GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
    add_integer(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
    add_integer(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
    add_integer(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    add_integer(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, receive_limit(def->max_message));
    add_integer(args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    add_integer(args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); /* its connections end with the client */
}

/* The one place where credentials are chosen. */
static grpc_channel *connect_channel(const char *uri, const grpc_channel_args *args)
{
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(uri, credentials, args);

    grpc_channel_credentials_release(credentials);
    return channel;
}

static int open_channel(struct rpc_client *client, const struct rpc_client_def *def)
{
    grpc_arg list[ARGS_MAX];
    grpc_channel_args args = {.args = list};
    struct buf service_config = {0};
    char *uri;
    int err;

    err = make_uri(def->target, &uri);
    if (err != 0)
        return err;
    write_service_config(def, &service_config);
    err = buf_error(&service_config);
    if (err == 0) {
        fill_args(&args, def, service_config.data);
        client->channel = connect_channel(uri, &args);
    }
    buf_release(&service_config);
    free(uri);
    return err;
}

/* ---- life ---- */

static int start_workers(struct rpc_client *client)
{
    int err = 0;

    client->workers = calloc(client->threads, sizeof(client->workers[0]));
    if (client->workers == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < client->threads && err == 0; i++) {
        err = rpc_worker_init(&client->workers[i], NULL);
        if (err == 0)
            err = rpc_worker_start(&client->workers[i], "rpc-client");
    }
    return err;
}

int rpc_client_open(const struct rpc_client_def *def, struct rpc_client **ret_client)
{
    struct rpc_client *client = calloc(1, sizeof(*client));
    int err;

    if (client == NULL)
        return -ENOMEM;
    grpc_init();
    client->metrics = def->metrics;
    client->max_in_flight = def->max_in_flight != 0 ? def->max_in_flight : 10000;
    client->threads = def->threads != 0 ? def->threads : 1;
    TAILQ_INIT(&client->flights);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->landed, NULL);
    client->name = strdup(def->name != NULL ? def->name : def->target);
    err = client->name != NULL ? open_channel(client, def) : -ENOMEM;
    if (err == 0)
        err = start_workers(client);
    if (err == 0)
        *ret_client = client;
    else
        rpc_client_free(client);
    return err;
}

static void cancel_all(struct rpc_client *client)
{
    struct rpc_flight *flight;

    pthread_mutex_lock(&client->lock);
    client->closing = true;
    TAILQ_FOREACH(flight, &client->flights, link)
    grpc_call_cancel(flight->grpc, NULL);
    while (client->in_flight > 0)
        pthread_cond_wait(&client->landed, &client->lock);
    pthread_mutex_unlock(&client->lock);
}

struct rpc_client *rpc_client_free(struct rpc_client *client)
{
    struct rpc_peer_method *method, *next;

    if (client == NULL)
        return NULL;
    cancel_all(client);
    for (unsigned i = 0; client->workers != NULL && i < client->threads; i++)
        rpc_worker_release(&client->workers[i]);
    free(client->workers);
    if (client->channel != NULL)
        grpc_channel_destroy(client->channel);
    for (method = atomic_load(&client->methods); method != NULL; method = next) {
        next = method->next;
        free(method->path);
        free(method);
    }
    grpc_shutdown();
    pthread_cond_destroy(&client->landed);
    pthread_mutex_destroy(&client->lock);
    free(client->name);
    free(client);
    return NULL;
}
