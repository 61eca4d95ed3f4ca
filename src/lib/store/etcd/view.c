/* The view's folder, DIR:
 *
 *   DIR/lock      held with flock(2) by the process that uses the folder
 *   DIR/boot      the boot id of the machine when the views were made: they are not synced, so after a crash of the
 *                 machine, which another boot id tells of, they are thrown away unread
 *   DIR/fresh     8 bytes, of the same boot, too: the time of the monotonic clock until which the view has everything;
 *                 so the next run knows how old the view is, even while etcd does not answer
 *   DIR/view-N/   a view; the one with the greatest N that is complete counts, the others are left over
 */
#include "store_etcd_internal.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID  "/proc/sys/kernel/random/boot_id"
#define POSITION "position"

/* ---- how far a view has come ---- */

int etcd_position_get(struct store_view *view, struct etcd_position *ret_position)
{
    struct store_snapshot *snapshot;
    struct store_view_txn txn;
    struct str value;
    int err;

    err = store_view_snapshot_take(view, &snapshot);
    if (err < 0)
        return err;
    txn = store_view_snapshot_txn(snapshot);
    err = store_view_note_get(&txn, POSITION, &value);
    if (err == 0 && value.len != 16 + sizeof(struct uuid))
        err = -ENOENT;
    if (err == 0) {
        ret_position->revision = (int64_t)store_get_u64(value.s);
        ret_position->head.revision = (int64_t)store_get_u64(value.s + 8);
        memcpy(&ret_position->head.id, value.s + 16, sizeof(struct uuid));
    }
    store_view_snapshot_give(snapshot);
    return err;
}

int etcd_position_put(struct store_view_txn *txn, const struct etcd_position *position)
{
    uint8_t value[16 + sizeof(struct uuid)];

    store_put_u64(value, (uint64_t)position->revision);
    store_put_u64(value + 8, (uint64_t)position->head.revision);
    memcpy(value + 16, &position->head.id, sizeof(struct uuid));
    return store_view_note_put(txn, POSITION, (struct str){(char *)value, sizeof(value)});
}

int etcd_view_put(struct etcd *etcd, struct store_view_txn *txn, const Etcdserverpb__KeyValue *kv, bool beyond,
                  uint64_t *last_seq)
{
    struct store_record record;
    unsigned table;

    if (etcd_key_parse(&etcd->keys, etcd_str(kv->key), &table, &record.key) < 0)
        return 0;
    if (etcd_envelope_parse(&etcd->keys, kv, &record) < 0)
        return store_view_put_damaged(txn, table, record.key, etcd_seq(&etcd->keys, kv->mod_revision, 0));
    *last_seq = record.seq > *last_seq ? record.seq : *last_seq;
    return beyond ? store_view_append(txn, table, record.key, record.seq, record.value)
                  : store_view_put(txn, table, record.key, record.seq, record.value);
}

/* ---- folders ---- */

static int remove_file(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_file, 16, FTW_DEPTH | FTW_PHYS);
}

static char *numbered(const struct etcd *etcd, unsigned number)
{
    char *path;

    return asprintf(&path, "%s/view-%u", etcd->url.view, number) < 0 ? NULL : path;
}

static char *temporary(void)
{
    const char *base = getenv("TMPDIR");
    char *path;

    if (asprintf(&path, "%s/slipway-view-XXXXXX", base != NULL && base[0] == '/' ? base : "/tmp") < 0)
        return NULL;
    if (mkdtemp(path) != NULL)
        return path;
    free(path);
    return NULL;
}

static void view_free(struct etcd_view *view)
{
    store_view_close(view->view);
    if (view->dir != NULL)
        remove_tree(view->dir);
    free(view->dir);
    free(view);
}

/* Takes dir. */
static int open_view(struct etcd *etcd, char *dir, struct etcd_view **ret_view, char *error, size_t error_size)
{
    struct store_view_options options = {.dir = dir,
                                         .tables = etcd->keys.tables,
                                         .table_count = etcd->keys.table_count,
                                         .max_bytes = etcd->options.max_bytes,
                                         .unsynced = true};
    struct etcd_view *view = calloc(1, sizeof(*view));
    int err;

    if (view == NULL || dir == NULL)
        err = store_fail(error, error_size, -ENOMEM, "etcd: no folder for the view: %s", strerror(errno));
    else
        err = store_view_open(&options, &view->view, error, error_size);
    if (err < 0) {
        free(view);
        free(dir);
        return err;
    }
    view->refs = 1;
    view->dir = dir;
    *ret_view = view;
    return 0;
}

/* Tools do not go into the folder of the service that they look at. */
static bool keeps(const struct etcd *etcd)
{
    return etcd->url.view != NULL && etcd->options.mode == STORE_SERVE;
}

