/* http_fixture -- a server on a free port of 127.0.0.1 for the tests of HTTP. */
#pragma once
#include "http.h"
#include "net.h"
#include "net_listen.h"

struct fixture {
    struct http_server *server;
    struct metrics *metrics;
    int port;
};

/* What def leaves out gets values that suit a test. */
static inline struct fixture fixture_open(struct http_server_def def)
{
    struct fixture fixture = {.metrics = metrics_new()};
    int fd;

    def.name = "test";
    def.metrics = fixture.metrics;
    def.workers = def.workers > 0 ? def.workers : 1;
    cr_assert_eq(net_listen("127.0.0.1", 0, &fd, &fixture.port), 0);
    cr_assert_eq(http_server_open(fd, &def, &fixture.server), 0);
    http_server_start(fixture.server);
    return fixture;
}

static inline void fixture_close(struct fixture *fixture)
{
    fixture->server = http_server_close(fixture->server);
    fixture->metrics = metrics_free(fixture->metrics);
}

static inline int fixture_connect(const struct fixture *fixture)
{
    return net_connect("127.0.0.1", fixture->port);
}

/* Asks on a connection of its own. headers: each with CRLF. */
static inline struct net_answer fixture_ask(const struct fixture *fixture, const char *method, const char *path,
                                            const char *headers)
{
    char request[4096];
    struct net_answer answer;
    int fd = fixture_connect(fixture);

    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nhost: test\r\n%s\r\n", method, path, headers);
    net_ask(fd, request, &answer);
    close(fd);
    return answer;
}

/* The value of a metric's line, by its name and labels as in the exposition; -1 where there is no such line. */
static inline double fixture_metric(const struct fixture *fixture, const char *series)
{
    struct buf text = {0};
    double value = -1;
    char *at;

    metrics_write(fixture->metrics, &text);
    buf_append_char(&text, '\0');
    for (at = text.data; (at = strstr(at, series)) != NULL; at++)
        if ((at == text.data || at[-1] == '\n') && at[strlen(series)] == ' ')
            value = strtod(at + strlen(series), NULL);
    buf_release(&text);
    return value;
}
