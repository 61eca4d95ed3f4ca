/* Index entries: made by the table's index function, changed in the record's transaction. */
#include "store_view_internal.h"
#include <assert.h>

struct entry {
    uint16_t key_len, value_len;
    char key[STORE_MAX_INDEX_KEY], value[STORE_MAX_INDEX_VALUE];
};

/* Copies, since the pages that a record lies in may change while its entries do. */
struct store_index {
    unsigned count;
    struct entry entries[STORE_MAX_ENTRIES];
};

void store_index_add(struct store_index *index, struct str key, struct str value)
{
    struct entry *entry = &index->entries[index->count];

    assert(index->count < STORE_MAX_ENTRIES);
    assert(key.len >= 1 && key.len <= STORE_MAX_INDEX_KEY && value.len <= STORE_MAX_INDEX_VALUE);
    entry->key_len = (uint16_t)key.len;
    entry->value_len = (uint16_t)value.len;
    memcpy(entry->key, key.s, key.len);
    if (value.len > 0)
        memcpy(entry->value, value.s, value.len);
    index->count++;
}

static struct str entry_key(const struct entry *entry)
{
    return (struct str){entry->key, entry->key_len};
}

static struct str entry_value(const struct entry *entry)
{
    return (struct str){entry->value, entry->value_len};
}

static const struct entry *find(const struct store_index *index, struct str key)
{
    for (unsigned i = 0; i < index->count; i++)
        if (str_eq(entry_key(&index->entries[i]), key))
            return &index->entries[i];
    return NULL;
}

static int remove_entries(MDB_txn *txn, MDB_dbi dbi, const struct store_index *old, const struct store_index *new)
{
    for (unsigned i = 0; i < old->count; i++) {
        MDB_val key = store_view_val(entry_key(&old->entries[i]));
        int err;

        if (find(new, entry_key(&old->entries[i])) != NULL)
            continue;
        err = mdb_del(txn, dbi, &key, NULL);
        if (err != 0 && err != MDB_NOTFOUND)
            return store_view_error(err);
    }
    return 0;
}

static int add_entries(MDB_txn *txn, MDB_dbi dbi, const struct store_index *old, const struct store_index *new)
{
    for (unsigned i = 0; i < new->count; i++) {
        MDB_val key = store_view_val(entry_key(&new->entries[i]));
        MDB_val value = store_view_val(entry_value(&new->entries[i]));
        const struct entry *there = find(old, entry_key(&new->entries[i]));
        int err;

        if (there != NULL && str_eq(entry_value(there), entry_value(&new->entries[i])))
            continue;
        err = mdb_put(txn, dbi, &key, &value, 0);
        if (err != 0)
            return store_view_error(err);
    }
    return 0;
}

int store_view_index_change(struct store_view *view, MDB_txn *txn, unsigned table, const struct store_record *old,
                            const struct store_record *new)
{
    struct store_index before, after;
    int err;

    before.count = after.count = 0;
    if (old != NULL)
        view->tables[table].index(&before, old);
    if (new != NULL)
        view->tables[table].index(&after, new);
    err = remove_entries(txn, view->entries[table], &before, &after);
    return err < 0 ? err : add_entries(txn, view->entries[table], &before, &after);
}
