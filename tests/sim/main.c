/* sim [OPTION...] -- deterministic simulation of the store's etcd engine. See scripts/sim. */
#include "bugs.h"
#include "conformance.h"
#include "run.h"
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 16

struct job {
    pid_t pid; /* 0: none */
    uint64_t seed;
    struct run_result result;
};

static struct {
    uint64_t seed, count; /* count 0: until the time is up */
    double until_s;
    unsigned jobs;
    bool verbose, quiet;
    char folder[64];
    struct job *running; /* shared with the processes of the seeds */
    uint64_t done, failed, first_failed, hash;
    struct run_result total;
} sims;

static volatile sig_atomic_t interrupted; /* nothing is begun any more */
static bool broken;                       /* a seed could not be started */

static void on_signal(int number)
{
    interrupted = 1;
}

/* The seeds that run are waited for. */
static void give_up(void)
{
    broken = true;
    interrupted = 1;
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_file, 16, FTW_DEPTH | FTW_PHYS);
}

static void seed_folder(uint64_t seed, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%llu", sims.folder, (unsigned long long)seed);
}

/* ---- one seed in a process of its own ---- */

static void start_job(struct job *job, uint64_t seed)
{
    pid_t pid;

    fflush(NULL);
    job->seed = seed;
    pid = fork();
    if (pid == 0) {
        char path[PATH_MAX];

        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        if (sims.quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        seed_folder(seed, path);
        if (mkdir(path, 0700) != 0)
            _exit(2);
        job->result = run_seed(seed, path, sims.verbose);
        fflush(NULL);
        _exit(0);
    }
    if (pid < 0) {
        perror("fork");
        give_up();
        return;
    }
    job->pid = pid;
}

static void add(struct run_result *total, const struct run_result *result)
{
    total->steps += result->steps;
    total->revisions += result->revisions;
    total->requests += result->requests;
    total->acknowledged += result->acknowledged;
    total->reads += result->reads;
    total->simulated_ns += result->simulated_ns;
}

static void end_job(struct job *job, int status)
{
    bool planted = bug_planted != BUG_NONE;
    char path[PATH_MAX];

    seed_folder(job->seed, path);
    remove_tree(path);
    job->pid = 0;
    if (interrupted)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) { /* no finding: it has not run */
        fprintf(stderr, "sim: seed %llu could not be started in %s\n", (unsigned long long)job->seed, sims.folder);
        give_up();
        return;
    }
    sims.done++;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        add(&sims.total, &job->result);
        sims.hash += job->result.hash * (2 * job->seed + 1);
        return;
    }
    if (sims.failed == 0 || job->seed < sims.first_failed)
        sims.first_failed = job->seed;
    sims.failed++;
    if (sims.quiet)
        return;
    if (WIFSIGNALED(status))
        printf("seed %llu: ended by signal %d\n", (unsigned long long)job->seed, WTERMSIG(status));
    printf("FAILED seed %llu: ./dev sim --seed %llu --trace%s%s\n", (unsigned long long)job->seed,
           (unsigned long long)job->seed, planted ? " --bug " : "", planted ? bug_names[bug_planted] : "");
}

static bool wait_job(void)
{
    int status;
    pid_t pid = wait(&status);

    for (unsigned i = 0; pid > 0 && i < sims.jobs; i++)
        if (sims.running[i].pid == pid)
            end_job(&sims.running[i], status);
    return pid > 0 || errno == EINTR;
}

static void run_seeds(uint64_t most_failures)
{
    uint64_t next = sims.seed, end = sims.seed + sims.count;

    sims.done = sims.failed = sims.hash = 0;
    memset(&sims.total, 0, sizeof(sims.total));
    for (;;) {
        bool more = (sims.count == 0 || next < end) && (sims.until_s == 0 || now_s() < sims.until_s) &&
                    sims.failed < most_failures && !interrupted;
        unsigned i = 0;

        while (i < sims.jobs && sims.running[i].pid != 0)
            i++;
        if (more && i < sims.jobs)
            start_job(&sims.running[i], next++);
        else if (!wait_job())
            return;
    }
}

