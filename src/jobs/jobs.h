/* jobs -- when scheduled jobs last began and last succeeded, kept in a store of its own: store-tool records it,
 * upkeep reports it to Prometheus. A job that fails records nothing, so what is missing tells of it. */
#pragma once
#include "store.h"

#define JOBS_MAX_NAME 63 /* bytes: a Kubernetes name */

extern const struct store_table jobs_table; /* the only one of its store */

enum jobs_event { JOBS_BEGUN, JOBS_SUCCEEDED };

/* Records that it happens now. Blocks, 30 s at most. 0, -EINVAL (the name must be 1 to 63 of a-z, 0-9 and -), or what
 * store_write says. */
int jobs_record(struct store *store, struct str job, enum jobs_event event);

/* Calls each for every time that is recorded, in no particular order; job is valid during the call. 0 or what reading
 * says. Takes what the view has, however old. Blocks for 200 ms at most, and only while etcd has not answered since the
 * store was opened. */
typedef void jobs_visitor(void *arg, struct str job, enum jobs_event event, uint64_t unix_seconds);
int jobs_visit(struct store *store, jobs_visitor *visit, void *arg);
