#include "scheduler.h"
#include "../unit/random.h"
#include "fnv.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024)

enum state { READY, BLOCKED, DONE };

struct sim_fiber {
    ucontext_t context;
    struct sim_process *process;
    void *(*run)(void *arg);
    void *arg;
    enum state state;
    const void *on;      /* BLOCKED */
    uint64_t generation; /* of its blocking: an older timer does not count */
    bool timed_out;
    unsigned locks;
    char *stack;
    struct sim_fiber *next, **link; /* of the blocked ones */
};

struct timer {
    uint64_t at_ns, number; /* of equal times the first comes first */
    void (*run)(void *arg);
    void *arg;
    struct sim_fiber *fiber; /* instead of run */
    uint64_t generation;
};

static struct {
    uint64_t seed, random, hash, now_ns, steps;
    bool verbose, stopped;
    unsigned preemption;

    struct sim_fiber *current, *blocked;
    struct sim_fiber **ready;
    size_t ready_count, ready_size;
    ucontext_t scheduler;
    char **stacks; /* to be used again */
    size_t stack_count, stack_size;

    struct timer *timers; /* a heap */
    size_t timer_count, timer_size;
    uint64_t timer_number;
} sim;

/* ---- memory ---- */

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size > 0 ? size : 1);

    if (p == NULL)
        abort();
    return p;
}

void *sim_copy(const void *bytes, size_t len)
{
    void *p = sim_alloc(len);

    if (len > 0)
        memcpy(p, bytes, len);
    return p;
}

void *sim_grown(void *array, size_t *size, size_t count, size_t one)
{
    if (count < *size)
        return array;
    *size = *size == 0 ? 16 : 2 * *size;
    array = realloc(array, *size * one);
    if (array == NULL)
        abort();
    return array;
}

/* ---- the seed ---- */

void sim_init(uint64_t seed, bool verbose)
{
    memset(&sim, 0, sizeof(sim));
    sim.seed = sim.random = seed;
    sim.verbose = verbose;
    sim.hash = FNV_BEGIN;
    sim.now_ns = SIM_BEGIN_NS;
}

uint64_t sim_random(void)
{
    return random_next(&sim.random);
}

uint64_t sim_below(uint64_t count)
{
    return sim_random() % count;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    return low + sim_below(high - low + 1);
}

bool sim_chance(unsigned per_mille)
{
    return sim_below(1000) < per_mille;
}

/* ---- what has happened ---- */

static void print_line(const char *text)
{
    uint64_t ns = sim.now_ns - SIM_BEGIN_NS;

    printf("%4llu.%06llu %s\n", (unsigned long long)(ns / CLOCK_NS_PER_S),
           (unsigned long long)(ns % CLOCK_NS_PER_S / 1000), text);
}

void sim_note(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim.hash = fnv_str(sim.hash, (struct str){(const char *)&sim.now_ns, sizeof(sim.now_ns)});
    sim.hash = fnv_str(sim.hash, str_of(text));
    if (sim.verbose)
        print_line(text);
}

uint64_t sim_hash(void)
{
    return sim.hash;
}

void sim_violated(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (sim.verbose)
        print_line(text);
    fprintf(stderr, "seed %llu: after %.3f s: %s\n", (unsigned long long)sim.seed,
            (double)(sim.now_ns - SIM_BEGIN_NS) / 1e9, text);
    fflush(NULL);
    _exit(1);
}

/* ---- timers ---- */

static bool is_before(const struct timer *a, const struct timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void add_timer(struct timer timer)
{
    size_t i = sim.timer_count++;

    sim.timers = sim_grown(sim.timers, &sim.timer_size, i, sizeof(*sim.timers));
    timer.number = sim.timer_number++;
    for (; i > 0 && is_before(&timer, &sim.timers[(i - 1) / 2]); i = (i - 1) / 2)
        sim.timers[i] = sim.timers[(i - 1) / 2];
    sim.timers[i] = timer;
}

static struct timer take_timer(void)
{
    struct timer first = sim.timers[0], last = sim.timers[--sim.timer_count];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < sim.timer_count) {
        if (child + 1 < sim.timer_count && is_before(&sim.timers[child + 1], &sim.timers[child]))
            child++;
        if (!is_before(&sim.timers[child], &last))
            break;
        sim.timers[i] = sim.timers[child];
        i = child;
    }
    sim.timers[i] = last;
    return first;
}

void sim_after(uint64_t delay_ns, void (*run)(void *arg), void *arg)
{
    add_timer((struct timer){.at_ns = sim.now_ns + delay_ns, .run = run, .arg = arg});
}

uint64_t sim_now_ns(void)
{
    return sim.now_ns;
}

/* ---- fibers ---- */

static void make_ready(struct sim_fiber *fiber)
{
    fiber->state = READY;
    fiber->generation++;
    sim.ready = sim_grown(sim.ready, &sim.ready_size, sim.ready_count, sizeof(*sim.ready));
    sim.ready[sim.ready_count++] = fiber;
}

static void enter(void)
{
    struct sim_fiber *fiber = sim.current;

    fiber->run(fiber->arg);
    assert(fiber->locks == 0);
    fiber->state = DONE;
    sim_wake(fiber);
    setcontext(&sim.scheduler);
}

