/* rpc_server_internal -- what the files of the gRPC server share; see rpc.h.
 *
 *   server.c       the server: its limits, loops, connections, drain
 *   loop.c         its part in an event loop, which HTTP may use too: what is done at the end of a turn
 *   room.c         closes connections that hold most where all clients hold too much
 *   session.c      what nghttp2 tells of a connection
 *   conn.c         connections: their states and timer, sending and receiving
 *   refusal.c      what HTTP/2 refuses
 *   call.c         the life of a call
 *   response.c     what a call sends
 *   input.c        what comes on a call
 *   health.c, reflection.c   services that every server has
 *   handler.c      what handlers call
 *   due.c          references to calls, and which of them are run at the end of the turn
 *   method.c, descriptor.c, head.c, in.c, out.c, pack.c, deflate.c, account.c, span.c,
 *   client.c, list.c
 *
 * A file uses those below it only. Loops, connections and what of a call is not under its lock belong to the thread of
 * their loop.
 */
#pragma once
#include "acceptor.h"
#include "budget.h"
#include "include/names.h"
#include "loop.h"
#include "net_listen.h"
#include "rpc.h"
#include "rpc_core.h"
#include <arpa/inet.h>
#include <h2o/socket.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <sys/queue.h>

/* The object that a member is part of. */
#define RPC_OWNER(pointer_, type_, member_) ((type_ *)((char *)(pointer_)-offsetof(type_, member_)))

#define RPC_MAX_STREAMS     100         /* of a connection */
#define RPC_MAX_HEAD        (16 * 1024) /* bytes of a call's metadata, as HTTP/2 counts them */
#define RPC_FIELD_OVERHEAD  32          /* that HTTP/2 counts for each of them */
#define RPC_USER_TIMEOUT_MS 20000       /* a peer that does not acknowledge for so long is gone */
#define RPC_MAX_FIELDS      8           /* that a handler sets: initial, and as many trailing */

/* ---- account.c: the memory that clients make a server take ---- */

#define RPC_FRAME_BUFFER (16 * 1024 + 64) /* of nghttp2: a frame with its head, and a little for versions to come */

/* A loop's part of the server's budget. It takes from the budget in large steps, so that a call costs no atomic
 * operation. Loop's thread only. */
struct rpc_account {
    struct budget *budget;
    size_t used, granted; /* bytes; used is at most granted but for what was added */
    bool shares_frame;    /* the next buffer of a frame that nghttp2 allocates is the one below */
    _Alignas(max_align_t) uint8_t frame[RPC_FRAME_BUFFER];
};

bool rpc_account_take(struct rpc_account *account, size_t bytes); /* false: nothing taken, it would exceed the budget */
void rpc_account_add(struct rpc_account *account, size_t bytes);  /* also beyond the budget */
void rpc_account_give(struct rpc_account *account, size_t bytes);
void rpc_account_close(struct rpc_account *account);
/* realloc(3) to more bytes. NULL: the budget, or out of memory; nothing has changed then. */
void *rpc_account_realloc(struct rpc_account *account, void *bytes, size_t from, size_t to);
/* Allocators for nghttp2 whose memory is added to the account; their argument is the account. */
nghttp2_mem rpc_account_mem(struct rpc_account *account);
/* While a session is made: it shares the account's buffer of a frame. What nghttp2_session_mem_send returns must be
 * copied before anything else is asked of a session of that account. */
void rpc_account_share_frame(struct rpc_account *account, bool share);

/* ---- out.c: bytes to be sent on a call, with gRPC's prefixes ---- */

#define RPC_OUT_FULL_MESSAGES 128
#define RPC_OUT_FULL_BYTES    (256 * 1024)
#define RPC_OUT_HARD          4   /* times as much is the end */
#define RPC_OUT_FIRST         512 /* bytes that need no allocation */

/* A chunk holds whole messages. */
struct rpc_out_chunk {
    struct rpc_out_chunk *next;
    size_t len, offset, capacity;
    unsigned messages;
    uint8_t *bytes;
};

