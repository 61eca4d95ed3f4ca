/* otlp_internal -- what the files of the exporter share; see otlp.h. */
#pragma once
#include "include/names.h"
#include "otlp.h"
#include "otlp_trace.pb-c.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- collector.c: one connection to the collector, and one call at a time ---- */

enum collector_result {
    COLLECTOR_OK,
    COLLECTOR_AGAIN, /* the same may be sent again */
    COLLECTOR_FAILED,
};

struct collector {
    char *host; /* and port and authority: one piece of memory */
    const char *port, *authority;
    int wake_fd; /* an eventfd: readable once the deadline may have changed */
    /* When waiting is over at the latest (monotonic), looked at after each wake. */
    atomic_uint_fast64_t end_ns;
    struct collector_conn *conn; /* NULL: none */
};

int collector_open(const char *endpoint, struct collector *ret_collector); /* 0, -ENOMEM, -EINVAL, -errno */
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

#define OTLP_MAX_SPAN     4096 /* bytes, packed; a larger one is dropped */
#define OTLP_MAX_RESOURCE 32   /* attributes */
#define OTLP_GRPC_PREFIX  5    /* bytes before a message */

/* A span that waits. */
struct otlp_span {
    struct otlp_span *next;
    size_t len;
    uint8_t bytes[];
};

struct otlp_resource {
    char *text; /* what the attributes point into */
    size_t count;
    struct {
        struct str key, value;
    } attributes[OTLP_MAX_RESOURCE];
};

/* 0, -ENOMEM, -EINVAL. */
int otlp_resource_open(const char *service, const char *list, struct otlp_resource *ret_resource);
void otlp_resource_release(struct otlp_resource *resource);
/* A span that ends now. NULL: out of memory, or it is too large. */
struct otlp_span *otlp_span_pack(const struct span *span);
/* Appends a request with these spans, gRPC's prefix before it. */
void otlp_request_pack(const struct otlp_resource *resource, const struct otlp_span *spans, size_t count,
                       struct buf *out);
/* How many spans the collector has rejected. */
uint64_t otlp_response_rejected(struct str response);
