/* The framing of HTTP/1 requests. The first byte says how the bytes are cut: the result must not depend on it. And what
 * is accepted must be the same requests to h2o's parser, else somebody in front of it could see others. */
#include "fuzz.h"
#include "http_framing.h"
#include <strings.h>

/* ---- h2o's parser (picohttpparser), whose header is not installed ---- */

struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

struct phr_chunked_decoder {
    size_t bytes_left_in_chunk;
    char consume_trailer;
    char private[64];
};

int phr_parse_request(const char *bytes, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct phr_header *headers, size_t *header_count,
                      size_t last_len);
ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *bytes, size_t *len);

static const struct phr_header *find(const struct phr_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (headers[i].name_len == strlen(name) && strncasecmp(headers[i].name, name, headers[i].name_len) == 0)
            return &headers[i];
    return NULL;
}

/* How many bytes are the body; -2: it is not whole. */
static ssize_t body_len(struct str rest, const struct phr_header *headers, size_t count)
{
    const struct phr_header *length = find(headers, count, "content-length");
    struct phr_chunked_decoder decoder = {.consume_trailer = 1};
    struct fuzz_memory memory = {0};
    size_t len = rest.len;
    uint64_t value;
    ssize_t result;

    if (find(headers, count, "transfer-encoding") != NULL) {
        result = phr_decode_chunked(&decoder, (char *)fuzz_copy(&memory, rest).s, &len); /* which it changes */
        fuzz_release(&memory);
        return result < 0 ? result : (ssize_t)(rest.len - (size_t)result);
    }
    if (length == NULL)
        return 0;
    MUST(str_to_u64((struct str){length->value, length->value_len}, INT64_MAX, &value) == 0);
    return value <= rest.len ? (ssize_t)value : -2;
}

/* The length of the request at the front of bytes; -2: it is not whole, -1: malformed. */
static ssize_t request_len(struct str bytes)
{
    struct phr_header headers[HTTP_FRAMING_MAX_FIELDS];
    size_t count = HTTP_FRAMING_MAX_FIELDS, method_len, path_len;
    const char *method, *path;
    int minor_version, head = phr_parse_request(bytes.s, bytes.len, &method, &method_len, &path, &path_len,
                                                &minor_version, headers, &count, 0);
    ssize_t body;

    if (head < 0)
        return head;
    body = body_len((struct str){bytes.s + head, bytes.len - (size_t)head}, headers, count);
    return body < 0 ? body : head + body;
}

/* A part of HTTP/2's, which may still become one. */
static bool is_preface(struct str bytes)
{
    const struct str preface = STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    return bytes.len < preface.len && memcmp(bytes.s, preface.s, bytes.len) == 0;
}

/* Requests one after the other. True: the bytes end with a whole one, or hold none. An empty line may come before each.
 */
static bool ends_whole(struct str bytes, bool may_be_empty)
{
    while (bytes.len > 0) {
        ssize_t len = request_len(bytes);

        MUST(len != -1 || is_preface(bytes));
        if (len < 0)
            return may_be_empty && str_eq(bytes, STR("\r\n"));
        bytes = (struct str){bytes.s + len, bytes.len - (size_t)len};
    }
    return true;
}

/* ---- ours ---- */

/* What came of bytes: how far they were looked at, what was accepted, and where the last piece began. */
struct result {
    struct http_framing framing;
    size_t looked, accepted, last;
};

static struct result check(struct str bytes, size_t step)
{
    struct result result = {.looked = 0};

    while (result.looked < bytes.len && result.framing.status == 0 && !http_framing_is_http2(&result.framing)) {
        result.last = result.looked;
        result.looked = bytes.len - result.last > step ? result.last + step : bytes.len;
        result.accepted = http_framing_check(&result.framing, (char *)bytes.s, result.last, result.looked);
        MUST(result.accepted >= result.last && result.accepted <= result.looked);
        MUST(result.framing.status != 0 || result.accepted == result.looked);
    }
    return result;
}

static void compare(const struct result *whole, const struct result *parts)
{
    MUST(parts->framing.status == whole->framing.status);
    MUST(http_framing_is_http2(&parts->framing) == http_framing_is_http2(&whole->framing));
    MUST(http_framing_is_idle(&parts->framing) == http_framing_is_idle(&whole->framing));
    if (whole->framing.status != 0) {
        MUST(strcmp(parts->framing.reason, whole->framing.reason) == 0);
        MUST(parts->accepted == (whole->accepted > parts->last ? whole->accepted : parts->last));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t step = (size_t)fuzz_byte(&input) % 32 + 1;
    struct fuzz_memory memory = {0};
    struct str whole_bytes = fuzz_copy(&memory, fuzz_rest(&input)), part_bytes = fuzz_copy(&memory, whole_bytes);
    struct result whole = check(whole_bytes, whole_bytes.len + 1), parts = check(part_bytes, step);
    int status = whole.framing.status;

    MUST(status == 0 || status == 400 || status == 431 || status == 501 || status == 505);
    MUST((status == 0) == (whole.framing.reason == NULL));
    compare(&whole, &parts);
    if (!http_framing_is_http2(&whole.framing)) {
        bool is_whole = ends_whole((struct str){whole_bytes.s, whole.accepted}, status != 0);

        MUST(is_whole == (status != 0 || http_framing_is_idle(&whole.framing)));
    }
    fuzz_release(&memory);
    return 0;
}
