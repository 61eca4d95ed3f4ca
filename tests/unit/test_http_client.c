#include "http_client_fixture.h"

/* ---- a peer of our own kind, which counts what it is asked ---- */

struct peer {
    struct http_server *server;
    struct http_server_def def;
    atomic_uint asked;
    int port;
};

static struct http_reply *name(struct http_req *req)
{
    struct peer *peer = req->state;
    struct buf text = {0};

    peer->asked++;
    buf_printf(&text, "%.*s?%.*s host=%.*s accept=%.*s agent=%.*s", STR_ARG(req->path), STR_ARG(req->query),
               STR_ARG(http_header(req, "host")), STR_ARG(http_header(req, "accept")),
               STR_ARG(http_header(req, "user-agent")));
    return http_reply_take(200, "text/plain", &text);
}

static struct http_reply *traceparent(struct http_req *req)
{
    return http_reply_text(200, "text/plain", http_header(req, "traceparent"));
}

static const struct http_route peer_routes[] = {{"GET", "/name", name}, {"GET", "/trace", traceparent}, {0}};

/* port 0 picks one. */
static void peer_open(struct peer *peer, const char *host, int port)
{
    int fd;

    *peer = (struct peer){.def = {.name = "peer", .routes = peer_routes, .state = peer, .workers = 1}};
    cr_assert_eq(net_listen(host, port, &fd, &peer->port), 0);
    cr_assert_eq(http_server_open(fd, &peer->def, &peer->server), 0);
    http_server_start(peer->server);
}

static void peer_close(struct peer *peer)
{
    peer->server = http_server_close(peer->server);
}

/* ---- requests ---- */

Test(http_client, asks_and_is_answered)
{
    struct peer peer;
    struct calls calls;
    char expected[256];

    peer_open(&peer, "127.0.0.1", 0);
    calls = calls_open_port(peer.port);
    snprintf(expected, sizeof(expected), "/name?a=b host=127.0.0.1:%d accept=application/json agent=slipway/%s",
             peer.port, SLIPWAY_VERSION);
    for (int i = 0; i < 10; i++)
        expect(&calls, "/name?a=b", 0, 200, expected);
    expect(&calls, "/nothing", 0, 404, NULL);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"200\"}"), 10);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"404\"}"), 1);
    cr_expect_eq(client_metric(&calls, "http_client_request_duration_seconds_count{peer=\"peer\"}"), 11);
    cr_expect_eq(client_metric(&calls, "http_client_connections{peer=\"peer\"}"), 1); /* kept */
    cr_expect_eq(client_metric(&calls, "http_client_addresses{peer=\"peer\"}"), 1);
    calls_close(&calls);
    peer_close(&peer);
}

Test(http_client, the_trace_goes_on)
{
    struct result *result;
    struct trace mine, seen;
    struct peer peer;
    struct calls calls;

    trace_begin(STR_NULL, true, &mine);
    peer_open(&peer, "127.0.0.1", 0);
    calls = calls_open_port(peer.port);
    result = call(&calls, (struct http_client_request){.path = STR("/trace"), .trace = &mine});
    cr_assert_eq(trace_parse(str_of(result->body), &seen), 0, "%s", result->body);
    cr_expect_eq(memcmp(seen.trace_id, mine.trace_id, sizeof(mine.trace_id)), 0);
    cr_expect_eq(memcmp(seen.span_id, mine.span_id, sizeof(mine.span_id)), 0); /* no spans are made */
    cr_expect(seen.sampled);
    calls_close(&calls);
    peer_close(&peer);
    free(result);
}

static int path_refusal(struct calls *calls, const char *path)
{
    return refusal(calls, (struct http_client_request){.path = str_of(path)});
}

