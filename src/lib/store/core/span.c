/* Spans of writes and of reads (traced_read.c). A write's lasts from store_write to its answer, so that it shows what
 * waiting in the queue, committing and syncing take together. */
#include "clock.h"
#include "store_engine.h"
#include <errno.h>
#include <stdio.h>

void store_batch_set_trace(struct store_batch *batch, const struct trace *trace)
{
    if (batch != NULL && trace->sampled)
        batch->trace = *trace;
}

void store_batch_begin_span(struct store *store, struct store_batch *batch)
{
    struct trace parent;

    if (!span_is_wanted(store->spans, &batch->trace))
        return;
    parent = batch->trace;
    trace_child(&parent, &batch->trace);
    batch->begun_ns = clock_monotonic_ns();
}

void store_span_end(const struct store *store, const struct trace *trace, uint64_t begun_ns, unsigned count, int err)
{
    const char *engine = store->engine->scheme;
    bool is_remote = strcmp(engine, "lmdb") != 0, failed = err != 0 && !store_is_conflict(err); /* that is an answer */
    const struct span_attribute attributes[] = {
        SPAN_STR("db.system.name", str_of(engine)),
        SPAN_STR("db.operation.name", count > 0 ? STR("write") : STR("read")),
        SPAN_STR("error.type", str_of(failed ? strerrorname_np(-err) : NULL)),
        SPAN_INT("db.operation.batch.size", count), /* defined for two and more */
    };
    char name[32];

    if (!span_is_wanted(store->spans, trace))
        return;
    snprintf(name, sizeof(name), "%s %s", count > 0 ? "write" : "read", engine);
    span_end(store->spans, &(struct span){.trace = trace,
                                          .kind = is_remote ? SPAN_CLIENT : SPAN_INTERNAL,
                                          .name = str_of(name),
                                          .duration_ns = clock_monotonic_ns() - begun_ns,
                                          .failed = failed,
                                          .error = failed ? str_of(strerrordesc_np(-err)) : STR_NULL,
                                          .attributes = attributes,
                                          .attribute_count = count > 1 ? 4 : 3});
}
