/* http_internal -- what the files of the HTTP server share.
 *
 *   server.c       the server, its workers (one a loop), connections, drain
 *   share.c        how many requests of a connection are handled in a turn of the loop
 *   dispatch.c     from a request to its handler
 *   own_answers.c  what h2o answers by itself
 *   source.c       what handlers ask of a request that came over a connection
 *   deferred.c     answers that come later, from any thread
 *   exchange.c     a request from its arrival to the end of its response
 *   stream.c       replies that are written over time
 *   intake.c       what comes over HTTP/1 is checked before h2o parses it
 *   framing.c      the framing of HTTP/1 requests
 *   record.c       metrics and log line of an exchange
 *   span.c         its span
 *   client.c       whom it comes from
 *   list.c         requests in flight and connections, for people
 *   refusal.c      what HTTP/2 refuses, counted and logged
 *   head.c         heads of HTTP/2 requests, before h2o decodes them
 *   watch.c        memory of clients, requests that do not come wholly
 *   linger.c       connections that are closed while their clients still send, or have not taken all
 *   try.c          runs a handler without a server
 *   compress.c     gzip of replies
 *   events.c       server-sent events
 *   files.c        embedded files
 *   cors.c         pages of other origins
 *   coding.c       Accept-Encoding
 *   route.c, request.c, tag.c, reply.c, percent.c, auth.c
 *
 * A file uses those below it only.
 */
#pragma once
#include "acceptor.h"
#include "budget.h"
#include "h2o_compat.h"
#include "http.h"
#include "http_cors.h"
#include "http_framing.h"
#include "http_metrics.h"
#include "http_stream.h"
#include "include/names.h"
#include "net_listen.h"
#include "net_networks.h"
#include "net_socket.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* ---- routes: route.c ---- */

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER_METHOD, /* TRACE, CONNECT, unknown ones: no route can have them */
};
#define HTTP_METHODS (HTTP_OTHER_METHOD + 1)

#define HTTP_MAX_SEGMENTS 16 /* of a template */

_Static_assert(HTTP_MAX_PARAMS <= HTTP_MAX_SEGMENTS, "a parameter is a segment");

#define HTTP_ALLOW_SIZE 64 /* for the names of all methods */

/* All routes of one template. */
struct http_path {
    const char *template;
    unsigned segment_count, param_count;
    struct str segments[HTTP_MAX_SEGMENTS]; /* "{name}" is a parameter */
    const struct http_route *routes[HTTP_METHODS];
    char allow[HTTP_ALLOW_SIZE];
};

struct http_paths {
    struct http_path *paths; /* the more specific first */
    unsigned count;
    size_t largest_body;         /* of all routes' max_body */
    char allow[HTTP_ALLOW_SIZE]; /* the methods of all */
};

/* 0, -ENOMEM, or -EINVAL for a table that is not as http.h says. */
int http_paths_open(const struct http_route *routes, struct http_paths *ret_paths);
void http_paths_release(struct http_paths *paths);
enum http_method http_method_of(struct str method);
const char *http_method_name(enum http_method method); /* "other" for HTTP_OTHER_METHOD */
/* The path of a request target's path, with its parameters as sent; NULL where there is none. */
const struct http_path *http_paths_match(const struct http_paths *paths, struct str path,
                                         struct str params[HTTP_MAX_PARAMS]);
/* Whether a client can repeat a request without any harm (RFC 9110, 9.2.1). */
bool http_method_is_safe(enum http_method method);
/* The route for a method of a path (NULL: an unknown one), HEAD being served as GET. NULL and *ret_route, or what to
 * answer instead: 404, 405, or 204 for OPTIONS. */
struct http_reply *http_route_find(const struct http_path *path, enum http_method method,
                                   const struct http_route **ret_route);
/* The answer to "OPTIONS *". */
struct http_reply *http_route_options(const struct http_paths *paths);
/* Decodes the request's parameters and calls its route's handler, unless the body is encoded (415) or too long (413) or
 * a parameter cannot be decoded (400). */
