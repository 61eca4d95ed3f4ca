/* store_etcd_internal -- what the parts of the etcd engine share.
 *
 * etcd holds the records and decides their order; this process keeps a copy of all of them in a local view
 * (store_view.h), made by a watch, and reads from that. docs/store-format.md describes the keys and values in etcd.
 *
 *   etcd.c         opening and closing; the engine's table
 *   world.c        the world that a process has: see store_etcd_world.h
 *   url.c          the URL
 *   client.c       calls to etcd's members: failover, authentication, errors
 *   keys.c         keys, envelopes, sequence numbers
 *   schema.c       the format and the tables, as etcd has them
 *   view.c         the view: its folder, the switch to a fresh one
 *   load.c         a fresh view: a copy of all records at one revision
 *   follow.c       the thread that keeps the view up to date: the watch, its resumption, when to load anew
 *   apply.c        what the watch says, put into the view
 *   writer.c       the writer's thread
 *   batch.c        what of a batch is sent, and what an expectation that fails in the view costs
 *   lane.c         a lane of the writer: the states of its batch, the ends of its requests
 *   waiting.c      requests that wait for a lane
 *   lane_key.c     the keys of the lanes in etcd
 *   txn.c          a batch as etcd's transaction, and what its answer says
 *   heads.c        the heads that the view has seen: is it still the same history?
 *   read.c         linearizable and stale reads
 *   room.c         how full etcd is
 *   defragment.c   upkeep of etcd's files
 *
 * Locks: etcd.mutex (writer, follower, the view's pointer) and etcd_reads.mutex; none is held while another is taken,
 * nor during a call to etcd or a callback.
 */
#pragma once
#include "clock.h"
#include "etcd.pb-c.h"
#include "include/names.h"
#include "rpc_client.h"
#include "store_engine.h"
#include "store_etcd_world.h"
#include "store_view.h"
#include "uuid.h"
#include <stdatomic.h>

/* ---- the URL ---- */

#define ETCD_MAX_ENDPOINTS 9
#define ETCD_MAX_PREFIX    64

struct etcd_url {
    char *text; /* that the others point into */
    const char *endpoints[ETCD_MAX_ENDPOINTS];
    unsigned endpoint_count;
    const char *prefix;                                               /* without slashes */
    const char *view, *ca, *certificate, *key, *user, *password_file; /* NULL where not given */
};

/* rest: what stands behind "etcd://". 0, -ENOMEM, or -EINVAL and what is wrong with it. Released in either case. */
int etcd_url_parse(const char *rest, struct etcd_url *ret_url, const char **ret_why);
void etcd_url_release(struct etcd_url *url);

/* ---- calls ---- */

#define ETCD_STATUS_TIMEOUT_MS 2000

struct etcd_endpoint {
    const char *target;
    struct rpc_client *rpc;
};

struct etcd_client {
    const struct etcd_world *world;
    const struct etcd_url *url;
    struct metrics *metrics;
    size_t max_call_bytes; /* of store_options; set before etcd_client_open */
    struct rpc_tls tls;
    struct etcd_endpoint endpoints[ETCD_MAX_ENDPOINTS];
    atomic_uint preferred;            /* the endpoint to call: another one after a failure */
    atomic_uint_fast64_t answered_ns; /* when a call was last answered */
    pthread_mutex_t mutex;            /* of what follows */
    char *token;                      /* of authentication; NULL: none (yet) */
    unsigned token_number;            /* of those there have been */
    bool authenticating;
};

#define ETCD_OPEN_NS (30 * CLOCK_NS_PER_S) /* to wait for etcd when a store is opened */

/* Opens connections, without waiting for them. */
int etcd_client_connect(struct etcd_client *client, const struct etcd_world *world, const struct etcd_url *url,
                        struct metrics *metrics, char *error, size_t error_size);
/* Waits within_ns for an answer of at least one member, and checks the version of those that answer. -EHOSTUNREACH:
 * there was none; it may be called again. */
int etcd_client_reach(struct etcd_client *client, uint64_t within_ns, char *error, size_t error_size);
/* Both, within ETCD_OPEN_NS. */
int etcd_client_open(struct etcd_client *client, const struct etcd_world *world, const struct etcd_url *url,
                     struct metrics *metrics, char *error, size_t error_size);
