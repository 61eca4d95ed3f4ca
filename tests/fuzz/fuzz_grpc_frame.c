/* gRPC's framing of messages: length prefixes, in pieces of any size; gzip within bounds. The first byte says how the
 * bytes are cut. */
#include "fuzz.h"
#include "rpc_server_internal.h"

#define MAX_MESSAGE 2048
#define BUDGET      (256 * 1024)

/* All messages, each with its length before it, and then what it ended with. */
static int take_all(struct str bytes, size_t step, bool keep, struct buf *messages)
{
    struct budget budget = {.max = BUDGET};
    struct rpc_account account = {.budget = &budget};
    struct rpc_in in = {.account = &account, .max = MAX_MESSAGE};
    uint8_t first[RPC_IN_FIRST];
    int result = 0;
    bool between;

    while (bytes.len > 0 && result >= 0) {
        struct str piece = {bytes.s, bytes.len < step ? bytes.len : step}, message;

        bytes = (struct str){bytes.s + piece.len, bytes.len - piece.len};
        while ((result = rpc_in_take(&in, first, &piece, keep, &message)) == 1) {
            MUST(message.len <= MAX_MESSAGE && in.len <= MAX_MESSAGE);
            buf_printf(messages, "%zu ", message.len);
            buf_append_str(messages, message);
            if (piece.len == 0)
                break;
        }
        MUST(result < 0 || piece.len == 0);
    }
    MUST(result == 0 || result == 1 || result == -EMSGSIZE || result == -EPROTO);
    between = rpc_in_is_between(&in);
    rpc_in_release(&in);
    MUST(account.used == 0);
    rpc_account_close(&account);
    MUST(budget_used(&budget) == 0);
    return result < 0 ? result : between;
}

static void check_frames(struct str bytes, size_t step)
{
    struct buf whole = {0}, parts = {0}, kept = {0};
    int result = take_all(bytes, bytes.len + 1, false, &whole);

    MUST(take_all(bytes, step, false, &parts) == result && take_all(bytes, step, true, &kept) == result);
    MUST(str_eq(buf_str(&whole), buf_str(&parts)) && str_eq(buf_str(&whole), buf_str(&kept)));
    buf_release(&whole);
    buf_release(&parts);
    buf_release(&kept);
}

static void check_gzip(struct str bytes)
{
    struct budget budget = {.max = BUDGET};
    struct rpc_account account = {.budget = &budget};
    struct str inflated;
    int err = rpc_inflate(bytes, MAX_MESSAGE, &account, &inflated);

    MUST(err == 0 || err == -EMSGSIZE || err == -EBADMSG);
    if (err == 0) {
        MUST(inflated.len <= MAX_MESSAGE && account.used == inflated.len);
        rpc_inflated_free(inflated, &account);
    }
    MUST(account.used == 0);
    rpc_account_close(&account);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t choice = fuzz_byte(&input);

    if (choice >= 0xc0)
        check_gzip(fuzz_rest(&input));
    else
        check_frames(fuzz_rest(&input), (size_t)choice % 64 + 1);
    return 0;
}
