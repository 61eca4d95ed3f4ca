/* The server's life: answers from other threads, limits, time limits, drain, close. */
#include "http_fixture.h"
#include "loop.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define HELLO "GET /hello HTTP/1.1\r\nhost: test\r\n\r\n"
#define LATER "GET /later HTTP/1.1\r\nhost: test\r\n\r\n"

/* ---- a server whose answers wait until the test gives them ---- */

struct waiting {
    sem_t blocked, go; /* of block */
    pthread_mutex_t lock;
    struct http_deferred *deferred[64];
    atomic_uint count;
};

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain", STR("hello"));
}

static struct http_reply *later(struct http_req *req)
{
    struct waiting *waiting = req->state;

    pthread_mutex_lock(&waiting->lock);
    waiting->deferred[waiting->count] = http_defer(req);
    waiting->count++;
    pthread_mutex_unlock(&waiting->lock);
    return NULL;
}

/* Keeps its worker from accepting. */
static struct http_reply *block(struct http_req *req)
{
    struct waiting *waiting = req->state;

    sem_post(&waiting->blocked);
    sem_wait(&waiting->go);
    return http_reply_text(200, "text/plain", STR("blocked"));
}

static struct http_reply *at_once(struct http_req *req)
{
    http_answer(http_defer(req), http_reply_text(200, "text/plain", STR("at once")));
    return NULL;
}

static void *answer_from_thread(void *arg)
{
    http_answer(arg, http_reply_text(200, "text/plain", STR("from a thread")));
    return NULL;
}

static struct http_reply *from_thread(struct http_req *req)
{
    struct http_deferred *deferred = http_defer(req);
    pthread_attr_t detached;
    pthread_t thread;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    cr_assert_eq(pthread_create(&thread, &detached, answer_from_thread, deferred), 0);
    pthread_attr_destroy(&detached);
    return NULL;
}

#define LARGE (64 * 1024 * 1024)

static struct http_reply *large(struct http_req *req)
{
    struct buf body = {0};

    cr_assert_not_null(buf_reserve(&body, LARGE));
    memset(body.data, 'x', LARGE);
    body.len = LARGE;
    return http_reply_take(200, "application/octet-stream", &body);
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello},
    {"GET", "/later", later},
    {"GET", "/block", block},
    {"GET", "/at-once", at_once},
    {"GET", "/thread", from_thread},
    {"GET", "/large", large},
    {"POST", "/hello", hello, 1000},
    {"GET", "/always", hello, .always = true},
    {0},
};

static struct waiting *waiting_new(void)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));

    pthread_mutex_init(&waiting->lock, NULL);
    sem_init(&waiting->blocked, 0, 0);
    sem_init(&waiting->go, 0, 0);
    return waiting;
}

static void answer_all(struct waiting *waiting)
{
    for (unsigned i = 0; i < waiting->count; i++)
        http_answer(waiting->deferred[i], http_reply_text(200, "text/plain", STR("late")));
    waiting->count = 0;
}

static void expect(int fd, const char *request, int status, const char *body)
{
    struct net_answer answer;

    net_ask(fd, request, &answer);
    cr_expect_eq(answer.status, status, "%d", answer.status);
    if (body != NULL)
        cr_expect_str_eq(answer.body, body);
    net_answer_release(&answer);
}

static void expect_answer(int fd, int status)
{
    struct net_answer answer;

    net_read_answer(fd, false, &answer);
    cr_expect_eq(answer.status, status, "%d", answer.status);
    net_answer_release(&answer);
}

/* ---- a turn of the loop ---- */

#define UPLOADS     40
#define UPLOAD_SIZE 20000

struct turns {
    struct waiting *waiting;
    struct loop_hook hook;
    struct loop *loop;
    unsigned now, first, last; /* loop's thread: of the uploads */
};

static struct http_reply *block_turns(struct http_req *req)
{
    return block(&(struct http_req){.state = ((struct turns *)req->state)->waiting});
}

static struct http_reply *upload(struct http_req *req)
{
    struct turns *turns = req->state;

    turns->first = turns->first == 0 ? turns->now : turns->first;
    turns->last = turns->now;
    return http_reply_text(200, "text/plain", STR("taken"));
}

