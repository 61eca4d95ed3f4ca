/* rpc_record -- requests checked by tables of fields (field.h), and rpcs that read a record (record.h). */
#pragma once
#include "names.h"
#include "record.h"
#include "rpc.h"

/* True where the message keeps all limits. Else it has finished the call: INVALID_ARGUMENT, naming the field. */
bool rpc_check(struct rpc_call *call, const struct fields *fields, const ProtobufCMessage *message);

/* Replies with the record of that key, for an rpc that returns the records' type: INVALID_ARGUMENT for a key that
 * breaks its limits, or the status of what the store says. Where there is none it replies with missing, which must
 * outlive the call; NULL: NOT_FOUND. */
void rpc_record_get(struct rpc_call *call, struct store *store, const struct records *records, struct str key,
                    const ProtobufCMessage *missing);
