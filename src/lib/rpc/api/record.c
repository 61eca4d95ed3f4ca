#include "rpc_record.h"
#include <errno.h>
#include <stdlib.h>

bool rpc_check(struct rpc_call *call, const struct fields *fields, const ProtobufCMessage *message)
{
    char error[FIELD_ERROR_SIZE];

    if (fields_check(fields, message, error) == 0)
        return true;
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, error);
    return false;
}

struct get {
    struct rpc_call *call; /* a reference */
    const struct records *records;
    const ProtobufCMessage *missing;
    size_t key_len;
    char key[STORE_MAX_KEY];
};

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    ProtobufCMessage *message = NULL;
    struct get *get = arg;

    if (err == 0)
        err = record_get(snapshot, get->records, (struct str){get->key, get->key_len}, &message, NULL);
    if (err == 0 || (err == -ENOENT && get->missing != NULL))
        rpc_reply(get->call, err == 0 ? message : get->missing);
    else
        rpc_fail(get->call, err, err_text(err));
    record_free(message);
    rpc_call_unref(get->call);
    free(get);
}

void rpc_record_get(struct rpc_call *call, struct store *store, const struct records *records, struct str key,
                    const ProtobufCMessage *missing)
{
    char error[FIELD_ERROR_SIZE];
    struct get *get;

    if (record_check_key(records, key, error) < 0) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, error);
        return;
    }
    get = malloc(sizeof(*get));
    if (get == NULL) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    *get = (struct get){.call = rpc_call_ref(call), .records = records, .missing = missing, .key_len = key.len};
    memcpy(get->key, key.s, key.len);
    store_read(store, rpc_call_deadline_ns(call), 0, on_read, get);
}
