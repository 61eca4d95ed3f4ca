/* Stored records: their envelopes (store and etcd), what notes, feature-store and idempotency keep in them, and the
 * index entries that follow. The first byte chooses the kind, the second the length of the key. */
#include "../../src/feature-store/saves.h"
#include "../../src/notes/note.h"
#include "fuzz.h"
#include "idempotency.h"
#include "store_etcd_internal.h"
#include "store_view_internal.h"

/* The engine's own, in its place: the limits that it asserts, and the memory that is read. */
struct store_index {
    unsigned count;
    struct fuzz_memory memory;
};

void store_index_add(struct store_index *index, struct str key, struct str value)
{
    MUST(++index->count <= STORE_MAX_ENTRIES);
    MUST(key.len >= 1 && key.len <= STORE_MAX_INDEX_KEY && value.len <= STORE_MAX_INDEX_VALUE);
    fuzz_copy(&index->memory, key);
    fuzz_copy(&index->memory, value);
}

static void index_of(const struct store_table *table, struct str key, struct str value)
{
    struct store_index index = {0};
    struct store_record record = {key, value, 7};

    table->index(&index, &record);
    fuzz_release(&index.memory);
}

static void check_note(struct str value)
{
    struct buf again = {0}, json = {0};
    struct uuid id = {{0}};
    struct note note;

    if (note_decode(value, &note) == 0) {
        note_encode(&note, &again);
        MUST(str_eq(buf_str(&again), value));
        note_write_json(&note, &id, &json);
        MUST(buf_error(&json) == 0);
    }
    buf_release(&again);
    buf_release(&json);
}

/* What was put is read; with any one bit changed it is damaged. */
static void check_envelope(struct fuzz_memory *memory, struct str key, struct str value, size_t bit)
{
    size_t len = STORE_RECORD_HEADER + value.len;
    char *envelope = fuzz_alloc(memory, len);
    struct store_record record;

    store_record_header((uint8_t *)envelope, key, bit, value);
    if (value.len > 0)
        memcpy(envelope + STORE_RECORD_HEADER, value.s, value.len);
    MUST(store_record_parse(key, (struct str){envelope, len}, &record) == 0);
    MUST(record.seq == bit && str_eq(record.value, value));
    envelope[bit / 8 % len] ^= (char)(1 << bit % 8);
    MUST(store_record_parse(key, (struct str){envelope, len}, &record) == -EBADMSG);
}

static void check_etcd(struct fuzz_memory *memory, struct str path, struct str value, size_t bit)
{
    static const struct store_table tables[] = {{.name = "a"}};
    uint8_t header[ETCD_MAX_ENVELOPE];
    Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT;
    struct store_record record;
    struct etcd_keys keys;
    struct buf key = {0};
    size_t len = etcd_envelope(header, bit % 100, bit % 3, path, value);
    char *bytes = fuzz_alloc(memory, len + value.len);

    etcd_keys_init(&keys, "p", &(struct store_options){.tables = tables, .table_count = 1});
    keys.base = 0;
    etcd_key_name(&keys, "", &key);
    buf_append_str(&key, path);
    memcpy(bytes, header, len);
    if (value.len > 0)
        memcpy(bytes + len, value.s, value.len);
    kv.key = etcd_data(buf_str(&key));
    kv.value = etcd_data((struct str){bytes, len + value.len});
    kv.mod_revision = 5;
    MUST(etcd_envelope_parse(&keys, &kv, &record) == 0 && str_eq(record.value, value));
    MUST(record.seq == (bit % 3 != 0 ? bit % 3 : 5 * ETCD_POSITIONS + bit % 100));
    bytes[bit / 8 % (len + value.len)] ^= (char)(1 << bit % 8);
    MUST(etcd_envelope_parse(&keys, &kv, &record) == -EBADMSG);
    buf_release(&key);
}

/* As they are, without a valid checksum. */
static void check_raw(struct str key, struct str value)
{
    Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT;
    static const struct store_table tables[] = {{.name = "a"}};
    struct store_record record;
    struct etcd_keys keys;
    unsigned table;
    struct str name;

    store_record_parse(key, value, &record);
    etcd_keys_init(&keys, "p", &(struct store_options){.tables = tables, .table_count = 1});
    kv.key = etcd_data(key);
    kv.value = etcd_data(value);
    if (etcd_key_parse(&keys, key, &table, &name) == 0)
        MUST(table == 0 && name.len >= 1 && name.len <= STORE_MAX_KEY);
    etcd_envelope_parse(&keys, &kv, &record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    unsigned kind = fuzz_byte(&input) % 6;
    size_t key_len = fuzz_byte(&input) + 1u, bit = fuzz_byte(&input);
    struct str rest = fuzz_rest(&input), key, value;

    key = fuzz_copy(&memory, (struct str){rest.s, key_len < rest.len ? key_len : rest.len});
    value = fuzz_copy(&memory, (struct str){rest.s + key.len, rest.len - key.len});
    if (kind == 0)
        check_note(value);
    if (kind == 0)
        index_of(&note_table, key, value);
    else if (kind == 1)
        index_of(&saves_table, key, value);
    else if (kind == 2)
        index_of(&idempotency_table, key, value);
    else if (kind == 3)
        check_envelope(&memory, key, value, bit);
    else if (kind == 4)
        check_etcd(&memory, key, value, bit);
    else
        check_raw(key, value);
    fuzz_release(&memory);
    return 0;
}
