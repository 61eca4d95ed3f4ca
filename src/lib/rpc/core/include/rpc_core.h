/* rpc_core -- what the gRPC server and client share: completion queues and their threads, messages on the wire, queues
 * of messages, metrics.
 *
 * C-core answers through completion queues: a batch of operations is started with a tag, and the tag comes out of the
 * queue when the batch is done. Here every tag is a struct rpc_event inside the object that it is about, and every
 * queue has one thread, so that an object's events never run side by side. Batches may be started by any thread, under
 * the object's lock.
 */
#pragma once
#include "buf.h"
#include "err.h"
#include "metrics.h"
#include "names.h"
#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdatomic.h>
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
/* To be called before an event is given to C-core in any other way. */
void rpc_event_hand_over(struct rpc_event *event);
/* Between our monotonic clock and C-core's, which may be ahead of it. Any thread. */
gpr_timespec rpc_time(uint64_t monotonic_ns);
uint64_t rpc_monotonic_ns(gpr_timespec time); /* UINT64_MAX for the infinite future */

/* ---- text.c ---- */

#define RPC_MAX_DEPTH 32 /* of messages in messages; ours have no more than 3 */

/* False if a string in the message contains a NUL, or messages lie too deep. What is no message at all is true. */
bool rpc_text_whole(struct str bytes, const ProtobufCMessageDescriptor *type, unsigned max_depth);

/* ---- wire.c: between protobuf-c, C-core and str ---- */

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

/* ---- queue.c: what waits to be sent on one call, both ends ---- */

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

/* ---- metrics.c: RED metrics of a method, either end ---- */

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
