/* rpc_internal -- what the files of rpc share; see rpc.h.
 *
 * C-core answers through completion queues: a batch of operations is started with a tag, and the tag comes out of the
 * queue when the batch is done. Here every tag is a struct rpc_event inside the object that it is about, and every
 * queue has one thread, so that an object's events never run side by side. Batches may be started by any thread, under
 * the object's lock.
 */
#pragma once
#include "rpc.h"
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
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* ---- rpc_library.c: C-core in this process ---- */

void rpc_library_use(void);
/* The last use waits until C-core's threads are done with it, for two seconds at most. Not for a thread of C-core. */
void rpc_library_done(void);

/* ---- rpc_worker.c: a completion queue and its thread ---- */

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
/* To be called before an event is given to C-core in any other way. */
void rpc_event_hand_over(struct rpc_event *event);
/* Between our monotonic clock and C-core's, which may be ahead of it. Any thread. */
gpr_timespec rpc_time(uint64_t monotonic_ns);
uint64_t rpc_monotonic_ns(gpr_timespec time); /* UINT64_MAX for the infinite future */

/* ---- rpc_text.c ---- */

#define RPC_MAX_DEPTH 32 /* of messages in messages; ours have no more than 3 */

/* False if a string in the message contains a NUL, or messages lie too deep. What is no message at all is true. */
bool rpc_text_whole(struct str bytes, const ProtobufCMessageDescriptor *type, unsigned max_depth);

/* ---- rpc_wire.c: between protobuf-c, C-core and str ---- */

/* An unpacked message in memory of its own: a budget in proportion to its bytes, because hostile bytes (millions of
 * unknown fields) would take sixty times their size. Small messages need no heap. */
struct rpc_unpacked {
    ProtobufCMessage *message;
    ProtobufCAllocator allocator;
    struct rpc_chunk *chunks;
    char *room;
    size_t room_len, budget;
    _Alignas(max_align_t) char first[1024];
};

#define RPC_UNPACK_FACTOR 16
#define RPC_UNPACK_EXTRA  (64 * 1024)

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message);
/* 0, -EILSEQ for a string with a NUL in it, or -EBADMSG for bytes that are no such message, go beyond the budget, or
 * memory. Released only after 0. */
int rpc_unpack(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked);
void rpc_unpacked_release(struct rpc_unpacked *unpacked);
struct str rpc_slice_str(const grpc_slice *slice); /* valid as long as the slice */
grpc_slice rpc_slice(struct str s);                /* a copy */
/* The first value of that name; STR_NULL. */
struct str rpc_metadata_find(const grpc_metadata_array *metadata, const char *name);

/* ---- rpc_queue.c: what waits to be sent on one call, both ends ---- */

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

/* ---- rpc_metrics.c: RED metrics of a method, either end ---- */

enum rpc_side { RPC_SERVER_SIDE, RPC_CLIENT_SIDE };

#define RPC_STATUS_CODES  17
#define RPC_METRIC_LABELS 3

struct rpc_stats {
    struct metrics_series *started, *seconds;
    struct metrics_family *handled_family;
    struct str labels[RPC_METRIC_LABELS];
    _Atomic(struct metrics_series *) handled[RPC_STATUS_CODES]; /* made when a code is first seen */
};

/* labels: of the server grpc_type, grpc_service, grpc_method; of the client peer, grpc_service, grpc_method. They must
 * outlive stats. metrics may be NULL. */
void rpc_stats_init(struct rpc_stats *stats, struct metrics *metrics, enum rpc_side side,
                    const struct str labels[RPC_METRIC_LABELS]);
void rpc_stats_started(struct rpc_stats *stats);
void rpc_stats_handled(struct rpc_stats *stats, enum err_grpc code, uint64_t latency_ns);

/* ---- rpc_method.c: the table of methods that a server has ---- */

struct rpc_entry {
    struct str path;                 /* "/package.Service/Method" */
    const struct rpc_method *method; /* NULL: what is not in the table */
    const ProtobufCMessageDescriptor *input;
    bool quiet; /* health and reflection: their calls are logged at DEBUG only */
    struct rpc_stats stats;
};

/* So many more calls of quiet methods may be in flight: a server that is full is still healthy, and says so. */
#define RPC_QUIET_RESERVE 100

struct rpc_methods {
    struct rpc_entry *entries; /* sorted by path */
    size_t count;
    struct rpc_entry unknown;
};

int rpc_methods_add(struct rpc_methods *methods, const struct rpc_method *table, bool quiet, struct metrics *metrics);
void rpc_methods_sort(struct rpc_methods *methods, struct metrics *metrics);      /* after the last table */
struct rpc_entry *rpc_methods_find(struct rpc_methods *methods, struct str path); /* never NULL */
void rpc_methods_release(struct rpc_methods *methods);

/* ---- rpc_call.c: one call, server side ---- */

TAILQ_HEAD(rpc_calls, rpc_call);

/* One of a server's threads. Calls of a kind all have the same limit of their length, so in the order of their arrival
 * they are in the order of their ends: a list each instead of a heap. */
