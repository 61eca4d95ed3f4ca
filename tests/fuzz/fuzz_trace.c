/* The header traceparent. */
#include "fuzz.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str header = {(const char *)data, size};
    char text[TRACE_PARENT_LEN + 1];
    struct trace trace, again, child;
    int err = trace_parse(header, &trace);

    MUST(err == 0 || err == -EINVAL);
    trace_begin(header, false, &child);
    trace_format(&child, text);
    MUST(trace_parse(str_of(text), &again) == 0);
    if (err != 0) {
        MUST(!child.sampled);
        return 0;
    }
    MUST(memcmp(child.trace_id, trace.trace_id, 16) == 0 && memcmp(child.parent_id, trace.span_id, 8) == 0);
    MUST(memcmp(child.span_id, trace.span_id, 8) != 0 && child.sampled == trace.sampled);
    trace_format(&trace, text);
    MUST(memcmp(text + 2, header.s + 2, TRACE_PARENT_LEN - 4) == 0); /* all but version and flags */
    MUST(trace_parse(str_of(text), &again) == 0 && memcmp(&again, &trace, sizeof(trace)) == 0);
    return 0;
}
