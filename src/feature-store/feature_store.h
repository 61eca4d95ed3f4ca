/* feature_store -- feature-store's rpcs: features are saved durably and read back. */
#pragma once
#include "idempotency.h"
#include "retention.h"
#include "route.h"
#include "rpc_store.h"
#include "saves.h"
#include <pthread.h>

/* All the state there is. */
struct feature_store {
    struct route route; /* first: see route.h */
    struct store_table tables[TABLES];
    struct store *store;
    struct idempotency *idempotency;
    struct retention *retention;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t idle;
    unsigned in_use; /* by what may outlive its call: the store answers in its own time */
};

extern const struct rpc_method feature_store_methods[];
/* struct route's lookup. */
void feature_store_lookup(struct rpc_call *call, struct geo_point point, route_found *found, void *arg);

/* ---- for the handlers ---- */

void feature_store_get(struct rpc_call *call, const Routeguide__Point *message);
void feature_store_save(struct rpc_call *call, const Routeguide__Feature *message);
void feature_store_list(struct rpc_call *call, const Routeguide__Rectangle *message);
void feature_store_list_writable(struct rpc_call *call);
void feature_store_list_close(struct rpc_call *call);
void feature_store_history(struct rpc_call *call, const Routeguide__ListSavesRequest *request);

/* Whatever waits for the store holds it open in between. */
struct feature_store *feature_store_enter(struct rpc_call *call);
void feature_store_leave(struct feature_store *fs);
void feature_store_wait_idle(struct feature_store *fs); /* after the last call has ended; bounded by their deadlines */