static void count_turn(struct loop_hook *hook)
{
    ((struct turns *)((char *)hook - offsetof(struct turns, hook)))->now++;
}

static void count_turns(void *arg)
{
    struct turns *turns = arg;

    turns->now = 1;
    turns->hook.run = count_turn;
    loop_each_turn(turns->loop, &turns->hook);
}

/* All of it has been received when the loop goes on. Those who send little are not kept waiting for all of it. */
Test(http_server, many_who_send_much_are_not_all_read_in_one_turn)
{
    static const struct http_route uploads[] = {
        {"GET", "/hello", hello}, {"GET", "/block", block_turns}, {"POST", "/", upload, UPLOAD_SIZE}, {0}};
    struct turns turns = {.waiting = waiting_new()};
    struct fixture f = fixture_open((struct http_server_def){.routes = uploads, .state = &turns});
    int blocker = fixture_connect(&f), fds[UPLOADS];
    char request[UPLOAD_SIZE + 100];
    int head = sprintf(request, "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n", UPLOAD_SIZE);

    memset(request + head, 'x', UPLOAD_SIZE);
    turns.loop = http_server_loop(f.server, 0);
    loop_call(turns.loop, count_turns, &turns);
    for (int i = 0; i < UPLOADS; i++)
        expect(fds[i] = fixture_connect(&f), HELLO, 200, "hello");
    net_send_text(blocker, "GET /block HTTP/1.1\r\nhost: test\r\n\r\n");
    sem_wait(&turns.waiting->blocked);
    for (int i = 0; i < UPLOADS; i++)
        net_send(fds[i], request, (size_t)head + UPLOAD_SIZE);
    sem_post(&turns.waiting->go);
    for (int i = 0; i < UPLOADS; i++) {
        expect_answer(fds[i], 200);
        close(fds[i]);
    }
    close(blocker);
    fixture_close(&f);
    cr_expect_gt(turns.last, turns.first);
    free(turns.waiting);
}

/* ---- deferred answers ---- */

Test(http_server, answers_may_come_at_once_or_from_another_thread)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);

    for (int i = 0; i < 100; i++) {
        expect(fd, "GET /at-once HTTP/1.1\r\nhost: test\r\n\r\n", 200, "at once");
        expect(fd, "GET /thread HTTP/1.1\r\nhost: test\r\n\r\n", 200, "from a thread");
    }
    close(fd);
    fixture_close(&f);
}

Test(http_server, a_deferred_request_knows_its_trace_and_deadline)
{
    struct waiting *waiting = waiting_new();
    struct fixture f =
        fixture_open((struct http_server_def){.routes = routes, .state = waiting, .request_timeout_ms = 60000});
    int fd = fixture_connect(&f);
    uint64_t now_ns = clock_monotonic_ns();
    char id[TRACE_ID_TEXT_SIZE];

    net_send_text(fd, "GET /later HTTP/1.1\r\nhost: test\r\n"
                      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
    NET_AWAIT(waiting->count == 1);
    trace_id_text(http_deferred_trace(waiting->deferred[0]), id);
    cr_expect_str_eq(id, "0af7651916cd43dd8448eb211c80319c");
    cr_expect_geq(http_deferred_deadline_ns(waiting->deferred[0]), now_ns + 60 * CLOCK_NS_PER_S);
    cr_expect_not_null(http_deferred_loop(waiting->deferred[0]));
    answer_all(waiting);
    expect_answer(fd, 200);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http_server, an_answer_that_comes_too_late_is_a_504_and_then_dropped)
{
    struct waiting *waiting = waiting_new();
    struct fixture f =
        fixture_open((struct http_server_def){.routes = routes, .state = waiting, .request_timeout_ms = 20});
    int fd = fixture_connect(&f);

    net_send_text(fd, LATER);
    expect_answer(fd, 504);
    answer_all(waiting);
    expect(fd, HELLO, 200, "hello");
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http_server, a_null_answer_is_a_500)
{
    struct waiting *waiting = waiting_new();
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = waiting});
    int fd = fixture_connect(&f);

    net_send_text(fd, LATER);
    NET_AWAIT(waiting->count == 1);
    http_answer(waiting->deferred[0], http_reply_json(200, NULL)); /* as out of memory */
    expect_answer(fd, 500);
    close(fd);
    fixture_close(&f);
    free(waiting);
}

