/* A gRPC request's headers, a line each: "name value". */
#include "fuzz.h"
#include "rpc_server_internal.h"

static void check_forms(struct fuzz_memory *memory, struct str text)
{
    char *encoded = fuzz_alloc(memory, 4 * (text.len / 3 + 1)), *percent = fuzz_alloc(memory, 3 * text.len);
    char *decoded = fuzz_alloc(memory, 3 * (4 * (text.len / 3 + 1) / 4 + 1));
    size_t len = rpc_base64_encode(text, encoded), back, percent_len = rpc_percent_encode(text, percent);
    uint64_t ns = 0;

    MUST(rpc_base64_decode((struct str){encoded, len}, decoded, &back) == 0);
    MUST(str_eq(text, (struct str){decoded, back}));
    MUST(percent_len >= text.len);
    for (size_t i = 0; i < percent_len; i++)
        MUST(percent[i] >= 0x20 && percent[i] < 0x7f);
    if (rpc_timeout_parse(text, &ns) == 0)
        MUST(text.len <= 9 && (ns > 0 || text.s[0] == '0'));
    if (rpc_base64_decode(text, decoded, &back) == 0) {
        while (text.len > 0 && text.s[text.len - 1] == '=')
            text.len--;
        MUST(rpc_base64_encode((struct str){decoded, back}, encoded) == text.len);
    }
}

static void check_head(const struct rpc_head *head)
{
    size_t bytes = 0;

    for (const struct rpc_field *field = head->fields; field != NULL; field = field->next) {
        bytes += field->name.len + field->value.len;
        MUST(field->name.len > 0);
    }
    MUST(bytes <= RPC_MAX_HEAD && (head->too_large || head->bytes <= RPC_MAX_HEAD));
    MUST(head->user_agent.len <= RPC_MAX_HEAD && head->path.len <= RPC_MAX_HEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    struct budget budget = {.max = 64 * 1024};
    struct rpc_account account = {.budget = &budget};
    struct rpc_arena arena = {.account = &account};
    struct rpc_head head;

    rpc_head_init(&head);
    while (input.left > 0) {
        struct str line = fuzz_until(&input, '\n'), value = STR("");
        const char *space = line.len > 0 ? memchr(line.s, ' ', line.len) : NULL;

        if (space != NULL) {
            value = (struct str){space + 1, line.len - (size_t)(space + 1 - line.s)};
            line.len = (size_t)(space - line.s);
        }
        value = fuzz_copy(&memory, value);
        check_forms(&memory, value);
        rpc_head_add(&head, &arena, fuzz_copy(&memory, line), value);
    }
    check_head(&head);
    rpc_arena_release(&arena);
    MUST(account.used == 0);
    rpc_account_close(&account);
    fuzz_release(&memory);
    return 0;
}