void etcd_client_cancel(struct etcd_client *client); /* ends the calls under way, and any later one; does not wait */
void etcd_client_close(struct etcd_client *client);  /* ends the calls under way; also a half opened one */

/* reply is NULL unless err is 0. In a thread of the client, or from within etcd_call where nothing was sent. */
typedef void etcd_called(void *arg, int err, const ProtobufCMessage *reply);
void etcd_call(struct etcd_client *client, const ProtobufCServiceDescriptor *service, const char *method,
               const ProtobufCMessage *request, unsigned timeout_ms, etcd_called *called, void *arg);
/* The same, returning err when called has returned; called may be NULL. Not in a thread of the client. */
int etcd_call_wait(struct etcd_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                   const ProtobufCMessage *request, unsigned timeout_ms, etcd_called *called, void *arg);
/* A call of Maintenance to one member, whichever is preferred, waited for; answered may be NULL. 0, or as other calls,
 * and what was said in error. */
typedef void etcd_answered(void *arg, const ProtobufCMessage *reply);
int etcd_member_call(struct etcd_client *client, unsigned endpoint, const char *method, const ProtobufCMessage *request,
                     unsigned timeout_ms, etcd_answered *answered, void *arg, char *error, size_t error_size);
/* The same, not waited for: called as by etcd_call. Whether the member answers says nothing about which is preferred.
 */
void etcd_member_ask(struct etcd_client *client, unsigned endpoint, const char *method, const ProtobufCMessage *request,
                     unsigned timeout_ms, etcd_called *called, void *arg);
/* A failed call has certainly changed nothing in etcd, and never will. Of a transaction every other error leaves its
 * result unknown. */
bool etcd_is_definite(int err);
/* etcd has not answered for so long that there is no use in waiting. */
bool etcd_is_away(const struct etcd_client *client, uint64_t now_ns);

/* A stream of its own connection, to the preferred member. *ret_rpc is to be freed after the stream's end. */
int etcd_watch_open(struct etcd_client *client, const struct rpc_stream_handlers *handlers, void *arg,
                    struct rpc_client **ret_rpc, struct rpc_stream **ret_stream);
void etcd_client_avoid(struct etcd_client *client, unsigned endpoint); /* prefer another one */

/* ---- upkeep ---- */

int etcd_defragment(const char *rest, unsigned min_free_percent, store_defragmented *told, void *arg, char *error,
                    size_t error_size);

/* ---- room ---- */

/* Of a member's file. */
struct etcd_room {
    atomic_uint_fast64_t next_ns; /* when to ask again */
    atomic_bool asked;
    atomic_uint_fast64_t size, quota; /* as it last said; quota 0: not known */
    atomic_uint_fast64_t sent;        /* since then */
    atomic_uint_fast64_t sent_before; /* since the answer before, until then */
    unsigned failures;                /* of questions, in a row; of whoever has asked */
};

struct etcd;

void etcd_room_tick(struct etcd *etcd, uint64_t now_ns); /* asks the members, where it is time to */
bool etcd_room_is_crowded(struct etcd *etcd);            /* only deletes fit */
double etcd_room_fullness(struct etcd *etcd);            /* of the fullest member; 0: not known */
void etcd_room_sent(struct etcd *etcd, uint64_t bytes);  /* of a transaction */

/* ---- keys and values ---- */

#define ETCD_MAX_NAME     (ETCD_MAX_PREFIX + 2 + 16 + 1) /* of a key without the record's own */
#define ETCD_ENVELOPE     8
#define ETCD_MAX_ENVELOPE 16  /* with the seq of a restored record */
#define ETCD_POSITIONS    256 /* seq = revision * this + position in the transaction */

/* Ours, below the prefix. The others are TABLE/KEY. */
#define ETCD_HEAD   "head"    /* put by every transaction: its mod_revision is the last of the prefix */
#define ETCD_FORMAT "format"  /* the schema */
#define ETCD_WRITER "writer-" /* and a UUID: the last batch of a writer's lane */

struct etcd_keys {
    char prefix[ETCD_MAX_PREFIX + 3]; /* "/PREFIX/" */
    char end[ETCD_MAX_PREFIX + 3];    /* the first key behind all of the prefix */
    const struct store_table *tables;
    size_t table_count;
    /* Records that were restored have their seqs with them, up to base; others have base + revision * ETCD_POSITIONS +
     * position. */
    uint64_t base;
    int64_t restored_revision; /* by which all of them were there */
    int64_t format_created;    /* the revision that made the format: of another one this is another store */
};

