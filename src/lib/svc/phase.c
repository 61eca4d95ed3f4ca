/* The phase of a process's life as metrics, for whoever shows or counts the replicas of a service. */
#include "clock.h"
#include "svc_context.h"
#include "svc_telemetry.h"

/* As shown: SHOWN_NOT_READY is SVC_READY while /readyz says otherwise. */
enum shown { SHOWN_STARTING, SHOWN_READY, SHOWN_DRAINING, SHOWN_STOPPED, SHOWN_NOT_READY, SHOWN };

static const char *const names[SHOWN] = {[SHOWN_STARTING] = "starting",
                                         [SHOWN_READY] = "ready",
                                         [SHOWN_DRAINING] = "draining",
                                         [SHOWN_STOPPED] = "stopped",
                                         [SHOWN_NOT_READY] = "not_ready"};

_Static_assert((int)SVC_READY == (int)SHOWN_READY && (int)SVC_STOPPED == (int)SHOWN_STOPPED, "a phase is one of them");

static enum shown shown_of(struct svc *svc)
{
    enum svc_phase phase = atomic_load(&svc->admin.phase);

    return phase == SVC_READY && !svc_admin_ready(&svc->admin) ? SHOWN_NOT_READY : (enum shown)phase;
}

/* At each scrape: whether the service is ready can change without anybody telling. One thread at a time. */
static void show(void *arg)
{
    static const struct metrics_def phases = {
        .name = "process_phase",
        .help =
            "1 for the phase that the process is in: starting, ready, not_ready (as /readyz says), draining, stopped.",
        .type = METRICS_GAUGE,
        .labels = {"phase"}};
    static const struct metrics_def since = {.name = "process_phase_start_time_seconds",
                                             .help = "When the phase of process_phase began, in seconds since 1970.",
                                             .type = METRICS_GAUGE};
    struct svc *svc = arg;
    struct metrics_family *family = metrics_family(svc->metrics, &phases);
    enum shown shown = shown_of(svc);

    if (svc->phase_shown == (int)shown)
        return;
    svc->phase_shown = (int)shown;
    for (unsigned i = 0; i < SHOWN; i++)
        metrics_set(metrics_series(family, (const struct str[]){str_of(names[i])}), i == (unsigned)shown);
    metrics_set(metrics_single(svc->metrics, &since), (double)clock_realtime_ns() / (double)CLOCK_NS_PER_S);
}

void svc_phase_open(struct svc *svc)
{
    svc->phase_shown = -1;
    metrics_on_scrape(svc->metrics, show, svc);
}

/* No scrape that began before goes on afterwards: once the process drains, nobody asks the service whether it is ready,
 * and it can stop. */
void svc_set_phase(struct svc *svc, enum svc_phase phase)
{
    atomic_store(&svc->admin.phase, phase);
    metrics_refresh(svc->metrics);
    svc_telemetry_export(svc);
}
