/* guide -- route-guide's rpcs: features out of a data set; what is asked for is saved to feature-store. */
#pragma once
#include "feature_set.h"
#include "route.h"
#include "routeguide.rpc_client.h"

/* All the state there is. Only read while calls are served. */
struct guide {
    struct route route; /* first: see route.h */
    struct feature_set *features;
    struct rpc_client *store;
    uint64_t store_timeout_ms;
    struct metrics_series *failed_saves;
};

extern const struct rpc_method guide_methods[];
/* struct route's lookup. */
void guide_lookup(struct rpc_call *call, struct geo_point point, route_found *found, void *arg);