void etcd_keys_init(struct etcd_keys *keys, const char *prefix, const struct store_options *options);
void etcd_key_name(const struct etcd_keys *keys, const char *name, struct buf *out);
void etcd_key_record(const struct etcd_keys *keys, unsigned table, struct str key, struct buf *out);
/* What a key is: a record's (0), ours (-ENOENT; *ret_key is its name), of a table that we do not know (-ESRCH). */
int etcd_key_parse(const struct etcd_keys *keys, struct str etcd_key, unsigned *ret_table, struct str *ret_key);

/* path: TABLE/KEY, which the checksum covers. seq: of a restored record; 0: none. Returns the length. */
size_t etcd_envelope(uint8_t header[ETCD_MAX_ENVELOPE], unsigned position, uint64_t seq, struct str path,
                     struct str value);
/* A record as etcd has it: its seq and value. -EBADMSG. */
int etcd_envelope_parse(const struct etcd_keys *keys, const Etcdserverpb__KeyValue *kv,
                        struct store_record *ret_record);

/* What follows the prefix; empty where the key does not begin with it. */
static inline struct str etcd_path(const struct etcd_keys *keys, struct str etcd_key)
{
    size_t len = strlen(keys->prefix);

    if (etcd_key.len < len || memcmp(etcd_key.s, keys->prefix, len) != 0)
        return STR("");
    return (struct str){etcd_key.s + len, etcd_key.len - len};
}

static inline uint64_t etcd_seq(const struct etcd_keys *keys, int64_t revision, unsigned position)
{
    return keys->base + (uint64_t)revision * ETCD_POSITIONS + position;
}

/* 0: of a restored record, or none at all. */
static inline int64_t etcd_revision_of(const struct etcd_keys *keys, uint64_t seq)
{
    return seq > keys->base ? (int64_t)((seq - keys->base) / ETCD_POSITIONS) : 0;
}

static inline struct str etcd_str(ProtobufCBinaryData data)
{
    return (struct str){(const char *)data.data, data.len};
}

static inline ProtobufCBinaryData etcd_data(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.s};
}

/* ---- the view ---- */

struct etcd_head {
    int64_t revision; /* 0: there is none */
    struct uuid id;   /* its value: of the transaction that has put it */
};

/* How far a view has come, kept in it in the same transaction as the records. The head tells whether etcd still has the
 * history that the view has seen. */
struct etcd_position {
    int64_t revision;
    struct etcd_head head;
};

/* From a key and value as etcd has them. -EPROTO: it is none. */
int etcd_head_parse(const Etcdserverpb__KeyValue *kv, struct etcd_head *ret_head);

#define ETCD_HEADS 1024

struct etcd_heads {
    struct etcd_head ring[ETCD_HEADS]; /* in the order of revisions */
    size_t last, count;
};

enum etcd_history {
    ETCD_SAME_HISTORY,    /* the view has seen this head */
    ETCD_OTHER_HISTORY,   /* it has seen another one of that revision, or none */
    ETCD_UNKNOWN_HISTORY, /* it is older than those that are known */
};

void etcd_heads_reset(struct etcd_heads *heads, const struct etcd_head *head);
void etcd_heads_add(struct etcd_heads *heads, const struct etcd_head *head);
int64_t etcd_heads_last(struct etcd_heads *heads); /* its revision */
/* head: of a revision that the view has come to. */
enum etcd_history etcd_heads_find(struct etcd_heads *heads, const struct etcd_head *head);
/* A read has seen another history than the view's: the follower looks. Takes etcd.mutex. */
void etcd_heads_doubt(struct etcd *etcd);
/* The head in the answer to a question for it; its revision is 0 where there is none. -EPROTO. */
int etcd_head_of(const Etcdserverpb__RangeResponse *response, struct etcd_head *ret_head);
/* Asks etcd, and waits for its answer, for the head as of a revision; 0: the last one. *ret_position: etcd's revision,
 * and that head. -ERANGE: etcd does not have that revision (any more). */
int etcd_head_ask(struct etcd *etcd, int64_t revision, struct etcd_position *ret_position);
/* Whether etcd's history has led to that position: asks as etcd_head_ask does. 0; -ERANGE: it has not, or does not
 * remember; or -errno. */
