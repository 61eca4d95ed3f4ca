/* options -- what a run of the simulation is like. All of it is drawn from the seed. */
#pragma once
#include "cluster.h"
#include "network.h"

enum fault {
    FAULT_CUT_LINK,
    FAULT_CUT_MEMBERS,
    FAULT_KILL_MEMBER,
    FAULT_ELECT,
    FAULT_STALL_MEMBER,
    FAULT_HOLD_WATCHES,
    FAULT_BREAK_STREAM,
    FAULT_COMPACT,
    FAULT_FULL,
    FAULT_RESTORE,
    FAULT_CRASH,
    FAULT_REBOOT,
    FAULT_RESTART,
    FAULT_PAUSE,
    FAULT_CLOCK,
    FAULTS
};

struct sim_options {
    unsigned replicas, clients;
    uint64_t faulty_ns; /* how long faults are made */
    uint64_t think_ns;  /* up to: between the requests of a client */
    int64_t bump;       /* of the revision, by which a snapshot is restored: 0: not as the runbook says */
    unsigned value_bytes;
    unsigned preemption;
    uint64_t fault_ns[FAULTS]; /* on average between two of a kind; 0: never */
    struct network_options network;
    struct cluster_options cluster;
};

extern const char *const sim_fault_names[FAULTS];

struct sim_options sim_options_draw(void);
