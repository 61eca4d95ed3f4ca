#include "local.h"
#include "console.h"
#include "http_json.h"
#include "svc.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_SERVICES 64           /* and addresses that they have had */
#define MAX_TOKEN    128          /* bytes */
#define MIN_TOKEN    16           /* bytes */
#define MAX_FILE     (64 * 1024)  /* bytes of up.json */
#define MAX_ANSWER   (256 * 1024) /* bytes of a body */

struct local_service {
    char name[FLEET_NAME], http[LOCAL_ADDRESS], grpc[LOCAL_ADDRESS];
    struct http_client *client; /* of http; NULL: it has none */
    bool is_there;              /* the file names it, at these addresses */
};

struct local {
    struct svc *svc;
    const char *services_file;
    char token[MAX_TOKEN + 1];
    struct stat seen;
    struct local_traffic traffics[LOCAL_MAX_TRAFFICS];
    pthread_mutex_t lock; /* for what follows */
    unsigned count;
    struct local_service services[MAX_SERVICES];
};

/* ---- files ---- */

/* Terminated; without white space at its end. -EFBIG: size is not enough. */
static int read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t len;
    int r;

    if (file == NULL)
        return -errno;
    len = fread(text, 1, size - 1, file);
    r = ferror(file) != 0 ? -EIO : getc(file) != EOF ? -EFBIG : 0;
    fclose(file);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return r;
}

static int read_token(const char *path, char token[MAX_TOKEN + 1])
{
    int r = read_file(path, token, MAX_TOKEN + 1);

    return r == 0 && strlen(token) < MIN_TOKEN ? -EINVAL : r;
}

const char *local_check(const char *token_file)
{
    char token[MAX_TOKEN + 1];

    return token_file[0] != '\0' && read_token(token_file, token) < 0 ? "must hold a token of 16 to 128 bytes" : NULL;
}

int local_open(struct svc *svc, struct local **ret_local)
{
    const char *token_file = config_string(svc_config(svc), "CONSOLE_TOKEN_FILE");
    struct local *local;
    int r;

    if (token_file[0] == '\0')
        return 0;
    local = calloc(1, sizeof(*local));
    if (local == NULL)
        return -ENOMEM;
    local->svc = svc;
    local->services_file = config_string(svc_config(svc), "CONSOLE_SERVICES_FILE");
    pthread_mutex_init(&local->lock, NULL);
    *ret_local = local;
    r = read_token(token_file, local->token);
    return r < 0 ? svc_fail(svc, "CONSOLE_TOKEN_FILE=%s: %s", token_file, err_text(r)) : 0;
}

struct local *local_close(struct local *local)
{
    if (local == NULL)
        return NULL;
    for (unsigned i = 0; i < local->count; i++)
        http_client_free(local->services[i].client);
    pthread_mutex_destroy(&local->lock);
    free(local);
    return NULL;
}

/* ---- the services ---- */

/* A numeric address of loopback with a port. Empty: there is none, which is fine. */
static bool is_loopback(const char *address)
{
    return address[0] == '\0' || strncmp(address, "127.0.0.1:", 10) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));

    return text != NULL && strlen(text) < LOCAL_ADDRESS && is_loopback(text) ? text : "";
}

/* Clients stay: a loop may be using them. */
static void add(struct local *local, const char *name, const char *http, const char *grpc)
{
    struct http_client *client = NULL;
    const struct http_client_def def = {
        .name = "services",
        .target = http,
        .metrics = svc_metrics(local->svc),
        .workers = svc_workers(local->svc),
        .max_in_flight = 256,
        .max_memory = svc_memory_part_at_most(local->svc, MEMORY_HTTP_OUTGOING, 8 << 20),
        .whole = svc_memory_budget(local->svc),
        .max_body = MAX_ANSWER,
        .max_request_body = TRY_MAX_REQUEST,
    };
    struct local_service *service = &local->services[local->count];

    if (local->count == MAX_SERVICES || strlen(name) >= sizeof(service->name) ||
        (http[0] != '\0' && http_client_open(&def, &client) < 0))
        return;
    *service = (struct local_service){.client = client, .is_there = true};
    snprintf(service->name, sizeof(service->name), "%s", name);
    snprintf(service->http, sizeof(service->http), "%s", http);
    snprintf(service->grpc, sizeof(service->grpc), "%s", grpc);
    local->count++;
}