int etcd_history_check(struct etcd *etcd, const struct etcd_position *position);

struct etcd_view {
    struct store_view *view;
    struct etcd_position position; /* of the follower */
    char *dir;                     /* NULL: temporary */
    unsigned refs;                 /* under etcd.mutex */
};

struct etcd;

int etcd_views_open(struct etcd *etcd, char *error, size_t error_size); /* finds the one of the last run, if any */
void etcd_views_close(struct etcd *etcd);
int etcd_view_new(struct etcd *etcd, struct etcd_view **ret_view, char *error, size_t error_size);
void etcd_view_serve(struct etcd *etcd, struct etcd_view *take_view); /* instead of the current one */
struct etcd_view *etcd_view_ref(struct etcd *etcd);                   /* the current one; NULL: there is none yet */
void etcd_view_unref(struct etcd *etcd, struct etcd_view *view);      /* NULL is fine */

/* What came of writing to a view: 0, or an error that etcd is innocent of. */
void etcd_view_wrote(struct etcd *etcd, int err);
/* 0, or what has gone wrong again and again: a fresh view did not mend it. */
int etcd_view_trouble(const struct etcd *etcd);
/* How long to wait before the next try. */
uint64_t etcd_view_pause_ns(const struct etcd *etcd);

/* Until when the kept view has everything, on this machine's monotonic clock: for the next run, which may have no etcd.
 */
void etcd_fresh_put(struct etcd *etcd, uint64_t fresh_ns);

int etcd_position_get(struct store_view *view, struct etcd_position *ret_position); /* -ENOENT: it is not complete */
int etcd_position_put(struct store_view_txn *txn, const struct etcd_position *position);
/* One record, as etcd has it, into the view. beyond: its key is greater than all that are there. */
int etcd_view_put(struct etcd *etcd, struct store_view_txn *txn, const Etcdserverpb__KeyValue *kv, bool beyond,
                  uint64_t *last_seq);

/* ---- loading and following ---- */

int etcd_load(struct etcd *etcd, struct etcd_view **ret_view, char *error, size_t error_size);

/* What the watch has said and the view does not have yet. */
struct etcd_applying {
    struct store_view_txn txn;
    struct etcd_position position;
    uint64_t last_seq;
    struct etcd_lane *lane; /* of this process, whose transaction the revision is; NULL: another's */
    bool cut;               /* the message before may have ended within the revision */
};

struct etcd_follower {
    pthread_t thread;
    bool running;
    struct etcd_view *following;   /* the current view, with a reference */
    struct etcd_applying applying; /* of the watch's connection */
    bool distrusted;               /* what is followed: it could not be written, and is to be made anew */
    bool verified;                 /* the watch is of the history of what is followed; of its connection */

    /* Under etcd.mutex. */
    bool stopped;
    bool ended, failed;   /* the watch */
    bool doubted;         /* etcd may have another history */
    uint64_t heard_ns;    /* when it last said something */
    uint64_t patience_ns; /* for how long it may say nothing */
    uint64_t moved_ns;    /* when loading or following last got on */
    char error[256];      /* what went wrong last, for whoever waits in store_open */
    int err;
};

/* A message of the watch, into the view that is followed. After an error the watch cannot be gone on with. */
int etcd_apply(struct etcd *etcd, const Etcdserverpb__WatchResponse *response);
void etcd_apply_abandon(struct etcd *etcd); /* what has not come wholly when the watch ends: it comes again */

int etcd_follower_start(struct etcd *etcd);
/* Waits until there is a view to serve. 0, or what hinders it for good, or for 30 s. */
int etcd_follower_wait_ready(struct etcd *etcd, char *error, size_t error_size);
void etcd_follower_stop(struct etcd *etcd); /* cancels the client's calls: the follower may wait for one */

/* ---- writing ---- */

#define ETCD_LANES            4
#define ETCD_BATCH_OPERATIONS 100
#define ETCD_BATCH_BYTES      (1 << 20)
#define ETCD_KEY_COUNTERS     65536

_Static_assert(ETCD_BATCH_OPERATIONS >= STORE_MAX_BATCH, "a request fits into a transaction");
_Static_assert(ETCD_BATCH_OPERATIONS <= ETCD_POSITIONS, "each operation of a transaction has a seq of its own");