Test(http_client, paths_that_would_split_the_request_are_refused)
{
    struct calls calls = calls_open_port(1);

    cr_expect_eq(path_refusal(&calls, ""), -EINVAL);
    cr_expect_eq(path_refusal(&calls, "name"), -EINVAL);
    cr_expect_eq(path_refusal(&calls, "/a b"), -EINVAL);
    cr_expect_eq(path_refusal(&calls, "/a\r\nx: y"), -EINVAL);
    cr_expect_eq(path_refusal(&calls, "/a\x7f"), -EINVAL);
    calls_close(&calls);
}

Test(http_client, targets)
{
    static const char *const bad[] = {"",        "host",   "host:", ":80",  "host:0", "host:65536", "host:8a", "[::1]",
                                      "[::1:80", "::1:80", "[]:80", "a:1,", ",a:1",   "a:1,,b:2",   "a:-1"};
    static const char *const good[] = {"127.0.0.1:80", "[::1]:80", "127.0.0.1:80,127.0.0.2:81"};
    struct http_client *client;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(http_client_open(&(struct http_client_def){.name = "x", .target = bad[i], .workers = 1}, &client),
                     -EINVAL, "%s", bad[i]);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(http_client_open(&(struct http_client_def){.name = "x", .target = good[i], .workers = 1}, &client),
                     0, "%s", good[i]);
        cr_expect_null(http_client_free(client));
    }
    cr_expect_null(http_client_free(NULL));
}

/* ---- answers of all kinds ---- */

Test(http_client, bodies_by_length_in_chunks_and_up_to_the_close)
{
    expect_answer(OK "Content-Length: 5\r\n\r\nhello", 0, 200, "hello");
    expect_answer(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, 200, "hello");
    expect_answer(OK "content-length: 0\r\n\r\n", 0, 200, "");
    expect_answer(OK "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nx-trailer: y\r\n\r\n", 0, 200,
                  "hello");
    expect_answer(OK "\r\nhello", 0, 200, "hello");
    expect_answer("HTTP/1.0 404 Not Found\r\n\r\nnothing", 0, 404, "nothing");
    expect_answer("HTTP/1.1 204 No Content\r\n\r\n", 0, 204, "");
    expect_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" OK
                  "content-length: 2\r\n\r\nok",
                  0, 200, "ok");
}

