/* How the client follows a name whose addresses change: getaddrinfo(3) is answered by the test, as a name server of a
 * headless Service would. */
#include "http_client.h"
#include "http_fixture.h"
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define HOSTS 5

/* ---- names.test has the addresses 127.0.0.1 .. 127.0.0.n whose bit is set ---- */

static struct {
    atomic_uint hosts; /* bits; 0: the name server fails */
    atomic_uint asked;
} names;

static struct addrinfo *new_address(in_addr_t address, const char *service, struct addrinfo *next)
{
    struct sockaddr_in *in = calloc(1, sizeof(*in));
    struct addrinfo *info = calloc(1, sizeof(*info));

    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)atoi(service));
    in->sin_addr.s_addr = address;
    info->ai_family = AF_INET;
    info->ai_socktype = SOCK_STREAM;
    info->ai_addr = (struct sockaddr *)in;
    info->ai_addrlen = sizeof(*in);
    info->ai_next = next;
    return info;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_info)
{
    struct in_addr numeric;

    *ret_info = NULL;
    if (inet_pton(AF_INET, host, &numeric) == 1) {
        *ret_info = new_address(numeric.s_addr, service, NULL);
        return 0;
    }
    if ((hints->ai_flags & AI_NUMERICHOST) != 0 || strcmp(host, "names.test") != 0)
        return EAI_NONAME;
    names.asked++;
    for (unsigned i = 0; i < HOSTS; i++)
        if ((names.hosts & 1U << i) != 0)
            *ret_info = new_address(htonl(INADDR_LOOPBACK + i), service, *ret_info);
    return *ret_info != NULL ? 0 : EAI_AGAIN;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info->ai_addr);
        free(info);
        info = next;
    }
}

/* ---- peers on these addresses, one port ---- */

struct peer {
    struct http_server *server;
    atomic_uint asked;
};

static struct http_reply *count(struct http_req *req)
{
    ((struct peer *)req->state)->asked++;
    return http_reply_new(204);
}

static const struct http_route routes[] = {{"GET", "/", count}, {0}};

struct scene {
    struct peer peers[HOSTS];
    struct metrics *metrics;
    struct http_client *client;
    struct loop *loop;
    int port;
};

static void open_peer(struct scene *scene, unsigned i)
{
    struct http_server_def def = {.name = "peer", .routes = routes, .state = &scene->peers[i], .workers = 1};
    char host[16];
    int fd;

    snprintf(host, sizeof(host), "127.0.0.%u", i + 1);
    cr_assert_eq(net_listen(host, scene->port, &fd, &scene->port), 0);
    cr_assert_eq(http_server_open(fd, &def, &scene->peers[i].server), 0);
    http_server_start(scene->peers[i].server);
}

static void open_scene(struct scene *scene, unsigned hosts)
{
    struct http_client_def def = {.name = "peer", .workers = 1, .resolve_interval_ms = 1};
    char target[32];

    *scene = (struct scene){.metrics = metrics_new()};
    names.hosts = hosts;
    for (unsigned i = 0; i < HOSTS; i++)
        open_peer(scene, i);
    snprintf(target, sizeof(target), "names.test:%d", scene->port);
    def.target = target;
    def.metrics = scene->metrics;
    cr_assert_eq(http_client_open(&def, &scene->client), 0);
    cr_assert_eq(loop_open(0, "caller", NULL, &scene->loop), 0);
}

static void close_scene(struct scene *scene)
{
    loop_close(scene->loop);
    http_client_free(scene->client);
    for (unsigned i = 0; i < HOSTS; i++)
        http_server_close(scene->peers[i].server);
    metrics_free(scene->metrics);
}

/* ---- calls ---- */

struct call {
    struct scene *scene;
    atomic_bool done;
    int err;
};

static void on_done(void *arg, int err, const struct http_client_response *response)
{
    struct call *call = arg;

    call->err = err;
    call->done = true;
}

static void begin(void *arg)
{
    struct call *call = arg;
    struct http_call *handle;

    cr_assert_eq(http_client_call(call->scene->client, call->scene->loop,
                                  &(struct http_client_request){.path = STR("/"), .timeout_ms = NET_BOUND_MS}, on_done,
                                  call, &handle),
                 0);
}

