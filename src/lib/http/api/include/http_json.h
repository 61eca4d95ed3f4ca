/* http_json -- requests and replies with JSON bodies, by tables of fields (field.h).
 *
 * What is wrong with a request is a problem response that names the field: 415 (the content is not of the type that it
 * should be), 400 (not JSON, not an object, an unknown field, a field of another type), 422 (a limit is broken, or a
 * number is missing), 500 (out of memory). Loop's thread, except for http_json_take and http_json_reply: any thread.
 */
#pragma once
#include "field.h"
#include "http.h"
#include "names.h"

struct json_t;
struct json_error_t;

/* json_loadb of jansson, which does not tell errors of syntax from want of memory: 0, -EINVAL with *ret_error, or
 * -ENOMEM. Any thread. Nothing else may set jansson's allocation functions. */
int http_json_load(struct str text, size_t flags, struct json_t **ret_json, struct json_error_t *ret_error);

/* Fills message, which must have its initial values, from the request's body. Its strings are request memory: valid
 * until the handler returns. NULL, or the problem to return. */
struct http_reply *http_json_read(struct http_req *req, const struct fields *fields, void *message);
/* The same in two steps: for handlers that keep the JSON for longer, or that read a merge patch (RFC 7396). ret_json is
 * an object, the caller's to release. */
struct http_reply *http_json_parse(struct http_req *req, const char *content_type, struct json_t **ret_json);
/* Fills message from json, from which it borrows its strings, and checks all limits. A patch changes the message, and
 * null empties a field. */
struct http_reply *http_json_take(const struct json_t *json, const struct fields *fields, bool patch, void *message);

/* The fields of message as a JSON object. */
struct http_reply *http_json_reply(int status, const struct fields *fields, const void *message);
