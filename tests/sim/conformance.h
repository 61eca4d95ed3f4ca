/* conformance -- what the etcd in memory must have in common with a real one: one table of requests and the answers
 * that are expected, run against both. */
#pragma once
#include <stdbool.h>

/* Prints a line for each case; returns how many failed. */
unsigned conformance_in_memory(unsigned *ret_passed);
/* folder: for its data. -1: there is no etcd on PATH. */
int conformance_real(const char *folder, unsigned *ret_passed);