Test(http_server, the_client_may_go_before_its_answer)
{
    struct waiting *waiting = waiting_new();
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = waiting});
    struct linger reset = {1, 0};

    for (unsigned i = 0; i < 10; i++) {
        int fd = fixture_connect(&f);
        net_send_text(fd, LATER);
        NET_AWAIT(waiting->count == i + 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    answer_all(waiting);
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 0);
    fixture_close(&f);
    free(waiting);
}

/* Handlers of which the clients go; answered by the loop's thread. */
struct leaving {
    struct http_deferred *deferred;
    atomic_uint begun, gone;
};

static void on_gone(void *arg)
{
    struct leaving *leaving = arg;

    http_answer(leaving->deferred, http_reply_new(204));
    leaving->gone++;
}

static struct http_reply *leave(struct http_req *req)
{
    struct leaving *leaving = req->state;

    leaving->deferred = http_defer(req);
    http_on_gone(leaving->deferred, on_gone, leaving);
    leaving->begun++;
    return NULL;
}

static const struct http_route leaving_routes[] = {{"GET", "/leave", leave}, {0}};

#define LEAVE "GET /leave HTTP/1.1\r\nhost: test\r\n\r\n"

Test(http_server, a_handler_is_told_that_its_client_has_gone)
{
    struct leaving leaving = {0};
    struct fixture f =
        fixture_open((struct http_server_def){.routes = leaving_routes, .state = &leaving, .receive_timeout_ms = 100});
    int fd = fixture_connect(&f);

    net_send_text(fd, LEAVE);
    NET_AWAIT(leaving.begun == 1);
    close(fd);
    NET_AWAIT(leaving.gone == 1);
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 0);
    cr_expect_eq(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/leave\",status=\"499\"}"), 1);
    fixture_close(&f);
}

Test(http_server, a_handler_is_told_that_its_request_was_answered_otherwise)
{
    struct leaving leaving = {0};
    struct fixture f =
        fixture_open((struct http_server_def){.routes = leaving_routes, .state = &leaving, .request_timeout_ms = 10});
    int fd = fixture_connect(&f);

    net_send_text(fd, LEAVE);
    expect_answer(fd, 504);
    cr_expect_eq(leaving.gone, 1);
    close(fd);
    fixture_close(&f);
    f = fixture_open((struct http_server_def){.routes = leaving_routes, .state = &leaving});
    fd = fixture_connect(&f);
    net_send_text(fd, LEAVE);
    NET_AWAIT(leaving.begun == 2);
    fixture_close(&f);
    cr_expect_eq(leaving.gone, 2);
    close(fd);
}

Test(http_server, answers_may_come_after_the_server_has_been_closed)
{
    struct waiting *waiting = waiting_new();
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = waiting, .workers = 2});
    int fds[8];

    for (unsigned i = 0; i < 8; i++) {
        fds[i] = fixture_connect(&f);
        net_send_text(fds[i], LATER);
    }
    NET_AWAIT(waiting->count == 8);
    fixture_close(&f);
    for (unsigned i = 0; i < 8; i++) {
        expect_answer(fds[i], 503);
        cr_expect(net_closed(fds[i]));
        close(fds[i]);
    }
    answer_all(waiting);
    free(waiting);
}

struct racer {
    struct waiting *waiting;
    atomic_bool stop;
};

/* Answers while the server is being closed. */
static void *race(void *arg)
{
    struct racer *racer = arg;

    while (!racer->stop) {
        pthread_mutex_lock(&racer->waiting->lock);
        answer_all(racer->waiting);
        pthread_mutex_unlock(&racer->waiting->lock);
    }
    return NULL;
}

Test(http_server, answers_may_come_while_the_server_is_being_closed)
{
    for (int round = 0; round < 20; round++) {
        struct racer racer = {.waiting = waiting_new()};
        struct fixture f =
            fixture_open((struct http_server_def){.routes = routes, .state = racer.waiting, .workers = 2});
        pthread_t thread;
        int fds[16];

        cr_assert_eq(pthread_create(&thread, NULL, race, &racer), 0);
        for (int i = 0; i < 16; i++) {
            fds[i] = fixture_connect(&f);
            net_send_text(fds[i], LATER);
        }
        fixture_close(&f);
        racer.stop = true;
        pthread_join(thread, NULL);
        answer_all(racer.waiting);
        for (int i = 0; i < 16; i++)
            close(fds[i]);
        free(racer.waiting);
    }
}

