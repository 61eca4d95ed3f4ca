/* Whatever a client sends, the server goes on serving; whatever a server answers, a call ends. The bytes are the same
 * in every run; what they find is a crash, a report of a sanitizer, or a wait without end. */
#include "http_client.h"
#include "http_fixture.h"
#include "random.h"
#include <pthread.h>
#include <stdatomic.h>

/* Changes, removes, repeats or inserts a few bytes of text. Returns the new length, at most size. */
static size_t mutate(uint64_t *random, char *bytes, size_t len, size_t size)
{
    static const char telling[] = "\r\n\t :;,%/?&=+\0\xff"
                                  "0129aZ";

    for (int n = random_between(random, 1, 4); n > 0 && len > 1; n--) {
        size_t at = (size_t)random_between(random, 0, (int)len - 1);
        size_t some = (size_t)random_between(random, 1, 8);
        char c =
            random_next(random) % 2 == 0 ? telling[random_next(random) % sizeof(telling)] : (char)random_next(random);

        some = some < len - at ? some : len - at;
        switch (random_next(random) % 4) {
        case 0:
            bytes[at] = c;
            break;
        case 1:
            memmove(bytes + at, bytes + at + some, len - at - some);
            len -= some;
            break;
        case 2:
            if (len + some <= size) {
                memmove(bytes + at + some, bytes + at, len - at);
                len += some;
            }
            break;
        default:
            if (len < size) {
                memmove(bytes + at + 1, bytes + at, len - at);
                bytes[at] = c;
                len++;
            }
        }
    }
    return len;
}

/* ---- the server ---- */

static int ignore(void *arg, struct str name, struct str value)
{
    return 0;
}

static struct http_reply *look_at_all(struct http_req *req)
{
    struct str value;

    if (http_each_query(req, ignore, NULL) < 0 || http_query(req, "q", &value) < 0)
        return http_problem(400, "%.*s", STR_ARG(req->query));
    return http_set_header(http_reply_text(200, "text/plain", req->body), "x-param", "%.*s", STR_ARG(req->params[0]));
}

static const struct http_route routes[] = {
    {"GET", "/things/{id}", look_at_all}, {"POST", "/things/{id}", look_at_all, .max_body = 100}, {0}};

static const char *const requests[] = {
    "GET /things/a%20b?q=1&r=x+y HTTP/1.1\r\nhost: test\r\nuser-agent: x\r\nreferer: y\r\n\r\n",
    "POST /things/1 HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello",
    "POST /things/1 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "GET http://test/things/1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /things/2 HTTP/1.1\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nhost: test\r\ntraceparent: "
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nhost: t\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
    "http2-settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};

/* What is sent may be refused half way. */
static void send_hostile(const struct fixture *fixture, const char *bytes, size_t len)
{
    int fd = fixture_connect(fixture);

    (void)!send(fd, bytes, len, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    cr_expect(net_closed(fd));
    close(fd);
}

static void expect_serving(const struct fixture *fixture)
{
    int fd = fixture_connect(fixture);
    struct net_answer answer;

    net_ask(fd, "GET /things/1?q=2 HTTP/1.1\r\nhost: test\r\n\r\n", &answer);
    cr_expect_eq(answer.status, 200);
    net_answer_release(&answer);
    close(fd);
}

Test(http_hostile, requests_over_HTTP_1)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = 1000});
    uint64_t random = 1;
    char bytes[1024];

    for (int i = 0; i < 2000; i++) {
        const char *request = requests[i % 6];
        size_t len = strlen(request);
        memcpy(bytes, request, len);
        send_hostile(&f, bytes, mutate(&random, bytes, len, sizeof(bytes)));
    }
    expect_serving(&f);
    fixture_close(&f);
}

Test(http_hostile, bytes_without_sense)
{
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = 1000});
    uint64_t random = 2;
    char bytes[512];

    for (int i = 0; i < 300; i++) {
        for (size_t j = 0; j < sizeof(bytes); j++)
            bytes[j] = (char)random_next(&random);
        send_hostile(&f, bytes, (size_t)random_between(&random, 1, sizeof(bytes)));
    }
    expect_serving(&f);
    fixture_close(&f);
}

