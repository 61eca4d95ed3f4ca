#include "options.h"

const char *const sim_fault_names[FAULTS] = {
    [FAULT_CUT_LINK] = "cut-link",
    [FAULT_CUT_MEMBERS] = "cut-members",
    [FAULT_KILL_MEMBER] = "kill-member",
    [FAULT_ELECT] = "elect",
    [FAULT_STALL_MEMBER] = "stall-member",
    [FAULT_HOLD_WATCHES] = "hold-watches",
    [FAULT_BREAK_STREAM] = "break-stream",
    [FAULT_COMPACT] = "compact",
    [FAULT_FULL] = "full",
    [FAULT_RESTORE] = "restore",
    [FAULT_CRASH] = "crash",
    [FAULT_REBOOT] = "reboot",
    [FAULT_RESTART] = "restart",
    [FAULT_PAUSE] = "pause",
    [FAULT_CLOCK] = "clock",
};

/* One in two seeds has a rate at all, so that faults also come alone. */
static unsigned draw_rate(unsigned most)
{
    return sim_chance(500) ? 0 : (unsigned)sim_between(1, most);
}

struct sim_options sim_options_draw(void)
{
    struct sim_options options = {
        .replicas = (unsigned)sim_between(1, 3),
        .clients = (unsigned)sim_between(2, 6),
        .faulty_ns = sim_between(2, 8) * CLOCK_NS_PER_S,
        .think_ns = sim_between(5, 150) * CLOCK_NS_PER_MS,
        .bump = sim_chance(300) ? 0 : 1000000000,
        .value_bytes = sim_chance(200) ? 4000 : 100,
        .preemption = sim_chance(200) ? 0 : (unsigned)sim_between(1, 300),
        .network = {.delay_ns = sim_between(100, 5000) * 1000, .late_ns = sim_between(50, 5000) * CLOCK_NS_PER_MS},
        .cluster = {.members = sim_chance(250) ? 1 : 3,
                    .quota = 2ULL << 30,
                    .tells_quota = sim_chance(500),
                    .fragment_bytes = sim_chance(500) ? 2u << 20 : (size_t)sim_between(64, 2000),
                    .commit_ns = sim_between(100, 10000) * 1000,
                    .apply_ns = sim_between(100, 10000) * 1000,
                    .slow_apply_ns = sim_between(10, 1500) * CLOCK_NS_PER_MS},
    };

    options.network.late = draw_rate(50);
    options.network.lose_request = draw_rate(50);
    options.network.lose_answer = draw_rate(50);
    options.network.spurious = draw_rate(20);
    options.cluster.slow_per_mille = draw_rate(100);
    for (unsigned i = 0; i < FAULTS; i++)
        options.fault_ns[i] = sim_chance(650) ? 0 : sim_between(300, 4000) * CLOCK_NS_PER_MS;
    return options;
}