struct rpc_out {
    struct rpc_out_chunk *first, *last;
    struct budget *budget;
    unsigned messages;
    size_t bytes;
    size_t compress_from; /* messages of so many bytes and more are compressed; 0: none */
    bool full;            /* whoever sends was told so, and not yet that there is room again */
    bool own_taken;       /* the chunk in own is in use */
};

/* A chunk that lies in its call. */
struct rpc_out_own {
    struct rpc_out_chunk chunk;
    uint8_t bytes[RPC_OUT_FIRST];
};

/* 0, 1 (now full), -ENOBUFS: the queue, or -ENOMEM: the budget, or out of memory; nothing was put. A first message of
 * up to RPC_OUT_FIRST bytes needs neither. ret_size: its bytes as they are sent, without prefix. */
int rpc_out_put(struct rpc_out *out, struct rpc_out_own *own, const ProtobufCMessage *message, size_t *ret_size);
size_t rpc_out_read(struct rpc_out *out, struct rpc_out_own *own, uint8_t *to, size_t len);
bool rpc_out_writable(struct rpc_out *out);       /* true once after it was full: when half of it is free */
bool rpc_out_is_whole(const struct rpc_out *out); /* no message was read in part */
void rpc_out_clear(struct rpc_out *out, struct rpc_out_own *own);

/* ---- pack.c ---- */

/* Packs a message with the same bytes as protobuf_c_message_pack, into at most room bytes. Returns how many there are;
 * -1: they do not fit (a few more must be free than are needed), or the message has a field that is repeated, optional,
 * in a oneof, of fixed length or unknown. */
ssize_t rpc_pack_simple(const ProtobufCMessage *message, uint8_t *to, size_t room);

/* ---- deflate.c ---- */

/* Packs a message of size bytes and compresses it by gzip. to has room for size bytes. Returns how many it took; 0
 * where that would not be less than size, or where neither the budget nor the system has the memory. */
size_t rpc_deflate(const ProtobufCMessage *message, size_t size, struct budget *budget, uint8_t *to);

/* ---- in.c: messages out of the bytes that come on a call ---- */

#define RPC_IN_FIRST 256

struct rpc_in {
    uint8_t prefix[5];
    uint8_t prefix_len;
    bool compressed;
    size_t wanted;  /* bytes of the message that has begun */
    uint8_t *bytes; /* NULL: in first */
    size_t len, capacity;
    struct rpc_account *account;
    size_t max; /* bytes of a message */
};

/* Takes bytes off the front until a message is whole. 1: *ret_message is it, valid until the next call; 0: all was
 * taken; -EMSGSIZE: it is longer than max, known from its prefix; -ENOBUFS: the budget, or out of memory; -EPROTO: no
 * such prefix. keep: the message stays in the rpc_in, else it may lie in bytes. */
int rpc_in_take(struct rpc_in *in, uint8_t first[RPC_IN_FIRST], struct str *bytes, bool keep, struct str *ret_message);
bool rpc_in_is_between(const struct rpc_in *in); /* no message has begun that is not whole */
void rpc_in_release(struct rpc_in *in);

/* Inflates gzip. *ret_bytes is to be given to rpc_inflated_free. -EMSGSIZE: beyond max; -ENOBUFS: beyond the budget,
 * or out of memory; -EBADMSG: not gzip, or cut off; -ENOMEM: zlib's own. */
int rpc_inflate(struct str bytes, size_t max, struct rpc_account *account, struct str *ret_bytes);
void rpc_inflated_free(struct str bytes, struct rpc_account *account);

/* ---- head.c: headers ---- */

#define RPC_ARENA_FIRST 768

struct rpc_arena {
    struct rpc_account *account;
    struct rpc_arena_block *blocks;
    char *at;
    size_t left;
};

void *rpc_arena_alloc(struct rpc_arena *arena, size_t size); /* NULL: the budget, or out of memory */
void rpc_arena_release(struct rpc_arena *arena);

struct rpc_field {
    struct rpc_field *next;
    struct str name, value;
};

