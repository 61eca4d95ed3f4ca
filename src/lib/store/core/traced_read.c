/* Reads with a span: from store_read_traced until the reader has returned. */
#include "clock.h"
#include "store_engine.h"
#include <stdlib.h>

struct traced_read {
    struct store *store;
    struct trace trace;
    uint64_t begun_ns;
    store_reader *read;
    void *arg;
};

static void end_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct traced_read *traced = arg;

    store_span_end(traced->store, &traced->trace, traced->begun_ns, 0, err);
    traced->read(traced->arg, err, snapshot);
    free(traced);
}

/* Without memory there is no span. */
void store_read_traced(struct store *store, const struct trace *trace, uint64_t deadline_ns, uint64_t max_stale_ms,
                       store_reader *read, void *arg)
{
    struct traced_read *traced = span_is_wanted(store->spans, trace) ? malloc(sizeof(*traced)) : NULL;

    if (traced == NULL) {
        store_read(store, deadline_ns, max_stale_ms, read, arg);
        return;
    }
    *traced = (struct traced_read){.store = store, .begun_ns = clock_monotonic_ns(), .read = read, .arg = arg};
    trace_child(trace, &traced->trace);
    store_read(store, deadline_ns, max_stale_ms, end_read, traced);
}
