#include "clock.h"
#include "hex.h"
#include "http.h"
#include "http_auth.h"
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_CLIENTS 1000
#define MAX_BYTES   (256 * 1024)
#define MAX_NAME    64
#define MAX_RATE    1000000
#define DIGEST      32
#define BURST_NS    CLOCK_NS_PER_S

struct client {
    uint8_t digest[DIGEST];
    uint64_t interval_ns;
    /* When all requests that were let through would have been due, had they come evenly: it may be ahead of now by
     * BURST_NS, and no more. */
    _Atomic uint64_t due_ns;
};

struct http_auth {
    size_t count;
    struct client clients[MAX_CLIENTS]; /* sorted by digest */
};

/* ---- the file ---- */

static int by_digest(const void *a, const void *b)
{
    return memcmp(((const struct client *)a)->digest, ((const struct client *)b)->digest, DIGEST);
}

static int read_rate(const char *text, uint64_t *ret_interval_ns)
{
    uint64_t rate = 0;

    for (const char *c = text; *c != '\0'; c++) {
        if (!isdigit((unsigned char)*c) || (rate = rate * 10 + (uint64_t)(*c - '0')) > MAX_RATE)
            return -EINVAL;
    }
    if (rate == 0)
        return -EINVAL;
    *ret_interval_ns = CLOCK_NS_PER_S / rate;
    return 0;
}

static int read_line(const char *line, struct client *client)
{
    size_t name =
        strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"); /* is for people alone */
    const char *hex = line + name + 1;

    if (name == 0 || name > MAX_NAME || line[name] != ' ' || strlen(hex) < 2 * DIGEST + 2 || hex[2 * DIGEST] != ' ')
        return -EINVAL;
    if (!hex_decode_lower(hex, client->digest, DIGEST))
        return -EINVAL;
    return read_rate(hex + 2 * DIGEST + 1, &client->interval_ns);
}

static int read_clients(struct http_auth *auth, char *text, unsigned *ret_line)
{
    unsigned number = 1;
    char *next;

    for (char *line = text; line != NULL; line = next, number++) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (auth->count == MAX_CLIENTS)
            return -EFBIG;
        struct client *client = &auth->clients[auth->count];
        bool known = false;
        *ret_line = number;
        if (read_line(line, client) < 0)
            return -EINVAL;
        for (size_t i = 0; i < auth->count; i++)
            known = known || by_digest(&auth->clients[i], client) == 0;
        if (known)
            return -EINVAL;
        *ret_line = 0;
        auth->count++;
    }
    return 0;
}

/* As a string; a NUL in it is -EINVAL. */
static int read_file(const char *path, char **ret_text)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t len;
    int r;

    if (file == NULL)
        return -errno;
    r = -ENOMEM;
    text = malloc(MAX_BYTES + 1);
    if (text == NULL)
        goto out;
    errno = 0;
    len = fread(text, 1, MAX_BYTES + 1, file);
    r = ferror(file) ? -(errno != 0 ? errno : EIO) : len > MAX_BYTES ? -EFBIG : 0;
    if (r < 0)
        goto out;
    text[len] = '\0';
    if (strlen(text) != len) {
        r = -EINVAL;
        goto out;
    }
    *ret_text = text;
    text = NULL;
out:
    free(text);
    fclose(file);
    return r;
}

int http_auth_open(const char *path, struct http_auth **ret_auth, unsigned *ret_line)
{
    struct http_auth *auth = NULL;
    char *text = NULL;
    int r;

    *ret_line = 0;
    r = read_file(path, &text);
    if (r < 0)
        return r;
    auth = calloc(1, sizeof(*auth));
    r = auth == NULL ? -ENOMEM : read_clients(auth, text, ret_line);
    free(text);
    if (r < 0) {
        http_auth_free(auth);
        return r;
    }
    qsort(auth->clients, auth->count, sizeof(auth->clients[0]), by_digest);
    *ret_auth = auth;
    return 0;
}

struct http_auth *http_auth_free(struct http_auth *auth)
{
    free(auth);
    return NULL;
}

/* ---- requests ---- */

/* The client of a token, by its digest: how long a comparison takes tells nothing about a token. */
static struct client *find(struct http_auth *auth, struct str token)
{
    struct client key = {.interval_ns = 0};

    if (EVP_Digest(token.s, token.len, key.digest, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    return bsearch(&key, auth->clients, auth->count, sizeof(key), by_digest);
}

/* 0, or in how many nanoseconds there is room for one more. */
static uint64_t take(struct client *client, uint64_t now_ns)
{
    uint64_t due = atomic_load(&client->due_ns), from;

    do {
        from = due > now_ns ? due : now_ns;
        if (from + client->interval_ns > now_ns + BURST_NS)
            return from + client->interval_ns - now_ns - BURST_NS;
    } while (!atomic_compare_exchange_weak(&client->due_ns, &due, from + client->interval_ns));
    return 0;
}

static struct http_reply *unauthorized(const char *detail, const char *challenge)
{
    return http_set_header(http_problem(401, "%s", detail), "www-authenticate", "%s", challenge);
}

/* The token of an Authorization header. */
static bool take_token(struct str authorization, struct str *ret_token)
{
    static const char scheme[] = "Bearer ";
    const size_t scheme_len = sizeof(scheme) - 1;

    if (authorization.len <= scheme_len || strncasecmp(authorization.s, scheme, scheme_len) != 0)
        return false;
    *ret_token = (struct str){authorization.s + scheme_len, authorization.len - scheme_len};
    return true;
}

bool http_auth_knows(struct http_auth *auth, struct str authorization)
{
    struct str token;

    return take_token(authorization, &token) && find(auth, token) != NULL;
}

bool http_auth_admits(struct http_auth *auth, struct str authorization, uint64_t now_ns, struct http_reply **ret_reply)
{
    struct client *client;
    struct str token;
    uint64_t wait_ns;

    if (!take_token(authorization, &token)) {
        *ret_reply = unauthorized("a bearer token is needed", "Bearer");
        return false;
    }
    client = find(auth, token);
    if (client == NULL) {
        *ret_reply = unauthorized("the token is not known", "Bearer error=\"invalid_token\"");
        return false;
    }
    wait_ns = take(client, now_ns);
    if (wait_ns == 0)
        return true;
    *ret_reply = http_set_header(http_problem(429, "more requests than this token may make"), "retry-after", "%llu",
                                 (unsigned long long)((wait_ns + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S));
    return false;
}
