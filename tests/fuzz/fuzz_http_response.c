/* What the HTTP client parses of a server's response: the head, then a chunked body. The first byte chooses where the
 * bytes are cut: the result must not depend on it. */
#include "fuzz.h"
#include "http_parse.h"

static void check_head(struct str head, const struct http_head *parsed)
{
    struct http_field field;
    size_t position = 0;
    unsigned count = 0;

    MUST(parsed->status >= 0 && parsed->status <= 999 && parsed->minor_version >= 0 && parsed->minor_version <= 9);
    MUST(parsed->field_count <= HTTP_PARSE_MAX_FIELDS);
    for (; http_parse_next_field(head, &position, &field); count++) {
        MUST(count < parsed->field_count && http_is_token(field.name) && http_is_text(field.value));
        MUST(field.name.s == parsed->fields[count].name.s && field.value.s == parsed->fields[count].value.s);
        MUST(field.value.s >= head.s && field.value.s + field.value.len <= head.s + head.len);
    }
    MUST(count == parsed->field_count);
}

/* As it comes: longer and longer. */
static ssize_t parse_in_steps(struct str bytes, size_t step, struct http_head *head)
{
    size_t seen = 0, len = 0;
    ssize_t result = -EAGAIN;

    while (result == -EAGAIN && len < bytes.len) {
        len = bytes.len - len > step ? len + step : bytes.len;
        result = http_parse_response((struct str){bytes.s, len}, seen, head);
        seen = len;
    }
    return result;
}

static ssize_t parse_head(struct str bytes, size_t step)
{
    struct http_head whole, parts;
    ssize_t result = http_parse_response(bytes, 0, &whole);

    MUST(bytes.len == 0 || parse_in_steps(bytes, step, &parts) == result);
    MUST(result == -EAGAIN || result == -EBADMSG || (result > 0 && (size_t)result <= bytes.len));
    if (result > 0) {
        MUST(parts.status == whole.status && parts.field_count == whole.field_count);
        check_head((struct str){bytes.s, (size_t)result}, &whole);
    }
    return result;
}

/* Decodes step bytes at a time; the body goes to the front of bytes. Returns what http_chunks_decode does. */
static ssize_t decode(char *bytes, size_t len, size_t step, size_t *ret_body)
{
    struct http_chunks chunks = {0};
    ssize_t result = -EAGAIN;

    *ret_body = 0;
    for (size_t at = 0; at < len && result == -EAGAIN;) {
        size_t some = len - at < step ? len - at : step, body = some;

        result = http_chunks_decode(&chunks, bytes + at, &body);
        if (result == -EBADMSG)
            return result;
        MUST(body <= some && (result == -EAGAIN || (size_t)result <= some - body));
        memmove(bytes + *ret_body, bytes + at, body);
        *ret_body += body;
        at += some;
        if (result >= 0)
            result += (ssize_t)(len - at);
    }
    return result;
}

static void decode_chunks(struct str bytes, size_t step)
{
    struct fuzz_memory memory = {0};
    struct str whole = fuzz_copy(&memory, bytes), parts = fuzz_copy(&memory, bytes);
    size_t whole_body, parts_body;
    ssize_t result = decode((char *)whole.s, whole.len, bytes.len + 1, &whole_body);

    MUST(decode((char *)parts.s, parts.len, step, &parts_body) == result);
    if (result != -EBADMSG)
        MUST(str_eq((struct str){whole.s, whole_body}, (struct str){parts.s, parts_body}));
    fuzz_release(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t step = (size_t)fuzz_byte(&input) % 16 + 1;
    struct str bytes = fuzz_rest(&input);
    ssize_t head = parse_head(bytes, step);

    if (head > 0)
        bytes = (struct str){bytes.s + head, bytes.len - (size_t)head};
    decode_chunks(bytes, step);
    return 0;
}
