/* POST /api/try and /api/traffic. */
#include "clock.h"
#include "console.h"
#include "http_json.h"
#include "local.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#define MAX_HEADERS        16
#define TRY_TIMEOUT_MS     20000
#define MAX_RATE           200 /* requests a second */
#define MAX_SECONDS        60
#define STEP_MS            20
#define TRAFFIC_TIMEOUT_MS 5000

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

/* ---- the request ---- */

/* What both take: an object of JSON that names a service and a path. */
struct asked {
    json_t *json;
    struct http_client *client;
    const char *path;
};

static struct http_reply *read_asked(struct http_req *req, struct asked *ret_asked)
{
    struct console *console = req->state;
    struct http_reply *problem = guard_host(req);
    const char *service, *path;

    if (problem != NULL || (problem = local_admits(console->local, req)) != NULL ||
        (problem = http_json_parse(req, "application/json", &ret_asked->json)) != NULL)
        return problem;
    service = json_string_value(json_object_get(ret_asked->json, "service"));
    path = json_string_value(json_object_get(ret_asked->json, "path"));
    ret_asked->client = service != NULL ? local_client(console->local, str_of(service)) : NULL;
    ret_asked->path = path;
    if (service == NULL || path == NULL || path[0] != '/')
        problem = http_problem(422, "service and path are required, and a path begins with /");
    else if (ret_asked->client == NULL)
        problem = http_problem(422, "no such service serves HTTP here");
    if (problem != NULL)
        json_decref(ret_asked->json);
    return problem;
}

static struct str method_of(const json_t *json)
{
    const json_t *said = json_object_get(json, "method");
    const char *name = said != NULL ? json_string_value(said) : "GET";

    for (size_t i = 0; name != NULL && i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(name, methods[i]) == 0)
            return str_of(methods[i]);
    return STR_NULL;
}

/* How many there are; -1: too many, or one is no text. */
static int read_headers(json_t *json, struct http_field *headers)
{
    const char *name;
    json_t *value;
    int count = 0;

    json_object_foreach(json, name, value)
    {
        if (count == MAX_HEADERS || !json_is_string(value))
            return -1;
        headers[count++] = (struct http_field){str_of(name), str_of(json_string_value(value))};
    }
    return count;
}

/* ---- try ---- */

struct attempt {
    struct http_deferred *deferred;
    uint64_t began_ns;
};

static void append_headers(const struct http_client_response *response, struct buf *json)
{
    struct http_field field;
    size_t position = 0, count = 0;

    while (http_client_next_header(response, &position, &field)) {
        if (count++ > 0)
            buf_append_char(json, ',');
        buf_append_json_string(json, field.name);
        buf_append_char(json, ':');
        buf_append_json_string(json, field.value);
    }
}

static struct http_reply *answer_of(const struct http_client_response *response, uint64_t duration_ns)
{
    struct buf json = {0};

    buf_printf(&json, "{\"status\":%d,\"headers\":{", response->status);
    append_headers(response, &json);
    buf_append_cstr(&json, "},\"body\":");
    buf_append_json_string(&json, response->body);
    buf_printf(&json, ",\"duration_ms\":%.3f}", (double)duration_ns / CLOCK_NS_PER_MS);
    return http_set_header(http_reply_take(200, "application/json", &json), "cache-control", "no-store");
}

static void on_answer(void *arg, int err, const struct http_client_response *response)
{
    struct attempt *attempt = arg;

    http_answer(attempt->deferred, err == 0 ? answer_of(response, clock_monotonic_ns() - attempt->began_ns)
                                            : http_problem(502, "no answer: %s", err_text(err)));
    free(attempt);
}

static struct http_reply *begin_attempt(struct http_req *req, struct http_client *client,
                                        const struct http_client_request *request)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    struct http_call *call;
    int r;

    if (attempt == NULL || (attempt->deferred = http_defer(req)) == NULL) {
        free(attempt);
        return http_problem_errno(-ENOMEM, NULL);
    }
    attempt->began_ns = clock_monotonic_ns();
    r = http_client_call(client, req->loop, request, on_answer, attempt, &call);
    if (r < 0) {
        http_answer(attempt->deferred, http_problem_errno(r, "the request cannot be sent"));
        free(attempt);
    }
    return NULL;
}

