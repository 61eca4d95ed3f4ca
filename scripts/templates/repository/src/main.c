/* hello -- greets by name over HTTP and gRPC. */
#include "greeting.h"
#include "hello.descriptors.h"
#include "hello.rpc_server.h"
#include <jansson.h>
#include <slipway/svc.h>

#define REFUSED "a name is UTF-8 and has 1 to 64 bytes"

static struct http_reply *get_hello(struct http_req *req)
{
    char text[GREETING_SIZE];

    if (!greeting(req->params[0], text))
        return http_problem(400, REFUSED);
    return http_reply_json(200, json_pack("{s:s}", "greeting", text));
}

static void on_greet(struct rpc_call *call, const Hello__Name *message)
{
    Hello__Greeting reply = HELLO__GREETING__INIT;
    char text[GREETING_SIZE];

    if (!greeting(str_of(message->name), text)) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, REFUSED);
        return;
    }
    reply.greeting = text;
    hello__hello__greet__reply(call, &reply);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/hello/{name}", .handler = get_hello},
    {0},
};

static const struct rpc_method methods[] = {
    HELLO__HELLO__GREET(on_greet),
    {0},
};

int main(int argc, char **argv)
{
    const struct svc_def def = {
        .name = "hello",
        .summary = "greets by name",
        .routes = routes,
        .rpc = RPC_SERVICE(methods, hello_descriptors),
    };

    return svc_main(argc, argv, &def);
}
