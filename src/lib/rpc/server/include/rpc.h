/* rpc -- a gRPC server on libnghttp2 with protobuf-c messages: unary, server, client and bidirectional streams, event
 * driven (no thread a call), flow controlled, with health and reflection. The client is rpc_client.h.
 *
 * A service is a table of methods with handlers. All handlers of one call run in one thread, never two at a
 * time; another thread may call what is marked "any thread" as long as it holds a reference (rpc_call_ref) that was
 * made for it before the call was handed over. A call's lifetime: on_open, on_message*, on_half_close, on_close;
 * on_close comes exactly once and last, whatever happened; after it the call must not be touched, except by those who
 * hold a reference: for them rpc_send and rpc_finish do nothing then.
 *
 * The library does for every call: size limit before unpacking (RESOURCE_EXHAUSTED), INVALID_ARGUMENT for bytes that
 * do not unpack or would take more than 16 times their size and 64 KiB in memory, UNIMPLEMENTED for unknown methods and
 * where not exactly one message comes that should, a bound on calls in flight (RESOURCE_EXHAUSTED) and on their length
 * (DEADLINE_EXCEEDED; a finished stream whose client takes nothing of it for max_call_ms is late, too), trace context,
 * a span, one log line, grpc_server_started_total, grpc_server_handled_total, grpc_server_handling_seconds;
 * grpc.health.v1.Health (Check, List, Watch) for "" and every service; reflection v1 and v1alpha. Their calls are
 * counted as all others, and logged only where the log's least severity is DEBUG.
 *
 * Messages are unpacked by recursion: a message type that contains itself would let a client choose its depth.
 */
#pragma once
#include "buf.h"
#include "err.h"
#include "log.h"
#include "metrics.h"
#include "names.h"
#include "span.h"
#include "trace.h"
#include <protobuf-c/protobuf-c.h>

struct budget;
struct rpc_call;
struct rpc_server;

enum rpc_kind { RPC_UNARY_KIND, RPC_SERVER_STREAM_KIND, RPC_CLIENT_STREAM_KIND, RPC_BIDI_KIND };

typedef void rpc_handler(void); /* of a type that invoke knows */

/* Made by the macros of NAME.rpc_server.h, one a method, which the build makes from proto/NAME.proto: so a wrong method
 * or a handler of another message's type does not compile. on_message stands instead of handler and invoke in tables
 * that are made by hand. */
struct rpc_method {
    const ProtobufCServiceDescriptor *service; /* NULL ends a table */
    const char *name;                          /* of the method, as in the .proto */
    enum rpc_kind kind;
    void (*on_open)(struct rpc_call *call); /* may be NULL; metadata is there */
    /* The message is valid until the handler returns. Unary and server stream: called exactly once; the request's end
     * has been seen, and on_half_close is not called. */
    void (*on_message)(struct rpc_call *call, const ProtobufCMessage *message);
    rpc_handler *handler; /* the same, of the message's own type */
    void (*invoke)(rpc_handler *handler, struct rpc_call *call, const ProtobufCMessage *message);
    void (*on_half_close)(struct rpc_call *call); /* the client sends nothing more; client stream and bidi */
    void (*on_writable)(struct rpc_call *call);   /* the queue, full before, has room again; may be NULL */
    /* The server has begun to drain (rpc_server_drain): a stream that would last may end in good order. Once a call, of
     * those that are open and of those that still open after it, in the handlers' thread. May be NULL. */
    void (*on_drain)(struct rpc_call *call);
    void (*on_close)(struct rpc_call *call); /* frees the handler's state; may be NULL */
};

#define RPC_UNARY(service_, name_, on_message_)                                                                        \
    {                                                                                                                  \
        .service = (service_), .name = (name_), .kind = RPC_UNARY_KIND, .on_message = (on_message_)                    \
    }

/* ---- a call, server side ---- */

