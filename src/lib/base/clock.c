#include "clock.h"
#include <assert.h>
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

/* The time up to the second, kept a thread: asked for with every log line, it changes once a second. */
static const char *second_text(uint64_t second)
{
    static _Thread_local struct {
        uint64_t second;
        char text[sizeof("2026-01-02T03:04:05")];
    } last;

    if (last.second != second || last.text[0] == '\0') {
        time_t seconds = (time_t)second;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(last.text, sizeof(last.text), "%Y-%m-%dT%H:%M:%S", &tm);
        last.second = second;
    }
    return last.text;
}

const char *clock_rfc3339(uint64_t realtime_ns, int digits, char text[CLOCK_RFC3339_SIZE])
{
    uint64_t place = CLOCK_NS_PER_S / 10;
    size_t len = strlen("2026-01-02T03:04:05");

    assert(digits >= 0 && digits <= 9);
    memcpy(text, second_text(realtime_ns / CLOCK_NS_PER_S), len);
    if (digits > 0)
        text[len++] = '.';
    for (; digits > 0; digits--, place /= 10)
        text[len++] = (char)('0' + realtime_ns / place % 10);
    text[len] = 'Z';
    text[len + 1] = '\0';
    return text;
}
