/* otlp_internal -- what the files of the exporter share; see otlp.h. Each uses those further down only. */
#pragma once
#include "include/names.h"
#include "otlp.h"
#include "otlp_trace.pb-c.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define OTLP_INIT(name_)       OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##name_##__INIT
#define OTLP_VALUE_CASE(name_) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__ANY_VALUE__VALUE_##name_##_VALUE
typedef Opentelemetry__Proto__Collector__Trace__V1__KeyValue otlp_key_value;
typedef Opentelemetry__Proto__Collector__Trace__V1__AnyValue otlp_any_value;

#define OTLP_MAX_RESOURCE 32 /* attributes */

/* Of KEY=VALUE,... */
struct otlp_resource {
    char *text; /* what the attributes point into */
    size_t count;
    struct {
        struct str key, value;
    } attributes[OTLP_MAX_RESOURCE];
};

/* A connection to a collector. */
struct ssl_ctx_st;
struct ssl_st;
struct collector {
    char *host; /* and port and authority: one piece of memory */
    const char *port, *authority;
    const char *method;           /* path of each request */
    struct ssl_ctx_st *tls;       /* NULL: cleartext */
    struct otlp_resource headers; /* of each request */
    int wake_fd;                  /* an eventfd: readable once the deadline may have changed */
    /* When waiting is over at the latest (monotonic), looked at after each wake. */
    atomic_uint_fast64_t end_ns;
    struct collector_conn *conn; /* NULL: none */
};

/* What waits or is sent: a span, a log record, a metric or a data point, packed. */
struct otlp_item {
    struct otlp_item *next;
    uint64_t count; /* 1; of a metric, its data points */
    size_t len;
    uint8_t bytes[];
};

static inline size_t otlp_item_size(const struct otlp_item *item)
{
    return sizeof(*item) + item->len;
}

/* ---- otlp.c: the life of an exporter. Its thread is the signal's, see below ---- */

enum otlp_reason { OTLP_QUEUE, OTLP_SIZE, OTLP_FAILED, OTLP_REJECTED, OTLP_REASONS };

struct otlp_signal {
    const char *method, *thread;
    struct metrics_def exported, dropped;
    unsigned delay_ms; /* where the def has none */
    /* All under the lock. When there is something to export: monotonic, UINT64_MAX where nothing is. */
    uint64_t (*due_ns)(struct otlp *otlp);
    /* Exports some of it; gives the lock up while it sends. */
    void (*export)(struct otlp *otlp);
    /* What is dropped at the end; frees it. */
    uint64_t (*drop)(struct otlp *otlp);
};

/* lock guards all that changes. The thread gives it up only while it sends or waits. An exporter is freed by otlp_close
 * or, where the thread does not end in time, by the thread: whoever is last. From otlp_close's end on the thread
 * touches nothing of others: series and metrics are NULL. */
struct otlp {
    struct span_sink spans; /* first; of OTLP_SPANS */
    struct log_sink logs;   /* of OTLP_LOGS */
    const struct otlp_signal *signal;
    struct collector collector;
    struct otlp_resource resource;
    unsigned delay_ms, timeout_ms;
    size_t max_bytes; /* of what waits and of the batch that is being sent, without the request made of that */
    pthread_mutex_t lock;
    pthread_t thread;
    pthread_cond_t changed; /* for the thread: something is due, or it is to end; for otlp_close: it has ended */
    uint64_t due_ns;        /* when what waits is sent in any case */
    bool closing, ended, left_alone;
    struct metrics *metrics;
    struct metrics_series *exported, *dropped[OTLP_REASONS];

    /* Of spans and logs: queue.c */
    unsigned max_queue, max_batch;
    struct otlp_item *first, **end;
    unsigned count;   /* that wait */
    unsigned sending; /* of the batch */
    size_t bytes;     /* of both */
    struct metrics_series *queued;

    /* Of metrics: series.c */
    uint64_t start_ns; /* since 1970 */
    bool asked;        /* to export at once */
};

/* ---- queue.c: items that wait to be sent; series.c: metrics, which are read when they are due ---- */

extern const struct otlp_signal otlp_span_signal, otlp_log_signal, otlp_metric_signal;
/* Makes the gauge that says how many bytes wait. */
void otlp_queue_open(struct otlp *otlp, const struct otlp_def *def);
void otlp_queue_close(struct otlp *otlp); /* no callback of a scrape runs any more */

/* ---- send.c ---- */

/* Sends a batch until the collector takes it, refuses it for good, or its time is up, and counts what has become of it.
 * Gives up the lock meanwhile, in which the items do not change. */
void otlp_send(struct otlp *otlp, const struct otlp_item *items);
bool otlp_is_over(struct otlp *otlp, uint64_t deadline_ns); /* then, or otlp_close's deadline, has come */

/* ---- pack_span.c, pack_log.c, pack_metric.c ---- */

/* A span that ends now. NULL: out of memory, or it is too large. */
struct otlp_item *otlp_span_pack(const struct span *span);
/* A line that is logged now. NULL: out of memory. */
struct otlp_item *otlp_log_pack(const struct log_entry *entry);

