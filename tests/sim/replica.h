/* replica -- a process of a service with the store's etcd engine: it is started, stopped, killed with its view left
 * behind, and started again.
 */
#pragma once
#include "network.h"
#include "store.h"

enum replica_state { REPLICA_DOWN, REPLICA_OPENING, REPLICA_SERVING, REPLICA_CLOSING };

struct replica {
    int number;
    unsigned members, generation; /* of its view's folder */
    const char *folder;           /* of the run */
    enum replica_state state;
    struct sim_process *process;
    struct store *store;
    unsigned calls; /* that are about to reach the store */
    bool wanted;    /* by whom it is to be started again */
};

void replica_start(struct replica *replica);
void replica_stop(struct replica *replica, bool start_again);
/* Ends at once; the view's files stay as the kernel has them. */
void replica_kill(struct replica *replica);
void replica_forget_boot(struct replica *replica); /* as if the machine had been started anew */
