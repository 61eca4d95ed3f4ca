/* What the console receives: the first byte says of which signal, the rest is a ResourceSpans, ResourceMetrics or
 * ResourceLogs. Whatever comes, it is taken or refused, what is kept is bounded, and is written as valid JSON. */
#include "../../src/console/console.h"
#include "fuzz.h"
#include <jansson.h>

#define MAX_MEMORY ((size_t)1 << 20)

static void must_be_json(struct buf *json)
{
    json_t *parsed = json_loadb(json->data, json->len, JSON_ALLOW_NUL, NULL);

    MUST(buf_error(json) == 0 && json_is_object(parsed));
    json_decref(parsed);
    buf_release(json);
}

static bool write_newest(void *arg, const struct traces_trace *trace)
{
    struct buf json = {0};

    write_trace_summary(trace, &json);
    must_be_json(&json);
    write_trace(arg, trace, &json);
    must_be_json(&json);
    return false;
}

static void show(struct console *console)
{
    const struct lines_line *line = TAILQ_LAST(&console->lines.list, lines_list);
    struct buf json = {0};

    write_fleet(console, 1, &json);
    must_be_json(&json);
    write_stores(console, &json);
    must_be_json(&json);
    traces_each(&console->traces, write_newest, console);
    if (line != NULL) {
        write_line(line, &json);
        must_be_json(&json);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct console console = {.max_memory = 0};
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    enum receive_signal signal = (enum receive_signal)(fuzz_byte(&input) % 3);
    struct str resource = fuzz_copy(&memory, fuzz_rest(&input));
    uint64_t rejected = 0;
    int r;

    MUST(console_open(&console, MAX_MEMORY) == 0);
    for (unsigned i = 0; i < 2; i++) {
        r = receive_resource(&console, signal, resource, &rejected);
        MUST((r == 0 || r == -EBADMSG) && rejected <= 2 * size);
        console_tick(&console, 1000000 + 2000 * i);
    }
    MUST(console.traces.used <= MAX_MEMORY && console.lines.used <= MAX_MEMORY);
    show(&console);
    console_close(&console);
    fuzz_release(&memory);
    return 0;
}
