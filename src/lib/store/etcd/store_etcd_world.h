/* store_etcd_world -- what the etcd engine has of the world: time, ids, threads and waiting, calls to etcd. It reaches
 * none of them otherwise, so that it can run in a simulated world, where time and the network are a program's. Its
 * local view is not part of it: that is files on a disk.
 *
 * Mutexes are the process's own: the engine holds them for moments, and never while it calls what is here, but for wait
 * and wake. Any thread may call any function. Handles of threads, clients and streams are the world's own.
 */
#pragma once
#include "include/names.h"
#include "rpc_client.h"
#include "store_engine.h"
#include "uuid.h"
#include <pthread.h>
#include <semaphore.h>

struct etcd_world {
    /* Time. */
    uint64_t (*monotonic_ns)(void);
    uint64_t (*realtime_ns)(void);
    void (*sleep)(uint64_t ns);

    int (*new_id)(struct uuid *ret_uuid); /* as uuid_new */

    /* Threads, and what they wait for. */
    int (*start_thread)(pthread_t *ret_thread, const char *name, void *(*run)(void *arg), void *arg);
    void (*join_thread)(pthread_t thread);
    void (*cond_init)(pthread_cond_t *cond);
    int (*wait)(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns); /* as thread_wait_until */
    void (*wake)(pthread_cond_t *cond);                                          /* all who wait */
    void (*await)(sem_t *done);
    void (*post)(sem_t *done);

    /* Calls: as in rpc_client.h. */
    int (*client_open)(const struct rpc_client_def *def, struct rpc_client **ret_client);
    void (*client_cancel)(struct rpc_client *client);
    struct rpc_client *(*client_free)(struct rpc_client *client);
    int (*unary)(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                 const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done,
                 void *arg);
    int (*stream_open)(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                       const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers, void *arg,
                       struct rpc_stream **ret_stream);
    int (*stream_send)(struct rpc_stream *stream, const ProtobufCMessage *message);
    void (*stream_cancel)(struct rpc_stream *stream);
    struct rpc_stream *(*stream_unref)(struct rpc_stream *stream);
};

/* This process's clocks, random numbers, threads and gRPC. */
extern const struct etcd_world etcd_real_world;

/* Opens a store as store_etcd_engine does, in another world, which must outlive it: for store_opened and the rest of
 * the engine's functions. */
int store_etcd_open(const struct etcd_world *world, const struct store_options *options, const char *rest,
                    struct store **ret_store, char *error, size_t error_size);