struct http_reply *http_route_run(struct http_req *req, unsigned param_count);
/* Decodes into to, which has room for text.len bytes. -EINVAL: a bad escape or a NUL. */
int http_percent_decode(struct str text, bool plus_is_space, char *to, size_t *ret_len);

/* ---- counting ---- */

/* What is counted of a template and a method. */
struct http_red {
    struct http_statuses requests;
    struct metrics_series *duration;
};

/* ---- the server ---- */

/* The way of answers to a worker, which may come when the server has been closed: it outlives its worker. */
struct http_gate {
    pthread_mutex_t lock;
    struct loop *loop;          /* NULL once closed */
    struct http_server *server; /* valid as long as loop is not NULL */
    unsigned references;        /* the worker's and one a deferred answer */
};

struct http_gate *http_gate_new(struct loop *loop, struct http_server *server); /* NULL out of memory */
struct http_gate *http_gate_unref(struct http_gate *gate);                      /* locked; unlocks; returns NULL */

#define HTTP2_ERRORS       13   /* codes of h2o, from NO_ERROR on */
#define HTTP_RECEIVE_TURNS 10   /* of the receive timer in receive_timeout_ms */
#define HTTP_STRANGERS     8    /* the part of the memory that requests may hold before a token was asked for */
#define HTTP_REQUEST_BYTES 8192 /* about what h2o, its pool and an exchange take for a request, beside its body */
#define HTTP_CONN_BYTES    4096 /* that a connection takes without a request, in the process and in the kernel, about */

struct http_worker {
    struct http_server *server;
    struct loop *loop;
    struct http_gate *gate;
    h2o_context_t h2o;
    struct loop_timer receive_timer;
    struct loop_message discourage_message, share_message;
    struct loop_hook memory_hook, intake_hook;
    h2o_linklist_t conns;      /* in the order of their last answer, or opening */
    h2o_linklist_t unchecked;  /* connections whose h2o callback may have to be replaced */
    struct http_conn *reading; /* whose bytes are to be given to h2o: it is not closed meanwhile */
    /* Told of bytes that were read, before h2o has them. False: the connection holds too much, and is to be closed. Set
     * by watch.c; NULL: memory has no bound. */
    bool (*admits)(struct http_conn *conn, size_t len);
    size_t moved;             /* bytes received and sent since memory was last looked at */
    h2o_linklist_t lingering; /* the oldest first */
    unsigned lingering_count;
    struct loop_timer linger_timer;
    h2o_linklist_t exchanges; /* by deadline */
    h2o_linklist_t waiting;   /* exchanges that are to be handled in the next turn, by share_message */
    h2o_linklist_t streams;   /* that are open */
    bool streams_over;        /* streams end at once: the time for a drain is almost over */
    struct loop_message streams_message;
    bool share_posted;
    uint64_t turn_ns;  /* when the turn of the loop began in which a request was last handled */
    uint64_t share_ns; /* none that has waited is handled from then on in that turn */
    struct loop_timer exchange_timer;
    uint64_t turns_ms[HTTP_RECEIVE_TURNS]; /* when the receive timer's last turns were; the last one is [turn] */
    unsigned turn;
    unsigned room_made;                 /* the server's wants_room when this worker last made room */
    uint64_t look_ns;                   /* no look at memory before that */
    uint64_t looked_ns, look_takes_ns;  /* when the connections were last looked at, and how long that took */
    uint64_t trim_ns;                   /* the heap is trimmed then; 0: it need not */
    size_t seen_resident;               /* bytes of the process when it was last looked at */
    uint64_t resets_seen[HTTP2_ERRORS]; /* of h2o's counts of streams that it has reset */
    struct http_compressor *compressor; /* NULL: nothing has been compressed */
    struct http_red *red;               /* [path * HTTP_METHODS + method]; the last path is "other" */
    bool closing;
};

struct http_server {
    struct http_server_def def;
    h2o_globalconf_t h2o;
    struct http_paths paths;
    struct http_worker *workers;
    unsigned worker_count;
    struct acceptor *acceptor;
    atomic_uint in_flight;
    atomic_size_t bodies; /* bytes of those in flight */
    atomic_uint streams;
    atomic_bool streams_over; /* has been said to the workers */
    struct metrics_family *requests, *durations;
    struct metrics_series *connections_gauge, *in_flight_gauge, *streams_gauge, *streams_cut_total;

