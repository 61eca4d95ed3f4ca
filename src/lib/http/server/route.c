#include "hex.h"
#include "http_internal.h"
#include <errno.h>

static const struct str method_names[HTTP_METHODS] = {
    [HTTP_GET] = STR("GET"),         [HTTP_HEAD] = STR("HEAD"),          [HTTP_POST] = STR("POST"),
    [HTTP_PUT] = STR("PUT"),         [HTTP_PATCH] = STR("PATCH"),        [HTTP_DELETE] = STR("DELETE"),
    [HTTP_OPTIONS] = STR("OPTIONS"), [HTTP_OTHER_METHOD] = STR("other"),
};

enum http_method http_method_of(struct str method)
{
    enum http_method m = HTTP_GET;

    while (m < HTTP_OTHER_METHOD && !str_eq(method, method_names[m]))
        m++;
    return m;
}

const char *http_method_name(enum http_method method)
{
    return method_names[method].s;
}

/* ---- splitting ---- */

/* The segments of "/a/b" are a and b; "/" has an empty one, "/a/" has a and an empty one. Returns their number, which
 * may be beyond HTTP_MAX_SEGMENTS (then not all are stored), or 0 where path does not begin with '/'. */
static unsigned split(struct str path, struct str segments[HTTP_MAX_SEGMENTS])
{
    unsigned count = 0;
    const char *s = path.s, *end = path.s + path.len;

    if (path.len == 0 || *s != '/')
        return 0;
    while (s < end) {
        const char *next = memchr(s + 1, '/', (size_t)(end - s - 1));
        if (next == NULL)
            next = end;
        if (count < HTTP_MAX_SEGMENTS)
            segments[count] = (struct str){s + 1, (size_t)(next - s - 1)};
        count++;
        s = next;
    }
    return count;
}

static bool is_param(struct str segment)
{
    return segment.len > 2 && segment.s[0] == '{' && segment.s[segment.len - 1] == '}';
}

/* ---- the table ---- */

static int parse_template(const char *template, struct http_path *path)
{
    *path = (struct http_path){.template = template};
    path->segment_count = split(str_of(template), path->segments);
    if (path->segment_count == 0 || path->segment_count > HTTP_MAX_SEGMENTS)
        return -EINVAL;
    for (unsigned i = 0; i < path->segment_count; i++)
        path->param_count += is_param(path->segments[i]);
    return path->param_count <= HTTP_MAX_PARAMS ? 0 : -EINVAL;
}

/* Templates of the same shape are equal; where they first differ in one being a parameter, the literal comes first. */
static int compare_paths(const void *a, const void *b)
{
    const struct http_path *x = a, *y = b;

    if (x->segment_count != y->segment_count)
        return x->segment_count < y->segment_count ? -1 : 1;
    for (unsigned i = 0; i < x->segment_count; i++) {
        bool x_param = is_param(x->segments[i]), y_param = is_param(y->segments[i]);
        int order = x_param || y_param ? x_param - y_param : str_cmp(x->segments[i], y->segments[i]);
        if (order != 0)
            return order;
    }
    return 0;
}

static int add_route(struct http_paths *paths, const struct http_route *route)
{
    struct http_path parsed, *path = paths->paths;
    enum http_method method = http_method_of(str_of(route->method));
    int err = parse_template(route->path, &parsed);

    if (err < 0 || method == HTTP_OTHER_METHOD || route->handler == NULL)
        return -EINVAL;
    while (path < paths->paths + paths->count && compare_paths(path, &parsed) != 0)
        path++;
    if (path == paths->paths + paths->count) {
        *path = parsed;
        paths->count++;
    }
    if (strcmp(path->template, route->path) != 0 || path->routes[method] != NULL)
        return -EINVAL; /* one path under two names, or one route twice */
    path->routes[method] = route;
    if (route->max_body > paths->largest_body)
        paths->largest_body = route->max_body;
    return 0;
}

static bool offers(const struct http_path *path, enum http_method method)
{
    return path->routes[method] != NULL || method == HTTP_OPTIONS ||
           (method == HTTP_HEAD && path->routes[HTTP_GET] != NULL);
}

static void add_method(char allow[HTTP_ALLOW_SIZE], enum http_method method)
{
    strcat(allow, allow[0] != '\0' ? ", " : "");
    strcat(allow, method_names[method].s);
}

/* Of each path and of all. */
static void list_methods(struct http_paths *paths)
{
    for (enum http_method m = HTTP_GET; m < HTTP_OTHER_METHOD; m++) {
        bool offered = m == HTTP_OPTIONS;

        for (unsigned i = 0; i < paths->count; i++) {
            if (!offers(&paths->paths[i], m))
                continue;
            add_method(paths->paths[i].allow, m);
            offered = true;
        }
        if (offered)
            add_method(paths->allow, m);
    }
}

