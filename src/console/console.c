#include "console.h"
#include "clock.h"
#include <math.h>

/* Parts of what may be kept, of 16. Replicas, services and flows are bounded in number alone: they take up to 6.5 MB,
 * which may be more than the rest. */
enum { TRACES_PART = 9, LINES_PART = 4 };

#define SLOW_SHARE 0.99
#define SLOW_MS    5 /* nothing below is called slow */

int console_open(struct console *console, size_t max_memory)
{
    int r;

    pthread_mutex_init(&console->lock, NULL);
    console->is_open = true;
    console->max_memory = max_memory;
    r = traces_open(&console->traces, max_memory / 16 * TRACES_PART);
    if (r == 0)
        r = lines_open(&console->lines, max_memory / 16 * LINES_PART);
    return r == 0 ? fleet_open(&console->fleet) : r;
}

void console_close(struct console *console)
{
    if (!console->is_open)
        return;
    traces_release(&console->traces);
    lines_release(&console->lines);
    fleet_release(&console->fleet);
    pthread_mutex_destroy(&console->lock);
    console->is_open = false;
}

uint64_t console_now_ms(void)
{
    return clock_realtime_ns() / CLOCK_NS_PER_MS;
}

size_t console_used(const struct console *console)
{
    return console->traces.used + console->lines.used + console->fleet.used;
}

static void end_second(struct console_rate *rate)
{
    rate->last = rate->now;
    rate->now = 0;
}

/* The slowest of a hundred requests are kept, as errors are. */
static void find_slow(struct console *console)
{
    struct latency all = {{0}};
    double slow_ms;

    for (unsigned i = 0; i < console->fleet.replica_count; i++) {
        struct latency latency = fleet_window_latency(&console->fleet.replicas[i]->window);

        latency_merge(&all, &latency);
    }
    slow_ms = latency_quantile_ms(&all, SLOW_SHARE);
    console->traces.slow_ns =
        isnan(slow_ms) ? UINT64_MAX : (uint64_t)((slow_ms > SLOW_MS ? slow_ms : SLOW_MS) * CLOCK_NS_PER_MS);
}

void console_tick(struct console *console, uint64_t now_ms)
{
    end_second(&console->spans);
    end_second(&console->records);
    end_second(&console->points);
    fleet_tick(&console->fleet, now_ms);
    find_slow(console);
    traces_tick(&console->traces, now_ms);
}