enum etcd_lane_state {
    LANE_CLOSED,  /* without a key in etcd */
    LANE_OPENING, /* the key is being put */
    LANE_IDLE,
    LANE_SENT,      /* a batch is under way */
    LANE_UNKNOWN,   /* its answer was lost, or says nothing about its effect */
    LANE_FENCING,   /* being asked for, and fenced off if it is not there */
    LANE_COMMITTED, /* it is in etcd: waits for the view */
};

/* What was found at a lane's key. */
struct etcd_fence {
    int64_t revision;  /* 0: nothing: it has been deleted, so no transaction of the lane can take effect any more */
    struct uuid batch; /* else what the lane's last transaction has put */
};

struct etcd_lane;
typedef void etcd_lane_key_opened(struct etcd_lane *lane, int err, int64_t revision);
typedef void etcd_lane_key_fenced(struct etcd_lane *lane, int err, const struct etcd_fence *fence);

struct etcd_lane {
    struct etcd *etcd;
    enum etcd_lane_state state;
    char name[sizeof(ETCD_WRITER) + 2 * sizeof(struct uuid)];
    int64_t name_revision; /* of its key: what the next transaction expects */
    uint64_t retry_ns;     /* when to try again what failed */
    uint64_t begun_ns;

    struct uuid batch;
    int64_t revision;      /* COMMITTED: where */
    int64_t seen_revision; /* where the watch has seen the batch; 0: not yet */
    bool known;            /* the answer has come, and the requests have their results */
    bool full;             /* UNKNOWN, FENCING: the answer was that etcd is full; else it was lost */
    unsigned count;
    struct store_batch *requests[ETCD_BATCH_OPERATIONS]; /* NULL: answered already, its result being unknown */
    unsigned first[ETCD_BATCH_OPERATIONS];               /* its first operation's position */
    bool seen[ETCD_BATCH_OPERATIONS];                    /* by position: the watch has seen its effect */

    /* Of the call for its key that is under way. */
    etcd_lane_key_opened *opened;
    etcd_lane_key_fenced *fenced;
};

struct etcd_writer {
    pthread_t thread;
    bool running;
    struct etcd_lane lanes[ETCD_LANES];
    struct etcd_txn *txn; /* the thread's */
    uint16_t *keys;       /* how many operations under way have a key of that hash */

    /* Under etcd.mutex, with the lanes. */
    struct store_batch *first, **last; /* waiting, in order */
    size_t count, bytes;
    size_t doubts, doubt_bytes; /* requests whose expectations wait for a read */
    bool ticking;               /* its thread looks at what waits each tick, unless it is called before */
    bool called;                /* since it last looked */
    bool closed;
};

int etcd_writer_start(struct etcd *etcd);
void etcd_writer_stop(struct etcd *etcd);    /* ends what is waiting first */
void etcd_writer_release(struct etcd *etcd); /* after the client is closed */
void etcd_write(struct etcd *etcd, struct store_batch *take_batch);
/* From the follower, in this order: a transaction's lane key, what else it has changed, and that the view has it. */
struct etcd_lane *etcd_writer_saw(struct etcd *etcd, struct str name, struct str batch, int64_t revision);
void etcd_writer_saw_record(struct etcd_lane *lane, bool deleted, unsigned table, struct str key, unsigned position);
void etcd_writer_applied(struct etcd *etcd);
/* Before that, where the view is a fresh one: what has been seen of a transaction may be a part of it. */
void etcd_writer_forget(struct etcd *etcd);

/* ---- a lane's key ---- */

/* Both call back once, also from within, where nothing was sent. */
void etcd_lane_key_open(struct etcd_lane *lane, etcd_lane_key_opened *opened); /* a key of a new name */
/* Deletes the key, if no transaction has changed it. */
void etcd_lane_key_fence(struct etcd_lane *lane, etcd_lane_key_fenced *fenced);
/* Removes keys that were left by processes which are long gone. */
void etcd_lanes_clean(struct etcd *etcd);

/* ---- a batch as a transaction ---- */

struct etcd_txn;

struct etcd_txn *etcd_txn_new(const struct etcd_keys *keys);
struct etcd_txn *etcd_txn_free(struct etcd_txn *txn);
/* The request, valid until the next call; NULL out of memory. */
const Etcdserverpb__TxnRequest *etcd_txn_of_lane(struct etcd_txn *txn, const struct etcd_lane *lane);
/* Sets the requests' results from the answer. -EIO: it is not the answer to that. */
int etcd_txn_results(const struct etcd_lane *lane, const Etcdserverpb__TxnResponse *response);