enum rpc_encoding { RPC_IDENTITY, RPC_GZIP, RPC_UNKNOWN_ENCODING };

/* What a request's headers say. Strings lie in the arena. */
struct rpc_head {
    struct str path, authority, user_agent;
    struct rpc_field *fields, **last; /* metadata, in the order of their coming */
    size_t bytes;                     /* as HTTP/2 counts them */
    uint64_t timeout_ns;              /* UINT64_MAX: none */
    enum rpc_encoding encoding;
    bool accepts_gzip; /* in replies */
    bool is_post, is_grpc;
    bool too_large, no_memory, bad_timeout, bad_value;
};

void rpc_head_init(struct rpc_head *head);
void rpc_head_add(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value);
struct str rpc_head_find(const struct rpc_head *head, const char *name, size_t index);
/* Of grpc-timeout; UINT64_MAX beyond what 64 bits hold. -EINVAL. */
int rpc_timeout_parse(struct str text, uint64_t *ret_ns);
bool rpc_is_binary(struct str name); /* ends in -bin: its values are base64 */
/* Writes grpc-message's form of text; to has room for 3 * len bytes. Returns the length. */
size_t rpc_percent_encode(struct str text, char *to);
/* Without padding; to has room for 4 * (len / 3 + 1) bytes. Returns the length. */
size_t rpc_base64_encode(struct str bytes, char *to);
/* With or without padding; to has room for 3 * (len / 4 + 1) bytes. -EINVAL. */
int rpc_base64_decode(struct str text, char *to, size_t *ret_len);

/* ---- client.c ---- */

/* The address that a call's connection comes from, or whom a trusted proxy names; "http" or "https", as the client
 * spoke to the proxy. */
void rpc_client_ip(const struct rpc_call *call, char ret_ip[NET_IP_SIZE]);
struct str rpc_client_scheme(const struct rpc_call *call);

/* ---- span.c ---- */

void rpc_span_begin(struct rpc_call *call); /* its trace, by its metadata */
void rpc_span_end(struct rpc_call *call, enum err_grpc code, uint64_t duration_ns);

/* ---- method.c: the table of methods that a server has ---- */

struct rpc_entry {
    struct str path;                 /* "/package.Service/Method" */
    const struct rpc_method *method; /* NULL: what is not in the table */
    const ProtobufCMessageDescriptor *input;
    bool quiet; /* health and reflection: their calls are logged at DEBUG only */
    struct rpc_stats stats;
};

/* Quiet methods have a share of their own, so that neither they nor the others take all: a server that is full is still
 * healthy, and says so. Nobody needs a token for them, so they may hold little. */
#define RPC_QUIET_RECEIVING 100
#define RPC_QUIET_MESSAGE   ((size_t)16 * 1024)

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

/* ---- call.c: one call ---- */

TAILQ_HEAD(rpc_calls, rpc_call);

/* What a handler has set; under the call's lock until it is sent. */
struct rpc_fields {
    struct rpc_field *field[RPC_MAX_FIELDS];
    unsigned count;
};

struct rpc_call {
    struct rpc_loop *loop;
    struct rpc_conn *conn;       /* NULL: its stream has ended */
    TAILQ_ENTRY(rpc_call) link;  /* of the connection's calls */
    TAILQ_ENTRY(rpc_call) due;   /* of the loop's calls with something to do */
    TAILQ_ENTRY(rpc_call) fresh; /* of the loop's calls that have begun in this turn */
    bool is_due, is_fresh;
    struct loop_timer timer; /* its deadline; not for calls that end in the turn that they begin in */
    int32_t stream;
    struct rpc_entry *entry; /* NULL until the headers have come */
    struct rpc_arena arena;
    struct rpc_head head;
    struct rpc_in in;
    struct trace trace;
    uint64_t begun_ns, deadline_ns;
    uint64_t taken_by_ns; /* when its client must have taken more of a finished stream; 0: not finished */
    size_t left;          /* bytes that were to be taken then */
    uint64_t moved_ns;    /* when a stream last sent or received something; 0: never */
    void *data;
    uint64_t request_size;
    bool opened;                /* the handlers know of it */
    bool drain_told;            /* ... and that the server drains */
    bool may_receive;           /* counted among the server's receiving */
    bool half_closed, end_told; /* the client's end has come; the handlers know */
    struct str message;         /* the one of a unary call, which in holds; STR_NULL: it has not come */
    bool answered;              /* the response's headers have been handed to nghttp2 */
    bool deferred;              /* nghttp2 waits for more to send */
    bool trailers_sent;         /* ... for which there is nothing more to do */
    bool room;                  /* on_writable is to be called */
    int http_status;            /* of an answer that is not gRPC's; 0: it is */
    uint8_t *backlog;           /* what came while paused */
    size_t backlog_len, backlog_capacity;

