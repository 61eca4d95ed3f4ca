/* saves_fixture -- a store with feature-store's tables, and what is saved in it. */
#pragma once
#include "../../src/feature-store/saves.h"
#include "idempotency.h"
#include "store_fixture.h"

static inline struct store *reopen_saves(const struct fixture *files)
{
    static struct store_table tables[TABLES];

    tables[TABLE_SAVES] = saves_table;
    tables[TABLE_IDEMPOTENCY] = idempotency_table;
    return open_store((struct store_options){.url = files->url, .tables = tables, .table_count = TABLES});
}

static inline void add_save(struct store_batch *batch, struct geo_point point, const char *name)
{
    struct buf value = {0};
    struct uuid id;

    cr_assert_eq(uuid_new(&id), 0);
    saves_pack(&value, point, str_of(name));
    store_batch_put(batch, TABLE_SAVES, (struct str){(char *)id.bytes, sizeof(id.bytes)}, buf_str(&value), STORE_ABSENT,
                    0);
    buf_release(&value);
}

static inline struct store *open_saves(struct fixture *files)
{
    fixture_init(files);
    return reopen_saves(files);
}

/* Returns the seq of the first. */
static inline uint64_t commit_saves(struct store *store, struct store_batch *batch)
{
    struct store_result result;

    cr_assert_eq(store_write_wait(store, batch, WITHIN_NS(30), &result), 0);
    return result.seq;
}

static inline uint64_t save_one(struct store *store, struct geo_point point, const char *name)
{
    struct store_batch *batch = store_batch_new();

    add_save(batch, point, name);
    return commit_saves(store, batch);
}
