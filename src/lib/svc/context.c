/* What the parts of a process ask of it: its options, log, metrics and listening sockets. */
#include "http_auth.h"
#include "net_listen.h"
#include "svc_context.h"
#include <errno.h>
#include <stdio.h>

const struct config *svc_config(const struct svc *svc)
{
    return svc->config;
}

struct metrics *svc_metrics(const struct svc *svc)
{
    return svc->metrics;
}

struct log *svc_log(const struct svc *svc)
{
    return svc->log;
}

unsigned svc_workers(const struct svc *svc)
{
    return svc->workers;
}

const struct svc_def *svc_definition(const struct svc *svc)
{
    return svc->def;
}

unsigned svc_max_connections(const struct svc *svc)
{
    unsigned wanted = (unsigned)config_int(svc->config, "MAX_CONNECTIONS");

    return wanted < svc->descriptors.share ? wanted : svc->descriptors.share;
}

const struct acceptor_address_bound *svc_address_bound(const struct svc *svc)
{
    return &svc->address_bound;
}

unsigned svc_max_lingering(const struct svc *svc)
{
    return svc->descriptors.lingering;
}

int svc_fail(struct svc *svc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(svc->error, sizeof(svc->error), format, args);
    va_end(args);
    return -EINVAL;
}

int svc_listen_on(struct svc *svc, const char *protocol, const char *option, int *ret_fd)
{
    const char *host = config_string(svc->config, "BIND_ADDRESS");
    int wanted = (int)config_int(svc->config, option), port, r;

    r = net_listen(host, wanted, ret_fd, &port);
    if (r != 0) {
        svc_fail(svc, "cannot listen on %s port %d (%s): %s", host, wanted, option, strerror(-r));
        return r;
    }
    log_fields_always(
        svc->log, LOG_INFO, NULL, "listening",
        (struct log_field[]){LOG_CSTR("protocol", protocol), LOG_CSTR("address", host), LOG_INT("port", port)}, 3);
    return 0;
}

int svc_listen(struct svc *svc, const struct svc_server_type *type, int *ret_fd)
{
    return svc_listen_on(svc, type->protocol, type->options[0].name, ret_fd);
}

struct loop *svc_worker_loop(const struct svc *svc, unsigned worker)
{
    for (unsigned i = 0; i < svc->server_count; i++)
        if (svc->servers[i].server != NULL && svc->servers[i].type->loop != NULL)
            return svc->servers[i].type->loop(svc->servers[i].server, worker);
    return NULL;
}

static int open_auth(struct svc *svc, struct http_auth **ret_auth)
{
    const char *path = config_string(svc->config, "AUTH_TOKENS_FILE");
    unsigned line = 0;
    int r = path[0] == '\0' ? 0 : http_auth_open(path, ret_auth, &line);

    if (r < 0 && line > 0)
        return svc_fail(svc, "AUTH_TOKENS_FILE=%s: line %u is not NAME SHA256 RATE, or a token's second", path, line);
    return r < 0 ? svc_fail(svc, "AUTH_TOKENS_FILE=%s: %s", path, strerror(-r)) : 0;
}

int svc_open_auth(struct svc *svc, struct http_auth **ret_auth)
{
    int r = svc->auth == NULL ? open_auth(svc, &svc->auth) : 0;

    if (r == 0)
        *ret_auth = svc->auth;
    return r;
}

int svc_check_auth(struct svc *svc)
{
    struct http_auth *auth = NULL;
    int r = open_auth(svc, &auth);

    http_auth_free(auth);
    return r;
}
