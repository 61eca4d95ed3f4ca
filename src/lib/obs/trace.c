#include "trace.h"
#include "clock.h"
#include "hex.h"
#include <errno.h>
#include <sys/random.h>

/* Trace ids must be unlike each other, not secret: xoshiro256** (Blackman and Vigna, 2018), a state a thread, seeded by
 * the kernel once, instead of two system calls a request. */
static uint64_t random_u64(void)
{
    static _Thread_local uint64_t s[4];
    uint64_t result, t;

    while ((s[0] | s[1] | s[2] | s[3]) == 0)
        if (getrandom(s, sizeof(s), 0) != (ssize_t)sizeof(s))
            s[0] = clock_monotonic_ns();
    result = s[1] * 5;
    result = (result << 7 | result >> 57) * 9;
    t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    return len == 0;
}

/* An id of all zeros is invalid. */
static void random_id(uint8_t *id, size_t len)
{
    do {
        for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
            uint64_t value = random_u64();
            memcpy(id + i, &value, sizeof(value));
        }
    } while (is_zero(id, len));
}

int trace_parse(struct str traceparent, struct trace *ret_trace)
{
    const char *s = traceparent.s;
    struct trace trace = {0};
    uint8_t version, flags;

    if (traceparent.len < TRACE_PARENT_LEN || s[2] != '-' || s[35] != '-' || s[52] != '-')
        return -EINVAL;
    /* Lower case only, as the standard demands. */
    if (!hex_decode_lower(s, &version, 1) || !hex_decode_lower(s + 3, trace.trace_id, 16) ||
        !hex_decode_lower(s + 36, trace.span_id, 8) || !hex_decode_lower(s + 53, &flags, 1))
        return -EINVAL;
    /* Version 00 has this length and no other; a later one may go on after a dash; ff is invalid. */
    if (version == 0xff)
        return -EINVAL;
    if (traceparent.len > TRACE_PARENT_LEN && (version == 0 || s[TRACE_PARENT_LEN] != '-'))
        return -EINVAL;
    if (is_zero(trace.trace_id, sizeof(trace.trace_id)) || is_zero(trace.span_id, sizeof(trace.span_id)))
        return -EINVAL;
    trace.sampled = (flags & 1) != 0;
    *ret_trace = trace;
    return 0;
}

void trace_begin(struct str traceparent, bool sample_new, struct trace *ret_trace)
{
    struct trace parent;

    if (trace_parse(traceparent, &parent) == 0) {
        trace_child(&parent, ret_trace);
        return;
    }
    *ret_trace = (struct trace){.sampled = sample_new};
    random_id(ret_trace->trace_id, sizeof(ret_trace->trace_id));
    random_id(ret_trace->span_id, sizeof(ret_trace->span_id));
}

void trace_child(const struct trace *parent, struct trace *ret_child)
{
    struct trace child = *parent;

    memcpy(child.parent_id, parent->span_id, sizeof(child.parent_id));
    random_id(child.span_id, sizeof(child.span_id));
    child.state = child.baggage = STR_NULL;
    *ret_child = child;
}

void trace_format(const struct trace *trace, char header[TRACE_PARENT_LEN + 1])
{
    memcpy(header, "00-", 3);
    hex_encode(trace->trace_id, 16, header + 3);
    header[35] = '-';
    hex_encode(trace->span_id, 8, header + 36);
    memcpy(header + 52, trace->sampled ? "-01" : "-00", 4);
}

void trace_id_text(const struct trace *trace, char text[TRACE_ID_TEXT_SIZE])
{
    hex_encode(trace->trace_id, 16, text);
    text[TRACE_ID_TEXT_SIZE - 1] = '\0';
}

void trace_span_text(const uint8_t span_id[8], char text[SPAN_ID_TEXT_SIZE])
{
    hex_encode(span_id, 8, text);
    text[SPAN_ID_TEXT_SIZE - 1] = '\0';
}
