/* rpc_client -- a gRPC client on C-core with protobuf-c messages: unary calls and streams of all kinds, event driven
 * (no thread a call), flow controlled, with a deadline for every call.
 */
#pragma once
#include "buf.h"
#include "err.h"
#include "metrics.h"
#include "names.h"
#include "span.h"
#include "trace.h"
#include <protobuf-c/protobuf-c.h>

struct rpc_client;
struct rpc_stream;
struct rpc_outgoing;

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
    struct span_sink *spans;      /* of calls with a trace; may be NULL */
    unsigned threads;             /* completion queues; 0: 1 */
    size_t max_message;           /* bytes received; 0: 4 MiB; SIZE_MAX: no limit */
    unsigned max_in_flight;       /* calls; beyond it -ENOBUFS; 0: 10,000 */
    size_t max_memory;            /* bytes that calls may take: one for each 16 KiB; 0: no bound */
    unsigned resolve_interval_ms; /* least time between two resolutions; 0: 1,000 */
    unsigned connect_timeout_ms;  /* of one attempt; 0: 3,000 */
    unsigned reconnect_ms;  /* pause after the first failed attempt to connect; 0: 100; it grows to 1,000 at most, or
                               stays as it is if longer */
    unsigned keepalive_ms;  /* a ping after so long without a sign of the peer; 0: 10,000 */
    unsigned dead_after_ms; /* a connection is dropped when ping or data go unanswered for so long; 0: 2,000:
                               what is then repeated elsewhere is in time for callers that wait for seconds */
    /* Retry UNAVAILABLE (up to 3 more times) for the methods named below. Retries are throttled: each failed attempt
     * takes a token of 1,000, each success gives a tenth of one back, and there is no retry while half or more are
     * gone. */
    bool retry_idempotent;
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
    const struct trace *trace; /* on whose behalf, sent along as by http_client.h; may be NULL */
    bool wait_for_ready;       /* wait for a connection until the deadline instead of failing at once */
    /* Where it is not NULL and the call begins, it gets a reference to the call, to be given to rpc_outgoing_unref, by
     * which the call can be cancelled: it is set before done can be called. */
    struct rpc_outgoing **ret_outgoing;
};

/* Ends the call with CANCELLED; nothing happens where its status has come already. NULL is fine. Any thread. */
void rpc_outgoing_cancel(struct rpc_outgoing *outgoing);
struct rpc_outgoing *rpc_outgoing_unref(struct rpc_outgoing *outgoing); /* NULL is fine; returns NULL */

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

/* The same for the typed stubs of NAME.rpc_client.h: answer calls done, whose type it knows. */
typedef void rpc_done(void);
typedef void rpc_unary_answer(rpc_done *done, void *arg, const struct rpc_status *status,
                              const ProtobufCMessage *reply);
int rpc_unary_typed(struct rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                    const ProtobufCMessage *request, const struct rpc_call_options *options, rpc_unary_answer *answer,
                    rpc_done *done, void *arg);

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
