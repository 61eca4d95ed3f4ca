#include "demo.h"
#include <errno.h>
#include <stdlib.h>

/* A client that waits for its answer. Loop's thread only. */
struct wait {
    struct loop_timer timer;
    struct loop *loop;
    struct http_deferred *deferred; /* NULL: answered */
    unsigned *count;                /* of those that wait in its worker */
};

static struct http_reply *hello(void)
{
    return http_reply_text(200, "text/plain; charset=utf-8", STR("hello, world!\n"));
}

static int take_delay(void *arg, struct str name, struct str value)
{
    uint64_t *delay_ms = arg;

    if (!str_eq(name, STR("delay")))
        return 0;
    if (str_to_u64(value, HELLO_MAX_DELAY_MS, delay_ms) == -ERANGE)
        *delay_ms = HELLO_MAX_DELAY_MS;
    return 1;
}

static void answer(struct wait *wait, struct http_reply *take_reply)
{
    http_answer(wait->deferred, take_reply);
    wait->deferred = NULL;
    (*wait->count)--;
}

static void on_time(struct loop_timer *timer)
{
    answer((struct wait *)timer, hello());
}

/* The answer has been sent, or the client has gone. */
static void end(void *memory)
{
    struct wait *wait = memory;

    loop_timer_stop(wait->loop, &wait->timer);
    if (wait->deferred != NULL)
        answer(wait, http_problem_errno(-ECANCELED, NULL)); /* to nobody */
    free(wait);
}

static struct wait *begin(struct http_req *req, unsigned *count)
{
    struct wait *wait = calloc(1, sizeof(*wait));

    if (wait == NULL)
        return NULL;
    *wait = (struct wait){.loop = req->loop, .deferred = http_defer(req), .count = count};
    if (wait->deferred == NULL) {
        free(wait);
        return NULL;
    }
    (*count)++;
    http_keep(req, wait, end);
    return wait;
}

struct http_reply *hello_get(struct http_req *req)
{
    struct demo *demo = req->state;
    unsigned *count = &demo->waiting[loop_index(req->loop)];
    uint64_t delay_ms = 0;
    struct wait *wait;
    int r;

    http_each_query(req, take_delay, &delay_ms); /* what is badly encoded is no number */
    if (delay_ms == 0)
        return hello();
    if (*count == HELLO_MAX_WAITING)
        return http_problem_errno(-ENOBUFS, "too many clients wait");
    wait = begin(req, count);
    if (wait == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    r = loop_timer_start(req->loop, &wait->timer, delay_ms, on_time);
    if (r != 0)
        answer(wait, http_problem_errno(r, NULL));
    return NULL;
}

int hello_open(struct demo *demo)
{
    demo->waiting = calloc(demo->workers, sizeof(demo->waiting[0]));
    return demo->waiting != NULL ? 0 : -ENOMEM;
}

void hello_close(struct demo *demo)
{
    free(demo->waiting); /* all that waited have ended with the server */
    demo->waiting = NULL;
}
