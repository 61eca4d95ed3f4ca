/* svc_store -- the store of a service, at the address that its options name. */
#pragma once
#include "config.h"
#include "names.h"
#include "store.h"
#include "svc.h"

/* For the service's table of options. */
/* clang-format off */
#define SVC_STORE_OPTIONS                                                                                              \
    {.name = "STORE_URL", .value = "lmdb:///data",                                                                     \
     .help = "location of the data: lmdb:///DIR; etcd://HOST:PORT[,HOST:PORT...]/PREFIX[?view=DIR] for replicas",      \
     .check = store_check_url},                                                                                        \
    {.name = "STORE_MAX_BYTES", .value = "16Gi", .kind = CONFIG_BYTES, .min = 1 << 20, .max = 1LL << 46,               \
     .help = "largest size of the data"}
/* clang-format on */

#define SVC_STORE(tables_, count_, store_)                                                                             \
    (&(const struct svc_store){.engine = &svc_store_engine, .tables = (tables_), .count = (count_), .store = (store_)})

/* What svc needs of a store without linking one into services that have none. */
struct svc_store_engine {
    const struct config_option *options;
    int (*open)(struct svc *svc, const struct store_table *tables, size_t count, struct store **ret_store);
    struct store *(*close)(struct store *store);
    int (*ready)(const struct store *store);
    int (*healthy)(const struct store *store);
};
extern const struct svc_store_engine svc_store_engine;

/* For services that open it themselves, in start. The tables must live as long as the store. 0, or what svc_fail
 * returned. */
int svc_store_open(struct svc *svc, const struct store_table *tables, size_t count, struct store **ret_store);
