#include "rpc_server_internal.h"
#include <assert.h>
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

/* ---- for nghttp2: each block begins with its size ---- */

#define BLOCK_HEAD _Alignof(max_align_t)

static void *account_malloc(size_t size, void *arg)
{
    char *block = malloc(BLOCK_HEAD + size);

    if (block == NULL)
        return NULL;
    *(size_t *)(void *)block = size;
    rpc_account_add(arg, BLOCK_HEAD + size);
    return block + BLOCK_HEAD;
}

static void account_free(void *p, void *arg)
{
    char *block = (char *)p - BLOCK_HEAD;

    if (p == NULL)
        return;
    rpc_account_give(arg, BLOCK_HEAD + *(size_t *)(void *)block);
    free(block);
}

static void *account_calloc(size_t count, size_t size, void *arg)
{
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(count, size, &bytes) || (p = account_malloc(bytes, arg)) == NULL)
        return NULL;
    return memset(p, 0, bytes);
}

static void *account_realloc(void *p, size_t size, void *arg)
{
    char *block = (char *)p - BLOCK_HEAD;
    size_t before;

    if (p == NULL)
        return account_malloc(size, arg);
    before = *(size_t *)(void *)block;
    if ((block = realloc(block, BLOCK_HEAD + size)) == NULL)
        return NULL;
    *(size_t *)(void *)block = size;
    rpc_account_add(arg, size);
    rpc_account_give(arg, before);
    return block + BLOCK_HEAD;
}

nghttp2_mem rpc_account_mem(struct rpc_account *account)
{
    return (nghttp2_mem){account, account_malloc, account_free, account_calloc, account_realloc};
}
