/* rpc -- gRPC on C-core with protobuf-c messages: unary, server, client and bidirectional streams, both ends, event
 * driven (no thread a call), flow controlled, with health and reflection.
 *
 * Server: a service is a table of methods with handlers. All handlers of one call run in one thread, never two at a
 * time; rpc_send and rpc_finish may be called from any thread. A call's lifetime: on_open, on_message*, on_half_close,
 * on_close; on_close comes exactly once and last, whatever happened; after it the call must not be touched, except
 * by those who hold a reference (rpc_call_ref): for them rpc_send and rpc_finish do nothing then.
 *
 * The library does for every call: size limit before unpacking (RESOURCE_EXHAUSTED), INVALID_ARGUMENT for bytes that
 * do not unpack or would take more than 16 times their size and 64 KiB in memory, UNIMPLEMENTED for unknown methods and
 * where not exactly one message comes that should, a bound on calls in flight (RESOURCE_EXHAUSTED) and on their length
 * (DEADLINE_EXCEEDED), traceparent, one log line, grpc_server_started_total, grpc_server_handled_total,
 * grpc_server_handling_seconds; grpc.health.v1.Health (Check, Watch) for "" and every service; reflection v1 and
 * v1alpha. Their calls are counted as all others, and logged only where the log's least severity is DEBUG.
 *
 * Messages are unpacked by recursion: a message type that contains itself would let a client choose its depth.
 */
#pragma once
#include "buf.h"
#include "err.h"
#include "log.h"
#include "metrics.h"
#include "trace.h"
#include <protobuf-c/protobuf-c.h>

struct rpc_call;
struct rpc_server;

enum rpc_kind { RPC_UNARY_KIND, RPC_SERVER_STREAM_KIND, RPC_CLIENT_STREAM_KIND, RPC_BIDI_KIND };

struct rpc_method {
    const ProtobufCServiceDescriptor *service; /* NULL ends a table */
    const char *name;                          /* of the method, as in the .proto */
    enum rpc_kind kind;
    void (*on_open)(struct rpc_call *call); /* may be NULL; metadata is there */
    /* The message is valid until the handler returns. Unary and server stream: called exactly once; the request's end
     * has been seen, and on_half_close is not called. */
    void (*on_message)(struct rpc_call *call, const ProtobufCMessage *message);
    void (*on_half_close)(struct rpc_call *call); /* the client sends nothing more; client stream and bidi */
    void (*on_writable)(struct rpc_call *call);   /* the queue, full before, has room again; may be NULL */
    void (*on_close)(struct rpc_call *call);      /* frees the handler's state; may be NULL */
};

#define RPC_UNARY(service_, name_, on_message_)                                                                        \
    {                                                                                                                  \
        .service = (service_), .name = (name_), .kind = RPC_UNARY_KIND, .on_message = (on_message_)                    \
    }

/* ---- a call, server side ---- */

void *rpc_call_service_state(const struct rpc_call *call); /* the server def's state */
void rpc_call_set_data(struct rpc_call *call, void *data); /* the handler's own; handlers' thread */
void *rpc_call_data(const struct rpc_call *call);
const struct trace *rpc_call_trace(const struct rpc_call *call);
uint64_t rpc_call_deadline_ns(const struct rpc_call *call);                  /* monotonic; never beyond max_call_ms */
struct str rpc_call_metadata(const struct rpc_call *call, const char *name); /* first value; STR_NULL; until on_close */
/* What the client gets before the first message; one value a call, to be set before anything is sent. name is static
 * and lower case, value is copied: visible ASCII and spaces. Any thread. */
void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value);
bool rpc_call_cancelled(const struct rpc_call *call);   /* by the client or the deadline; any thread */
struct rpc_call *rpc_call_ref(struct rpc_call *call);   /* for answers from another thread; any thread */
struct rpc_call *rpc_call_unref(struct rpc_call *call); /* returns NULL */

/* Packs and queues a message. 0: go on; 1: queued, but the queue is now full: send nothing more until on_writable (a
 * queue is full from 16 messages or 256 KiB on, and writable again at half of that; from 4 times that on, -ENOBUFS and
 * nothing is queued). -ECANCELED: the call has ended or been finished. What a handler sends goes out when it returns.
 * Any thread. */
