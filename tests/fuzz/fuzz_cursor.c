/* Page tokens of feature-store, and the numbers, identifiers and keys that cursors are made of. */
#define feature_store_history fuzz_history /* the file's functions are wanted */
#include "../../src/feature-store/history.c"
#include "fuzz.h"

static void check_token(struct str token, struct geo_point point)
{
    struct item item = {.message = ROUTEGUIDE__SAVE__INIT};
    struct page page = {.point = point, .items = &item, .count = 1};
    char again[TOKEN_LEN + 1];
    uint64_t seq = 0;
    int err = parse_token(token, point, &seq);

    MUST(err == 0 || err == -EINVAL);
    if (err == 0 && token.len > 0) {
        item.message.sequence = seq;
        format_token(&page, again);
        MUST(str_eq(token, str_of(again)));
    }
}

static void check_made(struct geo_point point, uint64_t seq)
{
    struct item item = {.message = ROUTEGUIDE__SAVE__INIT};
    struct page page = {.point = point, .items = &item, .count = 1};
    struct geo_point other = {point.latitude, point.longitude ^ 1};
    char token[TOKEN_LEN + 1];
    uint64_t found = 0;

    item.message.sequence = seq;
    format_token(&page, token);
    MUST(parse_token(str_of(token), point, &found) == 0 && found == seq);
    MUST(parse_token(str_of(token), other, &found) == -EINVAL);
}

static void check_uuid(struct str text)
{
    char again[UUID_TEXT_LEN + 1];
    struct uuid id;

    if (uuid_parse(text, &id) == 0) {
        uuid_format(&id, again);
        MUST(str_caseeq(text, str_of(again)));
    }
}

static void check_number(struct str text)
{
    char again[24];
    uint64_t value = 0;
    size_t zeros = 0;

    if (str_to_u64(text, UINT64_MAX, &value) < 0)
        return;
    while (zeros + 1 < text.len && text.s[zeros] == '0')
        zeros++;
    snprintf(again, sizeof(again), "%llu", (unsigned long long)value);
    MUST(str_eq((struct str){text.s + zeros, text.len - zeros}, str_of(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    uint8_t head[16];
    struct geo_point point;
    struct str text;

    for (size_t i = 0; i < sizeof(head); i++)
        head[i] = fuzz_byte(&input);
    memcpy(&point, head, sizeof(point));
    point.latitude %= 900000001;
    point.longitude %= 1800000001;
    text = fuzz_copy(&memory, fuzz_rest(&input));
    check_token(text, point);
    check_made(point, store_get_u64(head + 8));
    check_uuid(text);
    check_number(text);
    fuzz_release(&memory);
    return 0;
}