struct http_reply *try_post(struct http_req *req)
{
    struct http_client_request request = {.timeout_ms = TRY_TIMEOUT_MS};
    struct http_field headers[MAX_HEADERS];
    struct http_reply *reply;
    struct asked asked;
    const char *body;
    int count;

    reply = read_asked(req, &asked);
    if (reply != NULL)
        return reply;
    body = json_string_value(json_object_get(asked.json, "body"));
    count = read_headers(json_object_get(asked.json, "headers"), headers);
    request.method = method_of(asked.json);
    request.path = str_of(asked.path);
    request.headers = headers;
    request.header_count = count > 0 ? (unsigned)count : 0;
    request.body = body != NULL ? str_of(body) : STR_NULL;
    if (request.method.s == NULL || count < 0)
        reply = http_problem(422, "method is none of HTTP's, or headers are not at most %d texts", MAX_HEADERS);
    else
        reply = begin_attempt(req, asked.client, &request);
    json_decref(asked.json);
    return reply;
}

/* ---- traffic ---- */

/* Answers are not looked at: the services say what became of the requests. */
static void ignore(void *arg, int err, const struct http_client_response *response)
{
}

static void on_step(struct loop_timer *timer)
{
    struct local_traffic *traffic = (struct local_traffic *)timer;
    const struct http_client_request request = {.path = str_of(traffic->path), .timeout_ms = TRAFFIC_TIMEOUT_MS};
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t due = (now_ns - traffic->begun_ns) * traffic->rate / CLOCK_NS_PER_S;
    struct http_call *call;

    if (due > traffic->sent + traffic->rate)
        traffic->sent = due - traffic->rate; /* the loop was held up: what is late is not made up for */
    for (; traffic->sent < due; traffic->sent++)
        http_client_call(traffic->client, traffic->loop, &request, ignore, NULL, &call);
    if (now_ns >= traffic->end_ns || loop_timer_start(traffic->loop, timer, STEP_MS, on_step) < 0)
        atomic_store(&traffic->runs, false);
}

static struct http_reply *begin_traffic(struct http_req *req, const struct asked *asked, uint64_t rate,
                                        uint64_t seconds)
{
    struct local_traffic *traffic;

    if (strlen(asked->path) >= LOCAL_MAX_PATH)
        return http_problem(422, "a path has less than %d bytes", LOCAL_MAX_PATH);
    traffic = local_take_traffic(((struct console *)req->state)->local);
    if (traffic == NULL)
        return http_problem_errno(-EAGAIN, "traffic is being sent already");
    traffic->loop = req->loop;
    traffic->client = asked->client;
    traffic->rate = rate;
    traffic->sent = 0;
    traffic->begun_ns = clock_monotonic_ns();
    traffic->end_ns = traffic->begun_ns + seconds * CLOCK_NS_PER_S;
    memcpy(traffic->path, asked->path, strlen(asked->path) + 1);
    on_step(&traffic->timer);
    return http_reply_new(202);
}

struct http_reply *traffic_post(struct http_req *req)
{
    struct http_reply *reply;
    struct asked asked;
    json_int_t rate, seconds;

    reply = read_asked(req, &asked);
    if (reply != NULL)
        return reply;
    rate = json_integer_value(json_object_get(asked.json, "requests_per_s"));
    seconds = json_integer_value(json_object_get(asked.json, "seconds"));
    if (rate < 1 || rate > MAX_RATE || seconds < 1 || seconds > MAX_SECONDS)
        reply = http_problem(422, "requests_per_s is 1 to %d, seconds 1 to %d", MAX_RATE, MAX_SECONDS);
    else
        reply = begin_traffic(req, &asked, (uint64_t)rate, (uint64_t)seconds);
    json_decref(asked.json);
    return reply;
}