int http_paths_open(const struct http_route *routes, struct http_paths *ret_paths)
{
    struct http_paths paths = {0};
    size_t count = 0;
    int err;

    while (routes[count].method != NULL)
        count++;
    if ((paths.paths = calloc(count + 1, sizeof(*paths.paths))) == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if ((err = add_route(&paths, &routes[i])) < 0) {
            http_paths_release(&paths);
            return err;
        }
    qsort(paths.paths, paths.count, sizeof(*paths.paths), compare_paths);
    list_methods(&paths);
    *ret_paths = paths;
    return 0;
}

void http_paths_release(struct http_paths *paths)
{
    free(paths->paths);
    *paths = (struct http_paths){0};
}

/* ---- matching ---- */

/* One byte of a segment as sent, decoded; -1 for a bad escape. */
static int next_byte(struct str *rest)
{
    bool escaped = *rest->s == '%';
    size_t len = escaped ? 3 : 1;
    int byte = !escaped ? (unsigned char)*rest->s : rest->len >= len ? hex_byte(rest->s + 1) : -1;

    if (byte >= 0)
        *rest = (struct str){rest->s + len, rest->len - len};
    return byte;
}

/* A literal segment may come percent-encoded: RFC 3986, 6.2.2.2. */
static bool is_literal(struct str literal, struct str sent)
{
    if (sent.len == literal.len)
        return str_eq(literal, sent); /* an escape makes it longer */
    for (size_t i = 0; i < literal.len; i++)
        if (sent.len == 0 || next_byte(&sent) != (unsigned char)literal.s[i])
            return false;
    return sent.len == 0;
}

static bool matches(const struct http_path *path, const struct str *segments, struct str params[HTTP_MAX_PARAMS])
{
    unsigned param = 0;

    for (unsigned i = 0; i < path->segment_count; i++) {
        if (!is_param(path->segments[i])) {
            if (!is_literal(path->segments[i], segments[i]))
                return false;
        } else if (segments[i].len > 0) {
            params[param++] = segments[i];
        } else {
            return false;
        }
    }
    return true;
}

const struct http_path *http_paths_match(const struct http_paths *paths, struct str path,
                                         struct str params[HTTP_MAX_PARAMS])
{
    struct str segments[HTTP_MAX_SEGMENTS];
    unsigned count = split(path, segments);

    for (unsigned i = 0; i < paths->count; i++)
        if (paths->paths[i].segment_count == count && matches(&paths->paths[i], segments, params))
            return &paths->paths[i];
    return NULL;
}

/* ---- from a path to its handler ---- */

bool http_method_is_safe(enum http_method method)
{
    return method == HTTP_GET || method == HTTP_HEAD || method == HTTP_OPTIONS;
}

static struct http_reply *options_of(const struct http_path *path)
{
    const struct http_route *patch = path->routes[HTTP_PATCH];
    struct http_reply *reply = http_set_header(http_reply_new(204), "allow", "%s", path->allow);

    return patch != NULL && patch->accepts != NULL ? http_set_header(reply, "accept-patch", "%s", patch->accepts)
                                                   : reply;
}

struct http_reply *http_route_options(const struct http_paths *paths)
{
    return http_set_header(http_reply_new(204), "allow", "%s", paths->allow);
}

struct http_reply *http_route_find(const struct http_path *path, enum http_method method,
                                   const struct http_route **ret_route)
{
    if (path == NULL)
        return http_problem(404, "no such path");
    *ret_route = path->routes[method];
    if (*ret_route == NULL && method == HTTP_HEAD)
        *ret_route = path->routes[HTTP_GET];
    if (*ret_route != NULL)
        return NULL;
    if (method == HTTP_OPTIONS)
        return options_of(path);
    return http_set_header(http_problem(405, "the methods of this resource are %s", path->allow), "allow", "%s",
                           path->allow);
}

static int decode_params(struct http_req *req, unsigned count)
{
    assert(count <= HTTP_MAX_PARAMS);
    for (unsigned i = 0; i < count; i++) {
        char *to = req->source->alloc(req, req->params[i].len);

        if (http_percent_decode(req->params[i], false, to, &req->params[i].len) < 0)
            return -EINVAL;
        req->params[i].s = to;
    }
    return 0;
}

/* What comes with a GET or DELETE has no meaning (RFC 9110, 9.3.1 and 9.3.5), unless the route gives it one. */
static bool ignores_body(const struct http_req *req)
{
    enum http_method method = http_method_of(req->method);

    return req->route->max_body == 0 && (method == HTTP_GET || method == HTTP_HEAD || method == HTTP_DELETE);
}

static int is_coded(void *arg, struct str value)
{
    return value.len > 0 && !str_caseeq(value, STR("identity"));
}

struct http_reply *http_route_run(struct http_req *req, unsigned param_count)
{
    if (ignores_body(req))
        req->body = STR_NULL;
    else if (http_each_header(req, "content-encoding", is_coded, NULL) != 0)
        return http_set_header(http_problem(415, "a body with a Content-Encoding is not accepted"), "accept-encoding",
                               "identity");
    if (req->body.len > req->route->max_body)
        return http_problem(413, "the body is longer than %zu bytes", req->route->max_body);
    if (decode_params(req, param_count) < 0)
        return http_problem(400, "the path is badly encoded");
    return req->route->handler(req);
}

/* ---- the description ---- */

struct http_reply *http_describe(struct http_req *req)
{
    return http_reply_text(200, "application/json", req->route->description);
}