int rpc_send(struct rpc_call *call, const ProtobufCMessage *message);
/* Ends the call after what is queued has been sent. Later calls of it do nothing. message may be NULL; it is copied, up
 * to 1 KiB of it. Any thread. */
void rpc_finish(struct rpc_call *call, enum err_grpc status, const char *message);
/* A unary answer: send and finish with OK. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* Finish with the status of an errno (err.h) and a text. */
void rpc_fail(struct rpc_call *call, int err, const char *message);
/* Stop and resume reading of the client's messages (client stream, bidi): flow control towards the client.
 * Handlers' thread to pause, any thread to resume. */
void rpc_pause(struct rpc_call *call);
void rpc_resume(struct rpc_call *call);

/* ---- the server ---- */

struct rpc_server_def {
    const struct rpc_method *methods;
    /* Serialized google.protobuf.FileDescriptorSet with imports, for reflection: made at build. */
    const uint8_t *descriptors;
    size_t descriptors_len;
    void *state;
    bool (*ready)(void *state); /* asked by any thread while serving: false is NOT_SERVING; NULL: always true */
    struct log *log;            /* may be NULL */
    struct metrics *metrics;    /* may be NULL */
    unsigned threads;           /* completion queues; 0: 1 */
    size_t max_message;         /* bytes received; 0: 4 MiB (gRPC's default) */
    unsigned max_in_flight;     /* calls; 0: 10,000 */
    unsigned max_connections;   /* beyond it none is accepted until one ends; each takes two descriptors; 0: 10,000 */
    unsigned max_call_ms;       /* of a unary call, whatever deadline the client gave; 0: 30,000 */
    unsigned max_stream_ms;     /* of the other kinds; 0: 3,600,000 */
    unsigned max_connection_age_ms; /* 0: 10,000 */
    /* Bytes that clients can make the server take, about; 0: no bound. Half is C-core's quota for connections and for
     * what has been received and not been handed to a handler: beyond it C-core reads no more, closes idle connections
     * and ends calls with RESOURCE_EXHAUSTED. max_in_flight and max_connections are lowered to one per 32 KiB, and
     * calls whose client may still send are bounded to one per 32 KiB and twice max_message, streams to half of that
     * number. What handlers queue or keep is not counted. */
    size_t max_memory;
};

/* Takes a listening socket (http_listen). Threads run but do not accept yet. 0 or -errno. */
int rpc_server_open(int take_listen_fd, const struct rpc_server_def *def, struct rpc_server **ret_server);
void rpc_server_start(struct rpc_server *server);
/* Health of all services, together with the def's ready; wakes watchers. NOT_SERVING until it is called. Any thread. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);
/* Stops accepting without losing what is in the backlog; every connection is moved away at its age. Does not wait. */
void rpc_server_drain(struct rpc_server *server);
/* Drains, waits until all connections have been moved away and all calls have ended, and shuts down; at deadline
 * cancels what is left. Takes no time without connections, else up to 1.1 times max_connection_age_ms: C-core tells a
 * connection to take no new calls, without losing one that is on its way, only at the connection's age. 0, or
 * -ETIMEDOUT where calls had to be cancelled. */
int rpc_server_wait(struct rpc_server *server, uint64_t deadline_ns);
/* Cancels what is left, ends the threads. Returns NULL. */
struct rpc_server *rpc_server_close(struct rpc_server *server);

/* What svc needs to run an rpc server without linking gRPC into services that have none. */
struct rpc_endpoint {
    int (*open)(int take_listen_fd, const struct rpc_server_def *def, struct rpc_server **ret_server);
    void (*start)(struct rpc_server *server);
    void (*set_serving)(struct rpc_server *server, bool serving);
    void (*drain)(struct rpc_server *server);
    int (*wait)(struct rpc_server *server, uint64_t deadline_ns);
    struct rpc_server *(*close)(struct rpc_server *server);
    const char *(*library_version)(void); /* of C-core: "56.0.0" */
};
extern const struct rpc_endpoint rpc_endpoint;

/* ---- the client ---- */

struct rpc_client;
struct rpc_stream;

/* PEM files, read when the client is opened, and again for a new connection after others have failed: they can be
 * renewed under a running client. */
struct rpc_tls {
    const char *ca;                /* the authorities that the server's certificate must come from */
    const char *certificate, *key; /* the client's own; both NULL where the server wants none */
};