    struct budget memory;
    struct budget strangers;  /* what connections hold as strange */
    int statm_fd;             /* /proc/self/statm, -1 without a bound */
    atomic_uint wants_room;   /* how often something did not fit */
    _Atomic uint64_t warn_ns; /* no line about it before that */
    atomic_uint_fast64_t refused, closed;
    struct metrics_series *memory_gauge, *refused_total, *closed_total;

    struct metrics_family *refused_family;
    _Atomic uint64_t warn_refused_ns; /* no line about them before that */

    atomic_bool discouraged;
};

/* One accepted connection. h2o hands every request of a connection the hosts that it was accepted with: as each has an
 * array of its own, they lead back here. Freed when the socket is closed. */
struct http_conn {
    h2o_hostconf_t *hosts[2]; /* the server's one host, and NULL */
    h2o_linklist_t link;      /* of the worker's conns */
    struct acceptor_place place;
    struct http_worker *worker;
    h2o_socket_t *socket;
    unsigned resets;    /* requests given up by the client, less those answered */
    unsigned exchanges; /* that are being answered */
    unsigned waiting;   /* exchanges, of the worker's waiting ones */
    unsigned handled;   /* requests, in the turn of the loop that began at turn_ns */
    uint64_t turn_ns;
    uint64_t share_ns; /* no more of them from then on in that turn */
    bool cut, is_http1;
    size_t buffers;    /* bytes, when http_watch last looked */
    unsigned streams;  /* that are open */
    size_t replies;    /* bytes of those not yet taken, and of streams */
    size_t strange;    /* of buffers: those of unfinished requests without a token that the server knows */
    size_t heads;      /* bytes of large heads of HTTP/2 requests, and of large request memory */
    unsigned waits;    /* turns of the receive timer in which it was neither idle nor had a request */
    uint64_t begun_ms; /* when the oldest request began that is not whole, at the last look; 0: none */
    /* Bytes received when it was last seen without a half-sent HTTP/2 request, and without output under way. */
    uint64_t block_mark, output_mark;
    h2o_linklist_t unchecked; /* in the worker's */
    h2o_socket_cb read;       /* h2o's, for HTTP/1 */
    h2o_socket_cb read_http2; /* h2o's, for HTTP/2; NULL: it has not changed to that */
    /* Has h2o close it, and free what it holds, if h2o reads from it and nobody works for it. Set by intake.c. */
    void (*close)(struct http_conn *conn);
    const h2o_req_t *too_large; /* the HTTP/2 request that h2o is made to refuse just now */
    struct http_framing framing;
    uint64_t received; /* bytes */
    uint64_t opened_ns;
    bool is_proxy; /* a trusted one: what it says of the client is believed */
    char remote_ip[NET_IP_SIZE], local_ip[NET_IP_SIZE];
};

static inline struct http_conn *http_conn_of(const h2o_req_t *h2o)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_conn, hosts, h2o->conn->hosts);
}

static inline size_t http_conn_held(const struct http_conn *conn)
{
    return conn->buffers + conn->replies + conn->heads;
}

/* Has every worker make room for what did not fit; any thread. */
static inline void http_want_room(struct http_server *server)
{
    atomic_fetch_add_explicit(&server->wants_room, 1, memory_order_relaxed);
}

/* ---- connections that are closed while their clients still send, or have not taken all: linger.c ---- */

/* Call it before h2o closes the connection, with the answer sent. */
void http_linger(struct http_conn *conn);
/* Whether the client has more to take of a connection than the kernel may keep without being counted. */
bool http_linger_is_owed(const struct http_conn *conn);

/* Both directions; h2o then closes it. What the client has not taken goes on to it. */
static inline void http_conn_shut(struct http_conn *conn)
{
    conn->cut = true;
    shutdown(h2o_socket_get_fd(conn->socket), SHUT_RDWR);
}

