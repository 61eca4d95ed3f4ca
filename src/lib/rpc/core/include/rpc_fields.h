/* rpc_fields -- the fields of a serialized message, one after the other. */
#pragma once
#include "names.h"
#include "rpc_core.h"

enum rpc_wire {
    RPC_WIRE_VARINT = 0,
    RPC_WIRE_64BIT = 1,
    RPC_WIRE_BYTES = 2,
    RPC_WIRE_GROUP = 3, /* with its end */
    RPC_WIRE_32BIT = 5,
};

struct rpc_wire_field {
    uint64_t number;
    enum rpc_wire wire;
    struct str whole;    /* with its tag */
    struct str contents; /* of RPC_WIRE_BYTES */
};

/* Takes the next field off the front. False: what is there is none. */
bool rpc_fields_next(struct str *bytes, struct rpc_wire_field *ret_field);
/* The field of that type which it is; NULL: an unknown one, also one of another wire type. */
const ProtobufCFieldDescriptor *rpc_fields_known(const ProtobufCMessageDescriptor *type,
                                                 const struct rpc_wire_field *field);
/* A message field that a message has at most once. */
static inline bool rpc_fields_is_single_message(const ProtobufCFieldDescriptor *known)
{
    return known->type == PROTOBUF_C_TYPE_MESSAGE && known->label != PROTOBUF_C_LABEL_REPEATED;
}
