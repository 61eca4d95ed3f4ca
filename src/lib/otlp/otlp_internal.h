/* otlp_internal -- what the files of the exporter share; see otlp.h. */
#pragma once
#include "include/names.h"
#include "otlp.h"
#include "otlp_trace.pb-c.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define OTLP_MAX_RESOURCE 32 /* attributes */

/* Of KEY=VALUE,... */
struct otlp_resource {
    char *text; /* what the attributes point into */
    size_t count;
    struct {
        struct str key, value;
    } attributes[OTLP_MAX_RESOURCE];
};

/* ---- tls.c ---- */

struct ssl_ctx_st;
struct ssl_st;

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

/* ---- collector.c: one connection to the collector, and one call at a time ---- */

enum collector_result {
    COLLECTOR_OK,
    COLLECTOR_AGAIN, /* the same may be sent again */
    COLLECTOR_FAILED,
};

struct collector {
    char *host; /* and port and authority: one piece of memory */
    const char *port, *authority;
    struct ssl_ctx_st *tls;       /* NULL: cleartext */
    struct otlp_resource headers; /* of each request */
    int wake_fd;                  /* an eventfd: readable once the deadline may have changed */
    /* When waiting is over at the latest (monotonic), looked at after each wake. */
    atomic_uint_fast64_t end_ns;
    struct collector_conn *conn; /* NULL: none */
};

/* 0, -ENOMEM, -EINVAL, -EBADMSG (the certificates), -errno. Of the def: endpoint, ca_file and headers. */
int collector_open(const struct otlp_def *def, struct collector *ret_collector);
void collector_release(struct collector *collector);
/* Any thread: calls that are under way end by then. */
void collector_end_by(struct collector *collector, uint64_t end_ns);
/* Waits until deadline_ns, or until collector_end_by has been called. */
void collector_sleep(struct collector *collector, uint64_t deadline_ns);
/* Calls Export. message begins with gRPC's prefix of five bytes. Of a response that came, *response is the message, for
 * buf_release. */
enum collector_result collector_call(struct collector *collector, struct str message, uint64_t deadline_ns,
                                     struct buf *response);

/* ---- pack.c: the messages ---- */

#define OTLP_MAX_SPAN    4096 /* bytes, packed; a larger one is dropped */
#define OTLP_GRPC_PREFIX 5    /* bytes before a message */

/* A span that waits. */
struct otlp_span {
    struct otlp_span *next;
    size_t len;
    uint8_t bytes[];
};

/* 0, -ENOMEM, -EINVAL. */
int otlp_resource_open(const char *service, const char *list, struct otlp_resource *ret_resource);
void otlp_resource_release(struct otlp_resource *resource);
/* The same form: names become lower case. 0, -ENOMEM, -EINVAL. */
int otlp_headers_open(const char *list, struct otlp_resource *ret_headers);
/* A span that ends now. NULL: out of memory, or it is too large. */
struct otlp_span *otlp_span_pack(const struct span *span);
/* Appends a request with these spans, gRPC's prefix before it. */
void otlp_request_pack(const struct otlp_resource *resource, const struct otlp_span *spans, size_t count,
                       struct buf *out);
/* How many spans the collector has rejected. */
uint64_t otlp_response_rejected(struct str response);
