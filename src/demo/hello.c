#include "demo.h"
#include <errno.h>
#include <stdlib.h>

/* A client that waits for its answer. */
struct wait {
    struct loop_timer timer;
    struct http_deferred *deferred;
    struct waiting *list;
    struct wait *next, **link;
};

/* Those of one worker; touched by its thread alone. */
struct waiting {
    struct wait *first;
    unsigned count;
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

static void wait_end(struct wait *wait, struct http_reply *take_reply)
{
    http_answer(wait->deferred, take_reply);
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    wait->list->count--;
    free(wait);
}

static void on_time(struct loop_timer *timer)
{
    wait_end((struct wait *)timer, hello());
}

/* Its place is another's. */
static void on_gone(void *arg)
{
    struct wait *wait = arg;

    loop_timer_stop(http_deferred_loop(wait->deferred), &wait->timer);
    wait_end(wait, http_problem_errno(-ECANCELED, NULL));
}

static struct wait *wait_begin(struct waiting *list, struct http_req *req)
{
    struct wait *wait = calloc(1, sizeof(*wait));

    if (wait == NULL)
        return NULL;
    wait->deferred = http_defer(req);
    if (wait->deferred == NULL) {
        free(wait);
        return NULL;
    }
    wait->list = list;
    wait->link = &list->first;
    wait->next = list->first;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    list->first = wait;
    list->count++;
    return wait;
}

struct http_reply *hello_get(struct http_req *req)
{
    struct demo *demo = req->state;
    struct waiting *list = &demo->waiting[loop_index(req->loop)];
    uint64_t delay_ms = 0;
    struct wait *wait;
    int r;

    http_each_query(req, take_delay, &delay_ms); /* what is badly encoded is no number */
    if (delay_ms == 0)
        return hello();
    if (list->count == HELLO_MAX_WAITING)
        return http_problem_errno(-ENOBUFS, "too many clients wait");
    wait = wait_begin(list, req);
    if (wait == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    r = loop_timer_start(req->loop, &wait->timer, delay_ms, on_time);
    if (r != 0)
        wait_end(wait, http_problem_errno(r, NULL));
    else
        http_on_gone(wait->deferred, on_gone, wait);
    return NULL;
}

int hello_open(struct demo *demo)
{
    demo->waiting = calloc(demo->workers, sizeof(demo->waiting[0]));
    return demo->waiting != NULL ? 0 : -ENOMEM;
}

void hello_close(struct demo *demo)
{
    for (unsigned i = 0; demo->waiting != NULL && i < demo->workers; i++)
        while (demo->waiting[i].first != NULL)
            wait_end(demo->waiting[i].first, http_problem_errno(-ECANCELED, NULL)); /* their clients have gone */
    free(demo->waiting);
    demo->waiting = NULL;
}
