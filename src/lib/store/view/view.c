/* Opening and closing: the folder, its lock, the environment, the format and the schema. */
#include "store_engine.h"
#include "store_view_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_MAGIC   "slipway"
#define FORMAT_VERSION 1

/* Address space beyond max_bytes, for copies of changed pages, the list of free ones, and old pages that a reader still
 * sees. */
#define SPARE_BYTES    (64ULL << 20)
#define SPARE_FRACTION 8

#define OTHER_READERS 64 /* slots for backup tools */

struct opening {
    struct store_view *view;
    char *error;
    size_t error_size;
};

#define FAIL(opening, err, ...) store_fail((opening)->error, (opening)->error_size, err, __VA_ARGS__)

/* ---- the folder ---- */

static int make_folder(struct opening *o)
{
    const char *dir = o->view->dir;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return FAIL(o, -errno, "data directory %s: cannot be made: %s", dir, strerror(errno));
    return 0;
}

static int open_in_folder(struct opening *o, const char *name, int flags, int *ret_fd)
{
    char path[4096];

    if (snprintf(path, sizeof(path), "%s/%s", o->view->dir, name) >= (int)sizeof(path))
        return FAIL(o, -ENAMETOOLONG, "data directory %s: %s", o->view->dir, strerror(ENAMETOOLONG));
    *ret_fd = open(path, flags | O_CLOEXEC, 0600);
    if (*ret_fd < 0)
        return FAIL(o, -errno, "data directory %s: cannot open %s: %s", o->view->dir, name, strerror(errno));
    return 0;
}

/* LMDB's own lock lets several processes in; ours is for one alone. Its text is for people: the lock counts. */
static int lock_folder(struct opening *o)
{
    char pid[24] = "";
    ssize_t len;
    int fd, err;

    err = open_in_folder(o, "lock", O_RDWR | O_CREAT, &fd);
    if (err < 0)
        return err;
    o->view->lock_fd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return FAIL(o, -errno, "data directory %s: cannot be locked: %s", o->view->dir, strerror(errno));
        len = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[len > 0 ? len : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        return FAIL(o, -EBUSY, "data directory %s is in use by process %s", o->view->dir, pid);
    }
    snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
        return FAIL(o, -errno, "data directory %s: cannot write: %s", o->view->dir, strerror(errno));
    return 0;
}

/* New files are there after a crash of the machine only if their folder has been synced. */
static int sync_folder(struct opening *o)
{
    int fd, err;

    if (o->view->unsynced)
        return 0;
    err = open_in_folder(o, ".", O_RDONLY | O_DIRECTORY, &fd);
    if (err < 0)
        return err;
    err = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    if (err == 0 && open_in_folder(o, "..", O_RDONLY | O_DIRECTORY, &fd) == 0) { /* it may not be ours to open */
        err = fsync(fd) == 0 ? 0 : -errno;
        close(fd);
    }
    return err == 0 ? 0 : FAIL(o, err, "data directory %s: cannot be synced: %s", o->view->dir, strerror(-err));
}

/* ---- the environment ---- */

static int environment_error(struct opening *o, int err)
{
    const char *dir = o->view->dir;

    if (err == MDB_INVALID)
        return FAIL(o, -EPROTO, "%s/data.mdb is not an LMDB database", dir);
    if (err == MDB_VERSION_MISMATCH)
        return FAIL(o, -EPROTO, "%s/data.mdb was written by an LMDB of another format than %s", dir,
                    MDB_VERSION_STRING);
    return FAIL(o, store_view_error(err), "%s/data.mdb: cannot be opened: %s", dir, mdb_strerror(err));
}

