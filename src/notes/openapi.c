#include "notes.h"
#include "notes_openapi.h"

struct http_reply *notes_openapi(struct http_req *req)
{
    return http_reply_text(200, "application/json",
                           (struct str){(const char *)notes_openapi_json, notes_openapi_json_len});
}
