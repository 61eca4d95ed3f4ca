/* countries -- the one request: GET /countries?user_id=ID. In the worker's thread, as all handlers. */
#pragma once
#include "http.h"
#include "http_client.h"

#define COUNTRIES_MAX_ANSWER 4096 /* bytes that users may answer */

struct countries {
    struct http_client *users;
    uint64_t timeout_ms; /* for an answer of users */
};

/* 400 for a missing, repeated or malformed id. Of users: 503 unreachable, 504 too late, 502 for what makes no sense. */
struct http_reply *countries_get(struct http_req *req);