/* The same, with a reset where the kernel would keep much that nobody counts. */
static inline void http_conn_cut(struct http_conn *conn)
{
    if (http_linger_is_owed(conn))
        net_reset_at_close(h2o_socket_get_fd(conn->socket));
    http_conn_shut(conn);
}

/* Resets connections until they have freed so many bytes. Returns how many bytes they have. */
size_t http_linger_end_some(struct http_worker *worker, size_t wanted);
void http_linger_end_all(struct http_worker *worker);

/* ---- what comes: intake.c ---- */

void http_intake_init(struct http_worker *worker); /* loop's thread */
void http_intake_begin(struct http_conn *conn);    /* once h2o has accepted it */
/* Call it when an exchange over HTTP/1 has ended: h2o will read on. */
void http_intake_resume(struct http_conn *conn);
void http_intake_end(struct http_conn *conn); /* when it is closed */

/* ---- the watch over connections: watch.c ---- */

void http_watch_init(struct http_worker *worker);  /* loop's thread */
void http_watch_start(struct http_worker *worker); /* with its first connection; it ends with the last */
void http_watch_open(struct http_conn *conn);      /* counts a new connection */
void http_watch_bound_buffers(const struct http_server *server, int listen_fd); /* of connections, in the kernel */
/* Whether no request is in progress on a connection, also none that is half-sent, and no response is being sent. */
bool http_watch_is_idle(struct http_conn *conn);
/* Whether the budget is exceeded, although the worker has made what room it can. */
bool http_watch_is_full(struct http_worker *worker);
/* Counts a 503 for want of memory, has room made, and returns that reply; any thread. */
struct http_reply *http_watch_refuse(struct http_server *server);
/* Takes a large body's bytes from the server's budget until the reply is freed. Where they do not fit, returns a 503 in
 * its place, unless the reply must be sent all the same. Any thread, as long as the server is there. */
struct http_reply *http_watch_charge(struct http_reply *reply, struct http_server *server, bool must_be_sent);

/* Counts a connection that is closed because the head of a request does not fit, and has room made. */
void http_watch_refuse_head(struct http_server *server);

/* ---- what HTTP/2 refuses: refusal.c ---- */

void http_refusals_open(struct http_server *server);
/* frame: what tells the client, error: its code. Any thread. */
void http_refusals_count(struct http_server *server, const char *frame, unsigned error, uint64_t count);
void http_refusals_look(struct http_worker *worker); /* counts what h2o has refused since */

/* ---- heads of HTTP/2 requests: head.c ---- */

void http_heads_measure(h2o_globalconf_t *config); /* those of requests to servers of this configuration */

/* ---- requests: request.c ---- */

/* Where a request comes from, and what it asks of that: an exchange of a server, or http_try. */
struct http_source {
    /* As http_each_header. */
    int (*each_header)(const struct http_req *req, struct str name, int (*each)(void *arg, struct str value),
                       void *arg);
    void *(*alloc)(struct http_req *req, size_t len);                      /* request memory; never NULL */
    void (*keep)(struct http_req *req, void *p, void (*release)(void *p)); /* as http_keep */
    struct http_deferred *(*defer)(struct http_req *req);
    struct str (*peer)(const struct http_req *req); /* as http_peer */
    /* As http_stream_open. */
    int (*open_stream)(struct http_req *req, const struct http_stream_def *def, struct http_stream **ret_stream);
};

void http_target_split(struct str target, struct http_req *req);             /* into path and query */
void http_accept_trace(struct http_req *req, const struct span_sink *spans); /* by the request's headers */

struct http_deferred {
    void (*answer)(struct http_deferred *take_deferred, struct http_reply *take_reply);
    void (*gone)(void *arg); /* NULL: nobody wants to know */
    void *arg;
    struct loop *loop;
    struct trace trace;
    uint64_t deadline_ns;
};

/* ---- exchanges: exchange.c ---- */

