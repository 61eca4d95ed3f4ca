/* notes -- the service notes in this process. */
#pragma once
int notes_main(int argc, char **argv);
#define main notes_main /* its table of routes is wanted */
#include "../../src/notes/main.c"
#undef main
#include "service.h"

static inline struct notes *notes_open(void)
{
    static struct notes notes;

    notes.tables[NOTES_TABLE] = note_table;
    notes.tables[IDEMPOTENCY_TABLE] = idempotency_table;
    notes.store = service_store(notes.tables, NOTES_TABLES);
    notes.log = service_log();
    MUST(idempotency_open(notes.store, IDEMPOTENCY_TABLE, KEY_RETENTION_MS, NULL, &notes.idempotency) == 0);
    return &notes;
}

/* Serves for as long as the process lives. */
static inline int notes_serve(struct notes *notes)
{
    struct http_server_def def = {.name = "fuzz", .routes = routes, .state = notes, .log = notes->log, .workers = 1};
    struct http_server *server;
    int port, fd = service_listen(&port);

    def.metrics = metrics_new();
    MUST(http_server_open(fd, &def, &server) == 0);
    http_server_start(server);
    return port;
}