static void take_service(struct local *local, const char *name, const json_t *said)
{
    const char *http = text_of(said, "http"), *grpc = text_of(said, "grpc");

    for (unsigned i = 0; i < local->count; i++)
        if (strcmp(local->services[i].name, name) == 0 && strcmp(local->services[i].http, http) == 0 &&
            strcmp(local->services[i].grpc, grpc) == 0) {
            local->services[i].is_there = true;
            return;
        }
    add(local, name, http, grpc);
}

static void take_services(struct local *local, json_t *services)
{
    const char *name;
    json_t *said;

    pthread_mutex_lock(&local->lock);
    for (unsigned i = 0; i < local->count; i++)
        local->services[i].is_there = false;
    json_object_foreach(services, name, said) take_service(local, name, said);
    pthread_mutex_unlock(&local->lock);
}

void local_refresh(struct local *local)
{
    char *text;
    struct stat now;
    json_error_t error;
    json_t *json = NULL;

    if (local == NULL || local->services_file[0] == '\0' || stat(local->services_file, &now) != 0 ||
        (now.st_ino == local->seen.st_ino && now.st_mtim.tv_sec == local->seen.st_mtim.tv_sec &&
         now.st_mtim.tv_nsec == local->seen.st_mtim.tv_nsec))
        return;
    text = malloc(MAX_FILE);
    if (text != NULL && read_file(local->services_file, text, MAX_FILE) == 0 &&
        http_json_load(str_of(text), JSON_REJECT_DUPLICATES, &json, &error) == 0) {
        take_services(local, json_object_get(json, "services"));
        local->seen = now;
    }
    json_decref(json);
    free(text);
}

static struct local_service *find(struct local *local, struct str name)
{
    for (unsigned i = 0; i < local->count; i++)
        if (local->services[i].is_there && str_eq(str_of(local->services[i].name), name))
            return &local->services[i];
    return NULL;
}

struct http_client *local_client(struct local *local, struct str service)
{
    const struct local_service *found;
    struct http_client *client;

    pthread_mutex_lock(&local->lock);
    found = find(local, service);
    client = found != NULL ? found->client : NULL;
    pthread_mutex_unlock(&local->lock);
    return client;
}

void local_address(struct local *local, struct str service, bool grpc, char ret_address[LOCAL_ADDRESS])
{
    const struct local_service *found;

    ret_address[0] = '\0';
    if (local == NULL)
        return;
    pthread_mutex_lock(&local->lock);
    found = find(local, service);
    if (found != NULL)
        snprintf(ret_address, LOCAL_ADDRESS, "%s", grpc ? found->grpc : found->http);
    pthread_mutex_unlock(&local->lock);
}

struct local_traffic *local_take_traffic(struct local *local)
{
    for (size_t i = 0; i < LOCAL_MAX_TRAFFICS; i++)
        if (!atomic_exchange(&local->traffics[i].runs, true))
            return &local->traffics[i];
    return NULL;
}

/* ---- who may ---- */

/* The time does not depend on where they differ. */
static bool is_token(const char *token, struct str shown)
{
    unsigned char differs = 0;

    if (shown.len != strlen(token))
        return false;
    for (size_t i = 0; i < shown.len; i++)
        differs |= (unsigned char)(token[i] ^ shown.s[i]);
    return differs == 0;
}

static bool is_own_origin(const struct http_req *req)
{
    struct str origin = http_header(req, "origin"), host = http_header(req, "host"), scheme = STR("http://");

    if (origin.s == NULL)
        return true; /* a browser sends it with every POST */
    return origin.len == scheme.len + host.len && memcmp(origin.s, scheme.s, scheme.len) == 0 &&
           str_caseeq((struct str){origin.s + scheme.len, host.len}, host);
}

struct http_reply *local_admits(const struct local *local, const struct http_req *req)
{
    if (local == NULL)
        return http_problem(404, "only where ./dev up runs the console");
    if (!is_own_origin(req))
        return http_problem(403, "the request does not come from the console's page");
    if (!is_token(local->token, http_header(req, "x-console-token")))
        return http_problem(403, "X-Console-Token is not the token of the address that ./dev up has printed");
    return NULL;
}