    atomic_uint refs;
    atomic_bool cancelled;
    pthread_mutex_t lock; /* of what follows: rpc_call_lock */
    struct loop_message message_to_loop;
    bool posted;
    struct rpc_out out;
    struct rpc_fields initial, trailing;
    bool announces_gzip; /* the response's headers do, or will */
    bool paused;
    bool finished; /* status and status_message are set */
    bool over;
    enum err_grpc status;
    char *status_message; /* NULL: none */
    uint64_t response_size;

    /* not zeroed with the rest */
    struct rpc_out_own out_own;
    uint8_t in_first[RPC_IN_FIRST];
    _Alignas(max_align_t) char arena_first[RPC_ARENA_FIRST];
};

/* The events of a stream, by session.c. NULL: out of memory. */
struct rpc_call *rpc_call_new(struct rpc_conn *conn, int32_t stream);
void rpc_call_begin(struct rpc_call *call); /* the headers have come */
/* The call's stream has ended, or its connection; whole: the status has been sent. The call may be gone. */
void rpc_call_end(struct rpc_call *call, bool whole);
/* Hands nghttp2 what is to be sent, calls on_writable and so on. */
void rpc_call_run(struct rpc_call *call);
void rpc_call_run_due(struct rpc_loop *loop);    /* those that are due now */
void rpc_call_tell_drain(struct rpc_call *call); /* once */
void rpc_call_set_timer(struct rpc_call *call);
struct rpc_server *rpc_call_server(const struct rpc_call *call);

void rpc_call_expect_no_messages(struct rpc_call *call); /* its client sends nothing more */

/* ---- due.c: references, and what is to be done at the end of the turn ---- */

/* Whoever has the only reference needs no lock: nobody else may touch the call, and only who has a reference can make
 * another. Returns what rpc_call_unlock is to be given. */
static inline bool rpc_call_lock(struct rpc_call *call)
{
    bool is_shared = atomic_load_explicit(&call->refs, memory_order_acquire) > 1;

    if (is_shared)
        pthread_mutex_lock(&call->lock);
    return is_shared;
}

static inline void rpc_call_unlock(struct rpc_call *call, bool locked)
{
    if (locked)
        pthread_mutex_unlock(&call->lock);
}

bool rpc_call_drop(struct rpc_call *call);     /* a reference; true: it was the last */
void rpc_call_destroy(struct rpc_call *call);  /* its memory */
void rpc_call_due(struct rpc_call *call);      /* it is run at the end of the turn */
void rpc_call_want_run(struct rpc_call *call); /* under the lock, of a call that is not over; any thread */

/* ---- input.c: what comes on a call ---- */

void rpc_input_bytes(struct rpc_call *call, struct str bytes);
void rpc_input_ended(struct rpc_call *call);           /* the client's end has come */
void rpc_input_resume(struct rpc_call *call);          /* tells the handlers what they may be told of what has come */
bool rpc_input_is_wanted(struct rpc_call *call);       /* the handlers know of the call, and have not finished it */
void rpc_input_refuse(struct rpc_call *call, int err); /* finishes it for an error of what has come */

/* ---- response.c: what a call sends ---- */

void rpc_response_pump(struct rpc_call *call);             /* gives nghttp2 what there is to send */
void rpc_response_http(struct rpc_call *call, int status); /* 405 or 415, to what is not gRPC */

