/* err -- the one table from errno to HTTP status, gRPC status and a name for people.
 *
 * Library functions return 0 or -errno. What a handler may see, and what it means to a client:
 *
 *   EINVAL         400  INVALID_ARGUMENT
 *   EACCES, EPERM  403  PERMISSION_DENIED
 *   ENOENT         404  NOT_FOUND
 *   EEXIST         409  ALREADY_EXISTS
 *   ESTALE         412  FAILED_PRECONDITION
 *   EMSGSIZE       413  RESOURCE_EXHAUSTED
 *   ECANCELED      499  CANCELLED
 *   EBADMSG        500  DATA_LOSS            a checksum does not match
 *   ENOSYS         501  UNIMPLEMENTED
 *   EAGAIN, EBUSY  503  UNAVAILABLE          try again
 *   ECONNREFUSED.. 503  UNAVAILABLE
 *   ENOBUFS        503  RESOURCE_EXHAUSTED   a queue is full
 *   ETIMEDOUT      504  DEADLINE_EXCEEDED
 *   EINPROGRESS    504  DEADLINE_EXCEEDED    the result is not known
 *   ENOSPC         507  RESOURCE_EXHAUSTED
 *   anything else  500  INTERNAL
 */
#pragma once
#include "names.h"

/* The numbers are gRPC's. */
enum err_grpc {
    ERR_GRPC_OK = 0,
    ERR_GRPC_CANCELLED = 1,
    ERR_GRPC_UNKNOWN = 2,
    ERR_GRPC_INVALID_ARGUMENT = 3,
    ERR_GRPC_DEADLINE_EXCEEDED = 4,
    ERR_GRPC_NOT_FOUND = 5,
    ERR_GRPC_ALREADY_EXISTS = 6,
    ERR_GRPC_PERMISSION_DENIED = 7,
    ERR_GRPC_RESOURCE_EXHAUSTED = 8,
    ERR_GRPC_FAILED_PRECONDITION = 9,
    ERR_GRPC_ABORTED = 10,
    ERR_GRPC_OUT_OF_RANGE = 11,
    ERR_GRPC_UNIMPLEMENTED = 12,
    ERR_GRPC_INTERNAL = 13,
    ERR_GRPC_UNAVAILABLE = 14,
    ERR_GRPC_DATA_LOSS = 15,
    ERR_GRPC_UNAUTHENTICATED = 16,
};

/* All take an errno of either sign. */
int err_http_status(int err);
enum err_grpc err_grpc_status(int err);
int err_from_grpc(int grpc_status); /* -errno for a gRPC status; 0 for OK */
/* For logs: what HTTP calls a gRPC status, as google/rpc/code.proto says; but 404 for UNIMPLEMENTED, which is a
 * client's mistake. 200 for OK. */
int err_grpc_http_status(int grpc_status);
const char *err_text(int err);                /* "not found": for people; static memory; never NULL */
const char *err_grpc_name(int grpc_status);   /* "INVALID_ARGUMENT"; "UNKNOWN" for what is not in the list */
const char *err_http_reason(int http_status); /* "Not Found"; "" for what is not known */