int etcd_view_new(struct etcd *etcd, struct etcd_view **ret_view, char *error, size_t error_size)
{
    bool kept = keeps(etcd);
    char *dir = kept ? numbered(etcd, ++etcd->view_number) : temporary();
    int err;

    if (kept && dir != NULL)
        remove_tree(dir); /* left over by a run that could not remove it */
    err = open_view(etcd, dir, ret_view, error, error_size);
    if (err < 0 || kept)
        return err;
    /* It stays usable without a name, and is gone with the process, however that ends. */
    remove_tree((*ret_view)->dir);
    free((*ret_view)->dir);
    (*ret_view)->dir = NULL;
    return 0;
}

/* ---- the last run's ---- */

static int lock_folder(struct etcd *etcd, int folder, char *error, size_t error_size)
{
    etcd->lock_fd = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (etcd->lock_fd < 0)
        return store_fail(error, error_size, -errno, "view directory %s: %s", etcd->url.view, strerror(errno));
    if (flock(etcd->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return store_fail(error, error_size, errno == EWOULDBLOCK ? -EBUSY : -errno,
                      "view directory %s is in use by another process", etcd->url.view);
}

static size_t read_small(int folder, const char *path, char *text, size_t size)
{
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, size) : -1;

    if (fd >= 0)
        close(fd);
    return len > 0 ? (size_t)len : 0;
}

static bool is_same_boot(int folder, const char *now, size_t now_len)
{
    char then[64];
    size_t len = read_small(folder, "boot", then, sizeof(then));

    return len > 0 && len == now_len && memcmp(now, then, len) == 0;
}

static int write_boot(int folder, const char *now, size_t now_len)
{
    int fd = openat(folder, "boot", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, now, now_len) != (ssize_t)now_len)
        err = errno != 0 ? -errno : -EIO;
    close(fd);
    return err;
}

static unsigned view_number(const char *name)
{
    unsigned number = 0;
    char rest;

    return sscanf(name, "view-%u%c", &number, &rest) == 1 ? number : 0;
}

/* The greatest number of a view below another; 0: there is none. */
static unsigned find_below(struct etcd *etcd, unsigned number)
{
    DIR *dir = opendir(etcd->url.view);
    struct dirent *entry;
    unsigned greatest = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        unsigned n = view_number(entry->d_name);

        if (n > greatest && n < number)
            greatest = n;
    }
    if (dir != NULL)
        closedir(dir);
    return greatest;
}

static void remove_view(struct etcd *etcd, unsigned number)
{
    char *path = numbered(etcd, number);

    if (path != NULL)
        remove_tree(path);
    free(path);
}

/* Whether it was made for our tables: one of fewer tables lacks the records of the others, though etcd has had them. */
static bool has_our_tables(const struct etcd *etcd, const char *dir)
{
    const struct etcd_keys *keys = &etcd->keys;
    const struct store_table *tables;
    struct store_view *view;
    char error[256];
    bool same;

    if (dir == NULL ||
        store_view_open(
            &(struct store_view_options){.dir = dir, .max_bytes = etcd->options.max_bytes, .mode = STORE_INSPECT},
            &view, error, sizeof(error)) < 0)
        return false;
    same = store_view_tables(view, &tables) == keys->table_count;
    for (size_t i = 0; same && i < keys->table_count; i++)
        same = strcmp(tables[i].name, keys->tables[i].name) == 0;
    store_view_close(view);
    return same;
}

/* The last run's view, where it can be gone on with. NULL and gone otherwise: it is but a copy. */
static struct etcd_view *open_old(struct etcd *etcd, unsigned number)
{
    struct etcd_view *view;
    char *dir = numbered(etcd, number), error[256];
    bool usable = has_our_tables(etcd, dir);

    free(dir);
    if (!usable || open_view(etcd, numbered(etcd, number), &view, error, sizeof(error)) < 0) {
        remove_view(etcd, number);
        return NULL;
    }
    if (etcd_position_get(view->view, &view->position) == 0)
        return view;
    view_free(view);
    return NULL;
}

static void find_view(struct etcd *etcd)
{
    struct etcd_view *view = NULL;

    for (unsigned n = find_below(etcd, UINT32_MAX); n > 0; n = find_below(etcd, n)) {
        etcd->view_number = n > etcd->view_number ? n : etcd->view_number;
        if (view != NULL)
            remove_view(etcd, n);
        else
            view = open_old(etcd, n);
    }
    if (view != NULL)
        etcd_view_serve(etcd, view);
}

