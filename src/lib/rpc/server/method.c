#include "rpc_server_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct str kinds[] = {
    [RPC_UNARY_KIND] = {"unary", 5},
    [RPC_SERVER_STREAM_KIND] = {"server_stream", 13},
    [RPC_CLIENT_STREAM_KIND] = {"client_stream", 13},
    [RPC_BIDI_KIND] = {"bidi_stream", 11},
};

static int add(struct rpc_methods *methods, const struct rpc_method *method, bool quiet, struct metrics *metrics)
{
    const ProtobufCMethodDescriptor *descriptor =
        protobuf_c_service_descriptor_get_method_by_name(method->service, method->name);
    struct rpc_entry *entry = &methods->entries[methods->count];
    char *path;

    assert(descriptor != NULL && (method->invoke != NULL ? method->handler != NULL : method->on_message != NULL));
    if (asprintf(&path, "/%s/%s", method->service->name, method->name) < 0)
        return -ENOMEM;
    *entry = (struct rpc_entry){.path = str_of(path), .method = method, .input = descriptor->input, .quiet = quiet};
    rpc_stats_init(&entry->stats, metrics, RPC_SERVER_SIDE,
                   (const struct str[]){kinds[method->kind], str_of(method->service->name), str_of(method->name)});
    methods->count++;
    return 0;
}

int rpc_methods_add(struct rpc_methods *methods, const struct rpc_method *table, bool quiet, struct metrics *metrics)
{
    size_t more = 0;
    struct rpc_entry *entries;
    int err = 0;

    while (table[more].service != NULL)
        more++;
    entries = reallocarray(methods->entries, methods->count + more + 1, sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    methods->entries = entries;
    for (size_t i = 0; i < more && err == 0; i++)
        err = add(methods, &table[i], quiet, metrics);
    return err;
}

static int compare(const void *a, const void *b)
{
    return str_cmp(((const struct rpc_entry *)a)->path, ((const struct rpc_entry *)b)->path);
}

void rpc_methods_sort(struct rpc_methods *methods, struct metrics *metrics)
{
    if (methods->count > 0)
        qsort(methods->entries, methods->count, sizeof(methods->entries[0]), compare);
    for (size_t i = 1; i < methods->count; i++)
        assert(compare(&methods->entries[i - 1], &methods->entries[i]) != 0);
    methods->unknown.path = STR("other");
    rpc_stats_init(&methods->unknown.stats, metrics, RPC_SERVER_SIDE,
                   (const struct str[]){kinds[RPC_UNARY_KIND], STR("other"), STR("other")});
}

static int compare_path(const void *path, const void *entry)
{
    return str_cmp(*(const struct str *)path, ((const struct rpc_entry *)entry)->path);
}

struct rpc_entry *rpc_methods_find(struct rpc_methods *methods, struct str path)
{
    struct rpc_entry *found = NULL;

    if (methods->count > 0)
        found = bsearch(&path, methods->entries, methods->count, sizeof(methods->entries[0]), compare_path);
    return found != NULL ? found : &methods->unknown;
}

void rpc_methods_release(struct rpc_methods *methods)
{
    for (size_t i = 0; i < methods->count; i++)
        free((char *)methods->entries[i].path.s);
    free(methods->entries);
    *methods = (struct rpc_methods){0};
}

void rpc_method_invoke(const struct rpc_method *method, struct rpc_call *call, const ProtobufCMessage *message)
{
    if (method->invoke != NULL)
        method->invoke(method->handler, call, message);
    else
        method->on_message(call, message);
}