static int open_environment(struct opening *o)
{
    struct store_view *view = o->view;
    unsigned flags =
        MDB_NOTLS | MDB_NORDAHEAD | (view->unsynced ? MDB_NOSYNC : 0) | (view->mode == STORE_INSPECT ? MDB_RDONLY : 0);
    size_t map_bytes = view->max_bytes + view->max_bytes / SPARE_FRACTION + SPARE_BYTES;
    struct stat file;
    MDB_envinfo info;
    MDB_stat stat;
    int err;

    err = mdb_env_create(&view->env);
    if (err != 0)
        return FAIL(o, store_view_error(err), "LMDB: %s", mdb_strerror(err));
    mdb_env_set_mapsize(view->env, map_bytes - map_bytes % (size_t)sysconf(_SC_PAGESIZE));
    mdb_env_set_maxdbs(view->env, 1 + 2 * STORE_MAX_TABLES);
    mdb_env_set_maxreaders(view->env, STORE_VIEW_MAX_SNAPSHOTS + OTHER_READERS);
    /* Reads are of single records: reading ahead would only push other pages out of a small container's memory. */
    err = mdb_env_open(view->env, view->dir, flags, 0600);
    if (err == ENOENT && view->mode == STORE_INSPECT)
        return FAIL(o, -ENOENT, "%s/data.mdb: there is none", view->dir);
    if (err != 0)
        return environment_error(o, err);
    store_view_check_readers(view);
    mdb_env_stat(view->env, &stat);
    mdb_env_info(view->env, &info);
    if (mdb_env_get_fd(view->env, &view->data_fd) != 0 || fstat(view->data_fd, &file) != 0)
        return FAIL(o, -errno, "%s/data.mdb: %s", view->dir, strerror(errno));
    view->page_bytes = stat.ms_psize;
    if ((info.me_last_pgno + 1) * view->page_bytes > (uint64_t)file.st_size && info.me_last_pgno > 1)
        return FAIL(o, -EPROTO, "%s/data.mdb is cut off: %lld bytes of %llu", view->dir, (long long)file.st_size,
                    (unsigned long long)((info.me_last_pgno + 1) * view->page_bytes));
    view->allocated_bytes = (uint64_t)file.st_size;
    view->preallocates = true;
    return 0;
}

/* ---- format and schema ---- */

static void format_bytes(uint8_t format[16])
{
    memset(format, 0, 16);
    memcpy(format, FORMAT_MAGIC, sizeof(FORMAT_MAGIC) - 1);
    store_put_u64(format + 8, FORMAT_VERSION);
}

static int check_format(struct opening *o, MDB_txn *txn)
{
    struct str found;
    uint8_t format[16];

    format_bytes(format);
    if (store_view_meta_get(txn, o->view->meta, "format", &found) < 0 || found.len != sizeof(format) ||
        memcmp(found.s, format, 8) != 0)
        return FAIL(o, -EPROTO, "%s/data.mdb is the database of another program", o->view->dir);
    if (memcmp(found.s, format, sizeof(format)) != 0)
        return FAIL(o, -EPROTO, "%s/data.mdb has format %llu; this version reads format %d", o->view->dir,
                    (unsigned long long)store_get_u64(found.s + 8), FORMAT_VERSION);
    return 0;
}

static int open_meta(struct opening *o, MDB_txn *txn)
{
    uint8_t format[16];
    MDB_stat stat;
    int err;

    err = mdb_stat(txn, 1, &stat);
    if (err == 0 && stat.ms_entries > 0) {
        err = mdb_dbi_open(txn, "meta", 0, &o->view->meta);
        if (err == MDB_NOTFOUND || err == MDB_INCOMPATIBLE)
            return FAIL(o, -EPROTO, "%s/data.mdb is the database of another program", o->view->dir);
        return err == 0 ? check_format(o, txn) : environment_error(o, err);
    }
    if (err == 0 && o->view->mode == STORE_INSPECT)
        return FAIL(o, -ENOENT, "%s/data.mdb is empty", o->view->dir);
    if (err == 0)
        err = mdb_dbi_open(txn, "meta", MDB_CREATE, &o->view->meta);
    if (err != 0)
        return environment_error(o, err);
    format_bytes(format);
    err = store_view_meta_put(txn, o->view->meta, "format", format, sizeof(format));
    if (err == 0)
        err = store_view_meta_put(txn, o->view->meta, "lmdb", MDB_VERSION_STRING, strlen(MDB_VERSION_STRING));
    return err < 0 ? FAIL(o, err, "%s/data.mdb: %s", o->view->dir, strerror(-err)) : 0;
}

static struct str table_number(unsigned table, char name[16])
{
    snprintf(name, 16, "table:%u", table);
    return str_of(name);
}

