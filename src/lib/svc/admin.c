#include "clock.h"
#include "svc_admin.h"
#include "svc_store.h"

/* A loop turns at least once a second. One that has not for this long is stuck: only a restart helps. */
#define STUCK_NS (30 * CLOCK_NS_PER_S)

static struct http_reply *plain(int status, const char *text)
{
    return http_reply_text(status, "text/plain; charset=utf-8", str_of(text));
}

static bool loops_turn(const struct svc_admin *admin)
{
    for (unsigned i = 0; i < admin->server_count; i++) {
        const struct svc_server *one = &admin->servers[i];

        if (one->type->last_turn_ns != NULL && clock_monotonic_ns() >= one->type->last_turn_ns(one->server) + STUCK_NS)
            return false;
    }
    return true;
}

static bool is_healthy(const struct svc_admin *admin)
{
    const struct svc_store *store = admin->def->store;

    return (store == NULL || store->engine->healthy(*store->store) == 0) &&
           (admin->def->healthy == NULL || admin->def->healthy(admin->def->state));
}

bool svc_admin_ready(void *arg)
{
    const struct svc_admin *admin = arg;
    const struct svc_store *store = admin->def->store;

    return (store == NULL || store->engine->ready(*store->store) == 0) &&
           (admin->def->ready == NULL || admin->def->ready(admin->def->state));
}

static struct http_reply *healthz(struct http_req *req)
{
    struct svc_admin *admin = req->state;

    if (!loops_turn(admin))
        return plain(503, "an event loop is stuck\n");
    /* While start runs, the state is its alone. */
    if (atomic_load(&admin->phase) != SVC_STARTING && !is_healthy(admin))
        return plain(503, "needs a restart\n");
    return plain(200, "ok\n");
}

static struct http_reply *readyz(struct http_req *req)
{
    struct svc_admin *admin = req->state;

    switch (atomic_load(&admin->phase)) {
    case SVC_STARTING:
        return plain(503, "starting\n");
    case SVC_DRAINING:
    case SVC_STOPPED:
        return plain(503, "draining\n");
    case SVC_READY:
        break;
    }
    if (!svc_admin_ready(admin))
        return plain(503, "not ready\n");
    return plain(200, "ready\n");
}

/* Prometheus asks for OpenMetrics first, where it wants it. Who accepts anything gets text. */
static bool wants_openmetrics(struct str accept)
{
    int open = 0, text = 0, *weight;
    struct str item, type;

    while (accept.s != NULL && str_next(&accept, ',', &item)) {
        str_next(&item, ';', &type);
        type = str_trim(type);
        weight = str_caseeq(type, STR("application/openmetrics-text")) ? &open
                 : str_caseeq(type, STR("text/plain"))                 ? &text
                                                                       : NULL;
        if (weight != NULL && http_weight(item) > *weight)
            *weight = http_weight(item);
    }
    return open > 0 && open >= text;
}

struct http_reply *svc_metrics_page(struct metrics *metrics, const struct http_req *req)
{
    bool open = wants_openmetrics(http_header(req, "accept"));
    struct buf page = {0};

    if (open)
        metrics_write_openmetrics(metrics, &page);
    else
        metrics_write(metrics, &page);
    if (buf_error(&page) != 0) {
        buf_release(&page);
        return http_problem(500, "out of memory");
    }
    return http_set_header(http_reply_take(200,
                                           open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                                : "text/plain; version=0.0.4; charset=utf-8",
                                           &page),
                           "vary", "accept");
}

static struct http_reply *metrics_page(struct http_req *req)
{
    struct svc_admin *admin = req->state;

    return svc_metrics_page(admin->metrics, req);
}

static struct http_reply *log_level(struct http_req *req)
{
    struct svc_admin *admin = req->state;

    return plain(200, log_severity_name(log_least(admin->log)));
}

/* From the pod itself, as kubectl port-forward is, or from this machine: who may scrape need not be able to fill disks.
 */
static bool is_from_here(const struct http_req *req)
{
    struct str peer = http_peer(req);

    return str_eq(peer, STR("::1")) || (peer.len > 4 && memcmp(peer.s, "127.", 4) == 0);
}

static struct http_reply *set_log_level(struct http_req *req)
{
    struct svc_admin *admin = req->state;
    enum log_severity level;

    if (!is_from_here(req))
        return http_problem(403, "the log level is set over loopback only");
    if (log_severity_parse(req->body, &level) != 0)
        return http_problem(400, "the body must be debug, info, notice, warning, error or critical");
    svc_set_log_level(admin->log, level);
    return http_reply_new(204);
}

/* Who may scrape metrics need not see what clients ask. */
static struct http_reply *in_flight(struct http_req *req)
{
    struct svc_admin *admin = req->state;

    if (!is_from_here(req))
        return http_problem(403, "requests in flight are shown over loopback only");
    if (atomic_load(&admin->phase) == SVC_STARTING)
        return http_problem(503, "the service is starting");
    return svc_in_flight_reply(&admin->in_flight, admin->servers, admin->server_count, admin->workers, req);
}

static struct http_reply *config(struct http_req *req)
{
    struct svc_admin *admin = req->state;
    struct buf body = {0};

    if (!is_from_here(req))
        return http_problem(403, "the configuration is shown over loopback only");
    config_describe(admin->config, &body);
    buf_append_char(&body, '\n');
    if (buf_error(&body) == 0)
        return http_reply_take(200, "application/json", &body);
    buf_release(&body);
    return http_problem(500, "out of memory");
}

void svc_set_log_level(struct log *log, enum log_severity level)
{
    log_set_least(log, level);
    log_fields_always(log, LOG_NOTICE, NULL, "log level",
                      (struct log_field[]){LOG_CSTR("level", log_severity_name(level))}, 1);
}

const struct http_route svc_admin_routes[] = {
    {.method = "GET", .path = "/healthz", .handler = healthz, .always = true},
    {.method = "GET", .path = "/readyz", .handler = readyz, .always = true},
    {.method = "GET", .path = "/metrics", .handler = metrics_page},
    {.method = "GET", .path = "/log-level", .handler = log_level},
    {.method = "PUT", .path = "/log-level", .handler = set_log_level, .max_body = 16},
    {.method = "GET", .path = "/in-flight", .handler = in_flight},
    {.method = "GET", .path = "/config", .handler = config},
    {0},
};
