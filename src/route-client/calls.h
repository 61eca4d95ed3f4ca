/* calls -- the rpcs of a route guide, each made once and its answer checked.
 *
 * Threads: calls_start from any; done comes from a thread of the rpc client, exactly once, never from within
 * calls_start.
 */
#pragma once
#include "rpc_client.h"

/* In the order of a run; what comes behind is made only where it is asked for. */
enum calls_kind {
    CALLS_GET_FEATURE,
    CALLS_GET_NOTHING,
    CALLS_LIST_FEATURES,
    CALLS_RECORD_ROUTE,
    CALLS_ROUTE_CHAT,
    CALLS_OF_A_RUN,
    CALLS_SAVE_FEATURE = CALLS_OF_A_RUN,
    CALLS_KINDS
};

extern const char *const calls_methods[CALLS_KINDS]; /* the rpc's name */
/* Those that may be sent twice: for the retries of the client. */
extern const char *const calls_idempotent[];

struct calls_outcome {
    enum err_grpc code;
    bool wrong;     /* OK, but not the right answer */
    char text[300]; /* what came, or what went wrong: for people, one line */
};

static inline bool calls_failed(const struct calls_outcome *outcome)
{
    return outcome->code != ERR_GRPC_OK || outcome->wrong;
}

typedef void calls_done(void *arg, const struct calls_outcome *outcome);

struct calls_options {
    struct rpc_client *client;
    uint64_t timeout_ms;
};

/* 0, or -errno: done is not called then. options must outlive the call. */
int calls_start(enum calls_kind kind, const struct calls_options *options, calls_done *done, void *arg);
