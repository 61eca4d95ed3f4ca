#include "move.h"
#include "clock.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define READ_TIMEOUT_NS  (600 * CLOCK_NS_PER_S) /* an engine may have to fetch everything first */
#define WRITE_TIMEOUT_NS (60 * CLOCK_NS_PER_S)
#define MAX_BATCH_BYTES  (512 << 10)
#define MAX_RUNNING      64 /* batches */

static int __attribute__((format(printf, 2, 3))) fail(int err, const char *format, ...)
{
    va_list args;

    fputs("store-tool: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return err;
}

/* ---- out ---- */

/* SIGALRM prints why the process ends. SIGKILL follows a second later, because it also ends a stopped process. */
struct patience {
    unsigned seconds;
    timer_t warn, kill;
    uint64_t wound_ns;
};

static void give_up(int signal)
{
    static const char text[] = "store-tool: it hangs: ended, so that the store can use its room again\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static void wind(struct patience *patience)
{
    timer_settime(patience->warn, 0, &(struct itimerspec){.it_value.tv_sec = patience->seconds}, NULL);
    timer_settime(patience->kill, 0, &(struct itimerspec){.it_value.tv_sec = patience->seconds + 1}, NULL);
    patience->wound_ns = clock_monotonic_ns();
}

static int begin_patience(struct patience *patience, unsigned seconds)
{
    struct sigevent warn = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct sigevent kill = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};

    *patience = (struct patience){.seconds = seconds};
    if (signal(SIGALRM, give_up) == SIG_ERR || timer_create(CLOCK_MONOTONIC, &warn, &patience->warn) != 0)
        return -errno;
    if (timer_create(CLOCK_MONOTONIC, &kill, &patience->kill) == 0) {
        wind(patience);
        return 0;
    }
    timer_delete(patience->warn);
    return -errno;
}

static void note_progress(struct patience *patience)
{
    if (clock_monotonic_ns() - patience->wound_ns > CLOCK_NS_PER_S / 4)
        wind(patience);
}

static void end_patience(struct patience *patience)
{
    timer_delete(patience->warn);
    timer_delete(patience->kill);
}

struct out {
    struct patience patience;
    struct store *store;
    struct stream_writer *writer;
    struct stream_summary summary;
    int err;
};

static int write_table(struct out *out, struct store_snapshot *snapshot, unsigned table)
{
    struct store_cursor cursor;
    struct store_record record;
    int err = store_cursor_open(snapshot, table, false, &cursor);

    if (err < 0)
        return err;
    while ((err = store_cursor_next(&cursor, &record)) == 0) {
        stream_add(out->writer, table, &record);
        note_progress(&out->patience);
    }
    store_cursor_close(&cursor);
    return err == -ENOENT ? 0 : err;
}

static void write_snapshot(void *arg, int err, struct store_snapshot *snapshot)
{
    const struct store_table *tables;
    struct out *out = arg;
    size_t count = store_tables(out->store, &tables);

    if (err == 0)
        err = begin_patience(&out->patience, out->patience.seconds);
    if (err < 0) {
        out->err = err;
        return;
    }
    for (unsigned i = 0; i < count && err == 0; i++) {
        err = write_table(out, snapshot, i);
        if (err == -EBADMSG)
            fail(err, "table %s: a record is damaged: its checksum does not match", tables[i].name);
    }
    if (err == 0) {
        err = stream_end(out->writer, store_last_seq(snapshot), &out->summary);
        out->writer = NULL;
    }
    end_patience(&out->patience);
    out->err = err;
}

int move_out(const char *url, FILE *file, unsigned patience_s, struct stream_summary *ret_summary)
{
    const struct store_table *tables;
    struct out out = {.patience.seconds = patience_s};
    char error[512];
    size_t count;
    int err;

    err = store_open(&(struct store_options){.url = url, .mode = STORE_INSPECT}, &out.store, error, sizeof(error));
    if (err < 0)
        return fail(err, "%s", error);
    count = store_tables(out.store, &tables);
    out.writer = stream_begin(file, tables, count);
    store_read_wait(out.store, clock_monotonic_ns() + READ_TIMEOUT_NS, 0, write_snapshot, &out);
    if (out.writer != NULL)
        stream_end(out.writer, 0, &out.summary);
    store_close(out.store);
    if (out.err < 0)
        return fail(out.err, "%s: %s", url, strerror(-out.err));
    *ret_summary = out.summary;
    return 0;
}

/* ---- in ---- */

struct in {
    struct store *store;
    struct store_batch *batch;
    unsigned count; /* of the batch */
    size_t bytes;
    uint64_t lost_seqs;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    unsigned running;
    int err; /* the first */
};

static void on_written(void *arg, const struct store_result *result)
{
    struct in *in = arg;

    pthread_mutex_lock(&in->mutex);
    in->running--;
    if (in->err == 0)
        in->err = result->err;
    pthread_cond_signal(&in->changed);
    pthread_mutex_unlock(&in->mutex);
}

/* Until less than max are running. The first error of those that are done. */
static int wait_running(struct in *in, unsigned max)
{
    int err;

    pthread_mutex_lock(&in->mutex);
    while (in->running >= max)
        pthread_cond_wait(&in->changed, &in->mutex);
    err = in->err;
    pthread_mutex_unlock(&in->mutex);
    return err;
}

static int send_batch(struct in *in)
{
    struct store_batch *batch = in->batch;
    int err = wait_running(in, MAX_RUNNING);

    if (in->count == 0 || err < 0)
        return err;
    in->batch = NULL;
    in->count = 0;
    in->bytes = 0;
    pthread_mutex_lock(&in->mutex);
    in->running++;
    pthread_mutex_unlock(&in->mutex);
    store_write(in->store, batch, clock_monotonic_ns() + WRITE_TIMEOUT_NS, on_written, in);
    return 0;
}

static int put_record(void *arg, unsigned table, const struct store_record *record)
{
    size_t bytes = record->key.len + record->value.len;
    struct in *in = arg;
    int err = 0;

    if (in->count == STORE_MAX_BATCH || in->bytes + bytes > MAX_BATCH_BYTES)
        err = send_batch(in);
    if (err < 0)
        return err;
    if (in->batch == NULL)
        in->batch = store_batch_new();
    store_batch_restore(in->batch, table, record->key, record->value, record->seq);
    in->count++;
    in->bytes += bytes;
    return 0;
}

/* The file has been checked; that it is still the same is known at its end, and only then is the store complete. */
static int put_all(struct in *in, FILE *file, const char *path, const struct stream_summary *checked)
{
    struct stream_summary summary;
    char error[256] = "";
    int err, written;

    err = stream_read(file, put_record, in, &summary, error, sizeof(error));
    if (err == 0)
        err = send_batch(in);
    written = wait_running(in, 1);
    if (written < 0)
        return fail(written, "%s", strerror(-written));
    if (err < 0)
        return fail(err, "%s: %s", path, error);
    if (!stream_same(&summary, checked))
        return fail(-EBADMSG, "%s has been changed meanwhile", path);
    err = store_restored(in->store, summary.last_seq + in->lost_seqs);
    return err < 0 ? fail(err, "%s", strerror(-err)) : 0;
}

static int fill_store(const char *url, uint64_t max_bytes, uint64_t lost_seqs, FILE *file, const char *path,
                      const struct stream_summary *checked)
{
    struct store_table tables[STORE_MAX_TABLES] = {{.name = NULL}};
    struct in in = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .lost_seqs = lost_seqs};
    struct store_options options = {.url = url,
                                    .tables = tables,
                                    .table_count = checked->table_count,
                                    .mode = STORE_RESTORE,
                                    .restore_id = checked->digest,
                                    .max_bytes = max_bytes};
    char error[512];
    int err;

    for (size_t i = 0; i < checked->table_count; i++)
        tables[i].name = checked->tables[i];
    err = store_open(&options, &in.store, error, sizeof(error));
    if (err < 0)
        return fail(err, "%s", error);
    err = put_all(&in, file, path, checked);
    store_batch_free(in.batch);
    store_close(in.store);
    return err;
}

static int open_checked(const char *path, FILE **ret_file, struct stream_summary *ret_summary)
{
    FILE *file = fopen(path, "rbe");
    char error[256];
    int err;

    if (file == NULL)
        return fail(-errno, "%s: %s", path, strerror(errno));
    err = stream_read(file, NULL, NULL, ret_summary, error, sizeof(error));
    if (err < 0) {
        fclose(file);
        return fail(err, "%s: %s", path, error);
    }
    *ret_file = file;
    return 0;
}

int move_in(const char *url, const char *path, uint64_t max_bytes, uint64_t lost_seqs,
            struct stream_summary *ret_summary)
{
    struct stream_summary summary;
    FILE *file;
    int err;

    err = open_checked(path, &file, &summary);
    if (err < 0)
        return err;
    err = fill_store(url, max_bytes, lost_seqs, file, path, &summary);
    fclose(file);
    if (err == 0 || err == -EALREADY)
        *ret_summary = summary;
    return err;
}

int move_check(const char *path, struct stream_summary *ret_summary)
{
    FILE *file;
    int err = open_checked(path, &file, ret_summary);

    if (err == 0)
        fclose(file);
    return err;
}