Test(http_client, answers_that_are_not_HTTP)
{
    expect_answer("hello\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer("HTTP/1.1 20 OK\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer("HTTP/1.1 999 What\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer("HTTP/1.1 101 Switching\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer(OK "content-length: five\r\n\r\nhello", -EBADMSG, 0, NULL);
    expect_answer(OK "content-length: -5\r\n\r\nhello", -EBADMSG, 0, NULL);
    expect_answer(OK "content-length: 5\r\ncontent-length: 6\r\n\r\nhello", -EBADMSG, 0, NULL);
    expect_answer(OK "content-length: 99999999999999999999999\r\n\r\nhello", -EBADMSG, 0, NULL);
    expect_answer(OK "transfer-encoding: gzip, chunked\r\n\r\n", -EBADMSG, 0, NULL);
    expect_answer(OK "transfer-encoding: chunked\r\n\r\nzz\r\n", -EBADMSG, 0, NULL);
}

Test(http_client, answers_whose_end_is_ambiguous)
{
    static const char chunks[] = "2\r\nok\r\n0\r\n\r\n";
    static const char *const heads[] = {OK "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
                                        OK "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
                                        OK "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
                                        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"};
    char answer[128];

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        snprintf(answer, sizeof(answer), "%s%s", heads[i], chunks);
        expect_answer(answer, -EBADMSG, 0, NULL);
    }
}

Test(http_client, chunks_that_are_badly_framed)
{
    static const char *const bodies[] = {"2\r\nok\r\r\n0\r\n\r\n",     "2\r\nokx\r\n0\r\n\r\n",
                                         "2;a=\1\r\nok\r\n0\r\n\r\n",  "2\r\nok\r\n0\r\nx: \1\r\n\r\n",
                                         "2\r\nok\r\n0\r\n\1\r\n\r\n", "2\nok\r\n0\r\n\r\n",
                                         "2\r\nok\n0\r\n\r\n",         "2\r\nok\r\n0\n\r\n",
                                         "2\r\nok\r\n0\r\n\n",         "2\r\nok\r\n0\r\nx: y\n\r\n",
                                         "2;\r\r\nok\r\n0\r\n\r\n"};
    char answer[128];

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        snprintf(answer, sizeof(answer), OK "transfer-encoding: chunked\r\n\r\n%s", bodies[i]);
        expect_answer(answer, -EBADMSG, 0, NULL);
    }
    expect_answer(OK "transfer-encoding: chunked\r\n\r\n2 ;a=\"\tb\"\r\nok\r\n0\r\nx: \ty\r\n\r\n", 0, 200, "ok");
}

Test(http_client, answers_that_break_off)
{
    expect_answer(OK "content-length: 6\r\n\r\nhello", -ECONNRESET, 0, NULL);
    expect_answer(OK "transfer-encoding: chunked\r\n\r\n5\r\nhel", -ECONNRESET, 0, NULL);
    expect_answer("HTTP/1.1 200", -ECONNRESET, 0, NULL);
}

Test(http_client, a_head_that_is_too_large)
{
    char *answer = malloc(20000);

    strcpy(answer, OK "x: ");
    memset(answer + strlen(answer), 'x', 17000);
    strcpy(answer + 17020, "\r\ncontent-length: 0\r\n\r\n");
    expect_answer(answer, -EBADMSG, 0, NULL);
    free(answer);
}

Test(http_client, bodies_that_are_too_large)
{
    static const char *const answers[] = {OK "content-length: 11\r\n\r\nhello world",
                                          OK "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
                                          OK "\r\nhello world", NULL};
    struct script script = {.answers = answers};
    struct calls calls;

    script_open(&script);
    calls = calls_open_with(script.port, (struct http_client_def){.max_body = 10});
    for (int i = 0; i < 3; i++)
        expect(&calls, "/", -EMSGSIZE, 0, NULL);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"EMSGSIZE\"}"), 3);
    calls_close(&calls);
    script_close(&script);
}

/* ---- connections ---- */

