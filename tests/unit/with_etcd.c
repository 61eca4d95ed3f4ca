/* with_etcd N COMMAND... -- runs a test program with $STORE_TEST_URL naming an etcd of N members that is there for it.
 * Without an etcd the test is left out (exit status 77), which with $CI set is a failure. */
#include "etcd_cluster.h"
#include <ftw.h>

static int remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static int run(char **argv)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_with(struct etcd_cluster *cluster, int members, char **argv)
{
    char url[256];
    int err = etcd_cluster_start(cluster, members), status = 1;

    if (err == -ENOENT) {
        fprintf(stderr, "with_etcd: no etcd on PATH: left out: %s with %d members\n", argv[0], members);
        return getenv("CI") != NULL ? 1 : 77;
    }
    if (err == 0) {
        etcd_cluster_url(cluster, url);
        setenv("STORE_TEST_URL", url, 1);
        status = run(argv);
    } else {
        fprintf(stderr, "with_etcd: etcd did not become ready\n");
    }
    etcd_cluster_stop(cluster);
    return status;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/slipway-etcd-XXXXXX";
    struct etcd_cluster cluster = {.folder = folder};
    int members = argc >= 3 ? atoi(argv[1]) : 0, status;

    if (members < 1 || members > ETCD_CLUSTER_MAX || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: with_etcd N COMMAND...\n");
        return 2;
    }
    status = run_with(&cluster, members, argv + 2);
    nftw(folder, remove_file, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}
