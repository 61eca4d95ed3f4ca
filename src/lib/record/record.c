#include "record.h"
#include <assert.h>
#include <errno.h>

int record_check_key(const struct records *records, struct str key, char error[FIELD_ERROR_SIZE])
{
    assert(records->key.min >= 1 && records->key.max <= STORE_MAX_KEY && records->key.in_bytes);
    return field_check_string(&records->key, key, error);
}

void record_put(struct store_batch *batch, const struct records *records, struct str key,
                const ProtobufCMessage *message)
{
    struct buf value = {.max = STORE_MAX_VALUE};
    size_t len = protobuf_c_message_get_packed_size(message);
    char *at = len <= STORE_MAX_VALUE ? buf_reserve(&value, len) : NULL;

    assert(message->descriptor == records->type);
    if (at == NULL && len > 0)
        store_batch_fail(batch, len > STORE_MAX_VALUE ? -EMSGSIZE : -ENOMEM);
    else if (len > 0)
        value.len = protobuf_c_message_pack(message, (uint8_t *)at);
    store_batch_put(batch, records->table, key, buf_str(&value), STORE_ANY, 0);
    buf_release(&value);
}

int record_unpack(const struct records *records, struct str value, ProtobufCMessage **ret_message)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(records->type, NULL, value.len, (const uint8_t *)value.s);

    if (message == NULL)
        return -EBADMSG;
    *ret_message = message;
    return 0;
}

int record_get(struct store_snapshot *snapshot, const struct records *records, struct str key,
               ProtobufCMessage **ret_message, uint64_t *ret_seq)
{
    struct store_record record;
    int err = store_get(snapshot, records->table, key, &record);

    if (err == 0)
        err = record_unpack(records, record.value, ret_message);
    if (err == 0 && ret_seq != NULL)
        *ret_seq = record.seq;
    return err;
}

ProtobufCMessage *record_free(ProtobufCMessage *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
    return NULL;
}
