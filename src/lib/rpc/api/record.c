#include "rpc_record.h"
#include "rpc_store.h"
#include <errno.h>

bool rpc_check(struct rpc_call *call, const struct fields *fields, const ProtobufCMessage *message)
{
    char error[FIELD_ERROR_SIZE];

    if (fields_check(fields, message, error) == 0)
        return true;
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, error);
    return false;
}

struct get {
    const struct records *records;
    const ProtobufCMessage *missing;
    size_t key_len;
    char key[STORE_MAX_KEY];
};

static int read_record(void *arg, struct rpc_call *call, struct store_snapshot *snapshot)
{
    const struct get *get = arg;
    ProtobufCMessage *message = NULL;
    int err = record_get(snapshot, get->records, (struct str){get->key, get->key_len}, &message, NULL);

    if (err == -ENOENT && get->missing != NULL) {
        rpc_reply(call, get->missing);
        return 0;
    }
    if (err == 0)
        rpc_reply(call, message);
    record_free(message);
    return err;
}

void rpc_record_get(struct rpc_call *call, struct store *store, const struct records *records, struct str key,
                    const ProtobufCMessage *missing)
{
    struct get get = {.records = records, .missing = missing, .key_len = key.len};
    char error[FIELD_ERROR_SIZE];

    if (record_check_key(records, key, error) < 0) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, error);
        return;
    }
    memcpy(get.key, key.s, key.len);
    rpc_store_read(call, store, &get, sizeof(get), read_record);
}
