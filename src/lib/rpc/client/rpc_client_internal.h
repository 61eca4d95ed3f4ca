/* rpc_client_internal -- what the files of the gRPC client share; see rpc_client.h.
 *
 *   client.c                  the client's life
 *   unary.c, stream.c         a call of each sort
 *   flight.c, metadata.c, span.c   what calls have in common
 *   outgoing.c                the reference by which a call is cancelled
 *   method.c                  the methods that have been called
 *   channel.c                 the channel for new calls, and when it is replaced
 *   args.c, target.c, credentials.c   what C-core is told of a channel
 *   queue.c                   what waits to be sent on a stream
 *   worker.c                  a completion queue and its thread
 *   library.c, time.c, wire.c C-core's life in this process, its clock, its bytes
 *
 * A file uses those below it only.
 *
 * C-core answers through completion queues: a batch of operations is started with a tag, and the tag comes out of the
 * queue when the batch is done. Here every tag is a struct rpc_event inside the object that it is about, and every
 * queue has one thread, so that an object's events never run side by side. Batches may be started by any thread, under
 * the object's lock.
 */
#pragma once
#include "include/names.h"
#include "rpc_client.h"
#include "rpc_core.h"
#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#if __has_include(<grpc/credentials.h>) /* declared by grpc_security.h in older versions */
#include <grpc/credentials.h>
#endif
#if __has_include(<grpc/impl/channel_arg_names.h>)
#include <grpc/impl/channel_arg_names.h>
#endif
#include <assert.h>
#include <pthread.h>
#include <sys/queue.h>

/* ---- library.c: C-core in this process ---- */

void rpc_library_use(void);
/* The last use waits until C-core's threads are done with it, for two seconds at most. Not for a thread of C-core. */
void rpc_library_done(void);

/* ---- worker.c: a completion queue and its thread ---- */

struct rpc_event {
    void (*run)(struct rpc_event *event, bool ok);
};

/* The object that a member is part of. */
#define RPC_OWNER(pointer_, type_, member_) ((type_ *)((char *)(pointer_)-offsetof(type_, member_)))

struct rpc_worker {
    grpc_completion_queue *queue;
    /* Called before every wait: does what is due and returns when to be called again at the latest (monotonic ns),
     * UINT64_MAX for never. May be NULL. */
    uint64_t (*tick)(struct rpc_worker *worker);
    pthread_t thread;
    bool running;
};

int rpc_worker_init(struct rpc_worker *worker, uint64_t (*tick)(struct rpc_worker *));
int rpc_worker_start(struct rpc_worker *worker, const char *name);
/* Ends the thread after all that was started has come out of the queue. Accepts a zeroed worker. */
void rpc_worker_release(struct rpc_worker *worker);
/* Starts a batch whose end is the event. Whatever can go wrong is a bug of ours. */
void rpc_start(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_event *event);

/* ---- time.c ---- */

/* Between our monotonic clock and C-core's, which may be ahead of it. Any thread. */
gpr_timespec rpc_time(uint64_t monotonic_ns);
uint64_t rpc_monotonic_ns(gpr_timespec time); /* UINT64_MAX for the infinite future */

/* ---- wire.c: between protobuf-c, C-core and str ---- */

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message);
/* As rpc_unpack_bytes. */
int rpc_unpack(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked);
grpc_slice rpc_slice(struct str s); /* a copy */

/* ---- queue.c: what waits to be sent on one call ---- */

#define RPC_QUEUE_FULL_MESSAGES 16
#define RPC_QUEUE_FULL_BYTES    (256 * 1024)
#define RPC_QUEUE_HARD          4 /* times as much is the end */

struct rpc_queue {
    grpc_byte_buffer *messages[RPC_QUEUE_FULL_MESSAGES * RPC_QUEUE_HARD]; /* a ring */
    unsigned first, count;
    size_t bytes;
    bool full; /* whoever sends was told so, and not yet that there is room again */
};

/* Takes the message. 0, 1 (now full) or -ENOBUFS. A single message is always taken, whatever its size. */
int rpc_queue_put(struct rpc_queue *queue, grpc_byte_buffer *take_message);
grpc_byte_buffer *rpc_queue_take(struct rpc_queue *queue); /* NULL where there is none */
bool rpc_queue_writable(struct rpc_queue *queue);          /* true once after it was full: when half of it is free */
void rpc_queue_clear(struct rpc_queue *queue);

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

#define RPC_CHANNEL_ARGS 18

TAILQ_HEAD(rpc_flights, rpc_flight);

struct rpc_client {
    char *name, *target, *uri, *service_config;
    struct span_sink *spans;
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

/* ---- method.c ---- */

/* The method of that name; its service must have one. NULL out of memory. Any thread. */
struct rpc_peer_method *rpc_peer_method(struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                                        const char *name);
void rpc_peer_methods_release(struct rpc_client *client);

/* ---- target.c ---- */

int rpc_target_uri(const char *target, char **ret_uri); /* malloc'ed. -EINVAL: no target; -ENOMEM */

/* ---- args.c ---- */

int rpc_args_fill(struct rpc_client *client, const struct rpc_client_def *def); /* 0 or -ENOMEM */

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

#define RPC_TRACE_METADATA 3 /* traceparent, tracestate, baggage */

struct rpc_flight {
    TAILQ_ENTRY(rpc_flight) link;
    struct rpc_client *client;
    struct rpc_channel *channel;
    struct rpc_peer_method *method;
    grpc_call *grpc;
    grpc_metadata metadata[RPC_MAX_METADATA + RPC_TRACE_METADATA];
    size_t metadata_count;
    grpc_metadata_array initial_metadata, trailing_metadata; /* the server's */
    grpc_status_code status;
    grpc_slice details;
    uint64_t begun_ns;
    struct trace trace; /* of its span */
    bool traced;
    struct rpc_outgoing *outgoing; /* NULL: nobody asked for it */
};

/* Makes the call and puts it among those in flight. Errors as rpc_unary's: nothing is to be released then. */
int rpc_flight_begin(struct rpc_flight *flight, struct rpc_client *client, const ProtobufCServiceDescriptor *service,
                     const char *method, const struct rpc_call_options *options);
int rpc_flight_fill_metadata(struct rpc_flight *flight, const struct rpc_call_options *options); /* -EINVAL */
void rpc_flight_release_metadata(struct rpc_flight *flight);
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

/* ---- span.c ---- */

void rpc_flight_end_span(const struct rpc_flight *flight, enum err_grpc code); /* of one whose span is wanted */

/* ---- outgoing.c: the reference by which a call is cancelled ---- */

struct rpc_outgoing *rpc_outgoing_new(void); /* two references; NULL out of memory */
void rpc_outgoing_set(struct rpc_outgoing *outgoing, grpc_call *grpc);
