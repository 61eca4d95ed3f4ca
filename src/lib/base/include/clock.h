/* clock -- the two clocks: monotonic for deadlines and durations, real time for people. Both never block. */
#pragma once
#include "names.h"
#include <stddef.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ULL
#define CLOCK_NS_PER_S  1000000000ULL

uint64_t clock_monotonic_ns(void);
uint64_t clock_realtime_ns(void); /* since 1970-01-01T00:00:00Z */

#define CLOCK_RFC3339_SIZE sizeof("2026-01-02T03:04:05.123456789Z")
/* RFC 3339 in UTC with digits (0 to 9) digits of the second's fraction; returns text. */
const char *clock_rfc3339(uint64_t realtime_ns, int digits, char text[CLOCK_RFC3339_SIZE]);
