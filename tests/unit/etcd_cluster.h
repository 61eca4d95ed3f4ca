/* etcd_cluster -- a real etcd for tests: one or several members as processes of our own, on free ports of 127.0.0.1,
 * with their data in a folder of the test's. They end with the thread that started them. */
#pragma once
#include "clock.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ETCD_CLUSTER_MAX 3
#define ETCD_READY_NS    (60 * CLOCK_NS_PER_S)

struct etcd_member {
    pid_t pid; /* 0: not running */
    int client_port, peer_port;
};

struct etcd_cluster {
    const char *folder, *program;
    const char *scheme;         /* of the clients' URLs: NULL: http */
    const char *const *options; /* more of them, ended by NULL; may be NULL */
    struct etcd_member members[ETCD_CLUSTER_MAX];
    int count;
};

/* The program's path in space, or NULL: on $PATH, or where people put programs. */
static inline const char *etcd_cluster_find(const char *program, char space[PATH_MAX])
{
    const char *path = getenv("PATH"), *home = getenv("HOME");
    char *list, *rest, *folder;
    bool found = false;

    if (asprintf(&list, "%s:%s/.local/bin", path != NULL ? path : "", home != NULL ? home : "") < 0)
        return NULL;
    for (rest = list; !found && (folder = strsep(&rest, ":")) != NULL;)
        found = snprintf(space, PATH_MAX, "%s/%s", folder, program) < PATH_MAX && access(space, X_OK) == 0;
    free(list);
    return found ? space : NULL;
}

/* A free port that stays the test's, also while its member is killed: a socket holds it until the process ends, and the
 * member shares it (SO_REUSEPORT). Nobody connects to a socket that does not listen. */
static inline int etcd_cluster_hold_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) == 0);
    assert(bind(fd, (struct sockaddr *)&address, len) == 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.sin_port);
}

/* ---- a member ---- */

/* What bounds the memory of an etcd: see ETCD_BOUNDS in scripts/system.py. */
static const char *const etcd_bounds[] = {"ETCD_SNAPSHOT_COUNT=200", "ETCD_SNAPSHOT_CATCHUP_ENTRIES=200",
                                          "GOMEMLIMIT=768MiB"};

static inline void etcd_member_exec(const struct etcd_cluster *cluster, int n)
{
    const struct etcd_member *member = &cluster->members[n];
    const char *scheme = cluster->scheme != NULL ? cluster->scheme : "http";
    char *args[64], *path, all[512] = "";
    int count = 0, log;

#define ARG(...) assert(asprintf(&args[count++], __VA_ARGS__) > 0)
    for (int i = 0; i < cluster->count; i++)
        sprintf(all + strlen(all), "%sm%d=http://127.0.0.1:%d", i > 0 ? "," : "", i, cluster->members[i].peer_port);
    ARG("%s", cluster->program);
    ARG("--name=m%d", n);
    ARG("--data-dir=%s/etcd-%d", cluster->folder, n);
    ARG("--listen-client-urls=%s://127.0.0.1:%d", scheme, member->client_port);
    ARG("--advertise-client-urls=%s://127.0.0.1:%d", scheme, member->client_port);
    ARG("--listen-peer-urls=http://127.0.0.1:%d", member->peer_port);
    ARG("--initial-advertise-peer-urls=http://127.0.0.1:%d", member->peer_port);
    ARG("--initial-cluster=%s", all);
    ARG("--heartbeat-interval=100");
    ARG("--election-timeout=1000");
    ARG("--log-level=error");
    ARG("--socket-reuse-port");
    for (int i = 0; cluster->options != NULL && cluster->options[i] != NULL; i++)
        ARG("%s", cluster->options[i]);
#undef ARG
    args[count] = NULL;
    for (size_t i = 0; i < sizeof(etcd_bounds) / sizeof(*etcd_bounds); i++)
        putenv((char *)(uintptr_t)etcd_bounds[i]);
    assert(asprintf(&path, "%s/etcd-%d.log", cluster->folder, n) > 0);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(cluster->program, args);
    _exit(127);
}

static inline void etcd_member_start(struct etcd_cluster *cluster, int n)
{
    struct etcd_member *member = &cluster->members[n];
    pid_t parent = getpid();

    assert(member->pid == 0);
    member->pid = fork();
    assert(member->pid >= 0);
    if (member->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    etcd_member_exec(cluster, n);
}

static inline void etcd_member_signal(struct etcd_cluster *cluster, int n, int signal)
{
    assert(cluster->members[n].pid > 0);
    kill(cluster->members[n].pid, signal);
}

static inline void etcd_member_kill(struct etcd_cluster *cluster, int n)
{
    struct etcd_member *member = &cluster->members[n];

    if (member->pid == 0)
        return;
    kill(member->pid, SIGKILL);
    waitpid(member->pid, NULL, 0);
    member->pid = 0;
}

/* ---- readiness ---- */

static inline int etcd_member_connect(const struct etcd_member *member)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)member->client_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* It answers, and there is a leader. With TLS only that it accepts can be seen from here. */
static inline bool etcd_member_is_ready(const struct etcd_cluster *cluster, int n)
{
    static const char request[] = "GET /health HTTP/1.0\r\n\r\n";
    char answer[1024];
    size_t len = 0;
    ssize_t got;
    int fd = etcd_member_connect(&cluster->members[n]);

    if (fd < 0 || cluster->scheme != NULL) {
        close(fd);
        return fd >= 0;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 5}, sizeof(struct timeval));
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
        while (len < sizeof(answer) - 1 && (got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
            len += (size_t)got;
    answer[len] = '\0';
    close(fd);
    return strstr(answer, "\"health\":\"true\"") != NULL;
}

/* False: not within a minute. */
static inline bool etcd_member_wait(const struct etcd_cluster *cluster, int n)
{
    uint64_t until_ns = clock_monotonic_ns() + ETCD_READY_NS;

    while (!etcd_member_is_ready(cluster, n)) {
        if (clock_monotonic_ns() > until_ns)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    }
    return true;
}

/* ---- all of them ---- */

/* cluster: folder, and what is optional. 0; -ENOENT: there is no etcd; -EIO: it does not start. */
static inline int etcd_cluster_start(struct etcd_cluster *cluster, int count)
{
    static char path[PATH_MAX];

    cluster->program = etcd_cluster_find("etcd", path);
    if (cluster->program == NULL)
        return -ENOENT;
    cluster->count = count;
    for (int i = 0; i < count; i++)
        cluster->members[i] =
            (struct etcd_member){.client_port = etcd_cluster_hold_port(), .peer_port = etcd_cluster_hold_port()};
    for (int i = 0; i < count; i++)
        etcd_member_start(cluster, i);
    for (int i = 0; i < count; i++)
        if (!etcd_member_wait(cluster, i))
            return -EIO;
    return 0;
}

static inline void etcd_cluster_stop(struct etcd_cluster *cluster)
{
    for (int i = 0; i < cluster->count; i++)
        etcd_member_kill(cluster, i);
}

/* "etcd://HOST:PORT,HOST:PORT,..." */
static inline void etcd_cluster_url(const struct etcd_cluster *cluster, char url[256])
{
    strcpy(url, "etcd://");
    for (int i = 0; i < cluster->count; i++)
        sprintf(url + strlen(url), "%s127.0.0.1:%d", i > 0 ? "," : "", cluster->members[i].client_port);
}