/* ---- limits ---- */

Test(http_server, requests_in_flight_are_bounded)
{
    struct waiting *waiting = waiting_new();
    struct fixture f =
        fixture_open((struct http_server_def){.routes = routes, .state = waiting, .max_in_flight = 2, .workers = 2});
    int first = fixture_connect(&f), second = fixture_connect(&f), third = fixture_connect(&f);
    struct net_answer answer;
    char value[512];

    net_send_text(first, LATER);
    net_send_text(second, LATER);
    NET_AWAIT(waiting->count == 2);
    net_ask(third, HELLO, &answer);
    cr_expect_eq(answer.status, 503);
    cr_expect_str_eq(net_header(&answer, "retry-after", value), "1");
    net_answer_release(&answer);
    expect(third, "GET /always HTTP/1.1\r\nhost: test\r\n\r\n", 200, "hello");
    answer_all(waiting);
    expect_answer(first, 200);
    expect_answer(second, 200);
    NET_AWAIT(fixture_metric(&f, "http_requests_in_flight{server=\"test\"}") == 0);
    expect(third, HELLO, 200, "hello");
    close(first);
    close(second);
    close(third);
    fixture_close(&f);
    free(waiting);
}

/* ---- a full listener ---- */

#define IDLE_CLOSED "listener_idle_closed_total{server=\"test\"}"
#define REFUSED     "listener_refused_total{server=\"test\"}"
#define CONNECTIONS "http_connections{server=\"test\"}"

Test(http_server, when_the_listener_is_full_the_longest_idle_connection_yields)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_connections = 2});
    int first = fixture_connect(&f), second = fixture_connect(&f), third;

    expect(first, HELLO, 200, NULL);
    expect(second, HELLO, 200, NULL);
    expect(first, HELLO, 200, NULL); /* now the second has been idle for longer */
    third = fixture_connect(&f);
    expect(third, HELLO, 200, "hello");
    cr_expect(net_closed(second));
    expect(first, HELLO, 200, "hello");
    cr_expect_eq(fixture_metric(&f, CONNECTIONS), 2);
    cr_expect_eq(fixture_metric(&f, IDLE_CLOSED), 1);
    cr_expect_eq(fixture_metric(&f, REFUSED), 0);
    close(first);
    close(second);
    close(third);
    fixture_close(&f);
}

Test(http_server, silent_connections_lock_nobody_out)
{
    enum { SILENT = 100 };
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_connections = 10, .workers = 2});
    int silent[SILENT], honest;

    for (int i = 0; i < SILENT; i++)
        silent[i] = fixture_connect(&f);
    honest = fixture_connect(&f);
    expect(honest, HELLO, 200, "hello");
    expect(honest, HELLO, 200, "hello");
    cr_expect_eq(fixture_metric(&f, CONNECTIONS), 10);
    close(honest);
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
    fixture_close(&f);
}

Test(http_server, requests_being_answered_do_not_yield_and_a_new_connection_is_refused)
{
    struct waiting *waiting = waiting_new();
    struct fixture f =
        fixture_open((struct http_server_def){.routes = routes, .state = waiting, .max_connections = 2, .workers = 2});
    int first = fixture_connect(&f), second = fixture_connect(&f), refused, last;

    net_send_text(first, LATER);
    net_send_text(second, LATER);
    NET_AWAIT(waiting->count == 2);
    refused = fixture_connect(&f);
    cr_expect(net_closed(refused));
    cr_expect_eq(fixture_metric(&f, REFUSED), 1);
    answer_all(waiting);
    expect_answer(first, 200);
    expect_answer(second, 200);
    last = fixture_connect(&f);
    expect(last, HELLO, 200, "hello");
    cr_expect_eq(fixture_metric(&f, REFUSED), 1);
    close(first);
    close(second);
    close(refused);
    close(last);
    fixture_close(&f);
    free(waiting);
}

