#include "rpc_server_internal.h"
#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#define STEP ((size_t)64 * 1024)

static size_t steps(size_t bytes)
{
    return (bytes + STEP - 1) / STEP * STEP;
}

bool rpc_account_take(struct rpc_account *account, size_t bytes)
{
    if (account->used + bytes > account->granted) {
        size_t more = steps(account->used + bytes - account->granted);

        if (!budget_take(account->budget, more))
            return false;
        account->granted += more;
    }
    account->used += bytes;
    return true;
}

void rpc_account_add(struct rpc_account *account, size_t bytes)
{
    account->used += bytes;
    if (account->used > account->granted) {
        size_t more = steps(account->used - account->granted);

        budget_add(account->budget, more);
        account->granted += more;
    }
}

void rpc_account_give(struct rpc_account *account, size_t bytes)
{
    assert(bytes <= account->used);
    account->used -= bytes;
    if (account->granted - account->used > 4 * STEP) {
        size_t less = (account->granted - account->used - STEP) / STEP * STEP;

        account->granted -= less;
        budget_give(account->budget, less);
    }
}

void rpc_account_close(struct rpc_account *account)
{
    assert(account->used == 0);
    budget_give(account->budget, account->granted);
    account->granted = 0;
}

void *rpc_account_realloc(struct rpc_account *account, void *bytes, size_t from, size_t to)
{
    void *grown;

    if (!rpc_account_take(account, to - from))
        return NULL;
    if ((grown = realloc(bytes, to)) == NULL)
        rpc_account_give(account, to - from);
    return grown;
}

/* ---- for nghttp2: counted is what the C library has taken for a block, so that blocks need no heads ----
 *
 * A session allocates a buffer of 16 KiB when it is made, packs frames there, and keeps it for its whole life. It needs
 * the bytes only until nghttp2_session_mem_send is called again, and conn.c copies them before that. So the sessions of
 * an account, which one thread uses, share one such buffer: of an idle connection it would be more than the rest. */

#define ALIGNMENT   _Alignof(max_align_t)
#define FRAME_LEAST ((size_t)16 * 1024) /* the payload that all frames may have */

static_assert(FRAME_LEAST < RPC_FRAME_BUFFER, "the head of a frame fits, too");

void rpc_account_share_frame(struct rpc_account *account, bool share)
{
    account->shares_frame = share;
}

/* The shared buffer, where this is a new session's. Later ones of this size are more for a longer header block. */
static void *take_frame(struct rpc_account *account, size_t size)
{
    if (!account->shares_frame || size < FRAME_LEAST || size > sizeof(account->frame))
        return NULL;
    account->shares_frame = false;
    return account->frame;
}

/* The process ends where there is no memory, as with what h2o allocates: nghttp2 1.52 frees an item twice after it
 * could not queue it. */
static void *account_malloc(size_t size, void *account)
{
    void *block = take_frame(account, size);

    if (block != NULL)
        return block;
    block = aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (block == NULL)
        abort();
    rpc_account_add(account, malloc_usable_size(block));
    return block;
}

static void *account_calloc(size_t count, size_t size, void *account)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : memset(account_malloc(bytes, account), 0, bytes);
}

static void account_free(void *block, void *memory)
{
    struct rpc_account *account = memory;

    if (block == account->frame)
        return;
    rpc_account_give(account, malloc_usable_size(block));
    free(block);
}

static void *account_realloc(void *block, size_t size, void *memory)
{
    struct rpc_account *account = memory;
    void *grown = account_malloc(size, account);
    size_t had = block == account->frame ? sizeof(account->frame) : malloc_usable_size(block);

    if (block != NULL)
        memcpy(grown, block, had < size ? had : size);
    account_free(block, account);
    return grown;
}

nghttp2_mem rpc_account_mem(struct rpc_account *account)
{
    return (nghttp2_mem){account, account_malloc, account_free, account_calloc, account_realloc};
}