struct http_exchange {
    struct http_req req;
    h2o_linklist_t link;    /* of the worker's exchanges */
    h2o_linklist_t waiting; /* of the worker's waiting ones; not linked: has been handled */
    h2o_req_t *h2o;
    struct http_worker *worker;
    const struct http_path *path; /* NULL: unknown */
    enum http_method method;
    struct http_deferral *deferral; /* NULL: never, or no more */
    bool waited;                    /* for its connection's share of a turn */
    bool was_deferred, answered, too_many;
    size_t body_len;            /* as received: req.body may be left out */
    size_t asked, taken;        /* request memory; of it, as charged */
    bool client_left;           /* before it was answered, which nobody will read */
    struct http_reply *reply;   /* kept until it has been sent; NULL: not answered */
    struct http_stream *stream; /* NULL: none was opened, or it has been closed */
    int status;
    uint64_t start_ns, deadline_ns; /* for an answer, then for its sending */
    uint64_t head_ns;               /* how long after its start a stream began; 0: it is none */
};

struct http_exchange *http_exchange_begin(h2o_req_t *h2o, const struct http_source *source);
/* Charges request memory: of decoded queries, of a trace that was joined. Its client may have sent much less, by naming
 * what HPACK's table has. */
void http_exchange_take(struct http_exchange *exchange, size_t len);
/* Sends the reply; once. */
void http_exchange_answer(struct http_exchange *exchange, struct http_reply *take_reply);
/* The same, but for the sending of the body: sets status, reason and headers. No body for HEAD. */
void http_exchange_respond(struct http_exchange *exchange, struct http_reply *take_reply, h2o_iovec_t *ret_body);
void http_exchange_waits_no_more(struct http_exchange *exchange); /* for its connection's share; if it does */
bool http_exchange_is_ours(const h2o_req_t *h2o);                 /* the response; else h2o has made it */
void http_exchanges_fail(struct http_worker *worker);             /* answers 503 to all that wait; loop's thread */
/* Looks after streams, and ends the deferred requests of HTTP/1 whose clients have closed their connections. h2o does
 * not read from a connection whose request waits for its answer, and so does not hear of it; of HTTP/2 it does. */
void http_exchanges_look(struct http_worker *worker);
void http_record(const struct http_exchange *exchange, uint64_t latency_ns);   /* record.c; once, at its end */
void http_span_end(const struct http_exchange *exchange, uint64_t latency_ns); /* span.c; likewise */
/* Of the client: the address that the connection comes from, or whom a trusted proxy names; "http" or "https", as the
 * client spoke to the proxy. */
void http_client_ip(const struct http_exchange *exchange, char ret_ip[NET_IP_SIZE]);
struct str http_client_scheme(const struct http_exchange *exchange);
/* Of a request that was refused before there was an exchange. */
void http_record_refusal(const struct http_conn *conn, const struct http_reply *reply, const struct trace *trace,
                         uint64_t latency_ns);

void http_dispatch(struct http_exchange *exchange); /* has its handler run, or answers it otherwise */
void http_own_answers_register(h2o_hostconf_t *host);

extern const struct http_source http_exchange_source; /* source.c */

/* ---- content codings: coding.c, tag.c, compress.c ---- */

/* What a request accepts. gzip: it is also to be preferred. */
struct http_codings {
    bool gzip, identity;
};

struct http_codings http_codings_of(const struct http_req *req);

#define HTTP_TAG_SUFFIX "-gzip\"" /* the end of the tag of what is compressed */

enum http_tag_how { HTTP_TAG_ITSELF, HTTP_TAG_STRONGLY, HTTP_TAG_WEAKLY }; /* the last two: "*" counts, too */

/* Whether a header, as it was sent, names the tag, which is given without quotes; coded: that of what is compressed. */
bool http_tag_is_listed(const struct http_req *req, const char *name, struct str tag, bool coded,
                        enum http_tag_how how);
bool http_is_condition(const char *name); /* a header of entity tags that handlers see as theirs */
/* Entity tags as handlers know them: in request memory where that makes a difference. */
struct str http_tags_uncoded(const struct http_req *req, struct str tags);

enum http_compressed {
    HTTP_NEVER_COMPRESSED,
    HTTP_NOT_COMPRESSED, /* but another request for it may be */
    HTTP_COMPRESSED,
};

enum http_compressed http_compress(struct http_exchange *exchange, struct http_reply *reply);
void http_compress_end(struct http_worker *worker); /* loop's thread */

/* ---- other origins: cors.c ---- */

