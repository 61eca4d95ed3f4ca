#include "svc_signals.h"
#include "thread.h"
#include <unistd.h>

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal)
{
    (void)signal;
    if (++interrupts >= 2)
        _exit(130);
}

static void handled_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
}

void svc_signals_block(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    handled_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *wait_for_first(void *arg)
{
    struct svc_signals *signals = arg;
    bool interrupts_start;
    int received = 0;
    sigset_t set;

    handled_signals(&set);
    for (;;) {
        if (sigwait(&set, &received) != 0)
            continue;
        if (received != SIGUSR1)
            break;
        signals->user(signals->arg);
    }
    pthread_mutex_lock(&signals->lock);
    signals->received = received;
    interrupts_start = !signals->started && !signals->over;
    pthread_cond_signal(&signals->changed);
    pthread_mutex_unlock(&signals->lock);
    if (interrupts_start)
        signals->interrupt(signals->arg);
    return NULL;
}

int svc_signals_open(struct svc_signals *signals, void (*interrupt)(void *arg), void (*user)(void *arg), void *arg)
{
    int r;

    *signals = (struct svc_signals){.interrupt = interrupt, .user = user, .arg = arg};
    pthread_mutex_init(&signals->lock, NULL);
    pthread_cond_init(&signals->changed, NULL);
    if ((r = thread_start(&signals->thread, "signals", wait_for_first, signals)) < 0) {
        pthread_cond_destroy(&signals->changed);
        pthread_mutex_destroy(&signals->lock);
    }
    return r;
}

void svc_signals_started(struct svc_signals *signals)
{
    bool interrupted;

    pthread_mutex_lock(&signals->lock);
    interrupted = signals->received != 0;
    signals->started = true;
    pthread_mutex_unlock(&signals->lock);
    if (!interrupted)
        return;
    for (;;)
        pause(); /* the thread is about to end the process */
}

void svc_signals_wait(struct svc_signals *signals)
{
    sigset_t set;

    pthread_mutex_lock(&signals->lock);
    while (signals->received == 0)
        pthread_cond_wait(&signals->changed, &signals->lock);
    pthread_mutex_unlock(&signals->lock);
    interrupts = signals->received == SIGINT;
    signal(SIGINT, on_interrupt);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void svc_signals_close(struct svc_signals *signals)
{
    pthread_mutex_lock(&signals->lock);
    signals->over = true;
    if (signals->received == 0)
        pthread_kill(signals->thread, SIGINT); /* it waits for that too */
    pthread_mutex_unlock(&signals->lock);
    pthread_join(signals->thread, NULL);
    pthread_cond_destroy(&signals->changed);
    pthread_mutex_destroy(&signals->lock);
}
