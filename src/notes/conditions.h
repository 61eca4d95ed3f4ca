/* conditions -- entity tags and the preconditions of RFC 9110: If-Match and If-None-Match. A note's tag is strong and
 * names its seq. Values only. */
#pragma once
#include "http.h"

#define CONDITIONS_MAX_TAGS 16

struct condition {
    bool given, any; /* any: "*" */
    unsigned count;
    uint64_t seqs[CONDITIONS_MAX_TAGS];
};

struct conditions {
    struct condition match, none_match;
};

/* Of a request; NULL, or the problem to answer (400: malformed, or too many tags). */
struct http_reply *conditions_read(struct http_req *req, struct conditions *ret_conditions);
/* What a representation of that seq does to them: 0: go on; 304 (GET only: none_match names it) or 412. */
int conditions_check(const struct conditions *conditions, uint64_t seq, bool is_get);
