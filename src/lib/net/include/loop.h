/* loop -- a worker: a thread with an h2o event loop, timers, and messages from other threads.
 *
 * Everything that belongs to a loop (sockets, timers, requests) is touched only by its thread; loop_post is the one
 * door for others. The h2o context of a server is made in the loop's thread (h2o keeps thread-local allocators).
 */
#pragma once
#include "names.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct metrics;
struct st_h2o_evloop_t;

/* index: 0 .. number of workers - 1, for names and labels and for callers that keep something a worker. 0 or -errno. */
int loop_open(unsigned index, const char *name, struct metrics *metrics, struct loop **ret_loop);
/* Ends the thread after the messages posted so far have run, and frees the loop. Returns NULL. */
struct loop *loop_close(struct loop *loop);

unsigned loop_index(const struct loop *loop);
struct st_h2o_evloop_t *loop_h2o(struct loop *loop);
bool loop_is_current(const struct loop *loop); /* is the caller the loop's thread? */
/* Monotonic time of the last turn; a turn comes at least once a second. Any thread. */
uint64_t loop_last_turn_ns(const struct loop *loop);

/* A message: embed it, post it from any thread; run is called once, in the loop's thread, in the order of posting from
 * one thread. The message's memory is its owner's again when run is called. Never fails, never blocks. */
struct loop_message {
    struct loop_message *next; /* private */
    void (*run)(struct loop_message *message);
};
void loop_post(struct loop *loop, struct loop_message *message);
/* Posts and waits until run has returned. Not from the loop's own thread. */
void loop_call(struct loop *loop, void (*run)(void *arg), void *arg);

/* The message is run in the loop's thread when the loop ends, after all that were posted: for those who keep sockets or
 * timers in a loop that is not theirs. The last one given is run first. Loop's thread only. */
void loop_at_close(struct loop *loop, struct loop_message *message);

/* Runs after each turn's events, from now on until it is removed: embed it. Loop's thread only. */
struct loop_hook {
    struct loop_hook *next; /* private */
    void (*run)(struct loop_hook *hook);
};
void loop_each_turn(struct loop *loop, struct loop_hook *hook);
void loop_each_turn_remove(struct loop *loop,
                           struct loop_hook *hook); /* not from a hook; one that is not there is fine */

/* How many bytes a connection may read in a turn: what a turn takes, divided by the number of connections that have
 * more to read than that. So those that send much keep nobody waiting for long, however many they are. Loop's thread
 * only. */
#define LOOP_MAX_SHARE ((size_t)64 * 1024)
size_t loop_read_share(const struct loop *loop);
void loop_has_read(struct loop *loop, size_t share, size_t len); /* of its share; all of it: there may be more */

/* A timer: embed it, zeroed. Loop's thread only. Resolution: milliseconds. Starting a running one moves it. */
struct loop_timer {
    size_t slot; /* private: 0 when not running, else position in the heap + 1 */
    uint64_t due_ms;
    void (*run)(struct loop_timer *timer);
};
int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms, void (*run)(struct loop_timer *));
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_running(const struct loop_timer *timer)
{
    return timer->slot != 0;
}
