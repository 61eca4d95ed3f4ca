/* notes -- a REST server for notes whose data survives: HTTP in, a store at STORE_URL. */
#include "notes.h"
#include "notes_openapi.h"
#include "svc_store.h"

#define KEY_RETENTION_MS (24 * 3600 * 1000ULL)

static const struct http_route routes[] = {
    {"GET", "/v1/notes", notes_list, 0, NULL},
    {"POST", "/v1/notes", notes_create, NOTES_MAX_REQUEST, NULL},
    {"GET", "/v1/notes/{id}", notes_get, 0, NULL},
    {"PUT", "/v1/notes/{id}", notes_replace, NOTES_MAX_REQUEST, NULL},
    {"PATCH", "/v1/notes/{id}", notes_patch, NOTES_MAX_REQUEST, NULL, NOTES_PATCH_TYPE},
    {"DELETE", "/v1/notes/{id}", notes_delete, 0, NULL},
    HTTP_DESCRIPTION(notes_openapi_json),
    {0},
};

static int start(struct svc *svc, void *state)
{
    struct notes *notes = state;

    notes->log = svc_log(svc);
    if (idempotency_open(notes->store, IDEMPOTENCY_TABLE, KEY_RETENTION_MS, svc_metrics(svc), &notes->idempotency) < 0)
        return svc_fail(svc, "no memory or thread for idempotency keys");
    return 0;
}

static void stop(void *state)
{
    struct notes *notes = state;

    notes->idempotency = idempotency_free(notes->idempotency);
}

int main(int argc, char **argv)
{
    struct notes notes = {.tables = {[NOTES_TABLE] = note_table, [IDEMPOTENCY_TABLE] = idempotency_table}};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "notes",
                                      .summary = "a REST server for notes",
                                      .state = &notes,
                                      .store = SVC_STORE(notes.tables, NOTES_TABLES, &notes.store),
                                      .routes = routes,
                                      .start = start,
                                      .stop = stop});
}
