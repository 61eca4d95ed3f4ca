#include "log_stderr.h"
#include "clock.h"
#include "log.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVERY_NS  CLOCK_NS_PER_S /* a line for a stretch of messages that long */
#define LAST_SIZE 1024
#define ABORT_MS  1000 /* bound on writing the last words */

/* All of it is used with stderr's lock held, but by the signal handler: that runs in the thread that aborts, which has
 * written its last words. */
static struct {
    struct log *log;
    FILE *own, *before;
    uint64_t next_ns, left_out;
    char last[LAST_SIZE];
    size_t last_len;
    struct sigaction before_abort;
} taken;

static void keep_last(const char *text, size_t len)
{
    taken.last_len = len < LAST_SIZE ? len : LAST_SIZE;
    memcpy(taken.last, text + (len - taken.last_len), taken.last_len);
}

static ssize_t on_write(void *cookie, const char *text, size_t len)
{
    struct str shown = {text, len};
    uint64_t now_ns = clock_monotonic_ns();

    keep_last(text, len);
    if (now_ns < taken.next_ns) {
        taken.left_out++;
        return (ssize_t)len;
    }
    taken.next_ns = now_ns + EVERY_NS;
    while (shown.len > 0 && shown.s[shown.len - 1] == '\n')
        shown.len--;
    log_fields(taken.log, LOG_WARNING, NULL, "a library wrote to standard error",
               (struct log_field[]){LOG_STR("text", shown), LOG_INT("left_out", (int64_t)taken.left_out)}, 2);
    taken.left_out = 0;
    return (ssize_t)len;
}

struct str log_stderr_last(void)
{
    return (struct str){taken.last, taken.last_len};
}

/* Async-signal-safe. The signal is blocked until this returns; then it meets the action from before. */
static void on_abort(int signal)
{
    struct pollfd poller = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (taken.last_len > 0 && poll(&poller, 1, ABORT_MS) > 0)
        (void)!write(STDERR_FILENO, taken.last, taken.last_len);
    sigaction(signal, &taken.before_abort, NULL);
    raise(signal);
}

int log_take_stderr(struct log *log)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = SA_ONSTACK};
    FILE *own = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});

    if (own == NULL)
        return -ENOMEM;
    setvbuf(own, NULL, _IONBF, 0);
    taken.log = log;
    taken.own = own;
    taken.before = stderr;
    sigaction(SIGABRT, &action, &taken.before_abort);
    stderr = own;
    return 0;
}

void log_return_stderr(void)
{
    if (taken.own == NULL)
        return;
    stderr = taken.before;
    sigaction(SIGABRT, &taken.before_abort, NULL);
    flockfile(taken.own); /* whoever writes now has the old one */
    taken.log = NULL;
    funlockfile(taken.own);
}
