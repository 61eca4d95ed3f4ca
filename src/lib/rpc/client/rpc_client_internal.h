/* rpc_client_internal -- what the files of the gRPC client share; see rpc_client.h. */
#pragma once
#include "include/names.h"
#include "rpc_client.h"
#include "rpc_core.h"
#include <grpc/grpc_security.h>
#if __has_include(<grpc/credentials.h>) /* declared by grpc_security.h in older versions */
#include <grpc/credentials.h>
#endif
#if __has_include(<grpc/impl/channel_arg_names.h>)
#include <grpc/impl/channel_arg_names.h>
#endif

/* ---- client.c ---- */

/* A method that has been called: found by its descriptor. */
struct rpc_peer_method {
    struct rpc_peer_method *next;
    const ProtobufCMethodDescriptor *descriptor;
    char *path;
    struct rpc_stats stats;
};

/* C-core's channel: replaced when it has given up for long, kept until its last call has ended. */
struct rpc_channel {
    grpc_channel *grpc;
    unsigned users;    /* calls, and one while it is the client's; under the client's lock */
    uint64_t tried_ns; /* when it was made, or last looked at */
};

#define RPC_CHANNEL_ARGS 16

TAILQ_HEAD(rpc_flights, rpc_flight);

struct rpc_client {
    char *name, *uri, *service_config;
    grpc_arg args[RPC_CHANNEL_ARGS];
    size_t arg_count;
    struct rpc_tls tls; /* without ca: none */
    struct metrics *metrics;
    unsigned max_in_flight;
    struct rpc_worker *workers;
    unsigned threads;
    atomic_uint next_worker;
    _Atomic(struct rpc_peer_method *) methods; /* only ever grows, at its head, under the lock */
    pthread_mutex_t lock;                      /* of what follows */
    pthread_cond_t landed;
    struct rpc_channel *channel;
    struct rpc_flights flights;
    unsigned in_flight; /* counts also those whose callback is running */
    bool closing;
};

/* ---- credentials.c ---- */

int rpc_credentials_create(const struct rpc_tls *tls, grpc_channel_credentials **ret_credentials);

/* ---- channel.c ---- */

int rpc_channel_open(struct rpc_client *client, const struct rpc_client_def *def); /* the client's first */
void rpc_channel_close(struct rpc_client *client);
/* Under the lock: the channel for one more call. */
struct rpc_channel *rpc_channel_use(struct rpc_client *client);
void rpc_channel_done(struct rpc_client *client, struct rpc_channel *channel); /* not under the lock */
void rpc_channel_failed(struct rpc_client *client); /* a call may not have reached a peer; not under the lock */

/* ---- flight.c: what a unary call and a stream of a client have in common ---- */

struct rpc_flight {
    TAILQ_ENTRY(rpc_flight) link;
    struct rpc_client *client;
    struct rpc_channel *channel;
    struct rpc_peer_method *method;
    grpc_call *grpc;
    grpc_metadata metadata[RPC_MAX_METADATA + 1];
    size_t metadata_count;
    grpc_metadata_array initial_metadata, trailing_metadata; /* the server's */
    grpc_status_code status;
    grpc_slice details;
    uint64_t begun_ns;
};

/* Makes the call and puts it among those in flight. Errors as rpc_unary's: nothing is to be released then. */
int rpc_flight_begin(struct rpc_flight *flight, struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                     const char *method, const struct rpc_call_options *options);
grpc_op rpc_flight_send_metadata(struct rpc_flight *flight, const struct rpc_call_options *options);
grpc_op rpc_flight_recv_metadata(struct rpc_flight *flight);
grpc_op rpc_flight_recv_status(struct rpc_flight *flight);
/* In the call's last event, in this order: it cannot be cancelled any more; its end is counted; it is released, and the
 * client may be gone. */
void rpc_flight_landed(struct rpc_flight *flight);
void rpc_flight_count(struct rpc_flight *flight, enum err_grpc code);
void rpc_flight_end(struct rpc_flight *flight);
/* The status that came; *ret_text keeps its message, for gpr_free. */
struct rpc_status rpc_flight_status(const struct rpc_flight *flight, char **ret_text);