struct rpc_client_def {
    const char *name; /* of the peer, for metrics */
    /* "host:port" (resolved by dns, all addresses round robin), "1.2.3.4:5,1.2.3.4:6" or a gRPC target URI */
    const char *target;
    const struct rpc_tls *tls;    /* NULL: cleartext; the names in it must outlive the client */
    struct metrics *metrics;      /* may be NULL: grpc_client_started_total, grpc_client_handled_total, ..._seconds */
    unsigned threads;             /* completion queues; 0: 1 */
    size_t max_message;           /* bytes received; 0: 4 MiB; SIZE_MAX: no limit */
    unsigned max_in_flight;       /* calls; beyond it -ENOBUFS; 0: 10,000 */
    unsigned resolve_interval_ms; /* least time between two resolutions; 0: 1,000 */
    unsigned connect_timeout_ms;  /* of one attempt; 0: 3,000 */
    unsigned keepalive_ms;        /* a ping after so long without a sign of the peer; 0: 10,000 */
    unsigned dead_after_ms;       /* a connection is dropped when ping or data go unanswered for so long; 0: 2,000:
                                     what is then repeated elsewhere is in time for callers that wait for seconds */
    bool retry_idempotent;        /* retry UNAVAILABLE (up to 3 more times) for the methods named below */
    const char *const *idempotent_methods; /* "package.Service/Method", ended by NULL */
};

/* Does not wait for a connection. The methods' names must outlive the client. 0, -ENOMEM, -EINVAL (the target, or what
 * a file of tls holds), what opening such a file says. */
int rpc_client_open(const struct rpc_client_def *def, struct rpc_client **ret_client);
/* For options: NULL, or what a target must be. */
const char *rpc_client_check_target(const char *target);
/* Cancels what is in flight, and refuses calls from then on (-ECANCELED). Does not wait. Any thread. */
void rpc_client_cancel(struct rpc_client *client);
/* Cancels what is in flight, waits for its callbacks, ends the threads; calls begun meanwhile are refused. Not from a
 * callback. Returns NULL. */
struct rpc_client *rpc_client_free(struct rpc_client *client);

#define RPC_MAX_METADATA 8 /* of one call */

struct rpc_metadata {
    const char *name; /* lower case */
    struct str value; /* copied; visible ASCII and spaces */
};

struct rpc_call_options {
    uint64_t timeout_ms; /* must be > 0: every call has a deadline; streams may have a long one */
    const struct rpc_metadata *metadata;
    size_t metadata_count;
    const struct trace *trace; /* the caller's; may be NULL */
    bool wait_for_ready;       /* wait for a connection until the deadline instead of failing at once */
};

struct rpc_status {
    enum err_grpc code;
    const char *message; /* valid during the callback; never NULL */
};

/* reply is NULL unless code is OK; valid during the call. Runs in a thread of the client. */
typedef void rpc_unary_done(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply);

/* method is named as in the .proto; its input and output types come from the service's descriptor. done is called
 * exactly once, not from within this function. Any thread. Where it is not 0, done is not called: -ENOBUFS (too many in
 * flight), -ENOMEM, -EINVAL (metadata that HTTP/2 does not carry), -ECANCELED (the client is being freed). */
int rpc_unary(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
              const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_done *done, void *arg);

struct rpc_stream_handlers {
    void (*on_message)(void *arg, const ProtobufCMessage *message); /* valid during the call */
    void (*on_writable)(void *arg);                                 /* may be NULL; as on the server */
    void (*on_done)(void *arg, const struct rpc_status *status);    /* exactly once and last */
};

/* Any of the streaming kinds (a server stream: send the request, then half close). Handlers of one stream run in one
 * thread of the client, never two at a time; the first may run before this function returns, but after *ret_stream has
 * been set. *ret_stream is a reference that the caller must give back by rpc_stream_unref, when and where it likes (in
 * on_done, where nobody else uses the stream). Errors as rpc_unary's. */
int rpc_stream_open(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                    const struct rpc_call_options *options, const struct rpc_stream_handlers *handlers, void *arg,
                    struct rpc_stream **ret_stream);
/* Any thread that has a reference; after on_done they do nothing. */
int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message); /* as rpc_send */
void rpc_stream_half_close(struct rpc_stream *stream);                           /* after what is queued */
void rpc_stream_cancel(struct rpc_stream *stream);
struct rpc_stream *rpc_stream_unref(struct rpc_stream *stream); /* NULL is fine; returns NULL */