struct rpc_loop {
    struct rpc_worker worker;
    struct rpc_server *server;
    struct rpc_calls unary, streams;
    bool deaf; /* no memory for the next call: tried again soon */
};

void rpc_loop_expect(struct rpc_loop *loop); /* be ready for one more call; loop's thread, or before it runs */
uint64_t rpc_loop_tick(struct rpc_worker *worker);
struct rpc_server *rpc_call_server(const struct rpc_call *call);

/* ---- rpc_listener.c: accepts connections, hands them to C-core and knows which are left ---- */

struct rpc_listener;

/* changed is called by the listener's thread when a connection has ended and when listening has. */
int rpc_listener_open(int take_fd, grpc_server *server, unsigned max_connections, void (*changed)(void *arg), void *arg,
                      struct rpc_listener **ret_listener);
void rpc_listener_start(struct rpc_listener *listener);
void rpc_listener_drain(struct rpc_listener *listener); /* as rpc_server_drain */
/* True once the socket is closed; then also how many connections are left and when the newest was accepted. */
bool rpc_listener_drained(struct rpc_listener *listener, unsigned *ret_connections, uint64_t *ret_newest_ns);
unsigned rpc_listener_connections(struct rpc_listener *listener);
struct rpc_listener *rpc_listener_free(struct rpc_listener *listener);

/* ---- rpc_health.c, rpc_reflection.c: services that every server has ---- */

extern const struct rpc_method rpc_health_methods[], rpc_reflection_methods[];

struct rpc_health;

int rpc_health_new(const struct rpc_server_def *def, struct rpc_health **ret_health);
void rpc_health_set(struct rpc_health *health, bool serving);
/* Tells watchers what has changed, now and then; returns when to call it again (monotonic ns). Any thread. */
uint64_t rpc_health_tick(struct rpc_health *health);
void rpc_health_end(struct rpc_health *health); /* ends all watches, also those to come */
struct rpc_health *rpc_health_free(struct rpc_health *health);

struct rpc_descriptors;

int rpc_reflection_new(const struct rpc_server_def *def, struct rpc_descriptors **ret_descriptors);

/* ---- rpc_descriptor.c: what FileDescriptorSets say, without unpacking them ---- */

struct rpc_file {
    struct str name, bytes; /* bytes: the FileDescriptorProto */
};

int rpc_descriptors_new(struct rpc_descriptors **ret_descriptors);
/* Adds a serialized FileDescriptorSet, which must outlive it; a file of a name that is already there is skipped.
 * -EINVAL for malformed bytes. */
int rpc_descriptors_add(struct rpc_descriptors *descriptors, struct str set);
struct rpc_descriptors *rpc_descriptors_free(struct rpc_descriptors *descriptors);
size_t rpc_descriptors_count(const struct rpc_descriptors *descriptors);
const struct rpc_file *rpc_descriptors_file(const struct rpc_descriptors *descriptors, size_t index);
/* The index of the file of that name, of the file that declares a symbol (fully qualified, without a leading dot);
 * -ENOENT. */
int rpc_descriptors_find(const struct rpc_descriptors *descriptors, struct str name);
int rpc_descriptors_find_symbol(const struct rpc_descriptors *descriptors, struct str symbol);
/* Marks in wanted (an element a file) the files that a file needs, itself included. */
void rpc_descriptors_closure(const struct rpc_descriptors *descriptors, size_t index, bool *wanted);

/* ---- rpc_server.c ---- */

struct rpc_server {
    struct rpc_server_def def; /* with defaults filled in */
    grpc_server *grpc;
    struct rpc_loop *loops;
    struct rpc_methods methods;
    struct rpc_health *health;
    struct rpc_descriptors *descriptors;
    struct rpc_listener *listener;
    struct rpc_event shut_down_event;
    atomic_uint in_flight;
    atomic_uint receiving; /* calls that may hold a message of which the end has not come */
    unsigned max_receiving;
    atomic_uint arrivals; /* of calls while draining */
    atomic_bool draining;
    bool shutting_down;
    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* while draining: something has ended */
    bool shut_down;
};

void rpc_server_changed(struct rpc_server *server); /* wakes rpc_server_wait */

/* ---- rpc_client.c ---- */

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

/* ---- rpc_credentials.c ---- */

int rpc_credentials_create(const struct rpc_tls *tls, grpc_channel_credentials **ret_credentials);

/* ---- rpc_channel.c ---- */

int rpc_channel_open(struct rpc_client *client, const struct rpc_client_def *def); /* the client's first */
void rpc_channel_close(struct rpc_client *client);
/* Under the lock: the channel for one more call. */
struct rpc_channel *rpc_channel_use(struct rpc_client *client);
void rpc_channel_done(struct rpc_client *client, struct rpc_channel *channel); /* not under the lock */
void rpc_channel_failed(struct rpc_client *client); /* a call may not have reached a peer; not under the lock */

/* ---- rpc_flight.c: what a unary call and a stream of a client have in common ---- */

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