/* A table that the database has and we do not know would no longer agree with the others after our first write. */
static int check_table(struct opening *o, MDB_txn *txn, unsigned table)
{
    struct store_view *view = o->view;
    struct str found;
    char number[16];
    int err;

    err = store_view_meta_get(txn, view->meta, table_number(table, number).s, &found);
    if (err == 0 && table == view->table_count)
        return FAIL(o, -EPROTO, "%s/data.mdb is of a later version: it has a table %.*s", view->dir, STR_ARG(found));
    if (table == view->table_count)
        return err == -ENOENT ? 0 : err;
    if (err == 0 && !str_eq(found, str_of(view->tables[table].name)))
        return FAIL(o, -EPROTO, "%s/data.mdb is another service's: it has a table %.*s instead of %s", view->dir,
                    STR_ARG(found), view->tables[table].name);
    if (err == -ENOENT)
        err = store_view_meta_put(txn, view->meta, number, view->tables[table].name, strlen(view->tables[table].name));
    return err;
}

static int open_table(struct opening *o, MDB_txn *txn, unsigned table)
{
    char name[32];
    int err;

    snprintf(name, sizeof(name), "records:%s", o->view->tables[table].name);
    err = mdb_dbi_open(txn, name, MDB_CREATE, &o->view->records[table]);
    if (err != 0)
        return store_view_error(err);
    snprintf(name, sizeof(name), "entries:%s", o->view->tables[table].name);
    return store_view_error(mdb_dbi_open(txn, name, MDB_CREATE, &o->view->entries[table]));
}

static int open_tables(struct opening *o, MDB_txn *txn)
{
    int err = 0;

    o->error[0] = '\0';
    for (unsigned i = 0; i <= o->view->table_count && err == 0; i++)
        err = check_table(o, txn, i);
    for (unsigned i = 0; i < o->view->table_count && err == 0; i++)
        err = open_table(o, txn, i);
    if (err < 0 && o->error[0] == '\0')
        FAIL(o, err, "%s/data.mdb: %s", o->view->dir, strerror(-err));
    return err;
}

/* ---- restoring ---- */

static int put_mark(struct store_view *view, MDB_txn *txn, enum store_mark_state state)
{
    char room[STORE_MARK];
    struct str mark = store_mark_make(state, view->restore_id, room);

    return store_view_meta_put(txn, view->meta, "restore", mark.s, mark.len);
}

/* A store that holds a part of what it should is nothing to serve; one that holds something is nothing to fill. */
static int check_mark(struct opening *o, struct store_view_txn *txn)
{
    struct store_view *view = o->view;
    struct str mark = STR_NULL;
    const char *why;
    bool same;
    int err = store_view_meta_get(txn->txn, view->meta, "restore", &mark);

    if (err < 0 && err != -ENOENT)
        return FAIL(o, err, "%s/data.mdb: %s", view->dir, strerror(-err));
    err = store_mark_check(mark, view->mode, view->restore_id, &same, &why);
    if (err < 0)
        return FAIL(o, err, "%s/data.mdb %s", view->dir, why);
    if (same || view->mode != STORE_RESTORE)
        return 0;
    if (store_view_last_seq(txn) > 0)
        return FAIL(o, -ENOTEMPTY, "%s/data.mdb is not empty", view->dir);
    err = put_mark(view, txn->txn, STORE_MARK_RESTORING);
    return err == 0 ? 0 : FAIL(o, err, "%s/data.mdb: %s", view->dir, strerror(-err));
}

int store_view_restored(struct store_view *view, uint64_t last_seq)
{
    struct store_view_txn txn;
    int err;

    err = store_view_begin(view, &txn);
    if (err < 0)
        return err;
    err = store_view_set_last_seq(&txn, last_seq);
    if (err == 0)
        err = put_mark(view, txn.txn, STORE_MARK_RESTORED);
    if (err == 0)
        err = store_view_commit(&txn);
    store_view_abort(&txn);
    return err;
}

static int open_schema(struct opening *o)
{
    struct store_view_txn txn;
    int err;

    err = store_view_begin(o->view, &txn);
    if (err < 0)
        return FAIL(o, err, "%s/data.mdb: %s", o->view->dir, strerror(-err));
    err = open_meta(o, txn.txn);
    if (err == 0)
        err = open_tables(o, txn.txn);
    if (err == 0)
        err = check_mark(o, &txn);
    if (err < 0) {
        store_view_abort(&txn);
        return err;
    }
    err = store_view_commit(&txn);
    for (unsigned i = 0; i < o->view->table_count && err == 0; i++)
        err = store_view_index_prepare(o->view, i);
    return err < 0 ? FAIL(o, err, "%s/data.mdb: cannot be made ready: %s", o->view->dir, strerror(-err)) : 0;
}

