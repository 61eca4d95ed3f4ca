/* rpc_core -- what the gRPC server and client share: checking and unpacking of messages, and metrics. It does not
 * depend on C-core or nghttp2.
 */
#pragma once
#include "buf.h"
#include "err.h"
#include "metrics.h"
#include "names.h"
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

/* ---- text.c ---- */

#define RPC_MAX_DEPTH 32 /* of messages in messages; ours have no more than 3 */

/* 0; -EILSEQ: a string contains a NUL, or messages are nested too deeply; -EBADMSG: not a message. *ret_is_plain
 * becomes false where the message must be normalized. */
int rpc_text_check(struct str bytes, const ProtobufCMessageDescriptor *type, unsigned max_depth, bool *ret_is_plain);

/* ---- normalize.c ---- */

/* Appends the same message as protobuf-c decodes it; fields that are unknown are left out. For messages that
 * rpc_text_check accepts: their depth is bounded. -EBADMSG: no message; -ENOMEM. */
int rpc_normalize(struct str bytes, const ProtobufCMessageDescriptor *type, struct buf *to);

/* ---- unpack.c ---- */

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

/* 0, -EILSEQ for a string with a NUL in it, or -EBADMSG for bytes that are no such message, go beyond the budget, or
 * memory. Released only after 0. */
int rpc_unpack_bytes(struct str bytes, const ProtobufCMessageDescriptor *type, struct rpc_unpacked *ret_unpacked);
void rpc_unpacked_release(struct rpc_unpacked *unpacked);

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
/* trace may be NULL. */
void rpc_stats_handled(struct rpc_stats *stats, enum err_grpc code, uint64_t latency_ns, const struct trace *trace);
