/* notes -- a REST server for notes whose data survives: HTTP in, a store at STORE_URL. */
#include "notes.h"
#include "svc_store.h"

#define KEY_RETENTION_MS (24 * 3600 * 1000ULL)

static const struct config_option options[] = {
    SVC_STORE_OPTIONS,
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
    int r;

    notes->log = svc_log(svc);
    notes->tables[NOTES_TABLE] = note_table;
    notes->tables[IDEMPOTENCY_TABLE] = idempotency_table;
    r = svc_store_open(svc, notes->tables, NOTES_TABLES, &notes->store);
    if (r < 0)
        return r;
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

static bool ready(void *state)
{
    const struct notes *notes = state;

    return notes->store == NULL || store_ready(notes->store) == 0;
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
                                      .ready = ready,
                                      .healthy = healthy});
}