Test(http_client, connections_are_kept_unless_the_answer_says_otherwise)
{
    static const char *const kept[] = {OK "content-length: 1\r\n\r\na",
                                       OK "transfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
                                       "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nc",
                                       OK "connection: close\r\ncontent-length: 1\r\n\r\nd", NULL};
    struct script script = {.answers = kept, .reuse = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect(&calls, "/", 0, 200, "a");
    expect(&calls, "/", 0, 200, "b");
    expect(&calls, "/", 0, 200, "c");
    expect(&calls, "/", 0, 200, "d");
    cr_expect_eq(script.connections, 1);
    NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client, a_connection_with_more_than_the_answer_on_it_is_not_kept)
{
    static const char *const answers[] = {OK "content-length: 1\r\n\r\naHTTP/1.1 200 OK\r\n", NULL};
    struct script script = {.answers = answers, .hold = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect(&calls, "/", 0, 200, "a");
    NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
    calls_close(&calls);
    script_close(&script);
}

/* The server answers, keeps the connection, and closes it when the next request comes. */
static void *answer_once_each(void *arg)
{
    struct script *script = arg;

    for (int i = 0; i < 3; i++) {
        static const char answer[] = OK "content-length: 2\r\n\r\nok";
        int fd = accept(script->listen_fd, NULL, NULL);
        script->connections++;
        if (read_request(fd, script->requests, sizeof(script->requests)))
            net_send(fd, answer, strlen(answer));
        read_request(fd, script->requests, sizeof(script->requests));
        close(fd);
    }
    return NULL;
}

Test(http_client, a_call_is_repeated_when_a_kept_connection_turns_out_to_be_closed)
{
    struct script script = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct calls calls;

    script.listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(script.listen_fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(script.listen_fd, 16), 0);
    getsockname(script.listen_fd, (struct sockaddr *)&address, &len);
    cr_assert_eq(pthread_create(&script.thread, NULL, answer_once_each, &script), 0);
    calls = calls_open_port(ntohs(address.sin_port));
    for (int i = 0; i < 3; i++)
        expect(&calls, "/", 0, 200, "ok");
    cr_expect_eq(script.connections, 3);
    calls_close(&calls);
    pthread_join(script.thread, NULL);
    close(script.listen_fd);
}

Test(http_client, a_call_is_repeated_once_only)
{
    struct script script = {.answers = (const char *const[]){"", "", "", NULL}};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect(&calls, "/", -ECONNRESET, 0, NULL);
    cr_expect_eq(script.connections, 2);
    calls_close(&calls);
    script_close(&script);
}

static void *break_all(void *arg)
{
    struct script *script = arg;
    int fd;

    while ((fd = accept(script->listen_fd, NULL, NULL)) >= 0) {
        script->requests[0] = '\0';
        script->connections += read_request(fd, script->requests, sizeof(script->requests));
        close(fd);
    }
    return NULL;
}

/* The peer breaks each connection. Half of the tokens are gone after 500 attempts: from then on none is repeated. */
Test(http_client, repetitions_are_throttled)
{
    struct script script = {.answers = (const char *const[]){NULL}};
    struct calls calls;

    script_open(&script);
    pthread_join(script.thread, NULL);
    cr_assert_eq(pthread_create(&script.thread, NULL, break_all, &script), 0);
    calls = calls_open_port(script.port);
    for (int i = 0; i < 300; i++)
        expect(&calls, "/", -ECONNRESET, 0, NULL);
    cr_expect_eq(script.connections, 2 * 250 + 50);
    calls_close(&calls);
    script_close(&script);
}

Test(http_client, connections_are_retired)
{
    struct peer peer;
    struct calls calls;

    peer_open(&peer, "127.0.0.1", 0);
    calls = calls_open_with(peer.port, (struct http_client_def){.max_connection_age_ms = 1});
    expect(&calls, "/name", 0, 200, NULL);
    NET_AWAIT(client_metric(&calls, "http_client_connections{peer=\"peer\"}") == 0);
    expect(&calls, "/name", 0, 200, NULL);
    calls_close(&calls);
    peer_close(&peer);
}

/* ---- deadlines, bounds, the end ---- */

Test(http_client, the_deadline)
{
    struct script script = {.answers = (const char *const[]){OK "content-length: 9\r\n\r\nhal", NULL}, .hold = true};
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    expect_of(&calls, (struct http_client_request){.path = STR("/"), .timeout_ms = 30}, -ETIMEDOUT, 0, NULL);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"ETIMEDOUT\"}"), 1);
    cr_expect_eq(client_metric(&calls, "http_client_connections{peer=\"peer\"}"), 0);
    calls_close(&calls);
    script_close(&script);
}

static void cancel(void *arg)
{
    http_call_cancel(((struct result *)arg)->call);
}

Test(http_client, a_cancelled_call_is_not_heard_of_again)
{
    struct script script = {.answers = (const char *const[]){"", NULL}, .hold = true};
    struct result *result;
    struct calls calls;

    script_open(&script);
    calls = calls_open_port(script.port);
    result = result_new(&calls, (struct http_client_request){.path = STR("/")});
    loop_call(calls.loop, begin, result);
    loop_call(calls.loop, cancel, result);
    cr_expect_eq(client_metric(&calls, "http_client_connections{peer=\"peer\"}"), 0);
    calls_close(&calls);
    cr_expect_not(result->done);
    script_close(&script);
    free(result);
}

Test(http_client, calls_in_flight_are_bounded_and_end_with_their_loop)
{
    struct script script = {.answers = (const char *const[]){"", NULL}, .hold = true};
    struct result *results = calloc(3, sizeof(*results));
    struct calls calls;

    script_open(&script);
    calls = calls_open_with(script.port, (struct http_client_def){.max_in_flight = 2});
    for (int i = 0; i < 3; i++) {
        results[i].calls = &calls;
        results[i].request.path = STR("/");
        loop_call(calls.loop, begin, &results[i]);
    }
    cr_expect_eq(results[0].begun, 0);
    cr_expect_eq(results[1].begun, 0);
    cr_expect_eq(results[2].begun, -ENOBUFS);
    calls_close(&calls);
    cr_expect_eq(results[0].err, -ECANCELED);
    cr_expect_eq(results[1].err, -ECANCELED);
    cr_expect_not(results[2].done);
    script_close(&script);
    free(results);
}

