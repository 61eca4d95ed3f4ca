#include "replica.h"
#include "judge.h"
#include "store_etcd.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES  (8u << 20)
#define RESTART_NS CLOCK_NS_PER_S /* until a process that could not open its store is started again */
#define PATH_BYTES 512

static void view_path(const struct replica *replica, unsigned generation, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/r%d-%u", replica->folder, replica->number, generation);
}

static void rest_of_url(const struct replica *replica, char rest[2 * PATH_BYTES])
{
    char view[PATH_BYTES];
    int len = 0;

    view_path(replica, replica->generation, view);
    for (unsigned i = 0; i < replica->members; i++)
        len += sprintf(rest + len, "%sm:%u", i > 0 ? "," : "", i + 1);
    sprintf(rest + len, "/" JUDGE_PREFIX "?view=%s", view);
}

static void start_again(void *arg)
{
    struct replica *replica = arg;

    if (replica->state == REPLICA_DOWN && replica->wanted)
        replica_start(replica);
}

static void *run_open(void *arg)
{
    struct replica *replica = arg;
    struct store_options options = {.url = "etcd://sim",
                                    .tables = judge_tables,
                                    .table_count = JUDGE_TABLES,
                                    .max_bytes = MAX_BYTES,
                                    .max_queue = 64,
                                    .max_queue_bytes = 1 << 20};
    char rest[2 * PATH_BYTES], error[256] = "";
    int err;

    rest_of_url(replica, rest);
    err = store_etcd_open(&sim_world, &options, rest, &replica->store, error, sizeof(error));
    sim_note("replica %d opens: %s", replica->number, err == 0 ? "done" : strerror(-err));
    if (err == 0) {
        store_opened(replica->store, &store_etcd_engine, &options);
        replica->state = REPLICA_SERVING;
        return NULL;
    }
    if (err == -EPROTO || err == -EBUSY || err == -EINVAL)
        sim_violated("replica %d cannot be opened: %s", replica->number, error);
    replica->state = REPLICA_DOWN;
    sim_after(RESTART_NS, start_again, replica);
    return NULL;
}

void replica_start(struct replica *replica)
{
    struct sim_process *process = sim_alloc(sizeof(*process));

    process->number = replica->number;
    if (replica->process != NULL)
        process->clock_skew_s = replica->process->clock_skew_s;
    replica->process = process;
    replica->state = REPLICA_OPENING;
    replica->wanted = true;
    replica->calls = 0;
    sim_spawn(process, run_open, replica);
}

static void *run_close(void *arg)
{
    struct replica *replica = arg;

    while (replica->calls > 0)
        sim_sleep(CLOCK_NS_PER_MS);
    replica->store = store_close(replica->store);
    replica->state = REPLICA_DOWN;
    sim_note("replica %d is closed", replica->number);
    start_again(replica);
    return NULL;
}

void replica_stop(struct replica *replica, bool again)
{
    if (replica->state != REPLICA_SERVING)
        return;
    sim_note("replica %d is to end", replica->number);
    replica->state = REPLICA_CLOSING;
    replica->wanted = again;
    sim_spawn(replica->process, run_close, replica);
}

/* ---- killing: the files are copied, because those of the dead one are still open and locked in this process ---- */

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t len;

    if (in < 0 || out < 0)
        abort();
    while ((len = read(in, bytes, sizeof(bytes))) > 0)
        if (write(out, bytes, (size_t)len) != len)
            abort();
    close(in);
    close(out);
}

static void copy_view(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    struct dirent *entry;

    if (dir == NULL)
        return;
    mkdir(to, 0700);
    while ((entry = readdir(dir)) != NULL) {
        char file[2 * PATH_BYTES], copy[2 * PATH_BYTES];

        if (entry->d_name[0] == '.' || strstr(entry->d_name, "lock") != NULL)
            continue;
        snprintf(file, sizeof(file), "%s/%s", from, entry->d_name);
        snprintf(copy, sizeof(copy), "%s/%s", to, entry->d_name);
        if (strncmp(entry->d_name, "view-", 5) == 0)
            copy_view(file, copy);
        else
            copy_file(file, copy);
    }
    closedir(dir);
}

void replica_kill(struct replica *replica)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    if (replica->state == REPLICA_DOWN)
        return;
    sim_note("replica %d is killed", replica->number);
    replica->process->dead = true;
    network_forget(replica->process);
    replica->state = REPLICA_DOWN;
    replica->store = NULL;
    view_path(replica, replica->generation, from);
    view_path(replica, ++replica->generation, to);
    copy_view(from, to);
}

void replica_forget_boot(struct replica *replica)
{
    char path[PATH_BYTES], boot[PATH_BYTES + 8];
    int fd;

    view_path(replica, replica->generation, path);
    snprintf(boot, sizeof(boot), "%s/boot", path);
    fd = open(boot, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "another", 7) != 7)
        abort();
    close(fd);
}
