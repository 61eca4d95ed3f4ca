#include "err.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int err, http;
    enum err_grpc grpc;
    const char *text;
} errors[] = {
    {EINVAL, 400, ERR_GRPC_INVALID_ARGUMENT, "invalid request"},
    {ERANGE, 400, ERR_GRPC_INVALID_ARGUMENT, "value out of range"},
    {ENOENT, 404, ERR_GRPC_NOT_FOUND, "not found"},
    {EEXIST, 409, ERR_GRPC_ALREADY_EXISTS, "already exists"},
    {ESTALE, 412, ERR_GRPC_FAILED_PRECONDITION, "changed in the meantime"},
    {EMSGSIZE, 413, ERR_GRPC_RESOURCE_EXHAUSTED, "too large"},
    {EBUSY, 503, ERR_GRPC_UNAVAILABLE, "busy, try again"},
    {EAGAIN, 503, ERR_GRPC_UNAVAILABLE, "busy, try again"},
    {ENOBUFS, 503, ERR_GRPC_RESOURCE_EXHAUSTED, "too many requests are waiting"},
    {ENOSPC, 507, ERR_GRPC_RESOURCE_EXHAUSTED, "the store is full"},
    {EDQUOT, 507, ERR_GRPC_RESOURCE_EXHAUSTED, "the store is full"},
    {ETIMEDOUT, 504, ERR_GRPC_DEADLINE_EXCEEDED, "the deadline has passed"},
    {EINPROGRESS, 504, ERR_GRPC_DEADLINE_EXCEEDED, "the result is not known: it may have been done, or may yet be"},
    {ECONNREFUSED, 503, ERR_GRPC_UNAVAILABLE, "connection refused"},
    {ECONNRESET, 503, ERR_GRPC_UNAVAILABLE, "connection lost"},
    {EHOSTUNREACH, 503, ERR_GRPC_UNAVAILABLE, "peer unreachable"},
    {ENETUNREACH, 503, ERR_GRPC_UNAVAILABLE, "peer unreachable"},
    {EPIPE, 503, ERR_GRPC_UNAVAILABLE, "connection lost"},
    {ECANCELED, 499, ERR_GRPC_CANCELLED, "cancelled"},
    {ENOSYS, 501, ERR_GRPC_UNIMPLEMENTED, "not implemented"},
    {EACCES, 403, ERR_GRPC_PERMISSION_DENIED, "not allowed"},
    {EPERM, 403, ERR_GRPC_PERMISSION_DENIED, "not allowed"},
    {EBADMSG, 500, ERR_GRPC_DATA_LOSS, "damaged data"},
    {ENOMEM, 500, ERR_GRPC_INTERNAL, "out of memory"},
    {EIO, 500, ERR_GRPC_INTERNAL, "input/output error"},
    {EPROTO, 500, ERR_GRPC_INTERNAL, "unknown format"},
};

static const char *const grpc_names[] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

/* By RFC 9110 and its registry. */
static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t find(int err)
{
    size_t i = 0;

    while (i < COUNT(errors) && errors[i].err != abs(err))
        i++;
    return i;
}

int err_http_status(int err)
{
    size_t i = find(err);

    if (err == 0)
        return 200;
    return i < COUNT(errors) ? errors[i].http : 500;
}

enum err_grpc err_grpc_status(int err)
{
    size_t i = find(err);

    if (err == 0)
        return ERR_GRPC_OK;
    return i < COUNT(errors) ? errors[i].grpc : ERR_GRPC_INTERNAL;
}

int err_grpc_http_status(int grpc_status)
{
    static const int statuses[] = {
        [ERR_GRPC_OK] = 200,
        [ERR_GRPC_CANCELLED] = 499,
        [ERR_GRPC_UNKNOWN] = 500,
        [ERR_GRPC_INVALID_ARGUMENT] = 400,
        [ERR_GRPC_DEADLINE_EXCEEDED] = 504,
        [ERR_GRPC_NOT_FOUND] = 404,
        [ERR_GRPC_ALREADY_EXISTS] = 409,
        [ERR_GRPC_PERMISSION_DENIED] = 403,
        [ERR_GRPC_RESOURCE_EXHAUSTED] = 429,
        [ERR_GRPC_FAILED_PRECONDITION] = 400,
        [ERR_GRPC_ABORTED] = 409,
        [ERR_GRPC_OUT_OF_RANGE] = 400,
        [ERR_GRPC_UNIMPLEMENTED] = 404,
        [ERR_GRPC_INTERNAL] = 500,
        [ERR_GRPC_UNAVAILABLE] = 503,
        [ERR_GRPC_DATA_LOSS] = 500,
        [ERR_GRPC_UNAUTHENTICATED] = 401,
    };

    return grpc_status >= 0 && grpc_status < (int)COUNT(statuses) ? statuses[grpc_status] : 500;
}

int err_from_grpc(int grpc_status)
{
    if (grpc_status == ERR_GRPC_OK)
        return 0;
    if (grpc_status == ERR_GRPC_ABORTED)
        return -EAGAIN;
    if (grpc_status == ERR_GRPC_RESOURCE_EXHAUSTED)
        return -ENOBUFS;
    for (size_t i = 0; i < COUNT(errors); i++)
        if ((int)errors[i].grpc == grpc_status && grpc_status != ERR_GRPC_INTERNAL)
            return -errors[i].err;
    return -EIO;
}

const char *err_text(int err)
{
    size_t i = find(err);

    if (err == 0)
        return "success";
    return i < COUNT(errors) ? errors[i].text : "internal error";
}

const char *err_grpc_name(int grpc_status)
{
    if (grpc_status < 0 || (size_t)grpc_status >= COUNT(grpc_names))
        return "UNKNOWN";
    return grpc_names[grpc_status];
}

const char *err_http_reason(int http_status)
{
    for (size_t i = 0; i < COUNT(reasons); i++)
        if (reasons[i].status == http_status)
            return reasons[i].reason;
    return "";
}
