/* The numbers are those of descriptor.proto, which never change. */
#include "rpc_fields.h"
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>

enum { NAME = 1, SET_FILE = 1, FILE_PACKAGE = 2, FILE_DEPENDENCY = 3 };

struct rpc_descriptors {
    struct rpc_file *files;
    size_t count;
};

static struct str string_of(struct str message, uint32_t number)
{
    struct rpc_wire_field field;

    while (rpc_fields_next(&message, &field))
        if (field.number == number)
            return field.contents;
    return STR_NULL;
}

/* ---- symbols ---- */

enum kind { FILE_KIND, MESSAGE_KIND, ENUM_KIND, SERVICE_KIND, LEAF_KIND };

/* What declares names: all of it has its name in field 1. */
static const struct {
    enum kind parent;
    uint32_t number;
    enum kind kind;
} declarations[] = {
    {FILE_KIND, 4, MESSAGE_KIND}, {FILE_KIND, 5, ENUM_KIND},    {FILE_KIND, 6, SERVICE_KIND},
    {FILE_KIND, 7, LEAF_KIND},    {MESSAGE_KIND, 2, LEAF_KIND}, {MESSAGE_KIND, 3, MESSAGE_KIND},
    {MESSAGE_KIND, 4, ENUM_KIND}, {MESSAGE_KIND, 6, LEAF_KIND}, {MESSAGE_KIND, 8, LEAF_KIND},
    {ENUM_KIND, 2, LEAF_KIND},    {SERVICE_KIND, 2, LEAF_KIND},
};

static enum kind kind_of(enum kind parent, uint64_t number)
{
    for (size_t i = 0; i < sizeof(declarations) / sizeof(declarations[0]); i++)
        if (declarations[i].parent == parent && declarations[i].number == number)
            return declarations[i].kind;
    return FILE_KIND; /* nothing that declares: no file is inside of anything */
}

/* Where symbol is "SCOPE.REST": true, and the rest. */
static bool strip(struct str symbol, struct str scope, struct str *ret_rest)
{
    if (symbol.len <= scope.len || symbol.s[scope.len] != '.' || !str_eq((struct str){symbol.s, scope.len}, scope))
        return false;
    *ret_rest = (struct str){symbol.s + scope.len + 1, symbol.len - scope.len - 1};
    return true;
}

/* Recursion ends with the symbol's components. An enum's values are in the scope of what the enum is in. */
static bool declares(struct str parent, enum kind parent_kind, struct str symbol)
{
    struct rpc_wire_field field;

    while (rpc_fields_next(&parent, &field)) {
        enum kind kind = kind_of(parent_kind, field.number);
        struct str name, rest;

        if (kind == FILE_KIND)
            continue;
        name = string_of(field.contents, NAME);
        if (name.len > 0 && str_eq(name, symbol))
            return true;
        if (kind == ENUM_KIND && declares(field.contents, ENUM_KIND, symbol))
            return true;
        if ((kind == MESSAGE_KIND || kind == SERVICE_KIND) && strip(symbol, name, &rest) &&
            declares(field.contents, kind, rest))
            return true;
    }
    return false;
}

/* ---- files ---- */

int rpc_descriptors_new(struct rpc_descriptors **ret_descriptors)
{
    struct rpc_descriptors *descriptors = calloc(1, sizeof(*descriptors));

    if (descriptors == NULL)
        return -ENOMEM;
    *ret_descriptors = descriptors;
    return 0;
}

struct rpc_descriptors *rpc_descriptors_free(struct rpc_descriptors *descriptors)
{
    if (descriptors != NULL)
        free(descriptors->files);
    free(descriptors);
    return NULL;
}

int rpc_descriptors_add(struct rpc_descriptors *descriptors, struct str set)
{
    struct rpc_wire_field field;

    while (set.len > 0) {
        struct rpc_file *files;
        struct str name;

        if (!rpc_fields_next(&set, &field))
            return -EINVAL;
        name = string_of(field.contents, NAME);
        if (field.number != SET_FILE || name.len == 0 || rpc_descriptors_find(descriptors, name) >= 0)
            continue;
        files = reallocarray(descriptors->files, descriptors->count + 1, sizeof(*files));
        if (files == NULL)
            return -ENOMEM;
        descriptors->files = files;
        descriptors->files[descriptors->count++] = (struct rpc_file){.name = name, .bytes = field.contents};
    }
    return 0;
}

size_t rpc_descriptors_count(const struct rpc_descriptors *descriptors)
{
    return descriptors->count;
}

const struct rpc_file *rpc_descriptors_file(const struct rpc_descriptors *descriptors, size_t index)
{
    return &descriptors->files[index];
}

int rpc_descriptors_find(const struct rpc_descriptors *descriptors, struct str name)
{
    for (size_t i = 0; i < descriptors->count; i++)
        if (str_eq(descriptors->files[i].name, name))
            return (int)i;
    return -ENOENT;
}

int rpc_descriptors_find_symbol(const struct rpc_descriptors *descriptors, struct str symbol)
{
    for (size_t i = 0; i < descriptors->count; i++) {
        struct str package = string_of(descriptors->files[i].bytes, FILE_PACKAGE), rest = symbol;

        if ((package.len == 0 || strip(symbol, package, &rest)) &&
            declares(descriptors->files[i].bytes, FILE_KIND, rest))
            return (int)i;
    }
    return -ENOENT;
}

void rpc_descriptors_closure(const struct rpc_descriptors *descriptors, size_t index, bool *wanted)
{
    struct str rest = descriptors->files[index].bytes;
    struct rpc_wire_field field;

    wanted[index] = true;
    while (rpc_fields_next(&rest, &field)) {
        int dependency = field.number == FILE_DEPENDENCY ? rpc_descriptors_find(descriptors, field.contents) : -ENOENT;

        if (dependency >= 0 && !wanted[dependency])
            rpc_descriptors_closure(descriptors, (size_t)dependency, wanted);
    }
}