static char *get_stack(void)
{
    char *stack;

    if (sim.stack_count > 0)
        return sim.stacks[--sim.stack_count];
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        abort();
    return stack;
}

static void give_stack(char *stack)
{
    sim.stacks = sim_grown(sim.stacks, &sim.stack_size, sim.stack_count, sizeof(*sim.stacks));
    sim.stacks[sim.stack_count++] = stack;
}

struct sim_fiber *sim_spawn(struct sim_process *process, void *(*run)(void *arg), void *arg)
{
    struct sim_fiber *fiber = sim_alloc(sizeof(*fiber));

    *fiber = (struct sim_fiber){.process = process, .run = run, .arg = arg, .stack = get_stack()};
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, enter, 0);
    make_ready(fiber);
    return fiber;
}

struct sim_process *sim_self(void)
{
    return sim.current != NULL ? sim.current->process : NULL;
}

struct sim_fiber *sim_fiber(void)
{
    return sim.current;
}

static void switch_to_scheduler(struct sim_fiber *fiber)
{
    int saved = errno;

    swapcontext(&fiber->context, &sim.scheduler);
    errno = saved;
}

bool sim_block(const void *on, uint64_t until_ns)
{
    struct sim_fiber *fiber = sim.current;

    assert(fiber != NULL && fiber->locks == 0);
    fiber->state = BLOCKED;
    fiber->on = on;
    fiber->timed_out = false;
    fiber->next = sim.blocked;
    fiber->link = &sim.blocked;
    if (sim.blocked != NULL)
        sim.blocked->link = &fiber->next;
    sim.blocked = fiber;
    if (until_ns != SIM_NEVER_NS)
        add_timer((struct timer){
            .at_ns = until_ns > sim.now_ns ? until_ns : sim.now_ns, .fiber = fiber, .generation = fiber->generation});
    switch_to_scheduler(fiber);
    return fiber->timed_out;
}

static void unblock(struct sim_fiber *fiber)
{
    *fiber->link = fiber->next;
    if (fiber->next != NULL)
        fiber->next->link = fiber->link;
    make_ready(fiber);
}

void sim_wake(const void *on)
{
    struct sim_fiber *fiber, *next;

    for (fiber = sim.blocked; fiber != NULL; fiber = next) {
        next = fiber->next;
        if (fiber->on == on)
            unblock(fiber);
    }
}

void sim_sleep(uint64_t ns)
{
    sim_block(NULL, sim.now_ns + ns);
}

void sim_join(struct sim_fiber *fiber)
{
    while (fiber->state != DONE)
        sim_block(fiber, SIM_NEVER_NS);
}

/* ---- mutexes, preemption ---- */

void sim_locked(void)
{
    if (sim.current != NULL)
        sim.current->locks++;
}

void sim_unlocked(void)
{
    if (sim.current == NULL)
        return;
    assert(sim.current->locks > 0);
    sim.current->locks--;
}

unsigned sim_locks(void)
{
    return sim.current != NULL ? sim.current->locks : 0;
}

void sim_set_preemption(unsigned per_mille)
{
    sim.preemption = per_mille;
}

void sim_preempt(void)
{
    if (sim.current == NULL || sim.current->locks > 0 || sim.preemption == 0 || !sim_chance(sim.preemption))
        return;
    if (sim_chance(100)) {
        sim_sleep(sim_below(2 * CLOCK_NS_PER_MS));
    } else {
        make_ready(sim.current);
        switch_to_scheduler(sim.current);
    }
}

/* ---- running ---- */

static void end_pause(void *fiber)
{
    make_ready(fiber);
}

static void run_fiber(struct sim_fiber *fiber)
{
    struct sim_process *process = fiber->process;

    if (process->dead)
        return;
    if (process->pause_until > sim.now_ns) {
        sim_after(process->pause_until - sim.now_ns, end_pause, fiber);
        return;
    }
    sim.current = fiber;
    swapcontext(&sim.scheduler, &fiber->context);
    sim.current = NULL;
    if (fiber->state == DONE) {
        give_stack(fiber->stack);
        fiber->stack = NULL;
    }
}

static void run_timer(void)
{
    struct timer timer = take_timer();

    assert(timer.at_ns >= sim.now_ns);
    sim.now_ns = timer.at_ns;
    if (timer.fiber == NULL) {
        timer.run(timer.arg);
    } else if (timer.fiber->state == BLOCKED && timer.fiber->generation == timer.generation) {
        timer.fiber->timed_out = true;
        unblock(timer.fiber);
    }
}

void sim_run(void)
{
    sim.stopped = false;
    while (!sim.stopped && (sim.ready_count > 0 || sim.timer_count > 0)) {
        if (++sim.steps > SIM_MAX_STEPS)
            sim_violated("it does not end: %d steps", SIM_MAX_STEPS);
        if (sim.ready_count > 0) {
            size_t i = sim.ready_count > 1 ? sim_below(sim.ready_count) : 0;
            struct sim_fiber *fiber = sim.ready[i];

            sim.ready[i] = sim.ready[--sim.ready_count];
            run_fiber(fiber);
        } else {
            run_timer();
        }
    }
}

void sim_stop(void)
{
    sim.stopped = true;
}

uint64_t sim_steps(void)
{
    return sim.steps;
}