#define HALF "POST /hello HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nab"

Test(http_server, a_half_sent_request_yields_when_no_connection_is_idle)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_connections = 2});
    struct timespec tick = {0, 20000000}; /* the order is known to a millisecond */
    int half = fixture_connect(&f), silent, other, last;

    net_send_text(half, HALF);
    silent = fixture_connect(&f);
    NET_AWAIT(fixture_metric(&f, CONNECTIONS) == 2);
    nanosleep(&tick, NULL);
    other = fixture_connect(&f);
    cr_expect(net_closed(silent));
    net_send_text(half, "cd");
    expect_answer(half, 200);
    net_send_text(half, HALF);
    net_send_text(other, HALF);
    last = fixture_connect(&f);
    expect(last, HELLO, 200, "hello");
    cr_expect_eq(fixture_metric(&f, CONNECTIONS), 2);
    cr_expect_eq(fixture_metric(&f, REFUSED), 0);
    close(half);
    close(silent);
    close(other);
    close(last);
    fixture_close(&f);
}

Test(http_server, idle_and_half_sent_requests_are_closed)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .idle_timeout_ms = 500});
    int silent = fixture_connect(&f), kept = fixture_connect(&f);

    expect(kept, HELLO, 200, "hello");
    cr_expect(net_closed(silent));
    cr_expect(net_closed(kept));
    close(silent);
    close(kept);
    fixture_close(&f);
}

/* Whoever is idle is left alone meanwhile. */
Test(http_server, what_comes_of_a_request_and_ends_halfway_is_closed)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = 200});
    int head = fixture_connect(&f), body = fixture_connect(&f), second = fixture_connect(&f),
        kept = fixture_connect(&f);

    net_send_text(head, "GET /hello HTTP/1.1\r\nho");
    net_send_text(body, "POST /hello HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345");
    expect(kept, HELLO, 200, "hello");
    expect(second, HELLO, 200, "hello");
    net_send_text(second, "GET");
    cr_expect(net_closed(head));
    cr_expect(net_closed(body));
    cr_expect(net_closed(second));
    expect(kept, HELLO, 200, "hello");
    close(head);
    close(body);
    close(second);
    close(kept);
    fixture_close(&f);
}

/* It may still send a request, but not for ever. */
Test(http_server, an_idle_connection_ends_some_time_after_a_drain_began)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = 200});
    int idle = fixture_connect(&f);

    expect(idle, HELLO, 200, "hello");
    http_server_drain(f.server);
    cr_expect_eq(http_server_wait(f.server, clock_monotonic_ns() + 60 * CLOCK_NS_PER_S), 0);
    cr_expect(net_closed(idle));
    close(idle);
    fixture_close(&f);
}

Test(http_server, bodies_in_flight_are_bounded_together)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .max_bodies = 100});
    int fd = fixture_connect(&f);
    char text[256];

    snprintf(text, sizeof(text), "POST /hello HTTP/1.1\r\nhost: test\r\ncontent-length: 101\r\n\r\n%0101d", 0);
    net_send_text(fd, text);
    expect_answer(fd, 503);
    expect(fd, "POST /hello HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi", 200, "hello");
    close(fd);
    fixture_close(&f);
}

Test(http_server, a_client_that_does_not_take_its_answer_is_cut_off)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .request_timeout_ms = 100});
    int fd = fixture_connect(&f);

    net_send_text(fd, "GET /large HTTP/1.1\r\nhost: test\r\n\r\n");
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/large\",status=\"200\"}") == 1);
    NET_AWAIT(fixture_metric(&f, "http_connections{server=\"test\"}") == 0);
    close(fd);
    fixture_close(&f);
}

Test(http_server, a_large_answer_arrives)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);
    struct net_answer answer;

    net_ask(fd, "GET /large HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
    cr_expect_eq(answer.body_len, LARGE);
    cr_expect_eq(answer.body[LARGE - 1], 'x');
    net_answer_release(&answer);
    expect(fd, HELLO, 200, "hello");
    close(fd);
    fixture_close(&f);
}

/* ---- leaving ---- */