/* ---- conn.c ---- */

TAILQ_HEAD(rpc_conns, rpc_conn);

enum rpc_conn_state {
    RPC_CONN_OPEN,
    RPC_CONN_NOTICED, /* the first GOAWAY has been sent: calls that are on their way still begin */
    RPC_CONN_LEAVING, /* the second has: no call begins */
    RPC_CONN_ENDED,   /* all has been sent, and the sending side is shut: waits for the client's end */
};

struct rpc_conn {
    struct rpc_loop *loop;
    TAILQ_ENTRY(rpc_conn) link;
    TAILQ_ENTRY(rpc_conn) dirty; /* of the loop's connections that have something to send, or are to be closed */
    bool is_dirty;
    struct acceptor_place place; /* idle without a call */
    enum rpc_conn_state state;
    nghttp2_session *session;
    h2o_socket_t *socket;
    int fd;
    struct rpc_calls calls;
    struct loop_timer timer; /* the earliest of what follows (monotonic ns; UINT64_MAX: never) */
    uint64_t opened_ns;
    uint64_t age_ns;   /* when it is told to leave; later: when its state ends */
    uint64_t heard_ns; /* when something last came; before that: when it was accepted */
    bool heard;
    uint64_t ping_ns;   /* when the last keepalive was sent; 0: answered */
    uint64_t pinged_ns; /* when the client's last ping came; 0: something was sent since */
    unsigned ping_strikes;
    unsigned in_flight[2], receiving[2];  /* of its calls, as the server's shares: the second for quiet ones */
    unsigned faults;                      /* of the client, for which streams have been reset */
    uint64_t resets_ns;                   /* when the client's resets are paid */
    int32_t begun;                        /* the last stream that the client has begun */
    int32_t skipped_after, skipped_until; /* streams that it has skipped lie between these two */
    unsigned empty;                       /* DATA frames without data in a row */
    bool unread;       /* something of a call was sent, and no answer to a leave ping after it has come */
    bool unread_after; /* something of a call was sent, and the leave ping not after it */
    bool refused;      /* rpc_refuse was called: it is shut once its GOAWAY is sent */
    bool broken;       /* to be closed once what is there has been sent, as far as that goes */
    bool waits;        /* for the socket to take more; nothing is sent until then */
    uint8_t *rest;     /* what the socket did not take */
    size_t rest_len, rest_offset;
    size_t inflated; /* bytes that its messages have become since its last read */
    size_t growth;   /* what it inflates to, as a multiple of what it reads */
    size_t sent;     /* bytes, since the kernel was last asked what it holds */
    size_t kernel;   /* bytes that it held then, as charged to the account */
    size_t untaken;  /* in ENDED, bytes that the client had not taken at the timer's last turn; 0: it has not run */
    bool is_proxy;   /* a trusted one: what it says of the client is believed */
    char remote_ip[NET_IP_SIZE], local_ip[NET_IP_SIZE];
};

/* Takes a socket that was accepted. False: there was no memory, and it is closed. */
bool rpc_conn_open(struct rpc_loop *loop, int take_fd, const struct sockaddr_storage *peer);
bool rpc_conn_owes(const struct rpc_conn *conn); /* replies that the kernel has not taken */
/* Sends GOAWAY as far as the socket takes it, and closes it at the end of the turn. It has no call. */
void rpc_conn_yield(struct rpc_conn *conn);
void rpc_conn_flush(struct rpc_conn *conn); /* the connection may be gone */
void rpc_conn_count_kernel(struct rpc_conn *conn);
void rpc_conn_leave(struct rpc_conn *conn); /* is moved away: GOAWAY, and so on */
void rpc_conn_cut(struct rpc_conn *conn);   /* ends its calls and frees it */
void rpc_conn_ponged(struct rpc_conn *conn, const uint8_t opaque[8]);
void rpc_conn_pinged(struct rpc_conn *conn);                           /* by the client */
void rpc_conn_sent(struct rpc_conn *conn, const nghttp2_frame *frame); /* nghttp2 has packed it */

