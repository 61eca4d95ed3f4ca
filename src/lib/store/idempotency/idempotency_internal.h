/* idempotency_internal -- what the parts of idempotency share: idempotency.c (keys and requests), sweep.c (their age).
 */
#pragma once
#include "clock.h"
#include "idempotency.h"
#include <openssl/evp.h>
#include <pthread.h>

struct idempotency {
    struct store *store;
    unsigned table;
    uint64_t retention_ms;
    EVP_MD *sha256; /* kept: to look it up takes as long as to digest a small request */

    pthread_mutex_t mutex;
    void *running; /* a tree of tsearch(3) */
    size_t running_count;

    pthread_t sweeper;
    bool sweeping; /* there is a sweeper */
    bool stopping; /* somebody waits until nothing is running any more */
    bool stopped;
    pthread_cond_t changed; /* stopped, nothing is running any more where that is waited for, or a batch was swept */

    /* The sweeper's. */
    uint64_t tick_seq; /* of the tick that it has seen last; 0: none */
    uint64_t tick_ns;  /* monotonic: that tick is at least as old */

    struct metrics_series *fresh, *repeated, *mismatched, *running_already, *swept;
};

/* The record of the ticks: no client's key, which has visible characters only. */
#define IDEMPOTENCY_TICKS_KEY ((struct str){"\0ticks", 6})

void *idempotency_sweep(void *arg); /* the sweeper's thread; arg: the struct idempotency */