void *rpc_call_service_state(const struct rpc_call *call); /* the server def's state */
void rpc_call_set_data(struct rpc_call *call, void *data); /* the handler's own; handlers' thread */
void *rpc_call_data(const struct rpc_call *call);
const struct trace *rpc_call_trace(const struct rpc_call *call); /* its state and baggage: until on_close returns */
uint64_t rpc_call_deadline_ns(const struct rpc_call *call);      /* monotonic; never beyond max_call_ms */
struct str rpc_call_metadata(const struct rpc_call *call, const char *name); /* first value; STR_NULL; until on_close */
/* The value of that name that came as number index, from 0; STR_NULL. Values of names ending in -bin are bytes. */
struct str rpc_call_metadata_at(const struct rpc_call *call, const char *name, size_t index);
/* What the client gets before the first message, to be set before anything is sent, and with the status, to be set
 * before rpc_finish: at most 8 values each, of one name or several. name is static and lower case; value is copied:
 * visible ASCII and spaces, or any bytes where name ends in -bin. What cannot be sent is left out. Any thread. */
void rpc_call_add_metadata(struct rpc_call *call, const char *name, struct str value);
void rpc_call_add_trailer(struct rpc_call *call, const char *name, struct str value);
void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value); /* the same, of a C string */
/* Messages sent from now on are compressed by gzip (true) or sent as they are (false): a handler may choose for each
 * message. The first call with true must come before the first message is sent, since the response's headers announce
 * the encoding. Messages stay as they are where the client's grpc-accept-encoding does not list gzip, where they would
 * not become smaller, and where max_memory leaves no room to compress. The thread that calls rpc_send compresses. Do
 * not compress a secret together with data that somebody else chooses: the length gives the secret away. Returns
 * whether messages are compressed now. Any thread. */
bool rpc_call_compress(struct rpc_call *call, bool compress);
/* Whether the client compressed the message that on_message was called with; until on_message returns. */
bool rpc_call_message_was_compressed(const struct rpc_call *call);
bool rpc_call_cancelled(const struct rpc_call *call);   /* by the client or the deadline; any thread */
struct rpc_call *rpc_call_ref(struct rpc_call *call);   /* for another thread, which needs one */
struct rpc_call *rpc_call_unref(struct rpc_call *call); /* returns NULL */

/* Packs and queues a message. 0: go on; 1: queued, but the queue is now full: send nothing more until on_writable (a
 * queue is full from 128 messages or 256 KiB on, and writable again at half of that; from 4 times that on, -ENOBUFS and
 * nothing is queued). -ECANCELED: the call has ended or been finished, perhaps just now with RESOURCE_EXHAUSTED,
 * because the server had no memory for the message. What a handler sends goes out when it returns. Any thread. */
int rpc_send(struct rpc_call *call, const ProtobufCMessage *message);
/* Ends the call after what is queued has been sent. Later calls of it do nothing. message may be NULL; it is copied, up
 * to 1 KiB of it. Any thread. */
void rpc_finish(struct rpc_call *call, enum err_grpc status, const char *message);
/* The same with a serialized google.rpc.Status, which clients find as grpc-status-details-bin; it is copied. */
void rpc_finish_with_details(struct rpc_call *call, enum err_grpc status, const char *message, struct str details);
/* A unary answer: send and finish with OK. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* Finish with the status of an errno (err.h) and a text. */
void rpc_fail(struct rpc_call *call, int err, const char *message);
/* Stop and resume reading of the client's messages (client stream, bidi): flow control towards the client.
 * Handlers' thread to pause, any thread to resume. */
void rpc_pause(struct rpc_call *call);
void rpc_resume(struct rpc_call *call);

/* ---- the server ---- */

/* What is done for every call of a method of the table, but those that are refused (a limit, a malformed request). Runs
 * in the loop's thread, and must not block. */
struct rpc_interceptor {
    /* In order, when the headers have come and before on_open; may set metadata, and may finish the call, which its
     * handlers then do not see. May be NULL. */
    void (*before)(struct rpc_call *call, void *state);
    /* In reverse order, after on_close, for calls whose handlers were called. May be NULL. */
    void (*after)(struct rpc_call *call, enum err_grpc status, void *state);
    void *state;
};

struct loop;

