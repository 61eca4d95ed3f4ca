/* The methods that a client has called, found by their descriptors. The list only grows, at its head, under the
 * client's lock; it is read without: a method that is seen is complete. It has as many elements as the program has
 * methods. */
#include "rpc_client_internal.h"
#include <stdio.h>
#include <stdlib.h>

static struct rpc_peer_method *find_method(struct rpc_client *client, const ProtobufCMethodDescriptor *descriptor)
{
    struct rpc_peer_method *method = atomic_load_explicit(&client->methods, memory_order_acquire);

    while (method != NULL && method->descriptor != descriptor)
        method = method->next;
    return method;
}

static struct rpc_peer_method *add_method(struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                                          const ProtobufCMethodDescriptor *descriptor)
{
    struct rpc_peer_method *method = calloc(1, sizeof(*method));

    if (method == NULL)
        return NULL;
    if (asprintf(&method->path, "/%s/%s", service->name, descriptor->name) < 0) {
        free(method);
        return NULL;
    }
    method->descriptor = descriptor;
    rpc_stats_init(&method->stats, client->metrics, RPC_CLIENT_SIDE,
                   (const struct str[]){str_of(client->name), str_of(service->name), str_of(descriptor->name)});
    method->next = atomic_load(&client->methods);
    atomic_store_explicit(&client->methods, method, memory_order_release);
    return method;
}

struct rpc_peer_method *rpc_peer_method(struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                                        const char *name)
{
    const ProtobufCMethodDescriptor *descriptor = protobuf_c_service_descriptor_get_method_by_name(service, name);
    struct rpc_peer_method *method;

    assert(descriptor != NULL);
    method = find_method(client, descriptor);
    if (method != NULL)
        return method;
    pthread_mutex_lock(&client->lock);
    method = find_method(client, descriptor);
    if (method == NULL)
        method = add_method(client, service, descriptor);
    pthread_mutex_unlock(&client->lock);
    return method;
}

void rpc_peer_methods_release(struct rpc_client *client)
{
    struct rpc_peer_method *method, *next;

    assert(client->in_flight == 0); /* whose methods these are */
    for (method = atomic_load(&client->methods); method != NULL; method = next) {
        next = method->next;
        free(method->path);
        free(method);
    }
}
