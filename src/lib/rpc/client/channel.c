/* The client's channel, and when another takes its place.
 *
 * client->channel is the one for new calls. It is used by the client itself and by each call (users); whoever gives up
 * the last use destroys it. rpc_channel_failed looks at it after a call that may not have reached a peer, at most every
 * RENEW_NS: in TRANSIENT_FAILURE it is replaced. Why:
 *
 * - C-core's resolver asks for a name that does not exist after ever longer pauses, up to two minutes, and nothing can
 * tell it that there is someone who waits; a new channel asks at once.
 * - A new channel has the certificates that are in the files now: where the old ones have expired, no handshake of the
 * old channel succeeds any more.
 *
 * Calls of the old channel go on with it. client->lock guards client->channel, users and tried_ns; C-core is never
 * called under it. Callers: client.c (open, close), flight.c (a call's use, its failure), in any thread.
 */
#include "clock.h"
#include "rpc_client_internal.h"
#include <errno.h>
#include <stdlib.h>

#define RENEW_NS (5 * CLOCK_NS_PER_S)

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
    int err = rpc_target_uri(def->target, &client->uri);

    if (err == 0)
        err = rpc_args_fill(client, def);
    if (err != 0)
        return err;
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
    assert(client->channel->users > 0); /* the client's */
    client->channel->users++;
    return client->channel;
}

void rpc_channel_done(struct rpc_client *client, struct rpc_channel *channel)
{
    bool last;

    pthread_mutex_lock(&client->lock);
    assert(channel->users > 0);
    last = --channel->users == 0;
    pthread_mutex_unlock(&client->lock);
    if (!last)
        return;
    /* C-core's end waits for the pause before the next attempt to connect, which nothing else ends. */
    grpc_channel_reset_connect_backoff(channel->grpc);
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
        assert(old->users > 1); /* the client's use; the caller has another */
        old->users--;
    }
    pthread_mutex_unlock(&client->lock);
    return replaced;
}

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
