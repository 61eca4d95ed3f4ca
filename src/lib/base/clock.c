#include "clock.h"
#include "buf.h"
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

/* Not gmtime_r, which takes a lock: signal handlers ask for the time. By Howard Hinnant's civil_from_days
 * (https://howardhinnant.github.io/date_algorithms.html): years begin in March, eras are 400 years of 146,097 days. */
static void write_second(uint64_t second, char *to)
{
    uint64_t days = second / 86400 + 719468, era = days / 146097;
    unsigned day_of_era = (unsigned)(days % 146097), of_day = (unsigned)(second % 86400);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153, day = day_of_year - (153 * month + 2) / 5 + 1;

    to = str_write_digits(to, (unsigned)(era * 400) + year_of_era + (month >= 10), 4);
    *to++ = '-';
    to = str_write_digits(to, month < 10 ? month + 3 : month - 9, 2);
    *to++ = '-';
    to = str_write_digits(to, day, 2);
    *to++ = 'T';
    to = str_write_digits(to, of_day / 3600, 2);
    *to++ = ':';
    to = str_write_digits(to, of_day / 60 % 60, 2);
    *to++ = ':';
    str_write_digits(to, of_day % 60, 2)[0] = '\0';
}

/* The time up to the second, kept a thread: asked for with every log line, it changes once a second. */
static const char *second_text(uint64_t second)
{
    static _Thread_local struct {
        uint64_t second;
        char text[sizeof("2026-01-02T03:04:05")];
    } last;

    if (last.second != second || last.text[0] == '\0') {
        write_second(second, last.text);
        last.second = second;
    }
    return last.text;
}

const char *clock_rfc3339(uint64_t realtime_ns, int digits, char text[CLOCK_RFC3339_SIZE])
{
    uint64_t fraction = realtime_ns % CLOCK_NS_PER_S;
    size_t len = strlen("2026-01-02T03:04:05");

    assert(digits >= 0 && digits <= 9);
    memcpy(text, second_text(realtime_ns / CLOCK_NS_PER_S), len);
    if (digits > 0)
        text[len++] = '.';
    for (int i = digits; i < 9; i++)
        fraction /= 10;
    strcpy(str_write_digits(text + len, fraction, (unsigned)digits), "Z");
    return text;
}