bool http_cors_is_preflight(const struct http_cors *cors, const struct http_req *req); /* of an allowed origin */
struct http_reply *http_cors_preflight(const struct http_req *req, const char *methods);
/* What Access-Control-Allow-Origin is to be. */
bool http_cors_allows(const struct http_cors *cors, const struct http_req *req, struct str *ret_origin);

/* ---- a connection's share of a turn of the loop: share.c ---- */

void http_share_init(struct http_worker *worker);
void http_share_register(h2o_hostconf_t *host); /* what handles requests */

/* ---- answers that come later: deferred.c ---- */

struct http_deferral {
    struct http_deferred deferred;
    struct loop_message message;
    struct http_exchange *exchange; /* loop's thread; NULL once the request has been answered otherwise or has gone */
    bool must_be_sent;              /* the reply: its request may have had an effect */
    size_t charged;                 /* to the server's budget: the strings behind it */
    struct http_gate *gate;
    struct http_reply *reply;
};

struct http_deferred *http_deferral_new(struct http_exchange *exchange); /* NULL out of memory */

/* ---- streams: stream.c ---- */

struct http_stream_bytes {
    char *data;
    size_t len, capacity;
};

struct http_stream {
    h2o_generator_t generator; /* h2o's view of it */
    struct http_stream_def def;
    struct loop_message message;
    struct http_worker *worker; /* until it is closed */

    pthread_mutex_t lock; /* of what follows */
    unsigned references;
    struct http_stream_bytes waiting;
    size_t unsent;               /* bytes of waiting and sending */
    size_t charged;              /* to the server's budget: the capacity of both */
    bool posted;                 /* the message */
    bool wants_room;             /* a write was refused */
    bool ended, aborted, closed; /* see stream.c */
    bool given_back, draining;

    /* Loop's thread: */
    struct http_exchange *exchange; /* NULL once closed */
    h2o_linklist_t link;            /* of the worker's */
    struct http_stream_bytes sending;
    size_t accounted;  /* of charged: what the connection's replies have */
    uint64_t since_ns; /* when it was last given something, or had sent it */
    bool begun, in_flight, is_bodyless;
};

int http_stream_new(struct http_exchange *exchange, const struct http_stream_def *def, struct http_stream **ret_stream);
/* Sends the head of the exchange's response, of which all but the body is set. */
void http_stream_begin(struct http_exchange *exchange, bool is_bodyless);
void http_stream_close(struct http_exchange *exchange); /* when it ends */
bool http_stream_is(const h2o_generator_t *generator);
struct http_stream *http_stream_ref(struct http_stream *stream);
struct http_stream *http_stream_unref(struct http_stream *stream); /* returns NULL */
/* Of a worker; loop's thread. */
void http_streams_look(struct http_worker *worker);  /* with each turn of the receive timer */
void http_streams_drain(struct http_worker *worker); /* tells them */
void http_streams_end(struct http_worker *worker);   /* also those to come */
void http_streams_cut(struct http_worker *worker);

/* ---- replies: reply.c ---- */

struct http_reply {
    int status;
    struct http_server *server; /* whose budget charged was taken from; NULL: none */
    size_t charged;
    struct http_stream *stream; /* its body; NULL: it has none */
    bool problem;               /* its body is made when it is sent, for the trace's sake */
    bool is_static;             /* the body is somebody else's, for as long as there are servers */
    bool is_coded;              /* how it is coded has been chosen by who made it */
    const char *content_type;   /* NULL: no body */
    char *body;                 /* own, malloc'ed, or NULL */
    size_t body_len;
    struct buf text; /* of the headers' values; of a problem's detail from 0 to detail_len */
    size_t detail_len;
    unsigned header_count;
    struct {
        const char *name;
        size_t at, len; /* in text */
    } headers[HTTP_MAX_HEADERS];
    char own[];
};

/* Gives a header that it has another value; out of memory it loses the header. */
void http_reply_replace(struct http_reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Makes the body of a problem, of another reply nothing. Returns the reply, or that of want of memory. */
struct http_reply *http_reply_render(struct http_reply *reply, const struct trace *trace);
