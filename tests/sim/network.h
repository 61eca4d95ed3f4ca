/* network -- the world of the store's etcd engine in the simulation (store_etcd_world.h): its threads are fibers, its
 * clocks are the scheduler's, and its calls go over a network that loses, delays and cuts to the etcd of cluster.h.
 */
#pragma once
#include "cluster.h"
#include "store_etcd_world.h"

extern const struct etcd_world sim_world;

#define NETWORK_PROCESSES 16

/* Of messages between processes and members. */
struct network_options {
    uint64_t delay_ns;     /* up to */
    uint64_t late_ns;      /* of those that are late: up to */
    unsigned late;         /* per mille */
    unsigned lose_request; /* per mille: the call fails, and never reaches etcd */
    unsigned lose_answer;  /* per mille: the call fails, though etcd has done it */
    unsigned spurious;     /* per mille: a wait returns without a cause */
};

void network_start(const struct network_options *options);
void network_cut(int process, unsigned member, bool cut);
/* Ends one of the streams that are open. */
void network_break_stream(void);
/* The connections of a process that is no more. */
void network_forget(struct sim_process *process);