static void expect_closing(int fd)
{
    struct net_answer answer;
    char value[512];

    net_ask(fd, HELLO, &answer);
    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(net_header(&answer, "connection", value), "close");
    net_answer_release(&answer);
    cr_expect(net_closed(fd));
}

static uint64_t in_seconds(unsigned seconds)
{
    return clock_monotonic_ns() + seconds * CLOCK_NS_PER_S;
}

Test(http_server, discouraged_connections_close_after_their_next_answer_and_new_ones_are_taken)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .workers = 2});
    int kept = fixture_connect(&f), fresh;

    expect(kept, HELLO, 200, "hello");
    http_server_discourage(f.server);
    http_server_discourage(f.server);
    /* Each worker has heard of it once a connection of its own says so. */
    expect_closing(kept);
    fresh = fixture_connect(&f);
    expect(fresh, HELLO, 200, "hello");
    close(kept);
    close(fresh);
    fixture_close(&f);
}

Test(http_server, drain_answers_what_is_there_and_what_waits_in_the_backlog)
{
    struct waiting *waiting = waiting_new();
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .state = waiting, .max_connections = 3});
    int busy = fixture_connect(&f), kept = fixture_connect(&f), blocking = fixture_connect(&f), backlog[8];

    expect(kept, HELLO, 200, "hello");
    net_send_text(busy, LATER);
    NET_AWAIT(waiting->count == 1);
    net_send_text(blocking, "GET /block HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    sem_wait(&waiting->blocked);
    for (int i = 0; i < 8; i++) {
        backlog[i] = fixture_connect(&f);
        net_send_text(backlog[i], HELLO);
    }
    http_server_drain(f.server);
    http_server_drain(f.server);
    sem_post(&waiting->go);
    expect_answer(blocking, 200);
    for (int i = 0; i < 8; i++) {
        expect_answer(backlog[i], 200);
        close(backlog[i]);
    }
    NET_AWAIT(fixture_metric(&f, CONNECTIONS) == 2);
    expect_closing(kept);
    close(kept);
    close(blocking);
    cr_expect_eq(http_server_wait(f.server, clock_monotonic_ns()), -ETIMEDOUT);
    answer_all(waiting);
    expect_answer(busy, 200);
    close(busy);
    cr_expect_eq(http_server_wait(f.server, in_seconds(10)), 0);
    fixture_close(&f);
    free(waiting);
}

Test(http_server, idle_connections_are_no_reason_to_call_a_drain_late)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int idle = fixture_connect(&f);

    expect(idle, HELLO, 200, "hello");
    http_server_drain(f.server);
    cr_expect_eq(http_server_wait(f.server, clock_monotonic_ns() + 50 * CLOCK_NS_PER_MS), 0);
    fixture_close(&f);
    cr_expect(net_closed(idle));
    close(idle);
}

Test(http_server, a_drained_server_is_not_connected_to)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    http_server_drain(f.server);
    cr_expect_eq(http_server_wait(f.server, in_seconds(10)), 0);
    cr_expect_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    cr_expect_eq(errno, ECONNREFUSED);
    close(fd);
    fixture_close(&f);
}

/* A client that asks until it can connect no more. Whatever the kernel connected must be answered. */
struct client {
    struct sockaddr_in address;
    bool keep_alive;
    atomic_bool *under_load; /* set once some have been answered */
    unsigned answered, failed;
};

/* 1: answered, and the connection stays; 0: answered for the last time; -1: not answered. */
static int ask_strictly(int fd)
{
    static const char request[] = HELLO;
    char answer[1024];
    size_t len = 0;
    ssize_t got;

    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
        return -1;
    while (len < 5 || memcmp(answer + len - 5, "hello", 5) != 0) {
        if ((got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) <= 0)
            return -1;
        len += (size_t)got;
    }
    answer[len] = '\0';
    return strstr(answer, "onnection: close") == NULL;
}

static void *ask_until_refused(void *arg)
{
    struct timeval bound = {NET_BOUND_MS / 1000, 0};
    struct client *client = arg;

    for (;;) {
        int result, fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
        if (connect(fd, (struct sockaddr *)&client->address, sizeof(client->address)) < 0) {
            close(fd);
            return NULL;
        }
        do {
            result = ask_strictly(fd);
            client->answered += result >= 0;
            client->failed += result < 0;
            if (client->answered == 20)
                *client->under_load = true;
        } while (result == 1 && client->keep_alive);
        close(fd);
    }
}

