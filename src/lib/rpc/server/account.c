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

void *rpc_account_realloc(struct rpc_account *account, void *bytes, size_t from, size_t to)
{
    void *grown;

    if (!rpc_account_take(account, to - from))
        return NULL;
    if ((grown = realloc(bytes, to)) == NULL)
        rpc_account_give(account, to - from);
    return grown;
}

/* ---- for nghttp2: each block begins with its size ---- */

#define BLOCK_HEAD _Alignof(max_align_t)

static size_t *size_of(void *p)
{
    return (size_t *)(void *)((char *)p - BLOCK_HEAD);
}

/* The process ends where there is no memory, as with what h2o allocates: nghttp2 1.52 frees an item twice after it
 * could not queue it. */
static void *account_malloc(size_t size, void *arg)
{
    char *block = aligned_alloc(BLOCK_HEAD, (BLOCK_HEAD + size + BLOCK_HEAD - 1) / BLOCK_HEAD * BLOCK_HEAD);

    if (block == NULL)
        abort();
    *(size_t *)(void *)block = size;
    rpc_account_add(arg, BLOCK_HEAD + size);
    return block + BLOCK_HEAD;
}

static void *account_calloc(size_t count, size_t size, void *arg)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : memset(account_malloc(bytes, arg), 0, bytes);
}

static void account_free(void *p, void *arg)
{
    if (p == NULL)
        return;
    rpc_account_give(arg, BLOCK_HEAD + *size_of(p));
    free(size_of(p));
}

static void *account_realloc(void *p, size_t size, void *arg)
{
    void *grown = account_malloc(size, arg);

    if (p != NULL)
        memcpy(grown, p, *size_of(p) < size ? *size_of(p) : size);
    account_free(p, arg);
    return grown;
}

nghttp2_mem rpc_account_mem(struct rpc_account *account)
{
    return (nghttp2_mem){account, account_malloc, account_free, account_calloc, account_realloc};
}
