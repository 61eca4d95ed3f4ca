#include "http_store.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_STALE_S (365 * 24 * 3600) /* also what max-stale without a number means */

struct http_reply *http_store_problem(int err)
{
    return http_problem_errno(err, err == -ENOSPC ? "the data has reached its limit" : "the store");
}

struct http_reply *http_set_etag(struct http_reply *reply, uint64_t seq)
{
    return http_set_header(reply, "etag", "\"%llu\"", (unsigned long long)seq);
}

/* ---- Cache-Control: max-stale, and Age ---- */

static int read_directive(struct str directive, uint64_t *ms)
{
    static const struct str name = {"max-stale", 9};
    uint64_t seconds = MAX_STALE_S;
    int err;

    if (directive.len < name.len || !str_caseeq((struct str){directive.s, name.len}, name))
        return 0;
    directive = (struct str){directive.s + name.len, directive.len - name.len};
    if (directive.len > 0 && directive.s[0] != '=')
        return 0; /* another one */
    if (directive.len > 0) {
        err = str_to_u64((struct str){directive.s + 1, directive.len - 1}, MAX_STALE_S, &seconds);
        if (err == -EINVAL)
            return err;
    }
    *ms = seconds * 1000;
    return 0;
}

static int read_directives(void *arg, struct str value)
{
    struct str directive;
    int err = 0;

    while (err == 0 && str_next(&value, ',', &directive))
        err = read_directive(str_trim(directive), arg);
    return err;
}

static struct http_reply *set_age(struct http_reply *reply, const struct store_snapshot *snapshot)
{
    uint64_t age_s = (store_age_ms(snapshot) + 999) / 1000;

    return age_s > 0 ? http_set_header(reply, "age", "%llu", (unsigned long long)age_s) : reply;
}

/* ---- an operation: from the handler to the answer ---- */

struct operation {
    struct store *store;
    struct http_deferred *deferred;
    http_store_reader *read;
    http_store_change *change;
    void (*release)(void *arg);
    struct http_reply *reply; /* for when it is durable */
    bool has_etag;
    _Alignas(max_align_t) char arg[];
};

/* Defers. NULL: no memory, and nothing has been taken. */
static struct operation *begin(struct http_req *req, const struct operation *first, const void *arg, size_t size)
{
    struct operation *operation = malloc(sizeof(*operation) + size);
    struct http_deferred *deferred = operation != NULL ? http_defer(req) : NULL;

    if (deferred == NULL) {
        free(operation);
        return NULL;
    }
    *operation = *first;
    operation->deferred = deferred;
    if (size > 0)
        memcpy(operation->arg, arg, size);
    return operation;
}

static void end(struct operation *operation, struct http_reply *take_reply)
{
    struct http_deferred *deferred = operation->deferred;

    if (operation->release != NULL)
        operation->release(operation->arg);
    http_reply_free(operation->reply);
    free(operation);
    http_answer(deferred, take_reply);
}

static uint64_t deadline_ns(const struct operation *operation)
{
    return http_deferred_deadline_ns(operation->deferred);
}

static const struct trace *trace_of(const struct operation *operation)
{
    return http_deferred_trace(operation->deferred);
}

/* ---- reading ---- */

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct operation *operation = arg;

    end(operation, err == 0 ? set_age(operation->read(operation->arg, snapshot), snapshot) : http_store_problem(err));
}

struct http_reply *http_store_read(struct http_req *req, struct store *store, const void *arg, size_t size,
                                   http_store_reader *read)
{
    struct operation *operation;
    uint64_t max_stale_ms = 0;

    if (http_each_header(req, "cache-control", read_directives, &max_stale_ms) < 0)
        return http_problem(400, "cache-control: max-stale must be a number of seconds");
    operation = begin(req, &(struct operation){.store = store, .read = read}, arg, size);
    if (operation == NULL)
        return http_problem_errno(-ENOMEM, NULL);
    store_read_traced(store, trace_of(operation), deadline_ns(operation), max_stale_ms, on_read, operation);
    return NULL;
}

/* ---- writing ---- */

static void read_again(struct operation *operation);

static void on_written(void *arg, const struct store_result *result)
{
    struct operation *operation = arg;
    struct http_reply *reply = operation->reply;

    if (operation->change != NULL && (result->err == -ESTALE || result->err == -ENOENT)) {
        operation->reply = http_reply_free(reply);
        read_again(operation);
    } else if (result->err == 0) {
        operation->reply = NULL;
        end(operation, operation->has_etag ? http_set_etag(reply, result->seq) : reply);
    } else {
        end(operation, http_store_problem(result->err));
    }
}

static void write_batch(struct operation *operation, struct store_batch *take_batch)
{
    if (http_reply_failed(operation->reply))
        store_batch_fail(take_batch, -ENOMEM);
    store_batch_set_trace(take_batch, trace_of(operation));
    store_write(operation->store, take_batch, deadline_ns(operation), on_written, operation);
}

static bool has_etag(const struct http_req *req)
{
    return strcmp(req->route->method, "DELETE") != 0;
}

struct http_reply *http_store_write(struct http_req *req, struct store *store, struct store_batch *take_batch,
                                    struct http_reply *take_reply)
{
    const struct operation first = {.store = store, .reply = take_reply, .has_etag = has_etag(req)};
    struct operation *operation = begin(req, &first, NULL, 0);

    if (operation == NULL) {
        store_batch_free(take_batch);
        http_reply_free(take_reply);
        return http_problem_errno(-ENOMEM, NULL);
    }
    write_batch(operation, take_batch);
    return NULL;
}

/* ---- writing what depends on what was read ---- */

static void on_read_to_change(void *arg, int err, struct store_snapshot *snapshot)
{
    struct operation *operation = arg;
    struct store_batch *batch;
    struct http_reply *problem;

    if (err < 0) {
        end(operation, http_store_problem(err));
        return;
    }
    batch = store_batch_new();
    problem = operation->change(operation->arg, snapshot, batch, &operation->reply);
    if (problem == NULL) {
        write_batch(operation, batch);
        return;
    }
    store_batch_free(batch);
    end(operation, problem);
}

static void read_again(struct operation *operation)
{
    store_read_traced(operation->store, trace_of(operation), deadline_ns(operation), 0, on_read_to_change, operation);
}

struct http_reply *http_store_update(struct http_req *req, struct store *store, const void *arg, size_t size,
                                     void (*release)(void *arg), http_store_change *change)
{
    const struct operation first = {.store = store, .change = change, .release = release, .has_etag = has_etag(req)};
    struct operation *operation = begin(req, &first, arg, size);

    if (operation == NULL) {
        if (release != NULL)
            release((void *)arg);
        return http_problem_errno(-ENOMEM, NULL);
    }
    read_again(operation);
    return NULL;
}
