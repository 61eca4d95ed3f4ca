/* SaveFeature: ok only after the save is durable. With an idempotency-key, the key is kept with the save, in the same
 * transaction. */
#include "feature_store.h"
#include <errno.h>
#include <stdlib.h>

enum { OP_SAVE, OP_KEY }; /* of the batch */

struct saving {
    struct feature_store *fs;
    struct rpc_call *call;
    uint64_t deadline_ns;
    struct buf value; /* the record's; it is also what tells one request from another */
    size_t key_len;   /* 0: without a key */
    char key[IDEMPOTENCY_MAX_KEY];
};

static struct str key_of(const struct saving *saving)
{
    return (struct str){saving->key, saving->key_len};
}

static void saving_free(struct saving *saving)
{
    buf_release(&saving->value);
    feature_store_leave(saving->fs);
    rpc_call_unref(saving->call);
    free(saving);
}

static void end_saved(struct saving *saving)
{
    Routeguide__SavedResult result = ROUTEGUIDE__SAVED_RESULT__INIT;

    result.ok = true;
    routeguide__route_guide__save_feature__reply(saving->call, &result);
    saving_free(saving);
}

static void end_failed(struct saving *saving, enum err_grpc code, const char *why)
{
    rpc_finish(saving->call, code, why);
    saving_free(saving);
}

static void begin(struct saving *saving);

static void on_written(void *arg, const struct store_result *result)
{
    struct saving *saving = arg;

    if (saving->key_len > 0)
        idempotency_release(saving->fs->idempotency, key_of(saving));
    if (result->err == 0) {
        retention_wake(saving->fs->retention);
        end_saved(saving);
    } else if (result->err == -EEXIST && result->failed_op == OP_KEY) {
        begin(saving); /* another replica was first: now the key is known */
    } else {
        end_failed(saving, err_grpc_status(result->err), err_text(result->err));
    }
}

static void write_save(struct saving *saving)
{
    struct store_batch *batch = store_batch_new();
    struct uuid id = {0};
    int r = uuid_new(&id);

    store_batch_fail(batch, r);
    store_batch_put(batch, TABLE_SAVES, (struct str){(const char *)id.bytes, sizeof(id.bytes)}, buf_str(&saving->value),
                    STORE_ABSENT, 0);
    if (saving->key_len > 0) /* the answer is always the same: nothing to keep */
        idempotency_add(saving->fs->idempotency, batch, key_of(saving), buf_str(&saving->value), STR(""));
    store_batch_set_trace(batch, rpc_call_trace(saving->call));
    store_write(saving->fs->store, batch, saving->deadline_ns, on_written, saving);
}

static void on_key(void *arg, int err, struct str answer, uint64_t seq)
{
    struct saving *saving = arg;

    if (err == 0)
        write_save(saving);
    else if (err == -EEXIST)
        end_saved(saving);
    else if (err == -EINVAL)
        end_failed(saving, ERR_GRPC_INVALID_ARGUMENT, "the idempotency-key was used for another feature");
    else if (err == -EBUSY)
        end_failed(saving, ERR_GRPC_ABORTED, "a call with this idempotency-key is running");
    else
        end_failed(saving, err_grpc_status(err), err_text(err));
}

static void begin(struct saving *saving)
{
    if (saving->key_len > 0)
        idempotency_begin(saving->fs->idempotency, key_of(saving), buf_str(&saving->value), saving->deadline_ns, on_key,
                          saving);
    else
        write_save(saving);
}

void feature_store_save(struct rpc_call *call, const Routeguide__Feature *message)
{
    struct str key, name;
    struct geo_point point;
    struct saving *saving;

    if (!route_feature(call, message, &point, &name) || !route_idempotency_key(call, &key))
        return;
    saving = calloc(1, sizeof(*saving));
    if (!saving) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    saving->fs = feature_store_enter(call);
    saving->call = rpc_call_ref(call);
    saving->deadline_ns = rpc_call_deadline_ns(call);
    saving->key_len = key.len;
    if (key.len > 0)
        memcpy(saving->key, key.s, key.len);
    saves_pack(&saving->value, point, name);
    if (buf_error(&saving->value) < 0)
        end_failed(saving, err_grpc_status(-ENOMEM), err_text(-ENOMEM));
    else
        begin(saving);
}
