/* record -- records of a store whose values are messages of protobuf-c: what a table holds, which keys it has, and
 * which fields. http_record.h and rpc_record.h have the handlers. */
#pragma once
#include "field.h"
#include "names.h"
#include "store.h"
#include <protobuf-c/protobuf-c.h>

struct records {
    unsigned table;                         /* of the store */
    const ProtobufCMessageDescriptor *type; /* of the values */
    const struct fields *fields;            /* of the values: of the struct of that type */
    struct field key;                       /* name and limits of the keys, which are text; max <= STORE_MAX_KEY */
};

/* 0, or -EINVAL and why. */
int record_check_key(const struct records *records, struct str key, char error[FIELD_ERROR_SIZE]);
/* Adds the message, which must be of the records' type, to a batch. */
void record_put(struct store_batch *batch, const struct records *records, struct str key,
                const ProtobufCMessage *message);
/* The record of that key as a message, to be given to record_free. 0, -EBADMSG, or what store_get says. */
int record_get(struct store_snapshot *snapshot, const struct records *records, struct str key,
               ProtobufCMessage **ret_message, uint64_t *ret_seq);
int record_unpack(const struct records *records, struct str value, ProtobufCMessage **ret_message); /* 0 or -EBADMSG */
ProtobufCMessage *record_free(ProtobufCMessage *message);                                           /* returns NULL */
