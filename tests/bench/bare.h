/* bare -- a server of h2o alone, which answers one path with one text: the peer of this library's HTTP server. */
#pragma once
#include "h2o_compat.h"
#include <string.h>

static const char bare_text[] = "hello, world!\n";

struct bare_handler {
    h2o_handler_t super;
    h2o_iovec_t path;
};

static int bare_on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static h2o_generator_t generator = {NULL, NULL};
    const struct bare_handler *bare = (const struct bare_handler *)handler;
    h2o_iovec_t body = h2o_iovec_init(bare_text, strlen(bare_text));

    if (!h2o_memis(req->path_normalized.base, req->path_normalized.len, bare->path.base, bare->path.len))
        return -1;
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain; charset=utf-8"));
    h2o_start_response(req, &generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void bare_on_connection(h2o_socket_t *listener, const char *err)
{
    h2o_socket_t *socket;

    if ((socket = h2o_evloop_socket_accept(listener)) != NULL)
        h2o_accept(listener->data, socket);
}

/* Serves with one event loop, until a signal ends the process. Takes the socket, which listens. */
static inline void bare_serve(int fd, const char *path)
{
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept_context = {.ctx = &context};
    h2o_evloop_t *loop = h2o_evloop_create();
    h2o_socket_t *listener = h2o_evloop_socket_create(loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_hostconf_t *host;
    struct bare_handler *handler;

    h2o_config_init(&config);
    config.server_name = h2o_iovec_init(H2O_STRLIT(""));
    host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    handler = (struct bare_handler *)h2o_create_handler(&host->fallback_path, sizeof(*handler));
    handler->super.on_req = bare_on_request;
    handler->path = h2o_iovec_init(path, strlen(path));
    h2o_context_init(&context, loop, &config);
    accept_context.hosts = config.hosts;
    listener->data = &accept_context;
    h2o_socket_read_start(listener, bare_on_connection);
    for (;;)
        h2o_evloop_run(loop, 1000);
}
