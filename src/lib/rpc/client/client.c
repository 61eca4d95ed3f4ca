/* The client's life: opened with its workers and its first channel; closing from rpc_client_cancel on, when calls are
 * refused; freed when the last callback has returned. client->lock guards closing, in_flight and flights; landed is
 * signalled when in_flight falls to 0 while closing. */
#include "budget.h"
#include "rpc_client_internal.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_IN_FLIGHT   10000
#define MEMORY_PER_CALL (16 * 1024) /* C-core takes 8 to 15 KiB */

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
    rpc_library_use();
    client->metrics = def->metrics;
    client->spans = def->spans;
    client->max_in_flight =
        budget_fit(def->max_in_flight != 0 ? def->max_in_flight : MAX_IN_FLIGHT, def->max_memory, MEMORY_PER_CALL);
    client->threads = def->threads != 0 ? def->threads : 1;
    TAILQ_INIT(&client->flights);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->landed, NULL);
    client->name = strdup(def->name != NULL ? def->name : def->target);
    client->target = strdup(def->target);
    err = client->name != NULL && client->target != NULL ? rpc_channel_open(client, def) : -ENOMEM;
    if (err == 0)
        err = start_workers(client);
    if (err == 0)
        *ret_client = client;
    else
        rpc_client_free(client);
    return err;
}

void rpc_client_cancel(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    for (struct rpc_flight *flight = TAILQ_FIRST(&client->flights); flight != NULL; flight = TAILQ_NEXT(flight, link))
        grpc_call_cancel(flight->grpc, NULL);
    pthread_mutex_unlock(&client->lock);
}

static void await_landings(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    while (client->in_flight > 0)
        pthread_cond_wait(&client->landed, &client->lock);
    pthread_mutex_unlock(&client->lock);
}

struct rpc_client *rpc_client_free(struct rpc_client *client)
{
    if (client == NULL)
        return NULL;
    rpc_client_cancel(client);
    await_landings(client);
    for (unsigned i = 0; client->workers != NULL && i < client->threads; i++)
        rpc_worker_release(&client->workers[i]);
    free(client->workers);
    rpc_channel_close(client);
    rpc_peer_methods_release(client);
    rpc_library_done();
    pthread_cond_destroy(&client->landed);
    pthread_mutex_destroy(&client->lock);
    free(client->target);
    free(client->name);
    free(client);
    return NULL;
}
