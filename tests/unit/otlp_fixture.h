/* Messages of OTLP as they are on the wire, made field by field. */
#pragma once
#include "buf.h"

static inline void put_varint(struct buf *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_char(to, (char)(value | 0x80));
    buf_append_char(to, (char)value);
}

static inline void put_number(struct buf *to, unsigned field, uint64_t value)
{
    put_varint(to, field << 3);
    put_varint(to, value);
}

static inline void put_fixed(struct buf *to, unsigned field, uint64_t value)
{
    put_varint(to, field << 3 | 1);
    buf_append(to, &value, sizeof(value)); /* little-endian, as all machines that run this */
}

static inline void put_double(struct buf *to, unsigned field, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put_fixed(to, field, bits);
}

static inline void put_bytes(struct buf *to, unsigned field, struct str bytes)
{
    put_varint(to, field << 3 | 2);
    put_varint(to, bytes.len);
    buf_append_str(to, bytes);
}

/* What is in a buffer as a field of another; the buffer is empty then. */
static inline void put_message(struct buf *to, unsigned field, struct buf *message)
{
    put_bytes(to, field, buf_str(message));
    buf_release(message);
}

static inline void put_attribute(struct buf *to, unsigned field, struct str key, struct str text)
{
    struct buf pair = {0}, value = {0};

    put_bytes(&value, 1, text);
    put_bytes(&pair, 1, key);
    put_message(&pair, 2, &value);
    put_message(to, field, &pair);
}

static inline void put_resource(struct buf *to, const char *service, const char *instance)
{
    struct buf resource = {0};

    put_attribute(&resource, 1, STR("service.name"), str_of(service));
    put_attribute(&resource, 1, STR("service.instance.id"), str_of(instance));
    put_message(to, 1, &resource);
}

/* One item of a resource, in a scope of its own. */
static inline void put_item(struct buf *to, struct buf *item)
{
    struct buf scope = {0};

    put_message(&scope, 2, item);
    put_message(to, 2, &scope);
}

struct span_fixture {
    uint64_t trace, id, parent; /* of the ids the last 8 bytes; parent 0: none */
    const char *name;
    unsigned kind;
    uint64_t start_ns, duration_ns;
    bool failed;
};

static inline void put_id(struct buf *to, unsigned field, uint64_t id, size_t size)
{
    char bytes[16] = {0};

    for (size_t i = 0; i < 8; i++)
        bytes[size - 1 - i] = (char)(id >> (8 * i));
    put_bytes(to, field, (struct str){bytes, size});
}

static inline void put_span(struct buf *to, const struct span_fixture *span)
{
    struct buf status = {0};

    put_id(to, 1, span->trace, 16);
    put_id(to, 2, span->id, 8);
    if (span->parent != 0)
        put_id(to, 4, span->parent, 8);
    put_bytes(to, 5, str_of(span->name != NULL ? span->name : "GET /"));
    put_number(to, 6, span->kind != 0 ? span->kind : 2);
    put_fixed(to, 7, span->start_ns);
    put_fixed(to, 8, span->start_ns + span->duration_ns);
    if (!span->failed)
        return;
    put_bytes(&status, 2, STR("it failed"));
    put_number(&status, 3, 2);
    put_message(to, 15, &status);
}
