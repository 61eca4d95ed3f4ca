/* users -- returns the name of a user over HTTP. */
#include "svc.h"
#include "user_id.h"
#include "user_name.h"
#include "users_openapi.h"
#include <jansson.h>

static struct http_reply *get_user(struct http_req *req)
{
    struct str id = req->params[0];
    char name[USER_NAME_SIZE];

    if (!user_id_valid(id))
        return http_problem(400, "a user id is " USER_ID_ALLOWED);
    return http_reply_json(200, json_pack("{s:s%,s:s}", "user_id", id.s, id.len, "name", user_name(id, name)));
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/users/{user_id}", .handler = get_user},
    HTTP_DESCRIPTION(users_openapi_json),
    {0},
};

int main(int argc, char **argv)
{
    return svc_main(argc, argv,
                    &(struct svc_def){.name = "users", .summary = "returns the name of a user", .routes = routes});
}
