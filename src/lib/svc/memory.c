/* The memory limit of a process and its parts. */
#include "cgroup.h"
#include "svc_context.h"

void svc_memory_open(struct svc *svc)
{
    svc->memory_limit = (uint64_t)config_int(svc->config, "MEMORY_LIMIT_BYTES");
    if (svc->memory_limit == 0)
        svc->memory_limit = cgroup_memory_bytes();
    svc->memory.max = svc_memory_part(svc, MEMORY_CLIENTS);
}

size_t svc_memory_part(const struct svc *svc, enum memory_part part)
{
    return memory_part(svc->memory_limit, part);
}

size_t svc_memory_part_at_most(const struct svc *svc, enum memory_part part, size_t most)
{
    return memory_part_at_most(svc->memory_limit, part, most);
}

struct budget *svc_memory_budget(struct svc *svc)
{
    return &svc->memory;
}

static void read_used(void *arg)
{
    static const struct metrics_def used = {
        .name = "clients_memory_bytes",
        .help = "Memory that clients make the process hold: of its HTTP and gRPC servers and its HTTP clients.",
        .type = METRICS_GAUGE};
    struct svc *svc = arg;

    metrics_set(metrics_single(svc->metrics, &used), (double)budget_used(&svc->memory));
}

void svc_memory_report(struct svc *svc)
{
    static const struct metrics_def max = {.name = "memory_part_max_bytes",
                                           .help = "Bound of a part of the memory limit; 0: none.",
                                           .type = METRICS_GAUGE,
                                           .labels = {"part"}};
    static const struct metrics_def limit = {.name = "process_memory_limit_bytes",
                                             .help =
                                                 "What the process may take, of which parts are divided; 0: no limit.",
                                             .type = METRICS_GAUGE};
    struct metrics_family *family = metrics_family(svc->metrics, &max);

    for (unsigned part = 0; part < MEMORY_PARTS; part++)
        metrics_set(metrics_series(family, (const struct str[]){str_of(memory_parts[part].name)}),
                    (double)svc_memory_part(svc, part));
    metrics_set(metrics_single(svc->metrics, &limit), (double)svc->memory_limit);
    metrics_on_scrape(svc->metrics, read_used, svc);
}
