#include "load.h"
#include "clock.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct load {
    const struct load_options *options;
    struct load_result *result;
    int idle_fd; /* readable when no call is in flight any more */
    pthread_mutex_t lock;
    uint64_t started, ended, failed;
    unsigned in_flight;
    bool stopped;
};

/* One of the calls that are made at the same time. */
struct slot {
    struct load *load;
    enum calls_kind kind;
    uint64_t begun_ns;
};

/* ---- in the client's threads ---- */

static void count(struct load *load, enum calls_kind kind, const struct calls_outcome *outcome, uint64_t latency_ns)
{
    struct load_stats *stats = &load->result->by_kind[kind == CALLS_GET_NOTHING ? CALLS_GET_FEATURE : kind];

    stats->calls++;
    stats->statuses[outcome->code < LOAD_STATUSES ? outcome->code : ERR_GRPC_UNKNOWN]++;
    stats->wrong += outcome->code == ERR_GRPC_OK && outcome->wrong;
    histogram_add(&stats->latency_ns, latency_ns);
    load->ended++;
    if (!calls_failed(outcome))
        return;
    stats->failed++;
    if (load->failed++ == 0) {
        load->result->first_failed_kind = kind;
        load->result->first_failure = *outcome;
    }
}

/* Takes the next call of a slot. False: there is none, and the slot has ended. */
static bool take(struct slot *slot)
{
    struct load *load = slot->load;
    const struct load_options *options = load->options;
    bool taken;

    pthread_mutex_lock(&load->lock);
    taken = !load->stopped && (options->limit == 0 || load->started < options->limit);
    if (taken)
        slot->kind = options->kinds[load->started++ % options->kind_count];
    else if (--load->in_flight == 0)
        eventfd_write(load->idle_fd, 1);
    pthread_mutex_unlock(&load->lock);
    return taken;
}

static void on_done(void *arg, const struct calls_outcome *outcome);

static void end_call(struct slot *slot, const struct calls_outcome *outcome)
{
    uint64_t latency_ns = clock_monotonic_ns() - slot->begun_ns;

    pthread_mutex_lock(&slot->load->lock);
    count(slot->load, slot->kind, outcome, latency_ns);
    pthread_mutex_unlock(&slot->load->lock);
}

/* Starts the next call. One that cannot be started is one that has failed. */
static void go_on(struct slot *slot)
{
    while (take(slot)) {
        struct calls_outcome outcome = {0};
        int r;

        slot->begun_ns = clock_monotonic_ns();
        r = calls_start(slot->kind, &slot->load->options->calls, on_done, slot);
        if (r == 0)
            return;
        outcome.code = err_grpc_status(r);
        snprintf(outcome.text, sizeof(outcome.text), "%s", err_text(r));
        end_call(slot, &outcome);
    }
}

static void on_done(void *arg, const struct calls_outcome *outcome)
{
    end_call(arg, outcome);
    go_on(arg);
}

/* ---- in the caller's thread ---- */

static void stop(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->stopped = true;
    pthread_mutex_unlock(&load->lock);
}

static void show_progress(struct load *load, uint64_t elapsed_ns, uint64_t *last_ended)
{
    uint64_t ended, failed;

    pthread_mutex_lock(&load->lock);
    ended = load->ended;
    failed = load->failed;
    pthread_mutex_unlock(&load->lock);
    fprintf(stderr, "\r%4.0f s  %llu calls  %llu failed  %llu/s\033[K", (double)elapsed_ns / CLOCK_NS_PER_S,
            (unsigned long long)ended, (unsigned long long)failed, (unsigned long long)(ended - *last_ended));
    *last_ended = ended;
}

static int ms_until(uint64_t then_ns)
{
    uint64_t now = clock_monotonic_ns();

    return then_ns > now ? (int)((then_ns - now) / CLOCK_NS_PER_MS + 1) : 0;
}

/* The next signal ends the process. */
static void heed_signal(struct load *load, struct pollfd *signal)
{
    struct signalfd_siginfo info;
    sigset_t set;

    if (read(signal->fd, &info, sizeof(info)) < 0)
        return;
    stop(load);
    signal->fd = -1;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Until no call is in flight any more. */
static void wait_for_end(struct load *load, int signal_fd, uint64_t begun_ns)
{
    const struct load_options *options = load->options;
    uint64_t end_ns = options->duration_ns ? begun_ns + options->duration_ns : UINT64_MAX;
    uint64_t tick_ns = begun_ns + CLOCK_NS_PER_S, last_ended = 0;
    struct pollfd fds[2] = {{.fd = load->idle_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

    while (!fds[0].revents) {
        uint64_t now;

        poll(fds, 2, ms_until(tick_ns < end_ns ? tick_ns : end_ns));
        now = clock_monotonic_ns();
        if (fds[1].revents)
            heed_signal(load, &fds[1]);
        if (now >= end_ns) {
            stop(load);
            end_ns = UINT64_MAX;
        }
        if (now >= tick_ns) {
            tick_ns += CLOCK_NS_PER_S;
            if (options->progress)
                show_progress(load, now - begun_ns, &last_ended);
        }
    }
    pthread_mutex_lock(&load->lock); /* whoever said so is still holding it */
    pthread_mutex_unlock(&load->lock);
    if (options->progress)
        fputs("\r\033[K", stderr);
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void run(struct load *load, struct slot *slots, int signal_fd)
{
    unsigned concurrency = load->options->concurrency;
    uint64_t begun_ns = clock_monotonic_ns();

    load->in_flight = concurrency;
    for (unsigned i = 0; i < concurrency; i++) {
        slots[i].load = load;
        go_on(&slots[i]);
    }
    wait_for_end(load, signal_fd, begun_ns);
    load->result->elapsed_ns = clock_monotonic_ns() - begun_ns;
}

int load_run(const struct load_options *options, struct load_result *ret_result)
{
    struct load load = {.options = options, .result = ret_result, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct slot *slots = calloc(options->concurrency, sizeof(*slots));
    int r = 0, signal_fd = open_signals();

    load.idle_fd = eventfd(0, EFD_CLOEXEC);
    memset(ret_result, 0, sizeof(*ret_result));
    if (!slots)
        r = -ENOMEM;
    else if (signal_fd < 0 || load.idle_fd < 0)
        r = -EMFILE;
    else
        run(&load, slots, signal_fd);
    if (signal_fd >= 0)
        close(signal_fd);
    if (load.idle_fd >= 0)
        close(load.idle_fd);
    free(slots);
    return r;
}
