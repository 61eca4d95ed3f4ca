/* local -- what the console may do beyond showing, where ./dev up has started it: send requests to the services that
 * run here, for the page. CONSOLE_TOKEN_FILE holds the token that the page must show, CONSOLE_SERVICES_FILE says where
 * the services are (data/up.json of ./dev up), and is read again when it has changed.
 *
 * Only addresses of loopback are asked. local_refresh is called by one thread, the others by any.
 */
#pragma once
#include "http.h"
#include "http_client.h"
#include <stdatomic.h>

struct svc;
struct local;

#define LOCAL_ADDRESS      64
#define LOCAL_MAX_TRAFFICS 4    /* at a time */
#define LOCAL_MAX_PATH     1024 /* bytes of a traffic's, with the NUL */

/* Requests that are sent by a loop's timer. */
struct local_traffic {
    struct loop_timer timer;
    atomic_bool runs; /* the rest is of that loop's thread */
    struct loop *loop;
    struct http_client *client;
    char path[LOCAL_MAX_PATH];
    uint64_t rate, begun_ns, end_ns, sent;
};

/* NULL, or what is wrong: for svc_def.check. */
const char *local_check(const char *token_file);
/* *ret_local is NULL where there is no token file: this is a cluster. 0, or what svc_fail returned. */
int local_open(struct svc *svc, struct local **ret_local);
struct local *local_close(struct local *local); /* NULL is fine; returns NULL */
/* Reads where the services are, if that has changed. May wait for the disk. */
void local_refresh(struct local *local);
/* A client of the HTTP listener of a service; NULL: it has none here. It stays until local_close. */
struct http_client *local_client(struct local *local, struct str service);
/* The address of a service's listener, "127.0.0.1:8080"; "" where there is none. local may be NULL. */
void local_address(struct local *local, struct str service, bool grpc, char ret_address[LOCAL_ADDRESS]);

/* One that does not run, and that is the caller's until it sets runs to false; NULL: all run. */
struct local_traffic *local_take_traffic(struct local *local);

/* Whether a request may make the console act: it comes from the console's own page, as far as its Origin says, and
 * shows the token. guard_host checks the host. NULL, or the problem. */
struct http_reply *local_admits(const struct local *local, const struct http_req *req);

/* ---- try.c ---- */

#define TRY_MAX_REQUEST (64 * 1024) /* bytes of a body */

struct http_reply *try_post(struct http_req *req);
struct http_reply *traffic_post(struct http_req *req);