/* ---- inspecting ---- */

static int find_tables(struct store_view *view, MDB_txn *txn)
{
    for (unsigned i = 0; i < STORE_MAX_TABLES; i++) {
        struct str found;
        char name[32];
        int err;

        err = store_view_meta_get(txn, view->meta, table_number(i, name).s, &found);
        if (err < 0)
            return err == -ENOENT ? 0 : err;
        snprintf(view->found_names[i], sizeof(view->found_names[i]), "%.*s", STR_ARG(found));
        snprintf(name, sizeof(name), "records:%s", view->found_names[i]);
        err = mdb_dbi_open(txn, name, 0, &view->records[i]);
        if (err != 0)
            return store_view_error(err);
        view->found_tables[i] = (struct store_table){.name = view->found_names[i]};
        view->table_count = i + 1;
    }
    return 0;
}

/* Whatever the data has; its indexes may be of any version, or not there. */
static int find_schema(struct opening *o)
{
    struct store_view *view = o->view;
    struct store_view_txn txn = {view, NULL};
    int err;

    view->tables = view->found_tables;
    view->table_count = 0;
    err = mdb_txn_begin(view->env, NULL, MDB_RDONLY, &txn.txn);
    if (err != 0)
        return environment_error(o, err);
    err = open_meta(o, txn.txn);
    if (err == 0)
        err = check_mark(o, &txn);
    if (err == 0) {
        err = find_tables(view, txn.txn);
        if (err < 0)
            FAIL(o, err, "%s/data.mdb: %s", view->dir, strerror(-err));
    }
    if (err == 0)
        err = store_view_commit(&txn); /* else the handles would be closed */
    store_view_abort(&txn);
    return err;
}

/* ---- all of it ---- */

typedef int open_step(struct opening *opening);

static int open_all(struct opening *o)
{
    static open_step *const serve[] = {make_folder, lock_folder, open_environment, open_schema, sync_folder, NULL};
    static open_step *const inspect[] = {open_environment, find_schema, NULL};
    int err = 0;

    for (open_step *const *step = o->view->mode == STORE_INSPECT ? inspect : serve; *step != NULL && err == 0; step++)
        err = (*step)(o);
    return err;
}

int store_view_open(const struct store_view_options *options, struct store_view **ret_view, char *error,
                    size_t error_size)
{
    struct store_view *view = calloc(1, sizeof(*view));
    int err;

    if (view == NULL)
        return store_fail(error, error_size, -ENOMEM, "%s", strerror(ENOMEM));
    pthread_mutex_init(&view->mutex, NULL);
    view->lock_fd = -1;
    view->tables = options->tables;
    view->table_count = options->table_count;
    view->max_bytes = options->max_bytes;
    view->mode = options->mode;
    view->restore_id = options->restore_id;
    view->unsynced = options->unsynced;
    view->dir = strdup(options->dir);
    if (view->dir == NULL)
        err = store_fail(error, error_size, -ENOMEM, "%s", strerror(ENOMEM));
    else
        err = open_all(&(struct opening){view, error, error_size});
    if (err < 0) {
        store_view_close(view);
        return err;
    }
    *ret_view = view;
    return 0;
}

size_t store_view_tables(const struct store_view *view, const struct store_table **ret_tables)
{
    *ret_tables = view->tables;
    return view->table_count;
}

struct store_view *store_view_close(struct store_view *view)
{
    if (view == NULL)
        return NULL;
    for (size_t i = 0; i < view->snapshot_count; i++)
        if (view->snapshots[i].txn != NULL)
            mdb_txn_abort(view->snapshots[i].txn);
    if (view->env != NULL)
        mdb_env_close(view->env);
    if (view->lock_fd >= 0)
        close(view->lock_fd); /* and so unlocks it, last of all */
    pthread_mutex_destroy(&view->mutex);
    free(view->dir);
    free(view);
    return NULL;
}