/* ---- what is done with them ---- */

static int run_plainly(void)
{
    double begun_s = now_s(), s, cpu_s;
    struct rusage used;

    run_seeds(sims.verbose ? 1 : 20);
    s = now_s() - begun_s;
    getrusage(RUSAGE_CHILDREN, &used);
    cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
            (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%llu seeds from %llu in %.1f s (%.0f a second of CPU): %.0f s simulated, %llu steps, %llu revisions, "
           "%llu writes (%llu acknowledged), %llu reads; hash %016llx\n",
           (unsigned long long)sims.done, (unsigned long long)sims.seed, s, (double)sims.done / cpu_s,
           (double)sims.total.simulated_ns / 1e9, (unsigned long long)sims.total.steps,
           (unsigned long long)sims.total.revisions, (unsigned long long)sims.total.requests,
           (unsigned long long)sims.total.acknowledged, (unsigned long long)sims.total.reads,
           (unsigned long long)sims.hash);
    printf("%llu passed, %llu failed\n", (unsigned long long)(sims.done - sims.failed),
           (unsigned long long)sims.failed);
    return sims.failed > 0 || sims.done == 0;
}

static int run_bugs(void)
{
    unsigned found = 0, missed = 0;

    sims.quiet = true;
    for (unsigned i = 1; i < BUG_RARE; i++) {
        bug_planted = (enum bug)i;
        run_seeds(1);
        if (interrupted)
            break;
        if (sims.failed > 0) {
            printf("ok     %-24s found by seed %llu\n", bug_names[i], (unsigned long long)sims.first_failed);
            found++;
        } else {
            printf("FAILED %-24s not found in %llu seeds\n", bug_names[i], (unsigned long long)sims.done);
            missed++;
        }
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", found, missed);
    return missed > 0;
}

static int run_conformance(void)
{
    unsigned passed = 0, real_passed = 0, failed = conformance_in_memory(&passed);
    int real_failed = conformance_real(sims.folder, &real_passed);

    if (real_failed < 0) {
        printf("left out, for want of etcd: what the real one answers\n");
        real_failed = getenv("CI") != NULL;
    }
    printf("%u passed, %u failed\n", passed + real_passed, failed + (unsigned)real_failed);
    return failed + (unsigned)real_failed > 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seed S] [--seeds N] [--minutes M] [--jobs N] [--trace] [--bug NAME] "
                    "[--bugs | --conformance]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    int (*what)(void) = run_plainly;
    int status;

    sims.seed = 1;
    sims.count = 100;
    sims.jobs = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--trace") == 0)
            sims.verbose = true;
        else if (strcmp(argv[i], "--conformance") == 0)
            what = run_conformance;
        else if (strcmp(argv[i], "--bugs") == 0)
            what = run_bugs;
        else if (i + 1 == argc)
            return usage();
        else if (++i, strcmp(argv[i - 1], "--seed") == 0)
            sims.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--seeds") == 0)
            sims.count = strtoull(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--jobs") == 0)
            sims.jobs = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--minutes") == 0)
            sims.until_s = now_s() + 60 * strtod(value, NULL), sims.count = 0;
        else if (strcmp(argv[i - 1], "--bug") != 0 || !bug_plant(value))
            return usage();
    }
    if (sims.jobs < 1)
        return usage();
    if (sims.jobs > MAX_JOBS)
        sims.jobs = MAX_JOBS;
    snprintf(sims.folder, sizeof(sims.folder), "%s/slipway-sim-XXXXXX", base);
    sims.running =
        mmap(NULL, MAX_JOBS * sizeof(*sims.running), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mkdtemp(sims.folder) == NULL || sims.running == MAP_FAILED) {
        perror("sim");
        return 2;
    }
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    status = what();
    remove_tree(sims.folder);
    return broken ? 2 : interrupted ? 130 : status;
}
