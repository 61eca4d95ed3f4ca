/* The engines that there are, by the schemes of their URLs. */
#include "store_etcd.h"
#include "store_lmdb.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define EXPECTED_URL      "expected lmdb:///DIR or etcd://HOST:PORT/PREFIX"
#define DEFAULT_MAX_BYTES (16ULL << 30)
#define DEFAULT_MAX_QUEUE 8192

static const struct store_engine *const engines[] = {&store_lmdb_engine, &store_etcd_engine};

static bool table_name_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz_");

    return len >= 1 && len <= 16 && name[len] == '\0';
}

static void set_defaults(struct store_options *options)
{
    if (options->max_bytes == 0)
        options->max_bytes = DEFAULT_MAX_BYTES;
    if (options->max_queue == 0)
        options->max_queue = DEFAULT_MAX_QUEUE;
    if (options->max_queue_bytes == 0)
        options->max_queue_bytes = STORE_QUEUE_BYTES;
}

/* NULL: no engine has the URL's scheme. */
static const struct store_engine *engine_of(const char *url, const char **ret_rest)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++) {
        size_t len = strlen(engines[i]->scheme);

        if (strncmp(url, engines[i]->scheme, len) == 0 && strncmp(url + len, "://", 3) == 0) {
            *ret_rest = url + len + 3;
            return engines[i];
        }
    }
    return NULL;
}

static const struct store_engine *find_engine(const char *url, const char **ret_rest, char *error, size_t error_size)
{
    const struct store_engine *engine = engine_of(url, ret_rest);

    if (engine == NULL)
        store_fail(error, error_size, 0, "store %s: " EXPECTED_URL, url);
    return engine;
}

const char *store_check_url(const char *url)
{
    const char *rest;
    const struct store_engine *engine = engine_of(url, &rest);

    return engine != NULL ? engine->check(rest) : EXPECTED_URL;
}

int store_open(const struct store_options *options, struct store **ret_store, char *error, size_t error_size)
{
    struct store_options all = *options;
    const struct store_engine *engine;
    struct store *store;
    const char *rest;
    int err;

    assert(options->table_count <= STORE_MAX_TABLES);
    assert(options->table_count >= 1 || options->mode == STORE_INSPECT);
    assert((options->mode == STORE_RESTORE) == (options->restore_id != NULL));
    for (size_t i = 0; i < options->table_count; i++)
        assert(table_name_valid(options->tables[i].name));
    set_defaults(&all);
    engine = find_engine(options->url, &rest, error, error_size);
    if (engine == NULL)
        return -EINVAL;
    err = engine->open(&all, rest, &store, error, error_size);
    if (err < 0)
        return err;
    store_opened(store, engine, options);
    *ret_store = store;
    return 0;
}

int store_defragment(const char *url, unsigned min_free_percent, store_defragmented *told, void *arg, char *error,
                     size_t error_size)
{
    const char *rest;
    const struct store_engine *engine = find_engine(url, &rest, error, error_size);

    if (engine == NULL)
        return -EINVAL;
    if (engine->defragment == NULL)
        return store_fail(error, error_size, -EOPNOTSUPP, "store %s: it uses what is free again by itself", url);
    return engine->defragment(rest, min_free_percent, told, arg, error, error_size);
}