/* ---- reading ---- */

#define ETCD_QUESTIONS 2

struct etcd_read;

struct etcd_read_list {
    struct etcd_read *first, **last;
};

/* For the last revision, on behalf of all reads that have come before it is sent. */
struct etcd_question {
    struct etcd *etcd;
    bool under_way;
    uint64_t begun_ns;
    int64_t begun_head; /* that the view had then: its revision */
    struct etcd_read_list reads;
};

struct etcd_reads {
    pthread_mutex_t mutex;
    size_t count;
    struct etcd_read_list fresh;   /* not yet asked for */
    struct etcd_read_list waiting; /* for the view to reach their revision */
    struct etcd_question questions[ETCD_QUESTIONS];
    uint64_t retry_ns, asked_ns;
    struct etcd_heads heads;
    uint64_t fresh_ns;     /* the view holds all that was committed before; 0: not known yet */
    struct etcd_head next; /* when the view has that, fresh_ns is next_ns; revision 0: none is waited for */
    uint64_t next_ns;
    bool closed;
};

void etcd_reads_init(struct etcd *etcd);
void etcd_read(struct etcd *etcd, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg);
void etcd_reads_applied(struct etcd *etcd);
void etcd_reads_saw_head(struct etcd *etcd, const struct etcd_head *head); /* before its revision is applied */
/* The view that is served from now on has come to that position. */
void etcd_reads_restart(struct etcd *etcd, const struct etcd_position *position);
/* What time brings: expiry, another try, a question to know how old the view is. Returns whether reads are waiting. */
bool etcd_reads_tick(struct etcd *etcd, uint64_t now_ns);
void etcd_reads_close(struct etcd *etcd);                     /* ends what is waiting */
bool etcd_reads_age(struct etcd *etcd, uint64_t *ret_age_ms); /* of the view; false: not known yet */

/* ---- the engine ---- */

struct etcd {
    struct store store;
    const struct etcd_world *world;
    struct store_options options;
    struct etcd_url url;
    struct etcd_client client;
    struct etcd_keys keys;
    struct store_table found[STORE_MAX_TABLES]; /* STORE_INSPECT */
    char found_names[STORE_MAX_TABLES][17];

    pthread_mutex_t mutex;
    pthread_cond_t changed;  /* for the follower and whoever waits for it */
    pthread_cond_t writable; /* for the writer */
    struct etcd_view *view;  /* the current one */
    unsigned view_number;    /* of the folders */
    int lock_fd;
    atomic_int_fast64_t applied; /* the current view's revision */
    atomic_uint view_failures;   /* in a row */
    atomic_int view_err;         /* the last one's */
    atomic_bool replaced;        /* see etcd_replaced */
    atomic_bool attached;        /* etcd has answered since the start, and has what was expected */
    int fresh_fd;                /* of the view's folder: see etcd_fresh_put; -1: none */
    uint64_t kept_fresh_ns;      /* what stands there: the writer's thread's */

    struct etcd_room rooms[ETCD_MAX_ENDPOINTS];
    struct etcd_writer writer;
    struct etcd_reads reads;
    struct etcd_follower follower;

    struct store_metrics metrics;
    struct metrics_series *loads, *view_errors, *watches, *fences, *age_seconds, *etcd_fullness;
};

/* ---- the schema ---- */

/* What was opened is no longer what is at the prefix: it was deleted, imported anew, or is another etcd's. base and
 * schema may be others, so nothing is read or written any more: a restart looks at what is there. */
void etcd_replaced(struct etcd *etcd);
/* Whether a format that etcd has is that of the store which was opened. */
bool etcd_schema_is_ours(const struct etcd *etcd, const Etcdserverpb__KeyValue *format);
int etcd_schema_check(struct etcd *etcd, char *error, size_t error_size);
/* Waits for an answer of etcd, then checks its members' versions and the schema. 0, -EHOSTUNREACH: etcd does not
 * answer; else what is wrong. */
int etcd_attach(struct etcd *etcd, uint64_t within_ns, char *error, size_t error_size);
int etcd_schema_restored(struct etcd *etcd, uint64_t last_seq);
