/* The headers of a request, and the forms that gRPC gives to what stands in headers. */
#include "clock.h"
#include "rpc_server_internal.h"
#include <errno.h>
#include <stdlib.h>

#define BLOCK_SIZE     4096
#define TIMEOUT_DIGITS 8

/* ---- the arena ---- */

struct rpc_arena_block {
    struct rpc_arena_block *next;
    size_t size;
    _Alignas(max_align_t) char bytes[];
};

static bool grow(struct rpc_arena *arena, size_t size)
{
    size_t block_size = sizeof(struct rpc_arena_block) + (size > BLOCK_SIZE ? size : BLOCK_SIZE);
    struct rpc_arena_block *block = rpc_account_realloc(arena->account, NULL, 0, block_size);

    if (block == NULL)
        return false;
    *block = (struct rpc_arena_block){.next = arena->blocks, .size = block_size};
    arena->blocks = block;
    arena->at = block->bytes;
    arena->left = block_size - sizeof(*block);
    return true;
}

void *rpc_arena_alloc(struct rpc_arena *arena, size_t size)
{
    void *p;

    size = (size + _Alignof(void *) - 1) & ~(_Alignof(void *) - 1);
    if (size > arena->left && !grow(arena, size))
        return NULL;
    p = arena->at;
    arena->at += size;
    arena->left -= size;
    return p;
}

void rpc_arena_release(struct rpc_arena *arena)
{
    while (arena->blocks != NULL) {
        struct rpc_arena_block *block = arena->blocks;

        arena->blocks = block->next;
        rpc_account_give(arena->account, block->size);
        free(block);
    }
}

/* ---- forms ---- */

int rpc_timeout_parse(struct str text, uint64_t *ret_ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600 * CLOCK_NS_PER_S},
                 {'M', 60 * CLOCK_NS_PER_S},
                 {'S', CLOCK_NS_PER_S},
                 {'m', CLOCK_NS_PER_MS},
                 {'u', 1000},
                 {'n', 1}};
    uint64_t value;

    if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1 ||
        str_to_u64((struct str){text.s, text.len - 1}, UINT64_MAX, &value) < 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == text.s[text.len - 1]) {
            if (__builtin_mul_overflow(value, units[i].ns, ret_ns))
                *ret_ns = UINT64_MAX;
            return 0;
        }
    return -EINVAL;
}

size_t rpc_percent_encode(struct str text, char *to)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.s[i];

        if (c >= 0x20 && c < 0x7f && c != '%') {
            to[len++] = (char)c;
        } else {
            to[len++] = '%';
            to[len++] = digits[c >> 4];
            to[len++] = digits[c & 15];
        }
    }
    return len;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t rpc_base64_encode(struct str bytes, char *to)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        bits = bits << 8 | (unsigned char)bytes.s[i];
        for (count += 8; count >= 6; count -= 6)
            to[len++] = base64_digits[bits >> (count - 6) & 63];
    }
    if (count > 0)
        to[len++] = base64_digits[bits << (6 - count) & 63];
    return len;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int rpc_base64_decode(struct str text, char *to, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;

    for (unsigned padding = 0; padding < 2 && text.len % 4 == 0 && text.len > 0 && text.s[text.len - 1] == '=';
         padding++)
        text.len--;
    if (text.len % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.s[i]);

        if (value < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            to[len++] = (char)(bits >> count);
        }
    }
    *ret_len = len;
    return 0;
}

/* ---- a request's headers ---- */

void rpc_head_init(struct rpc_head *head)
{
    *head = (struct rpc_head){.timeout_ns = UINT64_MAX};
    head->last = &head->fields;
}

static struct str copy(struct rpc_head *head, struct rpc_arena *arena, struct str text)
{
    char *bytes = rpc_arena_alloc(arena, text.len > 0 ? text.len : 1);

    if (bytes == NULL) {
        head->no_memory = true;
        return STR_NULL;
    }
    memcpy(bytes, text.s, text.len);
    return (struct str){bytes, text.len};
}

