/* svc_admin -- the routes of the admin listener: /healthz, /readyz, /metrics, /log-level, and over loopback only
 * /in-flight and /config. Their state is a struct svc_admin. */
#pragma once
#include "config.h"
#include "http.h"
#include "include/names.h"
#include "svc_in_flight.h"
#include "svc_server.h"
#include <stdatomic.h>

enum svc_phase { SVC_STARTING, SVC_READY, SVC_DRAINING, SVC_STOPPED };

struct svc_admin {
    const struct svc_def *def;
    struct metrics *metrics;
    struct log *log;
    const struct svc_server *servers; /* whose loops are watched */
    unsigned server_count;
    _Atomic(enum svc_phase) phase;
    const struct config *config;
    unsigned workers; /* of each server */
    struct svc_in_flight in_flight;
};

extern const struct http_route svc_admin_routes[];
/* Also says so in the log, whatever the level; any thread. */
void svc_set_log_level(struct log *log, enum log_severity level);
/* What the service and its store say of being ready; any thread, after start has returned. */
bool svc_admin_ready(void *admin);