/* ---- session.c: nghttp2's callbacks ---- */

int rpc_session_prepare(struct rpc_server *server); /* what all sessions share; 0 or -ENOMEM */
void rpc_session_dispose(struct rpc_server *server);

/* ---- refusal.c: what HTTP/2 refuses ---- */

void rpc_refusal_open(struct rpc_server *server);
void rpc_refuse(struct rpc_conn *conn, uint32_t error, const char *text);   /* GOAWAY, and the end; once */
void rpc_refusal_sent(struct rpc_conn *conn, const nghttp2_frame *frame);   /* a GOAWAY or RST_STREAM */
void rpc_refusal_reset(struct rpc_conn *conn, const struct rpc_call *call); /* NULL: one that has ended */
void rpc_refusal_data(struct rpc_conn *conn, const nghttp2_frame *frame);   /* DATA came */
void rpc_refusal_failed(struct rpc_conn *conn, int result);                 /* nghttp2 takes no more of it */

/* ---- room.c ---- */

void rpc_room_open(struct rpc_server *server);
void rpc_room_make(struct rpc_loop *loop); /* where it is needed; not from within a connection */

/* ---- loop.c ---- */

#define RPC_LOOP_BUFFER (64 * 1024)
#define RPC_LOOP_POOL   256 /* calls kept for reuse */

/* A server's part in an event loop. */
struct rpc_loop {
    struct rpc_server *server;
    unsigned index; /* among the server's */
    struct loop *loop;
    struct loop_hook hook; /* runs what is due and sends, once a turn */
    struct rpc_account account;
    nghttp2_mem mem;
    struct rpc_conns conns, dirty;
    struct rpc_calls due, fresh;
    struct rpc_calls pool;
    unsigned pooled;
    struct loop_timer health_timer;
    bool cutting;
    uint64_t room_ns; /* no room is made before that */
    size_t kernel;    /* bytes that the kernel holds for its connections, as they have counted them */
    unsigned seed;
    uint8_t in[RPC_LOOP_BUFFER], out[RPC_LOOP_BUFFER];
};

void rpc_loop_open(struct rpc_loop *loop, struct rpc_server *server, unsigned index, struct loop *events);
void rpc_loop_leave(struct rpc_loop *loop); /* its connections leave; loop's thread */
void rpc_loop_cut(struct rpc_loop *loop);   /* ends what is there; not from its thread */
void rpc_loop_close(struct rpc_loop *loop); /* after it was cut */

/* It has something to send, or is to be closed: it is flushed at the end of the turn. */
static inline void rpc_conn_dirty(struct rpc_conn *conn)
{
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    TAILQ_INSERT_TAIL(&conn->loop->dirty, conn, dirty);
}

/* ---- health.c, reflection.c: services that every server has ---- */

extern const struct rpc_method rpc_health_methods[], rpc_reflection_methods[];

struct rpc_health;

int rpc_health_new(const struct rpc_server_def *def, struct rpc_health **ret_health);
void rpc_health_set(struct rpc_health *health, bool serving);
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

struct rpc_share {
    atomic_uint in_flight;
    atomic_uint receiving; /* calls that may hold a message of which the end has not come */
};

struct rpc_server {
    struct rpc_server_def def; /* with defaults filled in */
    struct budget memory;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct rpc_loop **loops;
    struct loop **own_loops; /* NULL: they are the caller's */
    unsigned loop_count;
    struct rpc_methods methods;
    struct rpc_health *health;
    struct rpc_descriptors *descriptors;
    struct acceptor *acceptor;
    struct rpc_share shares[2]; /* of the service's methods, of quiet ones */
    unsigned max_receiving;
    struct metrics_family *refused;
    atomic_uint_fast64_t refusals;
    _Atomic uint64_t warn_ns; /* no line about them before that */
    struct metrics_series *closed_total;
    atomic_uint_fast64_t closed; /* connections, for memory */
    _Atomic uint64_t warn_closed_ns;
    bool metrics_opened;
};