Test(http_hostile, frames_over_HTTP_2)
{
    /* The preface; SETTINGS; HEADERS of a POST; DATA; PING; WINDOW_UPDATE; PRIORITY; RST_STREAM */
    static const char frames[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                 "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\x1c\1\4\0\0\0\1\x83\x86\4\x9/things/1\0\1x\1y\xf\xd\1"
                                 "5\x41\4test"
                                 "\0\0\5\0\1\0\0\0\1hello"
                                 "\0\0\x8\6\0\0\0\0\0"
                                 "12345678"
                                 "\0\0\4\x8\0\0\0\0\0\0\0\1\0"
                                 "\0\0\5\2\0\0\0\0\3\0\0\0\1\x10"
                                 "\0\0\4\3\0\0\0\0\1\0\0\0\x8";
    struct fixture f = fixture_open((struct http_server_def){.routes = routes, .receive_timeout_ms = 1000});
    uint64_t random = 3;
    char bytes[1024];

    cr_assert_not_null(freopen("/dev/null", "w", stderr)); /* h2o 2.2.5 names each frame that it does not know */
    for (int i = 0; i < 2000; i++) {
        size_t len = sizeof(frames) - 1, preface = strlen("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        memcpy(bytes, frames, len);
        len = preface + mutate(&random, bytes + preface, len - preface, sizeof(bytes) - preface);
        send_hostile(&f, bytes, len);
    }
    expect_serving(&f);
    fixture_close(&f);
}

/* ---- the client ---- */

#define ANSWERS 1000

struct liar {
    int listen_fd, port;
};

static void *lie(void *arg)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
    };
    struct liar *liar = arg;
    uint64_t random = 4;
    char bytes[1024], request[1024];
    int fd;

    for (int i = 0; (fd = accept(liar->listen_fd, NULL, NULL)) >= 0; i++) {
        const char *answer = answers[i % 4];
        size_t len = strlen(answer);
        memcpy(bytes, answer, len);
        (void)!recv(fd, request, sizeof(request), 0);
        (void)!send(fd, bytes, mutate(&random, bytes, len, sizeof(bytes)), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

struct call {
    struct http_client *client;
    struct loop *loop;
    atomic_bool done;
    int err, status;
    char body[1024];
};

static void on_done(void *arg, int err, const struct http_client_response *response)
{
    struct call *call = arg;
    size_t position = 0;
    struct http_field field;

    call->err = err;
    call->status = err == 0 ? response->status : 0;
    if (err == 0 && response->body.len > 0) /* is it there? */
        memcpy(call->body, response->body.s,
               response->body.len < sizeof(call->body) ? response->body.len : sizeof(call->body));
    while (err == 0 && http_client_next_header(response, &position, &field))
        cr_expect(field.name.len > 0);
    call->done = true;
}

static void begin(void *arg)
{
    struct call *call = arg;
    struct http_call *handle;

    cr_assert_eq(http_client_call(call->client, call->loop,
                                  &(struct http_client_request){.path = STR("/"), .timeout_ms = NET_BOUND_MS}, on_done,
                                  call, &handle),
                 0);
}

Test(http_hostile, answers)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct liar liar = {.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct call call = {0};
    pthread_t thread;
    char target[32];

    cr_assert_eq(bind(liar.listen_fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(liar.listen_fd, 64), 0);
    getsockname(liar.listen_fd, (struct sockaddr *)&address, &len);
    snprintf(target, sizeof(target), "127.0.0.1:%d", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&thread, NULL, lie, &liar), 0);
    cr_assert_eq(
        http_client_open(&(struct http_client_def){.name = "liar", .target = target, .workers = 1}, &call.client), 0);
    cr_assert_eq(loop_open(0, "caller", NULL, &call.loop), 0);
    for (int i = 0; i < ANSWERS; i++) {
        call.done = false;
        loop_call(call.loop, begin, &call);
        NET_AWAIT(call.done);
        cr_expect(call.err == 0 ? call.status >= 200 && call.status <= 599
                                : call.err == -EBADMSG || call.err == -ECONNRESET || call.err == -EMSGSIZE,
                  "%d %d", call.err, call.status);
    }
    loop_close(call.loop);
    http_client_free(call.client);
    shutdown(liar.listen_fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(liar.listen_fd);
}
