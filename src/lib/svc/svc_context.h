/* svc_context -- a process, as the files of svc see it. */
#pragma once
#include "acceptor.h"
#include "budget.h"
#include "include/names.h"
#include "otlp.h"
#include "svc_admin.h"
#include "svc_descriptors.h"
#include "svc_server.h"

struct svc {
    const struct svc_def *def;
    struct config *config;
    struct log *log;
    struct metrics *metrics;
    struct otlp *exporters[OTLP_SIGNALS]; /* NULL: nothing of the kind is sent */
    struct svc_admin admin;
    int phase_shown; /* phase.c's; -1: none yet */
    struct svc_server servers[SVC_MAX_SERVERS];
    unsigned server_count;
    struct http_server *admin_http;
    struct http_auth *auth; /* of all servers, so that a token's rate bounds the process; NULL: everybody may call */
    unsigned workers;
    uint64_t memory_limit; /* bytes; 0: none */
    struct budget memory;  /* of all clients */
    struct svc_descriptors descriptors;
    struct acceptor_address_bound address_bound;
    char error[1024];
};

/* memory.c: the limit, by the option or of the cgroup; then, with metrics, what its parts are. */
void svc_memory_open(struct svc *svc);
void svc_memory_report(struct svc *svc);
/* phase.c: makes the gauges that tell the phase, which is SVC_STARTING; then changes it, and exports metrics at once.
 */
void svc_phase_open(struct svc *svc);
void svc_set_phase(struct svc *svc, enum svc_phase phase);
/* Binds the port that the option names; protocol is for the log. */
int svc_listen_on(struct svc *svc, const char *protocol, const char *option, int *ret_fd);
