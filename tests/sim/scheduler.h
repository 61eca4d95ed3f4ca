/* scheduler -- the scheduler of the simulation: everything runs on one thread of the operating system.
 *
 * A simulated process has fibers for its threads. A fiber runs until it blocks, or until it leaves its last mutex,
 * where it may be preempted. Which of several runnable fibers runs next is drawn from the seed. The clock stands still
 * while a fiber is runnable and then moves to the next timer. So a run depends on the seed alone.
 *
 * Memory is not given back: each seed runs in a process of its own, which ends with it.
 */
#pragma once
#include "buf.h"
#include "clock.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_BEGIN_NS   (1000 * CLOCK_NS_PER_S)
#define SIM_MAX_STEPS  5000000 /* of a seed: beyond that it does not come to its end */
#define SIM_NEVER_NS   UINT64_MAX
#define SIM_REALTIME_S 1800000000ULL /* since 1970, when the simulation begins */

void *sim_alloc(size_t size); /* zeroed; never fails */
void *sim_copy(const void *bytes, size_t len);
void *sim_grown(void *array, size_t *size, size_t count, size_t one); /* an array, with room for one more */

/* ---- the seed ---- */

void sim_init(uint64_t seed, bool verbose);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t count);                /* 0 .. count - 1 */
uint64_t sim_between(uint64_t low, uint64_t high); /* both included */
bool sim_chance(unsigned per_mille);

/* ---- what has happened ---- */

/* Every event goes into the hash of the run; --trace prints it. */
void sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t sim_hash(void);
/* An invariant does not hold: prints the seed, the time and what is wrong, and ends the process with status 1. */
void sim_violated(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- processes and fibers ---- */

struct sim_process {
    int number;
    bool dead;            /* its fibers never run again */
    uint64_t pause_until; /* none of its fibers runs before */
    int64_t clock_skew_s; /* of its real-time clock */
};

struct sim_fiber;

struct sim_fiber *sim_spawn(struct sim_process *process, void *(*run)(void *arg), void *arg);
void sim_join(struct sim_fiber *fiber);
struct sim_process *sim_self(void); /* of the fiber that runs; NULL: the scheduler itself */
struct sim_fiber *sim_fiber(void);  /* that runs; NULL: the scheduler itself */

/* Blocks the fiber until sim_wake(on) or until_ns. True: until_ns has come. */
bool sim_block(const void *on, uint64_t until_ns);
void sim_wake(const void *on); /* all that block on it */
void sim_sleep(uint64_t ns);

/* The fiber holds no mutex when it blocks, but for that of a condition. */
void sim_locked(void);
void sim_unlocked(void);
unsigned sim_locks(void);
void sim_preempt(void); /* perhaps lets others run */
void sim_set_preemption(unsigned per_mille);

/* ---- time ---- */

uint64_t sim_now_ns(void);
void sim_after(uint64_t delay_ns, void (*run)(void *arg), void *arg);
/* Runs fibers and timers until sim_stop is called or nothing is left to run. */
void sim_run(void);
void sim_stop(void);
uint64_t sim_steps(void);