/* What stands there is of this boot: else there is no view. */
static int open_fresh(struct etcd *etcd, int folder, char *error, size_t error_size)
{
    uint8_t bytes[8];

    etcd->fresh_fd = openat(folder, "fresh", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (etcd->fresh_fd < 0)
        return store_fail(error, error_size, -errno, "view directory %s: %s", etcd->url.view, strerror(errno));
    if (etcd->view != NULL && pread(etcd->fresh_fd, bytes, sizeof(bytes), 0) == sizeof(bytes) &&
        store_get_u64(bytes) <= etcd->world->monotonic_ns())
        etcd->reads.fresh_ns = etcd->kept_fresh_ns = store_get_u64(bytes);
    return 0;
}

/* A failure costs the next run what it could have read, and nothing else. */
void etcd_fresh_put(struct etcd *etcd, uint64_t fresh_ns)
{
    uint8_t bytes[8];

    if (etcd->fresh_fd < 0 || fresh_ns == etcd->kept_fresh_ns)
        return;
    store_put_u64(bytes, fresh_ns);
    if (pwrite(etcd->fresh_fd, bytes, sizeof(bytes), 0) == sizeof(bytes))
        etcd->kept_fresh_ns = fresh_ns;
}

static int open_folder(struct etcd *etcd, int folder, char *error, size_t error_size)
{
    char boot[64];
    size_t boot_len = read_small(folder, BOOT_ID, boot, sizeof(boot));
    int err;

    err = lock_folder(etcd, folder, error, error_size);
    if (err < 0)
        return err;
    if (!is_same_boot(folder, boot, boot_len)) {
        for (unsigned n = find_below(etcd, UINT32_MAX); n > 0; n = find_below(etcd, n))
            remove_view(etcd, n);
        err = write_boot(folder, boot, boot_len);
        if (err < 0)
            return store_fail(error, error_size, err, "view directory %s: %s", etcd->url.view, strerror(-err));
    }
    find_view(etcd);
    return open_fresh(etcd, folder, error, error_size);
}

int etcd_views_open(struct etcd *etcd, char *error, size_t error_size)
{
    const char *dir = etcd->url.view;
    int folder, err;

    if (!keeps(etcd))
        return 0;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return store_fail(error, error_size, -errno, "view directory %s: cannot be made: %s", dir, strerror(errno));
    folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return store_fail(error, error_size, -errno, "view directory %s: %s", dir, strerror(errno));
    err = open_folder(etcd, folder, error, error_size);
    close(folder);
    return err;
}

void etcd_views_close(struct etcd *etcd)
{
    if (etcd->view != NULL) {
        assert(etcd->view->refs == 1);
        free(etcd->view->dir); /* it stays, for the next run */
        etcd->view->dir = NULL;
        view_free(etcd->view);
    }
    if (etcd->fresh_fd >= 0)
        close(etcd->fresh_fd);
    if (etcd->lock_fd >= 0)
        close(etcd->lock_fd);
}

/* ---- how writing to them goes ---- */

#define FAILURES       3 /* in a row that are trouble */
#define PAUSE_NS       (100 * CLOCK_NS_PER_MS)
#define PAUSE_DOUBLING 6

void etcd_view_wrote(struct etcd *etcd, int err)
{
    atomic_store(&etcd->view_err, err);
    if (err < 0) {
        metrics_add(etcd->view_errors, 1);
        atomic_fetch_add(&etcd->view_failures, 1);
    } else {
        atomic_store(&etcd->view_failures, 0);
    }
}

int etcd_view_trouble(const struct etcd *etcd)
{
    return atomic_load(&etcd->view_failures) >= FAILURES ? atomic_load(&etcd->view_err) : 0;
}

uint64_t etcd_view_pause_ns(const struct etcd *etcd)
{
    unsigned failures = atomic_load(&etcd->view_failures);

    return PAUSE_NS << (failures < PAUSE_DOUBLING ? failures : PAUSE_DOUBLING);
}

/* ---- the current one ---- */

void etcd_view_serve(struct etcd *etcd, struct etcd_view *take_view)
{
    struct etcd_view *old;

    pthread_mutex_lock(&etcd->mutex);
    old = etcd->view;
    etcd->view = take_view;
    atomic_store(&etcd->applied, take_view->position.revision);
    pthread_mutex_unlock(&etcd->mutex);
    etcd_view_unref(etcd, old);
}

struct etcd_view *etcd_view_ref(struct etcd *etcd)
{
    struct etcd_view *view;

    pthread_mutex_lock(&etcd->mutex);
    view = etcd->view;
    if (view != NULL)
        view->refs++;
    pthread_mutex_unlock(&etcd->mutex);
    return view;
}

void etcd_view_unref(struct etcd *etcd, struct etcd_view *view)
{
    bool last;

    if (view == NULL)
        return;
    pthread_mutex_lock(&etcd->mutex);
    last = --view->refs == 0;
    pthread_mutex_unlock(&etcd->mutex);
    if (last)
        view_free(view);
}
