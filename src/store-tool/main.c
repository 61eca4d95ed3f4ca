/* store-tool -- moves a service's data between stores by a file, compares them, and looks after etcd's files. */
#include "hex.h"
#include "jobs.h"
#include "move.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_S       60           /* with an export that hangs */
#define MIN_FREE_PERCENT 25           /* a stand still for less is not worth it */
#define LOST_SEQS        (1ULL << 40) /* that writes after an export may have had: of 4 billion revisions of etcd */

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

static const char usage[] =
    "Usage: store-tool export URL FILE [SECONDS]\n"
    "       store-tool import|restore URL FILE [MAX_BYTES]\n"
    "       store-tool verify URL|FILE [URL|FILE]\n"
    "       store-tool defragment URL [PERCENT]\n"
    "       store-tool job URL NAME begun|succeeded\n"
    "Moves all records of a store (lmdb:///DIR, etcd://HOST:PORT/PREFIX) to another by a file, compares two, or looks\n"
    "after etcd's files.\n"
    "\n"
    "  export   writes FILE, whole or not at all; the store may be in use. It ends after SECONDS (60)\n"
    "           without progress, because while it reads, deletes make no room in the store\n"
    "  import   fills an empty store; interrupted, it is to be repeated with the same FILE, and until it has ended no\n"
    "           service can use the store. A damaged FILE changes nothing. MAX_BYTES: as STORE_MAX_BYTES of the "
    "service\n"
    "  restore  the same where FILE may lack the last writes: new sequence numbers, and so entity tags, begin far "
    "beyond\n"
    "           those that these had\n"
    "  verify   reads everything, checks every checksum, and says what is there; of two, whether they hold the same\n"
    "  defragment\n"
    "           gives back what is free in the files of the etcd members that URL names, where that is PERCENT of a "
    "file\n"
    "           or more (25); one after the other, the leader last: it hands over first, so that writes go on\n"
    "  job      records at URL, for upkeep, that the scheduled job NAME begins, or has succeeded\n"
    "\n"
    "Exit status: 0: done, the same; 1: failed, not the same; 2: wrong arguments.\n";

static void print(const char *name, const struct stream_summary *summary)
{
    char digest[2 * STREAM_DIGEST + 1];

    printf("%s:", name);
    for (size_t i = 0; i < summary->table_count; i++)
        printf(" %s %llu,", summary->tables[i], (unsigned long long)summary->counts[i]);
    printf(" last sequence %llu, SHA-256 ", (unsigned long long)summary->last_seq);
    *hex_encode(summary->digest, STREAM_DIGEST, digest) = '\0';
    puts(digest);
}

static int complain(const char *path)
{
    fprintf(stderr, "store-tool: %s: %s\n", path, strerror(errno));
    return EXIT_FAILED;
}

/* ---- export ---- */

static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = ".";
    int fd, err;

    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    err = fsync(fd);
    close(fd);
    return err;
}

static int export(const char *url, const char *path, const char *seconds)
{
    uint64_t patience_s = PATIENCE_S;
    struct stream_summary summary;
    char new_path[PATH_MAX];
    FILE *file;
    bool written;

    if (seconds != NULL && (str_to_u64(str_of(seconds), 3600, &patience_s) < 0 || patience_s == 0)) {
        fprintf(stderr, "store-tool: \"%s\" is not a number of seconds, 1 to 3600\n", seconds);
        return EXIT_USAGE;
    }
    if (snprintf(new_path, sizeof(new_path), "%s.new", path) >= (int)sizeof(new_path)) {
        errno = ENAMETOOLONG;
        return complain(path);
    }
    file = fopen(new_path, "wbe");
    if (file == NULL)
        return complain(new_path);
    if (move_out(url, file, (unsigned)patience_s, &summary) < 0) {
        fclose(file);
        unlink(new_path);
        return EXIT_FAILED;
    }
    written = fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (fclose(file) != 0 || !written || rename(new_path, path) != 0 || sync_folder_of(path) != 0) {
        complain(path);
        unlink(new_path);
        return EXIT_FAILED;
    }
    print(path, &summary);
    return EXIT_DONE;
}

