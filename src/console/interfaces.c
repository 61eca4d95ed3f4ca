/* GET /api/interfaces: what the services offer. scripts/interfaces.py has written it into the page's files. */
#include "console.h"
#include "console_www.h"
#include "http_files.h"
#include "http_json.h"
#include "local.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

static int read_index(json_t **ret_index)
{
    const struct http_file *file = http_files_find(&console_www, STR("interfaces.json"));
    json_error_t error;

    return file != NULL ? http_json_load(file->bytes, 0, ret_index, &error) : -ENOENT;
}

/* The command to copy; without an address, the service's name stands for it. */
static json_t *grpcurl(const char *address, const char *service, const json_t *method)
{
    bool takes_stream = json_is_true(json_object_get(method, "client_streaming"));

    return json_sprintf("grpcurl -plaintext -d '%s' %s %s/%s", takes_stream ? "{} {}" : "{}", address, service,
                        json_string_value(json_object_get(method, "name")));
}

static int complete_service(struct console *console, json_t *said)
{
    const char *name = json_string_value(json_object_get(said, "name"));
    bool described = json_is_true(json_object_get(said, "openapi"));
    char http[LOCAL_ADDRESS], grpc[LOCAL_ADDRESS];
    json_t *service, *method;
    size_t i, k;
    int r = 0;

    local_address(console->local, str_of(name), false, http);
    local_address(console->local, str_of(name), true, grpc);
    r |= json_object_set_new(said, "openapi",
                             described ? json_sprintf("/api/interfaces/%s/openapi.json", name) : json_null());
    r |= json_object_set_new(said, "address",
                             http[0] != '\0'   ? json_string(http)
                             : grpc[0] != '\0' ? json_string(grpc)
                                               : json_null());
    json_array_foreach(json_object_get(said, "grpc"), i, service)
        json_array_foreach(json_object_get(service, "methods"), k, method) r |= json_object_set_new(
            method, "grpcurl",
            grpcurl(grpc[0] != '\0' ? grpc : name, json_string_value(json_object_get(service, "service")), method));
    return r;
}

struct http_reply *interfaces_get(struct http_req *req)
{
    struct http_reply *problem = guard_host(req);
    json_t *index = NULL, *service;
    size_t i;
    int r;

    if (problem != NULL)
        return problem;
    r = read_index(&index);
    json_array_foreach(json_object_get(index, "services"), i, service) if (complete_service(req->state, service) != 0)
        r = -ENOMEM;
    if (r == 0)
        return http_set_header(http_reply_json(200, index), "cache-control", "no-store");
    json_decref(index);
    return http_problem_errno(r, "interfaces");
}

struct http_reply *interfaces_document(struct http_req *req)
{
    struct http_reply *problem = guard_host(req);
    char name[128];

    if (problem != NULL)
        return problem;
    if (snprintf(name, sizeof(name), "interfaces/%.*s.json", STR_ARG(req->params[0])) >= (int)sizeof(name))
        return http_problem(404, "no such service");
    return http_files_reply(req, &console_www, str_of(name), "no-cache");
}
