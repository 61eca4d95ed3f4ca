/* http_auth -- who may call, and how often: bearer tokens (RFC 6750) that a file names by their SHA-256.
 *
 * A line a client: NAME SHA256 RATE, separated by one space each. NAME: 1 to 64 of [A-Za-z0-9_-], for people; SHA256:
 * of the token, 64 lower-case hex digits, on one line only; RATE: requests a second, 1 to 1,000,000, of which a
 * second's worth may come at once. It bounds this process: N replicas let N times as many through. Empty lines and
 * those that begin with # say nothing. 1,000 clients and 256 KiB at most.
 *
 * The file holds nothing that lets anybody in, but a token that can be guessed can be found from it: make tokens by
 * `openssl rand -hex 32`. It is read once; who changes it restarts the service.
 */
#pragma once
#include "buf.h"
#include "names.h"
#include <stdbool.h>
#include <stdint.h>

struct http_auth;
struct http_reply;

/* 0 or -errno. -EINVAL: *ret_line (from 1) is not as above; -EFBIG: too many lines or bytes; else what reading the file
 * gave. *ret_line is 0 where no line is at fault. */
int http_auth_open(const char *path, struct http_auth **ret_auth, unsigned *ret_line);
struct http_auth *http_auth_free(struct http_auth *auth); /* returns NULL */
/* Whether a token of the file is in this Authorization header. It counts towards no rate. Any thread. */
bool http_auth_knows(struct http_auth *auth, struct str authorization);
/* Whether a request with this Authorization header (STR_NULL: none) may go on. If not, *ret_reply says so: 401 with
 * WWW-Authenticate, or 429 with Retry-After; NULL out of memory. Any thread. */
bool http_auth_admits(struct http_auth *auth, struct str authorization, uint64_t now_ns, struct http_reply **ret_reply);
