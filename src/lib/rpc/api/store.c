#include "rpc_store.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_STALE_S (365 * 24 * 3600)

int rpc_store_max_stale(const struct rpc_call *call, uint64_t *ret_ms)
{
    struct str text = rpc_call_metadata(call, "x-max-stale");
    uint64_t seconds = 0;

    if (text.s != NULL && str_to_u64(text, MAX_STALE_S, &seconds) < 0)
        return -EINVAL;
    *ret_ms = seconds * 1000;
    return 0;
}

void rpc_store_tell_age(struct rpc_call *call, const struct store_snapshot *snapshot)
{
    uint64_t age_ms = store_age_ms(snapshot);
    char text[24];

    if (age_ms == 0)
        return;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(age_ms + 999) / 1000);
    rpc_call_set_metadata(call, "x-age", text);
}

const char *rpc_store_error(int err)
{
    return err == -EINVAL ? "x-max-stale must be a number of seconds, a year at most" : err_text(err);
}

struct reading {
    struct rpc_call *call; /* a reference */
    rpc_store_reader *read;
    _Alignas(max_align_t) char arg[];
};

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct reading *reading = arg;

    if (err == 0) {
        rpc_store_tell_age(reading->call, snapshot);
        err = reading->read(reading->arg, reading->call, snapshot);
    }
    if (err < 0)
        rpc_fail(reading->call, err, err_text(err));
    rpc_call_unref(reading->call);
    free(reading);
}

void rpc_store_read(struct rpc_call *call, struct store *store, const void *arg, size_t size, rpc_store_reader *read)
{
    struct reading *reading;
    uint64_t max_stale_ms;
    int err = rpc_store_max_stale(call, &max_stale_ms);

    reading = err == 0 ? malloc(sizeof(*reading) + size) : NULL;
    if (reading == NULL) {
        err = err < 0 ? err : -ENOMEM;
        rpc_fail(call, err, rpc_store_error(err));
        return;
    }
    *reading = (struct reading){.call = rpc_call_ref(call), .read = read};
    if (size > 0)
        memcpy(reading->arg, arg, size);
    store_read_traced(store, rpc_call_trace(call), rpc_call_deadline_ns(call), max_stale_ms, on_read, reading);
}