/* ---- several addresses ---- */

#define PEERS 3

static void expect_even(struct peer *peers, unsigned count, unsigned calls)
{
    for (unsigned i = 0; i < count; i++) {
        cr_expect_geq(peers[i].asked, calls / count, "%u: %u of %u", i, peers[i].asked, calls);
        cr_expect_leq(peers[i].asked, (calls + count - 1) / count, "%u: %u of %u", i, peers[i].asked, calls);
    }
}

/* 127.0.0.1, 127.0.0.2, ... on one port. */
static void open_peers(struct peer *peers, char target[256])
{
    target[0] = '\0';
    for (int i = 0; i < PEERS; i++) {
        char host[16], piece[32];
        snprintf(host, sizeof(host), "127.0.0.%d", i + 1);
        peer_open(&peers[i], host, i == 0 ? 0 : peers[0].port);
        snprintf(piece, sizeof(piece), "%s%s:%d", i > 0 ? "," : "", host, peers[i].port);
        strcat(target, piece);
    }
}

static void close_peers(struct peer *peers)
{
    for (int i = 0; i < PEERS; i++)
        peer_close(&peers[i]);
}

static void ask(struct calls *calls, int times)
{
    for (int i = 0; i < times; i++)
        expect(calls, "/name", 0, 200, NULL);
}

Test(http_client, calls_are_spread_evenly_over_kept_connections)
{
    struct peer peers[PEERS];
    struct calls calls;
    char target[256];

    open_peers(peers, target);
    calls = calls_open((struct http_client_def){.target = target});
    ask(&calls, 100);
    expect_even(peers, PEERS, 100);
    cr_expect_eq(client_metric(&calls, "http_client_connections{peer=\"peer\"}"), PEERS);
    calls_close(&calls);
    close_peers(peers);
}

Test(http_client, an_address_that_is_down_costs_no_call_and_the_others_share_evenly)
{
    struct peer peers[PEERS];
    struct calls calls;
    char target[256];

    open_peers(peers, target);
    peer_close(&peers[0]);
    calls = calls_open((struct http_client_def){.target = target});
    ask(&calls, 100);
    cr_expect_eq(peers[0].asked, 0);
    cr_expect_geq(peers[1].asked, 45, "%u", peers[1].asked);
    cr_expect_geq(peers[2].asked, 45, "%u", peers[2].asked);
    calls_close(&calls);
    peer_close(&peers[1]);
    peer_close(&peers[2]);
}

Test(http_client, an_address_that_goes_down_and_comes_back)
{
    struct peer peers[PEERS];
    struct calls calls;
    char target[256];

    open_peers(peers, target);
    calls = calls_open((struct http_client_def){.target = target});
    ask(&calls, 30);
    peer_close(&peers[1]);
    ask(&calls, 30);
    peer_open(&peers[1], "127.0.0.2", peers[0].port);
    for (int i = 0; peers[1].asked < 10; i++) {
        cr_assert_lt(i, 1000000);
        expect(&calls, "/name", 0, 200, NULL);
    }
    calls_close(&calls);
    close_peers(peers);
}

Test(http_client, an_address_that_says_close_is_left_to_the_last)
{
    struct peer peers[PEERS];
    struct calls calls;
    char target[256];

    open_peers(peers, target);
    calls = calls_open((struct http_client_def){.target = target});
    http_server_discourage(peers[0].server);
    ask(&calls, 100);
    cr_expect_geq(peers[0].asked, 1);
    cr_expect_leq(peers[0].asked, 10, "%u", peers[0].asked); /* one a second */
    calls_close(&calls);
    close_peers(peers);
}

