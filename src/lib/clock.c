#include "clock.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now(clockid_t id)
{
    struct timespec t;
    int r = clock_gettime(id, &t);

    assert(r == 0);
    return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

uint64_t clock_realtime_ns(void)
{
    return now(CLOCK_REALTIME);
}

const char *clock_rfc3339(uint64_t realtime_ns, int digits, char text[CLOCK_RFC3339_SIZE])
{
    time_t seconds = (time_t)(realtime_ns / CLOCK_NS_PER_S);
    struct tm tm;
    size_t len;

    assert(digits >= 0 && digits <= 9);
    gmtime_r(&seconds, &tm);
    len = strftime(text, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    if (digits > 0) {
        char fraction[12];
        snprintf(fraction, sizeof(fraction), ".%09u", (unsigned)(realtime_ns % CLOCK_NS_PER_S));
        memcpy(text + len, fraction, (size_t)digits + 1);
        len += (size_t)digits + 1;
    }
    text[len] = 'Z';
    text[len + 1] = '\0';
    return text;
}
