/* svc_signals -- SIGTERM and SIGINT, from before the first thread there is to the end of the process, and SIGUSR1.
 *
 * A thread waits for the first of the two, so that it is answered also while the main thread is busy with starting.
 * Until then it answers SIGUSR1, which is ignored afterwards.
 */
#pragma once
#include "include/names.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct svc_signals {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int received;       /* the first one; 0: none came */
    bool started, over; /* nobody waits for it: it ends the start; nobody waits any more */
    void (*interrupt)(void *arg);
    void (*user)(void *arg);
    void *arg;
};

/* Blocks all three in this thread and in those that it makes; ignores SIGPIPE. */
void svc_signals_block(void);
/* Begins to wait. A signal that comes before svc_signals_started (one that is pending too) calls interrupt in the
 * thread, once; it must not return. Every SIGUSR1 before the first signal calls user there. 0 or -errno. */
int svc_signals_open(struct svc_signals *signals, void (*interrupt)(void *arg), void (*user)(void *arg), void *arg);
void svc_signals_started(struct svc_signals *signals);
/* Waits for the first signal. From then on SIGTERM stays blocked, and the second SIGINT ends the process. */
void svc_signals_wait(struct svc_signals *signals);
void svc_signals_close(struct svc_signals *signals); /* ends the thread; also without a signal */