/* ---- import, verify ---- */

static int import(const char *url, const char *path, uint64_t lost_seqs, const char *max)
{
    struct stream_summary summary;
    uint64_t max_bytes = 0;
    int err;

    if (max != NULL && str_to_u64(str_of(max), 1ULL << 46, &max_bytes) < 0) {
        fprintf(stderr, "store-tool: \"%s\" is not a number of bytes\n", max);
        return EXIT_USAGE;
    }
    err = move_in(url, path, max_bytes, lost_seqs, &summary);
    if (err < 0 && err != -EALREADY)
        return EXIT_FAILED;
    print(url, &summary);
    return EXIT_DONE;
}

static int summarize(const char *name, struct stream_summary *ret_summary)
{
    int err =
        strstr(name, "://") != NULL ? move_out(name, NULL, PATIENCE_S, ret_summary) : move_check(name, ret_summary);

    if (err == 0)
        print(name, ret_summary);
    return err;
}

static int verify(const char *a, const char *b)
{
    struct stream_summary summaries[2];

    if (summarize(a, &summaries[0]) < 0)
        return EXIT_FAILED;
    if (b == NULL)
        return EXIT_DONE;
    if (summarize(b, &summaries[1]) < 0)
        return EXIT_FAILED;
    if (stream_same(&summaries[0], &summaries[1]))
        return EXIT_DONE;
    fprintf(stderr, "store-tool: they do not hold the same\n");
    return EXIT_FAILED;
}

/* ---- defragment ---- */

static void tell(void *arg, const struct store_member *member)
{
    double mib = 1 << 20;

    printf("%s: %.1f MiB, %.1f MiB of it free", member->name, (double)member->size / mib, (double)member->free / mib);
    if (member->new_size != 0)
        printf("; %.1f MiB now\n", (double)member->new_size / mib);
    else
        puts("; left as it is");
    fflush(stdout);
}

static int defragment(const char *url, const char *percent)
{
    uint64_t min_free_percent = MIN_FREE_PERCENT;
    char error[512];

    if (percent != NULL && str_to_u64(str_of(percent), 100, &min_free_percent) < 0) {
        fprintf(stderr, "store-tool: \"%s\" is not a percentage\n", percent);
        return EXIT_USAGE;
    }
    if (store_defragment(url, (unsigned)min_free_percent, tell, NULL, error, sizeof(error)) == 0)
        return EXIT_DONE;
    fprintf(stderr, "store-tool: %s\n", error);
    return EXIT_FAILED;
}

/* ---- job ---- */

static int job(const char *url, const char *name, const char *event)
{
    struct store_options options = {.url = url, .tables = &jobs_table, .table_count = 1};
    struct store *store;
    char error[512];
    int err;

    if (strcmp(event, "begun") != 0 && strcmp(event, "succeeded") != 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    err = store_open(&options, &store, error, sizeof(error));
    if (err < 0) {
        fprintf(stderr, "store-tool: %s\n", error);
        return EXIT_FAILED;
    }
    err = jobs_record(store, str_of(name), event[0] == 'b' ? JOBS_BEGUN : JOBS_SUCCEEDED);
    store_close(store);
    if (err < 0) {
        errno = -err;
        return complain(name);
    }
    printf("%s: %s\n", name, event);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("store-tool " SLIPWAY_VERSION);
        return EXIT_DONE;
    }
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "export") == 0)
        return export(argv[2], argv[3], argc == 5 ? argv[4] : NULL);
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "import") == 0)
        return import(argv[2], argv[3], 0, argc == 5 ? argv[4] : NULL);
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "restore") == 0)
        return import(argv[2], argv[3], LOST_SEQS, argc == 5 ? argv[4] : NULL);
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "verify") == 0)
        return verify(argv[2], argc == 4 ? argv[3] : NULL);
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "defragment") == 0)
        return defragment(argv[2], argc == 4 ? argv[3] : NULL);
    if (argc == 5 && strcmp(argv[1], "job") == 0)
        return job(argv[2], argv[3], argv[4]);
    fputs(usage, stderr);
    return EXIT_USAGE;
}
