/* UTF-8 and JSON strings: whatever bytes come, a log line or a body is valid JSON, and what was valid UTF-8 is kept. */
#include "fuzz.h"
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct buf json = {0};
    size_t count = 0;
    bool valid = str_utf8_length(text, &count) == 0;
    json_t *parsed, *direct = json_stringn(text.s, text.len);

    MUST(count <= size && valid == (direct != NULL));
    buf_append_json_string(&json, text);
    MUST(buf_error(&json) == 0);
    parsed = json_loadb(json.data, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    MUST(json_is_string(parsed));
    if (valid)
        MUST(str_eq(text, (struct str){json_string_value(parsed), json_string_length(parsed)}));
    json_decref(parsed);
    json_decref(direct);
    buf_release(&json);
    return 0;
}