#define CLIENTS 8

static void drain_under_load(bool discourage)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .workers = 2});
    struct client clients[CLIENTS] = {0};
    pthread_t threads[CLIENTS];
    atomic_bool under_load = false;

    for (int i = 0; i < CLIENTS; i++) {
        clients[i].address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)f.port)};
        clients[i].address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        clients[i].keep_alive = i % 2 == 0;
        clients[i].under_load = &under_load;
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_until_refused, &clients[i]), 0);
    }
    NET_AWAIT(under_load);
    if (discourage)
        http_server_discourage(f.server);
    http_server_drain(f.server);
    cr_expect_eq(http_server_wait(f.server, in_seconds(10)), 0);
    fixture_close(&f);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(clients[i].failed, 0, "%u of %u", clients[i].failed, clients[i].answered);
    }
}

Test(http_server, a_drain_under_load_fails_nothing)
{
    drain_under_load(false);
    drain_under_load(true);
}

Test(http_server, nor_does_one_without_privileges)
{
    int fd, port;

    if (geteuid() == 0)
        cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    cr_assert_eq(net_listen("::", 0, &fd, &port), 0);
    cr_expect_eq(net_listen_stop_syn_by_ttl(fd), 0);
    close(fd);
    drain_under_load(true);
}

static bool can_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval bound = {0, 100000}; /* a SYN that was dropped is sent again after a second */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool connected;

    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

Test(http_server, either_way_of_dropping_syns_drops_them)
{
    int fd, port;

    cr_assert_eq(net_listen("::", 0, &fd, &port), 0);
    cr_expect(can_connect(port));
    if (net_listen_stop_syn(fd) == 0)
        cr_expect_not(can_connect(port));
    close(fd);
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_expect_eq(net_listen_stop_syn_by_ttl(fd), 0);
    cr_expect_not(can_connect(port));
    net_listen_accepted(fd);
    cr_expect(can_connect(port));
    close(fd);
}

Test(http_server, a_server_may_be_closed_that_never_started)
{
    struct http_server_def def = {.name = "test", .routes = routes, .workers = 3};
    struct http_server *server;
    int fd, port;

    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &port), 0);
    cr_assert_eq(http_server_open(fd, &def, &server), 0);
    cr_expect_eq(http_server_workers(server), 3);
    cr_expect_gt(http_server_last_turn_ns(server), 0);
    cr_expect_null(http_server_close(server));
    cr_expect_null(http_server_close(NULL));
}

Test(http_server, closing_cuts_off_a_client_that_does_not_take_its_answer)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes});
    int fd = fixture_connect(&f);

    net_send_text(fd, "GET /large HTTP/1.1\r\nhost: test\r\n\r\n");
    NET_AWAIT(fixture_metric(&f, "http_requests_in_flight{server=\"test\"}") == 1);
    fixture_close(&f);
    cr_expect(net_closed(fd));
    close(fd);
}

/* ---- many at a time ---- */

struct asker {
    int port;
    atomic_uint failed;
};

static void *ask_often(void *arg)
{
    static const char *const requests[] = {HELLO, "GET /thread HTTP/1.1\r\nhost: test\r\n\r\n",
                                           "GET /nothing HTTP/1.1\r\nhost: test\r\n\r\n"};
    struct asker *asker = arg;
    struct net_answer answer;

    for (int i = 0; i < 50; i++) {
        int fd = net_connect("127.0.0.1", asker->port);
        for (int j = 0; j < 6; j++) {
            net_ask(fd, requests[j % 3], &answer);
            asker->failed += answer.status != (j % 3 == 2 ? 404 : 200);
            net_answer_release(&answer);
        }
        close(fd);
    }
    return NULL;
}

Test(http_server, several_workers_serve_several_clients)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .workers = 3});
    struct asker asker = {.port = f.port};
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_often, &asker), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(asker.failed, 0);
    NET_AWAIT(fixture_metric(&f, "http_requests_total{method=\"GET\",path=\"/thread\",status=\"200\"}") == 400);
    fixture_close(&f);
}
