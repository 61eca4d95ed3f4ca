/* run -- one seed: replicas and clients under faults, then without faults until all is well again. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct run_result {
    uint64_t hash, steps, revisions, requests, acknowledged, reads, simulated_ns;
};

/* folder: an empty one, for views. Violations end the process. */
struct run_result run_seed(uint64_t seed, const char *folder, bool verbose);