struct rpc_server_def {
    const struct rpc_method *methods;
    /* Serialized google.protobuf.FileDescriptorSet with imports, for reflection: made at build. */
    const uint8_t *descriptors;
    size_t descriptors_len;
    void *state;
    bool (*ready)(void *state); /* asked by any thread while serving: false is NOT_SERVING; NULL: always true */
    void *ready_state;          /* what ready gets; NULL: state */
    struct log *log;            /* may be NULL */
    struct metrics *metrics;    /* may be NULL */
    struct span_sink *spans;    /* may be NULL */
    const struct rpc_interceptor *interceptors;
    size_t interceptor_count;
    /* Event loops that the server shares, of which it uses all; they outlive it. NULL: it has threads of its own. */
    struct loop *const *loops;
    unsigned threads;   /* number of loops; 0: 1 */
    size_t max_message; /* bytes received; 0: 4 MiB (gRPC's default) */
    /* Messages of so many bytes and more are compressed as by rpc_call_compress, unless their handler chooses; 0: only
     * where a handler asks. */
    size_t compress_from;
    /* Calls; 0: 10,000. When three quarters are in flight, a connection that has an equal share of all is refused
     * more; likewise of calls whose client may still send. */
    unsigned max_in_flight;
    unsigned max_connections; /* beyond it the longest idle one yields, see acceptor.h; 0: 10,000 */
    /* The bound of connections per client address, and the trusted proxies: these are exempt, and log lines and spans
     * take x-forwarded-for and x-forwarded-proto from them. Outlives the server; NULL: no bound, no proxies. */
    const struct acceptor_address_bound *address_bound;
    unsigned max_call_ms;           /* of a unary call, whatever deadline the client gave; 0: 30,000 */
    unsigned max_stream_ms;         /* of the other kinds; 0: 3,600,000 */
    unsigned max_connection_age_ms; /* 0: 10,000 */
    /* A client that was not heard for so long is pinged; one that does not read, or does not end the head of a call, is
     * cut off then. 0: 30,000. */
    unsigned keepalive_ms;
    /* A stream whose client may still send ends with UNAVAILABLE when nothing has been sent or received on it for so
     * long; 0: 300,000. */
    unsigned idle_stream_ms;
    /* Bytes that clients can make the server take; 0: no bound. Connections, metadata, what has been received and not
     * been handed to a handler, what waits to be sent, and what the kernel holds of a connection (from 16 KiB on) are
     * counted. Beyond it no connection is accepted, and calls and messages are refused with RESOURCE_EXHAUSTED. So that
     * one client cannot hold all of it, max_in_flight and max_connections are lowered to one per 32 KiB, and calls
     * whose client may still send are bounded to one per 32 KiB and twice max_message, streams to half of that number.
     * What handlers keep themselves is not counted. */
    size_t max_memory;
    struct budget *whole; /* of which these bytes are a part; may be NULL */
};

/* Takes a listening socket (net_listen). Threads run but do not accept yet. 0 or -errno. */
int rpc_server_open(int take_listen_fd, const struct rpc_server_def *def, struct rpc_server **ret_server);
void rpc_server_start(struct rpc_server *server);
/* Health of all services, together with the def's ready; wakes watchers. NOT_SERVING until it is called. Any thread. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);
/* Stops accepting without losing what is in the backlog, and tells every connection to begin no new call, without
 * losing one that is on its way. Does not wait. */
void rpc_server_drain(struct rpc_server *server);
/* Drains, ends all health watches, and waits until all calls have ended and all connections are closed, which takes
 * about 20 ms and a round trip where there is no call, and two seconds where a client does not answer; at deadline
 * cancels what is left. 0, or -ETIMEDOUT where calls had to be cancelled. */
int rpc_server_wait(struct rpc_server *server, uint64_t deadline_ns);
/* Cancels what is left, ends its own threads. Not from a loop that it uses. Returns NULL. */
struct rpc_server *rpc_server_close(struct rpc_server *server);
struct loop *rpc_server_loop(const struct rpc_server *server, unsigned index); /* one of its own, or the def's */
struct net_listing;
/* Lists what a loop has of calls in flight and of connections, at most max of each. In its thread. */
void rpc_server_list(struct rpc_server *server, unsigned index, unsigned max, const struct net_listing *listing);
uint64_t rpc_server_last_turn_ns(const struct rpc_server *server); /* the oldest of its loops': liveness */
