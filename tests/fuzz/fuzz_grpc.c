/* A whole gRPC service: HTTP/2 frames, our session over them, gRPC's framing, and feature-store's handlers. See
 * http2.h.
 */
#include "../../src/feature-store/feature_store.h"
#include "http2.h"
#include "routeguide.descriptors.h"

static struct feature_store fs = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};
static struct log *service;

static int serve(void)
{
    struct rpc_server_def def = {.methods = feature_store_methods,
                                 .descriptors = routeguide_descriptors,
                                 .descriptors_len = routeguide_descriptors_len,
                                 .state = &fs,
                                 .max_memory = 64 << 20};
    struct rpc_server *server;
    int port, fd = service_listen(&port);

    fs.tables[TABLE_SAVES] = saves_table;
    fs.tables[TABLE_IDEMPOTENCY] = idempotency_table;
    fs.store = service_store(fs.tables, TABLES);
    fs.route.lookup = feature_store_lookup;
    def.log = service = service_log();
    def.metrics = metrics_new();
    MUST((fs.route.chat = chat_new(1 << 20, NULL)) != NULL);
    MUST(idempotency_open(fs.store, TABLE_IDEMPOTENCY, 60000, NULL, &fs.idempotency) == 0);
    MUST(retention_open(fs.store, 2, 1000, NULL, &fs.retention) == 0);
    MUST(rpc_server_open(fd, &def, &server) == 0);
    rpc_server_set_serving(server, true);
    rpc_server_start(server);
    return port;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int port;

    if (port == 0)
        port = serve();
    http2_talk(port, data, size);
    service_check_log(service);
    return 0;
}
