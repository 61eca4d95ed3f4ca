/* input -- what clients send: JSON notes and merge patches (RFC 7396), checked. Loop's or store's threads. */
#pragma once
#include "http.h"
#include "note.h"
#include <jansson.h>

/* All return NULL, or the problem to answer: 400 for what is not of the right form, 415, 422 for a note that breaks its
 * limits. */

/* The request's content, which must be of the type given and a JSON object, for the caller to release. */
struct http_reply *input_read(struct http_req *req, const char *content_type, json_t **ret_json);
/* A whole note out of json, from which it borrows its strings. Times and seq are 0. */
struct http_reply *input_note(json_t *json, struct note *ret_note);
/* Changes note by a merge patch: what it gets is borrowed from patch. */
struct http_reply *input_patch(json_t *patch, struct note *note);