static int get(struct scene *scene)
{
    struct call call = {.scene = scene};

    loop_call(scene->loop, begin, &call);
    NET_AWAIT(call.done);
    return call.err;
}

static void get_often(struct scene *scene, unsigned times)
{
    for (unsigned i = 0; i < HOSTS; i++)
        scene->peers[i].asked = 0;
    for (unsigned i = 0; i < times; i++)
        cr_assert_eq(get(scene), 0);
}

/* Sets the name's addresses and waits until the client knows them. */
static void scale(struct scene *scene, unsigned hosts)
{
    struct fixture fixture = {.metrics = scene->metrics};

    names.hosts = hosts;
    NET_AWAIT(fixture_metric(&fixture, "http_client_addresses{peer=\"peer\"}") == __builtin_popcount(hosts));
}

/* ---- tests ---- */

Test(http_client_resolve, scaling_is_followed_and_calls_stay_even)
{
    struct scene scene;

    open_scene(&scene, 0x3);
    get_often(&scene, 100);
    cr_expect_eq(scene.peers[0].asked, 50);
    cr_expect_eq(scene.peers[1].asked, 50);
    scale(&scene, 0x1f);
    get_often(&scene, 100);
    for (unsigned i = 0; i < HOSTS; i++)
        cr_expect_eq(scene.peers[i].asked, 20, "%u: %u", i, scene.peers[i].asked);
    scale(&scene, 0x14);
    get_often(&scene, 100);
    for (unsigned i = 0; i < HOSTS; i++)
        cr_expect_eq(scene.peers[i].asked, i == 2 || i == 4 ? 50 : 0, "%u: %u", i, scene.peers[i].asked);
    close_scene(&scene);
}

Test(http_client_resolve, connections_to_an_address_that_has_gone_are_closed)
{
    struct fixture fixture;
    struct scene scene;

    open_scene(&scene, 0x7);
    fixture = (struct fixture){.metrics = scene.metrics};
    get_often(&scene, 30);
    cr_expect_eq(fixture_metric(&fixture, "http_client_connections{peer=\"peer\"}"), 3);
    scale(&scene, 0x1);
    get_often(&scene, 1);
    cr_expect_eq(fixture_metric(&fixture, "http_client_connections{peer=\"peer\"}"), 1);
    close_scene(&scene);
}

Test(http_client_resolve, known_addresses_outlive_a_name_server_that_fails)
{
    unsigned asked;
    struct scene scene;

    open_scene(&scene, 0x3);
    get_often(&scene, 10);
    names.hosts = 0;
    asked = names.asked;
    NET_AWAIT(names.asked >= asked + 2);
    get_often(&scene, 10);
    cr_expect_eq(scene.peers[0].asked, 5);
    cr_expect_eq(scene.peers[1].asked, 5);
    close_scene(&scene);
}

Test(http_client_resolve, a_name_server_that_comes_late)
{
    struct scene scene;
    int err;

    open_scene(&scene, 0);
    cr_expect_eq(get(&scene), -ECONNREFUSED);
    names.hosts = 0x1;
    for (int i = 0; (err = get(&scene)) != 0; i++) {
        cr_assert_eq(err, -ECONNREFUSED);
        cr_assert_lt(i, 1000);
    }
    close_scene(&scene);
}

Test(http_client_resolve, a_failed_connection_makes_it_ask_again)
{
    struct http_client_def def = {.name = "peer", .workers = 1, .resolve_interval_ms = 3600000};
    struct scene scene;
    char target[32];
    unsigned asked;

    open_scene(&scene, 0x7);
    snprintf(target, sizeof(target), "names.test:%d", scene.port);
    for (unsigned i = 0; i < 3; i++)
        scene.peers[i].server = http_server_close(scene.peers[i].server);
    loop_close(scene.loop);
    http_client_free(scene.client);
    def.target = target;
    cr_assert_eq(http_client_open(&def, &scene.client), 0);
    cr_assert_eq(loop_open(0, "caller", NULL, &scene.loop), 0);
    cr_expect_eq(get(&scene), -ECONNREFUSED);
    asked = names.asked;
    names.hosts = 0x18; /* pods have been replaced by fewer, elsewhere */
    cr_expect_eq(get(&scene), 0);
    cr_expect_gt(names.asked, asked);
    close_scene(&scene);
}
