/* notes -- a REST server for notes whose data survives: HTTP in, a store at STORE_URL. */
#include "notes.h"
#include "svc.h"

#define KEY_RETENTION_MS (24 * 3600 * 1000ULL)

static const struct config_option options[] = {
    {"STORE_URL", "lmdb:///data",
     .help = "where the data is: lmdb:///DIR; etcd://HOST:PORT[,HOST:PORT...]/PREFIX[?view=DIR] for several replicas"},
    {"STORE_MAX_BYTES", "16Gi", CONFIG_BYTES, 1 << 20, 1LL << 46, .unit = "bytes", .help = "bound on the data"},
    {0},
};

static const struct http_route routes[] = {
    {"GET", "/v1/notes", notes_list, 0, NULL},
    {"POST", "/v1/notes", notes_create, NOTES_MAX_REQUEST, NULL},
    {"GET", "/v1/notes/{id}", notes_get, 0, NULL},
    {"PUT", "/v1/notes/{id}", notes_replace, NOTES_MAX_REQUEST, NULL},
    {"PATCH", "/v1/notes/{id}", notes_patch, NOTES_MAX_REQUEST, NULL},
    {"DELETE", "/v1/notes/{id}", notes_delete, 0, NULL},
    {"GET", "/openapi.json", notes_openapi, 0, NULL},
    {0},
};

static int start(struct svc *svc, void *state)
{
    struct notes *notes = state;
    char error[512];

    notes->log = svc_log(svc);
    notes->tables[NOTES_TABLE] = note_table;
    notes->tables[IDEMPOTENCY_TABLE] = idempotency_table;
    if (store_open(&(struct store_options){.url = config_string(svc_config(svc), "STORE_URL"),
                                           .tables = notes->tables,
                                           .table_count = NOTES_TABLES,
                                           .max_bytes = (uint64_t)config_int(svc_config(svc), "STORE_MAX_BYTES"),
                                           .metrics = svc_metrics(svc)},
                   &notes->store, error, sizeof(error)) < 0)
        return svc_fail(svc, "%s", error);
    if (idempotency_open(notes->store, IDEMPOTENCY_TABLE, KEY_RETENTION_MS, svc_metrics(svc), &notes->idempotency) < 0)
        return svc_fail(svc, "no memory or thread for idempotency keys");
    return 0;
}

static void stop(void *state)
{
    struct notes *notes = state;

    notes->idempotency = idempotency_free(notes->idempotency);
    notes->store = store_close(notes->store);
}

static bool healthy(void *state)
{
    const struct notes *notes = state;

    return notes->store == NULL || store_health(notes->store) == 0;
}

int main(int argc, char **argv)
{
    struct notes notes = {.store = NULL};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "notes",
                                      .summary = "a REST server for notes",
                                      .state = &notes,
                                      .options = options,
                                      .routes = routes,
                                      .start = start,
                                      .stop = stop,
                                      .ready = healthy,
                                      .healthy = healthy});
}