bool rpc_is_binary(struct str name)
{
    return name.len > 4 && memcmp(name.s + name.len - 4, "-bin", 4) == 0;
}

static struct rpc_field *add_field(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value)
{
    struct rpc_field *field = rpc_arena_alloc(arena, sizeof(*field));

    if (field == NULL) {
        head->no_memory = true;
        return NULL;
    }
    *field = (struct rpc_field){.name = copy(head, arena, name), .value = copy(head, arena, value)};
    *head->last = field;
    head->last = &field->next;
    return field;
}

/* Several values may stand in one field, separated by commas. */
static void add_binary(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value)
{
    struct str one;

    while (str_next(&value, ',', &one)) {
        struct rpc_field *field = add_field(head, arena, name, one);

        if (field == NULL || field->value.s == NULL)
            return;
        if (rpc_base64_decode(one, (char *)field->value.s, &field->value.len) < 0)
            head->bad_value = true;
        head->bytes += value.s != NULL ? name.len + RPC_FIELD_OVERHEAD : 0; /* as if it had come alone */
        if (head->bytes > RPC_MAX_HEAD) {
            head->too_large = true;
            return;
        }
    }
}

static void add_metadata(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value)
{
    struct rpc_field *field;

    if (rpc_is_binary(name)) {
        add_binary(head, arena, name, value);
        return;
    }
    field = add_field(head, arena, name, value);
    if (field != NULL && str_eq(name, STR("user-agent")))
        head->user_agent = field->value;
}

/* "application/grpc", also followed by "+proto" or parameters. */
static bool is_grpc(struct str type)
{
    const struct str base = STR("application/grpc");

    return type.len >= base.len && str_caseeq((struct str){type.s, base.len}, base) &&
           (type.len == base.len || type.s[base.len] == '+' || type.s[base.len] == ';');
}

static enum rpc_encoding encoding_of(struct str value)
{
    if (str_eq(value, STR("identity")))
        return RPC_IDENTITY;
    return str_eq(value, STR("gzip")) ? RPC_GZIP : RPC_UNKNOWN_ENCODING;
}

static bool lists_gzip(struct str value)
{
    struct str item;

    while (str_next(&value, ',', &item))
        if (str_eq(str_trim(item), STR("gzip")))
            return true;
    return false;
}

/* What the protocol itself needs; false for metadata. */
static bool add_known(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value)
{
    if (str_eq(name, STR(":path")))
        head->path = head->too_large ? STR_NULL : copy(head, arena, value);
    else if (str_eq(name, STR(":authority")))
        head->authority = head->too_large ? STR_NULL : copy(head, arena, value);
    else if (str_eq(name, STR(":method")))
        head->is_post = str_eq(value, STR("POST"));
    else if (str_eq(name, STR("content-type")))
        head->is_grpc = is_grpc(value);
    else if (str_eq(name, STR("grpc-timeout")))
        head->bad_timeout = rpc_timeout_parse(value, &head->timeout_ns) < 0;
    else if (str_eq(name, STR("grpc-encoding")))
        head->encoding = encoding_of(value);
    else if (str_eq(name, STR("grpc-accept-encoding")))
        head->accepts_gzip = head->accepts_gzip || lists_gzip(value);
    else
        return name.s[0] == ':' || str_eq(name, STR("te"));
    return true;
}

void rpc_head_add(struct rpc_head *head, struct rpc_arena *arena, struct str name, struct str value)
{
    head->bytes += name.len + value.len + RPC_FIELD_OVERHEAD;
    head->too_large = head->too_large || head->bytes > RPC_MAX_HEAD;
    if (name.len > 0 && !add_known(head, arena, name, value) && !head->too_large && !head->no_memory)
        add_metadata(head, arena, name, value);
}

struct str rpc_head_find(const struct rpc_head *head, const char *name, size_t index)
{
    struct str wanted = str_of(name);

    for (const struct rpc_field *field = head->fields; field != NULL; field = field->next)
        if (str_eq(field->name, wanted) && index-- == 0)
            return field->value;
    return STR_NULL;
}
