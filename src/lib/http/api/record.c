#include "http_json.h"
#include "http_record.h"
#include <errno.h>
#include <stdlib.h>

#define DEFAULT_LIMIT  20
#define MAX_LIMIT      100
#define MAX_PAGE_BYTES (1 << 20)

static struct http_reply *check_key(const struct records *records, struct str key)
{
    char error[FIELD_ERROR_SIZE];

    return record_check_key(records, key, error) < 0 ? http_problem(400, "%s", error) : NULL;
}

/* ---- one record ---- */

struct get {
    const struct records *records;
    size_t key_len;
    char key[STORE_MAX_KEY];
};

static struct http_reply *read_record(void *arg, struct store_snapshot *snapshot)
{
    const struct get *get = arg;
    ProtobufCMessage *message;
    struct http_reply *reply;
    uint64_t seq;
    int err = record_get(snapshot, get->records, (struct str){get->key, get->key_len}, &message, &seq);

    if (err == -ENOENT)
        return http_problem(404, "%s: there is none of this key", get->records->key.name);
    if (err < 0)
        return http_store_problem(err);
    reply = http_set_etag(http_json_reply(200, get->records->fields, message), seq);
    record_free(message);
    return reply;
}

struct http_reply *http_record_get(struct http_req *req, struct store *store, const struct records *records,
                                   struct str key)
{
    struct http_reply *problem = check_key(records, key);
    struct get get = {.records = records, .key_len = key.len};

    if (problem != NULL)
        return problem;
    memcpy(get.key, key.s, key.len);
    return http_store_read(req, store, &get, sizeof(get), read_record);
}

struct http_reply *http_record_put(struct http_req *req, struct store *store, const struct records *records,
                                   struct str key)
{
    struct http_reply *problem = check_key(records, key);
    ProtobufCMessage *message;
    struct store_batch *batch;

    if (problem != NULL)
        return problem;
    message = calloc(1, records->type->sizeof_message);
    if (message == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    http_keep(req, message, free);
    records->type->message_init(message);
    problem = http_json_read(req, records->fields, message);
    if (problem != NULL)
        return problem;
    batch = store_batch_new();
    record_put(batch, records, key, message);
    return http_store_write(req, store, batch, http_reply_new(204));
}

struct http_reply *http_record_delete(struct http_req *req, struct store *store, const struct records *records,
                                      struct str key)
{
    struct http_reply *problem = check_key(records, key);
    struct store_batch *batch;

    if (problem != NULL)
        return problem;
    batch = store_batch_new();
    store_batch_delete(batch, records->table, key, STORE_ANY, 0);
    return http_store_write(req, store, batch, http_reply_new(204));
}

/* ---- a page ---- */

struct list {
    const struct records *records;
    uint64_t limit;
    size_t after_len;
    char after[STORE_MAX_KEY];
};

static int write_item(const struct records *records, const struct store_record *record, bool first, struct buf *out)
{
    ProtobufCMessage *message;
    int err = record_unpack(records, record->value, &message);

    if (err < 0)
        return err;
    buf_append_cstr(out, first ? "{" : ",{");
    buf_append_json_string(out, str_of(records->key.name));
    buf_append_char(out, ':');
    buf_append_json_string(out, record->key);
    buf_append_char(out, ',');
    fields_write_json(records->fields, message, out);
    buf_append_char(out, '}');
    record_free(message);
    return buf_error(out);
}

static int first_record(const struct list *list, struct store_cursor *cursor, struct store_record *ret_record)
{
    struct str after = {list->after, list->after_len};
    int err = store_cursor_seek(cursor, after.len > 0 ? after : STR_NULL, ret_record);

    return err == 0 && str_eq(ret_record->key, after) ? store_cursor_next(cursor, ret_record) : err;
}

/* Writes the page and what follows it. */
static int write_page(const struct list *list, struct store_cursor *cursor, struct buf *page)
{
    struct store_record record;
    char last[STORE_MAX_KEY];
    size_t last_len = 0;
    int err = first_record(list, cursor, &record);

    buf_append_cstr(page, "{\"records\":[");
    for (uint64_t count = 0; err == 0 && count < list->limit && page->len <= MAX_PAGE_BYTES; count++) {
        err = write_item(list->records, &record, count == 0, page);
        last_len = record.key.len;
        memcpy(last, record.key.s, last_len);
        if (err == 0)
            err = store_cursor_next(cursor, &record);
    }
    buf_append_cstr(page, "],\"next\":");
    if (err == 0)
        buf_append_json_string(page, (struct str){last, last_len});
    else
        buf_append_cstr(page, "null");
    buf_append_char(page, '}');
    return err == -ENOENT ? buf_error(page) : err;
}

static struct http_reply *read_page(void *arg, struct store_snapshot *snapshot)
{
    const struct list *list = arg;
    struct store_cursor cursor;
    struct buf page = {0};
    int err = store_cursor_open(snapshot, list->records->table, false, &cursor);

    if (err < 0)
        return http_store_problem(err);
    err = write_page(list, &cursor, &page);
    store_cursor_close(&cursor);
    if (err == 0)
        return http_reply_take(200, "application/json", &page);
    buf_release(&page);
    return http_store_problem(err);
}

struct http_reply *http_record_list(struct http_req *req, struct store *store, const struct records *records)
{
    struct list list = {.records = records, .limit = DEFAULT_LIMIT};
    int has_limit, has_after;
    struct str limit, after;

    has_limit = http_query(req, "limit", &limit);
    if (has_limit < 0 || (has_limit && (str_to_u64(limit, MAX_LIMIT, &list.limit) < 0 || list.limit == 0)))
        return http_problem(400, "limit must be a number from 1 to %d", MAX_LIMIT);
    has_after = http_query(req, "after", &after);
    if (has_after < 0 || (has_after && (after.len < 1 || after.len > STORE_MAX_KEY)))
        return http_problem(400, "after must be the next of the page before");
    if (http_query_check(req) < 0)
        return http_problem(400, "the query is badly encoded");
    if (has_after) {
        list.after_len = after.len;
        memcpy(list.after, after.s, after.len);
    }
    return http_store_read(req, store, &list, sizeof(list), read_page);
}
