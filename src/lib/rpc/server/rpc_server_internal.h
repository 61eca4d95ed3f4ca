/* rpc_server_internal -- what the files of the gRPC server share; see rpc.h. */
#pragma once
#include "include/names.h"
#include "rpc.h"
#include "rpc_core.h"
#include <grpc/grpc_security.h>
#if __has_include(<grpc/credentials.h>) /* declared by grpc_security.h in older versions */
#include <grpc/credentials.h>
#endif
#if __has_include(<grpc/impl/channel_arg_names.h>)
#include <grpc/impl/channel_arg_names.h>
#endif

/* ---- method.c: the table of methods that a server has ---- */

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
/* Calls the handler of a message. */
void rpc_method_invoke(const struct rpc_method *method, struct rpc_call *call, const ProtobufCMessage *message);
void rpc_methods_release(struct rpc_methods *methods);

/* ---- call.c: one call, server side ---- */

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

/* ---- listener.c: accepts connections, hands them to C-core and knows which are left ---- */

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

/* ---- health.c, reflection.c: services that every server has ---- */

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

/* ---- descriptor.c: what FileDescriptorSets say, without unpacking them ---- */

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

/* ---- server.c ---- */

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
