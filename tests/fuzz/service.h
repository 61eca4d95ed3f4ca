/* service -- what the fuzzers of whole services share: a store, a log whose lines are checked, a connection. The
 * service runs in this process, in threads of its own, on a port of 127.0.0.1 that the kernel chose. */
#pragma once
#include "fuzz.h"
#include "log.h"
#include "net_listen.h"
#include "store.h"
#include <ftw.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE_BOUND_S 20 /* for an answer: more than any load of the machine explains */

/* ---- the store: in memory where there is /dev/shm; its files are gone at once ---- */

static inline int service_remove(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static inline struct store *service_store(const struct store_table *tables, size_t count)
{
    char folder[] = "/dev/shm/slipway-fuzz-XXXXXX", elsewhere[] = "/tmp/slipway-fuzz-XXXXXX", url[64], error[256] = "";
    const char *made = mkdtemp(folder) != NULL ? folder : mkdtemp(elsewhere);
    struct store_options options = {.url = url, .tables = tables, .table_count = count, .max_bytes = 64 << 20};
    struct store *store = NULL;

    MUST(made != NULL);
    snprintf(url, sizeof(url), "lmdb://%s", made);
    if (store_open(&options, &store, error, sizeof(error)) < 0)
        fprintf(stderr, "%s\n", error);
    MUST(store != NULL);
    nftw(made, service_remove, 16, FTW_DEPTH | FTW_PHYS);
    return store;
}

/* ---- the log ---- */

static int service_log_fd = -1;

static inline struct log *service_log(void)
{
    struct log *log = NULL;

    service_log_fd = memfd_create("log", MFD_CLOEXEC);
    MUST(service_log_fd >= 0);
    MUST(log_open(&(struct log_def){.fd = service_log_fd, .least = LOG_DEBUG, .service = "fuzz"}, &log) == 0);
    return log;
}

/* Each line is a JSON object; then there are none any more. */
static inline void service_check_log(struct log *log)
{
    off_t len;
    char *text, *line, *end;

    log_flush(log, 1000);
    if ((len = lseek(service_log_fd, 0, SEEK_END)) <= 0)
        return;
    MUST((text = malloc((size_t)len + 1)) != NULL && pread(service_log_fd, text, (size_t)len, 0) == len);
    text[len] = '\0';
    for (line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        json_t *json = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

        MUST(json_is_object(json) && json_is_string(json_object_get(json, "severity")));
        json_decref(json);
    }
    MUST(line == text + len);
    free(text);
    MUST(ftruncate(service_log_fd, 0) == 0 && lseek(service_log_fd, 0, SEEK_SET) == 0);
}

/* ---- a connection ---- */

static inline int service_listen(int *ret_port)
{
    int fd = -1;

    MUST(net_listen("127.0.0.1", 0, &fd, ret_port) == 0);
    return fd;
}

static inline int service_connect(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {.l_onoff = 1}; /* no port waits for its last packets */
    struct timeval bound = {SERVICE_BOUND_S, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    MUST(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    MUST(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

/* The service may have closed meanwhile. */
static inline void service_send(int fd, struct str bytes)
{
    ssize_t sent = 0;

    do
        sent = bytes.len > 0 ? send(fd, bytes.s, bytes.len, MSG_NOSIGNAL) : 0;
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        MUST(errno == EPIPE || errno == ECONNRESET);
}

/* Appends what comes. False: the service has closed. */
static inline bool service_receive(int fd, struct buf *output)
{
    char *room = buf_reserve(output, 64 * 1024);
    ssize_t len;

    MUST(room != NULL);
    do
        len = recv(fd, room, 64 * 1024, 0);
    while (len < 0 && errno == EINTR);     /* libFuzzer's alarm: with a time limit the kernel does not begin again */
    MUST(len >= 0 || errno == ECONNRESET); /* else neither an answer nor an end within the bound */
    output->len += len > 0 ? (size_t)len : 0;
    return len > 0;
}