struct otlp_times {
    uint64_t start_ns, now_ns; /* since 1970: from when on it was counted; of this export */
};

/* Both: NULL out of memory. */
struct otlp_item *otlp_point_pack(const struct metrics_family *family, const struct metrics_series *series,
                                  const struct otlp_times *times);
struct otlp_item *otlp_metric_pack(const struct metrics_family *family, const struct otlp_item *points, size_t count);

/* ---- pack.c: what messages are made of ---- */

#define OTLP_MAX_PAIRS   OTLP_MAX_RESOURCE
#define OTLP_GRPC_PREFIX 5 /* bytes before a message */
#define OTLP_SAMPLED     1 /* a flag */

struct otlp_pairs {
    size_t count;
    otlp_key_value *list[OTLP_MAX_PAIRS];
    otlp_key_value pairs[OTLP_MAX_PAIRS];
    otlp_any_value values[OTLP_MAX_PAIRS];
};

/* Where texts that are not as they must be are put right. */
struct otlp_scratch {
    size_t max_text; /* bytes of a text; the rest is cut off */
    size_t used;
    char bytes[2048];
};

static inline void otlp_scratch_init(struct otlp_scratch *scratch, size_t max_text)
{
    scratch->max_text = max_text;
    scratch->used = 0;
}

ProtobufCBinaryData otlp_bytes(const void *data, size_t len);
ProtobufCBinaryData otlp_cstr(const char *text);
/* UTF-8 of max_text at most. */
ProtobufCBinaryData otlp_text(struct str text, struct otlp_scratch *scratch);
void otlp_any_string(otlp_any_value *value, ProtobufCBinaryData string);
/* At most OTLP_MAX_PAIRS; they are borrowed. */
void otlp_add_string(struct otlp_pairs *pairs, const char *key, ProtobufCBinaryData value);
void otlp_add_integer(struct otlp_pairs *pairs, const char *key, int64_t value);
void otlp_add_bool(struct otlp_pairs *pairs, const char *key, bool value);
/* NULL: out of memory, or it has more than max_len bytes. */
struct otlp_item *otlp_item_pack(const ProtobufCMessage *message, uint64_t count, size_t max_len);
ProtobufCBinaryData *otlp_item_array(const struct otlp_item *items, size_t count); /* for free; NULL: out of memory */
/* Appends a request with these items, gRPC's prefix before it. */
void otlp_request_pack(const struct otlp_resource *resource, const struct otlp_item *items, size_t count,
                       struct buf *out);
/* How many the collector has rejected. */
uint64_t otlp_response_rejected(struct str response);

/* ---- collector.c: one connection to the collector, and one call at a time ---- */

enum collector_result {
    COLLECTOR_OK,
    COLLECTOR_AGAIN, /* the same may be sent again */
    COLLECTOR_FAILED,
};

/* method: "/PACKAGE.SERVICE/Export", a constant. 0, -ENOMEM, -EINVAL, -EBADMSG (the certificates), -errno. Of the def:
 * endpoint, ca_file and headers. */
int collector_open(const struct otlp_def *def, const char *method, struct collector *ret_collector);
void collector_release(struct collector *collector);
/* Any thread: calls that are under way end by then. */
void collector_end_by(struct collector *collector, uint64_t end_ns);
/* Waits until deadline_ns, or until collector_end_by has been called. */
void collector_sleep(struct collector *collector, uint64_t deadline_ns);
/* Calls Export. message begins with gRPC's prefix of five bytes. Of a response that came, *response is the message, for
 * buf_release. */
enum collector_result collector_call(struct collector *collector, struct str message, uint64_t deadline_ns,
                                     struct buf *response);

/* ---- resource.c ---- */

/* 0, -ENOMEM, -EINVAL. */
int otlp_resource_open(const char *service, const char *list, struct otlp_resource *ret_resource);
void otlp_resource_release(struct otlp_resource *resource);
/* The same form: names become lower case. 0, -ENOMEM, -EINVAL. */
int otlp_headers_open(const char *list, struct otlp_resource *ret_headers);

/* ---- tls.c ---- */

/* ca_file: whom to trust, PEM; NULL or "": whom the system does. 0, -ENOMEM, or -EBADMSG: it cannot be read. */
int otlp_tls_open(const char *ca_file, struct ssl_ctx_st **ret_tls);
void otlp_tls_close(struct ssl_ctx_st *tls); /* NULL is fine, as below */
/* Of a connection to host, whose name or address the certificate must have. NULL: out of memory. */
struct ssl_st *otlp_tls_begin(struct ssl_ctx_st *tls, int fd, const char *host);
void otlp_tls_end(struct ssl_st *ssl);
/* All three: -EAGAIN where the socket must be ready for *ret_events before; another -errno: it is of no use. */
int otlp_tls_handshake(struct ssl_st *ssl, short *ret_events);
ssize_t otlp_tls_send(struct ssl_st *ssl, struct str bytes, short *ret_events);
ssize_t otlp_tls_receive(struct ssl_st *ssl, void *to, size_t size, short *ret_events);
bool otlp_tls_has_more(const struct ssl_st *ssl); /* that has been received, and poll(2) does not tell of */