Test(http_client, where_all_say_close_they_take_turns)
{
    struct peer peers[PEERS];
    struct calls calls;
    char target[256];

    open_peers(peers, target);
    calls = calls_open((struct http_client_def){.target = target});
    for (int i = 0; i < PEERS; i++)
        http_server_discourage(peers[i].server);
    ask(&calls, 99);
    for (int i = 0; i < PEERS; i++)
        cr_expect_geq(peers[i].asked, 25, "%u", peers[i].asked);
    calls_close(&calls);
    close_peers(peers);
}

Test(http_client, nobody_there)
{
    struct peer peer;
    struct calls calls;

    peer_open(&peer, "127.0.0.1", 0);
    calls = calls_open_port(peer.port);
    peer_close(&peer);
    expect(&calls, "/name", -ECONNREFUSED, 0, NULL);
    cr_expect_eq(client_metric(&calls, "http_client_requests_total{peer=\"peer\",status=\"ECONNREFUSED\"}"), 1);
    calls_close(&calls);
}

/* ---- names ---- */

Test(http_client, names_are_resolved)
{
    struct peer peer;
    struct calls calls;
    char target[64];

    peer_open(&peer, "::", 0);
    snprintf(target, sizeof(target), "localhost:%d", peer.port);
    calls = calls_open((struct http_client_def){.target = target, .resolve_interval_ms = 1});
    for (int i = 0; i < 10; i++)
        expect(&calls, "/name", 0, 200, NULL);
    calls_close(&calls);
    peer_close(&peer);
}

Test(http_client, names_that_do_not_exist)
{
    struct calls calls = calls_open((struct http_client_def){.target = "nowhere.invalid:80"});

    expect(&calls, "/", -ECONNREFUSED, 0, NULL);
    calls_close(&calls);
}

/* ---- from a server's workers, as services call ---- */

struct front {
    struct http_client *client;
};

static void on_name(void *arg, int err, const struct http_client_response *response)
{
    http_answer(arg, err < 0 ? http_problem_errno(err, "peer") : http_reply_text(200, "text/plain", response->body));
}

static struct http_reply *ask_peer(struct http_req *req)
{
    struct front *front = req->state;
    struct http_deferred *deferred = http_defer(req);
    struct http_call *call;
    int err = http_client_call(
        front->client, req->loop,
        &(struct http_client_request){.path = STR("/name"), .trace = &req->trace, .timeout_ms = NET_BOUND_MS}, on_name,
        deferred, &call);

    if (err < 0)
        http_answer(deferred, http_problem_errno(err, NULL));
    return NULL;
}

static const struct http_route front_routes[] = {{"GET", "/ask", ask_peer}, {0}};

static void *ask_often(void *arg)
{
    int fd = net_connect("127.0.0.1", *(int *)arg);
    struct net_answer answer;

    for (int i = 0; i < 150; i++) {
        net_ask(fd, "GET /ask HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
        cr_assert_eq(answer.status, 200);
        net_answer_release(&answer);
    }
    close(fd);
    return NULL;
}

Test(http_client, called_by_the_workers_of_a_server)
{
    struct peer peers[PEERS];
    struct front front;
    struct fixture f;
    pthread_t threads[4];
    unsigned asked = 0;
    char target[256];

    open_peers(peers, target);
    cr_assert_eq(
        http_client_open(&(struct http_client_def){.name = "peer", .target = target, .workers = 2}, &front.client), 0);
    f = fixture_open((struct http_server_def){.routes = front_routes, .state = &front, .workers = 2});
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_often, &f.port), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PEERS; i++) {
        asked += peers[i].asked;
        cr_expect_geq(peers[i].asked, 198); /* each worker is even to one call */
        cr_expect_leq(peers[i].asked, 202);
    }
    cr_expect_eq(asked, 600);
    fixture_close(&f);
    http_client_free(front.client);
    for (int i = 0; i < PEERS; i++)
        peer_close(&peers[i]);
}
